//! DRA's small study and its keys, for tests.

use crate::methods::trial::Differs::{Images, Metrics, Patches};
use crate::methods::trial::Promise::{MoreParameters, SmootherMaps};
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: LARGE, knobs: KNOBS };

const STUDY: &str = r#"
protocol.seen.count = 2

[method]
name = "dra"
network = { hidden = 8, scales = 1, frozen_blocks = 9 }
references.count = 2
train = { epochs = 2, steps = 1, batch = 6, lr = 0.01 }
score.sigma = 1.0
"#;

/// A batch whose maps behind the stem are 5 million values.
const LARGE: &[Assignment] = &[("method.network.frozen_blocks", "0"), ("method.train.batch", "54")];

const EVERY_EPOCH: &[Assignment] = &[("method.train.schedule_every", "1"), ("method.train.epochs", "3")];
const UNSEEN: &[Assignment] = &[("protocol.seen.count", "0")];
const SMALLER: &[Assignment] = &[("method.network.scales", "2")];
const MAPPED: &[Assignment] = &[("method.score.map", "\"heads\"")];
const EXTERNAL: &[Assignment] = &[("method.pseudo.source", "\"external\""), ("method.pseudo.dataset", "\"textures\"")];

const KNOBS: &[Knob] = &[
    Knob::new("network.scales", &["1", "2"], Patches),
    Knob::new("network.pyramid", &["\"nearest\"", "\"bilinear\""], Patches).within(SMALLER),
    Knob::new("network.top_k", &["0.1", "0.5"], Images),
    Knob::new("network.hidden", &["8", "9"], Images).promises(&[MoreParameters]),
    Knob::new("network.seen", &["\"when_seen\"", "\"always\""], Images).within(UNSEEN),
    Knob::new("network.frozen_blocks", &["10", "9"], Patches).promises(&[MoreParameters]),
    Knob::new("references.count", &["2", "3"], Patches),
    Knob::new("references.train", &["\"random_mixed\"", "\"fixed\""], Patches),
    Knob::new("references.test", &["\"fixed_clean\"", "\"random_mixed\""], Patches),
    Knob::new("references.scope", &["\"any\"", "\"class\""], Patches),
    Knob::new("pseudo.probability", &["0.5", "0.9"], Patches),
    Knob::new("pseudo.source", &["\"cutmix\"", "\"external\""], Patches)
        .within(&[("method.pseudo.dataset", "\"textures\"")]),
    Knob::new("pseudo.dataset", &["\"textures\"", "\"textures_again\""], Patches).within(EXTERNAL),
    Knob::new("pseudo.cut.area", &["[0.02, 0.15]", "[0.3, 0.4]"], Patches),
    Knob::new("pseudo.cut.aspect", &["0.3", "0.9"], Patches),
    Knob::new("pseudo.cut.colour", &["0.1", "0.0", "0.4"], Patches),
    Knob::new("augment.rotation", &["180.0", "0.0", "20.0"], Patches),
    Knob::new("augment.flip", &["0.0", "0.5"], Patches),
    Knob::new("augment.colour", &["0.0", "0.2"], Patches),
    Knob::new("loss.margin", &["5.0", "0.5"], Patches),
    Knob::new("loss.prior_samples", &["5000", "0", "10"], Patches),
    Knob::new("train.epochs", &["1", "2"], Patches),
    Knob::new("train.steps", &["1", "2"], Patches),
    Knob::new("train.steps_by_class", &["false", "true"], Patches),
    Knob::new("train.batch", &["6", "8"], Patches),
    Knob::new("train.lr", &["0.01", "0.001"], Patches),
    Knob::new("train.weight_decay", &["0.00001", "0.5"], Patches),
    Knob::new("train.clip", &["1.0", "0.0"], Patches).within(&[("method.train.weight_decay", "0.5")]),
    Knob::new("train.schedule", &["\"code\"", "\"step\"", "\"constant\""], Patches).within(EVERY_EPOCH),
    Knob::new("train.schedule_every", &["1", "2"], Patches),
    Knob::new("train.schedule_factor", &["0.1", "0.5"], Patches).within(EVERY_EPOCH),
    Knob::new("score.weights", &["[-1.0, 1.0, 1.0, 1.0]", "[-1.0, 1.0, 1.0, 0.0]"], Images),
    Knob::new("score.map", &["\"none\"", "\"heads\""], Metrics),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Metrics).within(MAPPED).promises(&[SmootherMaps]),
];
