//! From small files, written here, to event logs: every format, option and refusal.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

#[path = "import/arrays.rs"]
mod arrays;
#[path = "import/bench.rs"]
mod bench;
#[path = "import/bombs.rs"]
mod bombs;
#[path = "import/export.rs"]
mod export;
#[path = "import/gdelt.rs"]
mod gdelt;
#[path = "import/identity.rs"]
mod identity;
#[path = "import/in_memory.rs"]
mod in_memory;
#[path = "import/packed.rs"]
mod packed;
#[path = "import/parquet_files.rs"]
mod parquet_files;
#[path = "import/parquet_types.rs"]
mod parquet_types;
#[cfg(unix)]
#[path = "import/pipes.rs"]
mod pipes;
#[path = "import/schema.rs"]
mod schema;
#[path = "import/tables.rs"]
mod tables;
#[path = "import/torch.rs"]
mod torch;
#[path = "import/values.rs"]
mod values;

use std::fs;
use std::path::Path;

use bench::{Bench, f32_bytes, npy, rows};
use mspipe_datasets::{EventLog, FeatureType, IdSpaces, OpenOptions, Split, check, import};

const JODIE: &[u8] = b"user_id,item_id,timestamp,state_label,comma_separated_list_of_features
7,3,0.0,0,0.5,-1
2,3,36.5,1,1.5,2e-3

7,9,36.50,0,0,0
";

#[test]
fn jodie_two_id_spaces_features_labels_exact_times() {
    let bench = Bench::new(&[("a.csv", JODIE)]);
    let log = bench.open("a.csv");
    assert_eq!((log.name(), log.events(), log.nodes()), ("a", 3, 4));
    // users 2, 7 are 0, 1; items 3, 9 are 2, 3
    assert_eq!((log.src(), log.dst()), (&[1, 0, 1][..], &[2, 2, 3][..]));
    assert_eq!(log.original_ids(), Some(&[2, 7, 3, 9][..]));
    assert_eq!(log.id_spaces(), IdSpaces::Two { sources: 2 });
    assert_eq!((log.time(), log.ticks_per_unit()), (&[0, 365, 365][..], 10));
    assert_eq!(log.labels(), Some(&[0, 1, 0][..]));
    assert_eq!(rows(&log), [0.5, -1.0, 1.5, 0.002, 0.0, 0.0]);
    assert!(log.bipartite());
}

#[test]
fn jodie_without_header_needs_the_format() {
    let bench = Bench::new(&[("a.csv", b"0,0,0,0,1\n1,0,5,0,2\n")]);
    assert!(bench.refusal("a.csv").contains("--format jodie"));
    let options = OpenOptions {
        format: Some("jodie".parse().unwrap()),
        ..bench.options()
    };
    assert_eq!(bench.open_with("a.csv", options).unwrap().events(), 2);
}

#[test]
fn snap_comments_one_id_space_windows_lines() {
    let bench = Bench::new(&[(
        "a.txt",
        b"# src dst time\r\n5 70 10\r\n\r\n70\t5  12\r\n2 5 12",
    )]);
    let log = bench.open("a.txt");
    assert_eq!(
        (log.src(), log.dst(), log.time()),
        (&[1, 2, 0][..], &[2, 1, 1][..], &[10, 12, 12][..])
    );
    assert_eq!(log.original_ids(), Some(&[2, 5, 70][..]));
    assert!(!log.bipartite() && log.labels().is_none());
}

#[test]
fn tgl_folder_with_everything() {
    let edges = b",src,dst,time,int_roll,ext_roll\n0,0,2,0.0,0,0\n1,1,2,5.0,0,1\n2,0,3,5.0,0,2\n";
    let labels = b",node,time,label,ext_roll\n0,0,0.0,0,0\n1,1,5.0,1,1\n2,0,5.0,0.0,2\n";
    let bench = Bench::new(&[
        ("W/edges.csv", edges),
        ("W/labels.csv", labels),
        (
            "W/edge_features.npy",
            &npy("|b1", "(3, 2)", &[1, 0, 0, 0, 1, 1]),
        ),
        (
            "W/node_features.npy",
            &npy("<f4", "(6, 1)", &f32_bytes(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
        ),
    ]);
    let log = bench.open("W");
    assert_eq!(log.roll(), Some(&[0, 1, 2][..]));
    assert_eq!(
        log.split(),
        Split {
            train: 0..1,
            val: 1..2,
            test: 2..3
        }
    );
    assert_eq!(log.labels(), Some(&[0, 1, 0][..]));
    assert_eq!(
        log.edge_features().map(|f| f.feature_type()),
        Some(FeatureType::Bits)
    );
    assert_eq!(rows(&log), [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    // Node features: ids are their row numbers, and nodes 4 and 5 have no events.
    assert_eq!(
        (log.nodes(), log.dst(), log.original_ids()),
        (6, &[2, 2, 3][..], None)
    );
}

#[test]
fn tgl_labels_that_are_not_of_the_events_are_left_out_and_said() {
    let edges = b"src,dst,time\n0,1,0\n1,0,1\n";
    let bench = Bench::new(&[
        ("W/edges.csv", edges),
        ("W/labels.csv", b",node,time,label\n0,1,0,3\n"),
    ]);
    let report = import(
        bench.path("W").to_str().unwrap(),
        &bench.options(),
        &bench.path("w.mspipe"),
    )
    .unwrap();
    assert_eq!(report.info.positive_labels, None);
    assert!(
        report.notes[0].contains("labels.csv was left out: its line 2 is about node 1 at time 0"),
        "{:?}",
        report.notes
    );
}

#[test]
fn sorting_is_stable_and_takes_labels_and_features_along() {
    let text =
        b"user_id,item_id,timestamp,state_label,f\n0,0,5,0,1\n1,0,2,1,2\n2,0,5,0,3\n3,0,2,0,4\n";
    let bench = Bench::new(&[
        ("a.csv", text),
        (
            "f.npy",
            &npy("<f4", "(4,)", &f32_bytes(&[10.0, 20.0, 30.0, 40.0])),
        ),
    ]);
    assert_eq!(
        bench.refusal("a.csv"),
        "a.csv:3: time 2 precedes 5 (line 2); events must be sorted by time; sort the file, or import it with \
         `mspipe data import --sort` (stable, features follow their events)"
    );
    let sort = OpenOptions {
        sort: true,
        ..bench.options()
    };
    let log = bench.open_with("a.csv", sort.clone()).unwrap();
    assert_eq!(
        (log.src(), log.time()),
        (&[1, 3, 0, 2][..], &[2, 2, 5, 5][..])
    );
    assert_eq!(
        (rows(&log), log.labels()),
        (vec![2.0, 4.0, 1.0, 3.0], Some(&[1, 0, 0, 0][..]))
    );
    let separate = OpenOptions {
        edge_features: Some(bench.path("f.npy")),
        ..sort
    };
    assert_eq!(
        rows(&bench.open_with("a.csv", separate).unwrap()),
        [20.0, 40.0, 10.0, 30.0]
    );
}

#[test]
fn malformed_lines_are_named() {
    let head =
        "user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n0,0,0,0,1,2\n";
    for (line, message) in [
        (
            "1,0,3",
            "a.csv:3: 3 fields; expected 6, as in the first event",
        ),
        (
            ",0,3,0,1,2",
            "a.csv:3: the source is ``; expected the name of a node",
        ),
        (
            "1,0,soon,0,1,2",
            "a.csv:3: time is `soon`; expected a decimal number",
        ),
        ("1,0,0.12345678901,0,1,2", "expected at most nine decimals"),
        (
            "1,0,99999999999999999999,0,1,2",
            "expected a time that fits 64 bits",
        ),
        (
            "1,0,3,0,1",
            "a.csv:3: 5 fields; expected 6, as in the first event; a cut-off line",
        ),
        ("1,0,3,0,1,?", "column 6 is `?`; expected a number"),
        (
            "1,0,3,0,1,nan",
            "a.csv:3: column 6 is NaN; expected a finite number; --missing zero",
        ),
        ("1,0,3,0,1,1e39", "column 6 is inf"),
        ("\n\n1,0,3,0,inf,1", "a.csv:5: column 5 is inf"),
    ] {
        let bench = Bench::new(&[("a.csv", format!("{head}{line}\n").as_bytes())]);
        let found = bench.refusal("a.csv");
        assert!(found.contains(message), "{line}: {found}");
    }
}

#[test]
fn refusals_of_whole_files() {
    let bench = Bench::new(&[
        ("few.txt", b"1 2 3\n1 2\n"),
        (
            "overflow.txt",
            b"1 2 0.000000001\n1 2 9223372036854775807\n",
        ),
        ("late.txt", b"1 2 0\n1 2 4611686018427387904\n"),
        ("head.csv", b"src,dst,time\n"),
        ("roll.csv", b"src,dst,time,ext_roll\n0,1,0,0\n0,1,1,3\n"),
        ("order.csv", b"src,dst,time,ext_roll\n0,1,0,1\n0,1,1,0\n"),
        ("T/edges.csv", b"src,dst,time\n0,1,0\n"),
        ("T/edge_features.pt", b"PK"),
        ("empty/x", b""),
    ]);
    let refused = |name: &str, words: &str| {
        let message = bench.refusal(name);
        assert!(message.contains(words), "{name}: {message}");
    };
    refused(
        "few.txt",
        "few.txt:2: 2 fields; expected 3, as in the first event",
    );
    refused(
        "overflow.txt",
        "is too large beside the finest time, which has 9 decimals",
    );
    refused("late.txt", "times may be from -4611686018427387903 to");
    refused("head.csv", "it holds no events");
    refused(
        "roll.csv",
        "roll.csv:3: `ext_roll` is `3`; expected 0 (train), 1 (validation) or 2 (test)",
    );
    refused("order.csv", "roll falls from 1 to 0 at event 1");
    refused(
        "T",
        "edge_features.pt: ends inside its header after 2 bytes",
    );
    refused(
        "empty",
        "neither meta.json (a store of mspipe) nor edges.csv",
    );
    refused("missing.csv", "there is no such file or folder");
}

#[test]
fn features_of_another_file() {
    let bench = Bench::new(&[
        ("ok.csv", b",src,dst,time\n0,0,1,0\n1,1,0,1\n"),
        ("gap.csv", b",src,dst,time\n0,0,1,0\n7,1,0,1\n"),
        ("one.npy", &npy("<f4", "(1, 1)", &f32_bytes(&[1.0]))),
        (
            "nan.npy",
            &npy("<f4", "(2, 1)", &f32_bytes(&[1.0, f32::NAN])),
        ),
        ("two.npy", &npy("<f4", "(2, 1)", &f32_bytes(&[1.0, 2.0]))),
    ]);
    let with = |file: &str, name: &str| {
        bench.refusal_with(
            name,
            OpenOptions {
                edge_features: Some(bench.path(file)),
                ..bench.options()
            },
        )
    };
    assert!(
        with("one.npy", "ok.csv")
            .contains("one.npy: 1 rows found, 2 expected, one for each event of")
    );
    assert!(with("nan.npy", "ok.csv").contains("nan.npy: row 1, column 0 is not finite"));
    assert!(with("two.npy", "gap.csv").contains("gap.csv:3: event number 7; expected 1"));
    let nodes = OpenOptions {
        node_features: Some(bench.path("one.npy")),
        ..bench.options()
    };
    assert!(
        bench
            .refusal_with("ok.csv", nodes)
            .contains("ok.csv:2: node 1; expected an id below 1")
    );
}

#[test]
fn names_that_lead_nowhere_are_answered() {
    let bench = Bench::new(&[]);
    let refusal = |spec: &str| {
        EventLog::open(spec, &bench.options())
            .unwrap_err()
            .to_string()
    };
    assert!(
        refusal("wikipdia").contains("did you mean wikipedia"),
        "{}",
        refusal("wikipdia")
    );
    let missing = refusal("wikipedia");
    let place = Path::new("wikipedia").join("wikipedia.csv");
    assert!(
        missing.contains(&place.display().to_string())
            && missing.contains("mspipe data fetch wikipedia"),
        "{missing}"
    );
    assert!(missing.contains("synthetic:wikipedia"));
    assert!(refusal("synthetic:wiki").contains("known are wikipedia, reddit, mooc, lastfm, gdelt"));
    assert!(refusal("synthetic:mooc:scale=0").contains("a number above 0 expected"));
    assert!(refusal("synthetic:mooc:size=2").contains("`size=2` is not known"));
    let sort = OpenOptions {
        sort: true,
        ..bench.options()
    };
    let message = EventLog::open("synthetic:mooc", &sort)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("--sort applies to files of events"),
        "{message}"
    );
}

#[test]
fn a_changed_file_is_converted_again() {
    let bench = Bench::new(&[("a.txt", b"1 2 3\n")]);
    assert_eq!(bench.open("a.txt").events(), 1);
    fs::write(bench.path("a.txt"), b"1 2 3\n1 2 4\n").unwrap();
    assert_eq!(bench.open("a.txt").events(), 2);
}

#[test]
fn import_does_not_replace_and_stores_open_by_path() {
    let bench = Bench::new(&[("a.csv", JODIE)]);
    let source = bench.path("a.csv");
    let to = bench.path("out/a.mspipe");
    let report = import(source.to_str().unwrap(), &bench.options(), &to).unwrap();
    assert_eq!((report.info.events, report.notes.len()), (3, 0));
    let log = bench.open("out/a.mspipe");
    assert_eq!(log.hash(), bench.open("a.csv").hash());
    assert_eq!(log.store(), Some(to.as_path()));
    let again = import(source.to_str().unwrap(), &bench.options(), &to)
        .unwrap_err()
        .to_string();
    assert!(again.contains("already exists"), "{again}");
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 1);
}

#[test]
fn check_counts_defects() {
    let text = b"user_id,item_id,timestamp,state_label,f\n0,0,5,0,1,7\n9,0,2,1,nan,7\n9,0,5,0,1,7\n9,0,5,0,1,7\n";
    let bench = Bench::new(&[
        ("a.csv", text),
        ("loop.txt", b"3 3 1\n3 4 2\n3 4 2\n3 5 2\n4 5 2\n5 5 2\n"),
    ]);
    let found = |name: &str| {
        let findings = check(bench.path(name).to_str().unwrap(), &bench.options()).unwrap();
        assert_eq!(
            fs::read_dir(bench.path("cache")).unwrap().count(),
            0,
            "check left something behind"
        );
        findings
            .into_iter()
            .map(|f| (f.code, f.count))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found("a.csv"),
        [
            ("unsorted-times", 1),
            ("non-finite-features", 1),
            ("duplicate-events", 1),
            ("constant-feature-columns", 1),
            ("columns", 1),
            ("ties-across-split", 3),
            ("id-gaps", 8),
        ]
    );
    assert_eq!(
        found("loop.txt"),
        [
            ("duplicate-events", 1),
            ("columns", 1),
            ("import-note", 1),
            ("self-loops", 2),
            ("ties-across-split", 5),
            ("ties-across-split", 5),
            ("no-edge-features", 1)
        ]
    );
}
