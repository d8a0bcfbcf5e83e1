//! Damaged files are errors, whatever the Parquet library does with them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::errors::ParquetError;

use crate::error::DataError;

/// Runs the Parquet library, which panics on some damaged files instead of returning an error
/// (60.1.0: a negative offset in the metadata, a page that needs a dictionary that is not there).
/// What it worked on is dropped afterwards. To be removed when it no longer panics.
pub(super) fn guarded<T>(
    read: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        Err(ParquetError::General(
            message.unwrap_or("the reader gave up").to_owned(),
        ))
    })
}

pub(super) fn damaged(path: &Path, group: Option<u32>, error: &ParquetError) -> DataError {
    let place = group.map_or(String::new(), |group| format!(" in row group {group}"));
    DataError::format(
        path,
        format!("a Parquet file that cannot be read{place} ({error})"),
        "it is damaged or incomplete: copy or write it again",
    )
}
