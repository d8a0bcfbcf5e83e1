//! Why a weights file can't be read or written.

use std::io;
use std::path::{Path, PathBuf};

use mspipe_datasets::DataError;
use thiserror::Error;

use crate::model::tgl_weights::WeightError;

/// Why a weights file can't be read or written.
#[derive(Debug, Error)]
pub enum WeightFileError {
    /// Nothing is there.
    #[error("{}: there is no such file", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The system can't read it.
    #[error("{}: can't be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is of another kind.
    #[error(
        "{}: this is neither a safetensors file nor a PyTorch checkpoint: it {begins}",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// `begins with …`.
        begins: String,
    },
    /// It is a checkpoint of a run.
    #[error(
        "{}: this is a checkpoint, from which a run continues; its weights are not those that a \
         model is used with: give the folder of the run, or its weights.safetensors",
        path.display()
    )]
    Checkpoint {
        /// The file.
        path: PathBuf,
    },
    /// It is the state of a run.
    #[error(
        "{}: this is a state, which answers questions as it is (mspipe score, top-k, embed, update, serve); weights \
         to train on from or to export: give the folder of its run, or the run's weights.safetensors",
        path.display()
    )]
    State {
        /// The file.
        path: PathBuf,
    },
    /// It contradicts itself or ends early.
    #[error("{}: this {kind} is damaged or cut off: {reason}; copy it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file that would take more memory than its size explains.
    #[error(transparent)]
    Exhausting(Box<DataError>),
    /// A pickle or an archive that is not what `torch.save` writes of a state dict.
    #[error(
        "{}: this is not a checkpoint of weights: {reason}; expected a dictionary of tensors, as \
         torch.save(model.state_dict(), FILE) writes it",
        path.display()
    )]
    NoStateDict {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A pickle with something that only Python could make.
    #[error(
        "{}: '{entry}' is made by {callable}, which only Python could run; nothing of it was \
         run here; expected tensors only, as torch.save(model.state_dict(), FILE) writes them",
        path.display()
    )]
    Code {
        /// The file.
        path: PathBuf,
        /// Where in the dictionary.
        entry: String,
        /// What would be called, or the type.
        callable: String,
    },
    /// A checkpoint with state dicts in it.
    #[error(
        "{}: the weights are nested in this checkpoint: {}; save one of them alone: \
         torch.save(torch.load(FILE)[{:?}], OTHER)",
        path.display(),
        .keys.iter().map(|(key, tensors)| format!("{key:?} holds {tensors} tensors"))
            .collect::<Vec<_>>().join(", "),
        .keys.first().map_or("", |(key, _)| key)
    )]
    Nested {
        /// The file.
        path: PathBuf,
        /// The keys that hold tensors, and how many.
        keys: Vec<(String, usize)>,
    },
    /// A tensor of numbers that are no weights.
    #[error(
        "{}: '{name}' has numbers of type {found}, expected F32, F64, F16 or BF16",
        path.display()
    )]
    NumberType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// NaN, infinity, or an f64 that is larger than any f32.
    #[error(
        "{}: '{name}' has {value} at place {place}, expected finite f32 numbers; the run \
         that it comes from diverged",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The number.
        value: f64,
        /// Its place in the row-major tensor.
        place: usize,
    },
    /// It is in order and empty.
    #[error("{}: this file holds no tensors", path.display())]
    NoTensors {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error(
        "{}: its header has version {found}, this mspipe knows {known}; take a newer mspipe",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest that is known.
        known: u32,
    },
    /// A tensor to be written has not the numbers of its shape.
    #[error("{}: '{name}' has {values} values for its shape {shape:?}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its numbers.
        values: usize,
    },
    /// The device does not hand over what is to be written.
    #[error("{}: can't be written: {error}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why.
        error: WeightError,
    },
    /// It can't be written.
    #[error("{}: can't be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl WeightFileError {
    pub(super) fn unreadable(path: &Path, error: io::Error) -> WeightFileError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => WeightFileError::Absent { path },
            _ => WeightFileError::Read { path, error },
        }
    }

    /// A file of another kind that begins with `head`.
    pub(super) fn foreign(path: &Path, head: &[u8]) -> WeightFileError {
        const SHOWN: usize = 16;
        let begins = match head.get(..SHOWN.min(head.len())) {
            None | Some([]) => "is empty".to_owned(),
            _ if head.starts_with(b"version https://git-lfs.github.com/") => {
                "is a Git LFS pointer, which stands for the weights: fetch them with `git lfs pull`"
                    .to_owned()
            }
            Some(first) => format!("begins with \"{}\"", first.escape_ascii()),
        };
        WeightFileError::Foreign {
            path: path.to_owned(),
            begins,
        }
    }

    pub(super) fn damaged(path: &Path, kind: &'static str, reason: String) -> WeightFileError {
        WeightFileError::Damaged {
            path: path.to_owned(),
            kind,
            reason,
        }
    }
}
