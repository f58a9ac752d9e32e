//! Experiment files: TOML in, typed and fully resolved experiment out.
//!
//! Owns: the wire types, the JSON Schema made from them, includes, variants, sweeps, defaults, and faults that point at
//! the line. Does not own: what a method's parameters mean (`methods`), or whether datasets and weights exist (`plan`).

pub mod check;
mod claim;
mod diagnostic;
mod experiment;
mod figure;
mod file;
mod method;
mod sweep;
pub mod tree;
mod types;

pub use claim::{Claim, Comparison, NarrowedSide, Side, Tolerances};
pub use diagnostic::{Diagnostic, Place, Source};
pub use experiment::{BASE_VARIANT, Experiment, Run, RunSpec, canonical_json, load, schema};
pub use figure::{Figure, FigureKeys, FigureKind, Keys, Need, Selection, WantedEmbedding, WantedImages};
pub use file::{Dimension, ExperimentFile, MetricName, Names, Table, VariantFile};
pub use method::{Kinds, MethodContext, MethodFault, MethodKind, read_params, schema_of, take_keys, write_params};
pub use sweep::{lists_variant, names_variant};
pub use types::*;
