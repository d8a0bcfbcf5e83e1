//! Checkpoints: all that a run needs to resume, in one file.
//!
//! A checkpoint, and the state that an ended run leaves, is a safetensors file of named arrays and a
//! header. Its last tensor, `sha256`, is the SHA-256 of every byte before it. What the arrays mean is up
//! to who writes them (`train::saving`); docs/checkpoints.md lists them.
//!
//! Invariants: a file has its final name only when it is whole and on disk; the one before it
//! stays until then. What is read is refused unless every byte is as it was written, so no
//! array is ever of half a run.
//!
//! It does not know models, optimisers or memory, and compresses nothing.
//!
//! Source: the safetensors format, <https://github.com/huggingface/safetensors>.

mod error;
mod every;
mod file;
mod folder;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use bytemuck::Pod;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

pub use error::FORMAT;
pub(crate) use error::{CheckpointError, Unfit};
pub use every::Every;
pub(crate) use file::write_file;
pub use file::{ENTRY, parse, read};
pub use folder::{Checkpoints, DAMAGED, LAST, Loaded, PREVIOUS};

/// A number that an array may consist of.
pub trait Element: Pod {
    /// Its name in the format.
    const DTYPE: Dtype;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}

impl Element for i32 {
    const DTYPE: Dtype = Dtype::I32;
}

impl Element for u32 {
    const DTYPE: Dtype = Dtype::U32;
}

impl Element for i64 {
    const DTYPE: Dtype = Dtype::I64;
}

impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;
}

/// Numbers with a shape, row-major, in the machine's byte order, which is little-endian.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    content: Content<'a>,
}

/// The bytes of an array.
#[derive(Clone)]
enum Content<'a> {
    Held(Cow<'a, [u8]>),
    /// Made when they are written, some at a time, so that not all arrays of a checkpoint are in RAM at
    /// once.
    Made(Make<'a>),
}

type Make<'a> = Arc<dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync + 'a>;

impl Content<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Content::Held(bytes) => out.write_all(bytes),
            Content::Made(make) => make(out),
        }
    }

    fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Content::Held(bytes) => Ok(Cow::Borrowed(bytes)),
            Content::Made(make) => {
                let mut bytes = Vec::new();
                make(&mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Held(bytes) => write!(f, "{} bytes", bytes.len()),
            Content::Made(_) => f.write_str("not made yet"),
        }
    }
}

impl PartialEq for Content<'_> {
    fn eq(&self, other: &Self) -> bool {
        matches!((self, other), (Content::Held(a), Content::Held(b)) if a == b)
    }
}

impl Array<'_> {
    /// Bytes that its shape takes.
    fn len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

#[cfg(target_endian = "big")]
compile_error!("checkpoints are written as the memory has them, which must be little-endian");

/// Arrays by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrays<'a>(BTreeMap<String, Array<'a>>);

impl<'a> Arrays<'a> {
    /// Adds `values`, which fill `shape`.
    pub(crate) fn put<T: Element>(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        values: &'a [T],
    ) {
        let array = Array {
            dtype: T::DTYPE,
            shape: shape.to_vec(),
            content: Content::Held(Cow::Borrowed(bytemuck::cast_slice(values))),
        };
        self.0.insert(name.into(), array);
    }

    /// Adds numbers that fill `shape` and are made when they are written.
    pub(crate) fn put_made(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        make: impl Fn() -> io::Result<Vec<f32>> + Send + Sync + 'a,
    ) {
        let write = move |out: &mut dyn Write| out.write_all(bytemuck::cast_slice(&make()?));
        self.put_written(name, shape, write);
    }

    /// Adds f32 numbers that fill `shape`, whose bytes `make` writes when they are written.
    pub(crate) fn put_written(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        make: impl Fn(&mut dyn Write) -> io::Result<()> + Send + Sync + 'a,
    ) {
        let array = Array {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            content: Content::Made(Arc::new(make)),
        };
        self.0.insert(name.into(), array);
    }

    /// Adds a column.
    pub(crate) fn put_column<T: Element>(&mut self, name: impl Into<String>, values: &'a [T]) {
        self.put(name, &[values.len()], values);
    }

    /// Takes out the array `name`, with its shape.
    ///
    /// # Errors
    /// When there is none, or it has numbers of another type.
    pub fn take<T: Element>(&mut self, name: &str) -> Result<(Vec<usize>, Vec<T>), Unfit> {
        let array = self.0.remove(name).ok_or_else(|| Unfit::Missing {
            name: name.to_owned(),
        })?;
        if array.dtype != T::DTYPE {
            return Err(Unfit::NumberType {
                name: name.to_owned(),
                found: array.dtype.to_string(),
                expected: T::DTYPE.to_string(),
            });
        }
        let bytes = array
            .content
            .bytes()
            .map_err(|error| Unfit::Contradiction {
                name: name.to_owned(),
                reason: format!("can't be read: {error}"),
            })?;
        Ok((array.shape, bytemuck::pod_collect_to_vec(&bytes)))
    }

    /// The bytes of the array `name`, which stays, if it is there and can be read.
    pub(crate) fn bytes_of(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.get(name)?.content.bytes().ok()
    }

    /// Numbers in a row of the table `name`, if it is there.
    pub(crate) fn row_width(&self, name: &str) -> Option<usize> {
        match self.0.get(name)?.shape[..] {
            [_, width] => Some(width),
            _ => None,
        }
    }

    /// Takes out the array `name`, which must have this shape.
    ///
    /// # Errors
    /// When there is none of this type and shape.
    pub(crate) fn take_shaped<T: Element>(
        &mut self,
        name: &str,
        expected: &[usize],
    ) -> Result<Vec<T>, Unfit> {
        let (shape, values) = self.take(name)?;
        if shape == expected {
            Ok(values)
        } else {
            Err(Unfit::Misshapen {
                name: name.to_owned(),
                found: shape,
                expected: expected.to_vec(),
            })
        }
    }

    /// Takes out the column `name`.
    ///
    /// # Errors
    /// When there is none of this type.
    pub(crate) fn take_column<T: Element>(&mut self, name: &str) -> Result<Vec<T>, Unfit> {
        self.take(name).map(|(_, values)| values)
    }

    /// Takes out all arrays whose names begin with `prefix`, without it.
    pub(crate) fn take_group(&mut self, prefix: &str) -> Arrays<'a> {
        let mut group = self.0.split_off(prefix);
        let end = group.keys().find(|name| !name.starts_with(prefix)).cloned();
        if let Some(end) = end {
            self.0.extend(group.split_off(&end));
        }
        let named = group.into_iter();
        Arrays(
            named
                .map(|(name, array)| (name[prefix.len()..].to_owned(), array))
                .collect(),
        )
    }

    /// Their names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub format: u32,
    /// The program that wrote it, with its version.
    pub producer: String,
    /// Epoch under way, from 1; one more than there are once all are trained.
    pub epoch: usize,
    /// Iterations of it that are trained.
    pub iteration: usize,
    /// The run that it belongs to.
    pub run: serde_json::Value,
}

impl Header {
    /// Of a checkpoint that this program writes.
    pub fn new(epoch: usize, iteration: usize, run: serde_json::Value) -> Header {
        Header {
            format: FORMAT,
            producer: concat!("mspipe ", env!("CARGO_PKG_VERSION")).to_owned(),
            epoch,
            iteration,
            run,
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What it says of itself.
    pub header: Header,
    /// Its arrays.
    pub arrays: Arrays<'static>,
}
