//! DRA.

mod loss;
mod network;
mod params;
mod trainer;

pub use loss::{Prior, deviation_loss};
pub use network::{HEADS, Heads, Network, top_count};
pub use params::*;
pub use trainer::{Batch, Label, StepReport, Trainer};
