//! Why a run can't be made, or did not end.

use std::io;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use mspipe_datasets::DataError;
use mspipe_datasets::whole_file::WholeFileError;
use thiserror::Error;

use super::footprint::TooLarge;
use super::sweep::SweepError;
use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::device::{DeviceError, DeviceFailure};
use crate::graph::GraphError;
use crate::model::tgl_weights::WeightError;
use crate::run_folder::{OverSeedsError, RunFolderError};
use crate::sampling::NegativeError;
use crate::train::classification::ClassificationError;
use crate::train::error::{EvalError, TrainError};
use crate::train::saving::ResumeError;
use crate::weights::WeightFileError;

/// Why a run could not be made or did not end.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A sweep.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The stream.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The stream has too few events.
    #[error(
        "{name}: {events} events leave none for {part}: the stream or --limit-events is too small, or --split or \
         --split-at give that part none"
    )]
    TooSmall {
        /// Name of the stream.
        name: String,
        /// Its events.
        events: usize,
        /// The part that is empty.
        part: &'static str,
    },
    /// It would not fit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The stream's graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Negatives.
    #[error(transparent)]
    Negatives(#[from] NegativeError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device had less memory than the run needed.
    #[error(
        "this run was estimated to need up to {} of device memory, and {failure}",
        HumanBytes(*estimate)
    )]
    NoMemory {
        /// Bytes that it was estimated to need.
        estimate: u64,
        /// What the device had.
        failure: DeviceFailure,
    },
    /// The results of several runs.
    #[error(transparent)]
    OverSeeds(#[from] OverSeedsError),
    /// The run folder.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// A weights file.
    #[error(transparent)]
    Weights(#[from] WeightFileError),
    /// Weights of another model.
    #[error(
        "{}: has the weights of {found}, the settings say {expected}; give the --model and \
         --heads that they were trained with",
        path.display()
    )]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// Its model.
        found: String,
        /// The model of the settings.
        expected: String,
    },
    /// An encoder that has read what is to be the label.
    #[error(
        "{}: these weights are of an encoder that reads {found} edge features, and the stream has {expected}: with \
         --columns, '{label}' is the label here, and was one of the features where they were trained. An encoder \
         that has read the label gives it away; train one with\n  mspipe train --data {data} --columns \
         label={label}\nand give its folder to --init",
        path.display()
    )]
    LabelAmongFeatures {
        /// The file.
        path: PathBuf,
        /// The column of the label.
        label: String,
        /// Edge features that the weights read.
        found: usize,
        /// Edge features of the stream.
        expected: usize,
        /// What the settings call the stream.
        data: String,
    },
    /// Weights that were trained on what the stream is no more.
    #[error(
        "{}: these weights were trained on a stream with sha256\n  {found}\nand {data} has now\n  \
         {expected}\nput the stream back as it was (data check looks for faults in it), or give --data \
         {data} to use the weights on it as it is",
        path.display()
    )]
    OtherStream {
        /// The file.
        path: PathBuf,
        /// SHA-256 of what it was trained on.
        found: String,
        /// SHA-256 of the stream that the settings name.
        expected: String,
        /// What the settings call it.
        data: String,
    },
    /// Constants of pair history that are none.
    #[error(
        "{}: how pair histories are encoded is not as mspipe writes it: {reason}; train again, or \
         take the weights of another run",
        path.display()
    )]
    Encoding {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Weights that are not this model's.
    #[error(
        "{}: {misfit}{}",
        path.display(),
        match misfit.of_widths() {
            true => "; edge and node features (--edge-features, --node-features) decide widths too",
            false => "",
        }
    )]
    Misfit {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        misfit: WeightError,
    },
    /// Mail that the device can't hold in one table.
    #[error(
        "the mail of {nodes} nodes takes {bytes} bytes, {adapter} takes at most {most} in one table; \
         {remedy}"
    )]
    Mailbox {
        /// Nodes of the stream.
        nodes: usize,
        /// Bytes of their mail.
        bytes: u64,
        /// The device.
        adapter: String,
        /// Its limit.
        most: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// Weights that the device did not hand over.
    #[error("weights: {0}")]
    Unreadable(WeightError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint of another run.
    #[error("{}: this checkpoint is not of this run: {reason}", path.display())]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// How it can be told.
        reason: String,
    },
    /// A checkpoint whose content is not a state of this run.
    #[error("{}: the run can't be continued from this checkpoint: {error}", path.display())]
    Resume {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ResumeError,
    },
    /// MPI.
    #[error("--ranks mpi: {0}")]
    Mpi(String),
    /// Fewer or more processes than the settings say.
    #[error(
        "--ranks mpi:{expected}: found {found} {}; {}",
        if *found == 1 { "process" } else { "processes" },
        match resumed {
            None => format!(
                "start so many with\n  mpirun -n {expected} mspipe train …\nor give --ranks mpi, which takes however \
                 many there are"
            ),
            Some(run) => format!(
                "resume with as many as before,\n  mpirun -n {expected} mspipe train --resume {run}\nor give \
                 --ranks mpi:{found}, or threads:R without MPI, to share the run's batches anew",
                run = run.display()
            ),
        }
    )]
    Processes {
        /// Those of the job.
        found: usize,
        /// Those of the settings.
        expected: usize,
        /// The run, if it is to continue.
        resumed: Option<PathBuf>,
    },
    /// Ranks that would not train the same.
    #[error(
        "--ranks: rank {rank} has {name} {found}, rank 0 has {expected}; give all ranks the same stream, \
         settings and program"
    )]
    Uneven {
        /// The rank.
        rank: usize,
        /// What differs.
        name: String,
        /// What it is there.
        found: String,
        /// What it is on rank 0.
        expected: String,
    },
    /// A file that a rank can't read.
    #[error("{}: can't be read here: {error}; the machine of each rank needs it under the same name", path.display())]
    FileOfRank {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// This process is not rank 0, which has the results, says what there is to say, and has the exit code:
    /// `mpirun` ends a job as soon as one of its processes fails.
    #[error("trained beside rank 0")]
    Beside,
    /// Training itself.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// An evaluation.
    #[error(transparent)]
    Evaluation(#[from] EvalError),
    /// A classification of labels.
    #[error(transparent)]
    Classification(#[from] ClassificationError),
    /// A question to a trained model, or what its memory was to follow.
    #[error("{0}")]
    Asked(String),
    /// The table of an evaluation's scores.
    #[error(transparent)]
    Scores(#[from] WholeFileError),
}

impl SessionError {
    /// The same where the settings are those of the run in a folder that is resumed: what it advises can be done.
    pub(super) fn of_resumed(mut self, run: &Path) -> SessionError {
        match &mut self {
            SessionError::Processes { resumed, .. } => *resumed = Some(run.to_owned()),
            SessionError::TooLarge(error) => error.of_resumed(),
            SessionError::Mailbox { remedy, .. } => {
                *remedy = "resume on the device that the run began on";
            }
            _ => {}
        }
        self
    }
}
