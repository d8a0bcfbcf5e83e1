//! Checkpoints in a run's folder: which is taken, what happens when one can't be written.

use serde_json::json;
use tempfile::TempDir;

use super::*;

fn save(checkpoints: &Checkpoints, iteration: usize) -> Result<(), CheckpointError> {
    let numbers = [iteration as i32];
    let mut arrays = Arrays::default();
    arrays.put_column("numbers", &numbers);
    checkpoints.save(&Header::new(1, iteration, json!({})), &arrays)
}

fn loaded(checkpoints: &Checkpoints) -> (usize, bool) {
    let loaded = checkpoints.load().unwrap().unwrap();
    let passed_over = loaded.passed_over.is_some();
    (loaded.checkpoint.header.iteration, passed_over)
}

#[test]
fn the_last_one_is_read_and_the_one_before_stays() {
    let folder = TempDir::new().unwrap();
    let checkpoints = Checkpoints::of(folder.path());
    assert!(checkpoints.load().unwrap().is_none());
    for iteration in [10, 20, 30] {
        save(&checkpoints, iteration).unwrap();
        assert_eq!(loaded(&checkpoints), (iteration, false));
    }
    let previous = file::read(&folder.path().join(PREVIOUS)).unwrap();
    assert_eq!(previous.header.iteration, 20);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    // As a program leaves it that is ended between two renames.
    fs::remove_file(folder.path().join(LAST)).unwrap();
    fs::write(folder.path().join(".mspipe-1.tmp"), b"half").unwrap();
    assert_eq!(loaded(&checkpoints), (20, false));
}

#[test]
fn a_damaged_one_is_put_aside() {
    let folder = TempDir::new().unwrap();
    let checkpoints = Checkpoints::of(folder.path());
    save(&checkpoints, 10).unwrap();
    save(&checkpoints, 20).unwrap();
    fs::write(folder.path().join(LAST), b"not what was written").unwrap();
    assert_eq!(loaded(&checkpoints), (10, true));
    // The whole one is not pushed out by the next.
    save(&checkpoints, 30).unwrap();
    assert_eq!(loaded(&checkpoints), (30, false));
    let previous = file::read(&folder.path().join(PREVIOUS)).unwrap();
    assert_eq!(previous.header.iteration, 10);
    let aside = fs::read(folder.path().join(DAMAGED)).unwrap();
    assert_eq!(aside, b"not what was written");
}

#[test]
fn without_a_whole_one_both_are_named() {
    let folder = TempDir::new().unwrap();
    let checkpoints = Checkpoints::of(folder.path());
    save(&checkpoints, 10).unwrap();
    fs::write(folder.path().join(LAST), b"").unwrap();
    let error = checkpoints.load().unwrap_err().to_string();
    assert!(error.ends_with("damaged: it is empty"), "{error}");
    fs::write(folder.path().join(PREVIOUS), b"something else").unwrap();
    let error = checkpoints.load().unwrap_err().to_string();
    assert!(error.starts_with("no checkpoint is intact:\n"), "{error}");
    assert!(
        error.contains("it is empty") && error.contains("something else"),
        "{error}"
    );
    // Nothing is moved that nothing can replace.
    assert!(folder.path().join(LAST).exists());
}

#[test]
fn other_versions_are_not_passed_over() {
    let folder = TempDir::new().unwrap();
    let checkpoints = Checkpoints::of(folder.path());
    save(&checkpoints, 10).unwrap();
    let newer = Header {
        format: 99,
        ..Header::new(1, 20, json!({}))
    };
    checkpoints.save(&newer, &Arrays::default()).unwrap();
    let error = checkpoints.load().unwrap_err().to_string();
    assert!(error.contains("has format 99"), "{error}");
}

#[test]
fn what_cannot_be_written_leaves_the_last_one() {
    let folder = TempDir::new().unwrap();
    let checkpoints = Checkpoints::of(folder.path());
    save(&checkpoints, 10).unwrap();
    // A folder with something in it has the name that the last one is to get.
    fs::create_dir_all(folder.path().join(PREVIOUS).join("mine")).unwrap();
    let error = save(&checkpoints, 20).unwrap_err().to_string();
    assert!(
        error.contains("checkpoint.safetensors: can't be written: "),
        "{error}"
    );
    assert_eq!(loaded(&checkpoints), (10, false));
    let gone = Checkpoints::of(&folder.path().join("gone"));
    assert!(save(&gone, 1).is_err());
}
