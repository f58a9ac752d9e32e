//! DMAD's small study and its keys, for tests.

use crate::methods::trial::Differs::{Curve, Images, Metrics, Patches};
use crate::methods::trial::Promise::{LargerBanks, LowerImages, MoreParameters, SmootherMaps};
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: LARGE, knobs: KNOBS };

const STUDY: &str = r#"
[method]
name = "dmad"
bank.normal = { ratio = 0.1, projection = 8, starts = 2 }
bank.outlier = { dataset = "textures", ratio = 0.2 }
noise.std = 0.1
mlp = { blocks = 2, hidden = 8 }
train = { epochs = 2, batch = 4, anomaly_batch = 4, lr_mlp = 0.01, lr_projection = 0.01 }
score.sigma = 1.0
"#;

/// 32 × 64 patches with as many pseudo-anomalies are 4,096 rows.
const LARGE: &[Assignment] =
    &[("method.mlp.hidden", "1100"), ("method.train.batch", "32"), ("method.train.anomaly_batch", "32")];

const SEEN: Assignment = ("protocol.seen.count", "2");
const PROJECTED: &[Assignment] = &[("method.bank.normal.projection", "8")];
const NO_OUTLIERS: Assignment = ("method.bank.outlier.enabled", "false");
const NO_SEEN_BANK: Assignment = ("method.bank.seen.enabled", "false");
const AREA: Assignment = ("method.filter.resize", "\"area\"");
const KMEANS: Assignment = ("method.bank.center.center", "\"kmeans\"");
const CLUSTERS: Assignment = ("method.bank.center.clusters", "3");
const IMAGE_ATTENTION: Assignment = ("method.attention.mode", "\"image\"");
const TOKEN_ATTENTION: Assignment = ("method.attention.mode", "\"token\"");
/// M_p is the whole abnormal bank, so that whatever changes it changes d_a.
const ONLY_CENTER: &[Assignment] = &[SEEN, NO_OUTLIERS, NO_SEEN_BANK];

const KNOBS: &[Knob] = &[
    Knob::new("bank.normal.ratio", &["0.1", "0.2"], Patches).promises(&[LargerBanks]),
    Knob::new("bank.normal.scope", &["\"joint\"", "\"per_class\""], Patches),
    Knob::new("bank.normal.projection", &["0", "8"], Patches),
    Knob::new("bank.normal.projection_kind", &["\"uniform\"", "\"gaussian\""], Patches).within(PROJECTED),
    Knob::new("bank.normal.selection", &["\"approximate\"", "\"plain\""], Patches),
    Knob::new("bank.normal.starts", &["1", "7"], Patches),
    Knob::new("bank.outlier.enabled", &["false", "true"], Patches).promises(&[LargerBanks]),
    Knob::new("bank.outlier.dataset", &["\"textures\"", "\"textures_again\""], Patches),
    Knob::new("bank.outlier.images_per_category", &["1", "2"], Patches).promises(&[LargerBanks]),
    Knob::new("bank.outlier.beta", &["0.6", "1.0", "0.0"], Patches),
    Knob::new("bank.outlier.ratio", &["0.2", "0.4"], Patches).promises(&[LargerBanks]),
    Knob::new(
        "bank.outlier.coreset",
        &[
            "\"normal\"",
            "{ projection = 4 }",
            "{ projection = 8, projection_kind = \"gaussian\" }",
            "{ projection = 8, selection = \"plain\" }",
            "{ projection = 8, starts = 7 }",
        ],
        Patches,
    ),
    Knob::new("bank.seen.enabled", &["false", "true"], Patches).within(&[SEEN]).promises(&[LargerBanks]),
    Knob::new("bank.center.enabled", &["false", "true"], Patches).within(&[SEEN, NO_OUTLIERS]).promises(&[LargerBanks]),
    Knob::new("bank.center.std", &["0.01", "0.2"], Patches).within(ONLY_CENTER),
    Knob::new("bank.center.relative", &["false", "true"], Patches).within(ONLY_CENTER),
    Knob::new("bank.center.center", &["\"global\"", "\"per_class\"", "\"kmeans\""], Patches).within(&[
        SEEN,
        NO_OUTLIERS,
        NO_SEEN_BANK,
        CLUSTERS,
    ]),
    Knob::new("bank.center.clusters", &["2", "3"], Patches).within(&[SEEN, NO_OUTLIERS, NO_SEEN_BANK, KMEANS]),
    Knob::new("bank.center.count_ratio", &["0.3", "1.0"], Patches).within(ONLY_CENTER).promises(&[LargerBanks]),
    Knob::new("filter.enabled", &["true", "false"], Patches).within(&[SEEN]).promises(&[LargerBanks]),
    Knob::new("filter.resize", &["\"bilinear\"", "\"area\"", "\"max\""], Patches)
        .within(&[SEEN, ("method.filter.threshold", "0.1")]),
    Knob::new("filter.threshold", &["0.0", "0.5"], Patches).within(&[SEEN, AREA]),
    // At this threshold some of the seen anomalies have no patch left, but not all.
    Knob::new("filter.on_empty", &["\"nearest\"", "\"skip\"", "\"error\""], Patches).within(&[
        SEEN,
        AREA,
        ("method.filter.threshold", "0.4"),
    ]),
    Knob::new("knowledge.distance", &["true", "false"], Patches).within(&[TOKEN_ATTENTION]),
    Knob::new("knowledge.batch_norm", &["\"on\"", "\"off\""], Patches),
    Knob::new("knowledge.batch_norm_layers", &["\"shared\"", "\"per_bank\""], Patches).promises(&[MoreParameters]),
    Knob::new("knowledge.batch_norm_rows", &["\"group\"", "\"all\""], Patches).within(&[SEEN, TOKEN_ATTENTION]),
    Knob::new("knowledge.batch_norm_test", &["\"running\"", "\"batch\""], Patches),
    Knob::new("knowledge.missing_bank", &["\"drop\"", "\"zero\""], Patches).within(&[NO_OUTLIERS]),
    Knob::new("attention.mode", &["\"token\"", "\"image\"", "\"literal\"", "\"off\""], Patches),
    Knob::new("attention.scale", &["\"none\"", "\"sqrt_c\""], Patches).within(&[IMAGE_ATTENTION]),
    Knob::new("attention.train", &["true", "false"], Patches).within(&[TOKEN_ATTENTION]),
    Knob::new("neighbours.exclude_self", &["false", "true"], Patches),
    Knob::new("neighbours.exclude_same_image", &["false", "true"], Patches).within(&[SEEN]),
    Knob::new("projection.shared", &["true", "false"], Patches).promises(&[MoreParameters]),
    Knob::new("mlp.blocks", &["1", "2", "3"], Patches).promises(&[MoreParameters]),
    Knob::new("mlp.hidden", &["8", "9"], Patches).promises(&[MoreParameters]),
    Knob::new("mlp.optimizer", &["\"adamw\"", "\"adam\""], Patches).within(&[("method.train.weight_decay_mlp", "0.5")]),
    Knob::new("noise.std", &["0.1", "0.3"], Patches),
    Knob::new("noise.relative", &["false", "true"], Patches),
    Knob::new("noise.where", &["\"o\"", "\"q\""], Patches),
    Knob::new("noise.shared_blocks", &["true", "false"], Patches),
    Knob::new("loss.margin", &["0.5", "0.1"], Patches),
    Knob::new("loss.lambda1", &["1.0", "0.5"], Patches),
    Knob::new("loss.lambda2", &["15.0", "1.0"], Patches).within(&[SEEN]),
    Knob::new("train.epochs", &["1", "2"], Patches),
    Knob::new("train.batch", &["4", "3"], Patches),
    Knob::new("train.anomaly_batch", &["4", "1"], Patches).within(&[SEEN]),
    Knob::new("train.patches_per_image", &["0", "16"], Patches),
    Knob::new("train.lr_projection", &["0.01", "0.001"], Patches),
    Knob::new("train.lr_mlp", &["0.01", "0.001"], Patches),
    // The default decay times the default rate is less than an f32 can see beside 1.
    Knob::new("train.weight_decay_projection", &["0.01", "0.5"], Patches),
    Knob::new("train.weight_decay_mlp", &["0.0", "0.5"], Patches),
    Knob::new("train.select", &["\"last\"", "\"best_test\""], Patches)
        .within(&[("method.train.epochs", "4"), ("method.train.lr_mlp", "0.1")]),
    Knob::new("train.curve", &["false", "true"], Curve).within(&[("method.train.epochs", "4")]),
    Knob::new("score.image", &["\"patches\"", "\"map\""], Images).within(&[("method.score.top_k", "1")]),
    Knob::new("score.top_k", &["1", "5"], Images).promises(&[LowerImages]),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Metrics).promises(&[SmootherMaps]),
];
