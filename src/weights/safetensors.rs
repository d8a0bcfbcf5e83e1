//! Safetensors: a header in JSON, then the numbers.
//!
//! Invariant: what is written depends on the tensors only. The header's metadata has one
//! entry, `mspipe`, since the library writes several of them in an order that changes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use super::floats::{self, FloatType};
use super::{ModelDescription, WeightFile, WeightFileError};
use crate::checkpoint;
use crate::model::tgl_weights::NamedTensor;

const KIND: &str = "safetensors file";

/// Name of our entry in a header's metadata.
const ENTRY: &str = "mspipe";

/// Version of [`Header`] and of the names that the tensors have.
const FORMAT: u32 = 1;

/// Our entry, as JSON.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    producer: String,
    model: Option<ModelDescription>,
}

/// What the file `path` holds, whose content is `bytes`.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<WeightFile, WeightFileError> {
    let damaged = |reason| WeightFileError::damaged(path, KIND, reason);
    let unreadable = |error| {
        damaged(match error {
            SafeTensorError::InvalidHeaderLength => {
                format!("it ends within its header, after {} bytes", bytes.len())
            }
            SafeTensorError::MetadataIncompleteBuffer => format!(
                "its {} bytes are not as many as its header says",
                bytes.len()
            ),
            other => other.to_string(),
        })
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
    let entry = |name| metadata.metadata().as_ref().and_then(|own| own.get(name));
    if entry(checkpoint::ENTRY).is_some() {
        return Err(WeightFileError::Checkpoint {
            path: path.to_owned(),
        });
    }
    let model = match entry(ENTRY) {
        None => None,
        Some(json) => header(path, json)?.model,
    };

    let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let float_type = match view.dtype() {
            Dtype::F64 => FloatType::F64,
            Dtype::F32 => FloatType::F32,
            Dtype::F16 => FloatType::F16,
            Dtype::BF16 => FloatType::Bf16,
            other => {
                return Err(WeightFileError::NumberType {
                    path: path.to_owned(),
                    name: name.to_owned(),
                    found: other.to_string(),
                });
            }
        };
        let tensor = floats::tensor(path, name, view.shape(), float_type, view.data())?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(WeightFile { tensors, model })
}

fn header(path: &Path, json: &str) -> Result<Header, WeightFileError> {
    /// All that is known of the header of a later version.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let damaged = |error: serde_json::Error| {
        let reason = format!("its metadata '{ENTRY}' is not as mspipe writes it: {error}");
        WeightFileError::damaged(path, KIND, reason)
    };
    let Version { format } = serde_json::from_str(json).map_err(damaged)?;
    if format > FORMAT {
        return Err(WeightFileError::Newer {
            path: path.to_owned(),
            found: format,
            known: FORMAT,
        });
    }
    serde_json::from_str(json).map_err(damaged)
}

/// The bytes of a file with `tensors`, to be written to `path`.
pub(super) fn bytes(
    path: &Path,
    tensors: &BTreeMap<String, NamedTensor>,
    model: Option<&ModelDescription>,
) -> Result<Vec<u8>, WeightFileError> {
    let mut data = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if tensor.values.len() != tensor.shape.iter().product::<usize>() {
            return Err(WeightFileError::Incomplete {
                path: path.to_owned(),
                name: name.clone(),
                shape: tensor.shape.clone(),
                values: tensor.values.len(),
            });
        }
        let bytes: Vec<u8> = tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        // What could not be read again is not written.
        floats::tensor(path, name, &tensor.shape, FloatType::F32, &bytes)?;
        data.push((name, &tensor.shape, bytes));
    }
    let unwritable = |error: SafeTensorError| WeightFileError::Write {
        path: path.to_owned(),
        error: std::io::Error::other(error),
    };
    let mut views = Vec::with_capacity(data.len());
    for (name, shape, bytes) in &data {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(unwritable)?;
        views.push((name.as_str(), view));
    }
    let header = serde_json::to_string(&Header {
        format: FORMAT,
        producer: concat!("mspipe ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: model.cloned(),
    })
    .map_err(|error| unwritable(error.into()))?;
    let metadata = HashMap::from([(ENTRY.to_owned(), header)]);
    ::safetensors::serialize(views, Some(metadata)).map_err(unwritable)
}
