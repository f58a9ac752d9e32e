//! Content digests of images: what stage keys are made of.
//!
//! Owns: BLAKE3 over files, remembered by path and [`Stamp`] in one cache file. Does not own: keys.

use crate::data::index::{Drawing, Image, Source};
use crate::data::layouts::synthetic;
use crate::error::{Error, Result};
use crate::store::write_atomically;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A BLAKE3 digest.
pub type Digest = [u8; 32];

/// A cache of another form is made anew.
const HEADER: &str = "dmad image digests 2";
/// A file changed within this time before it was read may change again within the same tick of the file system's
/// clock, so its digest is not remembered.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells that a file is the one that was read. Whoever copies or unpacks with the times of the source sets the time of
/// modification; nobody sets the time when the system last changed the file's entry, or chooses its number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size_bytes: u64,
    modified_nanos: u64,
    /// 0 where the system has no such time, as `inode` where it has no such number.
    changed_nanos: u64,
    inode: u64,
}

impl Stamp {
    /// `None` for a file from before 1970.
    fn of(metadata: &Metadata) -> Option<Stamp> {
        let modified_nanos = since_1970(metadata.modified().ok()?)?;
        let (changed_nanos, inode) = entry_of(metadata);
        Some(Stamp { size_bytes: metadata.len(), modified_nanos, changed_nanos, inode })
    }

    fn is_settled(&self) -> bool {
        let latest = self.modified_nanos.max(self.changed_nanos);
        let age = since_1970(SystemTime::now()).and_then(|now| now.checked_sub(latest));
        age.is_some_and(|age| age >= SETTLED.as_nanos() as u64)
    }
}

fn since_1970(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|passed| passed.as_nanos() as u64)
}

#[cfg(unix)]
fn entry_of(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    let seconds = Duration::from_secs(part(metadata.ctime())).as_nanos() as u64;
    (seconds.saturating_add(part(metadata.ctime_nsec())), metadata.ino())
}

#[cfg(not(unix))]
fn entry_of(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// Digests of images, with a memory on disk.
pub struct Digests {
    file: Option<PathBuf>,
    known: BTreeMap<PathBuf, (Stamp, Digest)>,
    /// What files were when they were first asked for, while that is to hold.
    held: Option<HashMap<PathBuf, Digest>>,
    changed: bool,
    hashed: usize,
}

impl Digests {
    /// Opens the cache at `file`; a missing or damaged one is taken for empty. `None` remembers only in memory.
    pub fn open(file: Option<&Path>) -> Digests {
        let text = file.and_then(|path| std::fs::read_to_string(path).ok());
        let known = text.and_then(|text| parse(&text)).unwrap_or_default();
        Digests { file: file.map(Path::to_path_buf), known, held: None, changed: false, hashed: 0 }
    }

    /// How many files were read since `open`.
    pub fn hashed(&self) -> usize {
        self.hashed
    }

    /// From now on each file is looked at once and then taken for unchanged, or each time it is asked for, as from the start.
    pub fn hold(&mut self, hold: bool) {
        self.held = hold.then(HashMap::new);
    }

    /// Content digests of `images`, in their order. Drawings are not rendered: their digest is that of the generator's
    /// version and parameters.
    pub fn of<'a>(&mut self, images: impl IntoIterator<Item = &'a Image>) -> Result<Vec<Digest>> {
        let images: Vec<&Image> = images.into_iter().collect();
        let (known, held) = (&self.known, &self.held);
        let find = |image: &&Image| match held.as_ref().and_then(|held| held.get(image.file()?)) {
            Some(&digest) => Ok(Found { digest, hashed: false, remember: None }),
            None => find(image, known),
        };
        let found: Vec<Found> = images.par_iter().map(find).collect::<Result<_>>()?;
        let mut digests = Vec::with_capacity(found.len());
        for (image, Found { digest, hashed, remember }) in images.into_iter().zip(found) {
            self.hashed += usize::from(hashed);
            if let Some((path, stamp)) = remember {
                self.known.insert(path, (stamp, digest));
                self.changed = true;
            }
            if let (Some(held), Some(path)) = (&mut self.held, image.file())
                && !held.contains_key(path)
            {
                held.insert(path.into(), digest);
            }
            digests.push(digest);
        }
        Ok(digests)
    }

    /// Writes the cache, when anything is new.
    pub fn save(&mut self) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.changed) else { return Ok(()) };
        write_atomically(file, print(&self.known).as_bytes())?;
        self.changed = false;
        Ok(())
    }
}

/// A digest in hex.
pub fn hex(digest: &Digest) -> String {
    blake3::Hash::from(*digest).to_hex().to_string()
}

/// Digest of an ordered list of images: relative paths and contents. Equal lists in other folders have equal digests.
pub fn list_digest(digests: &mut Digests, images: &[Image]) -> Result<Digest> {
    Ok(digest_of_list(images, &digests.of(images)?))
}

/// [`list_digest`] of images whose contents are known.
pub(super) fn digest_of_list(images: &[Image], contents: &[Digest]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("dmad image list v1");
    for (image, content) in images.iter().zip(contents) {
        hasher.update(&(image.path.len() as u64).to_le_bytes());
        hasher.update(image.path.as_bytes());
        hasher.update(content);
    }
    *hasher.finalize().as_bytes()
}

/// Digest of a drawing, without rendering it.
fn drawing_digest(drawing: &Drawing) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("dmad synthetic image v1");
    hasher.update(&synthetic::VERSION.to_le_bytes());
    hasher.update(&drawing.spec.seed.to_le_bytes());
    hasher.update(&drawing.spec.side.to_le_bytes());
    for word in [&drawing.class, drawing.split, drawing.defect] {
        hasher.update(&(word.len() as u64).to_le_bytes());
        hasher.update(word.as_bytes());
    }
    hasher.update(&(drawing.index as u64).to_le_bytes());
    *hasher.finalize().as_bytes()
}

struct Found {
    digest: Digest,
    hashed: bool,
    remember: Option<(PathBuf, Stamp)>,
}

fn find(image: &Image, known: &BTreeMap<PathBuf, (Stamp, Digest)>) -> Result<Found> {
    let path = match &image.source {
        Source::Synthetic(drawing) => {
            return Ok(Found { digest: drawing_digest(drawing), hashed: false, remember: None });
        }
        Source::Absent(digest) => return Ok(Found { digest: *digest, hashed: false, remember: None }),
        Source::File(path) => std::path::absolute(path).map_err(Error::io("find", path))?,
    };
    let metadata = std::fs::metadata(&path).map_err(Error::io("read", &path))?;
    let stamp = Stamp::of(&metadata);
    if let (Some(stamp), Some((old, digest))) = (stamp, known.get(&path))
        && stamp == *old
    {
        return Ok(Found { digest: *digest, hashed: false, remember: None });
    }
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let digest = *blake3::hash(&bytes).as_bytes();
    let remember = stamp.filter(Stamp::is_settled).map(|stamp| (path, stamp));
    Ok(Found { digest, hashed: true, remember })
}

/// Header, one line per file, and the digest of all that.
fn print(known: &BTreeMap<PathBuf, (Stamp, Digest)>) -> String {
    let mut text = format!("{HEADER}\n");
    for (path, (stamp, digest)) in known {
        // A path that is not plain text on one line is simply not remembered.
        if let Some(path) = path.to_str().filter(|path| !path.contains(['\n', '\r'])) {
            let hex = blake3::Hash::from_bytes(*digest).to_hex();
            let Stamp { size_bytes, modified_nanos, changed_nanos, inode } = stamp;
            let _ = writeln!(text, "{hex} {size_bytes} {modified_nanos} {changed_nanos} {inode} {path}");
        }
    }
    let sum = blake3::hash(text.as_bytes()).to_hex();
    let _ = writeln!(text, "{sum}");
    text
}

fn parse(text: &str) -> Option<BTreeMap<PathBuf, (Stamp, Digest)>> {
    let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let body = format!("{body}\n");
    if blake3::hash(body.as_bytes()).to_hex().as_str() != sum {
        return None;
    }
    let rows = body.strip_prefix(HEADER)?.strip_prefix('\n')?;
    rows.lines()
        .map(|line| {
            let mut fields = line.splitn(6, ' ');
            let digest = *blake3::Hash::from_hex(fields.next()?).ok()?.as_bytes();
            let mut number = || fields.next()?.parse().ok();
            let (size_bytes, modified_nanos, changed_nanos, inode) = (number()?, number()?, number()?, number()?);
            let stamp = Stamp { size_bytes, modified_nanos, changed_nanos, inode };
            Some((PathBuf::from(fields.next()?), (stamp, digest)))
        })
        .collect()
}
