//! Other ranks that a run was resumed by: from where on its bits are those of another number of ranks.

use std::fmt;

use serde::Serialize;

use crate::ranks::Launch;

/// A line of `metrics.jsonl`: from this iteration on others train.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct RanksChange {
    /// Epoch, from 1.
    pub(crate) epoch: usize,
    /// Iteration of the epoch, from 0.
    pub(crate) iteration: usize,
    /// Those that train from there on; None for one process by itself.
    pub(crate) ranks: Option<Launch>,
    /// Those up to there.
    pub(crate) ranks_before: Option<Launch>,
}

impl fmt::Display for RanksChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [now, before] = [self.ranks, self.ranks_before].map(|ranks| {
            let name = ranks.map_or_else(|| "one process".to_owned(), |ranks| ranks.to_string());
            (name, ranks.map_or(1, Launch::size))
        });
        write!(
            f,
            "from epoch {}, iteration {} on the run has other ranks: {}, {} before",
            self.epoch, self.iteration, now.0, before.0
        )?;
        match now.1 == before.1 {
            true => f.write_str("; there are as many, and its bits stay the same"),
            false => f.write_str(
                "; gradients are added in another order, so that its results are not bit-identical to those of either \
                 number",
            ),
        }
    }
}
