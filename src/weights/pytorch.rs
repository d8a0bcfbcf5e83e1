//! State dicts that `torch.save` wrote: zip since PyTorch 1.6, a row of pickles before.
//!
//! Invariant: a pickle is parsed, never run. Calls other than those that rebuild tensors and
//! dictionaries stay uncalled, and a file with such calls is refused.
//!
//! The reader builds every value of a pickle before any is looked at, so `mspipe_datasets::pickle`
//! goes through it first: what takes more memory than the file's size explains is refused unbuilt.
//!
//! A whole module (`torch.save(model)`) is read as its state dict. Plain numbers and texts
//! beside the tensors are passed over.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use mspipe_datasets::pickle::check_checkpoint;
use pytorch_reader::{DType, PickleError, PickleValue, PytorchError, PytorchReader};

use super::error::WeightFileError;
use super::floats::{self, FloatType};
use crate::model::tgl_weights::NamedTensor;

const KIND: &str = "PyTorch checkpoint";

/// How often a number of the file may be part of a tensor.
const TIMES_SHARED: u64 = 8;

/// How the reader calls a tensor in the outline of a file.
const TENSOR: &str = "torch.Tensor";

/// The tensors of the state dict in `path`.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, NamedTensor>, WeightFileError> {
    check_checkpoint(path).map_err(|error| WeightFileError::Exhausting(Box::new(error)))?;
    let outline =
        PytorchReader::read_pickle_data(path, None).map_err(|error| unreadable(path, error))?;
    check(path, &outline)?;

    let reader = PytorchReader::new(path).map_err(|error| unreadable(path, error))?;
    let file_bytes = fs::metadata(path)
        .map_err(|source| WeightFileError::unreadable(path, source))?
        .len();
    let mut tensors = BTreeMap::new();
    let mut shared = 0u64;
    // Sorted, so that of several faults the same one is reported each time.
    let found: BTreeMap<String, _> = reader.into_tensors().into_iter().collect();
    for (name, tensor) in found {
        let float_type = match tensor.dtype() {
            DType::F64 => FloatType::F64,
            DType::F32 => FloatType::F32,
            DType::F16 => FloatType::F16,
            DType::BF16 => FloatType::Bf16,
            other => {
                return Err(WeightFileError::NumberType {
                    path: path.to_owned(),
                    name,
                    found: format!("{other:?}"),
                });
            }
        };
        // A view may repeat one number 10^9 times; a weight never does.
        if tensor.byte_len() as u64 > file_bytes {
            let reason = format!(
                "'{name}' {:?} needs {} bytes, the file has {file_bytes}",
                tensor.shape(),
                tensor.byte_len()
            );
            return Err(WeightFileError::damaged(path, KIND, reason));
        }
        // Some share their numbers (tied weights); thousands of views of one storage don't.
        shared = shared.saturating_add(tensor.byte_len() as u64);
        if shared > file_bytes.saturating_mul(TIMES_SHARED) {
            let reason = format!(
                "its tensors take over {TIMES_SHARED} times the {file_bytes} bytes of the file: \
                 they share their numbers"
            );
            return Err(WeightFileError::damaged(path, KIND, reason));
        }
        // On the little-endian machines that there are, native is what `floats` expects.
        let bytes = tensor
            .read()
            .map_err(|error| unreadable(path, error.into()))?;
        let values = floats::tensor(path, &name, tensor.shape(), float_type, &bytes)?;
        tensors.insert(name, values);
    }
    Ok(tensors)
}

/// Refuses what is no flat dictionary of tensors.
fn check(path: &Path, root: &PickleValue) -> Result<(), WeightFileError> {
    let PickleValue::Dict(entries) = root else {
        code(path, "the whole", root)?;
        return Err(WeightFileError::NoStateDict {
            path: path.to_owned(),
            reason: format!("the pickle holds {}", kind(root)),
        });
    };
    let entries: BTreeMap<&String, &PickleValue> = entries.iter().collect();
    for (name, value) in &entries {
        code(path, name, value)?;
    }
    let nested: Vec<(String, usize)> = entries
        .iter()
        .filter(|(_, value)| is_state_dict(value))
        .map(|(name, value)| ((*name).clone(), tensors(value)))
        .collect();
    if nested.is_empty() {
        Ok(())
    } else {
        Err(WeightFileError::Nested {
            path: path.to_owned(),
            keys: nested,
        })
    }
}

/// Refuses anything under `entry` that only Python could make.
fn code(path: &Path, entry: &str, value: &PickleValue) -> Result<(), WeightFileError> {
    match value {
        PickleValue::Unsupported(callable) if callable != TENSOR => Err(WeightFileError::Code {
            path: path.to_owned(),
            entry: entry.to_owned(),
            callable: callable.clone(),
        }),
        PickleValue::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(place, item)| code(path, &format!("{entry}.{place}"), item)),
        PickleValue::Dict(entries) => {
            let sorted: BTreeMap<&String, &PickleValue> = entries.iter().collect();
            sorted
                .into_iter()
                .try_for_each(|(name, value)| code(path, &format!("{entry}.{name}"), value))
        }
        _ => Ok(()),
    }
}

/// Whether `value` is a dictionary under names with dots: a module's own children have none.
fn is_state_dict(value: &PickleValue) -> bool {
    match value {
        PickleValue::Dict(entries) => entries
            .iter()
            .any(|(name, value)| name.contains('.') && tensors(value) > 0),
        _ => false,
    }
}

/// Tensors in `value`.
fn tensors(value: &PickleValue) -> usize {
    match value {
        PickleValue::Unsupported(name) => usize::from(name == TENSOR),
        PickleValue::List(items) => items.iter().map(tensors).sum(),
        PickleValue::Dict(entries) => entries.values().map(tensors).sum(),
        _ => 0,
    }
}

fn kind(value: &PickleValue) -> &'static str {
    match value {
        PickleValue::None => "None",
        PickleValue::Bool(_) => "a truth value",
        PickleValue::Int(_) | PickleValue::Float(_) => "a number",
        PickleValue::String(_) => "a text",
        PickleValue::List(_) => "a list",
        PickleValue::Dict(_) => "a dictionary",
        PickleValue::Bytes(_) => "bytes",
        PickleValue::Unsupported(_) => "a single tensor",
    }
}

fn unreadable(path: &Path, error: PytorchError) -> WeightFileError {
    let damaged = |reason: String| WeightFileError::damaged(path, KIND, reason);
    match error {
        PytorchError::Io(error) | PytorchError::Pickle(PickleError::Io(error)) => {
            match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    damaged(error.to_string())
                }
                _ => WeightFileError::unreadable(path, error),
            }
        }
        PytorchError::Zip(_)
        | PytorchError::Tar(_)
        | PytorchError::Pickle(
            PickleError::InvalidOpCode(_)
            | PickleError::StackUnderflow
            | PickleError::MemoNotFound(_)
            | PickleError::InvalidData(_),
        ) => damaged(error.to_string()),
        _ => WeightFileError::NoStateDict {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}
