//! Banks of patch features: choosing their rows and looking up neighbours in them.
//!
//! Owns: exact nearest neighbours, the greedy coreset and its random projection. Does not own: features, what a method
//! does with a distance, storing banks.

mod coarse;
pub mod coreset;
pub mod distance;
#[cfg(feature = "gpu")]
pub mod filter;
pub mod neighbours;
mod parts;
mod plain;
mod pool;
pub mod project;
mod search;
pub mod tile;
