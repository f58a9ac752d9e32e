//! From runs to stages: what is computed, from what, under which key.
//!
//! Owns: stage keys, the graph of a run, the inputs that every method gets. Does not own: computing (`run`) or files
//! (`store`). Keys are known without computing anything.

mod graph;
mod inputs;

pub use graph::{Computed, Graph, Job, Notice, Stage, StageId, Work};
pub use inputs::{ClassInputs, Environment, Inputs, OutlierCategory, SeenInput, Tested};
