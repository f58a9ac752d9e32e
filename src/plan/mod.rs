//! From runs to stages: what is computed, from what, under which key.
//!
//! Owns: what a stage is, stage keys, the graph of a run, the inputs that every method gets. Does not own: computing (`run`)
//! or files (`store`). Keys are known without computing anything.

mod compute;
mod contents;
mod graph;
mod inputs;
mod pictures;

pub use compute::{Compute, Computed, Handle, Job, Notice, RowsOf, StageId, Work};
pub(crate) use contents::content;
pub use contents::{
    Bank, Content, Embedding, Features, HasImages, HasRows, ImageRows, IsBank, Metrics, Model, Neighbours, OriginRows,
    Scores,
};
pub use graph::{Graph, Stage, StageKind};
pub use inputs::{ClassInputs, Environment, Inputs, OutlierCategory, SeenInput, Shape, Tested};
pub use pictures::{Level, NetworkInput, Pictures};
