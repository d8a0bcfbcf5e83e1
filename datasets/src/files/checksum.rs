//! Checksums of files: XXH3 of 128 bits over pieces that are read in parallel.
//!
//! A file's checksum is that of its pieces' checksums, one after another. It finds what disks, full
//! disks, power cuts, copies and editors do to a file, at the speed of the memory; it is none against
//! somebody who forges a file and its checksum. (The content's identity is a SHA-256, see
//! [`crate::EventLog::hash`].) Files are read, not mapped, so that nothing of them becomes resident.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;
use twox_hash::XxHash3_128;

use crate::error::DataError;
use crate::progress::Progress;
use crate::stop::Stop;

/// Bytes of a piece; part of what a checksum is.
const PIECE: u64 = 1 << 24;
/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;

/// The checksum of each file, as 32 hexadecimal digits, and its length.
pub(crate) fn of_files(
    paths: &[PathBuf],
    progress: Progress,
    stop: &Stop,
) -> Result<Vec<(String, u64)>, DataError> {
    let mut pieces = Vec::new();
    let mut lengths = Vec::new();
    for (file, path) in paths.iter().enumerate() {
        let length = path
            .metadata()
            .map_err(DataError::io("read the size of", path))?
            .len();
        lengths.push(length);
        pieces.extend((0..length.div_ceil(PIECE)).map(|piece| (file, piece * PIECE)));
    }
    let progress = Mutex::new(progress);
    let sums = pieces
        .par_iter()
        .map_init(Vec::new, |block, &(file, start)| {
            stop.check()?;
            let path = &paths[file];
            let (sum, count) = of_piece(path, start, block).map_err(DataError::io("read", path))?;
            if let Ok(mut progress) = progress.lock() {
                progress.advance(count);
            }
            Ok(sum)
        })
        .collect::<Result<Vec<u128>, DataError>>()?;
    let mut of_files: Vec<XxHash3_128> = paths.iter().map(|_| XxHash3_128::new()).collect();
    for ((file, _), sum) in pieces.iter().zip(sums) {
        of_files[*file].write(&sum.to_le_bytes());
    }
    let sums = of_files
        .iter()
        .map(|sum| hex(&sum.finish_128().to_be_bytes()));
    Ok(sums.zip(lengths).collect())
}

/// The checksum of bytes in memory.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hex(&XxHash3_128::oneshot(bytes).to_be_bytes())
}

/// The first and the last bytes of a file, at most `bytes` each, as one checksum.
pub(crate) fn of_ends(path: &Path, bytes: u64) -> Result<String, DataError> {
    let read = || {
        let mut file = File::open(path)?;
        let mut ends = Vec::new();
        (&mut file).take(bytes).read_to_end(&mut ends)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        file.take(bytes).read_to_end(&mut ends)?;
        Ok(ends)
    };
    read()
        .map_err(DataError::io("read", path))
        .map(|ends| of_bytes(&ends))
}

fn of_piece(path: &Path, start: u64, block: &mut Vec<u8>) -> std::io::Result<(u128, u64)> {
    block.resize(BLOCK, 0);
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut piece = file.take(PIECE);
    let mut sum = XxHash3_128::new();
    let mut length = 0;
    loop {
        let count = piece.read(block)?;
        if count == 0 {
            return Ok((sum.finish_128(), length));
        }
        sum.write(&block[..count]);
        length += count as u64;
    }
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> (String, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("column");
        std::fs::write(&path, bytes).unwrap();
        let progress = Progress::bytes(String::new(), bytes.len() as u64);
        of_files(&[path], progress, &Stop::default())
            .unwrap()
            .remove(0)
    }

    #[test]
    fn every_piece_counts_in_its_place() {
        // Three pieces, the last one of a byte.
        let mut bytes = vec![7u8; 2 * PIECE as usize + 1];
        let (whole, length) = of(&bytes);
        assert_eq!(length, bytes.len() as u64);
        for at in [0, PIECE as usize - 1, PIECE as usize, bytes.len() - 1] {
            bytes[at] ^= 1;
            assert_ne!(of(&bytes).0, whole, "byte {at}");
            bytes[at] ^= 1;
        }
        assert_eq!(of(&bytes).0, whole);
        assert_ne!(of(&bytes[..bytes.len() - 1]).0, whole);
        assert_ne!(of(&[]).0, of(&[0]).0);
    }
}
