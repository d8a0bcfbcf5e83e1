//! A part in a process of its own: what a driver does to it ends that process alone.
//!
//! It does not outlive the program that waits for it, however that one ends: its standard input is a pipe that nothing
//! is written to, and whose other end the system closes (`end_with_parent`).

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mspipe::{console, interrupt};

use super::asked::{AcceptConfig, Part};
use super::found::{PartReport, Row, Verdict};

/// A check that takes longer hangs: on two cores that emulate a GPU, and do other things, none takes a minute.
const LONGEST: Duration = Duration::from_secs(1800);

/// Time between two looks at a running part.
const LOOK: Duration = Duration::from_millis(20);

/// What is kept of what a part says: its last lines, and of them the last bytes.
const LINES: usize = 40;
const BYTES: usize = 4096;

/// Where the conversion of the generated stream goes, unless the user chose a place.
const CACHE: &str = "MSPIPE_CACHE_DIR";

/// What [`PartReport::stopped`] says after a signal.
const INTERRUPTED: &str = "interrupted";

/// What it says where the process could not keep what it found.
const NO_ROOM: &str = "no room for what it writes";

/// Exit code of a part that could not be done for a reason that is not the device's.
const NOT_KEPT: i32 = 2;

/// How a process ended.
enum Ended {
    /// With all that it was to do.
    Well,
    /// Before that, as the text says.
    Early(String),
    /// This program was told to stop.
    Interrupted,
    /// What it finds, or what a run of it writes, can't be written.
    NotKept,
}

/// What came of a part, and what it said last where it could not keep what it found.
pub(super) struct Ran {
    pub(super) report: PartReport,
    pub(super) error: Option<String>,
}

/// Runs `part` as `config` says, in a process of `program` (this one) that works in the folder `work`.
///
/// # Errors
/// When the program can't be started.
pub(super) fn run(program: &Path, part: Part, config: &AcceptConfig, work: &Path) -> Result<Ran> {
    let file = work.join(format!("{}.json", part.name()));
    let mut command = Command::new(program);
    command
        .arg("accept")
        .args(["--device", &config.device.to_string()])
        .args(["--kernels", &config.kernels.to_string()])
        .args(["--limits", &config.limits.to_string()])
        .args(["--part", &part.name()])
        .arg("--out")
        .arg(&config.out)
        .arg("--into")
        .arg(&file)
        .args(config.quick.then_some("--quick"))
        // Closed when this process has ended; see the top.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if std::env::var_os(CACHE).is_none() {
        command.env(CACHE, work.join("cache"));
    }
    let begin = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("{} can't be started", program.display()))?;
    let said = child.stderr.take().map(Said::listen);
    let ended = wait(child, &file)?;
    let (mut report, unread) = match found(&file) {
        Ok(report) => (report, None),
        Err(why) => (PartReport::new(part), Some(why)),
    };
    report.seconds = begin.elapsed().as_secs_f64();
    let how = match ended {
        Ended::Interrupted | Ended::NotKept => {
            let interrupted = matches!(ended, Ended::Interrupted);
            let why = if interrupted { INTERRUPTED } else { NO_ROOM };
            report.stopped = Some(why.to_owned());
            let under_way = report.under_way.take();
            let known = under_way.filter(|name| !report.not_run.contains(name));
            report.not_run.splice(0..0, known);
            let error = said.filter(|_| !interrupted).map(Said::last_line);
            return Ok(Ran { report, error });
        }
        Ended::Early(how) => Some(how),
        // A process that did not come as far as a report is told of by how it ended.
        Ended::Well => unread,
    };
    if let Some(how) = how {
        let under_way = report.under_way.take();
        let name = under_way.unwrap_or_else(|| format!("the part {}", part.name()));
        report.not_run.retain(|planned| *planned != name);
        report.rows.push(Row {
            name,
            verdict: Verdict::Unfinished,
            found: how + &said.map(Said::last).unwrap_or_default(),
            expected: "runs to its end".to_owned(),
            seconds: report.seconds - report.rows.iter().map(|row| row.seconds).sum::<f64>(),
        });
    }
    Ok(Ran {
        report,
        error: None,
    })
}

/// What a process left in its file, or why that is nothing.
fn found(file: &Path) -> Result<PartReport, String> {
    let left = "the process ended without an error and left";
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{left} no report: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{left} no whole report: {error}"))
}

/// Has this process, which runs a part, end when the program that waits for it has.
pub(super) fn end_with_parent() {
    thread::spawn(|| {
        // Nothing is written: it returns when the other end is closed.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        console::note("the program that waits for this part has ended");
        process::exit(NOT_KEPT);
    });
}

/// Waits for a process, for as long as it writes `file` anew from time to time.
fn wait(mut child: Child, file: &Path) -> Result<Ended> {
    let stop = interrupt::stop();
    let written = || file.metadata().and_then(|file| file.modified()).ok();
    let (mut last, mut begin) = (written(), Instant::now());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match status.code() {
                Some(0) => Ended::Well,
                // Ctrl-C comes to both.
                _ if stop.requested() => Ended::Interrupted,
                Some(NOT_KEPT) => Ended::NotKept,
                _ => Ended::Early(ending(status)),
            });
        }
        let now = written();
        if now != last {
            (last, begin) = (now, Instant::now());
        }
        if begin.elapsed() > LONGEST || stop.requested() {
            child.kill()?;
            child.wait()?;
            let seconds = begin.elapsed().as_secs();
            return Ok(match stop.requested() {
                true => Ended::Interrupted,
                false => Ended::Early(format!("it did not end in {seconds} s and was stopped")),
            });
        }
        thread::sleep(LOOK);
    }
}

fn ending(status: ExitStatus) -> String {
    format!("the process ended early ({status})")
}

/// What a process says on standard error: passed on, and the end of it kept.
struct Said {
    end: Arc<Mutex<VecDeque<String>>>,
    listener: thread::JoinHandle<()>,
}

impl Said {
    fn listen(from: impl Read + Send + 'static) -> Said {
        let end = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&end);
        let listener = thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line);
                console::part(&text);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(text.trim_end().to_owned());
                if kept.len() > LINES {
                    kept.pop_front();
                }
                drop(kept);
                line.clear();
            }
        });
        Said { end, listener }
    }

    /// Waits until all was heard; but what a driver has started may hold the other end for ever.
    fn wait(&self) {
        let begin = Instant::now();
        while !self.listener.is_finished() && begin.elapsed() < Duration::from_secs(1) {
            thread::sleep(LOOK);
        }
    }

    /// Its last line, an error.
    fn last_line(self) -> String {
        self.wait();
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let line = end.back().map(String::as_str).unwrap_or_default();
        line.trim_start_matches("error: ").to_owned()
    }

    /// The last of it, after a first line that says so; nothing if it said nothing.
    fn last(self) -> String {
        self.wait();
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::from_iter(end.iter().map(String::as_str)).join("\n");
        if let Some(more) = text.len().checked_sub(BYTES) {
            let first = (more..).find(|&at| text.is_char_boundary(at));
            text.replace_range(..first.unwrap_or(more), "…");
        }
        match text.is_empty() {
            true => "; it said nothing".to_owned(),
            false => format!("; it said last:\n{text}"),
        }
    }
}

// The programs are shell scripts.
#[cfg(test)]
#[cfg(unix)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        config: AcceptConfig,
    }

    /// What becomes of the part `checks` of a program that does this with its file, `$into`.
    fn part_of(does: &str) -> PartReport {
        ran(does).report
    }

    fn ran(does: &str) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        let text = format!(
            "#!/bin/sh\nfor word; do into=$next; [ \"$next\" = 1 ] && into=$word; \
             next=; [ \"$word\" = --into ] && next=1; [ -n \"$into\" ] && break; done\n{does}\n"
        );
        // By another process: while this one writes a file, a process that another test starts has it open
        // too, and a program that somebody writes can't be run.
        let write = "printf '%s' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let mut written = Command::new("sh");
        written.args(["-c", write]).arg(&program).arg(text);
        assert!(written.status().unwrap().success());
        let config = Program::parse_from(["accept", "--out=x"]).config;
        run(&program, Part::Checks, &config, folder.path()).unwrap()
    }

    #[test]
    fn a_process_that_ends_early_leaves_what_it_found_and_fails_in_the_check_under_way() {
        let mut before = PartReport::new(Part::Checks);
        before.rows.push(Row {
            name: "a".to_owned(),
            verdict: Verdict::Holds,
            found: String::new(),
            expected: String::new(),
            seconds: 0.0,
        });
        before.under_way = Some("kernels::dropout".to_owned());
        before.not_run = ["kernels::dropout", "kernels::softmax"]
            .map(str::to_owned)
            .to_vec();
        let text = serde_json::to_string(&before).unwrap();
        let report = part_of(&format!(
            "printf '%s' '{text}' > \"$into\"\necho the driver gave up >&2\nkill -SEGV $$"
        ));
        assert_eq!(report.rows.len(), 2, "{report:?}");
        assert_eq!(report.rows[0], before.rows[0]);
        let last = &report.rows[1];
        assert_eq!(last.name, "kernels::dropout");
        assert_eq!(last.verdict, Verdict::Unfinished);
        assert!(last.found.contains("signal: 11"), "{last:?}");
        assert!(
            last.found.ends_with("; it said last:\nthe driver gave up"),
            "{last:?}"
        );
        assert_eq!(report.under_way, None);
        assert_eq!(report.not_run, ["kernels::softmax"]);
        let (held, verdict) = super::super::judged(&[report], 0);
        assert!(!held);
        assert_eq!(
            verdict,
            "FAILED: 1 of 2 checks did not finish; 1 other check did not run"
        );
    }

    #[test]
    fn a_process_without_room_is_no_failure_of_the_device() {
        let mut before = PartReport::new(Part::Checks);
        before.under_way = Some("a".to_owned());
        let text = serde_json::to_string(&before).unwrap();
        let Ran { report, error } = ran(&format!(
            "printf '%s' '{text}' > \"$into\"\necho 'error: a: the disk is full' >&2\nexit 2"
        ));
        assert!(report.rows.is_empty(), "{report:?}");
        assert_eq!(report.not_run, ["a"]);
        assert_eq!(error.as_deref(), Some("a: the disk is full"));
        let (held, verdict) = super::super::judged(&[report], 1);
        assert!(!held);
        assert_eq!(
            verdict,
            "UNFINISHED: no room for what it writes in the part checks, 1 check and 1 part have not run; \
             nothing was checked"
        );
    }

    #[test]
    fn a_process_that_writes_nothing_fails_as_a_whole() {
        let report = part_of("exit 3");
        assert_eq!(report.rows.len(), 1);
        assert_eq!(report.rows[0].name, "the part checks");
        assert!(
            report.rows[0]
                .found
                .ends_with("(exit status: 3); it said nothing")
        );
    }

    #[test]
    fn a_process_that_ends_well_without_a_whole_report_fails_as_a_whole() {
        for (does, left) in [
            ("exit 0", "left no report: "),
            (": > \"$into\"", "left no whole report: EOF"),
            ("echo '{\"part\"' > \"$into\"", "left no whole report: EOF"),
        ] {
            let report = part_of(does);
            assert_eq!(report.rows.len(), 1, "{report:?}");
            assert_eq!(report.rows[0].verdict, Verdict::Unfinished);
            assert!(report.rows[0].found.contains(left), "{report:?}");
            assert!(!super::super::judged(&[report], 0).0);
        }
    }

    #[test]
    fn of_what_it_said_the_end_is_kept() {
        let report = part_of("seq 1000 >&2\nexit 3");
        let found = &report.rows[0].found;
        assert_eq!(found.lines().count(), 1 + LINES, "{found}");
        assert!(found.ends_with("\n999\n1000"), "{found}");
        let report = part_of("printf 'é%.0s' $(seq 9000) >&2\nexit 3");
        let found = report.rows[0].found.lines().nth(1).unwrap();
        assert!(
            found.starts_with("…é") && found.len() < BYTES + 8,
            "{found}"
        );
    }
}
