//! `dmad`: an experiment-tracking benchmark harness for industrial image anomaly detection.
//!
//! An experiment is one TOML file. It expands into runs; a run is a graph of cached stages; what it leaves is a record; reports
//! are made from records alone. `docs/glossary.md` fixes the words, ARCHITECTURE.md says how the pieces meet. The modules, each
//! of which may use those above it:
//!
//! | module | what it owns |
//! |---|---|
//! | [`error`], [`console`], [`clock`], [`memory`], [`naive`], [`stop`], [`threads`], [`random`], [`matrix`] | errors with their help, messages, time and machine, allocation, whether plain twins compute, whether to end, many small things side by side, named streams of draws, rows of numbers |
//! | [`metrics`] | from scores and truth to numbers; knows no images and no tensors |
//! | [`spec`] | experiment files: TOML in, typed and resolved runs out, faults that point at the line |
//! | [`store`] | artifacts on disk: atomic, checksummed, mapped |
//! | [`fetch`] | downloads that resume and are checked, archives that stay inside their folder |
//! | [`data`] | datasets: catalog, layouts, decoding, masks, splits, seen anomalies |
//! | [`augment`] | changes of training images: flips, turns, colours, pasted pieces, synthetic anomalies |
//! | [`maps`] | from patch scores to maps, and the colours they are shown in |
//! | [`paper`] | what the paper printed, whether it agrees with itself, and what a comparison with it comes to |
//! | [`device`] | which device computes, opened when something is computed |
//! | [`backbone`] | frozen networks and their weights |
//! | [`features`] | maps to patch features |
//! | [`bank`] | coresets and exact nearest neighbours |
//! | [`embed`] | rows as points of a plane: PCA and t-SNE |
//! | [`plan`] | what a stage is, stages and their keys, what a method is given |
//! | [`train`] | parameters, layers, optimisers and the loop over epochs that trained methods share |
//! | [`methods`] | the compared systems, one row of a registry each |
//! | [`record`] | what a run leaves in `results/` |
//! | [`run`] | doing it all, foretelling it, and the place where scores meet the truth |
//! | [`report`] | tables, figures, rankings, claims, verdicts, differences and one page, from records alone |
//! | [`export`] | recorded runs for other programs: CSV, TensorBoard, MLflow |
//! | [`cli`] | one file per command |
//!
//! Invariants:
//! - Imports point up this list, never down (a test reads them); `error` alone knows the diagnostics of `spec`.
//! - No type that a method is given leads to the labels or masks of test images.
//! - `report` opens no dataset, no weights and no device, and runs no model.
//! - All randomness comes from [`random`]; nothing depends on threads, time or file-system order.

pub mod augment;
pub mod backbone;
pub mod bank;
pub mod cli;
pub mod clock;
pub mod console;
pub mod data;
pub mod device;
pub mod embed;
pub mod error;
pub mod export;
pub mod features;
pub mod fetch;
pub mod maps;
pub mod matrix;
pub mod memory;
pub mod methods;
pub mod metrics;
pub mod naive;
pub mod paper;
pub mod plan;
pub mod random;
pub mod record;
pub mod report;
pub mod run;
pub mod spec;
pub mod stop;
pub mod store;
pub mod threads;
pub mod train;
