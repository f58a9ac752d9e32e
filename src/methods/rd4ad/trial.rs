//! RD4AD's small study and its keys, for tests.

use crate::methods::trial::Differs::{Curve, Images, Patches};
use crate::methods::trial::Promise::SmootherMaps;
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: LARGE, knobs: KNOBS };

const STUDY: &str = r#"
[method]
name = "rd4ad"
train = { epochs = 2, batch = 4 }
"#;

/// Maps of 80 × 80 places and 24 channels of 32 images: 5 million values.
const LARGE: &[Assignment] = &[
    ("image.size", "320"),
    ("backbone.layers", "[\"stride4\", \"stride8\"]"),
    ("method.train.batch", "32"),
    ("method.train.epochs", "1"),
];

const KNOBS: &[Knob] = &[
    Knob::new("loss.cosine", &["\"flatten\"", "\"per_location\""], Patches),
    Knob::new("loss.level_weights", &["[]", "[1.0, 0.0]", "[0.5, 2.0]"], Patches),
    Knob::new("train.epochs", &["0", "1", "2"], Patches),
    Knob::new("train.batch", &["4", "3"], Patches),
    Knob::new("train.lr", &["0.005", "0.0005", "0.0"], Patches),
    Knob::new("train.lr_decay_at", &["1.0", "0.5", "0.0"], Patches),
    Knob::new("train.lr_factor", &["0.1", "0.5"], Patches).within(&[("method.train.lr_decay_at", "0.5")]),
    Knob::new("train.select", &["\"last\"", "\"best_test\""], Patches)
        .within(&[("method.train.epochs", "8"), ("method.train.lr", "0.03")]),
    Knob::new("train.curve", &["false", "true"], Curve),
    Knob::new("score.align_corners", &["true", "false"], Patches),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Images).promises(&[SmootherMaps]),
];
