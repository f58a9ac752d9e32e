//! UniAD's small study and its keys, for tests.

use crate::methods::trial::Differs::{Curve, Images, Metrics, Patches};
use crate::methods::trial::Promise::{LowerImages, MoreParameters, SmootherMaps};
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: &[UNEVEN], knobs: KNOBS };

/// Batches that no number of threads divides.
const UNEVEN: Assignment = ("method.train.batch", "7");

const STUDY: &str = r#"
[method]
name = "uniad"
network = { hidden = 16, heads = 2, feed_forward = 16, encoder_layers = 1, decoder_layers = 1 }
mask.size = 3
train = { epochs = 2, batch = 4, lr = 0.01 }
score.pool = 4
"#;

const KNOBS: &[Knob] = &[
    Knob::new("network.hidden", &["8", "16"], Patches).promises(&[MoreParameters]),
    Knob::new("network.heads", &["2", "4"], Patches),
    Knob::new("network.feed_forward", &["8", "16"], Patches).promises(&[MoreParameters]),
    Knob::new("network.encoder_layers", &["1", "2"], Patches).promises(&[MoreParameters]),
    Knob::new("network.decoder_layers", &["1", "2"], Patches).promises(&[MoreParameters]),
    Knob::new("network.dropout", &["0.1", "0.0", "0.5"], Patches),
    Knob::new("mask.size", &["1", "3", "5"], Patches),
    Knob::new("mask.encoder", &["true", "false"], Patches),
    Knob::new("mask.decoder_memory", &["true", "false"], Patches),
    Knob::new("mask.decoder_previous", &["true", "false"], Patches),
    Knob::new("jitter.scale", &["20.0", "0.0"], Patches),
    Knob::new("jitter.probability", &["1.0", "0.5", "0.0"], Patches).within(&[("method.train.epochs", "6")]),
    Knob::new("train.epochs", &["0", "1", "2"], Patches),
    Knob::new("train.batch", &["4", "3"], Patches),
    Knob::new("train.lr", &["0.01", "0.001", "0.0"], Patches),
    Knob::new("train.lr_drop_epoch", &["0", "1"], Patches),
    Knob::new("train.lr_factor", &["0.1", "0.5"], Patches).within(&[("method.train.lr_drop_epoch", "1")]),
    // The default decay times the default rate is less than an f32 can see beside 1.
    Knob::new("train.weight_decay", &["0.0", "0.5"], Patches),
    Knob::new("train.clip", &["0.1", "0.0"], Patches),
    Knob::new("train.select", &["\"last\"", "\"best_test\""], Patches)
        .within(&[("method.train.epochs", "4"), ("method.train.lr", "0.1")]),
    Knob::new("train.curve", &["false", "true"], Curve),
    Knob::new("score.image", &["\"max_pool\"", "\"mean\"", "\"std\""], Images),
    Knob::new("score.pool", &["4", "16"], Images).promises(&[LowerImages]),
    Knob::new("score.align_corners", &["true", "false"], Images),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Metrics).promises(&[SmootherMaps]),
];
