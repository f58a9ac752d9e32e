//! Experiment files: TOML in, typed and fully resolved experiment out.
//!
//! Owns: the wire types, the JSON Schema made from them, includes, variants, sweeps, defaults, and faults that point at
//! the line. Does not own: what a method's parameters mean (`methods`), or whether datasets and weights exist (`plan`).

pub mod check;
mod claim;
mod diagnostic;
mod dimension;
mod display;
mod experiment;
mod figure;
mod file;
mod method;
mod names;
mod open;
mod overrides;
mod resolved;
mod run;
mod schema;
mod settings;
mod sweep;
mod table;
pub mod tree;
mod types;

pub use crate::metrics::{Ap, MetricName, Pro};
pub use claim::{Arm, Claim, Said, Side};
pub use diagnostic::{Diagnostic, Place, Source};
pub use dimension::{DIMENSIONS, Dimension, DottedKey};
pub use display::DisplayNames;
pub use experiment::{Experiment, load, load_built_in, load_recorded, load_with};
pub use figure::{Caption, Figure, FigureKeys, FigureKind, Keys, Need, Selection, WantedEmbedding, WantedImages};
pub use file::{ExperimentFile, Names, Tolerances, Tracking};
pub use method::{
    Configured, Kinds, MethodContext, MethodFault, MethodKind, params_difference, params_schema, read_params,
    read_table, schema_of, take_keys,
};
pub use names::{Named, words_of};
pub use open::Readings;
pub use overrides::Override;
pub use run::{BASE_VARIANT, Run, RunSpec, SPEC_VERSION, id_of, leaves, repeated};
pub use schema::schema;
pub use settings::{Settings, canonical_json, difference, digest, merge, to_json};
pub use sweep::{in_words, lists_variant, names_variant, without_swept};
pub use table::Table;
pub use types::*;
