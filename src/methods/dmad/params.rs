//! DMAD's parameters: every choice of the paper, and every choice it leaves open, with its default
//! (docs/methods/dmad.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::{Coreset, ImageScore, NormalBank, Select};
use crate::train::{Keep, OptimizerKind};

/// A number, or "auto".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AutoNumber {
    /// Given.
    Given(#[schemars(range(min = 0.0))] f64),
    /// Depends on whether anomalies are seen.
    Auto(AutoWord),
}

/// How rows of M_o are selected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OutlierCoreset {
    /// As those of M_n.
    AsNormal(NormalWord),
    /// By settings of its own.
    Own(Coreset),
}

words! {
    /// The word "normal".
    NormalWord {
        /// As `bank.normal` says.
        Normal,
    }
    /// The word "auto".
    AutoWord {
        /// Depends on the setting.
        Auto,
    }
    /// What M_p is scattered around.
    Center {
        /// One mean of all M_as.
        Global,
        /// One mean for each class.
        PerClass,
        /// K-means with `clusters` centres.
        Kmeans,
    }
    /// How a mask at image size reaches the patch grid.
    FilterResize {
        /// Bilinear without antialiasing (released code).
        Bilinear,
        /// Share of the patch's area.
        Area,
        /// Any defect pixel.
        Max,
    }
    /// What to do with a seen anomaly of which no patch passes the filter.
    OnEmpty {
        /// Keep the patch that holds most mask area.
        Nearest,
        /// Leave the image out.
        Skip,
        /// Fail the run.
        Error,
    }
    /// The attention of Eq. 8.
    AttentionMode {
        /// `token` when no anomaly is seen, else `off`.
        Auto,
        /// Each patch is a sequence of one: the value layer alone (released code).
        Token,
        /// softmax(Q Kᵀ) V over the patches of an image.
        Image,
        /// The printed formula: softmax over channels of Q (Kᵀ V).
        Literal,
        /// None.
        Off,
    }
    /// Scale inside the softmax.
    Scale {
        /// 1.
        None,
        /// 1/√C.
        SqrtC,
    }
    /// Switch that can follow another setting.
    Switch {
        /// On exactly when attention is on.
        Auto,
        /// Always.
        On,
        /// Never.
        Off,
    }
    /// How many batch normalisations the knowledge has.
    BatchNormLayers {
        /// One that sees both banks' (released code).
        Shared,
        /// One for each bank.
        PerBank,
    }
    /// Which rows the statistics of the knowledge's batch normalisation are taken from in training.
    BatchNormRows {
        /// Normal patches and seen anomalies apart, one after the other.
        Group,
        /// Both together.
        All,
    }
    /// What the knowledge's batch normalisation uses when patches are scored.
    BatchNormTest {
        /// What was remembered in training.
        Running,
        /// The statistics of the four images that are scored together (the released code never leaves training mode).
        Batch,
    }
    /// What stands for a bank that does not exist.
    MissingBank {
        /// Nothing: the description is one part shorter.
        Drop,
        /// Zeros.
        Zero,
    }
    /// Where the noise of pseudo-anomalies is added.
    NoiseWhere {
        /// To the description o.
        O,
        /// To the patch q, before everything.
        Q,
    }
}

tables! {
    /// DMAD (arXiv 2403.12362).
    Params {
        /// The memory banks.
        bank: Bank = Bank::default(),
        /// Which patches of a seen anomaly are abnormal.
        filter: Filter = Filter::default(),
        /// What is known of a patch from its neighbours.
        knowledge: Knowledge = Knowledge::default(),
        /// Attention between a patch and its neighbours.
        attention: Attention = Attention::default(),
        /// Who may be a neighbour.
        neighbours: Neighbours = Neighbours::default(),
        /// The linear layer in front of the scoring network.
        projection: Projection = Projection::default(),
        /// The scoring network.
        mlp: Mlp = Mlp::default(),
        /// Pseudo-anomalies.
        noise: Noise = Noise::default(),
        /// Three-part hinge loss.
        loss: Loss = Loss::default(),
        /// Training.
        train: Train = Train::default(),
        /// From patch scores to image scores and maps.
        score: Score = Score::default(),
    }
    /// The memory banks.
    Bank {
        /// M_n: normal patches.
        normal: NormalBank = NormalBank { ratio: 0.02, ..NormalBank::default() },
        /// M_o: patches of texture images.
        outlier: OutlierBank = OutlierBank::default(),
        /// M_as: abnormal patches of seen anomalies.
        seen: SeenBank = SeenBank::default(),
        /// M_p: anomaly center sampling.
        center: CenterBank = CenterBank::default(),
    }
    /// M_o.
    OutlierBank {
        /// Use it.
        enabled: bool = true,
        /// Dataset of texture images (layout `folder` or `synthetic`).
        dataset: String = "dtd".into(),
        /// Images drawn of each category.
        #[schemars(range(min = 1))]
        images_per_category: usize = 1,
        /// Weight of the outlier in the mixture with a random normal image, position by position (1 = released code: no mixture).
        #[schemars(range(min = 0.0, max = 1.0))]
        beta: f64 = 0.6,
        /// Share of the mixed patches that is kept.
        #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
        ratio: f64 = 0.1,
        /// How they are selected: "normal" (as `bank.normal` says), or a table of its own with `projection`, `projection_kind`,
        /// `selection`, `starts`.
        coreset: OutlierCoreset = OutlierCoreset::AsNormal(NormalWord::Normal),
    }
    /// M_as.
    SeenBank {
        /// Use it (seen anomalies train in any case).
        enabled: bool = true,
    }
    /// M_p.
    CenterBank {
        /// Use it.
        enabled: bool = true,
        /// Standard deviation of the noise around the centre (the paper's N(0, 0.01), read as a standard deviation).
        #[schemars(range(min = 0.0))]
        std: f64 = 0.01,
        /// `std` is a share of the normal bank's own standard deviation.
        relative: bool = false,
        /// What the noise is around.
        center: Center = Center::Global,
        /// Centres of `center = "kmeans"`.
        #[schemars(range(min = 1, max = 1000))]
        clusters: usize = 1,
        /// |M_p| as a share of |M_as|.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 100.0))]
        count_ratio: f64 = 1.0,
    }
    /// Which patches of a seen anomaly are abnormal.
    Filter {
        /// Off: all patches of a seen anomaly count as abnormal.
        enabled: bool = true,
        /// How the mask reaches the patch grid.
        resize: FilterResize = FilterResize::Bilinear,
        /// Patches above this value of the resized mask are abnormal.
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        threshold: f64 = 0.0,
        /// What to do when no patch is.
        on_empty: OnEmpty = OnEmpty::Nearest,
    }
    /// What is known of a patch from its neighbours.
    Knowledge {
        /// The difference to the neighbour (Eq. 7). Without it and without attention nothing is known of a patch but itself.
        distance: bool = true,
        /// Batch normalisation of the knowledge.
        batch_norm: Switch = Switch::Auto,
        /// One for both banks' knowledge, or one for each.
        batch_norm_layers: BatchNormLayers = BatchNormLayers::Shared,
        /// Which rows its statistics are taken from in training.
        batch_norm_rows: BatchNormRows = BatchNormRows::Group,
        /// Which statistics it uses when patches are scored.
        batch_norm_test: BatchNormTest = BatchNormTest::Running,
        /// What stands for a bank that does not exist.
        missing_bank: MissingBank = MissingBank::Drop,
    }
    /// Attention between a patch and its neighbours.
    Attention {
        /// Which attention.
        mode: AttentionMode = AttentionMode::Auto,
        /// Scale inside the softmax (`image` and `literal`).
        scale: Scale = Scale::None,
        /// Train its layers (the released code never steps them).
        train: bool = true,
    }
    /// Who may be a neighbour.
    Neighbours {
        /// A training patch is not its own normal neighbour.
        exclude_self: bool = false,
        /// A seen anomaly's patch has no abnormal neighbour in its own image.
        exclude_same_image: bool = false,
    }
    /// The linear layer in front of the scoring network.
    Projection {
        /// One layer for all parts, or one for each.
        shared: bool = true,
    }
    /// The scoring network.
    Mlp {
        /// Blocks of Linear, BatchNorm, LeakyReLU; all but the first skip.
        #[schemars(range(min = 1, max = 64))]
        blocks: usize = 4,
        /// Width.
        #[schemars(range(min = 1, max = 16384))]
        hidden: usize = 1024,
        /// Its optimiser.
        optimizer: OptimizerKind = OptimizerKind::Adamw,
    }
    /// Pseudo-anomalies.
    Noise {
        /// Standard deviation; 0.015 belongs to the scale of WideResNet50-2's features (docs/methods/dmad.md, Scale).
        #[schemars(range(min = 0.0))]
        std: f64 = 0.015,
        /// `std` is a share of the normal bank's own standard deviation.
        relative: bool = false,
        /// Where it is added.
        #[serde(rename = "where")]
        place: NoiseWhere = NoiseWhere::O,
        /// One draw repeated on all parts of the description, or one for each.
        shared_blocks: bool = true,
    }
    /// Three-part hinge loss.
    Loss {
        /// Margin.
        #[schemars(range(min = 0.0))]
        margin: f64 = 0.5,
        /// Weight of the pseudo-anomalies; auto = 1 without seen anomalies, 0.5 with.
        lambda1: AutoNumber = AutoNumber::Auto(AutoWord::Auto),
        /// Weight of the seen anomalies; auto = 0 without seen anomalies, 15 with.
        lambda2: AutoNumber = AutoNumber::Auto(AutoWord::Auto),
    }
    /// Training.
    Train {
        /// Passes over the normal images.
        #[schemars(range(min = 1, max = 100000))]
        epochs: usize = 48,
        /// Normal images per step.
        #[schemars(range(min = 1))]
        batch: usize = 32,
        /// Seen anomalies per step, cycled.
        #[schemars(range(min = 1))]
        anomaly_batch: usize = 32,
        /// Patches of each image per step, drawn anew each step; 0 = all. Labels the run as subsampled.
        patches_per_image: usize = 0,
        /// Learning rate of projection and attention.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        lr_projection: f64 = 1e-4,
        /// Learning rate of the scoring network.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        lr_mlp: f64 = 2e-4,
        /// Weight decay of projection and attention.
        #[schemars(range(min = 0.0))]
        weight_decay_projection: f64 = 1e-2,
        /// Weight decay of the scoring network. The default times the learning rate is below f32's resolution, so that with
        /// AdamW it changes nothing, here as elsewhere.
        #[schemars(range(min = 0.0))]
        weight_decay_mlp: f64 = 1e-5,
        /// Which epoch is reported.
        select: Select = Select::Last,
        /// Keep the scores of every epoch, so that the record shows how the image AUROC went; `select` still chooses.
        curve: bool = false,
    }
    /// From patch scores to image scores and maps.
    Score {
        /// What an image's score is taken from.
        image: ImageScore = ImageScore::Patches,
        /// The image score is the mean of this many largest patch scores (1 = maximum).
        #[schemars(range(min = 1))]
        top_k: usize = 5,
        /// Standard deviation of the Gaussian on the map, in pixels of the evaluation size.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 4.0,
    }
}

impl Train {
    /// Which epochs' parameters are kept.
    pub fn keep(&self) -> Keep {
        self.select.keep(self.curve)
    }
}

impl Params {
    /// Whether anything is known of a patch from its neighbours.
    pub fn has_knowledge(&self) -> bool {
        self.knowledge.distance || self.attention.mode != AttentionMode::Off
    }
}

impl Bank {
    /// How rows of M_o are selected.
    pub fn outlier_coreset(&self) -> NormalBank {
        match &self.outlier.coreset {
            OutlierCoreset::AsNormal(_) => self.normal.selection_only(),
            OutlierCoreset::Own(own) => NormalBank::from(own).selection_only(),
        }
    }
}

impl Knowledge {
    /// Whether the knowledge is batch-normalised; resolved parameters hold no `auto`.
    pub fn uses_batch_norm(&self) -> bool {
        self.batch_norm == Switch::On
    }
}

impl AutoNumber {
    /// The number; resolved parameters hold no `auto`.
    pub fn number(self) -> f64 {
        match self {
            AutoNumber::Given(number) => number,
            AutoNumber::Auto(_) => unreachable!("resolved with the run"),
        }
    }

    /// The number, or this one in place of `auto`.
    pub(super) fn or(self, number: f64) -> Self {
        if self == AutoNumber::Auto(AutoWord::Auto) { AutoNumber::Given(number) } else { self }
    }
}
