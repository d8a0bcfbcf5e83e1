//! HTTP/1.1 over a socket: one request read whole, one response written whole, within limits.
//!
//! A thread per connection, without an asynchronous runtime: axum and tokio change features of serde and
//! futures that burn is built with too, which costs a second build of it, and answers are computed on
//! threads anyway. Heads are parsed by httparse.
//!
//! Invariants: a client that is slow, silent or half closed holds its connection for a bounded time; what
//! is read takes no more memory than the limits say. Bodies in chunks are not read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mspipe_datasets::Stop;
use serde::Serialize;

/// Bytes of a head.
const HEAD: usize = 16 << 10;

/// Headers of a request.
const HEADERS: usize = 64;

/// Letters of an error.
const ERROR: usize = 1000;

/// How often a wait looks whether the server is to end.
const GLANCE: Duration = Duration::from_millis(100);

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of a body.
    pub(super) body: usize,
    /// From the first byte of a request to its last, and of a response.
    pub(super) patience: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

/// Room for the bodies of all connections: what they hold together is bounded.
#[derive(Debug)]
pub(super) struct Room {
    held: AtomicU64,
    most: u64,
}

/// A part of it, until it is dropped.
#[derive(Debug)]
struct Taken<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    pub(super) fn new(most: u64) -> Room {
        Room {
            held: AtomicU64::new(0),
            most,
        }
    }

    fn take(&self, bytes: u64) -> Option<Taken<'_>> {
        let taken = Taken { room: self, bytes };
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= self.most).then_some(taken)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: String,
    /// Without what follows a `?`.
    pub(super) path: String,
    /// What follows it.
    pub(super) query: String,
    /// What comes after `Bearer` in `Authorization`.
    pub(super) token: Option<String>,
    /// The page that a browser sends it from.
    pub(super) origin: Option<String>,
    pub(super) host: String,
    /// What the body is, as `Content-Type` says.
    pub(super) kind: String,
    pub(super) body: Vec<u8>,
    /// Whether the client wants to ask again.
    keep: bool,
    /// For its body.
    _room: Option<Taken<'a>>,
}

impl Request<'_> {
    /// Takes what its headers say; returns the bytes of its body, and whether the client waits to be told that
    /// it may send them.
    fn headers(
        &mut self,
        headers: &[httparse::Header<'_>],
    ) -> Result<(Option<u64>, bool), NoRequest> {
        let (mut body, mut expects) = (None, false);
        for header in headers {
            let value = String::from_utf8_lossy(header.value);
            let value = value.trim();
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let bytes = value.parse::<u64>().ok().filter(|_| body.is_none());
                    let wrong = || refuse(400, "Content-Length: expected one number of bytes");
                    body = Some(bytes.ok_or_else(wrong)?);
                }
                "transfer-encoding" => {
                    return Err(refuse(
                        501,
                        "bodies in chunks are not read; send a Content-Length",
                    ));
                }
                "authorization" => {
                    self.token = value
                        .strip_prefix("Bearer ")
                        .map(|token| token.trim().to_owned());
                }
                "origin" => self.origin = Some(value.to_owned()),
                "content-type" => value.clone_into(&mut self.kind),
                "host" => value.clone_into(&mut self.host),
                "expect" => expects = value.eq_ignore_ascii_case("100-continue"),
                "connection" if value.eq_ignore_ascii_case("close") => self.keep = false,
                _ => {}
            }
        }
        Ok((body, expects))
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    kind: &'static str,
    body: Vec<u8>,
    /// Whether the connection ends with it.
    pub(super) closes: bool,
    /// Seconds after which to ask again.
    pub(super) retry_after: Option<u32>,
}

/// What an error says to a program.
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

impl Response {
    pub(super) fn text(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response {
            status,
            kind,
            body: body.into(),
            closes: false,
            retry_after: None,
        }
    }

    pub(super) fn json(value: &impl Serialize) -> Response {
        match serde_json::to_vec(value) {
            Ok(body) => Response::text(200, "application/json", body),
            Err(error) => Response::refused(500, format!("the answer can't be written: {error}")),
        }
    }

    pub(super) fn refused(status: u16, error: impl AsRef<str>) -> Response {
        // What it quotes may be as long as a body.
        let error: String = error.as_ref().chars().take(ERROR).collect();
        let body = serde_json::to_vec(&Refusal { error: &error }).unwrap_or_default();
        Response::text(status, "application/json", body)
    }

    /// The same, after which nothing more of the connection is read.
    fn last(self) -> Response {
        Response {
            closes: true,
            ..self
        }
    }
}

/// Why no request comes.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The client has gone, or the server is to end.
    Ended,
    /// What came can't be served.
    Refused(Response),
}

/// The two ends of a connection.
pub(super) struct Connection<'a> {
    stream: TcpStream,
    /// Bytes that were read, and belong to what comes next.
    read: Vec<u8>,
    limits: Limits,
    room: &'a Room,
    stop: &'a Stop,
}

/// What a head says of the body.
struct Head<'a> {
    request: Request<'a>,
    /// Bytes of the head.
    length: usize,
    body: usize,
    /// The client waits to be told that it may send the body.
    expects: bool,
}

fn refuse(status: u16, error: impl AsRef<str>) -> NoRequest {
    NoRequest::Refused(Response::refused(status, error).last())
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        stream: TcpStream,
        limits: Limits,
        room: &'a Room,
        stop: &'a Stop,
    ) -> io::Result<Connection<'a>> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(GLANCE))?;
        stream.set_write_timeout(Some(GLANCE))?;
        Ok(Connection {
            stream,
            read: Vec::new(),
            limits,
            room,
            stop,
        })
    }

    /// The next request.
    pub(super) fn next(&mut self) -> Result<Request<'a>, NoRequest> {
        if self.read.is_empty() {
            // Silence between requests is no fault.
            let until = Instant::now() + self.limits.idle;
            match self.fill(until, true) {
                Ok(0) | Err(_) => return Err(NoRequest::Ended),
                Ok(_) => {}
            }
        }
        let until = Instant::now() + self.limits.patience;
        let head = loop {
            if let Some(head) = self.head()? {
                break head;
            }
            self.more(until, "its head")?;
        };
        if head.expects && self.read.len() < head.length + head.body {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n", until)
                .map_err(|_| NoRequest::Ended)?;
        }
        let mut request = head.request;
        let end = head.length + head.body;
        while self.read.len() < end {
            self.more(until, "its body")?;
        }
        request.body = self.read[head.length..end].to_vec();
        self.read.drain(..end);
        if self.read.is_empty() {
            // A large body leaves no large buffer behind.
            self.read = Vec::new();
        }
        Ok(request)
    }

    /// Reads more of a request that has begun.
    fn more(&mut self, until: Instant, what: &str) -> Result<(), NoRequest> {
        match self.fill(until, false) {
            Ok(0) => Err(refuse(
                400,
                format!("the connection was closed within {what}"),
            )),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(refuse(
                408,
                format!(
                    "the request did not come to the end of {what} within {} seconds",
                    self.limits.patience.as_secs()
                ),
            )),
            Err(_) => Err(NoRequest::Ended),
        }
    }

    /// Reads what is there, waiting for it `until` then; `between` requests the end of the server ends it.
    fn fill(&mut self, until: Instant, between: bool) -> io::Result<usize> {
        let mut piece = [0; 16 << 10];
        loop {
            match self.stream.read(&mut piece) {
                Ok(count) => {
                    self.read.extend_from_slice(&piece[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    if Instant::now() >= until || between && self.stop.requested() {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
            if Instant::now() >= until {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// The head of the request that was read, if it is whole.
    fn head(&self) -> Result<Option<Head<'a>>, NoRequest> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let length = match parsed.parse(&self.read) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD => length,
            Ok(httparse::Status::Partial) if self.read.len() < HEAD => return Ok(None),
            Ok(_) => {
                return Err(refuse(431, format!("the head has more than {HEAD} bytes")));
            }
            Err(httparse::Error::TooManyHeaders) => {
                return Err(refuse(
                    431,
                    format!("there are more than {HEADERS} headers"),
                ));
            }
            Err(error) => return Err(refuse(400, format!("this is no HTTP/1.1 request: {error}"))),
        };
        let (path, query) = parsed
            .path
            .unwrap_or("/")
            .split_once('?')
            .unwrap_or((parsed.path.unwrap_or("/"), ""));
        let mut request = Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            token: None,
            origin: None,
            host: String::new(),
            kind: String::new(),
            body: Vec::new(),
            keep: parsed.version == Some(1),
            _room: None,
        };
        let (body, expects) = request.headers(parsed.headers)?;
        let body = self.admitted(&mut request, body)?;
        Ok(Some(Head {
            request,
            length,
            body,
            expects,
        }))
    }

    /// Bytes of the body of `request`, whose head says `bytes`, if it may have as many.
    fn admitted(&self, request: &mut Request<'a>, bytes: Option<u64>) -> Result<usize, NoRequest> {
        if bytes.is_none() && request.method == "POST" {
            return Err(refuse(411, "a POST needs a Content-Length"));
        }
        let bytes = bytes.unwrap_or(0);
        if bytes > self.limits.body as u64 {
            return Err(refuse(
                413,
                format!(
                    "the body has {bytes} bytes; expected at most {} (--max-body); send less at once",
                    self.limits.body
                ),
            ));
        }
        request._room = Some(self.room.take(bytes).ok_or_else(|| {
            let mut busy = Response::refused(503, "other requests take all the room for bodies");
            busy.retry_after = Some(1);
            NoRequest::Refused(busy.last())
        })?);
        Ok(bytes as usize)
    }

    /// Sends `response`; whether another request may come.
    pub(super) fn answer(&mut self, request: Option<&Request<'_>>, response: &Response) -> bool {
        let keeps = request.is_some_and(|request| request.keep)
            && !response.closes
            && !self.stop.requested();
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            response.status,
            reason(response.status),
            response.kind,
            response.body.len(),
            if keeps { "keep-alive" } else { "close" },
        );
        if let Some(seconds) = response.retry_after {
            head.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        if response.status == 401 {
            head.push_str("WWW-Authenticate: Bearer\r\n");
        }
        head.push_str("\r\n");
        let is_head = request.is_some_and(|request| request.method == "HEAD");
        let mut bytes = head.into_bytes();
        if !is_head {
            bytes.extend_from_slice(&response.body);
        }
        let sent = self.write(&bytes, Instant::now() + self.limits.patience);
        if !keeps && sent.is_ok() {
            self.linger();
        }
        keeps && sent.is_ok()
    }

    /// Reads what is still under way, for a moment: closing a socket with unread bytes would take back the
    /// answer that was just sent.
    fn linger(&mut self) {
        let until = Instant::now() + Duration::from_secs(1);
        if self.stream.shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        while matches!(self.fill(until, true), Ok(count) if count > 0) {
            self.read.clear();
        }
    }

    fn write(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted || is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
            if !bytes.is_empty() && Instant::now() >= until {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What a status is called.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
