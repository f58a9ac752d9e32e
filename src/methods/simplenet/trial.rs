//! SimpleNet's small study and its keys, for tests.

use crate::methods::trial::Differs::{Curve, Images, Metrics, Patches};
use crate::methods::trial::Promise::{LowerImages, MoreParameters, SmootherMaps};
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: LARGE, knobs: KNOBS };

const STUDY: &str = r#"
[method]
name = "simplenet"
discriminator.hidden = 8
noise.std = 0.1
train = { epochs = 2, batch = 4, lr_adaptor = 0.01, lr_discriminator = 0.01 }
score.sigma = 1.0
"#;

const LARGE: &[Assignment] = &[("method.discriminator.hidden", "1100"), ("method.train.batch", "32")];

const KNOBS: &[Knob] = &[
    Knob::new("adaptor.layers", &["0", "1", "2"], Patches).promises(&[MoreParameters]),
    Knob::new("discriminator.blocks", &["1", "2"], Patches).promises(&[MoreParameters]),
    Knob::new("discriminator.hidden", &["8", "9"], Patches).promises(&[MoreParameters]),
    Knob::new("discriminator.optimizer", &["\"adamw\"", "\"adam\""], Patches)
        .within(&[("method.train.weight_decay_discriminator", "0.5")]),
    Knob::new("noise.std", &["0.1", "0.3"], Patches),
    Knob::new("noise.mix", &["1", "4"], Patches),
    Knob::new("loss.margin", &["0.5", "0.1"], Patches),
    Knob::new("train.epochs", &["1", "2"], Patches),
    Knob::new("train.batch", &["4", "3"], Patches),
    Knob::new("train.drop_last", &["false", "true"], Patches).within(&[("method.train.batch", "3")]),
    Knob::new("train.patches_per_image", &["0", "16"], Patches),
    Knob::new("train.lr_adaptor", &["0.01", "0.001"], Patches),
    Knob::new("train.lr_discriminator", &["0.01", "0.001"], Patches),
    // The default decay times the default rate is less than an f32 can see beside 1.
    Knob::new("train.weight_decay_adaptor", &["0.01", "0.5"], Patches),
    Knob::new("train.weight_decay_discriminator", &["0.0", "0.5"], Patches),
    Knob::new("train.schedule", &["\"constant\"", "\"cosine\""], Patches),
    Knob::new("train.schedule_floor", &["0.4", "0.1"], Patches).within(&[("method.train.schedule", "\"cosine\"")]),
    Knob::new("train.select", &["\"last\"", "\"best_test\""], Patches)
        .within(&[("method.train.epochs", "8"), ("method.train.lr_discriminator", "0.3")]),
    Knob::new("train.curve", &["false", "true"], Curve),
    Knob::new("score.image", &["\"patches\"", "\"map\""], Images),
    Knob::new("score.top_k", &["1", "5"], Images).promises(&[LowerImages]),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Metrics).promises(&[SmootherMaps]),
];
