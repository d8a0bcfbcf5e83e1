//! One column of fixed-size values, in memory or mapped from a file.
//!
//! Files hold the bare values, little-endian, without a header. A mapped column
//! is as long as its file; nothing is read before it is used. Big-endian
//! machines are not supported (a compile error says so).

use std::fs::File;
use std::path::Path;

use bytemuck::Pod;
use memmap2::Mmap;

use crate::error::DataError;

#[cfg(target_endian = "big")]
compile_error!(
    "mspipe's stores are little-endian files mapped into memory; this target is big-endian"
);

/// Bytes of a piece: many pages, and whole values of every type.
const PIECE_BYTES: usize = 1 << 24;

/// Values of one type, owned or mapped.
#[derive(Debug)]
pub(crate) enum Column<T> {
    Owned(Vec<T>),
    /// Invariant, checked when mapped: aligned for T and a whole number of values.
    Mapped(Mmap),
}

impl<T: Pod> Column<T> {
    /// Maps `path`, which must hold exactly `values` values.
    pub(crate) fn map(path: &Path, values: usize) -> Result<Column<T>, DataError> {
        let file = File::open(path).map_err(DataError::io("open", path))?;
        let found = file
            .metadata()
            .map_err(DataError::io("read the size of", path))?
            .len();
        let expected = (values as u64).checked_mul(size_of::<T>() as u64);
        if Some(found) != expected {
            let expected = expected.map_or("an impossible number of".to_owned(), |n| n.to_string());
            return Err(DataError::damaged_store(
                path,
                format!("{found} bytes found, {expected} expected from meta.json"),
            ));
        }
        if found == 0 {
            // Some platforms refuse to map an empty file.
            return Ok(Column::Owned(Vec::new()));
        }
        // SAFETY: the map is read-only. Changing a store's files while they are mapped is outside
        // what mspipe promises to survive; mspipe itself writes stores in a temporary folder and
        // renames it once, and never writes into an existing one.
        let map = unsafe { Mmap::map(&file) }.map_err(DataError::io("map into memory", path))?;
        bytemuck::try_cast_slice::<u8, T>(&map)
            .map_err(|e| DataError::store(path, format!("cannot be used as a column ({e})")))?;
        Ok(Column::Mapped(map))
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Column::Owned(values) => values,
            Column::Mapped(map) => bytemuck::cast_slice(map),
        }
    }

    /// The values in pieces, one after another, with the position of each piece's first value.
    ///
    /// A mapped piece is given back to the operating system when the next one is asked for, so
    /// that a walk over a column does not make it resident as a whole. (It stays readable.)
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (usize, &[T])> {
        let values = (PIECE_BYTES / size_of::<T>()).max(1);
        (self.as_slice().chunks(values).enumerate()).map(move |(piece, chunk)| {
            if piece > 0 {
                self.release((piece - 1) * values, values);
            }
            (piece * values, chunk)
        })
    }

    /// Tells the operating system that values are not needed in memory for now.
    fn release(&self, first: usize, count: usize) {
        #[cfg(unix)]
        if let Column::Mapped(map) = self {
            let (start, length) = (first * size_of::<T>(), count * size_of::<T>());
            let length = length.min(map.len().saturating_sub(start));
            // SAFETY: the map is a shared, read-only one of a file, so pages that are dropped are
            // read from the file again when they are next used; no value is lost. A refusal
            // changes nothing and is no error.
            let _ = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, length)
            };
        }
        #[cfg(not(unix))]
        let _ = (first, count);
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self.as_slice())
    }

    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self, Column::Mapped(_))
    }
}
