//! The staleness ledger: what each iteration read, one JSON line per iteration.
//!
//! ```json
//! {"epoch":1,"iteration":32,"k":2,"version":31,"stall_us":0}
//! ```
//!
//! `version` counts the updates of the epoch that the iteration saw: iteration i, from 0, with
//! staleness k saw i + 1 − k. A line may also hold a `decision` (a k chosen from measured
//! times), `running` and `choice` (whether it overlapped with others, where both are tried), `ages` (how long ago the rows read had been written) and `stale_memory` (what of them was
//! stale, and which mail was overwritten).
//!
//! Invariant: `replay:FILE` (or the folder of the file) reads back exactly what is written here.
//! It measures neither ages nor rows; whoever knows them adds them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cycle::Cycle;
use super::profile::Profile;
use super::staleness::StaleMemory;
use super::turns::{Choice, Running};

/// Name of a run's ledger, in its folder.
pub(crate) const FILE_NAME: &str = "ledger.jsonl";

/// What one iteration read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LedgerLine {
    /// Epoch, as the run counts it.
    pub epoch: u64,
    /// Iteration of the epoch, from 0.
    pub iteration: usize,
    /// Its staleness.
    pub k: usize,
    /// Updates of the epoch that it saw.
    pub version: usize,
    /// Time in µs that the device thread waited for its input.
    pub stall_us: u64,
    /// How the iteration ran, where that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// A choice of that, which holds from this iteration on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// A choice of k that holds from this iteration on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Box<Decision>>,
    /// Ages of the memory rows read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ages: Option<AgeHistogram>,
    /// What of its memory was stale, and which mail went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_memory: Option<StaleMemory>,
    /// Pieces of mail that the updater absorbed into the rows read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updater_rows: Option<u64>,
    /// Rows that a mitigation drew towards those of similar nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected: Option<usize>,
    /// What it gave to other ranks, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchanged: Option<Exchanged>,
}

/// What a rank gave to the others, and what that took with the wait for theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// Bytes of gradients.
    pub gradient_bytes: u64,
    /// Time in µs until all had those of all.
    pub gradient_us: u64,
    /// Bytes of updated rows.
    pub row_bytes: u64,
    /// Time in µs until all had those of all.
    pub row_us: u64,
}

impl Exchanged {
    /// Adds what was exchanged elsewhere.
    pub(crate) fn add(&mut self, other: Exchanged) {
        self.gradient_bytes += other.gradient_bytes;
        self.gradient_us += other.gradient_us;
        self.row_bytes += other.row_bytes;
        self.row_us += other.row_us;
    }
}

impl LedgerLine {
    /// That of an iteration of an epoch, with nothing but what a replay needs.
    pub(crate) fn new(epoch: u64, iteration: usize, k: usize, version: usize) -> LedgerLine {
        LedgerLine {
            epoch,
            iteration,
            k,
            version,
            stall_us: 0,
            running: None,
            choice: None,
            decision: None,
            ages: None,
            stale_memory: None,
            updater_rows: None,
            corrected: None,
            exchanged: None,
        }
    }
}

/// A choice of k.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The staleness chosen.
    pub k: usize,
    /// What it was chosen from, in seconds.
    #[serde(flatten)]
    pub cycle: Cycle,
    /// Medians of the stage times in seconds, for who reads the ledger.
    pub measured: Profile,
}

/// How many rows were how old, by powers of two: bucket 0 holds ages under 1, bucket b holds
/// 2^(b−1) up to 2^b, in the unit that they are added in (that of the stream).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgeHistogram(Vec<u64>);

impl AgeHistogram {
    /// Counts a row of this age (at least 0).
    pub(crate) fn add(&mut self, age: f64) {
        // `as` saturates, so infinity falls into the last bucket and NaN into the first.
        let bucket = (u64::BITS - (age as u64).leading_zeros()) as usize;
        if self.0.len() <= bucket {
            self.0.resize(bucket + 1, 0);
        }
        self.0[bucket] += 1;
    }

    /// Counts the rows of another one too.
    pub(crate) fn add_all(&mut self, other: &AgeHistogram) {
        let buckets = self.0.len().max(other.0.len());
        self.0.resize(buckets, 0);
        let both = self.0.iter_mut().zip(&other.0);
        both.for_each(|(all, rows)| *all += rows);
    }

    /// Rows in each bucket.
    pub fn buckets(&self) -> &[u64] {
        &self.0
    }
}

/// Writes lines as JSON lines.
///
/// # Errors
/// When they can't be written.
pub fn write(lines: &[LedgerLine], out: &mut impl Write) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Why a ledger can't be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file can't be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Read {
        /// The ledger.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line is no ledger line.
    #[error(
        "{path}:{line}: {message}; expected a line of a ledger, {{\"epoch\":1,\"iteration\":0,\"k\":1,…}}",
        path = path.display()
    )]
    Line {
        /// The ledger.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The ledger is of a run with other iterations.
    #[error(
        "{path}: has {found} iterations of epoch {epoch}, and the run has {expected}; replay the ledger of \
         a run with the same training events, batch size and at least as many epochs",
        path = path.display()
    )]
    OtherRun {
        /// The ledger.
        path: PathBuf,
        /// The epoch.
        epoch: u64,
        /// Iterations in the ledger.
        found: usize,
        /// Iterations to run.
        expected: usize,
    },
}

/// What a replay needs of a line.
#[derive(Deserialize)]
struct Read {
    epoch: u64,
    iteration: usize,
    k: usize,
}

/// The k of each iteration of another run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    path: PathBuf,
    k: BTreeMap<(u64, usize), usize>,
}

impl Replay {
    /// Reads a ledger, by its file or the folder of its run.
    ///
    /// # Errors
    /// When the file is missing, a line is not of a ledger, or a k is impossible: 0, reaching
    /// before the epoch's first update, or making the memory older than it was.
    pub(crate) fn read(path: &Path) -> Result<Replay, ReplayError> {
        let file = Replay::file(path);
        let path = file.as_path();
        let failed = |error| ReplayError::Read {
            path: path.to_owned(),
            error,
        };
        let mut k = BTreeMap::new();
        let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
        for (number, line) in lines.enumerate() {
            let line = line.map_err(failed)?;
            let wrong = |message: String| ReplayError::Line {
                path: path.to_owned(),
                line: number + 1,
                message,
            };
            let read: Read = serde_json::from_str(&line).map_err(|e| wrong(e.to_string()))?;
            let Read {
                epoch, iteration, ..
            } = read;
            if read.k == 0 || read.k > iteration + 1 {
                return Err(wrong(format!(
                    "iteration {iteration} can't have k = {}",
                    read.k
                )));
            }
            let before = iteration
                .checked_sub(1)
                .and_then(|before| k.get(&(epoch, before)));
            if before.is_some_and(|before| read.k > before + 1) {
                return Err(wrong(format!(
                    "k = {} reads memory older than iteration {} read",
                    read.k,
                    iteration - 1
                )));
            }
            if k.insert((epoch, iteration), read.k).is_some() {
                return Err(wrong(format!(
                    "iteration {iteration} of epoch {epoch} is there twice"
                )));
            }
        }
        let path = path.to_owned();
        Ok(Replay { path, k })
    }

    /// The ledger that `path` names: itself, or that of the run whose folder it is.
    pub(crate) fn file(path: &Path) -> PathBuf {
        match path.is_dir() {
            true => path.join(FILE_NAME),
            false => path.to_owned(),
        }
    }

    /// Whether this is the ledger of a run with so many iterations in each of its first `epochs`
    /// epochs, of which it need not have those beyond `needed`.
    ///
    /// # Errors
    /// When an epoch has fewer or more: they are other iterations than those to run.
    pub(crate) fn check(
        &self,
        epochs: u64,
        needed: u64,
        iterations: usize,
    ) -> Result<(), ReplayError> {
        for epoch in 1..=epochs {
            let found = self.k.range((epoch, 0)..(epoch + 1, 0)).count();
            if found != iterations && (found > 0 || epoch <= needed) {
                return Err(self.other_run(epoch, found, iterations));
            }
        }
        Ok(())
    }

    fn other_run(&self, epoch: u64, found: usize, expected: usize) -> ReplayError {
        ReplayError::OtherRun {
            path: self.path.clone(),
            epoch,
            found,
            expected,
        }
    }

    /// The largest k.
    pub(crate) fn most(&self) -> usize {
        self.k.values().copied().max().unwrap_or(1)
    }

    /// The k of the iterations of an epoch.
    ///
    /// # Errors
    /// When one of them is not in the ledger.
    pub(crate) fn of(
        &self,
        epoch: u64,
        iterations: Range<usize>,
    ) -> Result<Vec<usize>, ReplayError> {
        let found: Vec<usize> = iterations
            .clone()
            .map_while(|iteration| self.k.get(&(epoch, iteration)).copied())
            .collect();
        if found.len() < iterations.len() {
            return Err(self.other_run(epoch, iterations.start + found.len(), iterations.end));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::profile::Residency;

    fn line(iteration: usize, k: usize) -> LedgerLine {
        LedgerLine {
            stall_us: 7,
            ..LedgerLine::new(1, iteration, k, iteration + 1 - k)
        }
    }

    fn read(text: &[u8]) -> Result<Replay, ReplayError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        Replay::read(file.path())
    }

    fn written(lines: &[LedgerLine]) -> Vec<u8> {
        let mut text = Vec::new();
        write(lines, &mut text).unwrap();
        text
    }

    #[test]
    fn a_ledger_is_read_back() {
        let mut first = line(0, 1);
        let mut ages = AgeHistogram::default();
        for age in [0.0, 0.9, 1.0, 2.0, 3.9, f64::INFINITY] {
            ages.add(age);
        }
        assert_eq!(ages.buckets()[..3], [2, 1, 2]);
        assert_eq!(ages.buckets()[64], 1);
        first.ages = Some(ages);
        let measured = Profile::with_usual_updater([std::time::Duration::ZERO; 5]);
        first.decision = Some(Box::new(Decision {
            k: 1,
            cycle: measured.cycle(Residency::Host, false),
            measured,
        }));
        let replay = read(&written(&[first, line(1, 2), line(2, 1)])).unwrap();
        assert_eq!(replay.of(1, 0..3).unwrap(), [1, 2, 1]);
        assert_eq!(replay.of(1, 1..2).unwrap(), [2]);
        let error = replay.of(1, 1..4).unwrap_err().to_string();
        assert!(
            error.contains("has 3 iterations of epoch 1, and the run has 4"),
            "{error}"
        );
    }

    #[test]
    fn a_ledger_of_other_iterations_is_refused() {
        let of_epoch = |epoch| {
            move |iteration| LedgerLine {
                epoch,
                ..line(iteration, 1)
            }
        };
        let lines: Vec<_> = (0..3)
            .map(of_epoch(1))
            .chain((0..3).map(of_epoch(2)))
            .collect();
        let replay = read(&written(&lines)).unwrap();
        assert!(replay.check(1, 1, 3).is_ok() && replay.check(2, 2, 3).is_ok());
        // A run that may end early does not need all epochs, but no others either.
        assert!(replay.check(5, 1, 3).is_ok() && replay.check(5, 1, 2).is_err());
        for (epochs, iterations, found) in [
            (1, 2, "has 3 iterations of epoch 1, and the run has 2"),
            (2, 4, "has 3 iterations of epoch 1, and the run has 4"),
            (3, 3, "has 0 iterations of epoch 3, and the run has 3"),
        ] {
            let error = replay
                .check(epochs, epochs, iterations)
                .unwrap_err()
                .to_string();
            assert!(error.contains(found), "{error}");
        }
        let empty = read(b"").unwrap().check(1, 1, 3).unwrap_err().to_string();
        assert!(empty.contains("has 0 iterations of epoch 1"), "{empty}");
    }

    #[test]
    fn refuses_what_no_run_writes() {
        let error = |text: &[u8]| read(text).unwrap_err().to_string();
        assert!(error(b"{}").contains(":1: missing field `epoch`"));
        assert!(error(&written(&[line(1, 1), line(2, 3)])).contains("reads memory older"));
        assert!(error(&written(&[line(0, 1), line(0, 1)])).contains("twice"));
        assert!(error(b"{\"epoch\":0,\"iteration\":3,\"k\":0}").contains("can't have k = 0"));
        let missing = Replay::read(Path::new("no/such/file")).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read"));
    }
}
