//! The types that an experiment file is made of: what people may write, with defaults, bounds and the words that
//! `dmad schema` shows. Everything here is plain data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics::{Ap, Definitions, Pro};

/// One model for all classes, or one model per class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// One model serves all classes.
    #[default]
    Unified,
    /// One model per class.
    PerClass,
}

/// How the seen anomalies of a class are picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// A permutation drawn from the run's seed.
    #[default]
    Chacha,
    /// The released code's way: sorted as "type/file", Python's `random.seed(seen.seed)` and `shuffle`, for each class.
    Python,
}

/// What `seen.count` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Anomalies of a class, whatever their kinds (DMAD, DRA).
    #[default]
    Class,
    /// Anomalies of a class, of each of its kinds of defect as many as of the others; the rest whatever their kinds (BGAD).
    /// Fewer are no subset of more.
    ClassEven,
    /// Anomalies of each kind of defect (the other mode of BGAD's loader). Labels the run.
    Defect,
}

/// Which images train, which test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// One model for all classes (`unified`) or one per class (`per_class`).
    pub setting: Setting,
    /// Seen anomalies: annotated anomalies that training may use; they leave the test set.
    pub seen: Seen,
    /// Keep the first N training images of each class, sorted by file name (0 = all). Labels the run as subsampled.
    pub train_per_class: usize,
    /// Keep the first N defect-free test images of each class, sorted by file name (0 = all). Labels the run as subsampled.
    pub test_good_per_class: usize,
    /// Keep the first N test images of each defect type (0 = all). Labels the run as subsampled.
    pub test_per_defect: usize,
    /// With `test_per_defect`: keep at least ceil(N / defect types) of each type, so that classes with few types are not starved.
    pub test_defects_min: usize,
}

impl Protocol {
    /// True when images were left out, so that numbers are not those of the whole dataset.
    pub fn is_subsampled(&self) -> bool {
        self.train_per_class + self.test_good_per_class + self.test_per_defect > 0
    }
}

/// Seen anomalies of each class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Seen {
    /// Seen anomalies per class; 0 = unsupervised.
    pub count: usize,
    /// What `count` counts.
    pub budget: Budget,
    /// How they are picked. One permutation per class, of which the first `count` are seen, so 1 ⊂ 5 ⊂ 10.
    pub sampler: Sampler,
    /// Seed of the `python` sampler.
    pub seed: u64,
    /// Classes that give no seen anomalies ("supervised others").
    pub exclude_classes: Vec<String>,
}

/// Geometry of the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Geometry {
    /// Side of the square that the backbone sees, in pixels.
    #[schemars(range(min = 32, max = 4096))]
    pub size: usize,
    /// 0 = resize directly to the square. N = resize to N, then crop the centre `size` × `size`.
    #[schemars(range(max = 8192))]
    pub resize: usize,
    /// With `resize`: N is the shorter side, and the longer one follows from the image's own shape. Without it both sides are N.
    pub keep_aspect: bool,
    /// How images are resized; masks always linearly.
    pub filter: Filter,
}

/// How images are resized: Pillow's filters, as wide as the reduction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// A triangle.
    #[default]
    Bilinear,
    /// A cubic with overshoot (a = −0.5).
    Bicubic,
    /// A windowed sine of three lobes.
    Lanczos,
}

impl Default for Geometry {
    fn default() -> Self {
        Geometry { size: 256, resize: 0, keep_aspect: true, filter: Filter::default() }
    }
}

/// The frozen network that turns images into maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Backbone {
    /// Architecture, as `dmad weights list` names it.
    pub name: String,
    /// Taps, shallow first; [] = the architecture's own default.
    pub layers: Vec<String>,
    /// `imagenet` (weights catalog), a path to a .pth or .safetensors file, or `random`.
    pub weights: String,
    /// Vision transformers: how the table of positions is brought to another grid than the one it was learned for.
    pub positions: Positions,
}

/// How a table of positions is brought to another grid, bicubically in all cases (docs/backbones.md, Positions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// By the factor (side + 0.1) / old side, no antialiasing: DINOv2 without registers, and the released codes of Dinomaly and
    /// AnomalyDINO.
    #[default]
    Offset,
    /// By the sides, antialiased: DINOv2 with registers, timm, and hence anomalib.
    SizeAa,
    /// By the sides, no antialiasing.
    Size,
}

impl Positions {
    /// Whether it is the rule that is taken where none is named: no key holds that one.
    pub fn is_default(&self) -> bool {
        *self == Positions::default()
    }
}

impl Default for Backbone {
    fn default() -> Self {
        Backbone {
            name: "wide_resnet50_2".into(),
            layers: Vec::new(),
            weights: "imagenet".into(),
            positions: Positions::default(),
        }
    }
}

/// How maps become patch features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// PatchCore's: 3×3 neighbourhoods flattened, pooled into bins per layer, stacked and pooled again.
    #[default]
    Patchcore,
    /// Average pool, resize to the first layer's map, concatenate channels.
    Concat,
    /// Average pool, resize to the last layer's map with aligned corners and no antialiasing, concatenate channels (UniAD).
    ConcatDeepest,
}

/// Patch features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Features {
    /// How maps become patch features.
    pub aggregation: Aggregation,
    /// Values per patch after aggregation; 0 = 1536 for `patchcore`, all channels for `concat` and
    /// `concat_deepest` (which know no other).
    #[schemars(range(max = 16384))]
    pub dim: usize,
    /// `patchcore` only: values per layer before the layers are stacked; 0 = `dim`.
    #[schemars(range(max = 16384))]
    pub pretrain_dim: usize,
    /// Side of the neighbourhood that is averaged around each position (odd).
    #[schemars(range(min = 1, max = 15))]
    pub patch: usize,
    /// How features are kept in the store. In 16 bits they take half of the disk, and what is computed from them is computed
    /// from the rounded values.
    pub store: StoredAs,
}

impl Default for Features {
    fn default() -> Self {
        Features { aggregation: Aggregation::Patchcore, dim: 0, pretrain_dim: 0, patch: 3, store: StoredAs::F32 }
    }
}

/// How features are kept in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoredAs {
    /// As they were computed.
    #[default]
    F32,
    /// Rounded to 11 bits of precision; none may exceed 65,504.
    F16,
    /// Rounded to 8 bits of precision.
    Bf16,
}

impl StoredAs {
    /// The word for it in an experiment.
    pub fn name(self) -> &'static str {
        match self {
            StoredAs::F32 => "f32",
            StoredAs::F16 => "f16",
            StoredAs::Bf16 => "bf16",
        }
    }
}

/// How a truth mask reaches the evaluation resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskResize {
    /// Binarise (≠ 0), Pillow's antialiased bilinear on 0/255, then > 0.5.
    #[default]
    Bilinear05,
    /// The same, then > 0: whatever the defect touches (Dinomaly's rule); regions grow by about a pixel.
    Bilinear0,
    /// Nearest neighbour.
    Nearest,
    /// Area average, then > 0.5.
    Area05,
    /// Bilinear, then only pixels that stay exactly 1 (what an integer cast keeps).
    IntTrunc,
}

/// How scores meet the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// Side of the maps and masks that pixel metrics see; 0 = each image's original size.
    #[schemars(range(max = 8192))]
    pub size: usize,
    /// How masks reach that size.
    pub mask_resize: MaskResize,
    /// Which AUPRO.
    pub pro: Pro,
    /// False positive rate up to which AUPRO is integrated.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub pro_limit: f64,
    /// Which average precision.
    pub ap: Ap,
}

impl Default for Evaluation {
    fn default() -> Self {
        let Definitions { ap, pro, pro_limit } = Definitions::default();
        Evaluation { size: 256, mask_resize: MaskResize::default(), pro, pro_limit, ap }
    }
}

impl Evaluation {
    /// By which definitions metrics are computed.
    pub fn definitions(&self) -> Definitions {
        Definitions { ap: self.ap, pro: self.pro, pro_limit: self.pro_limit }
    }
}
