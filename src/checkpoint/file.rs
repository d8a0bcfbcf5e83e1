//! One checkpoint as bytes.
//!
//! Invariant: the header is written here and read by the safetensors library, so what is
//! written is checked against its authors' understanding of the format.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use mspipe_datasets::whole_file::{self, Existing, WholeFileError};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Array, Arrays, Checkpoint, CheckpointError, Content, FORMAT, Header};

/// Our entry in the metadata.
pub const ENTRY: &str = "mspipe-checkpoint";

/// Name of the last tensor.
const SHA256: &str = "sha256";

/// Its bytes.
const SHA256_BYTES: usize = 32;

/// Bytes before the header, which hold its length.
const LENGTH_BYTES: usize = 8;

/// Writes a checkpoint to `out`.
pub(super) fn write_to(
    out: &mut impl Write,
    header: &Header,
    arrays: &Arrays<'_>,
) -> io::Result<()> {
    let mut out = Hashing {
        out,
        sha: Sha256::new(),
        written: 0,
    };
    // Wide numbers first, so that each array begins at a multiple of its numbers' size.
    let mut ordered: Vec<(&String, &Array<'_>)> = arrays.0.iter().collect();
    ordered.sort_by_key(|(name, array)| (std::cmp::Reverse(array.dtype.bitsize()), *name));

    let metadata = json!({ ENTRY: serde_json::to_string(header)? });
    let mut entries = Map::from_iter([("__metadata__".to_owned(), metadata)]);
    let mut end = 0;
    let mut describe = |name: &str, dtype: Dtype, shape: &[usize], bytes: usize| {
        let begin = end;
        end += bytes;
        let offsets = [begin, end];
        let entry = json!({"dtype": dtype.to_string(), "shape": shape, "data_offsets": offsets});
        entries.insert(name.to_owned(), entry);
    };
    for (name, array) in &ordered {
        describe(name, array.dtype, &array.shape, array.len());
    }
    describe(SHA256, Dtype::U8, &[SHA256_BYTES], SHA256_BYTES);
    let mut text = serde_json::to_vec(&Value::Object(entries))?;
    text.resize(text.len().next_multiple_of(LENGTH_BYTES), b' ');

    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(&text)?;
    for (name, array) in ordered {
        let before = out.written;
        array.content.write(&mut out)?;
        let bytes = out.written - before;
        if bytes != array.len() as u64 {
            let shape = &array.shape;
            let found = format!("'{name}' has {bytes} bytes for its shape {shape:?}");
            return Err(io::Error::other(found));
        }
    }
    let Hashing { out, sha, .. } = out;
    out.write_all(&sha.finalize())
}

/// Hands on what it hashes.
struct Hashing<'o, W> {
    out: &'o mut W,
    sha: Sha256,
    /// Bytes so far.
    written: u64,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes one file with what a checkpoint holds, which appears under its name when it is whole and on
/// disk.
///
/// # Errors
/// When it can't be written, or `existing` keeps what is there.
pub(crate) fn write_file(
    path: &Path,
    existing: Existing,
    header: &Header,
    arrays: &Arrays<'_>,
) -> Result<(), WholeFileError> {
    whole_file::write(path, existing, |out| write_to(out, header, arrays))
}

/// The checkpoint in the file `path`.
///
/// # Errors
/// When it can't be read, and as [`parse`].
pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let bytes = fs::read(path).map_err(|error| CheckpointError::unreadable(path, error))?;
    parse(path, &bytes)
}

/// The checkpoint that `bytes` are, which are the content of `path`.
///
/// # Errors
/// When they are something else, damaged, or of another version.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    check_length(path, bytes)?;
    let unreadable = |error: SafeTensorError| CheckpointError::damaged(path, error.to_string());
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
    let entry = metadata.metadata().as_ref().and_then(|all| all.get(ENTRY));
    let Some(entry) = entry else {
        let found = format!("it is a safetensors file without the entry '{ENTRY}'");
        return Err(CheckpointError::foreign(path, found));
    };

    let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let (content, checksum) = bytes.split_at(bytes.len().saturating_sub(SHA256_BYTES));
    let sealed = metadata.info(SHA256).is_some_and(|info| {
        info.dtype == Dtype::U8
            && info.data_offsets.1 == metadata.data_len()
            && info.shape == [SHA256_BYTES]
    });
    if sealed && Sha256::digest(content).as_slice() != checksum {
        let reason = "its content does not match its SHA-256: a part of it has changed";
        return Err(CheckpointError::damaged(path, reason));
    }
    let header = header(path, entry)?;
    if !sealed {
        return Err(CheckpointError::damaged(
            path,
            "it has no SHA-256 at its end",
        ));
    }
    let tensors = file.iter().filter(|(name, _)| *name != SHA256);
    let arrays = tensors.map(|(name, view)| {
        let array = Array {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            content: Content::Held(Cow::Owned(view.data().to_vec())),
        };
        (name.to_owned(), array)
    });
    Ok(Checkpoint {
        header,
        arrays: Arrays(arrays.collect()),
    })
}

/// Fails unless `bytes` are as many as a safetensors file with their header has.
fn check_length(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    /// The longest header that the format allows.
    const LONGEST_HEADER: u64 = 100_000_000;
    const SHOWN: usize = 16;

    if bytes.is_empty() {
        return Err(CheckpointError::damaged(path, "it is empty"));
    }
    let cut = |expected: String| {
        let reason = format!("it is cut off after {} bytes of {expected}", bytes.len());
        Err(CheckpointError::damaged(path, reason))
    };
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return cut("its header".to_owned());
    };
    let length = u64::from_le_bytes(*length);
    if length > LONGEST_HEADER || rest.first().is_some_and(|first| *first != b'{') {
        let begins = bytes[..SHOWN.min(bytes.len())].escape_ascii();
        return Err(CheckpointError::foreign(
            path,
            format!("it begins with \"{begins}\""),
        ));
    }
    let Some(header) = rest.get(..length as usize) else {
        return cut("its header".to_owned());
    };
    /// All that is read here of a tensor.
    #[derive(Deserialize)]
    struct Place {
        data_offsets: Option<[u64; 2]>,
    }
    let places: Result<std::collections::HashMap<String, Place>, _> =
        serde_json::from_slice(header);
    let Ok(places) = places else {
        return Err(CheckpointError::damaged(
            path,
            "its header is no JSON of tensors",
        ));
    };
    let end = places.values().filter_map(|place| place.data_offsets);
    let data = end.map(|[_, end]| end).max().unwrap_or(0);
    let expected = data
        .saturating_add(length)
        .saturating_add(LENGTH_BYTES as u64);
    match expected.cmp(&(bytes.len() as u64)) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => cut(expected.to_string()),
        std::cmp::Ordering::Less => {
            let surplus = bytes.len() as u64 - expected;
            let reason = format!("{surplus} bytes follow its {expected}");
            Err(CheckpointError::damaged(path, reason))
        }
    }
}

fn header(path: &Path, json: &str) -> Result<Header, CheckpointError> {
    /// All that is known of the header of another version.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
        #[serde(default)]
        producer: String,
    }
    let damaged = |error: serde_json::Error| {
        CheckpointError::damaged(path, format!("its entry '{ENTRY}' can't be read: {error}"))
    };
    let Version { format, producer } = serde_json::from_str(json).map_err(damaged)?;
    if format != FORMAT {
        return Err(CheckpointError::OtherFormat {
            path: path.to_owned(),
            found: format,
            producer,
        });
    }
    serde_json::from_str(json).map_err(damaged)
}

#[cfg(test)]
mod tests;
