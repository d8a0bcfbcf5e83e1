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

pub mod asked;
pub mod checks;
pub mod child;
mod claim;
pub mod device;
pub mod found;
pub mod kernels;
pub mod page;
pub mod parity;
pub mod prediction;
pub mod profile;
pub mod schedules;
pub mod speed;
pub mod trained;

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use mspipe::console;
use mspipe::interrupt;
use mspipe_datasets::whole_file::{self, Existing};

pub use asked::{AcceptConfig, Asked, Part};
use child::Ran;
use claim::Claim;
use found::counted;

pub use found::{AcceptReport, Findings, Found, PartReport, Row, Verdict, judged};

/// Runs the parts and writes the report.
///
/// # Errors
/// A folder that can't be written to, or that another one writes to; a report that is there, without `--force`;
/// no such device, and then nothing is written; a signal, or no room for what parts write, and then the report has
/// what was found until then. A report of before that is to be replaced is no longer there after any of these but the
/// first two: one that says UNFINISHED is.
pub fn run(config: &AcceptConfig) -> Result<AcceptReport> {
    let stop = interrupt::stop();
    let _unfinished = stop.unfinished();
    let claim = Claim::of(&config.out, config.force)?;
    let parts = parts(config);
    let program = std::env::current_exe().context("the program's own path")?;
    let begin = Instant::now();
    let mut report = AcceptReport::begin(config);
    let mut missing = parts.len();
    if claim.replaces {
        // What another day found must not be taken for what this run found, however it ends.
        report.judge(missing);
        write(&report, &claim.files).map_err(|error| error.context(claim.outdated()))?;
    }
    // Removed at the end, whatever that is: streams, runs, and what the parts write.
    let work = match tempfile::tempdir() {
        Ok(work) => work,
        Err(error) => {
            let place = std::env::temp_dir();
            let why = format!(
                "no folder for the runs in {} (TMPDIR): {error}",
                place.display()
            );
            return Err(refuse(&mut report, &claim, &why));
        }
    };
    for part in parts {
        stopped(&report, config)?;
        missing -= 1;
        console::note(format!("{}:", part.name()));
        let Ran {
            report: found,
            error,
        } = match refused(&report) {
            None => child::run(&program, part, config, work.path())?,
            Some(why) => left_out(part, why),
        };
        if let Some(why) = missing_device(&found) {
            return Err(refuse(&mut report, &claim, &why));
        }
        if found.part == Part::Device && found.stopped.is_some() && !claim.replaces {
            // Nothing was found that would be worth a --force.
            stop.check()?;
        }
        report.add(found, missing);
        report.seconds = begin.elapsed().as_secs_f64();
        let ended = report.parts.last().into_iter();
        ended
            .flat_map(|part| told(part, report.emulated))
            .for_each(console::note);
        write(&report, &claim.files)?;
        if let Some(error) = error {
            bail!(
                "{}: {error}; the runs need room in {} (another folder: TMPDIR)",
                report.kept(config),
                std::env::temp_dir().display()
            );
        }
        if report.parts.iter().any(|part| part.stopped.is_some()) {
            stopped(&report, config)?;
        }
    }
    let files = claim
        .files
        .each_ref()
        .map(|file| file.display().to_string());
    console::note(format!(
        "{} ({:.0} s)\n{}",
        report.verdict,
        report.seconds,
        files.join("\n")
    ));
    Ok(report)
}

/// Those that were asked for, in their order. Whether the numbers are of an emulated device is part of all of them,
/// so that `device` is one of them.
fn parts(config: &AcceptConfig) -> Vec<Part> {
    let asked =
        |part: &Part| config.part.is_empty() || *part == Part::Device || config.part.contains(part);
    Part::ALL.into_iter().filter(asked).collect()
}

/// Ends it where a signal asks for that, and says what is left.
fn stopped(report: &AcceptReport, config: &AcceptConfig) -> Result<()> {
    match interrupt::stop().check() {
        Err(_) if !report.parts.is_empty() => bail!(
            "{}; start it again with --force, or with another folder",
            report.kept(config)
        ),
        checked => Ok(checked?),
    }
}

/// Nothing can begin, says the error, and the report where there is one of before.
fn refuse(report: &mut AcceptReport, claim: &Claim, why: &str) -> Error {
    if claim.replaces {
        report.refuse(why);
        if let Err(error) = write(report, &claim.files) {
            return error;
        }
    }
    anyhow!("{why}")
}

/// Why nothing can begin.
fn missing_device(part: &PartReport) -> Option<String> {
    part.device.as_ref()?.missing.clone()
}

/// A part that is not run.
fn left_out(part: Part, why: String) -> Ran {
    let mut report = PartReport::new(part);
    report.left_out.push(why);
    Ran {
        report,
        error: None,
    }
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

/// What the user sees of a part when it has ended; its process has told of checks that do not hold, but not of
/// the one that it ended in.
fn told(part: &PartReport, emulated: bool) -> Vec<String> {
    let checks = part.rows.iter().filter(|row| row.verdict != Verdict::Told);
    let unfinished = part
        .rows
        .iter()
        .filter(|row| row.verdict == Verdict::Unfinished);
    let mut lines: Vec<String> = unfinished
        .map(|row| format!("  FAILED {}: {}", row.name, row.found))
        .collect();
    lines.extend(
        part.left_out
            .iter()
            .map(|what| format!("  left out: {what}")),
    );
    if let Some(text) = not_run(part) {
        lines.push(format!("  {text}"));
    }
    lines.push(format!(
        "  {}, {} failed, {:.1} s{}",
        counted(checks.count(), ["check", "checks"]),
        part.failed().count(),
        part.seconds,
        if emulated { " (EMULATED)" } else { "" }
    ));
    lines
}

/// The checks that were to come.
fn not_run(part: &PartReport) -> Option<String> {
    let count = part.not_run.len();
    (count > 0).then(|| {
        let checks = counted(count, ["check", "checks"]);
        format!("{checks} did not run: {}", part.not_run.join(", "))
    })
}

fn write(report: &AcceptReport, [json, html]: &[PathBuf; 2]) -> Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    for (file, text) in [(json, text), (html, page::document(report).to_html())] {
        whole_file::write(file, Existing::Replace, |to| to.write_all(text.as_bytes()))
            .with_context(|| report.verdict.clone())?;
    }
    Ok(())
}

impl fmt::Display for AcceptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", page::summary(self).to_markdown().trim_end())
    }
}

/// Runs a part in this process, which ends early when its standard input does.
///
/// # Errors
/// When its file can't be written, or files of its runs because there is no room; a signal. What goes wrong in the
/// part itself is one of its rows.
pub fn run_part(part: Part, asked: &Asked, file: Option<PathBuf>) -> Result<PartReport> {
    child::end_with_parent();
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
        found::ours(&format!("{error:#}"))?;
        let name = format!("the part {}", part.name());
        findings.check(&name, "runs to its end", |_| Err(format!("{error:#}")))?;
    }
    Ok(findings.report)
}
