//! Experiment files: TOML in, typed experiment out.

mod types;

pub use types::*;

/// A fault in a TOML file (placeholder text form; the spans arrive with the parser).
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// The message.
    pub message: String,
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
