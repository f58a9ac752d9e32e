//! Files from elsewhere: downloads that go on where they broke off, archives that stay inside their folder.
//!
//! Owns: the way over the network and out of an archive, and what is checked on it (length, digest, room, paths). Does not
//! own: what is fetched from where, and whether its licence was agreed to (`cli`), or what a dataset looks like (`data`).
//! Nothing here happens unless a command was asked for it.

mod download;
mod http;
mod partial;
mod unpack;

use std::path::Path;

use crate::error::{Error, Result};

pub use download::{Got, Wanted, download};
pub use http::{Answer, exchange};
pub use partial::sha256_of;
pub use unpack::{is_archive_name, unpack};

/// What this program calls itself to servers.
const NAME: &str = concat!("dmad/", env!("CARGO_PKG_VERSION"));

/// Room that is left for others.
const SPARE_BYTES: u64 = 64 << 20;

/// Refuses what would not fit.
///
/// # Errors
/// A disk with less room than `bytes`, whatever is known of it.
fn check_room(folder: &Path, bytes: u64, what: &str) -> Result<()> {
    let Ok(free) = fs4::available_space(folder) else { return Ok(()) };
    if bytes.saturating_add(SPARE_BYTES) <= free {
        return Ok(());
    }
    let size = |bytes: u64| format!("{:.2} GB", bytes as f64 / 1e9);
    let what = format!("{what} takes {}, and {} are free there", size(bytes), size(free));
    Err(Error::data(folder, what, "free some disk space, or name a folder on another disk (--data, --weights)"))
}
