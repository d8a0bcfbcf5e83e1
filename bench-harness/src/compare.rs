//! `compare`: faster, slower or no change between two measurements, with their noise.
//!
//! A measurement is anything that keeps cells: the JSON of `schedules` or `reproduce`, or a folder with runs in it. Runs with the same settings are compared
//! with one another, whatever their seed.
//!
//! Two speeds differ when the change is larger than the noise, which is the largest of
//! * 2 %, since a second start of the same program differs by that much,
//! * what the samples (epochs but the first, of all seeds) leave open: half the 95 % interval of
//!   the mean of their logarithms (Welch), 30 % where there is a single one: epochs of less than a
//!   second, one before and one after, of one and the same program have differed by 22 %,
//! * how much the machine's matrix product changed between the two.
//!
//! Two APs are compared seed by seed: the same seed trains on the same batches with the same
//! negatives. They differ when the 95 % interval of the mean difference leaves out 0.
//!
//! Measurements of different settings, streams or machines are refused, unless forced.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use mspipe::config::name_of;
use mspipe::device::DeviceSettings;
use mspipe::eval::Spread;
use mspipe::profiler::machine::median;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cell::Cell;
use crate::grid::CELL;

/// Change of speed below which nothing is said to have changed.
const LEAST_NOISE: f64 = 0.02;

/// Noise of a speed with a single sample.
const SINGLE_NOISE: f64 = 0.30;

/// 97.5 % quantiles of Student's t with 1, 2, … degrees of freedom.
const STUDENT: [f64; 10] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23];

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// More than before, beyond the noise.
    Higher,
    /// Less.
    Lower,
    /// Within the noise.
    NoChange,
    /// The same bits.
    Same,
    /// Different, with a single seed to tell by.
    Unclear,
}

/// Runs of one setting in both measurements.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What sets it apart.
    pub setting: String,
    /// Median training events per second, before and now.
    pub events_per_s: [f64; 2],
    /// Change of the speed, as a share.
    pub speed_change: f64,
    /// How much of it may be noise, as a share.
    pub speed_noise: f64,
    /// Whether it is faster.
    pub speed: Verdict,
    /// Test AP, before and now.
    pub test_ap: [Spread; 2],
    /// Whether it is more accurate.
    pub accuracy: Verdict,
}

/// A comparison.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Programs that measured, before and now.
    pub programs: [String; 2],
    /// Why the two should not be compared, where that was forced.
    pub forced: Vec<String>,
    /// One row per setting.
    pub rows: Vec<Row>,
}

/// Compares what is at `before` with what is at `now`.
///
/// # Errors
/// Nothing measured there; settings, streams or machines that differ, unless `force`.
pub fn compare(before: &Path, now: &Path, force: bool) -> Result<Comparison> {
    let [a, b] = [before, now].map(read);
    let (a, b) = (a?, b?);
    let mut against = Vec::new();
    for (place, own, others) in [(before, &a, &b), (now, &b, &a)] {
        let alone = own.keys().filter(|key| !others.contains_key(*key)).count();
        if alone > 0 {
            against.push(format!("{alone} settings are in {} alone", place.display()));
        }
    }
    let both: Vec<_> = a
        .iter()
        .filter_map(|(key, cells)| Some((key, cells, b.get(key)?)))
        .collect();
    for (_, a, b) in &both {
        let (a, b) = (&a[0].context, &b[0].context);
        if a != b {
            let text = format!("before: {a}; now: {b}");
            if !against.contains(&text) {
                against.push(text);
            }
        }
    }
    if both.is_empty() {
        bail!(
            "{} and {} have no setting in common",
            before.display(),
            now.display()
        );
    }
    if !against.is_empty() && !force {
        bail!(
            "these are not measurements of the same thing ({}); measure again with the same \
             settings, stream and machine, or compare them anyway with --force",
            against.join("; ")
        );
    }
    let varying = varying(both.iter().map(|(_, cells, _)| &cells[0]))?;
    let rows = both
        .iter()
        .map(|(_, a, b)| Row::of(label(&a[0], &varying)?, a, b))
        .collect::<Result<_>>()?;
    let programs = [&a, &b].map(|cells| {
        let mut names: Vec<&str> = cells
            .values()
            .flatten()
            .map(|c| c.program.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.join(" and ")
    });
    Ok(Comparison {
        programs,
        forced: against,
        rows,
    })
}

/// The cells of a measurement by their settings.
fn read(place: &Path) -> Result<BTreeMap<String, Vec<Cell>>> {
    #[derive(Deserialize)]
    struct Measured {
        cells: Vec<Cell>,
    }
    let cells = if place.is_dir() {
        let mut cells = Vec::new();
        collect(place, &mut cells)?;
        cells
    } else {
        let text = fs::read_to_string(place).with_context(|| place.display().to_string())?;
        let measured: Measured = serde_json::from_str(&text).with_context(|| {
            format!(
                "{}: is not a measurement; give the JSON of schedules or reproduce, or a \
                 folder with runs",
                place.display()
            )
        })?;
        measured.cells
    };
    if cells.is_empty() {
        bail!("{}: there is no finished run", place.display());
    }
    let mut by_setting: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
    for cell in cells {
        by_setting
            .entry(Value::Object(compared(&cell)?).to_string())
            .or_default()
            .push(cell);
    }
    Ok(by_setting)
}

/// The settings that decide which runs are compared, whatever the seed and the folder; device
/// and threads are part of the context, which says what was really used.
fn compared(cell: &Cell) -> serde_json::Result<Map<String, Value>> {
    let mut config = cell.config.clone();
    config.training.seed = 0;
    config.output.out = None;
    config.device = DeviceSettings::default();
    config.machine.threads = None;
    config.by_name()
}

fn collect(folder: &Path, cells: &mut Vec<Cell>) -> Result<()> {
    let failed = || folder.display().to_string();
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<PathBuf>, _>>()
        })
        .with_context(failed)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, cells)?;
        } else if path.file_name().is_some_and(|name| name == CELL) {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let cell = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            cells.push(cell);
        }
    }
    Ok(())
}

/// Settings of which the runs have several values, beside those that every label names.
fn varying<'a>(cells: impl Iterator<Item = &'a Cell>) -> Result<Vec<String>> {
    const NAMED: [&str; 4] = ["data", "model", "memory", "schedule"];
    let all = cells
        .map(compared)
        .collect::<serde_json::Result<Vec<_>>>()?;
    let Some(first) = all.first() else {
        return Ok(Vec::new());
    };
    Ok(first
        .iter()
        .filter(|(name, _)| !NAMED.contains(&name.as_str()))
        .filter(|(name, value)| all.iter().any(|other| other.get(*name) != Some(value)))
        .map(|(name, _)| name.clone())
        .collect())
}

fn label(cell: &Cell, varying: &[String]) -> Result<String> {
    let config = &cell.config;
    let mut label = format!(
        "{}, {}, {}, {}",
        cell.context.title(),
        config.model.name,
        name_of(&config.pipeline.memory),
        config.pipeline.schedule
    );
    let all = config.by_name()?;
    for name in varying {
        let value = all.get(name).map_or_else(String::new, Value::to_string);
        label += &format!(", {} {}", name.replace('_', " "), value.trim_matches('"'));
    }
    Ok(label)
}

impl Row {
    fn of(setting: String, before: &[Cell], now: &[Cell]) -> Result<Row> {
        let samples = |cells: &[Cell]| -> Vec<f64> {
            cells.iter().flat_map(Cell::counted_events_per_s).collect()
        };
        let (a, b) = (samples(before), samples(now));
        let rate =
            |cells: &[Cell]| median(&cells.iter().map(Cell::mean_gflops).collect::<Vec<_>>());
        let speed_change = median(&b) / median(&a) - 1.0;
        let drift = (rate(now) / rate(before)).ln().abs();
        let speed_noise = noise(&a, &b).max(drift);
        let ap =
            [before, now].map(|cells| Spread::of(cells.iter().map(|cell| cell.test.ap).collect()));
        Ok(Row {
            setting,
            events_per_s: [median(&a), median(&b)],
            speed_change,
            speed_noise,
            speed: match speed_change {
                change if change > speed_noise => Verdict::Higher,
                change if change < -speed_noise => Verdict::Lower,
                _ => Verdict::NoChange,
            },
            test_ap: ap,
            accuracy: accuracy(before, now),
        })
    }
}

/// How much of a change of speed may be noise, as a share.
fn noise(a: &[f64], b: &[f64]) -> f64 {
    if a.len() < 2 || b.len() < 2 {
        return SINGLE_NOISE;
    }
    let square = |samples: &[f64]| {
        let logarithms: Vec<f64> = samples.iter().map(|sample| sample.ln()).collect();
        let deviation = Spread::of(logarithms).deviation.unwrap_or(0.0);
        deviation.powi(2) / samples.len() as f64
    };
    let error = (square(a) + square(b)).sqrt();
    (student(a.len().min(b.len())) * error).max(LEAST_NOISE)
}

/// Student's t of a mean of `count` samples.
fn student(count: usize) -> f64 {
    match count {
        0 | 1 => f64::INFINITY,
        count => STUDENT.get(count - 2).copied().unwrap_or(2.1),
    }
}

fn accuracy(before: &[Cell], now: &[Cell]) -> Verdict {
    let pairs = before.iter().filter_map(|a| {
        let b = now
            .iter()
            .find(|b| b.config.training.seed == a.config.training.seed)?;
        Some(b.test.ap - a.test.ap)
    });
    let differences: Vec<f64> = pairs.collect();
    if !differences.is_empty() && differences.iter().all(|difference| *difference == 0.0) {
        return Verdict::Same;
    }
    if differences.len() < 2 {
        return Verdict::Unclear;
    }
    let count = differences.len();
    let Spread {
        mean, deviation, ..
    } = Spread::of(differences);
    let half = student(count) * deviation.unwrap_or(0.0) / (count as f64).sqrt();
    match mean {
        mean if mean > half => Verdict::Higher,
        mean if mean < -half => Verdict::Lower,
        _ => Verdict::NoChange,
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "before  {}\nnow     {}",
            self.programs[0], self.programs[1]
        )?;
        for reason in &self.forced {
            writeln!(f, "FORCED  {reason}")?;
        }
        let width = self
            .rows
            .iter()
            .map(|row| row.setting.chars().count())
            .max()
            .unwrap_or(0);
        write!(
            f,
            "\n{:<width$} {:>9} {:>9} {:>9} {:>8}  {:<10} {:>16} {:>16}  accuracy",
            "setting", "before", "now", "change", "noise", "speed", "AP before", "AP now"
        )?;
        for row in &self.rows {
            let speed = match row.speed {
                Verdict::Higher => "faster",
                Verdict::Lower => "slower",
                _ => "no change",
            };
            let accuracy = match row.accuracy {
                Verdict::Higher => "better",
                Verdict::Lower => "worse",
                Verdict::NoChange => "no change",
                Verdict::Same => "same",
                Verdict::Unclear => "differs, one seed",
            };
            write!(
                f,
                "\n{:<width$} {:>9.0} {:>9.0} {:>+7.1} % {:>6.1} %  {speed:<10} {:>16} {:>16}  {accuracy}",
                row.setting,
                row.events_per_s[0],
                row.events_per_s[1],
                100.0 * row.speed_change,
                100.0 * row.speed_noise,
                row.test_ap[0].to_string(),
                row.test_ap[1].to_string(),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_what_the_samples_leave_open() {
        assert_eq!(noise(&[100.0], &[100.0, 101.0]), SINGLE_NOISE);
        assert_eq!(noise(&[100.0; 5], &[100.0; 5]), LEAST_NOISE);
        // Logarithms of ±10 % around 100: deviation of four samples 0.116, of their mean's
        // difference 0.082, times 3.18.
        let wide = [90.0, 110.0, 90.0, 110.0];
        let found = noise(&wide, &wide);
        assert!((found - 0.26).abs() < 0.01, "{found}");
    }
}
