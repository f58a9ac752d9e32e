//! `dmad schema`: the JSON Schema of experiment files.

use crate::error::Result;
use crate::{report, spec};

/// Prints the schema.
pub fn run() -> Result<()> {
    super::print(&format!("{:#}", spec::schema(&report::kinds())))
}
