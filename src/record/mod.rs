//! What a run leaves in the results folder, and the strict reading of it.
//!
//! Owns: rows, files, provenance, the experiment-level views. Does not own: computing anything, or showing it (`report`).
//! Every run owns its folder; the experiment's files are views in canonical order, replaced in one step.

mod album;
mod detail;
mod find;
mod frames;
mod kept;
mod provenance;
mod read;
mod seal;
mod status;
mod views;
mod write;

use serde::{Deserialize, Serialize};

pub use album::{Album, AlbumImage, Sheet, read_album, tidy_album, write_album};
pub use detail::{
    AboutEmbedding, ChosenPictures, EmbeddedPart, Embedding, Picture, Pictures, chosen_pictures, embedding_name,
    read_embedding, read_pictures, write_embedding, write_pictures,
};
pub use find::{experiments, find_run};
pub use frames::{MetricRecord, csv_texts};
pub use provenance::{Cost, Provenance, StageLog};
pub use read::{
    Recorded, RecordedRun, is_none_recorded, read_declared, read_earlier, read_experiment, read_run_of, read_so_far,
    run_ids,
};
pub use seal::seal;
pub use status::{
    FailureStatus, LOST_SECONDS, Life, ProcessState, ProcessStatus, RunCounts, STATUS_FORMAT, StageStatus, Status,
    end_live, read_status, write_status,
};
pub use views::{rebuild_views, refresh_views};
pub use write::{MEAN, Record, RunFolder, Standing, copy_run, other_origin, write, write_experiment, write_failure};

/// Version of the record's files; part of every record's key.
pub const VERSION: u32 = 4;

/// Version of [`Results`] as JSON, which the store keeps: part of the key of every stage that writes it, so that another
/// form is made again and not misread.
pub const RESULTS_VERSION: u32 = 1;

/// Results of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// Class by class, in the dataset's order.
    pub classes: Vec<ClassResult>,
    /// Unweighted means over classes, one row per metric.
    pub means: Vec<MetricRow>,
    /// Which of the epochs that the method offered (0 when it offered one).
    pub epoch: usize,
    /// Mean image AUROC of each epoch that the method offered; empty when it offered one.
    pub curve: Vec<Option<f64>>,
}

/// Results of one class.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct ClassResult {
    pub name: String,
    pub metrics: Vec<MetricRow>,
    pub images: Vec<ImageRow>,
    /// Defect regions in the truth.
    pub regions: u64,
    /// Anomalous images whose mask has no pixel left at the evaluation size.
    pub empty_masks: u64,
}

/// One metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct MetricRow {
    pub metric: String,
    /// Value in [0, 1]; None when undefined.
    pub value: Option<f64>,
    /// Why it is undefined; empty otherwise.
    pub reason: String,
    /// Positives (images or pixels).
    pub positives: u64,
    pub negatives: u64,
}

/// One test image.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct ImageRow {
    pub class: String,
    /// Path relative to the dataset's root.
    pub path: String,
    /// Defect kind, or "good".
    pub defect: String,
    /// True for anomalous.
    pub label: bool,
    /// Image score, higher = more abnormal.
    pub score: f64,
}
