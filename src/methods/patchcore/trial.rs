//! PatchCore's small study and its keys, for tests.

use crate::methods::trial::Differs::{Images, Metrics, Patches};
use crate::methods::trial::Promise::{
    HigherPatches, LargerBanks, LowerImages, LowerPatches, SmootherMaps, SquaredPatches,
};
use crate::methods::trial::{Knob, Trial};

pub const TRIAL: Trial = Trial { study: STUDY, large: &[], knobs: KNOBS };

const STUDY: &str = r#"
[method]
name = "patchcore"
bank.normal = { ratio = 0.1, projection = 8, starts = 2 }
score.sigma = 1.0
"#;

const KNOBS: &[Knob] = &[
    Knob::new("bank.normal.ratio", &["0.1", "0.2"], Patches).promises(&[LargerBanks, LowerPatches]),
    Knob::new("bank.normal.scope", &["\"joint\"", "\"per_class\""], Patches),
    Knob::new("bank.normal.projection", &["0", "8"], Patches),
    Knob::new("bank.normal.projection_kind", &["\"uniform\"", "\"gaussian\""], Patches)
        .within(&[("method.bank.normal.projection", "8")]),
    Knob::new("bank.normal.selection", &["\"approximate\"", "\"plain\""], Patches),
    Knob::new("bank.normal.starts", &["1", "7"], Patches),
    Knob::new("score.neighbours", &["1", "3"], Patches).promises(&[HigherPatches]),
    Knob::new("score.squared", &["false", "true"], Patches).promises(&[SquaredPatches]),
    Knob::new("score.reweight", &["0", "3"], Images),
    Knob::new("score.top_k", &["1", "5"], Images).promises(&[LowerImages]),
    Knob::new("score.sigma", &["0.0", "1.0", "4.0"], Metrics).promises(&[SmootherMaps]),
];
