//! Weights in files: reads safetensors and PyTorch's checkpoints, writes safetensors.
//!
//! A file's kind is detected from its content, not from its name. Its tensors keep their
//! names and shapes; which parameter of a model they are is the matter of
//! [`crate::model::tgl_weights`].
//!
//! Invariants: nothing of a pickle is executed. All numbers are finite f32 afterwards: f64,
//! f16 and bf16 are converted, other types refused. What is written appears under its name
//! only when it is complete, and the same weights give the same bytes.
//!
//! It does not write PyTorch's format: PyTorch reads safetensors
//! (`safetensors.torch.load_file`).
//!
//! Source: the safetensors format, <https://github.com/huggingface/safetensors>; for
//! PyTorch's see `pytorch-reader`.

mod error;
mod file;
mod floats;
mod pytorch;
mod safetensors;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _};
use std::path::Path;

use mspipe_datasets::whole_file::{Existing, WholeFile};

pub(crate) use error::WeightFileError;
pub use file::{ModelDescription, WeightFile};

use self::safetensors::Written;
use crate::model::tgl_weights::{NamedTensor, Unread};

/// Name of the weights in the folder of a run.
pub const FILE_NAME: &str = "weights.safetensors";

/// The tensors of the weights file at `path`.
///
/// # Errors
/// See [`open`].
pub fn read(path: &Path) -> Result<BTreeMap<String, NamedTensor>, WeightFileError> {
    open(path).map(|file| file.tensors)
}

/// The weights file at `path`, with what it says of its model.
///
/// # Errors
/// When there is no such file or it can't be read; when it is of another kind, damaged,
/// without tensors or not a flat state dict; when a tensor has numbers of another type or
/// numbers that are not finite.
pub fn open(path: &Path) -> Result<WeightFile, WeightFileError> {
    let failed = |source| WeightFileError::unreadable(path, source);
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() && !metadata.is_dir() {
        let why = "it gives its bytes only once; write them into a file first";
        return Err(failed(io::Error::new(io::ErrorKind::Unsupported, why)));
    }
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head))
        .map_err(failed)?;
    let mut file = match Kind::of(&head) {
        Some(Kind::Safetensors) => safetensors::read(path, &fs::read(path).map_err(failed)?)?,
        Some(Kind::Pytorch) => WeightFile {
            tensors: pytorch::read(path)?,
            model: None,
            prefix: String::new(),
        },
        Some(Kind::Tar) => {
            return Err(WeightFileError::NoStateDict {
                path: path.to_owned(),
                reason: "it is a tar archive, as PyTorch wrote them before version 0.1.10 (2017)"
                    .to_owned(),
            });
        }
        None => return Err(WeightFileError::foreign(path, &head)),
    };
    if file.tensors.is_empty() {
        return Err(WeightFileError::NoTensors {
            path: path.to_owned(),
        });
    }
    file.prefix = take_off_wrappers(&mut file.tensors);
    Ok(file)
}

/// What a user is told of a prefix that was taken off.
pub fn prefix_note(prefix: &str) -> String {
    format!(
        "every name in the file begins with '{prefix}', as a wrapped model saves it (DataParallel, torch.compile); \
         it was taken off"
    )
}

/// Takes off what all names begin with that only says in what the model was wrapped when it was
/// saved; returns it.
fn take_off_wrappers(tensors: &mut BTreeMap<String, NamedTensor>) -> String {
    /// DataParallel and DistributedDataParallel, as in TGL's `train_dist.py`; `torch.compile`.
    const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];
    let mut prefix = String::new();
    while let Some(wrapper) = WRAPPERS
        .into_iter()
        .find(|wrapper| tensors.keys().all(|name| name.starts_with(wrapper)))
    {
        prefix.push_str(wrapper);
        let wrapped = std::mem::take(tensors);
        *tensors = wrapped
            .into_iter()
            .map(|(name, tensor)| (name[wrapper.len()..].to_owned(), tensor))
            .collect();
    }
    prefix
}

/// Writes `tensors` to the safetensors file `path`, sorted by name, replacing what is there.
/// `model` goes into the header, with the version of this program and of the header.
///
/// # Errors
/// When a tensor's shape and its numbers disagree, numbers are not finite, or the file
/// can't be written.
pub fn write(
    path: &Path,
    tensors: &BTreeMap<String, NamedTensor>,
    model: Option<&ModelDescription>,
) -> Result<(), WeightFileError> {
    replace(path, tensors.iter().map(borrowed).collect(), model)
}

fn borrowed<'a>((name, tensor): (&'a String, &'a NamedTensor)) -> Written<'a> {
    Written {
        name,
        shape: &tensor.shape,
        numbers: Box::new(|| Ok(Cow::Borrowed(&tensor.values[..]))),
    }
}

/// As [`write()`], with numbers that are read from the device when it is their turn: one tensor at
/// a time is in RAM. `constants` are written beside them.
///
/// # Errors
/// As [`write()`], and when the device does not hand them over.
pub(crate) fn write_unread(
    path: &Path,
    tensors: &[Unread],
    constants: &BTreeMap<String, NamedTensor>,
    model: Option<&ModelDescription>,
) -> Result<(), WeightFileError> {
    let written = tensors.iter().map(|tensor| Written {
        name: tensor.name(),
        shape: tensor.shape(),
        numbers: Box::new(|| {
            let numbers = tensor.read().map_err(|error| WeightFileError::Unread {
                path: path.to_owned(),
                error,
            })?;
            Ok(Cow::Owned(numbers))
        }),
    });
    let mut written: Vec<Written<'_>> = written.chain(constants.iter().map(borrowed)).collect();
    written.sort_by_key(|tensor| tensor.name);
    replace(path, written, model)
}

/// Writes a file beside `path` and gives it that name when it is whole and on disk.
fn replace(
    path: &Path,
    tensors: Vec<Written<'_>>,
    model: Option<&ModelDescription>,
) -> Result<(), WeightFileError> {
    let failed = |error| WeightFileError::Write {
        path: path.to_owned(),
        error,
    };
    // Dropped before it is committed, it leaves nothing behind.
    let file =
        WholeFile::create(path, Existing::Replace).map_err(|error| failed(error.reason()))?;
    let mut out = BufWriter::new(file);
    safetensors::write(path, &mut out, tensors, model)?;
    let file = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.commit().map_err(|error| failed(error.reason()))
}

/// Enough of a file to tell its kind: the last sign is `ustar` in a tar's first header.
const HEAD_BYTES: u64 = 262;

/// Kinds of files that are read.
enum Kind {
    Safetensors,
    Pytorch,
    /// PyTorch's oldest format. Its entries may claim any size, and no temporal model has one.
    Tar,
}

impl Kind {
    fn of(head: &[u8]) -> Option<Kind> {
        /// The longest header that the safetensors format allows.
        const LONGEST_HEADER: u64 = 100_000_000;
        /// Where a tar's header says what it is.
        const TAR_MAGIC: std::ops::Range<usize> = 257..262;

        // First safetensors: its length of the header may look like any other sign.
        if let Some((length, json)) = head.split_first_chunk()
            && u64::from_le_bytes(*length) <= LONGEST_HEADER
            && json.first() == Some(&b'{')
        {
            return Some(Kind::Safetensors);
        }
        let zip = head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06");
        // 0x80 is PROTO, with which a pickle begins since Python 2.3, then its version.
        let pickle = matches!(head, [0x80, 2..=5, ..]);
        if !zip && head.get(TAR_MAGIC) == Some(b"ustar") {
            return Some(Kind::Tar);
        }
        (zip || pickle).then_some(Kind::Pytorch)
    }
}
