//! AnomalyDINO's small study and its keys, for tests.

use crate::methods::trial::Differs::{Images, Metrics, Patches};
use crate::methods::trial::Promise::{HigherPatches, LargerBanks, LowerImages, LowerPatches, SmootherMaps};
use crate::methods::trial::{Assignment, Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: &[], knobs: KNOBS };

const STUDY: &str = r#"
[method]
name = "anomalydino"
bank.shots = 2
bank.rotations = 1
coreset = { projection = 8, starts = 2 }
mask.threshold = 0.5
score.sigma = 1.0
"#;

const MASKED: &[Assignment] = &[("method.mask.apply", "\"all\"")];
const THINNED: &[Assignment] = &[("method.coreset.ratio", "0.3")];

const KNOBS: &[Knob] = &[
    Knob::new("bank.shots", &["1", "2", "0"], Patches).promises(&[LargerBanks, LowerPatches]),
    Knob::new("bank.pick", &["\"chunk\"", "\"random\""], Patches).within(&[("seeds", "[1]")]),
    Knob::new("bank.rotations", &["1", "8"], Patches).promises(&[LargerBanks, LowerPatches]),
    Knob::new("coreset.ratio", &["0.1", "0.3", "1.0"], Patches).promises(&[LargerBanks]),
    Knob::new("coreset.scope", &["\"joint\"", "\"per_class\""], Patches).within(THINNED),
    Knob::new("coreset.projection", &["0", "8"], Patches).within(THINNED),
    Knob::new("coreset.projection_kind", &["\"uniform\"", "\"gaussian\""], Patches).within(THINNED),
    Knob::new("coreset.selection", &["\"approximate\"", "\"plain\""], Patches).within(THINNED),
    Knob::new("coreset.starts", &["1", "7"], Patches).within(THINNED),
    Knob::new("mask.apply", &["\"listed\"", "\"all\"", "\"none\""], Patches)
        .within(&[("method.mask.classes", "[\"wood\"]")]),
    Knob::new("mask.classes", &["[]", "[\"wood\"]", "[\"tile\"]"], Patches),
    Knob::new("mask.threshold", &["0.3", "0.6"], Patches).within(MASKED),
    Knob::new("mask.references", &["false", "true"], Patches).within(MASKED).promises(&[HigherPatches]),
    Knob::new("mask.in_score", &["true", "false"], Images)
        .within(&[("method.mask.apply", "\"all\""), ("method.score.top_fraction", "0.2")]),
    Knob::new("score.metric", &["\"cosine\"", "\"euclidean\""], Patches),
    Knob::new("score.neighbours", &["1", "3"], Patches).promises(&[HigherPatches]),
    Knob::new("score.top_fraction", &["0.0", "0.05", "0.5"], Images).promises(&[LowerImages]),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Metrics).promises(&[SmootherMaps]),
];
