//! What the paper printed, and what may be said of it: its tables, its statements, whether they agree with themselves,
//! and what a comparison with our numbers comes to.
//!
//! Owns: the typed reading of `paper/published.csv`, `paper/second_sources.csv` (the same quantities from elsewhere) and
//! `paper/statements.toml`, the audit, and the rules of verdicts and claims. Does not own: our numbers (`record`), how
//! intervals are drawn (`metrics`), or how anything is shown (`report`). But for reading those files everything here is
//! pure: text and numbers in, judgements out.

pub mod audit;
pub mod claims;
mod origin;
mod printed;
mod published;
pub mod settings;
pub mod statements;
pub mod verdict;

pub use origin::{Origin, UNSAID};
pub use printed::Printed;
pub use published::{EMBEDDED, MEAN, PrintedKey, PrintedValue, Published};
