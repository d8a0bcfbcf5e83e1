//! A server that runs, and a client of it over one connection.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A server that runs.
pub(super) struct Served {
    child: Child,
    address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Served {
    /// `program serve run` with its folder `folder` and `options`.
    pub(super) fn start(
        program: &Path,
        run: &Path,
        folder: &Path,
        options: &[String],
    ) -> Result<Served> {
        let mut child = Command::new(program)
            .arg("serve")
            .arg(run)
            .args(["--http", "127.0.0.1:0", "--device", "cpu", "--to"])
            .arg(folder)
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let said = child.stderr.take().context("no standard error")?;
        let mut said = BufReader::new(said).lines();
        let mut before = Vec::new();
        loop {
            let Some(line) = said.next().transpose()? else {
                child.wait()?;
                bail!("the server has ended: {}", before.join("; "));
            };
            if let Some(address) = line.strip_prefix("listening on http://") {
                // What it says later goes where its pipe goes.
                std::thread::spawn(move || said.for_each(drop));
                return Ok(Served {
                    child,
                    address: address.trim_end_matches('/').parse()?,
                });
            }
            before.push(line);
        }
    }

    pub(super) fn client(&self) -> Result<Client> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        Ok(Client {
            reader: BufReader::new(stream),
            request: Vec::new(),
        })
    }

    /// Asks it to end, and waits until it has; returns how long that took.
    ///
    /// # Errors
    /// When it ends with another code than 0.
    pub(super) fn end(mut self) -> Result<Duration> {
        let begin = Instant::now();
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(begin.elapsed()),
            false => bail!("the server has ended with {status}"),
        }
    }

    /// Bytes of RAM that it holds now, of its own and of files.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib.context("no VmRSS in /proc")?.trim().parse()?;
        Ok(kib * 1024)
    }
}

/// One connection.
pub(super) struct Client {
    reader: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Client {
    /// The status and body of an answer.
    pub(super) fn post(&mut self, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.request.clear();
        write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        self.request.extend_from_slice(body);
        self.answer()
    }

    pub(super) fn get(&mut self, path: &str) -> Result<(u16, Vec<u8>)> {
        self.request.clear();
        write!(
            self.request,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        )?;
        self.answer()
    }

    fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        self.reader.get_mut().write_all(&self.request)?;
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                bail!("the server has closed the connection");
            }
            let head = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = head.strip_prefix("http/1.1 ") {
                status = rest[..3].parse()?;
            } else if let Some(bytes) = head.strip_prefix("content-length: ") {
                length = bytes.parse()?;
            } else if head.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok((status, body))
    }
}
