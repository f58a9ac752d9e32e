//! Archives: tar, as it is or packed with gzip or xz, and zip. Only plain files and folders come out, and only inside.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::check_room;
use crate::console::Meter;
use crate::error::{Error, Result};

/// Endings of what can be unpacked.
const ENDINGS: [&str; 6] = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".zip"];

/// Whether a name ends as those of archives do that can be unpacked.
pub fn is_archive_name(name: &str) -> bool {
    let name = name.to_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// What an archive is, by its first bytes.
enum Kind {
    Tar,
    Gzip,
    Xz,
    Zip,
}

/// Unpacks `archive` into `folder`, which is new and empty; returns the number of files.
///
/// # Errors
/// No archive, a damaged one, one that holds a path out of the folder, a link or a device, or a password; a full disk.
pub fn unpack(archive: &Path, folder: &Path) -> Result<usize> {
    let mut file = File::open(archive).map_err(Error::io("open", archive))?;
    let kind = kind(&mut file, archive)?;
    let length = file.metadata().map_err(Error::io("read", archive))?.len();
    let read = Arc::new(AtomicU64::new(0));
    let mut out = Out { archive, folder, files: 0, read: read.clone(), meter: meter(archive, length) };
    let counted = BufReader::with_capacity(1 << 20, Counted { file, read });
    match kind {
        Kind::Zip => {
            drop(counted);
            zip(&mut out)?;
        }
        kind => {
            check_room(folder, length, "what is in the archive")?;
            let reader: Box<dyn Read> = match kind {
                Kind::Gzip => Box::new(MultiGzDecoder::new(counted)),
                Kind::Xz => Box::new(XzReader::new(counted, true)),
                Kind::Tar | Kind::Zip => Box::new(counted),
            };
            tar(&mut out, reader)?;
        }
    }
    out.meter.end();
    match out.files {
        0 => Err(damaged(archive, "it holds no file")),
        files => Ok(files),
    }
}

fn meter(archive: &Path, length: u64) -> Meter {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    Meter::new(&format!("unpacking {name}"), 0, Some(length))
}

fn damaged(archive: &Path, what: impl std::fmt::Display) -> Error {
    Error::data(archive, format!("cannot be unpacked: {what}"), "get it again; nothing of it was kept")
}

fn refused(archive: &Path, name: &str, what: &str) -> Error {
    let help = "nothing of it was kept; if you trust it, unpack it by hand to where `dmad data list` looks";
    Error::data(archive, format!("holds `{name}`, {what}"), help)
}

fn kind(file: &mut File, archive: &Path) -> Result<Kind> {
    let mut head = Vec::new();
    let read = (&*file).take(512).read_to_end(&mut head).and_then(|_| file.seek(SeekFrom::Start(0)));
    read.map_err(Error::io("read", archive))?;
    match head.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Kind::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Kind::Xz),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Ok(Kind::Zip),
        head if head.get(257..262) == Some(b"ustar") => Ok(Kind::Tar),
        head if head.trim_ascii_start().first() == Some(&b'<') => {
            let help = "the site wants something first: download the archive in a browser, then `dmad data import NAME ARCHIVE`";
            Err(Error::data(archive, "is a web page and no archive", help))
        }
        _ => Err(Error::data(archive, "is no archive that can be unpacked", format!("known: {}", ENDINGS.join(", ")))),
    }
}

/// A file that tells how far it was read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Where files go.
struct Out<'a> {
    archive: &'a Path,
    folder: &'a Path,
    files: usize,
    read: Arc<AtomicU64>,
    meter: Meter,
}

impl Out<'_> {
    /// Where a name of the archive lies; a name that leads out of the folder is refused.
    fn place(&self, name: &str) -> Result<PathBuf> {
        let mut place = self.folder.to_path_buf();
        let fine = !name.is_empty() && !name.contains(['\\', '\0']) && !name.starts_with('/');
        for part in Path::new(name).components() {
            match part {
                Component::Normal(part) => place.push(part),
                Component::CurDir => {}
                _ => return Err(refused(self.archive, name, "a path that leads out of it")),
            }
        }
        if fine { Ok(place) } else { Err(refused(self.archive, name, "which is no path inside it")) }
    }

    fn make_folder(&self, name: &str) -> Result<()> {
        let place = self.place(name)?;
        std::fs::create_dir_all(&place).map_err(Error::io("create", &place))
    }

    fn write(&mut self, name: &str, content: &mut dyn Read) -> Result<()> {
        let place = self.place(name)?;
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let mut file = File::create(&place).map_err(Error::io("write", &place))?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = content.read(&mut buffer).map_err(|fault| damaged(self.archive, format!("{name}: {fault}")))?;
            if count == 0 {
                break;
            }
            std::io::Write::write_all(&mut file, &buffer[..count]).map_err(Error::io("write", &place))?;
            self.meter.at(self.read.load(Ordering::Relaxed));
        }
        self.files += 1;
        Ok(())
    }
}

fn tar(out: &mut Out, reader: Box<dyn Read>) -> Result<()> {
    let archive = out.archive;
    let fault = |fault: std::io::Error| damaged(archive, fault);
    let mut tar = tar::Archive::new(reader);
    for entry in tar.entries().map_err(fault)? {
        let mut entry = entry.map_err(fault)?;
        let name = String::from_utf8(entry.path_bytes().into_owned());
        let name = name.map_err(|_| damaged(archive, "it holds a name that is not valid UTF-8"))?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            out.make_folder(&name)?;
        } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            out.write(&name, &mut entry)?;
        } else if kind.is_symlink() || kind.is_hard_link() {
            return Err(refused(archive, &name, "a link, which could lead out of it"));
        } else if !kind.is_pax_global_extensions() {
            return Err(refused(archive, &name, "which is neither a file nor a folder"));
        }
    }
    Ok(())
}

fn zip(out: &mut Out) -> Result<()> {
    let archive = out.archive;
    let fault = |fault: ::zip::result::ZipError| damaged(archive, fault);
    let file = File::open(archive).map_err(Error::io("open", archive))?;
    let mut zip = ::zip::ZipArchive::new(BufReader::new(file)).map_err(fault)?;
    let mut bytes = 0u64;
    for number in 0..zip.len() {
        bytes = bytes.saturating_add(zip.by_index_raw(number).map_err(fault)?.size());
    }
    check_room(out.folder, bytes, "what is in the archive")?;
    for number in 0..zip.len() {
        let mut entry = zip.by_index(number).map_err(fault)?;
        let name = entry.name().map_err(fault)?.into_owned();
        if entry.is_symlink() {
            return Err(refused(archive, &name, "a link, which could lead out of it"));
        }
        let packed = entry.compressed_size();
        if entry.is_dir() {
            out.make_folder(&name)?
        } else {
            out.write(&name, &mut entry)?
        }
        out.read.fetch_add(packed, Ordering::Relaxed);
    }
    Ok(())
}
