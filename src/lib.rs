//! `dmad`: an experiment-tracking benchmark harness for industrial image anomaly detection.

pub mod cli;
pub mod error;
pub mod maps;
pub mod matrix;
pub mod metrics;
pub mod random;
pub mod spec;
