//! Safetensors: a header in JSON, then the numbers.
//!
//! Invariant: what is written depends on the tensors only. The header's metadata has one
//! entry, `mspipe`, since the library writes several of them in an order that changes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use ::safetensors::tensor::TensorInfo;
use ::safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use super::error::WeightFileError;
use super::file::{ModelDescription, WeightFile};
use super::floats::{self, FloatType};
use crate::checkpoint;

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
    if let Some(json) = entry(checkpoint::ENTRY) {
        let header: Option<serde_json::Value> = serde_json::from_str(json).ok();
        let path = path.to_owned();
        return Err(
            match header.is_some_and(|header| header["run"]["state"].is_u64()) {
                true => WeightFileError::State { path },
                false => WeightFileError::Checkpoint { path },
            },
        );
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
    Ok(WeightFile {
        tensors,
        model,
        prefix: String::new(),
    })
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

/// A tensor to be written: its name, its shape, and its numbers, which are asked for once.
pub(super) struct Written<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
    pub(super) numbers: Box<dyn FnOnce() -> Result<Cow<'a, [f32]>, WeightFileError> + 'a>,
}

/// Writes a file with `tensors`, which are sorted by name, to `out`; one after the other, so that
/// no more than one of them need be in RAM. `path` is what errors call it.
///
/// The header is the library's own, byte by byte.
pub(super) fn write(
    path: &Path,
    out: &mut impl Write,
    tensors: Vec<Written<'_>>,
    model: Option<&ModelDescription>,
) -> Result<(), WeightFileError> {
    let unwritable = |error| WeightFileError::Write {
        path: path.to_owned(),
        error,
    };
    let header = file_header(&tensors, model).map_err(|error| unwritable(error.into()))?;
    out.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| out.write_all(header.as_bytes()))
        .map_err(unwritable)?;
    for Written {
        name,
        shape,
        numbers,
    } in tensors
    {
        let numbers = numbers()?;
        if numbers.len() != shape.iter().product::<usize>() {
            return Err(WeightFileError::Incomplete {
                path: path.to_owned(),
                name: name.to_owned(),
                shape: shape.to_vec(),
                values: numbers.len(),
            });
        }
        // What could not be read again is not written.
        if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(WeightFileError::NotFinite {
                path: path.to_owned(),
                name: name.to_owned(),
                value: numbers[place].into(),
                place,
            });
        }
        for numbers in numbers.chunks(1 << 16) {
            let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
            out.write_all(&bytes).map_err(unwritable)?;
        }
    }
    Ok(())
}

/// The header with its padding.
fn file_header(
    tensors: &[Written<'_>],
    model: Option<&ModelDescription>,
) -> serde_json::Result<String> {
    let own = serde_json::to_string(&Header {
        format: FORMAT,
        producer: concat!("mspipe ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: model.cloned(),
    })?;
    let mut text = format!(
        r#"{{"__metadata__":{{"{ENTRY}":{}}}"#,
        serde_json::to_string(&own)?
    );
    let mut begin = 0;
    for Written { name, shape, .. } in tensors {
        let end = begin + size_of::<f32>() * shape.iter().product::<usize>();
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            data_offsets: (begin, end),
        };
        let (name, info) = (serde_json::to_string(name)?, serde_json::to_string(&info)?);
        text.push_str(&format!(",{name}:{info}"));
        begin = end;
    }
    text.push('}');
    let padded = text.len().next_multiple_of(8);
    text.extend(std::iter::repeat_n(' ', padded - text.len()));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ::safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn a_file_has_the_bytes_that_the_library_writes() {
        let tensors = [
            (
                "a.weight",
                vec![2, 3],
                vec![1.0, -2.5, 0.0, -0.0, 1e-40, 3e38],
            ),
            ("b \"quoted\"", vec![0], vec![]),
            ("c", vec![], vec![7.0]),
        ];
        let mut bytes = Vec::new();
        let written = tensors.iter().map(|(name, shape, numbers)| Written {
            name,
            shape,
            numbers: Box::new(|| Ok(Cow::Borrowed(&numbers[..]))),
        });
        write(Path::new("w"), &mut bytes, written.collect(), None).unwrap();
        let own = Header {
            format: FORMAT,
            producer: concat!("mspipe ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: None,
        };
        let metadata = HashMap::from([(ENTRY.to_owned(), serde_json::to_string(&own).unwrap())]);
        let data: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, numbers)| numbers.iter().flat_map(|v: &f32| v.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&data).map(|((name, shape, _), data)| {
            (
                *name,
                TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
            )
        });
        let expected = ::safetensors::serialize(views, Some(metadata)).unwrap();
        assert_eq!(bytes, expected);
    }
}
