//! Names in and above the folder of a run: what is there, what is missing, which is free.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mspipe_datasets::own_file;

use super::error::{RunFolderError, failed};
use crate::config::{RunConfig, Task};

/// The names of what is in a folder, sorted.
pub(super) fn names_in(path: &Path) -> Result<Vec<String>, RunFolderError> {
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    let mut names = read().map_err(|error| RunFolderError::Read {
        path: path.to_owned(),
        error,
    })?;
    names.sort();
    Ok(names)
}

/// Refuses to write what is not, or not only, of a run's folder.
pub(super) fn refuse_foreign(path: &Path) -> Result<(), RunFolderError> {
    match own_file::is_foreign(path) {
        true => Err(RunFolderError::NotOwn {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

/// The folders of `path` that are not there yet, the innermost first.
pub(super) fn missing_folders(path: &Path) -> Vec<PathBuf> {
    path.ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_owned)
        .collect()
}

/// Removes folders that are empty.
pub(super) fn remove_folders(folders: &[PathBuf]) {
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// The first of `base/DATA-MODEL-1`, `-2`, … that does not exist yet; for
/// classifications `base/DATA-MODEL-node-1` and `base/DATA-MODEL-edge-1`.
pub(super) fn numbered_folder(
    base: &Path,
    config: &RunConfig,
    data_name: &str,
) -> Result<PathBuf, RunFolderError> {
    if fs::symlink_metadata(base).is_ok() && !base.is_dir() {
        return Err(RunFolderError::NoFolder {
            path: base.to_owned(),
        });
    }
    fs::create_dir_all(base).map_err(|error| failed(base, error))?;
    let data: String = data_name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let task = match config.start.task {
        Task::Link => "",
        Task::Node => "-node",
        Task::Edge => "-edge",
    };
    let model = config.model.name;
    let mut number = 1;
    loop {
        let path = base.join(format!("{data}-{model}{task}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(failed(&path, error)),
        }
    }
}
