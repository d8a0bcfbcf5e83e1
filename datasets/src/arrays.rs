//! Arrays of features in files: `.npy`, `.npz` and PyTorch's `.pt`.
//!
//! f32, f64, f16, bool, u8, i32, i64; one or two dimensions (one dimension is a
//! table of width 1); row-major, little-endian. f16 stays f16, bool becomes
//! packed bits, everything else becomes f32 (f64 and large integers are rounded).
//! Rows are read in pieces, so a file may be larger than memory. Which kind a file
//! is, its first bytes tell. `FILE.npz:NAME` names one array of several.

pub(crate) mod npy;
pub(crate) mod npz;
mod reader;
pub(crate) mod torch;

use std::path::{Path, PathBuf};

use half::f16;

use crate::error::DataError;
use crate::files::input_file::InputFile;
use crate::files::lfs;
use crate::files::packed::{self, is_torch_pickle, is_zip};
use crate::stop::Stop;

use crate::stream::features::{FeatureTable, FeatureType};
pub use reader::ArrayReader;

/// A file of arrays, and which of them is meant.
#[derive(Debug, Clone)]
pub(crate) struct ArrayFile {
    pub(crate) file: InputFile,
    /// Of an `.npz` file: `FILE.npz:NAME`.
    name: Option<String>,
}

impl ArrayFile {
    /// What `path` names; `room` as in [`InputFile::of`].
    pub(crate) fn of(path: &Path, room: &Path, stop: &Stop) -> Result<ArrayFile, DataError> {
        let (path, name) = split_name(path);
        Ok(ArrayFile {
            file: InputFile::of(&path, room, stop)?,
            name,
        })
    }

    pub(crate) fn on_disk(path: &Path) -> ArrayFile {
        let (path, name) = split_name(path);
        ArrayFile {
            file: InputFile::on_disk(&path),
            name,
        }
    }

    /// Which array of the file it is, as part of a key.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Opens the array and checks its header and its size. Of several arrays in an `.npz` file the
    /// one called `preferred` is taken if none is named.
    pub(crate) fn open(&self, preferred: &str) -> Result<ArrayReader, DataError> {
        let ArrayFile { file, name } = self;
        let start = packed::magic(file)?;
        if lfs::may_be_pointer(&start) {
            return Err(DataError::array(
                file.shown(),
                format!("{}; {}", lfs::FOUND, lfs::REMEDY),
            ));
        }
        if is_zip(&start) {
            let entries = packed::entries(file)?;
            return match entries.iter().any(|e| is_torch_pickle(&e.name)) {
                true => torch::open(file, &entries),
                false => npz::open(file, &entries, name.as_deref(), preferred),
            };
        }
        if let Some(name) = name {
            let problem = format!("`:{name}` names an array of an .npz file, but this is none");
            return Err(DataError::array(file.shown(), problem));
        }
        npy::open(file, &start)
    }
}

/// Reads a whole array into memory; of several arrays in an `.npz` file the one called `preferred`, if none is named.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read, [`DataError::Array`] if it is damaged or of another kind.
pub fn read_table(path: &Path, preferred: &str) -> Result<FeatureTable, DataError> {
    let mut reader = ArrayFile::on_disk(path).open(preferred)?;
    let (rows, width) = (reader.rows(), reader.width());
    let mut bytes = Vec::new();
    while reader.read_rows(1 << 16, &mut bytes)? > 0 {}
    match reader.feature_type() {
        FeatureType::F32 => FeatureTable::from_f32(
            rows,
            width,
            bytemuck::allocation::pod_collect_to_vec::<u8, f32>(&bytes),
        ),
        FeatureType::F16 => FeatureTable::from_f16(
            rows,
            width,
            bytemuck::allocation::pod_collect_to_vec::<u8, f16>(&bytes),
        ),
        FeatureType::Bits => FeatureTable::from_bits(rows, width, bytes),
    }
}

/// `features.npz:edge` is the array `edge` of `features.npz`.
fn split_name(path: &Path) -> (PathBuf, Option<String>) {
    let text = path.to_string_lossy();
    match text.rsplit_once(':') {
        Some((file, name)) if file.to_ascii_lowercase().ends_with(".npz") => {
            (PathBuf::from(file), Some(name.to_owned()))
        }
        _ => (path.to_path_buf(), None),
    }
}
