//! What a run or a state is, told by a few bytes of it and without loading it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::run_folder::STATE;
use crate::weights;

/// Bytes that a state ends with: the SHA-256 of all before them.
const SEAL: u64 = 32;

/// SHA-256, in hex, of the state that `path` is or has, or of the weights of a run that has none; `None` where
/// `path` is neither.
///
/// # Errors
/// When it can't be read.
pub(crate) fn identity(path: &Path) -> io::Result<Option<String>> {
    let inside = |name: &str| Some(path.join(name)).filter(|file| file.is_file());
    let state = match path.is_file() {
        true => Some(path.to_owned()),
        false => inside(STATE),
    };
    match (state, inside(weights::FILE_NAME)) {
        (Some(state), _) => sealed(&state).map(Some),
        (None, Some(weights)) => Ok(Some(hex(&Sha256::digest(fs::read(weights)?)))),
        (None, None) => Ok(None),
    }
}

/// The SHA-256 that a state ends with.
fn sealed(state: &Path) -> io::Result<String> {
    let mut file = File::open(state)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(SEAL)))?;
    let mut seal = Vec::new();
    file.read_to_end(&mut seal)?;
    Ok(hex(&seal))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
