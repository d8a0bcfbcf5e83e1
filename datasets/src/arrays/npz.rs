//! NumPy's `.npz` files: a zip archive of `.npy` arrays, stored or deflated.
//!
//! One array is read, as a stream. Which one is taken is never guessed: the one
//! that is named, the only one, or the one that has the table's own name.
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.savez.html>.

use crate::arrays::npy;
use crate::arrays::reader::ArrayReader;
use crate::error::DataError;
use crate::files::input_file::InputFile;
use crate::files::packed::Entry;

/// Opens the array `name` of the archive `file`, or the only one, or the `preferred` one.
pub(crate) fn open(
    file: &InputFile,
    entries: &[Entry],
    name: Option<&str>,
    preferred: &str,
) -> Result<ArrayReader, DataError> {
    let path = file.shown();
    let arrays: Vec<(&str, &Entry)> = entries
        .iter()
        .filter_map(|entry| Some((entry.name.strip_suffix(".npy")?, entry)))
        .collect();
    let find = |wanted: &str| arrays.iter().find(|(name, _)| *name == wanted);
    let names = || {
        let names: Vec<&str> = arrays.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    };
    let (array, entry) = match (name, arrays.as_slice()) {
        (_, []) => {
            return Err(DataError::array(
                path,
                "a zip archive with neither a NumPy array (NAME.npy) nor a PyTorch tensor (data.pkl); save it with numpy.savez or torch.save",
            ));
        }
        (Some(wanted), _) => find(wanted).ok_or_else(|| {
            DataError::array(
                path,
                format!("no array is called `{wanted}`; there are {}", names()),
            )
        })?,
        (None, [only]) => only,
        (None, _) => find(preferred).ok_or_else(|| {
            DataError::array(
                path,
                format!(
                    "{} arrays found ({}); say which one is meant: {}:NAME",
                    arrays.len(),
                    names(),
                    path.display()
                ),
            )
        })?,
    };
    let shown = path.join(format!("{array}.npy"));
    npy::read_header(&shown, entry.open(file)?, entry.size)
}
