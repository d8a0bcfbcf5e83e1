//! What ranks take more that share batches.

use super::parameters::parameters;
use crate::ranks::Launch;
use crate::session::stream::OpenStream;

/// Copies of the gradients in an exchange: on the device before it and after it, the rank's own, what it gives,
/// and their sum.
const GRADIENTS: u64 = 5;

/// Copies of the updated rows: what a rank gives, what all give, and the update.
const ROWS: u64 = 3;

/// Numbers of each root of a whole batch in its layout, with its rows and who sends them.
const OF_ROOT: u64 = 18;

/// Numbers of each slot and of each root of an outer layer of the whole batch.
const OF_SLOT: u64 = 10;
const OF_OUTER_ROOT: u64 = 8;

/// Numbers of each row that is read, as the ledger is told of it.
const OF_READ: u64 = 10;

/// Numbers of each event that is evaluated, of which each rank has the scores.
const OF_SCORED: u64 = 24;

/// The ranks of a run.
pub(super) struct Ranks {
    /// Those that are threads of this process; 1 where each has one of its own.
    pub(super) here: u64,
    all: u64,
}

impl Ranks {
    pub(super) fn of(launch: Option<Launch>) -> Ranks {
        let all = launch.map_or(1, Launch::size) as u64;
        let here = match launch {
            Some(Launch::Threads(_)) => all,
            _ => 1,
        };
        Ranks { here, all }
    }

    /// Whether others are processes, which may work on the same adapter.
    pub(super) fn are_processes(&self) -> bool {
        self.all > self.here
    }

    /// Whether there are several.
    pub(super) fn share_batches(&self) -> bool {
        self.all > 1
    }

    /// Threads beside those of a process with one rank: each of several has workers, of which there are
    /// `threads` in all, and `others`.
    pub(super) fn threads(&self, threads: u64, others: u64) -> u64 {
        match self.here {
            1 => 0,
            ranks => ranks * ((threads / ranks).max(1) + others),
        }
    }
}

/// Numbers (of four bytes) that a rank has of whole batches and of what all give, with so many batches in flight and
/// events of the larger part that is evaluated.
pub(super) fn exchanged_numbers(stream: &OpenStream, in_flight: u64, evaluated: u64) -> u64 {
    let (config, model) = (&stream.config, &stream.model);
    let events = config.training.batch_events().min(stream.events) as u64;
    let fanout = config.model.fanout as u64;
    let slots = match stream.needs.mail_to_neighbors {
        true => 5 * 3 * events * fanout,
        false => 0,
    };
    let layout = events * model.edge_width as u64 + 3 * events * OF_ROOT + slots;
    // The outer layers of the whole batch, by whose rows the inner ones drop.
    let (mut outer, mut roots) = (0, 3 * events);
    for _ in 1..stream.needs.layers {
        let slots = roots * fanout;
        outer += OF_SLOT * slots + OF_OUTER_ROOT * roots;
        roots += slots.min(2 * stream.events as u64);
    }
    let rows = ROWS * 2 * events * model.width as u64;
    let reads = OF_READ * 3 * events * (1 + fanout);
    outer
        + in_flight * layout
        + 2 * rows
        + GRADIENTS * parameters(model)
        + reads
        + OF_SCORED * evaluated
}
