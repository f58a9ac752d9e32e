//! `dmad schema`: the JSON Schema of experiment files.

use crate::error::{Error, Result};
use crate::{report, spec};

/// Prints the schema.
pub fn run() -> Result<()> {
    let text = serde_json::to_string_pretty(&spec::schema(&report::kinds()));
    let text = text.map_err(|fault| {
        Error::usage(format!("the schema cannot be printed: {fault}"), "report this as a fault of the program")
    })?;
    super::print(&text)
}
