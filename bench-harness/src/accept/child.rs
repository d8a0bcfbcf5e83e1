//! A part in a process of its own: what a driver does to it ends that process alone.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mspipe::{console, interrupt};

use super::asked::{AcceptConfig, Part};
use super::found::{PartReport, Row, Verdict};

/// A part that takes longer hangs. On two cores that emulate a GPU the checks take a few minutes.
const LONGEST: Duration = Duration::from_secs(1800);

/// Time between two looks at a running part.
const LOOK: Duration = Duration::from_millis(20);

/// What is kept of what a part says: its last lines, and of them the last bytes.
const LINES: usize = 40;
const BYTES: usize = 4096;

/// Where the conversion of the generated stream goes, unless the user chose a place.
const CACHE: &str = "MSPIPE_CACHE_DIR";

/// Runs `part` as `config` says, in a process of `program` (this one) that works in the folder `work`.
///
/// # Errors
/// When the program can't be started, or what it wrote can't be read.
pub(super) fn run(
    program: &Path,
    part: Part,
    config: &AcceptConfig,
    work: &Path,
) -> Result<PartReport> {
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
        .stdin(Stdio::null())
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
    let ended = wait(child)?;
    let mut report = match std::fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text).with_context(|| file.display().to_string())?,
        // It did not come as far.
        Err(_) => PartReport::new(part),
    };
    report.seconds = begin.elapsed().as_secs_f64();
    if let Some(how) = ended {
        let under_way = report.under_way.take();
        let name = under_way.unwrap_or_else(|| format!("the part {}", part.name()));
        report.not_run.retain(|planned| *planned != name);
        report.rows.push(Row {
            name,
            verdict: Verdict::Fails,
            found: how + &said.map(Said::last).unwrap_or_default(),
            expected: "runs to its end".to_owned(),
            seconds: report.seconds - report.rows.iter().map(|row| row.seconds).sum::<f64>(),
        });
    }
    Ok(report)
}

/// Waits for a process; how it ended, unless it ended well.
fn wait(mut child: Child) -> Result<Option<String>> {
    let (begin, stop) = (Instant::now(), interrupt::stop());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((!status.success()).then(|| ending(status)));
        }
        if begin.elapsed() > LONGEST || stop.requested() {
            child.kill()?;
            child.wait()?;
            let seconds = begin.elapsed().as_secs();
            return Ok(Some(format!(
                "it did not end in {seconds} s and was stopped"
            )));
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

    /// The last of it, after a first line that says so; nothing if it said nothing.
    fn last(self) -> String {
        // What a driver has started may hold the other end for ever.
        let begin = Instant::now();
        while !self.listener.is_finished() && begin.elapsed() < Duration::from_secs(1) {
            thread::sleep(LOOK);
        }
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
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        config: AcceptConfig,
    }

    /// What becomes of the part `checks` of a program that does this with its file, `$into`.
    fn part_of(does: &str) -> PartReport {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        let text = format!(
            "#!/bin/sh\nfor word; do into=$next; [ \"$next\" = 1 ] && into=$word; \
             next=; [ \"$word\" = --into ] && next=1; [ -n \"$into\" ] && break; done\n{does}\n"
        );
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
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
        assert_eq!(last.verdict, Verdict::Fails);
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
            "FAILED: 1 of 2 checks does not hold; 1 other check did not run"
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
