//! BGAD's small study and its keys, for tests.

use crate::methods::trial::Differs::{Curve, Patches};
use crate::methods::trial::Promise::MoreParameters;
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: LARGE, knobs: KNOBS };

const STUDY: &str = r#"
protocol.seen.count = 2

[method]
name = "bgad"
flow = { blocks = 2, position = 4 }
anomalies.repeat = 2
train = { epochs = 3, sub_epochs = 1, batch = 4, chunk = 64, lr = 0.01, warmup_epochs = 1 }
"#;

/// Subnets of 2048 places whose hidden layers have 8 million values.
const LARGE: &[Assignment] = &[
    ("method.flow.position", "2048"),
    ("method.flow.blocks", "1"),
    ("method.train.batch", "32"),
    ("method.train.chunk", "4096"),
    ("method.train.epochs", "2"),
];

const BALANCED: &[Assignment] = &[("method.train.sampling", "\"balanced\""), ("method.train.steps", "2")];
const ALL_PASTED: &[Assignment] = &[("method.anomalies.pasted", "1.0")];
const ODD_BATCHES: &[Assignment] = &[("method.train.batch", "5")];

const KNOBS: &[Knob] = &[
    Knob::new("flow.blocks", &["1", "2"], Patches).promises(&[MoreParameters]),
    Knob::new("flow.clamp", &["1.9", "0.5"], Patches),
    Knob::new("flow.clamp_style", &["\"pinned\"", "\"newer\""], Patches),
    Knob::new("flow.position", &["4", "8"], Patches).promises(&[MoreParameters]),
    Knob::new("anomalies.repeat", &["2", "3"], Patches),
    Knob::new("anomalies.pasted", &["0.0", "0.5", "1.0"], Patches),
    Knob::new("anomalies.changes", &["\"subset\"", "\"full\"", "\"none\""], Patches).within(ALL_PASTED),
    Knob::new("anomalies.mask_resize", &["\"nearest\"", "\"max_pool\""], Patches),
    Knob::new("loss.engine", &["\"anomalies\"", "\"normals\""], Patches),
    Knob::new("loss.pos_beta", &["0.01", "0.3"], Patches),
    Knob::new("loss.margin", &["0.1", "1.0"], Patches),
    Knob::new("loss.normalizer", &["10.0", "3.0"], Patches),
    Knob::new("loss.weight", &["1.0", "0.1"], Patches),
    Knob::new("loss.focal", &["true", "false"], Patches),
    Knob::new("train.epochs", &["2", "3"], Patches),
    Knob::new("train.sub_epochs", &["1", "2"], Patches),
    Knob::new("train.batch", &["4", "3"], Patches),
    Knob::new("train.drop_last", &["true", "false"], Patches).within(ODD_BATCHES),
    Knob::new("train.chunk", &["64", "32"], Patches),
    Knob::new("train.sampling", &["\"shuffle\"", "\"balanced\""], Patches).within(&[("method.train.steps", "2")]),
    Knob::new("train.steps", &["2", "3"], Patches).within(BALANCED),
    Knob::new("train.lr", &["0.01", "0.001"], Patches),
    Knob::new("train.lr_floor", &["0.001", "0.5"], Patches),
    Knob::new("train.warmup_epochs", &["0", "1", "2"], Patches),
    Knob::new("train.warmup_start", &["0.1", "0.5"], Patches),
    Knob::new("train.warmup", &["\"counted\"", "\"released\""], Patches)
        .within(&[("method.train.batch", "2"), ("method.train.warmup_epochs", "2")]),
    Knob::new("train.adam", &["\"per_level\"", "\"shared_zero_grad\""], Patches),
    Knob::new("train.select", &["\"last\"", "\"best_test\""], Patches)
        .within(&[("method.train.epochs", "8"), ("method.train.lr", "0.1")]),
    Knob::new("train.curve", &["false", "true"], Curve),
    // The test set's largest likelihoods need not be those of training.
    Knob::new("score.logp_ref", &["\"train\"", "\"test\""], Patches),
];
