//! Where the folder of a run may be: a new or an empty place, and what to say of any other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mspipe_datasets::whole_file;

use super::error::{RunFolderError, failed};
use super::{CONFIG, LOCK, RunFolder, SUMMARY};
use crate::checkpoint::{LAST, PREVIOUS};
use crate::config::{RunConfig, Task};

/// Refuses a place that has something in it, and says what that is.
pub(super) fn refuse_content(path: &Path) -> Result<(), RunFolderError> {
    let own = || path.to_owned();
    if !path.is_dir() {
        return match fs::symlink_metadata(path) {
            Ok(_) => Err(RunFolderError::NoFolder { path: own() }),
            Err(_) => Ok(()),
        };
    }
    let names = names_in(path)?;
    if names.is_empty() {
        return Ok(());
    }
    let lock = fs::symlink_metadata(path.join(LOCK));
    let is_lock = lock.is_ok_and(|lock| lock.is_file() && lock.len() == 0);
    if is_lock && names.iter().all(|name| is_of_no_run(name)) {
        // Refuses a run that is being begun.
        return RunFolder::reopened(own()).map(drop);
    }
    let has = |name: &str| names.iter().any(|found| found == name);
    // A file of the name alone is not enough: it must hold a run's settings.
    let file = path.join(CONFIG);
    let config = match has(LOCK) && file.is_file() {
        true => RunConfig::read(&file).ok(),
        false => None,
    };
    let Some(config) = config else {
        const SHOWN: usize = 3;
        let mut found = names
            .iter()
            .take(SHOWN)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if names.len() > SHOWN {
            found += &format!(" and {} more", names.len() - SHOWN);
        }
        return Err(RunFolderError::Foreign { path: own(), found });
    };
    // Refuses a run that is being written.
    drop(RunFolder::reopened(own())?);
    Err(if has(SUMMARY) {
        RunFolderError::Taken { path: own() }
    } else if has(LAST) || has(PREVIOUS) {
        RunFolderError::Unfinished { path: own() }
    } else if config.start.task == Task::Node {
        RunFolderError::AbandonedNode { path: own() }
    } else {
        RunFolderError::Abandoned { path: own() }
    })
}

/// What a program leaves that is killed before it has written a run's settings.
pub(super) fn is_of_no_run(name: &str) -> bool {
    name == LOCK || whole_file::is_temporary(name)
}

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

/// Refuses a name that leads out of a run's folder.
pub(super) fn refuse_link(path: &Path) -> Result<(), RunFolderError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(RunFolderError::Link {
            path: path.to_owned(),
        }),
        _ => Ok(()),
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

/// The first of `base/DATA-MODEL-1`, `-2`, … that does not exist yet; for node
/// classification `base/DATA-MODEL-node-1`.
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
