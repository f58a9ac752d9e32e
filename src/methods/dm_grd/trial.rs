//! DM-GRD's small study and its keys, for tests.

use crate::methods::trial::Differs::{Curve, Images, Losses, Metrics, Patches};
use crate::methods::trial::Promise::{LargerBanks, MoreParameters, SmootherMaps};
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: LARGE, knobs: KNOBS };

const STUDY: &str = r#"
[method]
name = "dm_grd"
synthesis.dataset = "textures"
fusion.scale = 10.0
memory.size = 4
train = { epochs = 2, steps = 2, batch = 4, warmup_steps = 2 }
score.top_k = 10
score.sigma = 1.0
"#;

/// One step whose compared maps, 208 images of 80 channels at 16 × 16 places, are 4 million values.
const LARGE: &[Assignment] =
    &[("image.size", "128"), ("method.train.batch", "208"), ("method.train.steps", "1"), ("method.train.epochs", "1")];

const CODE: &[Assignment] = &[("method.memory.select", "\"code\"")];
const PLAIN: &[Assignment] =
    &[("method.synthesis.anomaly.mix", "false"), ("method.synthesis.anomaly.blend", "\"draem\"")];
const CONTRAST: &[Assignment] = &[("method.loss.separation", "10.0"), ("method.loss.contrast_margin", "-0.5")];
const MARGIN: &[Assignment] = &[("method.loss.triplet", "\"on_msff\"")];

const KNOBS: &[Knob] = &[
    Knob::new("synthesis.dataset", &["\"textures\"", "\"textures_again\""], Patches),
    Knob::new("synthesis.anomaly.mix", &["true", "false"], Patches),
    Knob::new("synthesis.anomaly.low_frequency", &["0.1", "0.3"], Patches),
    Knob::new("synthesis.anomaly.threshold", &["0.5", "0.0"], Patches),
    Knob::new("synthesis.anomaly.blend", &["\"dmgrd\"", "\"draem\""], Patches),
    Knob::new("synthesis.anomaly.opacity", &["0.8", "0.1"], Patches).within(PLAIN),
    Knob::new("synthesis.anomaly.clip", &["false", "true"], Patches),
    Knob::new("synthesis.probability", &["0.5", "0.0", "1.0"], Patches),
    Knob::new("synthesis.order", &["\"coin\"", "\"alternate\""], Patches),
    Knob::new("memory.size", &["2", "4"], Patches).promises(&[LargerBanks]),
    Knob::new("memory.select", &["\"nearest_l2\"", "\"nearest_cos\"", "\"code\""], Patches),
    Knob::new("memory.normal", &["true", "false"], Patches),
    Knob::new("memory.abnormal", &["true", "false"], Patches),
    Knob::new("fusion.kind", &["\"pointwise\"", "\"msff\""], Patches).promises(&[MoreParameters]),
    Knob::new("fusion.scale", &["10.0", "20.0"], Patches),
    Knob::new("loss.kd_target", &["\"same\"", "\"clean\""], Patches),
    Knob::new("loss.separation", &["0.2", "2.0"], Patches).within(CONTRAST),
    Knob::new("loss.contrast", &["0.1", "1.0"], Patches).within(CONTRAST),
    Knob::new("loss.contrast_margin", &["-0.9", "0.5"], Patches).within(&[("method.loss.separation", "10.0")]),
    // Zero with no gradient: it is in the losses and nowhere else.
    Knob::new("loss.ot", &["\"off\"", "\"sinkhorn\""], Losses),
    Knob::new("loss.triplet", &["\"off\"", "\"log_only\""], Losses).within(CODE),
    Knob::new("loss.triplet", &["\"off\"", "\"on_msff\""], Patches),
    Knob::new("loss.triplet_weight", &["0.1", "1.0"], Patches).within(MARGIN),
    Knob::new("loss.triplet_margin", &["1.0", "0.0"], Patches).within(MARGIN),
    Knob::new("train.epochs", &["1", "2"], Patches),
    Knob::new("train.steps", &["2", "3"], Patches),
    Knob::new("train.batch", &["4", "3"], Patches),
    Knob::new("train.lr", &["0.005", "0.001"], Patches),
    Knob::new("train.lr_min", &["0.0001", "0.001"], Patches),
    Knob::new("train.warmup_steps", &["2", "0"], Patches),
    Knob::new("train.select", &["\"last\"", "\"best_test\""], Patches)
        .within(&[("method.train.epochs", "12"), ("method.train.lr", "0.1")]),
    Knob::new("train.curve", &["false", "true"], Curve),
    Knob::new("score.top_k", &["10", "1"], Images),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Metrics).promises(&[SmootherMaps]),
];
