//! The one error type of the crate. Every variant names where the trouble is and, in `help`, what to do about it.
//!
//! Owns: the wording frame of messages, and what is said about a name that does not exist. Does not own: exit codes (`cli`
//! maps variants to them).

use std::path::{Path, PathBuf};

/// `Result` with the crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong because of the world outside the program. Bugs are assertions, not errors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A TOML file is wrong; the diagnostic carries file, line, column and the offending text.
    #[error("{0}")]
    Spec(Box<crate::spec::Diagnostic>),
    /// A dataset, image or mask is missing or broken.
    #[error("{}: {what}", path.display())]
    Data { path: PathBuf, what: String, help: String },
    /// A weights file is missing, broken, or belongs to another architecture.
    #[error("{}: {what}", path.display())]
    Weights { path: PathBuf, what: String, help: String },
    /// The asked-for device is not compiled in, not present, or computes wrong numbers.
    #[error("{what}")]
    Device { what: String, help: String },
    /// A stored artifact or record cannot be used.
    #[error("{}: {what}", path.display())]
    Store { path: PathBuf, what: String, help: String },
    /// A method or metric cannot work with what it was given.
    #[error("{what}")]
    Method { what: String, help: String },
    /// The command line asks for something that does not exist.
    #[error("{what}")]
    Usage { what: String, help: String },
    /// Several things are wrong, each of them told by itself.
    #[error("{}", lines(.0))]
    Several(Vec<Error>),
    /// The process was asked to end, and has.
    #[error("stopped; what is finished is kept")]
    Stopped,
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

/// What is done to files that others have written, such as images: where one cannot be read, the next may be.
const READING: [&str; 5] = ["read", "open", "list", "find", "map"];

/// What systems say of a disk that fails, is gone, or takes no file of this size.
#[cfg(unix)]
const BROKEN: [i32; 5] = [libc::EIO, libc::ENXIO, libc::ENODEV, libc::EFBIG, libc::ESTALE];
#[cfg(not(unix))]
const BROKEN: [i32; 0] = [];

/// A temporary file leaves of what the system says the words alone, with its path behind them.
fn is_broken(source: &std::io::Error) -> bool {
    let said = source.to_string();
    BROKEN.iter().any(|code| source.raw_os_error() == Some(*code) || said.contains(&format!("(os error {code})")))
}

/// Messages, one a line.
fn lines(faults: &[Error]) -> String {
    faults.iter().map(Error::to_string).collect::<Vec<_>>().join("\n")
}

impl Error {
    /// Nothing where there is no fault, else all of them, those that say the same once.
    pub fn all(faults: Vec<Error>) -> Result<()> {
        let mut told = std::collections::BTreeSet::new();
        let flat = faults.into_iter().flat_map(|fault| match fault {
            Error::Several(own) => own,
            one => vec![one],
        });
        let mut faults: Vec<Error> = flat.filter(|fault| told.insert(fault.to_string())).collect();
        match faults.len() {
            0 => Ok(()),
            1 => Err(faults.swap_remove(0)),
            _ => Err(Error::Several(faults)),
        }
    }

    /// The faults that it is made of: itself, or each of several.
    pub fn parts(&self) -> &[Error] {
        match self {
            Error::Several(parts) => parts,
            one => std::slice::from_ref(one),
        }
    }

    /// A data error: where, what, and what to do.
    pub fn data(path: impl AsRef<Path>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Error::Data { path: path.as_ref().into(), what: what.into(), help: help.into() }
    }

    /// A weights error: where, what, and what to do.
    pub fn weights(path: impl AsRef<Path>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Error::Weights { path: path.as_ref().into(), what: what.into(), help: help.into() }
    }

    /// A store or record error: where, what, and what to do.
    pub fn store(path: impl AsRef<Path>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Error::Store { path: path.as_ref().into(), what: what.into(), help: help.into() }
    }

    /// A method error: what, and what to do.
    pub fn method(what: impl Into<String>, help: impl Into<String>) -> Self {
        Error::Method { what: what.into(), help: help.into() }
    }

    /// A usage error: what, and what to do.
    pub fn usage(what: impl Into<String>, help: impl Into<String>) -> Self {
        Error::Usage { what: what.into(), help: help.into() }
    }

    /// A usage error: there is nothing of this kind called `name`.
    pub fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Error::usage(format!("there is no {kind} `{name}`"), suggestion(name, known))
    }

    /// A device error: what, and what to do.
    pub fn device(what: impl Into<String>, help: impl Into<String>) -> Self {
        Error::Device { what: what.into(), help: help.into() }
    }

    /// Closure for `map_err` on IO results: `fs::read(p).map_err(Error::io("read", p))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    /// True when the disk is full or cannot be written: no run's fault, and the next one would fare no better.
    pub fn is_of_the_disk(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let is_of_the_disk = |fault: &Error| match fault {
            Error::Io { action, source, .. } => {
                matches!(source.kind(), StorageFull | ReadOnlyFilesystem | QuotaExceeded)
                    || is_broken(source) && !READING.contains(action)
            }
            _ => false,
        };
        self.parts().iter().any(is_of_the_disk)
    }

    /// True when no other run is worth beginning: the disk is full or broken, or the process was asked to end.
    pub fn ends_everything(&self) -> bool {
        self.is_of_the_disk() || matches!(self, Error::Stopped)
    }

    /// What the user can do about it, when there is something to say beyond the message.
    pub fn help(&self) -> Option<&str> {
        match self {
            Error::Spec(_) | Error::Several(_) => None,
            Error::Stopped => Some("the same command goes on from here"),
            Error::Data { help, .. }
            | Error::Weights { help, .. }
            | Error::Device { help, .. }
            | Error::Store { help, .. }
            | Error::Method { help, .. }
            | Error::Usage { help, .. } => (!help.is_empty()).then_some(help),
            Error::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => Some("check the permissions of that path, or name another one"),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Some("free some disk space and run the same command again; finished work is kept")
                }
                std::io::ErrorKind::ReadOnlyFilesystem => Some("name a writable folder"),
                _ if is_broken(source) => Some(
                    "look after the disk, or its limit (`ulimit -f`), and run the same command again; finished work is kept",
                ),
                _ => None,
            },
        }
    }
}

/// What to write instead of `word`: the one of `known` that is like it, if any is, and all of them.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = nearest(word, known.iter().copied()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    format!("{near}known: {}", known.join(", "))
}

/// The one of `known` that is like `word`, if any is.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|other| (strsim::damerau_levenshtein(word, other), other));
    let near = distances.min_by_key(|&(distance, _)| distance).filter(|(distance, other)| {
        let letters = word.chars().count().max(other.chars().count());
        *distance <= 1 + letters / 3 && *distance < letters
    });
    near.map(|(_, other)| other)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_broken_disk_ends_everything_and_a_file_that_cannot_be_read_does_not() {
        let fault = |action: &'static str, code: i32| Error::io(action, "x")(std::io::Error::from_raw_os_error(code));
        for code in BROKEN {
            let (written, read) = (fault("write", code), fault("read", code));
            assert!(written.is_of_the_disk() && written.help().is_some_and(|help| help.contains("kept")), "{written}");
            assert!(!read.is_of_the_disk(), "{read}");
            let said = format!("{} at path \"x\"", std::io::Error::from_raw_os_error(code));
            assert!(Error::io("write", "x")(std::io::Error::other(said)).is_of_the_disk());
        }
        assert!(!fault("write", libc::EACCES).is_of_the_disk() && fault("read", libc::ENOSPC).is_of_the_disk());
    }
}
