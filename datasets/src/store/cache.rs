//! What conversions left in the cache: stores, and what is under way or was interrupted.
//!
//! Only what conversions made is listed and removed; data sets in the cache's folder `data` and
//! anything else are left alone. A store that is in use may be removed where the system allows it: who
//! has it open keeps it until the end.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::DataError;
use crate::files::scratch;
use crate::store::{self, STORE_EXTENSION};

/// The cache's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Its folder; it may not exist yet.
    pub folder: PathBuf,
    /// Converted and generated streams, in the order of their names.
    pub stores: Vec<CachedStore>,
    /// Work that is under way or was interrupted.
    pub unfinished: Vec<Unfinished>,
}

/// A store of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedStore {
    /// Its folder's name.
    pub name: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Events; None if it is of another version of the format, or damaged.
    pub events: Option<usize>,
    /// Where the stream came from; None as `events`.
    pub origin: Option<String>,
}

/// A folder of work in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// Its name.
    pub name: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Whether the program that worked in it is gone. The next conversion removes it then.
    pub left_behind: bool,
}

impl Cache {
    /// What is in `folder`.
    pub fn list(folder: &Path) -> Cache {
        let mut stores: Vec<CachedStore> = (fs::read_dir(folder).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|ending| ending == STORE_EXTENSION)
            })
            .filter(|path| store::is_store(path))
            .map(|path| CachedStore::of(&path))
            .collect();
        stores.sort_by(|a, b| a.name.cmp(&b.name));
        let unfinished = scratch::left_in(folder).into_iter();
        Cache {
            folder: folder.to_path_buf(),
            stores,
            unfinished: unfinished
                .map(|(path, left_behind)| Unfinished {
                    name: name(&path),
                    bytes: scratch::bytes_below(&path),
                    left_behind,
                })
                .collect(),
        }
    }

    /// Bytes of everything listed.
    pub fn bytes(&self) -> u64 {
        let stores = self.stores.iter().map(|store| store.bytes);
        let unfinished = self.unfinished.iter().map(|work| work.bytes);
        stores.chain(unfinished).sum()
    }

    /// Removes all stores, or those called `names` (in full, or without key and ending: all of that
    /// stream), and what interrupted work left behind; returns what was removed.
    ///
    /// # Errors
    /// [`DataError::Option`] if there is no store of a name (nothing is removed then), [`DataError::Io`]
    /// if a store can't be removed.
    pub fn clear(&self, names: &[String]) -> Result<Cache, DataError> {
        let unknown = |name: &&String| !self.stores.iter().any(|store| store.is_called(name));
        if let Some(name) = names.iter().find(unknown) {
            return Err(DataError::Option(format!(
                "{name}: the cache {} has no store of that name, nor any of a stream called so; `mspipe data cache` lists them",
                self.folder.display()
            )));
        }
        let mut removed = self.clone();
        removed
            .stores
            .retain(|store| names.is_empty() || names.iter().any(|name| store.is_called(name)));
        removed.unfinished.retain(|work| work.left_behind);
        for store in &removed.stores {
            scratch::remove(&self.folder.join(&store.name))?;
        }
        scratch::sweep(&self.folder);
        Ok(removed)
    }
}

impl CachedStore {
    /// Whether `name` is the store's name, or its stream's: `wikipedia` of
    /// `wikipedia-0123456789abcdef.mspipe`.
    fn is_called(&self, name: &str) -> bool {
        let stream = self.name.rsplit_once('-').map(|(stream, _)| stream);
        self.name == name || stream == Some(name)
    }

    fn of(path: &Path) -> CachedStore {
        let described = store::describe(path).ok();
        CachedStore {
            name: name(path),
            bytes: scratch::bytes_below(path),
            events: described.as_ref().map(|meta| meta.events),
            origin: described.map(|meta| meta.origin),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
