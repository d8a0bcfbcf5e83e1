//! `accept`: does this program work on this device, and how fast? One command for a person, or a CI
//! job, with a GPU.
//!
//! | part | what it answers |
//! |---|---|
//! | `device` | which adapters are there, and does the one that was asked for open? |
//! | `checks` | do the shaders compute what they should ([`mspipe_checks`])? |
//! | `parity` | do three models train as they do on the CPU device ([`crate::parity`])? |
//! | `kernels` | what does each kernel reach of the device's own copy and product? |
//! | `speed` | how many events per second train, at three sizes of a batch? |
//! | `schedules` | what is each schedule worth, and do they all give the same numbers? |
//! | `profile` | where does an iteration's time go? |
//!
//! It goes on after failures. Each part runs in a process of its own ([`child`]), so that a driver
//! that ends or hangs one takes only that part along, and what the part had found remains.
//! `accept.json` and `accept.html` ([`page`]) are written anew after each part.
//!
//! Times are reported and never judged: a slow device is accepted, a wrong one is not.

pub mod checks;
pub mod child;
pub mod device;
pub mod kernels;
pub mod page;
pub mod parity;
pub mod profile;
pub mod schedules;
pub mod speed;
pub mod trained;

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use mspipe::console;
use mspipe::device::{DeviceChoice, DeviceSettings, KernelChoice, LimitsChoice};
use mspipe::interrupt;
use mspipe_datasets::whole_file::{self, Existing};
use serde::{Deserialize, Serialize};

use crate::cell::name_of;
use crate::machine;
use device::DeviceFacts;
use kernels::KernelTimes;
use profile::ProfiledRun;
use schedules::ScheduleRow;
use speed::SpeedRow;

/// What to accept.
#[derive(Debug, Clone, Args)]
pub struct AcceptConfig {
    /// Device to use: auto, cpu, gpu, gpu:N or software
    #[arg(long, default_value_t = DeviceChoice::Gpu(0))]
    pub device: DeviceChoice,

    /// Kernels to run: auto (those for the adapter's class), gpu or software
    #[arg(long, default_value_t = KernelChoice::Auto, hide_short_help = true)]
    pub kernels: KernelChoice,

    /// Limits to ask of the adapter: adapter, webgpu or alignment:N
    #[arg(long, default_value_t = LimitsChoice::Adapter, hide_short_help = true)]
    pub limits: LimitsChoice,

    /// Folder for accept.json and accept.html
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,

    /// Leave the checks of whole runs out and measure less: under 2 minutes on a GPU, not 10
    #[arg(long)]
    pub quick: bool,

    /// Part to run; may be given several times [default: all]
    #[arg(long, value_name = "PART", value_enum)]
    pub part: Vec<Part>,

    /// Replace accept.json and accept.html
    #[arg(long)]
    pub force: bool,

    /// Run one part in this process and write what it finds to this file
    #[arg(long, value_name = "FILE", hide = true)]
    pub into: Option<PathBuf>,
}

/// A part of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the table above has them")]
pub enum Part {
    Device,
    Checks,
    Parity,
    Kernels,
    Speed,
    Schedules,
    Profile,
}

impl Part {
    /// All of them, in the order in which they run.
    pub const ALL: [Part; 7] = [
        Part::Device,
        Part::Checks,
        Part::Parity,
        Part::Kernels,
        Part::Speed,
        Part::Schedules,
        Part::Profile,
    ];

    /// As the command line has it.
    pub fn name(self) -> String {
        name_of(&self)
    }

    /// Seconds that its measurements may take, all together: under 10 minutes with the checks,
    /// which take what they take, or under 2.
    fn seconds(self, quick: bool) -> f64 {
        match (self, quick) {
            (Part::Kernels, false) => 40.0,
            (Part::Kernels, true) => 8.0,
            (Part::Speed, false) => 120.0,
            (Part::Speed, true) => 15.0,
            (Part::Schedules, false) => 140.0,
            (Part::Schedules, true) => 20.0,
            (Part::Profile, false) => 20.0,
            (Part::Profile, true) => 6.0,
            (Part::Device | Part::Checks | Part::Parity, _) => 0.0,
        }
    }
}

/// What a part is run with.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The device.
    pub device: DeviceSettings,
    /// Whether to do less.
    pub quick: bool,
    /// Seconds that measurements may take.
    pub seconds: f64,
}

impl AcceptConfig {
    /// What a part is run with.
    pub fn asked(&self, part: Part) -> Asked {
        Asked {
            device: DeviceSettings {
                choice: self.device,
                kernels: self.kernels,
                limits: self.limits,
            },
            quick: self.quick,
            seconds: part.seconds(self.quick),
        }
    }

    /// The part that this process is for, and where what it finds goes, if it is a part's.
    pub fn child(&self) -> Option<(Part, Option<PathBuf>)> {
        let part = self.part.first()?;
        self.into.clone().map(|file| (*part, Some(file)))
    }
}

/// Whether what was expected was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was.
    Holds,
    /// It was not.
    Fails,
    /// Nothing was expected.
    Told,
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
    /// The check that is under way, until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<String>,
    /// What it measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceFacts>,
    /// Times of kernels and products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernels: Option<KernelTimes>,
    /// Events per second of models and batch sizes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speed: Vec<SpeedRow>,
    /// Events per second of schedules and places of memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleRow>,
    /// The profiled run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfiledRun>,
}

impl PartReport {
    fn new(part: Part) -> PartReport {
        PartReport {
            part,
            seconds: 0.0,
            rows: Vec::new(),
            left_out: Vec::new(),
            under_way: None,
            device: None,
            kernels: None,
            speed: Vec::new(),
            schedules: Vec::new(),
            profile: None,
        }
    }

    fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict == Verdict::Fails)
    }
}

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptReport {
    /// Whether every check of every part that ran holds, and all parts that were asked for ran.
    pub accepted: bool,
    /// The same in a sentence.
    pub verdict: String,
    /// What was asked for with `--device`.
    pub asked: String,
    /// Adapter, driver and API.
    pub device: String,
    /// Parts that `--part` left out.
    pub not_asked: usize,
    /// Whether the device is a processor that emulates one.
    pub emulated: bool,
    /// Whether less was done.
    pub quick: bool,
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
    fn begin(config: &AcceptConfig) -> AcceptReport {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        AcceptReport {
            accepted: false,
            verdict: String::new(),
            asked: config.device.to_string(),
            device: "no device".to_owned(),
            emulated: false,
            quick: config.quick,
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

    /// Adds a part and judges all there is; `missing` are the parts that have not run.
    fn add(&mut self, part: PartReport, missing: usize) {
        if let Some(facts) = &part.device
            && let Some(opened) = &facts.opened
        {
            (self.device, self.emulated) = (opened.clone(), facts.emulated);
        }
        self.parts.push(part);
        (self.accepted, self.verdict) = judged(&self.parts, missing);
        if self.accepted && self.not_asked > 0 {
            self.accepted = false;
            self.verdict = format!(
                "INCOMPLETE: {} parts were not asked for; all checks of the others hold",
                self.not_asked
            );
        }
        if self.emulated {
            self.verdict += ", on an EMULATED device";
        }
    }
}

/// The verdict on some parts: whether all is well, and a sentence.
pub fn judged(parts: &[PartReport], missing: usize) -> (bool, String) {
    let rows = || parts.iter().flat_map(|part| &part.rows);
    let checks = rows().filter(|row| row.verdict != Verdict::Told).count();
    let failed = parts.iter().flat_map(PartReport::failed).count();
    let sentence = match (checks, failed, missing) {
        (_, 0, 1..) => format!("UNFINISHED: {missing} parts have not run, {checks} checks hold"),
        (0, ..) => "FAILED: nothing was checked".to_owned(),
        (_, 0, 0) => format!("ACCEPTED: all {checks} checks hold"),
        _ => format!("FAILED: {failed} of {checks} checks do not hold"),
    };
    (failed == 0 && missing == 0 && checks > 0, sentence)
}

/// Runs the parts and writes the report.
///
/// # Errors
/// A folder that can't be written to; a report that is there, without `--force`; a signal.
pub fn run(config: &AcceptConfig) -> Result<AcceptReport> {
    let files = ["accept.json", "accept.html"].map(|name| config.out.join(name));
    std::fs::create_dir_all(&config.out)
        .with_context(|| format!("--out {}", config.out.display()))?;
    for file in &files {
        whole_file::check(file, Existing::forced(config.force))?;
    }
    let stop = interrupt::stop();
    let _unfinished = stop.unfinished();
    // Removed at the end, whatever that is: streams, runs, and what the parts write.
    let work = tempfile::tempdir().context("a folder for the runs")?;
    let mut parts: Vec<Part> = match config.part.as_slice() {
        [] => Part::ALL.to_vec(),
        asked => Part::ALL
            .into_iter()
            .filter(|p| asked.contains(p))
            .collect(),
    };
    if !parts.contains(&Part::Device) {
        // Whether the numbers are of an emulated device is part of all of them.
        parts.insert(0, Part::Device);
    }
    let program = std::env::current_exe().context("the program's own path")?;
    let begin = Instant::now();
    let mut report = AcceptReport::begin(config);
    let mut missing = parts.len();
    for part in parts {
        stop.check()?;
        missing -= 1;
        console::note(format!("{}:", part.name()));
        let found = match refused(&report) {
            None => child::run(&program, part, config, work.path())?,
            Some(why) => {
                let mut report = PartReport::new(part);
                report.left_out.push(why);
                report
            }
        };
        stop.check()?;
        for line in told(&found) {
            console::note(line);
        }
        report.add(found, missing);
        report.seconds = begin.elapsed().as_secs_f64();
        write(&report, &files)?;
    }
    console::note(format!(
        "{} ({:.0} s)\n{}",
        report.verdict,
        report.seconds,
        files.map(|file| file.display().to_string()).join("\n")
    ));
    Ok(report)
}

/// Why the other parts are left out: no device was opened.
fn refused(report: &AcceptReport) -> Option<String> {
    let facts = report.parts.iter().find(|part| part.part == Part::Device)?;
    let opened = facts
        .device
        .as_ref()
        .and_then(|facts| facts.opened.as_ref());
    opened
        .is_none()
        .then(|| "there is no device to run it on".to_owned())
}

/// What the user sees of a part when it has ended.
fn told(part: &PartReport) -> Vec<String> {
    let checks = part.rows.iter().filter(|row| row.verdict != Verdict::Told);
    let mut lines: Vec<String> = part
        .failed()
        .map(|row| format!("  FAILED {}: {}", row.name, row.found))
        .collect();
    lines.extend(
        part.left_out
            .iter()
            .map(|what| format!("  left out: {what}")),
    );
    lines.push(format!(
        "  {} checks, {} failed, {:.1} s",
        checks.count(),
        part.failed().count(),
        part.seconds
    ));
    lines
}

fn write(report: &AcceptReport, [json, html]: &[PathBuf; 2]) -> Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    for (file, text) in [(json, text), (html, page::document(report).to_html())] {
        whole_file::write(file, Existing::Replace, |to| to.write_all(text.as_bytes()))?;
    }
    Ok(())
}

impl fmt::Display for AcceptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", page::summary(self).to_markdown().trim_end())
    }
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
        self.report.under_way = Some(name.to_owned());
        self.keep()?;
        let begin = Instant::now();
        let (verdict, found, expected) = match work(&mut self.report) {
            Ok(Found {
                text,
                expected: None,
            }) => (Verdict::Holds, text, expected.to_owned()),
            Ok(Found {
                text,
                expected: Some(other),
            }) => (Verdict::Holds, text, other),
            Err(text) => (Verdict::Fails, text, expected.to_owned()),
        };
        self.row(name, verdict, found, expected, begin.elapsed())
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

/// Runs a part in this process.
///
/// # Errors
/// When its file can't be written. What goes wrong in the part itself is one of its rows.
pub fn run_part(part: Part, asked: &Asked, file: Option<PathBuf>) -> Result<PartReport> {
    let mut findings = Findings::new(part, file);
    let ran = match part {
        Part::Device => device::run(asked, &mut findings),
        Part::Checks => checks::run(asked, &mut findings),
        Part::Parity => parity::run(asked, &mut findings),
        Part::Kernels => kernels::run(asked, &mut findings),
        Part::Speed => speed::run(asked, &mut findings),
        Part::Schedules => schedules::run(asked, &mut findings),
        Part::Profile => profile::run(asked, &mut findings),
    };
    if let Err(error) = ran {
        let name = format!("the part {}", part.name());
        findings.check(&name, "runs to its end", |_| Err(format!("{error:#}")))?;
    }
    Ok(findings.report)
}
