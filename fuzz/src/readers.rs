//! What is fuzzed of the data sets' crate: each function makes files of the bytes that it is
//! given, opens them as a user would, and uses what came out.
//!
//! An error is a good answer to any bytes. A panic, an overflow, memory that does not depend on
//! the size of the files, and a store left behind by a failed conversion are not.
//!
//! The fuzz targets and a test of the gate (`datasets/tests/fuzz.rs`) share this file.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use mspipe_datasets::candidates::read_candidates;
use mspipe_datasets::info::Info;
use mspipe_datasets::{EventLog, EventLogParts, Format, OpenOptions, check};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Something that is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Tries one input.
    pub run: fn(&[u8]),
}

/// Every target of this file.
pub const TARGETS: [Target; 10] = [
    Target {
        name: "events",
        run: events,
    },
    Target {
        name: "schema",
        run: schema,
    },
    Target {
        name: "packed",
        run: packed,
    },
    Target {
        name: "folder",
        run: folder,
    },
    Target {
        name: "array",
        run: array,
    },
    Target {
        name: "archive",
        run: archive,
    },
    Target {
        name: "pickle",
        run: pickle,
    },
    Target {
        name: "candidates",
        run: candidates,
    },
    Target {
        name: "parquet",
        run: parquet,
    },
    Target {
        name: "store",
        run: store,
    },
];

/// Ends a file's name, and a file, in the input of [`folder`] and [`store`].
pub const SEPARATOR: &[u8] = b"\n====\n";

/// A file of events, as text. The first byte chooses `--format` and `--sort`.
pub fn events(data: &[u8]) {
    let Some((&choice, content)) = data.split_first() else {
        return;
    };
    let formats = Format::ALL.map(Some);
    let bench = Bench::new(&[("events", content)]);
    let options = OpenOptions {
        format: formats.get(usize::from(choice >> 1)).copied().flatten(),
        sort: choice & 1 == 1,
        ..bench.options()
    };
    bench.try_out("events", &options);
}

/// A table and how it is read: one byte of choices, `--columns` up to the first line break, then
/// the text.
pub fn schema(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    let (columns, content) = match rest.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (&b""[..], rest),
    };
    let word = |at: u8, words: [&'static str; 4]| words[usize::from(choice >> at & 3)];
    let bench = Bench::new(&[("events", content)]);
    let mut options = bench.options();
    let columns = String::from_utf8_lossy(columns).parse();
    let reading = &mut options.reading;
    reading.columns = columns.unwrap_or_default();
    reading.ids = word(0, ["auto", "number", "text", "auto"])
        .parse()
        .unwrap_or_default();
    reading.missing = word(2, ["error", "zero", "mean", "error"])
        .parse()
        .unwrap_or_default();
    reading.time_unit = word(4, ["auto", "ms", "ns", "us"])
        .parse()
        .unwrap_or_default();
    reading.bipartite = word(6, ["auto", "yes", "no", "auto"])
        .parse()
        .unwrap_or_default();
    reading.no_header = choice == 0xff;
    bench.try_out("events", &options);
}

/// A file of events that says itself what it is: gzip, zip, Parquet, or anything else.
pub fn packed(data: &[u8]) {
    let bench = Bench::new(&[("events", data)]);
    bench.try_out("events", &bench.options());
}

/// A folder: names and contents, separated by [`SEPARATOR`].
pub fn folder(data: &[u8]) {
    let bench = Bench::new(&[]);
    let mut parts = split(data).into_iter();
    while let (Some(name), Some(content)) = (parts.next(), parts.next()) {
        if let Some(name) = plain_name(name) {
            bench.write(&format!("folder/{name}"), content);
        }
    }
    if bench.folder.path().join("folder").is_dir() {
        bench.try_out("folder", &bench.options());
    }
}

/// Edge features of three events, in a file that says itself what it is.
pub fn array(data: &[u8]) {
    let bench = Bench::new(&[("events.txt", b"0 1 1\n1 2 2\n0 2 3\n"), ("rows", data)]);
    for edge in [true, false] {
        let rows = Some(bench.folder.path().join("rows"));
        let mut options = bench.options();
        *(if edge {
            &mut options.edge_features
        } else {
            &mut options.node_features
        }) = rows;
        bench.try_out("events.txt", &options);
    }
}

/// The only array of an `.npz` archive whose own structure is sound. The first byte says whether
/// it is compressed.
pub fn archive(data: &[u8]) {
    let Some((&choice, content)) = data.split_first() else {
        return;
    };
    let method = match choice & 1 {
        0 => CompressionMethod::Stored,
        _ => CompressionMethod::Deflated,
    };
    array(&zip(&[("rows.npy", content)], method));
}

/// The description of a PyTorch tensor, in an archive that is sound.
pub fn pickle(data: &[u8]) {
    array(&zip(
        &[("x/data.pkl", data), ("x/data/0", &[1; 48])],
        CompressionMethod::Stored,
    ));
}

/// A file of recorded candidates: TGB's pickles, texts and arrays.
pub fn candidates(data: &[u8]) {
    let bench = Bench::new(&[("candidates", data)]);
    let log = EventLog::from_parts(EventLogParts {
        nodes: 6,
        src: vec![0, 1],
        dst: vec![4, 5],
        time: vec![3, 3],
        ..EventLogParts::default()
    })
    .expect("a sound stream");
    match read_candidates(&bench.folder.path().join("candidates"), &log) {
        Ok(lists) => {
            let values: usize = lists.iter().map(|(_, nodes)| nodes.len()).sum();
            assert!(
                values <= 64 * (data.len() + 1),
                "more than the file explains"
            );
            for (event, nodes) in lists {
                assert!(event < log.events() && nodes.iter().all(|&node| node < 6));
            }
        }
        Err(error) => assert!(
            error.to_string().len() < 4000,
            "a message nobody reads: {error}"
        ),
    }
}

/// A Parquet file: as [`packed`], but nothing else is tried.
pub fn parquet(data: &[u8]) {
    if data.starts_with(b"PAR1") {
        packed(data);
    }
}

/// A converted store, some of whose files are replaced: names and contents, separated by
/// [`SEPARATOR`].
pub fn store(data: &[u8]) {
    let bench = Bench::new(&[(
        "events",
        b"time,src,dst,w,x\n1,a,b,1,2\n2.5,b,c,3,4\n2.5,a,c,5,6\n",
    )]);
    let source = bench.folder.path().join("events");
    let to = bench.folder.path().join("store.mspipe");
    let imported = mspipe_datasets::import(&source.to_string_lossy(), &bench.options(), &to);
    assert!(imported.is_ok(), "a sound file was refused: {imported:?}");
    let mut parts = split(data).into_iter();
    while let (Some(name), Some(content)) = (parts.next(), parts.next()) {
        if let Some(name) = plain_name(name) {
            bench.write(&format!("store.mspipe/{name}"), content);
        }
    }
    bench.try_out("store.mspipe", &bench.options());
}

/// The parts between separators.
fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < data.len() {
        if data[at..].starts_with(SEPARATOR) {
            parts.push(&data[start..at]);
            at += SEPARATOR.len();
            start = at;
        } else {
            at += 1;
        }
    }
    parts.push(&data[start..]);
    parts
}

/// A name that stays in its folder.
fn plain_name(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (!name.is_empty() && name.len() < 60 && !name.starts_with('.') && name.chars().all(plain))
        .then_some(name)
}

/// A zip archive.
pub fn zip(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in files {
        writer
            .start_file(*name, options)
            .and_then(|()| Ok(writer.write_all(content)?))
            .expect("in memory, under a plain name");
    }
    writer.finish().expect("in memory").into_inner()
}

/// A folder of files, with a cache of its own.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(files: &[(&str, &[u8])]) -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bench = Bench { folder };
        for (name, content) in files {
            bench.write(name, content);
        }
        bench
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.folder.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder");
        }
        fs::write(path, content).expect("a file");
    }

    fn options(&self) -> OpenOptions {
        OpenOptions {
            cache_dir: Some(self.folder.path().join("cache")),
            data_dir: Some(self.folder.path().join("data")),
            ..OpenOptions::default()
        }
    }

    /// Opens and checks a source, and uses what came out.
    fn try_out(&self, name: &str, options: &OpenOptions) {
        let path = self.folder.path().join(name);
        let source = path.to_string_lossy();
        match EventLog::open(&source, options) {
            Ok(log) => use_log(&log),
            Err(error) => assert!(
                error.to_string().len() < 4000,
                "a message nobody reads: {error}"
            ),
        }
        let _ = check(&source, options);
        self.nothing_half_made();
    }

    /// The cache holds finished stores and nothing else.
    fn nothing_half_made(&self) {
        let cache = self.folder.path().join("cache");
        for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
            let path = entry.path();
            assert!(is_store(&path), "left behind: {}", path.display());
        }
    }
}

fn is_store(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "mspipe") && path.join("meta.json").is_file()
}

/// Reads everything that a run reads.
fn use_log(log: &EventLog) {
    let nodes = log.nodes();
    assert!(
        log.src()
            .iter()
            .chain(log.dst())
            .all(|&id| (id as usize) < nodes)
    );
    assert!(log.time().is_sorted());
    assert_eq!(log.src().len(), log.events());
    let split = log.split();
    assert_eq!((split.train.start, split.test.end), (0, log.events()));
    let info = Info::of(log);
    assert!(!info.time_in_units(info.first_time).is_empty());
    for (table, rows) in [
        (log.edge_features(), log.events()),
        (log.node_features(), nodes),
    ] {
        let Some(table) = table else { continue };
        let ids: Vec<u32> = (0..rows.min(40) as u32).collect();
        let mut out = vec![0.0; ids.len() * table.width()];
        table.gather_into(&ids, &mut out);
        assert_eq!(table.rows(), rows);
    }
    let _ = log.names();
}
