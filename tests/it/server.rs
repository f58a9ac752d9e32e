//! A file server on the loopback interface that can be made to misbehave: nothing in the tests goes further.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a client asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// First byte wanted.
    pub from: Option<usize>,
    /// The content that a range is wanted of.
    pub if_range: Option<String>,
    pub body: Vec<u8>,
}

/// A server in a thread of its own, which ends with the tests.
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every connection by `answer`, which is told how many came before, and then closes it.
    pub fn new(answer: impl Fn(usize, &Request, &mut TcpStream) -> std::io::Result<()> + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(mut stream) = stream else { continue };
                let Some(request) = read(&stream) else { continue };
                requests.lock().expect("whole").push(request.clone());
                // A client that has gone is no fault of the server.
                drop(answer(number, &request, &mut stream));
            }
        });
        Server { url, seen }
    }

    /// All that was asked for.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("whole").clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_string())
    };
    let first = line()?;
    let path = first.split(' ').nth(1)?.to_string();
    let mut request = Request { path, from: None, if_range: None, body: Vec::new() };
    let mut length = 0;
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "range" => request.from = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            "if-range" => request.if_range = Some(value.into()),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// Sends `status`, headers and a body.
pub fn send(stream: &mut TcpStream, status: &str, headers: &[(&str, String)], body: &[u8]) -> std::io::Result<()> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n").as_bytes())?;
    stream.write_all(body)
}

/// Sends a file as an honest server does, ranges and all, but breaks off after `most` bytes.
pub fn serve(stream: &mut TcpStream, request: &Request, file: &[u8], tag: &str, most: usize) -> std::io::Result<()> {
    let same = request.if_range.as_ref().is_none_or(|wanted| wanted == tag);
    let from = request.from.filter(|_| same).unwrap_or(0);
    let tag = ("ETag", tag.to_string());
    if from >= file.len() && from > 0 {
        return send(stream, "416 Range Not Satisfiable", &[("Content-Range", format!("bytes */{}", file.len()))], b"");
    }
    let body = &file[from..];
    let length = ("Content-Length", body.len().to_string());
    let body = &body[..most.min(body.len())];
    match request.from.filter(|_| same) {
        None => send(stream, "200 OK", &[length, tag], body),
        Some(from) => {
            let range = ("Content-Range", format!("bytes {from}-{}/{}", file.len() - 1, file.len()));
            send(stream, "206 Partial Content", &[length, range, tag], body)
        }
    }
}
