//! What joins the ranks of a run that is trained by several: the one seam between a rank and the others.
//!
//! A rank has a device thread, a model and a node memory of its own and takes its share of each batch; what
//! it needs of the others goes through an [`Exchange`]. There are two: ranks that are threads of one
//! process ([`threads`]), and processes that MPI has started.
//!
//! Invariants: whoever calls one of the two operations on a channel does so on all ranks, in the same
//! order; results come in the order of the ranks, so that equal ranks give equal bits; there is no
//! barrier, and nobody waits for a rank that has ended: that is an error, with what the rank said.
//! It knows nothing of what is exchanged.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

#[cfg(feature = "mpi")]
pub mod mpi;
pub mod threads;

/// Most ranks of a run.
pub const MOST_RANKS: usize = 1024;

/// Exchanges that may be under way at once, each used by one thread of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Gradients and what is agreed on, by the thread that talks to the device.
    Steps,
    /// Updated rows of memory, by the thread that receives them.
    Rows,
}

impl Channel {
    /// How many there are.
    pub(crate) const COUNT: usize = 2;
}

/// What each rank gave, in the order of the ranks.
pub type Gathered = Arc<Vec<Vec<u8>>>;

/// A rank's connection to the others.
pub trait Exchange: Send + Sync {
    /// This rank's number, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks, at least 1.
    fn size(&self) -> usize;

    /// Ranks that are processes of the same machine as this one, which is among them, ascending; those that are
    /// threads of one process have no other.
    fn on_machine(&self) -> &[usize];

    /// Gives `own` to all ranks, and waits for what they give.
    ///
    /// # Errors
    /// When a rank has ended.
    fn all_gather(&self, channel: Channel, own: Vec<u8>) -> Result<Gathered, RankError>;

    /// Adds up the `numbers` of all ranks, which have equally many, in the order of the ranks.
    ///
    /// # Errors
    /// When a rank has ended.
    fn sum(&self, channel: Channel, numbers: &mut [f32]) -> Result<(), RankError>;

    /// Tells the others that this rank ends, and why if it fails, so that none waits for it. The first rank
    /// that says why is the one that all are told of, as this one is here.
    fn end(&self, why: Option<&str>) -> Option<RankError>;
}

/// Why an exchange was not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RankError {
    /// A rank has ended.
    #[error("rank {rank} ended{}", match why.as_str() {
        "" => " while others had not: give all ranks the same command".to_owned(),
        why => format!(": {why}"),
    })]
    Ended {
        /// The rank, from 0.
        rank: usize,
        /// What it said; nothing if it had come to its end.
        why: String,
    },
    /// The ranks do not give the same.
    #[error(
        "rank {rank} gave {found} bytes where {expected} were expected; this is a bug in mspipe"
    )]
    Uneven {
        /// The rank, from 0.
        rank: usize,
        /// What it gave.
        found: usize,
        /// What rank 0 gave.
        expected: usize,
    },
}

/// Adds up in the order of the ranks what each gave, f32 in the machine's own order of bytes.
///
/// # Errors
/// [`RankError::Uneven`].
pub(crate) fn sum_of(given: &[Vec<u8>], numbers: &mut [f32]) -> Result<(), RankError> {
    let expected = 4 * numbers.len();
    for (rank, bytes) in given.iter().enumerate() {
        let found = bytes.len();
        if found != expected {
            return Err(RankError::Uneven {
                rank,
                found,
                expected,
            });
        }
        let terms = bytes.as_chunks().0.iter().map(|&of| f32::from_ne_bytes(of));
        for (number, term) in numbers.iter_mut().zip(terms) {
            *number = if rank == 0 { term } else { *number + term };
        }
    }
    Ok(())
}

/// Variables by which what starts MPI programs tells each process how many it has started, and which one it is.
const STARTED: [[&str; 2]; 3] = [
    ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"],
    ["PMI_SIZE", "PMI_RANK"],
    ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"],
];

/// A process that was started together with others.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// The variable that says so.
    pub said_by: &'static str,
    /// How many there are, at least 2.
    pub processes: usize,
    /// Which of them this is, from 0.
    pub number: usize,
}

/// A whole number that a variable has.
fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.trim().parse().ok()
}

impl Started {
    /// This process, if it is one of several to whatever has started it.
    pub fn together() -> Option<Started> {
        STARTED.into_iter().find_map(|[size, rank]| {
            let processes = number(size).filter(|&processes| processes > 1)?;
            Some(Started {
                said_by: size,
                processes,
                number: number(rank).unwrap_or(0),
            })
        })
    }

    /// Whether this process is the only one to whatever has started it, as that says.
    pub(crate) fn alone() -> bool {
        let only = STARTED.iter().any(|[size, _]| number(size) == Some(1));
        only && Started::together().is_none()
    }
}

/// Who starts the ranks of a run, as `--ranks` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Launch {
    /// `threads:R`: R ranks as threads of one process.
    Threads(usize),
    /// `mpi`, or `mpi:R` once it is known or for so many only: the processes of an MPI job.
    Mpi(Option<usize>),
}

impl Launch {
    /// Number of ranks.
    pub fn size(self) -> usize {
        match self {
            Launch::Threads(ranks) => ranks,
            Launch::Mpi(ranks) => ranks.unwrap_or(1),
        }
    }

    /// In words, with the `events` of a batch that they share.
    pub fn in_words(self, events: usize) -> String {
        let by = match self {
            Launch::Threads(_) => "threads of one process",
            Launch::Mpi(_) => "MPI",
        };
        let ranks = self.size();
        let each = events / ranks;
        format!("{ranks} by {by} ({self}), which share batches of {events} events, {each} each")
    }

    /// The command that continues with the run in a folder whose settings say `written`, by as many ranks.
    pub fn resume_command(self, run: &Path, written: Option<Launch>) -> String {
        let start = match self {
            Launch::Mpi(Some(ranks)) if ranks > 1 => format!("mpirun -n {ranks} "),
            _ => String::new(),
        };
        let change = match written == Some(self) {
            true => String::new(),
            false => format!(" --ranks {self}"),
        };
        format!("{start}mspipe train --resume {}{change}", run.display())
    }
}

impl FromStr for Launch {
    type Err = String;

    fn from_str(text: &str) -> Result<Launch, String> {
        let after = |start| {
            let ranks = text.strip_prefix(start)?.parse().ok();
            ranks.filter(|ranks| (1..=MOST_RANKS).contains(ranks))
        };
        match (text, after("threads:"), after("mpi:")) {
            ("mpi", ..) => Ok(Launch::Mpi(None)),
            (_, Some(ranks), _) => Ok(Launch::Threads(ranks)),
            (_, _, Some(ranks)) => Ok(Launch::Mpi(Some(ranks))),
            _ => Err(format!(
                "found '{text}', expected mpi, mpi:R for R processes, or threads:R, with R from 1 to {MOST_RANKS}"
            )),
        }
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Launch::Threads(ranks) => write!(f, "threads:{ranks}"),
            Launch::Mpi(None) => f.write_str("mpi"),
            Launch::Mpi(Some(ranks)) => write!(f, "mpi:{ranks}"),
        }
    }
}

impl TryFrom<String> for Launch {
    type Error = String;

    fn try_from(text: String) -> Result<Launch, String> {
        text.parse()
    }
}

impl From<Launch> for String {
    fn from(launch: Launch) -> String {
        launch.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_resumed_by_the_ranks_that_it_had_last() {
        let command = |last: &str, written: Option<&str>| {
            let written = written.map(|text| text.parse().unwrap());
            let last: Launch = last.parse().unwrap();
            last.resume_command(Path::new("a/b"), written)
        };
        let resume = "mspipe train --resume a/b";
        assert_eq!(command("threads:2", Some("threads:2")), resume);
        let four = format!("mpirun -n 4 {resume}");
        assert_eq!(command("mpi:4", Some("mpi:4")), four);
        let changed = format!("{four} --ranks mpi:4");
        assert_eq!(command("mpi:4", Some("mpi:2")), changed);
        let changed = format!("{resume} --ranks threads:2");
        assert_eq!(command("threads:2", None), changed);
    }

    #[test]
    fn a_launch_is_read_as_it_is_written() {
        for text in ["threads:1", "threads:2", "threads:1024", "mpi", "mpi:8"] {
            assert_eq!(text.parse::<Launch>().unwrap().to_string(), text);
        }
        for wrong in ["", "2", "threads", "threads:0", "threads:1025", "mpi:x"] {
            let error = wrong.parse::<Launch>().unwrap_err();
            assert!(error.starts_with(&format!("found '{wrong}'")), "{error}");
        }
    }
}
