//! Whether the pickles of a PyTorch file are what its size explains, before a library builds them.
//!
//! `pytorch-reader` bounds nesting and what is copied, but builds every value before it looks at
//! one: 100 KB of zip can be 100 million values. Here the operations are only counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use indicatif::HumanBytes;
use zip::ZipArchive;

use super::operations::Operations;
use super::{PickleError, Room};
use crate::error::DataError;
use crate::files::packed::{is_torch_pickle, is_zip};

/// Upper bound of the memory that a value takes in a library's tree, a place in a growing list
/// and an entry of a dictionary counted in.
const VALUE_BYTES: u64 = 256;

/// So much is never too much: a million values.
const HARMLESS: u64 = 1 << 28;

/// Times the file's size that its values and any one of its tensors may take.
const BYTES_A_BYTE: u64 = 16;

/// Pickles of a file from before PyTorch 1.6: two numbers that say what it is, the machine, the
/// objects, the order of the values.
const LEGACY_PICKLES: usize = 5;

/// Goes through the pickles of the PyTorch file at `path` without building anything. Damage is
/// no matter here: whoever reads the file ends where this does.
///
/// # Errors
/// A file that can't be read, and one whose values or storages take more memory than its size
/// explains or this machine has.
pub fn check_checkpoint(path: &Path) -> Result<(), DataError> {
    let file = File::open(path).map_err(DataError::io("open", path))?;
    let bytes = file
        .metadata()
        .map_err(DataError::io("read the size of", path))?
        .len();
    let mut input = BufReader::with_capacity(1 << 17, file);
    let limit = bytes.saturating_mul(BYTES_A_BYTE).saturating_add(HARMLESS);
    let mut room = Room {
        left: Room::within_ram(limit),
        limit: Room::within_ram(limit),
        file: bytes,
    };
    let start = input.fill_buf().map_err(DataError::io("read", path))?;
    let counted = match is_zip(start) {
        true => archive(path, input, &mut room)?,
        false => pickles(input, &mut room, LEGACY_PICKLES),
    };
    match counted {
        Err(PickleError::Read(error)) => Err(DataError::io("read", path)(error)),
        Err(PickleError::Wrong { at, found }) if room.left == 0 => Err(DataError::format(
            path,
            format!("{found} (up to byte {at} of its pickle)"),
            "nothing of it was built; if the file is what you expect, save the tensors alone: \
             torch.save(model.state_dict(), FILE)",
        )),
        _ => Ok(()),
    }
}

/// Counts the description of an archive, and looks at how far its entries unpack.
fn archive(
    path: &Path,
    input: BufReader<File>,
    room: &mut Room,
) -> Result<Result<(), PickleError>, DataError> {
    // Who reads it meets the same damage, with better words.
    let Ok(mut archive) = ZipArchive::new(input) else {
        return Ok(Ok(()));
    };
    let most = room.limit;
    for at in 0..archive.len() {
        let Ok(entry) = archive.by_index_raw(at) else {
            continue;
        };
        if entry.size() > most && entry.compressed_size() < entry.size() {
            return Err(DataError::format(
                path,
                format!(
                    "entry {} unpacks from {} to {}, which is not a weight",
                    crate::error::quoted(entry.name_raw()),
                    HumanBytes(entry.compressed_size()),
                    HumanBytes(entry.size())
                ),
                "nothing of it was read; torch.save writes entries without compression: save the \
                 file again",
            ));
        }
    }
    for at in 0..archive.len() {
        let Ok(entry) = archive.by_index(at) else {
            continue;
        };
        if is_torch_pickle(&String::from_utf8_lossy(entry.name_raw())) {
            let counted = pickles(BufReader::new(entry), room, 1);
            if room.left == 0 {
                return Ok(counted);
            }
        }
    }
    Ok(Ok(()))
}

/// Counts the pickles that `input` begins with, `most` at most.
fn pickles(input: impl BufRead, room: &mut Room, most: usize) -> Result<(), PickleError> {
    let mut operations = Operations::new(input);
    let mut ended = 0;
    while ended < most {
        let (code, length) = operations.next()?;
        let lines = operations.argument().len() as u64;
        // Texts are copied once into the names of tensors.
        let bytes = VALUE_BYTES * u64::from(makes_a_value(code)) + 2 * (lines + length);
        if let Err(refusal) = room.take(bytes) {
            room.left = 0;
            return Err(operations.wrong(refusal));
        }
        match operations.skip(length) {
            Err(PickleError::Read(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(());
            }
            other => other?,
        }
        ended += usize::from(code == b'.');
    }
    Ok(())
}

/// Whether an operation leaves one more value on the stack, in the memo or among the marks.
fn makes_a_value(code: u8) -> bool {
    // PROTO, FRAME, STOP, POP, POP_MARK, REDUCE, BUILD, and what puts values into lists and
    // dictionaries.
    !matches!(
        code,
        0x80 | 0x95 | b'.' | b'0' | b'1' | b'R' | b'b' | b's' | b'u' | b'a' | b'e'
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Write;

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    /// What is said of a file with these bytes.
    fn verdict(bytes: &[u8]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        std::fs::write(&path, bytes).unwrap();
        let verdict = check_checkpoint(&path).map_err(|error| error.to_string());
        verdict.map_err(|message| message.replace(&path.display().to_string(), "FILE"))
    }

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
        let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for (name, content) in files {
            writer.start_file(*name, deflated).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn values_that_the_files_size_does_not_explain_are_refused_unbuilt() {
        let bomb = vec![b'N'; 2 << 20];
        let packed = archive(&[("x/data.pkl", &bomb), ("x/version", b"3")]);
        assert!(packed.len() < 4096);
        let message = verdict(&packed).unwrap_err();
        let start = "FILE: its values take more than 256.0";
        assert!(message.starts_with(start), "{message}");
        assert!(
            message.ends_with("torch.save(model.state_dict(), FILE)"),
            "{message}"
        );
        // Where the same bytes are the file, they explain more, but not so much.
        let plain = [b"\x80\x02".to_vec(), vec![b'}'; 4 << 20]].concat();
        assert!(
            verdict(&plain)
                .unwrap_err()
                .contains("which a file of 4.00 MiB does not explain")
        );
        let names = [b"\x80\x02".to_vec(), b"c\n\n".repeat(1 << 21)].concat();
        assert!(verdict(&names).unwrap_err().contains("(up to byte "));
    }

    #[test]
    fn sound_and_damaged_files_are_left_to_their_reader() {
        let sound = b"\x80\x02}q\x00X\x01\0\0\0aq\x01K\x01s.";
        assert_eq!(verdict(sound), Ok(()));
        assert_eq!(verdict(&sound[..9]), Ok(()));
        assert_eq!(
            verdict(&archive(&[("x/data.pkl", sound), ("x/data/0", &[0; 4096])])),
            Ok(())
        );
        let cut = archive(&[("x/data.pkl", sound)]);
        assert_eq!(verdict(&cut[..cut.len() / 2]), Ok(()));
        assert_eq!(verdict(b""), Ok(()));
        // A million numbers beside the weights are no bomb.
        let numbers = [
            b"\x80\x02](".to_vec(),
            b"K\x01".repeat(1_000_000),
            b"e.".to_vec(),
        ]
        .concat();
        assert_eq!(verdict(&numbers), Ok(()));
    }

    #[test]
    fn a_storage_that_unpacks_to_many_times_the_file_is_refused() {
        // Only its header claims so much: nothing of it is read.
        let mut file = archive(&[("x/data.pkl", b"\x80\x02}."), ("x/data/0", &[0; 1 << 16])]);
        let claimed = (1u32 << 16).to_le_bytes();
        let places: Vec<usize> = (0..file.len() - 4)
            .filter(|&at| file[at..at + 4] == claimed)
            .collect();
        assert!(!places.is_empty());
        for at in places {
            file[at..at + 4].copy_from_slice(&0x7000_0000u32.to_le_bytes());
        }
        let message = verdict(&file).unwrap_err();
        assert!(
            message.contains("entry `x/data/0` unpacks from "),
            "{message}"
        );
    }
}
