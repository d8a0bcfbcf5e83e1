//! Why the folder of a run can't be used.

use std::io;
use std::path::{Path, PathBuf};

use mspipe_datasets::whole_file::WholeFileError;
use thiserror::Error;

use crate::config::ConfigError;

/// Why a run folder can't be used.
#[derive(Debug, Error)]
pub enum RunFolderError {
    /// It is no folder.
    #[error(
        "{}: is not a folder (a file or a broken link has the name); give --out a new or an empty folder",
        path.display()
    )]
    NoFolder {
        /// What has the name.
        path: PathBuf,
    },
    /// It holds what is not of a run.
    #[error(
        "{}: is not empty ({found}) and holds no run of mspipe; nothing in it was touched; give --out a new \
         or an empty folder",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Some of what is in it.
        found: String,
    },
    /// It holds a run.
    #[error(
        "{}: holds a run that has ended (summary.json is there); choose another --out",
        path.display()
    )]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// It holds a run that has not ended.
    #[error(
        "{}: holds a run that has not ended; resume it with mspipe train --resume {}, or choose \
         another --out",
        path.display(),
        path.display()
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// It holds a run that was ended before it kept anything.
    #[error(
        "{}: holds a run that has not ended and has no checkpoint; choose another --out, or start that \
         run again in its place with mspipe train --resume {}",
        path.display(),
        path.display()
    )]
    Abandoned {
        /// The folder.
        path: PathBuf,
    },
    /// It holds what another kind of run wrote, or what no run writes.
    #[error(
        "{}: has {found}, which the run that belongs there does not write; nothing in it was touched; \
         move the folder elsewhere, or choose another --out",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
        /// What it has.
        found: String,
    },
    /// What a run writes is a link to somewhere else, or has a name elsewhere too.
    #[error(
        "{}: is a link, or has another name elsewhere; a run writes only into files of its own: resume a copy \
         of the folder (cp -rL), or start the run again",
        path.display()
    )]
    NotOwn {
        /// The file.
        path: PathBuf,
    },
    /// Another program writes into it.
    #[error("{}: another mspipe is writing this run; wait until it ends, or end it", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to resume.
    #[error(
        "{}: holds no run (there is no {}){}; give a folder that mspipe train has written",
        path.display(),
        path.join("config.json").display(),
        sweep_in(path)
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The run to resume has ended.
    #[error(
        "{}: this run has ended (summary.json is there); to train on from its weights: mspipe \
         train --init {}",
        path.display(),
        path.display()
    )]
    Ended {
        /// The folder.
        path: PathBuf,
    },
    /// The run to resume has ended, and trained no weights of a model.
    #[error(
        "{}: this is a classification of labels that has ended (its results are in summary.json); to train on \
         the model that gave its embeddings: mspipe train --init {}",
        path.display(),
        init.display()
    )]
    EndedClassification {
        /// The folder.
        path: PathBuf,
        /// The weights that it began with.
        init: PathBuf,
    },
    /// Weights are asked for that a classification of labels does not have.
    #[error(
        "{}: this is a classification of labels (--task {task}), which trains no weights of a model and can't \
         classify new events yet; give the weights that its embeddings are of: {}",
        path.display(),
        init.display()
    )]
    WeightsOfClassification {
        /// The folder.
        path: PathBuf,
        /// Its task.
        task: &'static str,
        /// The weights that it began with.
        init: PathBuf,
    },
    /// Several runs where one is expected.
    #[error(
        "{}: holds the runs of several seeds; give the folder of one of them, such as {}",
        path.display(),
        run.display()
    )]
    SeveralRuns {
        /// Their folder.
        path: PathBuf,
        /// The first of them.
        run: PathBuf,
    },
    /// A run without weights.
    #[error(
        "{}: has no weights.safetensors; it is written when the first epoch ends: resume the run \
         (mspipe train --resume {}), or give the folder of another one",
        path.display(),
        path.display()
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// The settings of the run can't be read.
    #[error(transparent)]
    Settings(ConfigError),
    /// A file lacks what was in it when the checkpoint was written.
    #[error(
        "{}: has {found} bytes, but had {expected} when the checkpoint was written; put it back \
         as it was, or start the run again",
        path.display()
    )]
    Shorter {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// Its length then.
        expected: u64,
    },
    /// A file of it can't be written.
    #[error(transparent)]
    File(WholeFileError),
    /// It can't be read.
    #[error("{}: can't be read: {error}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It can't be written.
    #[error(
        "{}: can't be written: {error}; choose another folder, or make this one writable",
        path.display()
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What is said of a folder that holds a sweep.
fn sweep_in(folder: &Path) -> &'static str {
    match folder.join("sweep.toml").exists() {
        true => {
            " but a sweep, whose runs are the folders below it and which mspipe sweep continues"
        }
        false => "",
    }
}

pub(super) fn failed_read(path: &Path, error: io::Error) -> RunFolderError {
    RunFolderError::Read {
        path: path.to_owned(),
        error,
    }
}

pub(super) fn failed(path: &Path, error: io::Error) -> RunFolderError {
    RunFolderError::Write {
        path: path.to_owned(),
        error,
    }
}
