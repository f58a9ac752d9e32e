//! A fault in a TOML file: where (file, line, column), the offending text, and what to write instead.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;

/// One TOML file as read, kept so that faults found later can still show the line.
#[derive(Debug)]
pub struct Source {
    /// Path as the user wrote it.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// A piece of a TOML file.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// Byte range in its text.
    pub range: std::ops::Range<usize>,
}

/// A fault with its place. `Display` is one line (`file:line:column: message`); `render` shows the line as well.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    place: Place,
    message: String,
    help: Option<String>,
}

impl Place {
    /// Makes the fault at this place.
    pub fn fault(&self, message: impl Into<String>, help: Option<String>) -> Error {
        Error::Spec(Box::new(Diagnostic { place: self.clone(), message: message.into(), help }))
    }

    /// Line and column, both from 1, columns counted in characters.
    fn line_column(&self) -> (usize, usize) {
        let start = self.range.start.min(self.source.text.len());
        let before = &self.source.text.as_bytes()[..start];
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |p| p + 1);
        (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
    }
}

impl Diagnostic {
    /// Several lines for a terminal: place and message, the line with the piece marked, help.
    pub fn render(&self) -> String {
        let handler =
            miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor()).with_width(110);
        let Source { path, text } = &*self.place.source;
        let report = Report {
            message: self.message.clone(),
            help: self.help.clone(),
            code: miette::NamedSource::new(path.display().to_string(), text.clone()),
            place: self.place.range.clone().into(),
        };
        let mut out = String::new();
        if handler.render_report(&mut out, &report).is_err() {
            return self.to_string();
        }
        // The message stands before, in a form that editors find the place by.
        let marked = out.find('╭').map_or("", |start| &out[out[..start].rfind('\n').map_or(0, |end| end + 1)..]);
        format!("{}\n{}", self.located(), marked.trim_end())
    }

    /// `file:line:column: message`.
    fn located(&self) -> String {
        let (line, column) = self.place.line_column();
        format!("{}:{line}:{column}: {}", self.place.source.path.display(), self.message)
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.located())?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// What the renderer sees: the diagnostic joined with its source text.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
struct Report {
    message: String,
    #[help]
    help: Option<String>,
    #[source_code]
    code: miette::NamedSource<String>,
    #[label]
    place: miette::SourceSpan,
}
