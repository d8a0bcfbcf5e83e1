//! What stands in the event files of a run, for TensorBoard.

use std::fs;
use std::path::{Path, PathBuf};

/// The event files of a run, the earlier first.
pub(crate) fn files(run: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(run).unwrap();
    let all = all.map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| path.to_str().unwrap().contains("tfevents");
    let mut all: Vec<PathBuf> = all.filter(is_one).collect();
    all.sort();
    all
}

/// How often a word stands in the event file of a run, which has one.
pub(crate) fn count(run: &Path, word: &str) -> usize {
    let files = files(run);
    assert_eq!(files.len(), 1, "{files:?}");
    let bytes = fs::read(&files[0]).unwrap();
    let parts = bytes.windows(word.len());
    parts.filter(|part| *part == word.as_bytes()).count()
}
