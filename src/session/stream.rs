//! A stream with a run's settings resolved against it, before anything is built of it: what a
//! prediction of memory needs, and a session begins with.

use std::path::PathBuf;
use std::sync::Arc;

use mspipe_datasets::{EventLog, Split};

use super::protocol::Rules;
use crate::config::RunConfig;
use crate::model::{ModelConfig, ModelNeeds};
use crate::ranks::Launch;
use crate::sampling::pair_history::Encoding;
use crate::weights::WeightFile;

/// The weights that a run begins with, as their file has them.
pub(super) struct InitialWeights {
    pub(super) path: PathBuf,
    pub(super) file: WeightFile,
    /// The encoding of pair histories that belongs to them, if the model reads any.
    pub(super) encoding: Option<Encoding>,
}

/// See the module.
pub(super) struct OpenStream {
    pub(super) config: RunConfig,
    pub(super) log: Arc<EventLog>,
    /// Events that are used.
    pub(super) events: usize,
    pub(super) split: Split,
    pub(super) model: ModelConfig,
    pub(super) needs: ModelNeeds,
    pub(super) rules: Rules,
    /// What the model begins with, where it does not draw its own.
    pub(super) weights: Option<Arc<InitialWeights>>,
    /// What a user would not guess of how the settings were resolved.
    pub(super) fitted: Vec<String>,
}

impl OpenStream {
    /// What the user should know: how the stream was opened, what its conversion left out, what of
    /// the settings does not act.
    pub(super) fn notes(&self) -> Vec<String> {
        let without_effect = &self.config.without_effect;
        let ranks: Vec<String> = of_ranks(&self.config).into_iter().collect();
        [self.log.notes(), without_effect, &self.fitted, &ranks].concat()
    }
}

/// What the user should know of processes that MPI has not started, or not yet.
fn of_ranks(config: &RunConfig) -> Option<String> {
    let events = config.training.batch_size;
    match config.training.ranks? {
        Launch::Mpi(Some(1)) => Some(format!(
            "--ranks mpi: this process is ALONE (no mpirun or srun of the MPI library has started it with others): it trains \
             by itself, with batches of {events} events. R ranks that share batches of R x {events}: mpirun -n R mspipe \
             train … --ranks mpi"
        )),
        Launch::Mpi(None) => Some(format!(
            "--ranks mpi: how many ranks there will be is not known here; taken as one, with batches of {events} events. \
             --ranks mpi:R says it"
        )),
        Launch::Mpi(_) | Launch::Threads(_) => None,
    }
}
