//! An HTTP server that misbehaves on request: cuts connections, ignores ranges, lies about lengths.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) const ETAG: &str = "\"v1\"";

/// The head of a request, header names in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Request(Vec<String>);

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// `range` and `if-range`.
    pub(crate) fn range(&self) -> (Option<&str>, Option<&str>) {
        (self.header("range"), self.header("if-range"))
    }
}

pub(crate) struct Reply {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
    /// Content-Length; `None` for a body in chunks.
    pub(crate) length: Option<usize>,
    /// Bytes after which the connection is dropped, or falls silent.
    pub(crate) cut: Option<usize>,
    pub(crate) silent: bool,
    /// Ends with the connection, as HTTP/1.0 does: no length, no chunks.
    pub(crate) until_close: bool,
}

impl Reply {
    pub(crate) fn new(status: &'static str, body: &[u8]) -> Reply {
        let (body, length) = (body.to_vec(), Some(body.len()));
        Reply {
            status,
            headers: vec![],
            body,
            length,
            cut: None,
            silent: false,
            until_close: false,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    /// As of HTTP/1.0, without a length.
    pub(crate) fn until_close(self) -> Reply {
        Reply {
            length: None,
            until_close: true,
            ..self
        }
    }

    pub(crate) fn drop_after(self, bytes: usize) -> Reply {
        Reply {
            cut: Some(bytes),
            ..self
        }
    }

    pub(crate) fn write(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let version = if self.until_close { "1.0" } else { "1.1" };
        let mut head = format!("HTTP/{version} {}\r\nConnection: close\r\n", self.status);
        for header in &self.headers {
            head += &format!("{header}\r\n");
        }
        match self.length {
            Some(length) => head += &format!("Content-Length: {length}\r\n\r\n"),
            None if self.until_close => head += "\r\n",
            None => {
                head += &format!(
                    "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                    self.body.len()
                )
            }
        }
        stream.write_all(head.as_bytes())?;
        stream.write_all(&self.body[..self.cut.unwrap_or(usize::MAX).min(self.body.len())])?;
        if self.length.is_none() && self.cut.is_none() && !self.until_close {
            stream.write_all(b"\r\n0\r\n\r\n")?;
        }
        stream.flush()?;
        if self.silent {
            // Until the client hangs up.
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.read_exact(&mut [0])?;
        }
        Ok(())
    }
}

/// A well-behaved answer: honours Range if If-Range names this version.
pub(crate) fn serve(request: &Request, content: &[u8], etag: &str) -> Reply {
    let start = match request.range() {
        (Some(range), Some(version)) if version == etag => range
            .strip_prefix("bytes=")
            .unwrap()
            .strip_suffix('-')
            .unwrap()
            .parse()
            .unwrap(),
        _ => 0,
    };
    let reply = match start {
        0 => Reply::new("200 OK", content),
        _ => Reply::new("206 Partial Content", &content[start..]).header(
            "Content-Range",
            &format!("bytes {start}-{}/{}", content.len() - 1, content.len()),
        ),
    };
    reply.header("ETag", etag)
}

pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `answer` gets the number of the request (from 0) and its head.
    pub(crate) fn start(answer: impl Fn(usize, &Request) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(vec![]));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped) = (requests.clone(), stop.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let head: Vec<String> = BufReader::new(&stream)
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .map(|line| match line.split_once(": ") {
                        Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
                        None => line,
                    })
                    .collect();
                let request = Request(head);
                let number = log.lock().unwrap().len();
                log.lock().unwrap().push(request.clone());
                // The client may have hung up; that is its business.
                answer(number, &request).write(&mut stream).ok();
            }
        });
        Server {
            address,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/s.txt", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        if let Err(panic) = self.thread.take().unwrap().join()
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
