//! `mspipe serve` as its clients meet it: answers, events that outlive the program, and what is refused.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mspipe::{Late, LoadOptions, NewEvent, Pair, Predictor};
use serde_json::{Value, json};

use crate::program::{PATIENCE, Program};

/// A server that runs.
struct Served {
    program: Child,
    address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }
}

const EVENTS: usize = 600;

/// The nth event: users and items with names, some new ones as time goes on.
fn event(nth: usize) -> Value {
    let user = nth * 7 % (20 + nth / 200);
    json!({
        "src": format!("u{user}"),
        "dst": format!("item {}", (user + nth / 20 % 3 * 5) % 15),
        "time": nth * 60,
    })
}

/// A run on the first events.
fn trained() -> Program {
    let program = Program::new();
    let mut text = "src,dst,time\n".to_owned();
    for nth in 0..EVENTS {
        let event = event(nth);
        let field = |name: &str| event[name].as_str().unwrap().to_owned();
        text.push_str(&format!(
            "{},{},{}\n",
            field("src"),
            field("dst"),
            event["time"]
        ));
    }
    fs::write(program.path("shop.csv"), text).unwrap();
    let ended = program.run(
        "train --data shop.csv --device cpu --width 16 --time-width 8 --fanout 4 --epochs 1 \
         --batch-size 50 --out run",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    program
}

fn serve(program: &Program, options: &str) -> Served {
    let arguments = format!("serve run --http 127.0.0.1:0 {options}");
    let mut child = program.start(&arguments);
    let (tell, said) = mpsc::channel();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .for_each(|line| _ = tell.send(line))
    });
    let mut before = Vec::new();
    loop {
        let Ok(line) = said.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let ended = child.wait();
            panic!("{arguments}: {before:?}, {ended:?}");
        };
        if let Some(address) = line.strip_prefix("listening on http://") {
            return Served {
                program: child,
                address: address.trim_end_matches('/').parse().unwrap(),
            };
        }
        before.push(line);
    }
}

impl Served {
    /// Sends bytes as they are and reads the answer: status, head, body. None if there is none.
    fn sent(&self, bytes: &[u8]) -> Option<(u16, String, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).ok()?;
        answer(&mut stream)
    }

    fn post_with(&self, path: &str, header: &str, body: &str) -> Option<(u16, String, String)> {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{header}\r\n",
            self.address
        );
        self.sent(format!("{head}{body}").as_bytes())
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, _, said) = self.post_with(path, "", &body.to_string()).unwrap();
        assert_eq!(status, 200, "{path} {body}: {said}");
        serde_json::from_str(&said).unwrap()
    }

    fn get(&self, path: &str) -> (u16, String) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let (status, _, body) = self.sent(head.as_bytes()).unwrap();
        (status, body)
    }

    fn refused(&self, path: &str, body: &str) -> (u16, String) {
        let (status, _, said) = self.post_with(path, "", body).unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        (status, said["error"].as_str().unwrap().to_owned())
    }

    /// Ends it as a system does, and returns its exit code.
    fn ends(mut self) -> Option<i32> {
        let id = self.program.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.program.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

fn answer(stream: &mut TcpStream) -> Option<(u16, String, String)> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let before = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[before..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head, String::from_utf8(body).unwrap()))
}

fn lines(events: impl IntoIterator<Item = usize>) -> String {
    events
        .into_iter()
        .map(|nth| format!("{}\n", event(nth)))
        .collect()
}

/// Pairs of all users and items.
fn pairs() -> Value {
    let pair = |nth: usize| json!([format!("u{}", nth % 24), format!("item {}", nth / 24)]);
    (0..24 * 15).map(pair).collect::<Vec<_>>().into()
}

/// Server and library follow 50 events from `first` on, and say the same of it.
fn both_follow(served: &Served, library: &mut Predictor, first: usize) {
    let new: Vec<NewEvent> = (first..first + 50)
        .map(|nth| {
            let event = event(nth);
            NewEvent {
                src: event["src"].as_str().unwrap().into(),
                dst: event["dst"].as_str().unwrap().into(),
                time: event["time"].as_i64().unwrap(),
                features: Vec::new(),
            }
        })
        .collect();
    let updated = library.update(&new, Late::Refuse).unwrap();
    let (status, _, said) = served
        .post_with("/events", "", &lines(first..first + 50))
        .unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (status, &said["events"]),
        (200, &updated.events.into()),
        "{said}"
    );
    assert_eq!(said["new_nodes"], updated.new_nodes);
}

fn scores_are_equal(served: &Served, library: &mut Predictor) {
    let now = library.last().unwrap() + 1;
    let asked: Vec<Pair> = pairs()
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| Pair {
            src: pair[0].as_str().unwrap().into(),
            dst: pair[1].as_str().unwrap().into(),
            time: now,
        })
        .collect();
    let expected = library.score(&asked).unwrap();
    let found = served.post("/score", &json!({"pairs": pairs()}));
    assert_eq!(found["events"], library.events());
    for (found, expected) in found["scores"].as_array().unwrap().iter().zip(&expected) {
        assert_eq!(found["logit"].as_f64().unwrap() as f32, expected.logit);
        assert_eq!(found["known"], json!(expected.known));
    }
}

fn the_best_and_their_embeddings_are_equal(served: &Served, library: &mut Predictor) {
    let now = library.last().unwrap() + 1;
    let best = library.top_k(&"u3".into(), now, 4, true).unwrap();
    let found = served.post(
        "/top-k",
        &json!({"source": "u3", "k": 4, "exclude_seen": true}),
    );
    let names: Vec<&str> = found["best"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["dst"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = best.iter().map(|one| one.node.to_string()).collect();
    assert_eq!(names, expected);
    let found = served.post(
        "/embed",
        &json!({"nodes": ["u3", "nobody"], "side": "source"}),
    );
    let rows = library
        .embed(&["u3".into(), "nobody".into()], mspipe::Side::Source, now)
        .unwrap();
    let row: Vec<f32> = found["rows"][1]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap() as f32)
        .collect();
    assert_eq!(row, rows[16..]);
    assert_eq!(found["known"], json!([true, false]));
}

#[test]
fn answers_are_those_of_the_library() {
    let program = trained();
    let served = serve(&program, "--to srv");
    let options = LoadOptions {
        data: Some(program.path("shop.csv").to_string_lossy().into_owned()),
        ..LoadOptions::default()
    };
    let mut library = Predictor::load_with(program.path("run"), &options).unwrap();
    for first in [EVENTS, EVENTS + 70, EVENTS + 120] {
        both_follow(&served, &mut library, first);
        scores_are_equal(&served, &mut library);
        the_best_and_their_embeddings_are_equal(&served, &mut library);
    }
    let (status, metrics) = served.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "mspipe_events_total 150",
        "mspipe_requests_total{path=\"/score\",status=\"200\"} 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    assert!(served.get("/").1.contains("<!doctype html>"));
    assert_eq!(served.get("/healthz"), (200, "ok\n".to_owned()));
    let before = served.post("/score", &json!({"pairs": pairs()}));
    // As it was asked to, and with the state saved.
    assert_eq!(served.ends(), Some(0));

    // The state is saved, so that nothing is followed again; commands can ask it too.
    assert!(program.path("srv/state.safetensors").exists());
    let again = serve(&program, "--to srv");
    assert_eq!(again.post("/score", &json!({"pairs": pairs()})), before);
    let top = program.run("top-k srv/state.safetensors --sources u3 --k 2");
    assert_eq!(top.code, Some(0), "{}", top.stderr);
    // The folder is taken.
    let second = program.run("serve run --http 127.0.0.1:0 --to srv");
    assert_eq!(second.code, Some(1));
    assert!(
        second.stderr.contains("another server has this folder"),
        "{}",
        second.stderr
    );
}

/// Events 600 to 649 as pyarrow 26 writes them, with `event` in Python:
/// ```python
/// src, dst, time = zip(*(event(nth) for nth in range(600, 650)))
/// table = pa.table({"src": src, "dst": dst, "time": time})
/// with pa.ipc.new_stream("events.arrows", table.schema) as out:
///     out.write_table(table, max_chunksize=30)
/// ```
const ARROW: &[u8] = include_bytes!("serve/events.arrows");

#[test]
fn arrow_and_json_are_the_same_events() {
    let program = trained();
    let [json, arrow] = ["json", "arrow"].map(|to| serve(&program, &format!("--to {to}")));
    let body = lines(EVENTS..EVENTS + 50);
    assert_eq!(json.post_with("/events", "", &body).unwrap().0, 200);
    let post = |served: &Served, body: &[u8]| {
        let mut request = format!(
            "POST /events HTTP/1.1\r\nContent-Type: application/vnd.apache.arrow.stream\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        served.sent(&request).unwrap()
    };
    let (status, _, said) = post(&arrow, ARROW);
    assert_eq!(status, 200, "{said}");
    let asked = json!({"pairs": pairs()});
    assert_eq!(arrow.post("/score", &asked), json.post("/score", &asked));
    let (status, _, said) = post(&arrow, &ARROW[..ARROW.len() / 2]);
    assert!(status == 400 && said.contains("no whole Arrow"), "{said}");
}

/// The requests of one client, one after the other, each until it is acknowledged.
fn request(nth: usize) -> String {
    lines((0..10).map(|event| EVENTS + nth * 10 + event))
}

impl Served {
    /// Has it killed after `wait`, without a last word.
    fn killer(&self, wait: Duration) -> thread::JoinHandle<()> {
        let id = self.program.id().to_string();
        thread::spawn(move || {
            thread::sleep(wait);
            Command::new("kill").args(["-9", &id]).status().unwrap();
        })
    }

    /// Sends the requests from `next` on, each until it is acknowledged, as long as it answers; returns which is
    /// next, and how many had been on disk.
    fn follows(&self, mut next: usize, end: usize) -> (usize, usize) {
        let mut repeated = 0;
        while next < end {
            let path = format!("/events?source=test&seq={next}");
            match self.post_with(&path, "", &request(next)) {
                Some((200, _, said)) => {
                    let said: Value = serde_json::from_str(&said).unwrap();
                    repeated += usize::from(said["repeated"] == true);
                    next += 1;
                }
                Some((503, _, _)) => {}
                Some((status, _, said)) => panic!("{status}: {said}"),
                None => break,
            }
        }
        (next, repeated)
    }

    /// Asks as long as it answers.
    fn is_asked(&self) {
        let body = json!({"pairs": pairs()}).to_string();
        while self.post_with("/score", "", &body).is_some() {}
    }
}

/// Killed at moments that are as good as random, while it is asked and events come, some of them while the state is
/// saved: no acknowledged event is lost, none is followed twice, and the scores are those of a server that nobody
/// has disturbed.
#[test]
fn what_was_acknowledged_outlives_kill_9() {
    let kills: u64 = std::env::var("MSPIPE_TEST_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let program = trained();
    let options = "--save-every 70 --to";
    let mut served = serve(&program, &format!("{options} rough"));
    let (mut next, mut repeated) = (0, 0);
    for kill in 0..kills {
        let wait = Duration::from_micros(1_000 + (kill * 7919 + 13) % 43 * 4_000);
        let killer = served.killer(wait);
        let (after, on_disk) = thread::scope(|scope| {
            scope.spawn(|| served.is_asked());
            served.follows(next, usize::MAX)
        });
        (next, repeated) = (after, repeated + on_disk);
        killer.join().unwrap();
        served.program.wait().unwrap();
        served = serve(&program, &format!("{options} rough"));
        if let Some(last) = next.checked_sub(1) {
            assert_eq!(served.follows(last, next), (next, 1), "it is there, once");
        }
    }
    let end = next + 3;
    repeated += served.follows(next, end).1;
    println!("{kills} kills, {end} requests; {repeated} were on disk and not acknowledged");
    let asked = json!({"pairs": pairs()});
    let found = served.post("/score", &asked);
    assert_eq!(found["events"], EVENTS + end * 10);

    let undisturbed = serve(&program, &format!("{options} calm"));
    assert_eq!(undisturbed.follows(0, end), (end, 0));
    assert_eq!(found, undisturbed.post("/score", &asked));
}

/// What a saved state covers is removed from the log, and the numbers of requests outlive it; an event that is
/// too far ahead is refused with all of its request, and what comes is not late after it.
#[test]
fn the_log_is_as_long_as_what_no_state_covers() {
    let program = trained();
    let options = "--save-every 20 --max-jump 5000 --to srv";
    let served = serve(&program, options);
    let logs = || -> Vec<u64> {
        let folder = fs::read_dir(program.path("srv")).unwrap();
        let logs = folder.map(|file| file.unwrap());
        let logs = logs.filter(|file| file.file_name().to_string_lossy().ends_with(".log"));
        logs.map(|file| file.metadata().unwrap().len()).collect()
    };
    let (next, _) = served.follows(0, 10);
    let far = {
        let mut far = event(EVENTS + 100);
        far["time"] = json!(far["time"].as_i64().unwrap() + 1_000_000);
        format!("{}\n{far}\n", event(EVENTS + 100))
    };
    let path = format!("/events?source=test&seq={next}");
    let (status, _, said) = served.post_with(&path, "", &far).unwrap();
    assert!(
        status == 422 && said.contains("--max-jump"),
        "{status}: {said}"
    );
    let answer = served.post("/score", &json!({"pairs": pairs()}));
    assert_eq!(answer["events"], EVENTS + 100);
    assert_eq!(served.follows(next, 12), (12, 0));
    let (_, metrics) = served.get("/metrics");
    let number = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {metrics}"))
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(number("mspipe_requests_too_far_total "), 1);
    assert_eq!(number("mspipe_stream_late_refused "), 0);
    assert!(number("mspipe_bytes{part=\"memory\"} ") > 0);
    assert_eq!(served.ends(), Some(0));
    // The last state covers all events: of the log a header is left, and the last number.
    let left = logs();
    assert!(left.len() == 1 && left[0] < 200, "{left:?}");

    let again = serve(&program, options);
    assert_eq!(
        again.follows(11, 12),
        (12, 1),
        "it is known that it was followed"
    );
    assert_eq!(again.follows(12, 13), (13, 0));
    assert_eq!(again.ends(), Some(0));
    fs::remove_file(program.path("srv/state.safetensors")).unwrap();
    let hole = program.run("serve run --http 127.0.0.1:0 --to srv");
    assert_eq!(hole.code, Some(1));
    assert!(
        hole.stderr.contains("the state that belongs to it"),
        "{}",
        hole.stderr
    );
}

/// The folder's state answers, so it is of what the server is started with, or nobody is served.
#[test]
fn a_folder_that_began_with_something_else_is_refused() {
    let program = trained();
    let served = serve(&program, "--to srv");
    assert_eq!(served.follows(0, 2), (2, 0));
    assert_eq!(served.ends(), Some(0));
    let followed = "update run --events shop.csv --late accept --to later.safetensors";
    assert_eq!(program.run(followed).code, Some(0));
    let refused = program.run("serve later.safetensors --http 127.0.0.1:0 --to srv");
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let said = "holds what a server knows that began with run as that was then";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    // A folder of an earlier program does not say what it began with.
    fs::remove_file(program.path("srv/origin.json")).unwrap();
    let again = serve(&program, "--to srv");
    assert_eq!(
        again.post("/score", &json!({"pairs": []}))["events"],
        EVENTS + 20
    );
    assert!(program.path("srv/origin.json").is_file());
}

/// A request, its status, and a part of what is said.
type Refused = (&'static str, String, u16, &'static str);

/// Bodies that are no events as JSON has them.
fn no_events() -> Vec<Refused> {
    let good = event(EVENTS);
    let mut features = good.clone();
    let mut with = |value: Value| {
        features["features"] = value;
        features.to_string()
    };
    let (text, nothing) = (with(json!("x")), with(json!([null])));
    let bodies = [
        ("{".to_owned(), "line 1: EOF"),
        (
            format!("{good}\nnonsense\n"),
            "line 2: expected a JSON object",
        ),
        (format!("[{good}]"), "line 1: expected a JSON object"),
        (format!("{good} {{"), "line 1: trailing characters (column"),
        (text, "expected features as a list"),
        (nothing, "expected a number"),
        (String::new(), "no events"),
    ];
    bodies
        .map(|(body, part)| ("/events", body, 400, part))
        .to_vec()
}

fn refused_events() -> Vec<Refused> {
    let good = event(EVENTS);
    let line = |name: &str, value: Value| {
        let mut event = good.clone();
        event[name] = value;
        event.to_string()
    };
    let long = "x".repeat(10 << 20);
    vec![
        (
            "/events",
            line("colour", "red".into()),
            400,
            "unknown field `colour`",
        ),
        ("/events", line("src", Value::Null), 400, "expected an id"),
        ("/events", line("src", "".into()), 400, "an id is empty"),
        (
            "/events",
            line("dst", long.into()),
            400,
            "has 10485760 bytes; expected at most 1024",
        ),
        (
            "/events",
            line("time", "soon".into()),
            400,
            "expected a decimal number",
        ),
        ("/events", line("time", json!(1.5)), 400, "without decimals"),
        ("/events?seq=1", good.to_string(), 400, "go together"),
        (
            "/events?source=a&seq=-1",
            good.to_string(),
            400,
            "whole number",
        ),
        (
            "/events?colour=red",
            good.to_string(),
            400,
            "expected source and seq",
        ),
    ]
}

fn refused_questions() -> Vec<Refused> {
    vec![
        (
            "/score",
            "[]".to_owned(),
            400,
            "the body: expected a JSON object",
        ),
        (
            "/score",
            json!({"pairs": [["u1", "item 1", 90000]], "at": 90000}).to_string(),
            400,
            "at: each pair has a time of its own",
        ),
        (
            "/top-k",
            json!({"source": "u1", "k": "x"}).to_string(),
            400,
            "expected a whole number from 0 on (line 1, column",
        ),
        (
            "/embed",
            json!({"nodes": "u1"}).to_string(),
            400,
            "expected a list",
        ),
        (
            "/score",
            json!({"pairs": [["a"]]}).to_string(),
            400,
            "pair 0: expected [src, dst]",
        ),
        (
            "/score",
            json!({"pairs": [], "when": 3}).to_string(),
            400,
            "unknown field `when`",
        ),
        (
            "/score",
            json!({"pairs": [["u1", "item 1"]], "at": 7}).to_string(),
            409,
            "precedes",
        ),
        (
            "/top-k",
            json!({"k": 3}).to_string(),
            400,
            "missing field `source`",
        ),
        (
            "/embed",
            json!({"nodes": ["u1"], "side": "left"}).to_string(),
            400,
            "unknown variant",
        ),
        ("/nowhere", "{}".to_owned(), 404, "/events"),
        ("/healthz", "{}".to_owned(), 405, "expected GET"),
    ]
}

#[test]
fn what_can_not_be_served_is_refused_with_its_reason() {
    let program = trained();
    let served = serve(&program, "--to srv --max-body 20000000 --patience 1");
    let refused = [no_events(), refused_events(), refused_questions()];
    for (path, body, status, part) in refused.into_iter().flatten() {
        let (found, said) = served.refused(path, &body);
        assert_eq!(found, status, "{path}: {said}");
        assert!(said.contains(part), "{path}: {said}");
    }
    // A late event is left out and counted; a request that skips a number is refused.
    let late: Value =
        serde_json::from_str(&served.post_with("/events", "", &lines([3])).unwrap().2).unwrap();
    assert_eq!(
        (&late["events"], &late["late_refused"]),
        (&0.into(), &1.into())
    );
    assert_eq!(
        served
            .post_with("/events?source=a&seq=4", "", &lines([EVENTS]))
            .unwrap()
            .0,
        200
    );
    let (status, said) = served.refused("/events?source=a&seq=6", &lines([EVENTS + 1]));
    assert!(status == 409 && said.contains("expected 5"), "{said}");
    // The same again is harmless, and the same number with other events is not the same.
    let again = served.post_with("/events?source=a&seq=4", "", &lines([EVENTS]));
    let again: Value = serde_json::from_str(&again.unwrap().2).unwrap();
    assert_eq!(
        (&again["repeated"], &again["last_seq"]),
        (&true.into(), &4.into())
    );
    let (status, said) = served.refused("/events?source=a&seq=4", &lines([EVENTS + 1]));
    assert!(
        status == 409 && said.contains("other events") && said.contains("next number is 5"),
        "{said}"
    );
    let (status, said) = served.refused(
        "/score",
        &json!({"pairs": [["u1", "item 1"]], "at": 7}).to_string(),
    );
    assert!(status == 409 && !said.contains("mspipe"), "{said}");
    // Some pairs with times of their own, some without.
    let now = EVENTS * 60;
    let mixed = json!({"pairs": [["u1", "item 1"], ["u1", "item 1", now]], "at": now});
    let scores = served.post("/score", &mixed)["scores"].clone();
    assert_eq!(scores[0], scores[1]);
}

/// Numbers as ids, and features with names.
#[test]
fn features_come_in_order_or_by_name() {
    let program = Program::new();
    let mut text = "src,dst,time,amount,country\n".to_owned();
    for nth in 0..EVENTS {
        let (src, dst) = (nth * 7 % 20, 20 + nth % 11);
        text.push_str(&format!(
            "{src},{dst},{},{},{}\n",
            nth * 60,
            nth % 17,
            nth % 5
        ));
    }
    fs::write(program.path("shop.csv"), text).unwrap();
    let ended = program.run(
        "train --data shop.csv --device cpu --width 8 --time-width 8 --fanout 4 --epochs 1 --batch-size 50 --out run",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let [ordered, named] = ["a", "b"].map(|to| serve(&program, &format!("--to {to}")));
    let (status, pulse) = named.get("/pulse");
    assert!(
        status == 200 && pulse.contains("\"features\":[\"amount\",\"country\"]"),
        "{pulse}"
    );
    let event = |features: Value| json!({"src": "3.0", "dst": 21.0, "time": EVENTS * 60, "features": features});
    ordered.post("/events", &event(json!([250.5, 3])));
    named.post("/events", &event(json!({"country": 3, "amount": 250.5})));
    let asked = json!({"pairs": [[3, 21], [4, 25]]});
    let scores = ordered.post("/score", &asked);
    assert_eq!(named.post("/score", &asked), scores);
    assert_eq!(scores["scores"][0]["known"], json!([true, true]));
    for (features, part) in [
        (
            json!([1]),
            "line 1: features: found 1; expected 2 numbers (amount, country)",
        ),
        (
            json!({"amt": 1, "country": 2}),
            "there is no `amount`; found `amt`",
        ),
        (json!({"amount": 1, "country": 2, "fee": 3}), "found `fee`"),
        (json!([1e40, 2]), "features"),
    ] {
        let (status, said) = named.refused("/events", &event(features).to_string());
        assert!(status == 400 && said.contains(part), "{said}");
    }
}

#[test]
fn what_is_no_request_is_refused_and_costs_no_other_connection() {
    let program = trained();
    let served = serve(&program, "--to srv --max-body 20000000 --patience 1");
    for (bytes, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("POST /score HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 411),
        (
            "POST /score HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n".to_owned(),
            413,
        ),
        (
            "POST /score HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
            400,
        ),
        (
            "POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            501,
        ),
        (
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(20_000)),
            431,
        ),
        // Slow: the rest never comes.
        (
            "POST /score HTTP/1.1\r\nContent-Length: 100\r\n\r\n{".to_owned(),
            408,
        ),
        ("GET / HT".to_owned(), 408),
    ] {
        let found = served.sent(bytes.as_bytes()).unwrap();
        assert_eq!(found.0, status, "{bytes:.60}: {}", found.2);
    }
    // Half closed: what was sent is not a request, and is answered all the same.
    let mut half = TcpStream::connect(served.address).unwrap();
    half.write_all(b"POST /score HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        .unwrap();
    half.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(answer(&mut half).unwrap().0, 400);
    let other = served.post_with(
        "/events",
        "Origin: http://example.com\r\n",
        &lines([EVENTS + 1]),
    );
    assert_eq!(other.unwrap().0, 403);
    // A name of somebody's own that leads here.
    let host = "GET /metrics HTTP/1.1\r\nHost: example.com:80\r\n\r\n";
    let (status, _, said) = served.sent(host.as_bytes()).unwrap();
    assert!(status == 403 && said.contains("example.com"), "{said}");
    // After all of this it serves, over one connection several requests.
    let mut stream = TcpStream::connect(served.address).unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        assert_eq!(answer(&mut stream).unwrap().0, 200);
    }
}

#[test]
fn strangers_need_a_token() {
    let program = trained();
    let open = program.run("serve run --http 0.0.0.0:0 --to srv");
    assert_eq!(open.code, Some(1));
    assert!(open.stderr.contains("--token-file"), "{}", open.stderr);
    fs::write(program.path("short"), "abc\n").unwrap();
    let short = program.run("serve run --http 127.0.0.1:0 --token-file short");
    assert!(short.stderr.contains("at least 16"), "{}", short.stderr);
    fs::write(program.path("token"), "0123456789abcdefgh\n").unwrap();
    let served = serve(&program, "--to srv --token-file token");
    let body = json!({"pairs": [["u1", "item 1"]]}).to_string();
    let ask = |header: &str| served.post_with("/score", header, &body).unwrap();
    let (status, head, _) = ask("");
    assert!(
        status == 401 && head.contains("WWW-Authenticate: Bearer"),
        "{head}"
    );
    assert_eq!(ask("Authorization: Bearer 0123456789abcdefgx\r\n").0, 401);
    assert_eq!(ask("Authorization: Bearer 0123456789abcdefgh\r\n").0, 200);
    assert_eq!(served.get("/healthz").0, 200);
    assert_eq!(served.get("/metrics").0, 401);
}

/// More than can be followed at once is told to come again, and nothing of it is lost.
#[test]
fn a_full_queue_pushes_back() {
    let program = trained();
    let served = serve(
        &program,
        "--to srv --queue 1 --max-connections 12 --late accept",
    );
    let (clients, each) = (8, 12);
    let busy: usize = thread::scope(|scope| {
        let client = |client: usize| {
            let served = &served;
            scope.spawn(move || {
                let mut busy = 0;
                for nth in 0..each {
                    let path = format!("/events?source=c{client}&seq={nth}");
                    loop {
                        let (status, head, said) = served
                            .post_with(&path, "", &request(nth * clients + client))
                            .unwrap();
                        if status == 200 {
                            break;
                        }
                        assert_eq!(status, 503, "{said}");
                        assert!(head.contains("Retry-After: 1"), "{head}");
                        busy += 1;
                        thread::sleep(Duration::from_millis(2));
                    }
                }
                busy
            })
        };
        let clients: Vec<_> = (0..clients).map(client).collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    println!("{busy} requests were told to come again");
    let found = served.post("/score", &json!({"pairs": []}));
    assert_eq!(found["events"], EVENTS + clients * each * 10);
    // More connections than allowed are told to come again too.
    let held: Vec<TcpStream> = (0..12)
        .map(|_| TcpStream::connect(served.address).unwrap())
        .collect();
    thread::sleep(Duration::from_millis(300));
    let (status, _, said) = served
        .sent(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(
        status == 503 && said.contains("--max-connections"),
        "{said}"
    );
    drop(held);
}

#[test]
fn events_come_from_standard_input_too() {
    let program = trained();
    let mut command = program.command("serve run --http 127.0.0.1:0 --to srv --events -");
    command
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = || said.next().unwrap().unwrap();
    let address = next();
    let address = address
        .strip_prefix("listening on http://")
        .unwrap()
        .trim_end_matches('/');
    input
        .write_all(
            format!(
                "{}nonsense\n{}\n{}{}",
                lines(EVENTS..EVENTS + 30),
                lines(EVENTS + 30..EVENTS + 40),
                lines([3]),
                lines([EVENTS + 40]),
            )
            .as_bytes(),
        )
        .unwrap();
    drop(input);
    assert!(next().contains("line 31"));
    let late = next();
    assert!(
        late.contains("line 43: earlier than the event before"),
        "{late}"
    );
    let end = next();
    assert!(
        end.contains("ended after line 44; 1 of its lines could not be followed; 1 was late"),
        "{end}"
    );
    let served = Served {
        address: address.parse().unwrap(),
        program: child,
    };
    let found = served.post("/score", &json!({"pairs": []}));
    assert_eq!(found["events"], EVENTS + 41);
}
