//! One file over HTTP: resumed by ranges, checked by length and digest.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use ureq::http::HeaderMap;

use super::check_room;
use super::partial::{Begun, Partial};
use crate::console::{Meter, say};
use crate::error::{Error, Result};

/// What is downloaded.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where it is.
    pub url: &'a str,
    /// The file that it becomes.
    pub target: &'a Path,
    /// Its SHA-256 in hex, or as much of its beginning as is known.
    pub sha256: Option<&'a str>,
}

/// What was downloaded.
#[derive(Clone, Debug)]
pub struct Got {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

/// Tries in a row that bring nothing new before it is given up.
const TRIES: u32 = 5;
/// Tries in all: a server that gives a byte at a time is no source.
const ALL_TRIES: u32 = 100;
/// Wait before the second try; it doubles with each that brings nothing new.
const PAUSE: Duration = Duration::from_millis(200);
/// A connection that brings nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(60);

/// How a try ended.
enum End {
    /// All of it is here.
    Whole,
    /// Something broke: why.
    Broken(String),
}

/// Downloads a file. What is here already of it (`NAME.part`) is kept and added to, as far as the server can and says that
/// it is the same; a connection that breaks off is tried again.
///
/// # Errors
/// A server that refuses, breaks off again and again, or sends something else than what is known of the file; a disk
/// without room. What has come so far stays for the next time, unless it cannot be part of the file.
pub fn download(wanted: &Wanted) -> Result<Got> {
    let mut partial = Partial::open(wanted.target)?;
    let (mut idle, mut all, mut best) = (0, 0, partial.length);
    loop {
        match attempt(wanted, &mut partial)? {
            End::Whole => break,
            End::Broken(why) => {
                all += 1;
                idle = if partial.length > best { 0 } else { idle + 1 };
                best = best.max(partial.length);
                if idle >= TRIES || all >= ALL_TRIES {
                    let what = format!("{why} ({:.1} MB have come)", partial.length as f64 / 1e6);
                    let help = "the same command goes on where it broke off; --from URL names a mirror";
                    return Err(Error::data(wanted.url, what, help));
                }
                say!("note: {why}; trying again");
                std::thread::sleep(PAUSE * 2u32.pow(idle.min(TRIES)));
            }
        }
    }
    let (bytes, sha256) = (partial.length, partial.sha256()?);
    if let Some(known) = wanted.sha256.filter(|known| !sha256.starts_with(&known.to_lowercase())) {
        partial.discard(wanted.target);
        let what = format!("sends another file: its SHA-256 is {sha256}, and {known} was expected");
        return Err(Error::data(wanted.url, what, "try again later, or name a mirror with --from URL"));
    }
    partial.finish(wanted.target)?;
    Ok(Got { bytes, sha256 })
}

/// One connection.
fn attempt(wanted: &Wanted, partial: &mut Partial) -> Result<End> {
    // Without a name for the content, and without a digest at the end, two halves may be of two files.
    let same = partial.begun.url == wanted.url && !partial.begun.validator.is_empty();
    let from = if same || wanted.sha256.is_some() { partial.length } else { 0 };
    let agent = agent();
    let mut request = agent.get(wanted.url).header("Accept-Encoding", "identity");
    if from > 0 {
        request = request.header("Range", format!("bytes={from}-"));
        if same {
            request = request.header("If-Range", &partial.begun.validator);
        }
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(ureq::Error::BadUri(why)) => {
            return Err(Error::usage(format!("{} is no address: {why}", wanted.url), "write it as https://HOST/FILE"));
        }
        Err(fault) => return Ok(End::Broken(format!("no answer from {}: {fault}", wanted.url))),
    };
    let (parts, body) = response.into_parts();
    let begun = Begun { url: wanted.url.into(), validator: validator(&parts.headers) };
    let range = content_range(&parts.headers);
    let length = number(&parts.headers, "content-length");
    let total = match parts.status.as_u16() {
        206 if range.is_some_and(|(start, _)| start == Some(from)) => range.and_then(|(_, total)| total),
        200 => {
            partial.restart(wanted.target, begun)?;
            length
        }
        // The server takes what is here for the whole, or for more than there is.
        416 if from > 0 && range.is_some_and(|(_, total)| total == Some(from)) => return Ok(End::Whole),
        206 | 416 => {
            partial.restart(wanted.target, Begun::default())?;
            return Ok(End::Broken("the server answers with another part than was asked for".into()));
        }
        code @ (408 | 429 | 500..=599) => return Ok(End::Broken(format!("the server answers {code}"))),
        code => return Err(refused(wanted.url, code)),
    };
    if let Some(total) = total {
        let folder = wanted.target.parent().unwrap_or(Path::new("."));
        check_room(folder, total.saturating_sub(partial.length), "the download")?;
    }
    receive(partial, stream(body.into_reader()), total, wanted)
}

/// Writes what comes to the partial file.
fn receive(
    partial: &mut Partial,
    pieces: Receiver<std::io::Result<Vec<u8>>>,
    total: Option<u64>,
    wanted: &Wanted,
) -> Result<End> {
    let name = wanted.target.file_name().unwrap_or_default().to_string_lossy();
    let mut meter = Meter::new(&name, partial.length, total);
    loop {
        match pieces.recv_timeout(SILENCE) {
            Ok(Ok(piece)) if piece.is_empty() => break,
            Ok(Ok(piece)) => partial.append(&piece)?,
            Ok(Err(fault)) => return Ok(End::Broken(format!("the connection broke off: {fault}"))),
            Err(RecvTimeoutError::Timeout) => {
                return Ok(End::Broken(format!("nothing has come for {} s", SILENCE.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(End::Broken("the connection broke off".into())),
        }
        meter.at(partial.length);
    }
    meter.end();
    match total {
        Some(total) if partial.length < total => {
            Ok(End::Broken(format!("the server broke off after {} of {total} bytes", partial.length)))
        }
        Some(total) if partial.length > total => {
            let length = partial.length;
            partial.restart(wanted.target, Begun::default())?;
            Ok(End::Broken(format!("the server sent {length} bytes, having said {total}")))
        }
        _ => Ok(End::Whole),
    }
}

/// The pieces of a body as a thread of their own reads them, an empty one at the end: a read that waits forever cannot be
/// called back.
fn stream(mut body: impl Read + Send + 'static) -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(8);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; 1 << 18];
            let read = body.read(&mut piece).map(|count| {
                piece.truncate(count);
                piece
            });
            let last = !matches!(&read, Ok(piece) if !piece.is_empty());
            if sender.send(read).is_err() || last {
                break;
            }
        }
    });
    receiver
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(SILENCE))
        .user_agent(super::NAME)
        .build();
    config.into()
}

fn refused(url: &str, code: u16) -> Error {
    let what = match code {
        401 | 403 => format!("the server refuses it ({code})"),
        404 | 410 => format!("it is not there any more ({code})"),
        code => format!("the server answers {code}"),
    };
    let help =
        "open the address in a browser: the site may have moved it, or want something first; --from URL names a mirror";
    Error::data(url, what, help)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// What a server calls the content: a weak tag says too little for a part of it.
fn validator(headers: &HeaderMap) -> String {
    let tag = text(headers, "etag").filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| text(headers, "last-modified")).unwrap_or_default().into()
}

/// Start and total of `bytes START-END/TOTAL`, of which `*` stands for what is not known.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = text(headers, "content-range")?.strip_prefix("bytes")?.trim().split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    Some((start, total.trim().parse().ok()))
}
