//! The forms in which tables, rankings and claims leave: text, Markdown, CSV, LaTeX and HTML, a file each.
//!
//! Owns: what a form is, and writing the files. Does not own: what is shown. A new form is a file and a row here.

pub mod csv;
mod html;
pub mod latex;
mod markdown;
mod text;

use std::path::PathBuf;

use super::claims::Checked;
use super::frame::Wanted;
use super::{Rendered, balance, costs, remove_others};
use crate::error::Result;
use crate::record::Recorded;
use crate::store::write_atomically;

pub use html::{Field, Html, sheet, sortable, titled};
pub use text::{Text, plain, ruled};

/// Texts in rows below a head.
#[derive(Clone, Debug)]
pub struct Sheet {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    pub fn new(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Self {
        Sheet { head: head.iter().map(|label| label.to_string()).collect(), rows: rows.collect() }
    }
}

/// A form in which tables and claims are shown.
pub trait Exporter: Sync {
    /// Ending of files in this form; `None` = it is shown and not written.
    fn ending(&self) -> Option<&'static str> {
        None
    }

    /// A table.
    fn table(&self, table: &Rendered) -> String;

    /// What belongs to a table and has files of its own: how their names end, and the texts.
    fn beside(&self, _table: &Rendered) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// All claims.
    fn claims(&self, checked: &[Checked]) -> String;
}

/// All forms.
pub const EXPORTERS: [&dyn Exporter; 5] = [&Text { width: None }, &markdown::Markdown, &csv::Csv, &latex::Latex, &Html];

/// Writes tables and claims below the experiment's folder in every form that has files, and returns the paths. Files of
/// tables and claims that are no longer declared go.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(recorded: &Recorded, tables: &[Rendered], claims: &[Checked]) -> Result<Vec<PathBuf>> {
    let folder = recorded.folder.join("tables");
    let mut files: Vec<(String, String)> = vec![("costs.csv".into(), costs::csv(recorded))];
    let held = balance::held(recorded, Wanted::default());
    if !held.is_empty() {
        files.push(("bank.csv".into(), balance::csv(&held)));
    }
    for exporter in EXPORTERS {
        let Some(ending) = exporter.ending() else { continue };
        for (number, table) in tables.iter().enumerate() {
            let name = format!("table{}", number + 1);
            files.push((format!("{name}.{ending}"), exporter.table(table)));
            files.extend(exporter.beside(table).into_iter().map(|(rest, text)| (name.clone() + rest, text)));
        }
        if !claims.is_empty() {
            files.push((format!("claims.{ending}"), exporter.claims(claims)));
        }
    }
    let write = |(name, text): (String, String)| {
        let path = folder.join(name);
        write_atomically(&path, text.as_bytes()).map(|()| path)
    };
    let paths = files.into_iter().map(write).collect::<Result<Vec<_>>>()?;
    remove_others(&folder, &["table", "claims"], &paths)?;
    Ok(paths)
}
