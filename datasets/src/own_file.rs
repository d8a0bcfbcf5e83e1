//! Files that a program keeps for itself under fixed names, in a folder that others may write to too.
//!
//! A link under such a name would make the program write through it into whatever it leads to; a file
//! with a second name would be changed under that one as well. So a file is one's own if it is a plain
//! one and has no other name. (Windows is not asked for other names: making them needs a privilege
//! there.)

use std::fs::{self, Metadata};
use std::path::Path;

/// Whether what is described (not followed, if it is a link) is a plain file with one name.
pub fn is_own(metadata: &Metadata) -> bool {
    metadata.is_file() && has_one_name(metadata)
}

/// Whether writing to `path` would change something else than a file of one's own. (A folder of that
/// name can't be written to, which is told where it is tried.)
pub fn is_foreign(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir() && !is_own(&metadata))
}

#[cfg(unix)]
fn has_one_name(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.nlink() <= 1
}

#[cfg(not(unix))]
fn has_one_name(_: &Metadata) -> bool {
    true
}
