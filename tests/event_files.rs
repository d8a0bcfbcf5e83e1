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

/// The values under a tag in all event files of a run.
pub(crate) fn values(run: &Path, tag: &str) -> Vec<f32> {
    let mut values = Vec::new();
    for file in files(run) {
        let bytes = fs::read(file).unwrap();
        let places = bytes.windows(tag.len()).enumerate();
        for (place, _) in places.filter(|(_, part)| *part == tag.as_bytes()) {
            // Field 2 of the value, 32 bits.
            let after = &bytes[place + tag.len()..];
            assert_eq!(after[0], 0x15, "{tag}");
            values.push(f32::from_le_bytes(after[1..5].try_into().unwrap()));
        }
    }
    values
}

/// How often a word stands in the event file of a run, which has one.
pub(crate) fn count(run: &Path, word: &str) -> usize {
    let files = files(run);
    assert_eq!(files.len(), 1, "{files:?}");
    let bytes = fs::read(&files[0]).unwrap();
    let parts = bytes.windows(word.len());
    parts.filter(|part| *part == word.as_bytes()).count()
}
