//! What records say, from records alone: tables, figures, rankings, claims, verdicts, one page. No model is ever run here.
//!
//! Owns: turning recorded rows into tables and judgements, and writing them as text, Markdown, CSV, LaTeX and HTML. Does
//! not own: what was recorded (`record`), the rules of judgements (`paper`), intervals (`metrics`).

mod balance;
pub mod claims;
mod costs;
pub mod diff;
pub mod evidence;
mod export;
mod figures;
pub mod frame;
mod labels;
mod marks;
mod notes;
mod page;
mod pivot;
pub mod ranking;
pub mod sources;
pub mod verdicts;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::methods;
use crate::record::Recorded;
use crate::spec::{Kinds, Table};

pub use claims::Checked;
pub use costs::text as stage_costs;
pub use export::{EXPORTERS, Exporter, Text, plain, ruled, write};
pub use figures::{FIGURES, Figures, Overlay, draw_figures, overlay, write_figures};
pub use labels::unused_names;
pub use page::{Contents, page};
pub use pivot::{Cell, Pivot};
pub use ranking::Ranking;

/// All that experiment files may name.
pub fn kinds() -> Kinds {
    Kinds { methods: methods::kinds(), figures: FIGURES.iter().map(|entry| &entry.kind).collect() }
}

/// A finished table.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Rendered {
    pub title: String,
    pub pivot: Pivot,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Who is best, where the table asks for it.
    pub rankings: Vec<Ranking>,
}

/// The declared tables, or one of all metrics by class when none is declared.
///
/// # Errors
/// A damaged record, where a table ranks.
pub fn tables(recorded: &Recorded) -> Result<Vec<Rendered>> {
    let (declared, by_class) = (&recorded.experiment.tables, Table::default());
    let specs = if declared.is_empty() { std::slice::from_ref(&by_class) } else { declared.as_slice() };
    let table = |spec: &Table| {
        let pivot = Pivot::new(recorded, spec);
        let rankings = ranking::rank(recorded, spec)?;
        let notes = notes::notes(recorded, spec, &pivot);
        let title = if spec.title.is_empty() { &recorded.experiment.title } else { &spec.title };
        Ok(Rendered { title: title.clone(), pivot, notes, rankings })
    };
    specs.iter().map(table).collect()
}

/// Removes the files of a folder that begin like ours and are not among `kept`.
fn remove_others(folder: &Path, beginnings: &[&str], kept: &[PathBuf]) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if beginnings.iter().any(|beginning| name.starts_with(beginning)) && !kept.contains(&path) && path.is_file() {
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}
