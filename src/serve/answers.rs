//! What the server answers to each path.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /events?source=NAME&seq=N` | `{"src", "dst", "time", "features"}`, an object in each line; or Arrow's IPC format | what was followed, once it is on disk |
//! | `POST /score` | `{"pairs": [[src, dst] or [src, dst, time], …], "at"}` | `logit`, `score`, `known` of each, in order |
//! | `POST /top-k` | `{"source", "k", "at", "exclude_seen"}` | the best destinations |
//! | `POST /embed` | `{"nodes": […], "side", "at"}` | a row of numbers for each |
//! | `GET /healthz`, `/metrics`, `/pulse`, `/` | | whether it is well; numbers for Prometheus and for the page; the page |
//!
//! `at` is a number in the stream's unit or a date; without it, a question is asked just after the last event.
//! Names that are not known are refused: a `k` that is spelt wrong is no `k`.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, TrySendError};

use mspipe_datasets::NodeKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::numbers::Standing;
use super::reading::wrong_json;
use super::shared::Server;
use super::wire::{Request, Response};
use super::work::{Reply, Work};
use crate::session::predict::{Pair, PredictError, Predictor, Side};

/// Pairs, nodes, destinations of one request, at most.
const MANY: usize = 100_000;

/// What the `Content-Type` of a body in Arrow's IPC format begins with.
const ARROW: &str = "application/vnd.apache.arrow";

/// The page for people.
const PAGE: &str = include_str!("page.html");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreBody {
    pairs: Vec<Vec<Value>>,
    at: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopKBody {
    source: Value,
    #[serde(default = "ten")]
    k: usize,
    at: Option<Value>,
    #[serde(default)]
    exclude_seen: bool,
}

fn ten() -> usize {
    10
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbedBody {
    nodes: Vec<Value>,
    side: Option<SideName>,
    at: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SideName {
    Source,
    Destination,
}

#[derive(Serialize)]
struct Followed {
    /// Whether all of it had been acknowledged before.
    repeated: bool,
    events: usize,
    late_moved: usize,
    late_refused: usize,
    new_nodes: usize,
    /// The last number of the request's source, if it has numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seq: Option<u64>,
}

#[derive(Serialize)]
struct Scores {
    /// Events that the answer comes after.
    events: usize,
    scores: Vec<ScoreRow>,
}

#[derive(Serialize)]
struct ScoreRow {
    logit: f32,
    score: f32,
    known: [bool; 2],
}

#[derive(Serialize)]
struct Best {
    events: usize,
    known: bool,
    best: Vec<BestRow>,
}

#[derive(Serialize)]
struct BestRow {
    dst: Value,
    logit: f32,
    score: f32,
}

#[derive(Serialize)]
struct Embeddings {
    events: usize,
    known: Vec<bool>,
    rows: Vec<Vec<f32>>,
}

/// What the page shows.
#[derive(Serialize)]
struct PulseNow {
    data: String,
    model: String,
    events: usize,
    nodes: usize,
    last_time: Option<String>,
    per_second: Vec<u64>,
    late_moved: u64,
    late_refused: u64,
    /// What the features of an event are called, in their order, if that is known.
    features: Option<Vec<String>>,
}

type Answer = Result<Response, Response>;

fn bad(error: impl AsRef<str>) -> Response {
    Response::refused(400, error)
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Response> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("the body: expected a JSON object, {…}"));
    }
    serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body: {}", wrong_json(&error, false))))
}

/// A question that has no answer.
fn unanswered(error: PredictError) -> Response {
    let status = match &error {
        PredictError::Past { .. } => 409,
        PredictError::Key { .. } => 400,
        _ => 500,
    };
    Response::refused(status, error.to_string())
}

impl Server {
    /// The answer to `request`, and what its path is called among the numbers.
    pub(super) fn answer(&self, request: &Request<'_>) -> (&'static str, Response) {
        type Handler = fn(&Server, &Request<'_>) -> Answer;
        let paths: [(&str, &str, Handler); 8] = [
            ("/healthz", "GET", |server, _| server.healthz()),
            ("/", "GET", |_, _| {
                Ok(Response::text(200, "text/html; charset=utf-8", PAGE))
            }),
            ("/metrics", "GET", |server, _| Ok(server.metrics())),
            ("/pulse", "GET", |server, _| Ok(server.pulse())),
            ("/events", "POST", Server::take_events),
            ("/score", "POST", |server, request| {
                server.score(&request.body)
            }),
            ("/top-k", "POST", |server, request| {
                server.top_k(&request.body)
            }),
            ("/embed", "POST", |server, request| {
                server.embed(&request.body)
            }),
        ];
        let Some((path, method, handler)) =
            paths.into_iter().find(|(path, _, _)| *path == request.path)
        else {
            let known: Vec<&str> = paths.iter().map(|(path, _, _)| *path).collect();
            let error = format!("there is no such path; there are {}", known.join(", "));
            return ("other", Response::refused(404, error));
        };
        let takes = request.method == method || method == "GET" && request.method == "HEAD";
        if !takes {
            return (
                path,
                Response::refused(405, format!("{path}: expected {method}")),
            );
        }
        // Whether it lives is no secret, and the page asks for the token.
        if path != "/healthz"
            && path != "/"
            && let Err(refused) = self.admit(request)
        {
            return (path, refused);
        }
        (
            path,
            handler(self, request).unwrap_or_else(|refused| refused),
        )
    }

    /// Refuses whoever does not know the token, and pages of other sites.
    fn admit(&self, request: &Request<'_>) -> Result<(), Response> {
        if let Some(origin) = &request.origin {
            let site = origin
                .split_once("://")
                .map_or(&origin[..], |(_, site)| site);
            if site != request.host {
                let error = format!("a page of {origin} may not ask this server");
                return Err(Response::refused(403, error));
            }
        }
        let Some(token) = &self.options.token else {
            // Whoever owns a name can have it lead here, and its pages with it.
            return match names_this_machine(&request.host) {
                true => Ok(()),
                false => Err(Response::refused(
                    403,
                    format!(
                        "found the host {:?}; expected an address or localhost, for a server without a token",
                        request.host
                    ),
                )),
            };
        };
        // Digests are compared, so that how long it takes says nothing of the token.
        let digest = |text: &str| Sha256::digest(text.as_bytes());
        let given = request.token.as_deref();
        match given.is_some_and(|given| digest(given) == digest(token)) {
            true => Ok(()),
            false => Err(Response::refused(
                401,
                "expected the header 'Authorization: Bearer TOKEN' with the server's token",
            )),
        }
    }

    fn healthz(&self) -> Answer {
        match self.stop.requested() {
            false => Ok(Response::text(200, "text/plain", "ok\n")),
            true => Err(Response::refused(503, "the server ends")),
        }
    }

    fn metrics(&self) -> Response {
        let predictor = self.predictor();
        let standing = Standing {
            events: predictor.events(),
            nodes: predictor.node_count(),
            late: predictor.late(),
            bytes: predictor.bytes(),
        };
        drop(predictor);
        let text = self.numbers.prometheus(&standing);
        Response::text(200, "text/plain; version=0.0.4", text)
    }

    fn pulse(&self) -> Response {
        let predictor = self.predictor();
        let [late_moved, late_refused] = predictor.late();
        Response::json(&PulseNow {
            data: predictor.data().name.clone(),
            model: predictor.config().model.name.to_string(),
            events: predictor.events(),
            nodes: predictor.node_count(),
            last_time: predictor.last().map(|last| predictor.time_text(last)),
            per_second: self.numbers.pulse(),
            late_moved,
            late_refused,
            features: self.features.names.clone(),
        })
    }

    fn take_events(&self, request: &Request<'_>) -> Answer {
        let (source, seq) = numbered(&request.query)?;
        let events = if request.kind.starts_with(ARROW) {
            self.arrow_events(&request.body).map_err(bad)?
        } else {
            let text = std::str::from_utf8(&request.body);
            let text = text.map_err(|_| bad("the body is not UTF-8"))?;
            self.events(text, 1).map_err(bad)?
        };
        if events.is_empty() {
            return Err(bad(
                "the body has no events; expected a JSON object in each line, or Arrow's IPC format",
            ));
        }
        if self.stop.requested() {
            return Err(Response::refused(
                503,
                "the server ends; these events are not followed",
            ));
        }
        let (reply, answer) = mpsc::sync_channel(1);
        let work = Work {
            source,
            seq,
            events,
            reply,
        };
        let ending = || {
            Response::refused(
                503,
                "the server ends; whether these events are followed is not known",
            )
        };
        self.numbers.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = self.queue.try_send(work) {
            self.numbers.waiting.fetch_sub(1, Ordering::Relaxed);
            let TrySendError::Full(_) = refused else {
                return Err(ending());
            };
            let mut busy = Response::refused(
                503,
                "more events come than memory can follow; send them again",
            );
            busy.retry_after = Some(1);
            return Err(busy);
        }
        self.replied(answer.recv().map_err(|_| ending())?, seq)
    }

    fn replied(&self, reply: Reply, seq: Option<u64>) -> Answer {
        match reply {
            Reply::Followed(updated) => Ok(Response::json(&Followed {
                repeated: false,
                events: updated.events,
                late_moved: updated.moved,
                late_refused: updated.refused,
                new_nodes: updated.new_nodes,
                last_seq: seq,
            })),
            Reply::Repeated { last } => {
                self.numbers.repeated.fetch_add(1, Ordering::Relaxed);
                Ok(Response::json(&Followed {
                    repeated: true,
                    events: 0,
                    late_moved: 0,
                    late_refused: 0,
                    new_nodes: 0,
                    last_seq: Some(last),
                }))
            }
            Reply::Other { seq } => Err(Response::refused(
                409,
                format!(
                    "seq: {seq} of this source came before with other events; nothing of this request is followed: its \
                     next number is {}, and a client that begins again takes another source",
                    seq + 1
                ),
            )),
            Reply::Gap { expected } => Err(Response::refused(
                409,
                format!(
                    "seq: expected {expected}, the next one of this source; a request is missing"
                ),
            )),
            Reply::Refused(reason) => Err(bad(reason)),
            Reply::TooFar(reason) => {
                self.numbers.too_far.fetch_add(1, Ordering::Relaxed);
                Err(Response::refused(422, reason))
            }
            Reply::Failed(reason) | Reply::Ending(reason) => Err(Response::refused(503, reason)),
        }
    }

    /// The time of a question.
    fn at(&self, predictor: &Predictor, at: Option<&Value>) -> Result<i64, Response> {
        match at {
            Some(at) => self.time(at).map_err(|error| bad(format!("at: {error}"))),
            None => Ok(predictor.last().map_or(0, |last| last.saturating_add(1))),
        }
    }

    fn few(&self, what: &str, count: usize) -> Result<(), Response> {
        match count <= MANY {
            true => Ok(()),
            false => Err(bad(format!(
                "{what}: found {count}; expected at most {MANY} at once"
            ))),
        }
    }

    fn score(&self, body: &[u8]) -> Answer {
        let body: ScoreBody = parsed(body)?;
        self.few("pairs", body.pairs.len())?;
        let (_turn, predictor) = self.question();
        let at = self.at(&predictor, body.at.as_ref())?;
        if body.at.is_some()
            && !body.pairs.is_empty()
            && body.pairs.iter().all(|pair| pair.len() > 2)
        {
            return Err(bad(
                "at: each pair has a time of its own; leave one of them out",
            ));
        }
        let pair = |(place, pair): (usize, &Vec<Value>)| {
            let named = |error: String| bad(format!("pair {place}: {error}"));
            let ([src, dst], time) = match &pair[..] {
                [src, dst] => ([src, dst], None),
                [src, dst, time] => ([src, dst], Some(time)),
                _ => return Err(named("expected [src, dst] or [src, dst, time]".to_owned())),
            };
            Ok(Pair {
                src: self.key(src).map_err(named)?,
                dst: self.key(dst).map_err(named)?,
                time: time.map_or(Ok(at), |time| self.time(time)).map_err(named)?,
            })
        };
        let pairs: Result<Vec<Pair>, Response> = body.pairs.iter().enumerate().map(pair).collect();
        let scores = predictor.score(&pairs?).map_err(unanswered)?;
        self.numbers
            .scores
            .fetch_add(scores.len() as u64, Ordering::Relaxed);
        Ok(Response::json(&Scores {
            events: predictor.events(),
            scores: scores
                .into_iter()
                .map(|score| ScoreRow {
                    logit: score.logit,
                    score: score.score,
                    known: score.known,
                })
                .collect(),
        }))
    }

    fn top_k(&self, body: &[u8]) -> Answer {
        let body: TopKBody = parsed(body)?;
        let source = self
            .key(&body.source)
            .map_err(|error| bad(format!("source: {error}")))?;
        let (_turn, predictor) = self.question();
        let at = self.at(&predictor, body.at.as_ref())?;
        let best = predictor.top_k(&source, at, body.k.min(MANY), body.exclude_seen);
        let best = best.map_err(unanswered)?;
        self.numbers
            .scores
            .fetch_add(best.len() as u64, Ordering::Relaxed);
        let known = predictor.knows(&source, Side::Source).map_err(unanswered)?;
        Ok(Response::json(&Best {
            events: predictor.events(),
            known,
            best: best
                .into_iter()
                .map(|ranked| BestRow {
                    dst: match ranked.node {
                        NodeKey::Number(number) => number.into(),
                        NodeKey::Text(text) => text.into(),
                    },
                    logit: ranked.logit,
                    score: ranked.score,
                })
                .collect(),
        }))
    }

    fn embed(&self, body: &[u8]) -> Answer {
        let body: EmbedBody = parsed(body)?;
        self.few("nodes", body.nodes.len())?;
        let side = match (body.side, self.two_kinds) {
            (Some(SideName::Source), _) | (None, false) => Side::Source,
            (Some(SideName::Destination), _) => Side::Destination,
            (None, true) => {
                return Err(bad(
                    "side: sources and destinations are nodes of two kinds; expected \"source\" or \"destination\"",
                ));
            }
        };
        let key = |(place, node): (usize, &Value)| {
            self.key(node)
                .map_err(|error| bad(format!("node {place}: {error}")))
        };
        let nodes: Result<Vec<NodeKey>, Response> =
            body.nodes.iter().enumerate().map(key).collect();
        let nodes = nodes?;
        let (_turn, predictor) = self.question();
        let at = self.at(&predictor, body.at.as_ref())?;
        let values = predictor.embed(&nodes, side, at).map_err(unanswered)?;
        let known: Result<Vec<bool>, PredictError> = nodes
            .iter()
            .map(|node| predictor.knows(node, side))
            .collect();
        Ok(Response::json(&Embeddings {
            events: predictor.events(),
            known: known.map_err(unanswered)?,
            rows: values
                .chunks(predictor.width())
                .map(<[f32]>::to_vec)
                .collect(),
        }))
    }
}

/// Whether `host`, with or without a port, is an address, `localhost` or nothing.
fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// Whose request it is, and which of theirs.
fn numbered(query: &str) -> Result<(String, Option<u64>), Response> {
    let (mut source, mut seq) = (String::new(), None);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match name {
            "source" if !value.is_empty() && value.len() <= 64 && value.bytes().all(plain) => {
                value.clone_into(&mut source);
            }
            "source" => {
                return Err(bad(
                    "source: expected up to 64 letters, digits, '-', '_', '.'",
                ));
            }
            "seq" => {
                let number = value.parse().ok().filter(|&number: &u64| number < u64::MAX);
                seq = Some(number.ok_or_else(|| bad("seq: expected a whole number"))?);
            }
            _ => {
                return Err(bad(format!(
                    "found {name:?}; expected source and seq, or neither"
                )));
            }
        }
    }
    match (source.is_empty(), seq) {
        (true, None) | (false, Some(_)) => Ok((source, seq)),
        _ => Err(bad(
            "source and seq go together: who sends it, and which of their requests it is",
        )),
    }
}
