//! BGAD's parameters: every choice of paper and released code, and every choice they leave open, with its default
//! (docs/methods/bgad.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::Select;
use crate::train::Keep;

tables! {
    /// BGAD (CVPR 2023, arXiv 2207.01463).
    Params {
        /// The flows, one for each layer of the backbone.
        flow: FlowParams = FlowParams::default(),
        /// What becomes of seen anomalies before they are learned from.
        anomalies: Anomalies = Anomalies::default(),
        /// Likelihood and boundary.
        loss: Loss = Loss::default(),
        /// Training.
        train: Train = Train::default(),
        /// From likelihoods to scores.
        score: Score = Score::default(),
    }
}

words! {
    /// How a raw output a becomes the logarithm of a scale.
    ClampStyle {
        /// clamp · tanh(a): the release of the flow library that the released code pins.
        Pinned,
        /// clamp · tanh(a / clamp): later releases.
        Newer,
    }
}

tables! {
    /// The flows, one for each layer of the backbone.
    FlowParams {
        /// Coupling blocks.
        #[schemars(range(min = 1, max = 64))]
        blocks: usize = 8,
        /// Bound of the logarithm of a block's scales.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        clamp: f64 = 1.9,
        /// How scales are bounded.
        clamp_style: ClampStyle = ClampStyle::Pinned,
        /// Values of the code of a position, a multiple of four: half of them for the column, half for the row.
        #[schemars(range(min = 4, max = 65536))]
        position: usize = 128,
    }
}

words! {
    /// How a seen anomaly is changed before its defect is pasted onto a normal image.
    PastedChanges {
        /// Three of eight changes, each with its own chance (docs/methods/bgad.md, Anomalies).
        Subset,
        /// Three of ten, with distortions.
        Full,
        /// Not at all.
        None,
    }
    /// How a mask reaches the places of a layer.
    LevelMask {
        /// The pixel at the upper left corner of each place (released code): small defects vanish in coarse layers.
        Nearest,
        /// A place is anomalous where any of its pixels is.
        MaxPool,
    }
}

tables! {
    /// What becomes of seen anomalies before they are learned from.
    Anomalies {
        /// How often each of them stands in the list of training images.
        #[schemars(range(min = 1, max = 1000))]
        repeat: usize = 10,
        /// Share of the list at whose places the defect is pasted onto a normal image of the same class, anew each time.
        #[schemars(range(min = 0.0, max = 1.0))]
        pasted: f64 = 0.5,
        /// How a seen anomaly is changed before its defect is pasted.
        changes: PastedChanges = PastedChanges::Subset,
        /// How masks reach the places of a layer.
        mask_resize: LevelMask = LevelMask::Nearest,
    }
}

words! {
    /// What is learned from.
    Engine {
        /// `anomalies` where some are seen, else `normals`.
        Auto,
        /// Normal images and seen anomalies; the boundary acts where a step has anomalous places.
        Anomalies,
        /// Normal images alone; the boundary acts in every step (the paper's BGAD without anomalies).
        Normals,
    }
}

tables! {
    /// Likelihood and boundary.
    Loss {
        /// What is learned from.
        engine: Engine = Engine::Auto,
        /// Share of the normal places of a step that lie below the boundary.
        #[schemars(range(min = 0.0, max = 0.999))]
        pos_beta: f64 = 0.01,
        /// Distance of the boundary of anomalies below that of normal places, in normalised likelihood.
        #[schemars(range(min = 0.0))]
        margin: f64 = 0.1,
        /// What log-likelihoods are divided by before they are compared with boundaries.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        normalizer: f64 = 10.0,
        /// Weight of the boundary terms.
        #[schemars(range(min = 0.0))]
        weight: f64 = 1.0,
        /// Weigh places by how far they are on the wrong side.
        focal: bool = true,
    }
}

words! {
    /// How batches are made where there are seen anomalies.
    Sampling {
        /// All images in random order.
        Shuffle,
        /// Two thirds normal images, one third anomalies, `train.steps` times a pass.
        Balanced,
    }
    /// Which steps count in the warm-up of the learning rate.
    Warmup {
        /// All batches of a pass.
        Counted,
        /// Two a pass, however many there are (released code): the rate overshoots its end.
        Released,
    }
    /// Whose moments a step moves.
    Adam {
        /// Those of the layer that the step is about.
        PerLevel,
        /// Those of all layers, with gradients of zero for the others (one optimiser before PyTorch 2).
        SharedZeroGrad,
    }
}

tables! {
    /// Training.
    Train {
        /// Epochs of several passes; the first one is about likelihood alone.
        #[schemars(range(max = 100_000))]
        epochs: usize = 25,
        /// Passes over the images in an epoch.
        #[schemars(range(min = 1))]
        sub_epochs: usize = 8,
        /// Images whose features are made together.
        #[schemars(range(min = 1, max = 65_535))]
        batch: usize = 32,
        /// Leave out a pass's last batch where it is smaller.
        drop_last: bool = true,
        /// Places of a step, drawn of those of a batch in one layer; what is left of a batch is left out.
        #[schemars(range(min = 1))]
        chunk: usize = 4096,
        /// How batches are made where there are seen anomalies.
        sampling: Sampling = Sampling::Shuffle,
        /// `balanced`: batches of a pass.
        #[schemars(range(min = 1))]
        steps: usize = 15,
        /// Learning rate of Adam at the start of the cosine.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        lr: f64 = 2e-4,
        /// What of the learning rate the cosine ends at, as a share.
        #[schemars(range(min = 0.0, max = 1.0))]
        lr_floor: f64 = 1e-3,
        /// Epochs in which the learning rate rises to where the cosine is then; 0 = none.
        #[schemars(range(max = 100_000))]
        warmup_epochs: usize = 2,
        /// What of the learning rate the warm-up starts from, as a share.
        #[schemars(range(min = 0.0, max = 1.0))]
        warmup_start: f64 = 0.1,
        /// Which steps count in the warm-up.
        warmup: Warmup = Warmup::Counted,
        /// Whose moments a step moves.
        adam: Adam = Adam::PerLevel,
        /// Which epoch is reported; the released code's way is `best_test`, for each metric separately.
        select: Select = Select::Last,
        /// Keep the scores of every epoch, so that the record shows how the image AUROC went; `select` still chooses.
        curve: bool = false,
    }
}

words! {
    /// Over which images the largest likelihood of a layer is looked for, to which all others are relative.
    Reference {
        /// The normal training images.
        Train,
        /// The images that are scored, of all classes together (released code). Labels the run.
        Test,
    }
}

tables! {
    /// From likelihoods to scores.
    Score {
        /// Over which images the largest likelihood is looked for.
        logp_ref: Reference = Reference::Train,
    }
}

impl Train {
    /// Which epochs' parameters are kept.
    pub fn keep(&self) -> Keep {
        self.select.keep(self.curve)
    }

    /// The learning rate of the cosine in an epoch (0-based).
    pub fn cosine(&self, epoch: usize) -> f64 {
        let floor = self.lr * self.lr_floor;
        let angle = std::f64::consts::PI * epoch as f64 / self.epochs.max(1) as f64;
        floor + (self.lr - floor) * (1.0 + angle.cos()) / 2.0
    }

    /// The learning rate in a batch of a pass of an epoch (all 0-based), where a pass has so many batches.
    pub fn learning_rate(&self, epoch: usize, pass: usize, batch: usize, batches: usize) -> f64 {
        if epoch >= self.warmup_epochs {
            return self.cosine(epoch);
        }
        let counted = if self.warmup == Warmup::Counted { batches } else { 2 };
        let done = (epoch * self.sub_epochs + pass) * counted + batch;
        let all = self.warmup_epochs * self.sub_epochs * counted;
        let (from, to) = (self.lr * self.warmup_start, self.cosine(self.warmup_epochs));
        from + (to - from) * done as f64 / all.max(1) as f64
    }

    /// How many images of a balanced batch are normal.
    pub fn normal_share(&self) -> usize {
        2 * self.batch / 3
    }
}
