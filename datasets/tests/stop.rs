//! Conversions that are asked to stop: they end, and nothing of them is left.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use mspipe_datasets::{DataError, EventLog, OpenOptions, Stop, Stopped, check, import};
use tempfile::TempDir;

const JODIE: &str = "user_id,item_id,timestamp,state_label,comma_separated_list_of_features
7,3,0.0,0,0.5,-1
2,3,36.5,1,1.5,2e-3
";

/// One row of a raw GDELT file: 61 columns.
fn gdelt_row() -> String {
    let mut fields = vec![""; 61];
    (fields[5], fields[15], fields[26], fields[59]) = ("USA", "FRA", "010", "20180326044500");
    fields.join("\t") + "\n"
}

fn options(folder: &Path, stop: &Stop) -> OpenOptions {
    OpenOptions {
        cache_dir: Some(folder.join("cache")),
        data_dir: Some(folder.join("data")),
        stop: stop.clone(),
        ..OpenOptions::default()
    }
}

/// Names in the cache, hidden ones too.
fn left_in_cache(folder: &Path) -> Vec<String> {
    fs::read_dir(folder.join("cache")).map_or(Vec::new(), |entries| {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    })
}

fn is_stopped<T: std::fmt::Debug>(result: Result<T, DataError>) -> bool {
    matches!(result, Err(DataError::Stopped(Stopped)))
}

#[test]
fn every_way_to_convert_heeds_a_stop_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("jodie.csv"), JODIE).unwrap();
    fs::write(path("snap.txt"), "1 2 3\n2 3 4\n").unwrap();
    fs::create_dir(path("gdelt")).unwrap();
    fs::write(path("gdelt/20180326044500.export.CSV"), gdelt_row()).unwrap();
    let stop = Stop::default();
    stop.request();
    let options = options(folder.path(), &stop);
    let sources = ["jodie.csv", "snap.txt", "gdelt"].map(|name| path(name).display().to_string());
    for source in sources
        .into_iter()
        .chain(["synthetic:mooc:scale=0.01".to_owned()])
    {
        assert!(is_stopped(EventLog::open(&source, &options)), "{source}");
        assert!(is_stopped(check(&source, &options)), "{source}");
        let to = path("cache/imported.mspipe");
        assert!(is_stopped(import(&source, &options, &to)), "{source}");
        assert_eq!(left_in_cache(folder.path()), [""; 0], "{source}");
    }
    assert!(!stop.has_unfinished());
}

#[test]
fn a_stop_in_the_middle_ends_a_long_generation() {
    let folder = TempDir::new().unwrap();
    let stop = Stop::default();
    let options = options(folder.path(), &stop);
    let result = thread::scope(|scope| {
        // 157,474 rows of 172 features: a second or so.
        let generating = scope.spawn(|| EventLog::open("synthetic:wikipedia", &options));
        while left_in_cache(folder.path()).is_empty() && !generating.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(stop.has_unfinished() || generating.is_finished());
        stop.request();
        generating.join().unwrap()
    });
    assert!(is_stopped(result));
    assert_eq!(left_in_cache(folder.path()), [""; 0]);
}
