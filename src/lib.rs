//! `dmad`: an experiment-tracking benchmark harness for industrial image anomaly detection.
//!
//! A study is one TOML file. It expands into runs; a run is a graph of cached stages; what it leaves is a record; reports
//! are made from records alone. The modules, in the order in which data flows through them:
//!
//! | module | what it owns |
//! |---|---|
//! | [`metrics`] | from scores to numbers: definitions, exact ways to compute them, intervals |
//! | [`spec`] | experiment files: TOML in, typed and resolved runs out, faults that point at the line |
//! | [`plan`] | stages and their keys; what a method is given |
//! | [`store`] | artifacts on disk: atomic, checksummed, mapped |
//! | [`data`] | datasets: catalog, layouts, decoding, masks, splits, seen anomalies |
//! | [`backbone`] | frozen networks and their weights |
//! | [`features`] | maps to patch features |
//! | [`bank`] | coresets and exact nearest neighbours |
//! | [`embed`] | rows as points of a plane: PCA and t-SNE |
//! | [`train`] | parameters, layers, optimisers and the loop over epochs that trained methods share |
//! | [`methods`] | the compared systems, one row of a registry each |
//! | [`maps`] | from patch scores to maps |
//! | [`paper`] | what the paper printed, whether it agrees with itself, and what a comparison with it comes to |
//! | [`run`] | doing it all, foretelling it, and the one place where scores meet the truth |
//! | [`record`] | what a run leaves in `results/` |
//! | [`report`] | tables, figures, rankings, claims, verdicts, differences and one page, from records alone |
//! | [`cli`] | one file per command |
//!
//! Invariants:
//! - Imports point up this list, never down. `metrics` knows no images and no tensors.
//! - A method has no path to the labels or masks of test images: they are in `data::Truth`, which only `run::evaluate` opens.
//! - `report` never runs a model.
//! - All randomness comes from [`random`]; nothing depends on threads, time or file-system order.

pub mod backbone;
pub mod bank;
pub mod cli;
pub mod clock;
pub mod data;
pub mod device;
pub mod embed;
pub mod error;
pub mod features;
pub mod maps;
pub mod matrix;
pub mod memory;
pub mod methods;
pub mod metrics;
pub mod paper;
pub mod plan;
pub mod random;
pub mod record;
pub mod report;
pub mod run;
pub mod spec;
pub mod store;
pub mod train;
