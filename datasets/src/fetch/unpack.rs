//! Unpacks a downloaded file beside its final name.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::error::{ByHand, FetchError};
use super::own_file;
use crate::stop::Stop;

/// Unpacks the gzip file `packed` into `to` and flushes it to the disk; returns the bytes written.
/// A damaged or truncated archive leaves no `to`.
pub(super) fn gunzip(
    packed: &Path,
    to: &Path,
    by_hand: &ByHand,
    stop: &Stop,
) -> Result<u64, FetchError> {
    let _unfinished = stop.unfinished();
    let from = File::open(packed).map_err(FetchError::io(packed, "read the file"))?;
    let file = own_file::open(to)?;
    file.set_len(0)
        .map_err(FetchError::io(to, "write the file"))?;
    let mut writer = BufWriter::new(file);
    let mut damage = None;
    // Errors of the archive and of the disk look alike to `io::copy`, so the reader keeps its own.
    let mut reader = Watched {
        inner: MultiGzDecoder::new(BufReader::new(from)),
        damage: &mut damage,
        stop,
    };
    let copied = io::copy(&mut reader, &mut writer);
    if stop.requested() {
        drop(writer);
        fs::remove_file(to).ok();
        let bytes = packed.metadata().map_or(0, |metadata| metadata.len());
        return Err(FetchError::Stopped {
            url: by_hand.url.clone(),
            part: Some(packed.to_owned()),
            bytes,
        });
    }
    if let Some(reason) = damage {
        drop(writer);
        fs::remove_file(to).ok();
        return Err(FetchError::Damaged {
            reason,
            by_hand: by_hand.clone(),
        });
    }
    copied
        .and_then(|bytes| {
            let file = writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            Ok(bytes)
        })
        .map_err(|error| {
            fs::remove_file(to).ok();
            FetchError::io(to, "write the file")(error)
        })
}

/// Whether the file begins as RFC 1952 wants it.
pub(super) fn is_gzip(path: &Path) -> Result<bool, FetchError> {
    let mut magic = Vec::new();
    let file = File::open(path).map_err(FetchError::io(path, "read the file"))?;
    file.take(2)
        .read_to_end(&mut magic)
        .map_err(FetchError::io(path, "read the file"))?;
    Ok(magic == [0x1f, 0x8b])
}

struct Watched<'a, R> {
    inner: R,
    damage: &'a mut Option<String>,
    stop: &'a Stop,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check().map_err(io::Error::other)?;
        self.inner
            .read(buffer)
            .inspect_err(|error| *self.damage = Some(error.to_string()))
    }
}
