//! `dmad`: an experiment-tracking benchmark harness for industrial image anomaly detection.

pub mod backbone;
pub mod cli;
pub mod data;
pub mod error;
pub mod features;
pub mod matrix;
pub mod random;
pub mod spec;
