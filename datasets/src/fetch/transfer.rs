//! Brings the bytes of one address into a part file: requests, continuation, retries.
//!
//! Invariants: an attempt that fails never loses bytes that can be continued; the number of attempts without a new
//! byte is bounded. Source: RFC 9110, sections 13.1.5 (If-Range), 14 (ranges) and 15 (status codes).

use std::io::{self, Read};
use std::net::ToSocketAddrs;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use super::error::{ByHand, FetchError};
use super::options::FetchOptions;
use super::part::{PartFile, PartState};
use super::report::Restart;
use crate::error::quoted;

/// What a complete transfer took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Effort {
    pub(super) attempts: u32,
    /// Bytes that an earlier run had left and that were kept.
    pub(super) resumed_from: u64,
    pub(super) restarted: Option<Restart>,
}

/// One file on its way.
pub(super) struct Transfer<'a> {
    agent: &'a Agent,
    options: &'a FetchOptions,
    by_hand: &'a ByHand,
    /// Published number of bytes.
    size: Option<u64>,
    bar: ProgressBar,
    effort: Effort,
}

/// How an attempt ended that did not end for good.
enum Attempt {
    Complete,
    Failed {
        reason: String,
        offline: bool,
        retry_after: Option<Duration>,
    },
    StartOver(Restart),
}

impl Attempt {
    fn failed(reason: impl ToString) -> Attempt {
        Attempt::Failed {
            reason: reason.to_string(),
            offline: false,
            retry_after: None,
        }
    }
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        agent: &'a Agent,
        options: &'a FetchOptions,
        by_hand: &'a ByHand,
        size: Option<u64>,
        title: &str,
    ) -> Transfer<'a> {
        let bar = ProgressBar::no_length().with_prefix(title.to_owned());
        Transfer {
            agent,
            options,
            by_hand,
            size,
            bar,
            effort: Effort::default(),
        }
    }

    /// Fills `part` until it is complete.
    pub(super) fn run(mut self, part: &mut PartFile) -> Result<Effort, FetchError> {
        self.effort.resumed_from = part.len();
        let at_start = part.len();
        let mut most = part.len();
        let mut failures = 0;
        loop {
            let attempt = self.attempt(part)?;
            self.check_stop(part)?;
            // Only bytes beyond all earlier ones count as progress; else a server that ignores ranges and always
            // drops the connection would keep us here for ever.
            if part.len() > most {
                most = part.len();
                failures = 0;
            }
            let (reason, retry_after) = match attempt {
                Attempt::Complete => {
                    self.bar.finish_and_clear();
                    return Ok(self.effort);
                }
                Attempt::Failed {
                    reason,
                    offline: true,
                    ..
                } if most == at_start => {
                    return Err(FetchError::NoNetwork {
                        reason,
                        by_hand: self.by_hand.clone(),
                    });
                }
                Attempt::Failed {
                    reason,
                    retry_after,
                    ..
                } => (reason, retry_after),
                // Not a failure, and it can't repeat: without bytes nothing can be started over.
                Attempt::StartOver(why) => {
                    let url = self.by_hand.url.clone();
                    self.restart(
                        part,
                        why,
                        PartState {
                            url,
                            ..PartState::default()
                        },
                    )?;
                    continue;
                }
            };
            failures += 1;
            if failures > self.options.retries {
                return Err(self.give_up(part, reason));
            }
            let pause = self.pause(failures, retry_after);
            self.bar.set_message(format!(
                "{reason}; trying again in {:.0} s",
                pause.as_secs_f64().ceil()
            ));
            self.wait(pause, part)?;
        }
    }

    /// Waits, but not for somebody who wants to end.
    fn wait(&self, pause: Duration, part: &PartFile) -> Result<(), FetchError> {
        const SLICE: Duration = Duration::from_millis(100);
        let end = Instant::now() + pause;
        loop {
            self.check_stop(part)?;
            match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Ok(()),
                left => thread::sleep(left.min(SLICE)),
            }
        }
    }

    fn check_stop(&self, part: &PartFile) -> Result<(), FetchError> {
        self.options.stop.check().map_err(|_| FetchError::Stopped {
            url: self.by_hand.url.clone(),
            part: part.can_be_continued().then(|| part.path().to_owned()),
            bytes: part.len(),
        })
    }

    fn attempt(&mut self, part: &mut PartFile) -> Result<Attempt, FetchError> {
        let offset = part.len();
        if offset > 0 && part.state().total == Some(offset) {
            return Ok(Attempt::Complete);
        }
        // Identity: a range counts the bytes of the file, not those of a compressed copy of it.
        let mut request = self
            .agent
            .get(&self.by_hand.url)
            .header(header::ACCEPT_ENCODING, "identity");
        match part.state().validator() {
            Some(validator) if offset > 0 => {
                request = request
                    .header(header::RANGE, format!("bytes={offset}-"))
                    .header(header::IF_RANGE, validator.to_owned());
            }
            _ if offset > 0 => return Ok(Attempt::StartOver(Restart::NoRangeSupport)),
            _ => {}
        }
        self.effort.attempts += 1;
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(self.connection_failed(error)),
        };
        let status = response.status();
        // Login pages of hotel networks and the like answer 200 to everything.
        if status.is_success()
            && let Some(kind) = text(response.headers(), header::CONTENT_TYPE)
            && is_page(&kind)
        {
            return Err(FetchError::Page {
                kind: quoted(kind.as_bytes()),
                by_hand: self.by_hand.clone(),
            });
        }
        match status {
            StatusCode::OK => self.begin(part, response.headers())?,
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                if !continues(part.state(), offset, response.headers()) {
                    return Ok(Attempt::StartOver(Restart::FileChanged));
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                return Ok(Attempt::StartOver(Restart::FileChanged));
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Ok(retry(&response));
            }
            _ if status.is_server_error() => return Ok(retry(&response)),
            _ => {
                return Err(FetchError::Status {
                    status: status.to_string(),
                    by_hand: self.by_hand.clone(),
                });
            }
        }
        self.show_progress(part);
        self.receive(part, response)
    }

    /// A complete file begins: checks its announced size, forgets what was there before.
    fn begin(&mut self, part: &mut PartFile, headers: &HeaderMap) -> Result<(), FetchError> {
        let state = announced(&self.by_hand.url, headers);
        if let (Some(expected), Some(found)) = (self.size, state.total)
            && expected != found
        {
            let what = "announced by the server";
            return Err(FetchError::WrongSize {
                url: state.url,
                expected,
                found,
                what,
            });
        }
        let state = PartState {
            total: state.total.or(self.size),
            ..state
        };
        if part.len() == 0 {
            return part.begin(state);
        }
        let same = state.validator() == part.state().validator();
        self.restart(
            part,
            if same {
                Restart::NoRangeSupport
            } else {
                Restart::FileChanged
            },
            state,
        )
    }

    fn restart(
        &mut self,
        part: &mut PartFile,
        why: Restart,
        state: PartState,
    ) -> Result<(), FetchError> {
        self.effort.restarted = Some(why);
        self.effort.resumed_from = 0;
        part.begin(state)
    }

    fn receive(
        &mut self,
        part: &mut PartFile,
        response: Response<Body>,
    ) -> Result<Attempt, FetchError> {
        let total = part.state().total;
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            self.check_stop(part)?;
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    part.append(&buffer[..read])?;
                    self.bar.set_position(part.len());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Attempt::failed(error)),
            }
            if let Some(expected) = total.filter(|total| part.len() > *total) {
                let found = part.len();
                part.begin(PartState::default())?;
                let (url, what) = (self.by_hand.url.clone(), "received so far");
                return Err(FetchError::WrongSize {
                    url,
                    expected,
                    found,
                    what,
                });
            }
        }
        match total {
            Some(total) if part.len() < total => {
                Ok(Attempt::failed("the server closed the connection early"))
            }
            _ => Ok(Attempt::Complete),
        }
    }

    fn connection_failed(&self, error: ureq::Error) -> Attempt {
        let offline = match &error {
            ureq::Error::HostNotFound | ureq::Error::Timeout(ureq::Timeout::Resolve) => true,
            ureq::Error::Io(error) => {
                matches!(
                    error.kind(),
                    io::ErrorKind::NetworkUnreachable
                        | io::ErrorKind::HostUnreachable
                        | io::ErrorKind::NetworkDown
                ) || !resolves(&self.by_hand.url)
            }
            _ => false,
        };
        Attempt::Failed {
            reason: error.to_string(),
            offline,
            retry_after: None,
        }
    }

    fn give_up(&self, part: &PartFile, reason: String) -> FetchError {
        let attempts = self.effort.attempts;
        if part.len() == 0 {
            return FetchError::Unavailable {
                attempts,
                reason,
                by_hand: self.by_hand.clone(),
            };
        }
        FetchError::Interrupted {
            url: self.by_hand.url.clone(),
            part: part.can_be_continued().then(|| part.path().to_owned()),
            bytes: part.len(),
            total: part.state().total,
            attempts,
            reason,
        }
    }

    /// Doubles with every failure, at least what the server asks for, never more than the bound.
    fn pause(&self, failures: u32, retry_after: Option<Duration>) -> Duration {
        let doubled = self
            .options
            .backoff
            .saturating_mul(1 << (failures - 1).min(20));
        doubled
            .max(retry_after.unwrap_or_default())
            .min(self.options.max_backoff)
    }

    /// indicatif draws on stderr, and only if that is a terminal.
    fn show_progress(&self, part: &PartFile) {
        let template = match part.state().total {
            Some(total) => {
                self.bar.set_length(total);
                "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta} {msg}"
            }
            None => "{prefix} {spinner} {bytes} {bytes_per_sec} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_message("");
        self.bar.set_position(part.len());
        self.bar.reset_eta();
    }
}

/// Whether a content type is none that data sets have.
fn is_page(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    [
        "text/html",
        "application/xhtml+xml",
        "application/json",
        "application/problem+json",
        "text/xml",
        "application/xml",
    ]
    .iter()
    .any(|page| kind.eq_ignore_ascii_case(page))
}

/// Whether a 206 answer continues the part exactly where it ends.
fn continues(state: &PartState, offset: u64, headers: &HeaderMap) -> bool {
    let Some((start, total)) = content_range(headers) else {
        return false;
    };
    let agrees =
        |name, known: &Option<String>| text(headers, name).is_none_or(|now| Some(now) == *known);
    start == offset
        && (total.is_none() || state.total == total)
        && agrees(header::ETAG, &state.etag)
        && agrees(header::LAST_MODIFIED, &state.last_modified)
}

/// Start and complete length of `Content-Range: bytes 100-199/1000`; the length may be `*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = text(headers, header::CONTENT_RANGE)?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

/// What the headers of an answer say of the file.
fn announced(url: &str, headers: &HeaderMap) -> PartState {
    let url = url.to_owned();
    let total = text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    // Without a length the HTTP library may have decompressed the body (it does so, silently, when a server says
    // "Content-Encoding: gzip" of a .gz file); ranges would not count the bytes that we get, so don't continue it.
    if total.is_none() {
        return PartState {
            url,
            ..PartState::default()
        };
    }
    PartState {
        url,
        etag: text(headers, header::ETAG),
        last_modified: text(headers, header::LAST_MODIFIED),
        total,
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn retry(response: &Response<Body>) -> Attempt {
    let seconds =
        text(response.headers(), header::RETRY_AFTER).and_then(|value| value.parse().ok());
    Attempt::Failed {
        reason: format!("the server answered {}", response.status()),
        offline: false,
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn resolves(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let port = uri.port_u16().unwrap_or(80);
    uri.host().is_some_and(|host| {
        (host.trim_matches(['[', ']']), port)
            .to_socket_addrs()
            .is_ok()
    })
}
