//! The readers on real files: `MSPIPE_DATA_DIR`, else `shared/data` beside the workspace.
//!
//! The files are not part of the project; without them each test prints why it
//! did not run.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

use std::io::Write;
use std::path::{Path, PathBuf};

use mspipe_datasets::{
    EventLog, FeatureInfo, IdSpaces, Info, OpenOptions, Severity, check, import,
};

/// The file, or None with a line that says why.
fn real_file(relative: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("MSPIPE_DATA_DIR")
        .map_or_else(|| PathBuf::from("../../shared/data"), PathBuf::from);
    let path = folder.join(relative);
    if path.is_file() {
        return Some(path);
    }
    let line = format!(
        "not run: {} is missing; set MSPIPE_DATA_DIR to the folder with the real data\n",
        path.display()
    );
    // Written to the stream itself: what goes through eprintln is shown only when a test fails.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

fn in_cache(cache: &Path) -> OpenOptions {
    OpenOptions {
        cache_dir: Some(cache.to_path_buf()),
        ..OpenOptions::default()
    }
}

#[test]
fn wikipedia_has_the_published_counts() {
    let Some(path) = real_file("wikipedia/wikipedia.csv") else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let options = in_cache(cache.path());
    let log = EventLog::open(path.to_str().unwrap(), &options).unwrap();
    let info = Info::of(&log);
    assert_eq!(
        (info.events, info.nodes, info.sources, info.destinations),
        (157_474, 9_227, 8_227, 1_000)
    );
    assert_eq!(
        (info.first_time, info.last_time, info.ticks_per_unit),
        (0, 2_678_373, 1)
    );
    assert_eq!(info.positive_labels, Some(217));
    assert_eq!(
        (info.split.train, info.split.val, info.split.test),
        (110_232, 23_621, 23_621)
    );
    assert!(log.bipartite() && !log.synthetic());
    assert_eq!(log.id_spaces(), IdSpaces::Two { sources: 8_227 });
    // The file's ids are dense already: users keep theirs, items follow.
    assert_eq!(
        (&log.src()[..4], &log.dst()[..4]),
        (&[0, 1, 1, 2][..], &[8227, 8228, 8228, 8229][..])
    );
    assert!(
        (info.repeat_ratio - 0.884).abs() < 0.001,
        "{}",
        info.repeat_ratio
    );
    // This copy carries one zero in place of the 172 features.
    assert!(
        info.edge_features
            .is_some_and(|f| f.width == 1 && f.all_zero)
    );

    // The second opening is a map of the same store.
    let stores = || std::fs::read_dir(cache.path()).unwrap().count();
    assert_eq!(stores(), 1);
    let again = EventLog::open(path.to_str().unwrap(), &options).unwrap();
    assert_eq!(
        (again.hash(), again.store(), stores()),
        (log.hash(), log.store(), 1)
    );
}

#[test]
fn wikipedia_by_name() {
    let Some(path) = real_file("wikipedia/wikipedia.csv") else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let data = path.ancestors().nth(2).unwrap();
    let options = OpenOptions {
        data_dir: Some(data.to_path_buf()),
        ..in_cache(cache.path())
    };
    let log = EventLog::open("wikipedia", &options).unwrap();
    assert_eq!((log.name(), log.events()), ("wikipedia", 157_474));

    let findings = check("wikipedia", &options).unwrap();
    // This copy has no features: nothing else differs from what is known of the set.
    let code = |code: &str| findings.iter().find(|f| f.code == code);
    assert!(
        findings.iter().all(|f| f.severity != Severity::Error),
        "{findings:?}"
    );
    let without = code("without-features").unwrap();
    assert!(
        without
            .message
            .contains("without the data set's 172 features per event")
    );
    assert!(
        findings.iter().any(|f| f.code == "zero-features"),
        "{findings:?}"
    );
}

#[test]
fn college_messages_are_one_node_set() {
    let Some(path) = real_file("collegemsg/CollegeMsg.txt") else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let log = EventLog::open(path.to_str().unwrap(), &in_cache(cache.path())).unwrap();
    assert_eq!(
        (log.events(), log.nodes(), log.bipartite()),
        (59_835, 1_899, false)
    );
    assert_eq!(log.time()[0], 1_082_040_961);
    assert_eq!(log.original_ids().unwrap()[..3], [1, 2, 3]);
    assert!(log.edge_features().is_none() && log.labels().is_none());
}

#[test]
fn heads_of_other_real_files() {
    let Some(lastfm) = real_file("format-samples/jodie_lastfm_head.csv") else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let options = in_cache(cache.path());
    let log = EventLog::open(lastfm.to_str().unwrap(), &options).unwrap();
    // Two feature fields under one name of the header.
    assert_eq!(
        (log.events(), log.edge_features().map(|f| f.width())),
        (39, Some(2))
    );

    let tglite = lastfm.with_file_name("tglite_wiki_edges_head.csv");
    let log = EventLog::open(tglite.to_str().unwrap(), &options).unwrap();
    assert_eq!(
        (log.events(), log.ticks_per_unit(), log.time()[1]),
        (100, 1, 36)
    );

    let mooc = lastfm.with_file_name("ml_mooc_head.csv");
    let log = EventLog::open(mooc.to_str().unwrap(), &options).unwrap();
    assert_eq!(
        (log.events(), log.labels().map(<[i32]>::len)),
        (30, Some(30))
    );
    assert_eq!(log.original_ids().unwrap()[..2], [1, 2]);
}

/// Both raw files as one stream; the counts are those of
/// `awk -F'\t' '$6 != "" && $16 != ""'` and its like over the two files.
#[test]
fn raw_gdelt_files_are_one_stream() {
    let Some(path) = real_file("gdelt-raw/20180326044500.export.CSV") else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let to = cache.path().join("gdelt.mspipe");
    let folder = path.parent().unwrap();
    let report = import(folder.to_str().unwrap(), &in_cache(cache.path()), &to).unwrap();
    let log = EventLog::open(to.to_str().unwrap(), &in_cache(cache.path())).unwrap();
    let names = log.names().unwrap();
    assert_eq!((log.events(), log.nodes()), (2_311, 352));
    assert_eq!(log.edge_features().map(|t| t.width()), Some(139));
    assert_eq!(log.node_features().map(|t| t.width()), Some(160));
    assert_eq!(names.nodes.map(|names| names.len()), Some(352));
    // 139 bits take 18 bytes per row, 160 take 20; what is predicted is what lies on the disk.
    let info = &report.info;
    let sizes = |f: &Option<FeatureInfo>| f.as_ref().map(|f| (f.bytes, f.bytes_as_f32));
    assert_eq!(
        sizes(&info.edge_features),
        Some((2_311 * 18, 2_311 * 139 * 4))
    );
    assert_eq!(sizes(&info.node_features), Some((352 * 20, 352 * 160 * 4)));
    let files = std::fs::read_dir(&to)
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len());
    assert_eq!(info.store_bytes, Some(files.sum()));
    // 2018-03-26 04:45 and 2019-10-24 14:30
    assert_eq!(
        (log.time()[0], log.time()[2_310]),
        (1_522_039_500, 1_571_927_400)
    );
    assert_eq!(log.time().partition_point(|&t| t < 1_571_927_400), 905);
    assert_eq!(
        report.notes,
        [
            "3651 rows of 2 GDELT files read, 1340 dropped because an interaction needs two actors: \
             339 have no first actor (Actor1Code is empty), 1001 no second (Actor2Code), 0 neither"
        ]
    );
}
