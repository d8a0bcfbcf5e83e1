//! A store is what was written, and a source what was converted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use mspipe_datasets::cache::Cache;
use mspipe_datasets::reading::Bipartite;
use mspipe_datasets::{EventLog, import};

use super::bench::{Bench, f32_bytes, npy};

const TGL: &[u8] = b",src,dst,time,ext_roll\n0,0,1,1,0\n1,1,0,2,1\n2,1,2,2,2\n";

/// A folder with all columns that a store can have but names.
fn tgl() -> Bench {
    let rows = |rows: usize| {
        npy(
            "<f4",
            &format!("({rows}, 2)"),
            &f32_bytes(&vec![0.5; 2 * rows]),
        )
    };
    Bench::new(&[
        ("W/edges.csv", TGL),
        (
            "W/labels.csv",
            b",node,time,label\n0,0,1,7\n1,1,2,0\n2,1,2,0\n",
        ),
        ("W/edge_features.npy", &rows(3)),
        ("W/node_features.npy", &rows(3)),
    ])
}

fn files(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Flips a bit of each file in many places, one after another, and counts.
fn flip_everything(bench: &Bench, store: &Path) -> usize {
    let mut flips = 0;
    for path in files(store) {
        let sound = fs::read(&path).unwrap();
        // Each byte of a column, every few of the long texts.
        for at in (0..sound.len()).step_by(sound.len().div_ceil(100)) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            let opened = EventLog::open(store.to_str().unwrap(), &bench.options());
            let file = path.file_name().unwrap();
            let message = opened
                .map(drop)
                .expect_err(&format!("byte {at} of {file:?}"))
                .to_string();
            assert!(message.contains("import the stream again"), "{message}");
            flips += 1;
        }
        fs::write(&path, sound).unwrap();
    }
    EventLog::open(store.to_str().unwrap(), &bench.options()).unwrap();
    flips
}

#[test]
fn a_changed_byte_of_any_file_of_a_store_is_noticed() {
    let (folder, text) = (
        tgl(),
        Bench::new(&[("a.csv", b"time,src,dst,w\n1,a,b,2\n2,b,c,3\n")]),
    );
    let mut flips = 0;
    for (bench, source) in [(folder, "W"), (text, "a.csv")] {
        let (from, store) = (bench.path(source), bench.path("s.mspipe"));
        import(from.to_str().unwrap(), &bench.options(), &store).unwrap();
        flips += flip_everything(&bench, &store);
    }
    assert!(flips > 300, "{flips}");
}

#[test]
fn the_message_names_the_file() {
    let bench = tgl();
    let (from, store) = (bench.path("W"), bench.path("s.mspipe"));
    import(from.to_str().unwrap(), &bench.options(), &store).unwrap();
    fs::write(store.join("edge_features.f32"), [0; 24]).unwrap();
    let message = bench.refusal("s.mspipe");
    assert!(
        message.contains("edge_features.f32: is not as it was written (checksum "),
        "{message}"
    );
    fs::remove_file(store.join("labels.i32")).unwrap();
    assert!(bench.refusal("s.mspipe").contains("labels.i32"));
}

#[test]
fn a_damaged_store_of_the_cache_is_made_anew_and_said() {
    for source in ["a.txt", "synthetic:mooc:scale=0.01"] {
        let bench = Bench::new(&[("a.txt", b"1 2 3\n2 1 5\n")]);
        let open = || match source.starts_with("synthetic") {
            true => EventLog::open(source, &bench.options()).unwrap(),
            false => bench.open(source),
        };
        let first = open();
        let (hash, store) = (
            first.hash().to_owned(),
            first.store().unwrap().to_path_buf(),
        );
        // Of how it was read alone.
        let read = first.notes().to_vec();
        drop(first);
        let mut time = fs::read(store.join("time.i64")).unwrap();
        time[0] ^= 1;
        fs::write(store.join("time.i64"), time).unwrap();
        let again = open();
        assert_eq!((again.hash(), again.store()), (&*hash, Some(&*store)));
        assert!(
            again.notes()[0].contains("time.i64: is not as it was written"),
            "{:?}",
            again.notes()
        );
        drop(again);
        // One of an earlier version has no checksums.
        let meta = fs::read_to_string(store.join("meta.json")).unwrap();
        let old = meta.replace("\"version\": 2", "\"version\": 1");
        assert_ne!(meta, old);
        fs::write(store.join("meta.json"), old).unwrap();
        let again = open();
        let notes = again.notes();
        assert!(
            notes[0].contains("mspipe-store version 1 found")
                && notes[0].ends_with("that was done now)"),
            "{notes:?}"
        );
        assert_eq!(notes[1..], read[..]);
        assert_eq!(open().notes(), read);
    }
}

#[test]
fn another_way_to_read_the_same_file_is_another_conversion() {
    let bench = Bench::new(&[("a.csv", b"src,dst,time\n1,1,3\n2,1,5\n")]);
    let nodes = |bipartite| {
        let mut options = bench.options();
        options.reading.bipartite = bipartite;
        bench.open_with("a.csv", options).unwrap().nodes()
    };
    for _ in 0..2 {
        assert_eq!(nodes(Bipartite::No), 2);
        assert_eq!(nodes(Bipartite::Yes), 3);
    }
    assert_eq!(fs::read_dir(bench.path("cache")).unwrap().count(), 2);
}

#[test]
#[cfg(unix)]
fn another_content_of_the_same_length_and_time_is_another_source() {
    let lines = |time: u32| {
        (0..20_000)
            .map(|i| format!("1 2 {}\n", time + i))
            .collect::<String>()
    };
    let middle = lines(100_000).replace("1 2 110000\n", "2 1 110000\n");
    let bench = Bench::new(&[("a.txt", lines(100_000).as_bytes())]);
    let time = fs::metadata(bench.path("a.txt"))
        .unwrap()
        .modified()
        .unwrap();
    let hash = bench.open("a.txt").hash().to_owned();
    // At the beginning; in the middle, where only the file system's own time tells.
    for text in [lines(100_001), middle] {
        assert_eq!(text.len(), lines(100_000).len());
        fs::write(bench.path("a.txt"), text).unwrap();
        File::options()
            .write(true)
            .open(bench.path("a.txt"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_ne!(bench.open("a.txt").hash(), hash);
    }
}

#[test]
fn names_of_any_length_are_converted() {
    let name = "n".repeat(240);
    let bench = Bench::new(&[(&name, b"1 2 3\n")]);
    assert_eq!(bench.open(&name).events(), 1);
    // A target that can't be is refused before the file is looked at.
    let to = bench.path(&"t".repeat(300));
    let wrong = bench.path("wrong.txt");
    fs::write(&wrong, "1 2\n").unwrap();
    let options = mspipe_datasets::OpenOptions {
        format: Some("snap".parse().unwrap()),
        ..bench.options()
    };
    let message = import(wrong.to_str().unwrap(), &options, &to)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("cannot create a folder of the name"),
        "{message}"
    );
    assert!(
        message.contains("choose a shorter name") || cfg!(windows),
        "{message}"
    );
}

#[test]
fn the_cache_is_listed_and_cleared_and_nothing_else() {
    let bench = Bench::new(&[
        ("a.txt", b"1 2 3\n"),
        ("b.txt", b"1 2 3\n"),
        ("cache/data/wikipedia/wikipedia.csv", b"kept"),
        ("cache/mine.mspipe/letter.txt", b"kept"),
        (
            "cache/.importing-killed/owner.lock",
            b"mspipe works in this folder while it holds a lock on this file\n",
        ),
    ]);
    let cache = Cache::list(&bench.path("cache"));
    assert_eq!((cache.stores.len(), cache.unfinished.len()), (0, 1));
    assert!(cache.unfinished[0].left_behind);
    // The next start sweeps, and says so.
    let log = bench.open("a.txt");
    assert!(
        log.notes()[0].starts_with("removed what interrupted conversions had left"),
        "{:?}",
        log.notes()
    );
    drop(log);
    bench.open("b.txt");
    let cache = Cache::list(&bench.path("cache"));
    assert_eq!((cache.stores.len(), cache.unfinished.len()), (2, 0));
    assert_eq!(cache.stores[0].events, Some(1));
    assert!(cache.stores[0].name.starts_with("a-") && cache.bytes() > 100);
    let unknown = cache.clear(&["data".to_owned()]).unwrap_err().to_string();
    assert!(unknown.contains("has no store of that name"), "{unknown}");
    let removed = cache.clear(&[cache.stores[1].name.clone()]).unwrap();
    assert_eq!(removed.stores, cache.stores[1..]);
    let left = Cache::list(&bench.path("cache"));
    assert_eq!(left.stores, cache.stores[..1]);
    left.clear(&[]).unwrap();
    assert_eq!(
        files(&bench.path("cache")),
        [bench.path("cache/data"), bench.path("cache/mine.mspipe")]
    );
    assert!(bench.path("cache/mine.mspipe/letter.txt").exists());
}
