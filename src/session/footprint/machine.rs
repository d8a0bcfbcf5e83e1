//! What ranks need together that are processes of one machine.
//!
//! Each process estimates its own share and tells it to the others. What is there is measured by each of them, at
//! its own time: others may have taken some of theirs by then, so that the most that any has found counts.

use std::fmt;

use indicatif::HumanBytes;
#[cfg(any(test, feature = "mpi"))]
use serde::Deserialize;
use serde::Serialize;

/// What a process needs and has found, as it tells the other ranks.
#[cfg(any(test, feature = "mpi"))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Needs {
    pub(super) ram_bytes: u64,
    pub(super) available_bytes: u64,
    /// The adapter with memory of its own that it works on, if it does.
    pub(super) adapter: Option<String>,
    pub(super) device_bytes: u64,
}

/// Processes of one machine, and what they need together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Together {
    /// The ranks that they are, ascending.
    pub ranks: Vec<usize>,
    /// RAM at the peak.
    pub ram_bytes: u64,
    /// RAM that is available to them.
    pub available_bytes: u64,
    /// Those of them that work on the adapter of this process, if it has memory of its own.
    pub on_adapter: Vec<usize>,
    /// Its memory at the peak.
    pub device_bytes: u64,
}

#[cfg(any(test, feature = "mpi"))]
impl Together {
    /// Of the ranks `here`, which are processes of one machine, all but those `here` being elsewhere; none where
    /// there is one alone. `own` is what one of them needs, `all` what each rank needs.
    pub(super) fn of(own: &Needs, here: &[usize], all: &[Needs]) -> Option<Together> {
        let of = |rank: &usize| all.get(*rank).map(|needs| (*rank, needs));
        let here: Vec<(usize, &Needs)> = here.iter().filter_map(of).collect();
        let shares = |needs: &Needs| own.adapter.is_some() && needs.adapter == own.adapter;
        let on_adapter = || here.iter().filter(|(_, needs)| shares(needs));
        (here.len() > 1).then(|| Together {
            ranks: here.iter().map(|(rank, _)| *rank).collect(),
            ram_bytes: here.iter().map(|(_, needs)| needs.ram_bytes).sum(),
            available_bytes: (here.iter().map(|(_, needs)| needs.available_bytes))
                .fold(own.available_bytes, u64::max),
            on_adapter: on_adapter().map(|(rank, _)| *rank).collect(),
            device_bytes: on_adapter().map(|(_, needs)| needs.device_bytes).sum(),
        })
    }
}

impl fmt::Display for Together {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Together {
            ranks,
            ram_bytes,
            available_bytes,
            ..
        } = self;
        write!(
            f,
            "{} on one machine need up to {} of RAM together, of {} available",
            in_words(ranks),
            HumanBytes(*ram_bytes),
            HumanBytes(*available_bytes)
        )?;
        match self.on_adapter.len() {
            0 | 1 => Ok(()),
            several => write!(
                f,
                ", {several} of them {} of one adapter",
                HumanBytes(self.device_bytes)
            ),
        }
    }
}

/// `ranks 0 to 3`, or all of them where some between are elsewhere.
pub(super) fn in_words(ranks: &[usize]) -> String {
    match ranks {
        [first, .., last] if last - first + 1 == ranks.len() => match ranks.len() {
            2 => format!("ranks {first} and {last}"),
            _ => format!("ranks {first} to {last}"),
        },
        _ => {
            let all: Vec<String> = ranks.iter().map(usize::to_string).collect();
            format!("ranks {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_named() {
        assert_eq!(in_words(&[0, 1]), "ranks 0 and 1");
        assert_eq!(in_words(&[4, 5, 6, 7]), "ranks 4 to 7");
        assert_eq!(in_words(&[0, 2, 4]), "ranks 0, 2, 4");
    }
}
