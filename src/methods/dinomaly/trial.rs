//! Dinomaly's small study and its keys, for tests.

use crate::methods::trial::Differs::{Curve, Images, Metrics, Patches};
use crate::methods::trial::Promise::{MoreParameters, SmootherMaps};
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: LARGE, knobs: KNOBS };

const STUDY: &str = r#"
[method]
name = "dinomaly"
encoder = { layers = "concat" }
network = { blocks = 2, groups = 1, head_width = 38, expansion = 2 }
loss = { warmup = 2 }
train = { epochs = 2, steps = 3, batch = 4, warmup = 2 }
"#;

/// Tokens of 152 values, 40 × 40 of 16 images, and twice that inside: 7.8 million values.
const LARGE: &[Assignment] =
    &[("image.size", "320"), ("method.train.batch", "16"), ("method.train.epochs", "1"), ("method.train.steps", "2")];

/// Two layers of one width and one grid.
const STACKED: &[Assignment] =
    &[("backbone.layers", "[\"block9\", \"stride16\"]"), ("method.network.head_width", "56")];

/// Edges at which nothing falls away.
const MIRRORED: &[Assignment] = &[("method.score.border", "\"reflect\"")];

/// Weights whose sum is near one, and steps that make them count.
const SHARP: &[Assignment] = &[
    ("method.network.attention", "\"softmax\""),
    ("method.train.lr", "0.02"),
    ("method.train.epochs", "3"),
    ("method.train.steps", "10"),
];

/// Gradients that fall for longer than the second moment remembers a little of.
const FALLING: &[Assignment] =
    &[("method.train.lr", "0.01"), ("method.train.clip", "0.0"), ("method.train.steps", "40")];

/// Some steps of a size that shows.
const LONGER: &[Assignment] = &[("method.train.epochs", "3"), ("method.train.steps", "4")];

/// Blocks of a vision transformer.
const TRANSFORMER: &[Assignment] = &[
    ("image.size", "70"),
    ("backbone.name", "\"dinov2_vits14_reg\""),
    ("backbone.weights", "\"random\""),
    ("backbone.layers", "[\"block0\", \"block1\"]"),
    ("method.encoder.layers", "\"stack\""),
    ("method.network.head_width", "64"),
];

const KNOBS: &[Knob] = &[
    Knob::new("encoder.layers", &["\"stack\"", "\"concat\""], Patches).within(STACKED),
    Knob::new("encoder.tokens", &["\"all\"", "\"patches\"", "\"recentred\""], Patches).within(TRANSFORMER),
    Knob::new("network.groups", &["1", "2"], Patches).within(TRANSFORMER),
    Knob::new("network.blocks", &["2", "4"], Patches).promises(&[MoreParameters]),
    Knob::new("network.head_width", &["38", "19"], Patches),
    Knob::new("network.expansion", &["1", "2"], Patches).promises(&[MoreParameters]),
    Knob::new("network.dropout", &["0.0", "0.2", "0.4"], Patches),
    Knob::new("network.mlp_bias", &["false", "true"], Patches).promises(&[MoreParameters]),
    Knob::new("network.attention", &["\"linear\"", "\"softmax\""], Patches).within(LONGER),
    Knob::new("network.epsilon", &["0.0", "1.0"], Patches).within(SHARP),
    Knob::new("network.neighbour_mask", &["0", "1", "3"], Patches).within(LONGER),
    Knob::new("loss.mined", &["0.0", "0.5", "0.9"], Patches),
    Knob::new("loss.factor", &["0.0", "0.1", "1.0"], Patches),
    Knob::new("loss.warmup", &["0", "2", "8"], Patches),
    Knob::new("train.epochs", &["0", "1", "2"], Patches),
    Knob::new("train.steps", &["3", "2"], Patches),
    Knob::new("train.batch", &["4", "3"], Patches),
    Knob::new("train.lr", &["0.002", "0.0002", "0.01"], Patches),
    Knob::new("train.lr_final", &["0.0002", "0.002"], Patches),
    Knob::new("train.warmup", &["2", "0", "5"], Patches),
    Knob::new("train.weight_decay", &["0.0", "10.0"], Patches),
    Knob::new("train.epsilon", &["1e-10", "1e-3"], Patches),
    Knob::new("train.amsgrad", &["true", "false"], Patches).within(FALLING),
    Knob::new("train.clip", &["0.1", "0.0"], Patches),
    Knob::new("train.select", &["\"last\"", "\"best_test\""], Patches).within(&[("method.train.epochs", "8")]),
    Knob::new("train.curve", &["false", "true"], Curve),
    Knob::new("score.align_corners", &["true", "false"], Images),
    Knob::new("score.size", &["256", "0", "100"], Images),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Images).within(MIRRORED).promises(&[SmootherMaps]),
    Knob::new("score.kernel", &["1", "5", "9"], Images).within(MIRRORED).promises(&[SmootherMaps]),
    Knob::new("score.border", &["\"zero\"", "\"reflect\""], Images),
    Knob::new("score.smooth_maps", &["true", "false"], Metrics),
    Knob::new("score.top_fraction", &["0.01", "0.1", "1.0"], Images),
];
