//! What the parts find: checks with their verdicts, measurements, and the whole report.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use mspipe::run_folder::QueueSeconds;
use mspipe::{console, interrupt};
use mspipe_datasets::whole_file::{self, Existing};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::asked::{AcceptConfig, Part};
use super::prediction::{Elsewhere, Load, Predicted, Reached};
use crate::machine;

/// What there is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// Each adapter as `mspipe devices --json` lists it.
    pub adapters: Vec<Value>,
    /// Adapter, driver and API of the opened device; none if none was.
    pub opened: Option<String>,
    /// Name of its adapter.
    #[serde(default)]
    pub name: Option<String>,
    /// The opened adapter with the kernels that it runs and the limits that were asked of it; none for the CPU
    /// device.
    #[serde(default)]
    pub ran: Option<Value>,
    /// Why there is no such device, and what to do: nothing can begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Whether a processor emulates it.
    pub emulated: bool,
    /// What it reaches, if it was measured.
    pub rates: Option<Rates>,
}

/// Rates of a device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// 10^9 bytes per second, read and written ones, of a plain copy of 64 MiB.
    pub copy_gb_per_s: f64,
    /// 10^9 floating-point operations per second of burn's f32 product of
    /// [`mspipe::profiler::machine::PRODUCT`].
    pub product_gflops: f64,
    /// The same of mspipe's own product, with a bias.
    pub own_product_gflops: f64,
    /// 10^9 bytes per second from the host, 64 MiB at once, by the host's clock.
    pub upload_gb_per_s: f64,
    /// Microseconds of a launch that has next to nothing to do, by the host's clock.
    pub launch_us: f64,
    /// What measured them.
    pub clock: Clock,
}

impl Rates {
    /// 10^9 floating-point operations per second of the product that is quicker: what arithmetic is bounded by.
    pub fn gflops(&self) -> f64 {
        self.product_gflops.max(self.own_product_gflops)
    }
}

impl From<Rates> for Reached {
    fn from(rates: Rates) -> Reached {
        Reached {
            memory_gb_per_s: rates.copy_gb_per_s,
            gflops: rates.gflops(),
            upload_gb_per_s: rates.upload_gb_per_s,
            launch_us: rates.launch_us,
        }
    }
}

/// What told a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Timestamps that the device wrote.
    Device,
    /// The host's clock between two waits for the device.
    Host,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Device => "timestamps of the device",
            Clock::Host => "the host's clock",
        })
    }
}

/// Times of all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KernelTimes {
    /// What the device reaches.
    pub rates: Rates,
    /// One a kernel and product.
    pub rows: Vec<KernelRow>,
}

/// The time of a kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KernelRow {
    /// Its name.
    pub name: String,
    /// Whether it is a matrix product.
    pub product: bool,
    /// Microseconds of a call.
    pub us: f64,
    /// Microseconds that the device's copy takes for its bytes, or its product for its
    /// operations, whichever is longer.
    pub bound_us: f64,
    /// 10^9 bytes per second.
    pub gb_per_s: f64,
    /// 10^9 floating-point operations per second.
    pub gflop_per_s: f64,
    /// What told the time.
    pub clock: Clock,
}

/// The speed of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpeedRow {
    /// The model.
    pub model: String,
    /// Events per batch.
    pub batch_size: usize,
    /// Where node memory was: `device`, or `host` where the device binds too little for it.
    pub memory: String,
    /// Training events of an epoch.
    pub events: usize,
    /// Training events per second of the second epoch.
    pub events_per_s: f64,
    /// Milliseconds of an iteration.
    pub iteration_ms: f64,
    /// What an iteration asks of the device, counted with memory on it.
    pub load: Load,
    /// What it should take by the device's own rates.
    pub predicted: Predicted,
}

/// What a schedule gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRow {
    /// Where node memory was: `device` or `host`.
    pub memory: String,
    /// What overlapped.
    pub schedule: String,
    /// Training events per second of the second epoch.
    pub events_per_s: f64,
    /// The same over that of `sequential` with the same place.
    pub speed_up: Option<f64>,
    /// Most frequent staleness.
    pub k: usize,
    /// Percent of the iterations that had it.
    pub k_percent: f64,
    /// Percent of the training time that the device thread waited; none for `sequential`.
    pub stall_percent: Option<f64>,
    /// Pooled AP of the test part.
    pub test_ap: f64,
}

/// A run with its profile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfiledRun {
    /// What was trained.
    pub options: String,
    /// Training events per second of the second epoch.
    pub events_per_s: f64,
    /// Seconds in each stage, over all epochs.
    pub stage_seconds: Vec<(String, f64)>,
    /// What the device's queue did in an iteration, beside the threads.
    pub queue: Option<QueueSeconds>,
    /// Seconds that the device thread waited for its input.
    pub stall_seconds: f64,
    /// Training iterations with each k.
    pub staleness: Vec<(usize, usize)>,
    /// `profile` of the run's summary.
    pub profile: Value,
    /// A few iterations, as an SVG element.
    pub timeline: Option<String>,
}

/// Whether what was expected was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was.
    Holds,
    /// It was not.
    Fails,
    /// The process ended in it, or it hung: the driver may be at fault, or the system.
    #[serde(rename = "did not finish")]
    Unfinished,
    /// Nothing was expected.
    Told,
}

impl Verdict {
    /// Whether the device is not accepted because of it.
    pub fn failed(self) -> bool {
        matches!(self, Verdict::Fails | Verdict::Unfinished)
    }
}

/// A check, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
    /// Seconds that it took.
    pub seconds: f64,
}

/// What a part found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartReport {
    /// The part.
    pub part: Part,
    /// Seconds that it took.
    pub seconds: f64,
    /// Its checks.
    pub rows: Vec<Row>,
    /// What is left out of it, and why.
    pub left_out: Vec<String>,
    /// Checks and measurements that have not ended: all of them at the beginning, and at the end those that a
    /// process which ended early never came to, or whose numbers another one that failed was to give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_run: Vec<String>,
    /// The check that is under way, until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<String>,
    /// Why it was broken off, where the device is not the reason: a signal, or no room for what it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What it measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceFacts>,
    /// Times of kernels and products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernels: Option<KernelTimes>,
    /// Events per second of models and batch sizes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speed: Vec<SpeedRow>,
    /// The rates of this device that the predictions beside them are made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_rates: Option<Rates>,
    /// What GPUs that are not here should take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// Events per second of schedules and places of memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleRow>,
    /// The profiled run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfiledRun>,
}

impl PartReport {
    pub(super) fn new(part: Part) -> PartReport {
        PartReport {
            part,
            seconds: 0.0,
            rows: Vec::new(),
            left_out: Vec::new(),
            not_run: Vec::new(),
            under_way: None,
            stopped: None,
            device: None,
            kernels: None,
            speed: Vec::new(),
            speed_rates: None,
            elsewhere: Vec::new(),
            schedules: Vec::new(),
            profile: None,
        }
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict.failed())
    }
}

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptReport {
    /// Whether every check of the parts that were asked for holds, and all of them ran.
    pub held: bool,
    /// The same, and no part was left out with `--part`.
    pub accepted: bool,
    /// Whether less was done.
    pub quick: bool,
    /// The same in a sentence.
    pub verdict: String,
    /// What was asked for: `--device`, and `--kernels` and `--limits` where they are not what they are by default.
    pub asked: String,
    /// Adapter, driver and API.
    pub device: String,
    /// The adapter's name.
    pub name: String,
    /// Parts that `--part` left out.
    pub not_asked: usize,
    /// Whether the device is a processor that emulates one.
    pub emulated: bool,
    /// Version and commit of the program.
    pub program: String,
    /// Processor, cores and system.
    pub machine: String,
    /// Seconds since 1970 at the beginning.
    pub begun: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// The parts that have run.
    pub parts: Vec<PartReport>,
}

impl AcceptReport {
    pub(super) fn begin(config: &AcceptConfig) -> AcceptReport {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        AcceptReport {
            held: false,
            accepted: false,
            quick: config.quick,
            verdict: String::new(),
            asked: config.of_device(),
            device: "no device".to_owned(),
            name: "no device".to_owned(),
            emulated: false,
            not_asked: match config.part.as_slice() {
                [] => 0,
                _ => Part::ALL
                    .iter()
                    .filter(|part| **part != Part::Device && !config.part.contains(part))
                    .count(),
            },
            program: machine::program(),
            machine: machine::machine(),
            begun: now.map_or(0, |since| since.as_secs()),
            seconds: 0.0,
            parts: Vec::new(),
        }
    }

    /// Where it is, and its verdict: for who did not get it on standard output.
    pub fn kept(&self, config: &AcceptConfig) -> String {
        let file = config.out.join("accept.json");
        format!("{}; {} has the report", self.verdict, file.display())
    }

    /// Says why nothing was done, where that can't stay unsaid: in place of the report of another day.
    pub(super) fn refuse(&mut self, why: &str) {
        self.verdict = format!("UNFINISHED: it could not begin: {why}");
    }

    /// Adds a part and judges all there is; `missing` are the parts that have not run.
    pub(super) fn add(&mut self, part: PartReport, missing: usize) {
        if let Some(facts) = &part.device
            && let Some(opened) = &facts.opened
        {
            (self.device, self.emulated) = (opened.clone(), facts.emulated);
            self.name = facts.name.clone().unwrap_or_else(|| opened.clone());
        }
        self.parts.push(part);
        self.judge(missing);
    }

    /// Judges all there is; `missing` are the parts that have not run.
    pub(super) fn judge(&mut self, missing: usize) {
        (self.held, self.verdict) = judged(&self.parts, missing);
        self.accepted = self.held && self.not_asked == 0;
        if self.held && !self.accepted {
            self.verdict = format!(
                "INCOMPLETE: {} not asked for; all checks of the others hold",
                counted(self.not_asked, ["part was", "parts were"])
            );
        }
        if self.quick {
            self.verdict = self.verdict.replacen(':', " (--quick):", 1);
        }
        if self.emulated {
            self.verdict += ", on an EMULATED device";
        }
    }
}

/// The verdict on some parts: whether all is well, and a sentence. `missing` are the parts that have not run.
pub fn judged(parts: &[PartReport], missing: usize) -> (bool, String) {
    let of = |verdict: Verdict| {
        let rows = parts.iter().flat_map(|part| &part.rows);
        rows.filter(|row| row.verdict == verdict).count()
    };
    let (holds, fails, unfinished) = (
        of(Verdict::Holds),
        of(Verdict::Fails),
        of(Verdict::Unfinished),
    );
    let checks = holds + fails + unfinished;
    let not_run: usize = parts.iter().map(|part| part.not_run.len()).sum();
    let open = open(parts, missing, not_run);
    let sentence = match (fails + unfinished, &open) {
        (0, Some(open)) => format!("UNFINISHED: {open}; {}", all_hold(checks)),
        (0, None) if not_run > 0 => {
            format!(
                "FAILED: {} did not run",
                counted(not_run, ["check", "checks"])
            )
        }
        (0, None) if checks == 0 => "FAILED: nothing was checked".to_owned(),
        (0, None) if checks == 1 => "ACCEPTED: the only check holds".to_owned(),
        (0, None) => format!("ACCEPTED: all {checks} checks hold"),
        _ => {
            let mut sentence = format!("FAILED: {}", failed(checks, fails, unfinished));
            if let Some(open) = &open {
                sentence += &format!("; UNFINISHED: {open}");
            } else if not_run > 0 {
                let more = counted(not_run, ["other check", "other checks"]);
                sentence += &format!("; {more} did not run");
            }
            sentence
        }
    };
    let held = fails + unfinished == 0 && open.is_none() && not_run == 0 && checks > 0;
    (held, sentence)
}

fn all_hold(checks: usize) -> String {
    match checks {
        0 => "nothing was checked".to_owned(),
        checks => counted(checks, ["check holds", "checks hold"]),
    }
}

/// How many checks do not hold, and how many did not end.
fn failed(checks: usize, fails: usize, unfinished: usize) -> String {
    let all = counted(checks, ["check", "checks"]);
    let does = if fails == 1 { "does" } else { "do" };
    match (fails, unfinished) {
        (_, 0) => format!("{fails} of {all} {does} not hold"),
        (0, _) => format!("{unfinished} of {all} did not finish"),
        _ => format!("{fails} of {all} {does} not hold, {unfinished} did not finish"),
    }
}

/// What is still to be done, where somebody broke it off or parts are to come.
fn open(parts: &[PartReport], missing: usize, not_run: usize) -> Option<String> {
    let stopped = parts
        .iter()
        .find_map(|part| Some((part.part, part.stopped.as_ref()?)));
    let mut what = Vec::new();
    if stopped.is_some() && not_run > 0 {
        what.push(counted(not_run, ["check", "checks"]));
    }
    if missing > 0 {
        what.push(counted(missing, ["part", "parts"]));
    }
    let one = what.len() == 1 && what[0].starts_with("1 ");
    let has = if one { "has" } else { "have" };
    let rest = (!what.is_empty()).then(|| format!("{} {has} not run", what.join(" and ")));
    match (stopped, rest) {
        (Some((part, why)), Some(rest)) => {
            Some(format!("{why} in the part {}, {rest}", part.name()))
        }
        (Some((part, why)), None) => Some(format!("{why} in the part {}", part.name())),
        (None, rest) => rest,
    }
}

/// A number with what it counts: of one and of several.
pub(super) fn counted(count: usize, [one, several]: [&str; 2]) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// Keeps what a part finds in its file, as it finds it.
pub struct Findings {
    /// What was found so far.
    pub report: PartReport,
    file: Option<PathBuf>,
    begin: Instant,
}

impl Findings {
    /// Of `part`; kept in memory alone where there is no file.
    pub fn new(part: Part, file: Option<PathBuf>) -> Findings {
        Findings {
            report: PartReport::new(part),
            file,
            begin: Instant::now(),
        }
    }

    /// Notes what is going to be checked and measured, under the names that follow.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn plan(&mut self, names: impl IntoIterator<Item = String>) -> Result<()> {
        self.report.not_run.extend(names);
        self.keep()
    }

    /// Does a check and notes what came of it: what was found, or what was found instead.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn check(
        &mut self,
        name: &str,
        expected: &str,
        work: impl FnOnce(&mut PartReport) -> Result<Found, String>,
    ) -> Result<()> {
        let (came, time) = self.attempt(name, work)?;
        let expected = expected.to_owned();
        let (verdict, found, expected) = match came {
            Ok(found) => (
                Verdict::Holds,
                found.text,
                found.expected.unwrap_or(expected),
            ),
            Err(text) => (Verdict::Fails, text, expected),
        };
        self.row(name, verdict, found, expected, time)
    }

    /// Measures something: no value is expected, only that the device does it.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn measure(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut PartReport) -> Result<String, String>,
    ) -> Result<()> {
        let (came, time) = self.attempt(name, work)?;
        match came {
            Ok(found) => self.row(name, Verdict::Told, found, String::new(), time),
            Err(text) => {
                let expected = "the device does it".to_owned();
                self.row(name, Verdict::Fails, text, expected, time)
            }
        }
    }

    /// Does `work` with its name kept as what is under way, and says how long it took.
    ///
    /// # Errors
    /// When the file can't be written, and where `work` failed for a reason that is not the device's.
    fn attempt<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut PartReport) -> Result<T, String>,
    ) -> Result<(Result<T, String>, Duration)> {
        self.report.under_way = Some(name.to_owned());
        self.keep()?;
        let begin = Instant::now();
        let came = work(&mut self.report);
        if let Err(text) = &came {
            ours(text).with_context(|| name.to_owned())?;
        }
        Ok((came, begin.elapsed()))
    }

    /// Notes something of which nothing is expected.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn tell(&mut self, name: &str, found: String) -> Result<()> {
        self.row(name, Verdict::Told, found, String::new(), Duration::ZERO)
    }

    fn row(
        &mut self,
        name: &str,
        verdict: Verdict,
        found: String,
        expected: String,
        time: Duration,
    ) -> Result<()> {
        self.report.not_run.retain(|planned| planned != name);
        if verdict.failed() {
            // At once, not when the part ends: that may take minutes, and somebody may stop it.
            console::note(format!("  FAILED {name}: {found}"));
        }
        self.report.rows.push(Row {
            name: name.to_owned(),
            verdict,
            found,
            expected,
            seconds: time.as_secs_f64(),
        });
        self.report.under_way = None;
        self.keep()
    }

    /// Writes what there is.
    ///
    /// # Errors
    /// When that fails.
    pub fn keep(&mut self) -> Result<()> {
        self.report.seconds = self.begin.elapsed().as_secs_f64();
        let Some(file) = &self.file else {
            return Ok(());
        };
        let text = serde_json::to_string(&self.report)?;
        whole_file::write(file, Existing::Replace, |to| to.write_all(text.as_bytes()))?;
        Ok(())
    }
}

/// Refuses an error that says nothing of the device: somebody stopped the work, or there was no room for its files.
///
/// # Errors
/// That one.
pub(super) fn ours(text: &str) -> Result<()> {
    interrupt::stop().check()?;
    ensure!(!no_room(text), "{text}");
    Ok(())
}

/// Whether an error is that of a disk with no room, or one that nothing may be written to.
fn no_room(text: &str) -> bool {
    let numbers = text.split("(os error ").skip(1);
    let numbers = numbers.filter_map(|rest| rest.split(')').next()?.parse().ok());
    numbers
        .map(|number| io::Error::from_raw_os_error(number).kind())
        .any(|kind| {
            matches!(
                kind,
                ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::FileTooLarge
                    | ErrorKind::ReadOnlyFilesystem
            )
        })
}

/// What a check that holds found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// In words.
    pub text: String,
    /// What was expected, where that is more than was known before.
    pub expected: Option<String>,
}

impl From<String> for Found {
    fn from(text: String) -> Found {
        Found {
            text,
            expected: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(verdicts: &[Verdict]) -> PartReport {
        let mut part = PartReport::new(Part::Checks);
        part.rows = verdicts
            .iter()
            .map(|&verdict| Row {
                name: "a".to_owned(),
                verdict,
                found: String::new(),
                expected: String::new(),
                seconds: 0.0,
            })
            .collect();
        part
    }

    #[test]
    fn a_verdict_says_what_was_found_and_what_is_still_open() {
        use Verdict::{Fails, Holds, Told, Unfinished};
        let mut stopped = part(&[Holds, Fails, Told]);
        stopped.stopped = Some("interrupted".to_owned());
        stopped.not_run = vec!["b".to_owned(), "c".to_owned()];
        assert_eq!(
            judged(&[stopped.clone()], 5).1,
            "FAILED: 1 of 2 checks does not hold; UNFINISHED: interrupted in the part checks, \
             2 checks and 5 parts have not run"
        );
        stopped.rows.remove(1);
        assert_eq!(
            judged(&[stopped.clone()], 0).1,
            "UNFINISHED: interrupted in the part checks, 2 checks have not run; 1 check holds"
        );
        stopped.not_run.clear();
        assert_eq!(
            judged(&[stopped], 0),
            (
                false,
                "UNFINISHED: interrupted in the part checks; 1 check holds".to_owned()
            )
        );
        let crashed = [part(&[Holds, Unfinished])];
        assert_eq!(
            judged(&crashed, 0).1,
            "FAILED: 1 of 2 checks did not finish"
        );
        let both = [part(&[Holds, Fails, Fails, Unfinished])];
        assert_eq!(
            judged(&both, 0).1,
            "FAILED: 2 of 4 checks do not hold, 1 did not finish"
        );
        assert_eq!(
            judged(&[], 1).1,
            "UNFINISHED: 1 part has not run; nothing was checked"
        );
    }

    #[test]
    fn a_check_that_did_not_finish_has_a_word_of_its_own() {
        let word = serde_json::to_string(&Verdict::Unfinished).unwrap();
        assert_eq!(word, "\"did not finish\"");
        assert_eq!(serde_json::to_string(&Verdict::Fails).unwrap(), "\"fails\"");
    }

    #[test]
    fn a_full_disk_is_no_failure_of_the_device() {
        let mut findings = Findings::new(Part::Speed, None);
        let full = || Err(format!("x: {}", io::Error::from_raw_os_error(28)));
        let error = findings.check("tgn", "finite losses", |_| full());
        // The number is that of Unix.
        assert_eq!(error.is_err(), cfg!(unix), "{error:?}");
        assert!(!no_room("Shader 'main' (os error x), 28"));
        let other = findings.check("tgn", "finite losses", |_| Err("NaN".to_owned()));
        assert!(other.is_ok(), "{other:?}");
        assert!(findings.report.rows.last().unwrap().verdict.failed());
    }
}
