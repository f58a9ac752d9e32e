//! What generic tests need of a method: a small study, and what each of its keys must change there. Plain data.
//!
//! Owns: the form of these rows. Does not own: the rows, which stand beside each method, or the tests that hold every
//! method to them (`tests/it/knobs.rs`, `golden.rs`, `resume.rs`, `sameness.rs`).

/// A dotted key of an experiment file and a TOML literal.
pub type Assignment = (&'static str, &'static str);

/// The smallest study that shows everything a method does.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// `[method]` of a study that takes milliseconds: 64 × 64 images, 8 × 8 patches of 24 columns, 8 training images.
    pub study: &'static str,
    /// Settings under which one training step is as large as tensor libraries want before they split work between threads
    /// (4 Mi values with 32 training images), or does not divide evenly. Empty where there is no such step.
    pub large: &'static [Assignment],
    /// One row for every key of the method.
    pub knobs: &'static [Knob],
}

/// One key, and what turning it must do.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// Dotted key: below `method` in a method's rows.
    pub key: &'static str,
    /// Settings under which it has to matter.
    pub context: &'static [Assignment],
    /// TOML literals, all its words among them. No two may give the same numbers.
    pub values: &'static [&'static str],
    /// Where the numbers must differ.
    pub differs: Differs,
    /// In which direction they must move from each value to the next.
    pub promises: &'static [Promise],
}

/// What of a record must differ. A key that changes patch scores must do so there, not only in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// Scores of patches.
    Patches,
    /// Scores of images.
    Images,
    /// Metrics alone.
    Metrics,
    /// What is recorded of the epochs.
    Curve,
    /// What is recorded of the losses: which there are, and their values.
    Losses,
}

/// What a key says of its direction; held from each of a knob's values to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// No patch scores higher.
    LowerPatches,
    /// No patch scores lower.
    HigherPatches,
    /// Every patch score is the square of what it was.
    SquaredPatches,
    /// No image scores higher.
    LowerImages,
    /// Neighbouring pixels of the maps differ less.
    SmootherMaps,
    /// The banks take more room.
    LargerBanks,
    /// The model has more parameters.
    MoreParameters,
}

impl Knob {
    /// A key that matters in the small study as it is and promises no direction.
    pub const fn new(key: &'static str, values: &'static [&'static str], differs: Differs) -> Self {
        Knob { key, context: &[], values, differs, promises: &[] }
    }

    /// The same where `context` is set.
    pub const fn within(self, context: &'static [Assignment]) -> Self {
        Knob { context, ..self }
    }

    /// The same with what it promises.
    pub const fn promises(self, promises: &'static [Promise]) -> Self {
        Knob { promises, ..self }
    }
}
