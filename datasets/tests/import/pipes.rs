//! Sources that give their bytes only once: pipes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use mspipe_datasets::{EventLog, OpenOptions, Stop, check, import};

use super::bench::{Bench, deflated, f32_bytes, gz, npy, stored};
use super::torch::Tensor;
use super::{gdelt, parquet_files};

/// A pipe with a name, into which a thread writes `content` once.
fn pipe(path: PathBuf, content: Vec<u8>) -> JoinHandle<()> {
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // The reader may end early, when it refuses what it reads.
    thread::spawn(move || drop(fs::write(path, content)))
}

fn hash_of_pipe(bench: &Bench, name: &str, content: &[u8]) -> String {
    let writer = pipe(bench.path(name), content.to_vec());
    let log = bench.open(name);
    writer.join().unwrap();
    assert_eq!(log.origin(), bench.path(name).display().to_string());
    log.hash().to_owned()
}

/// More than any buffer on the way holds, more than a piece of a copy.
fn long_snap() -> Vec<u8> {
    (0..160_000)
        .flat_map(|i| format!("{} {} {i}\n", i % 977, i % 1013).into_bytes())
        .collect()
}

#[test]
fn every_format_from_a_pipe_is_the_stream_of_the_file() {
    let snap = long_snap();
    assert!(snap.len() > 1 << 20);
    let jodie = super::JODIE.to_vec();
    let formats: [(&str, Vec<u8>); 11] = [
        ("snap", b"5 70 10\n70 5 12\n".to_vec()),
        ("long", snap.clone()),
        ("long.gz", gz(&snap)),
        ("long.zip", deflated(&[("x", &snap)])),
        ("stored.zip", stored(&[("x", &jodie)])),
        (
            "tgl",
            b",src,dst,time,ext_roll\n0,0,1,1,0\n1,1,0,2,1\n".to_vec(),
        ),
        ("dgb", b",u,i,ts,label,idx\n0,1,2,0.5,0,1\n".to_vec()),
        ("tgb", b"time,src,dst,w\n1,a,b,2\n".to_vec()),
        ("gdelt", gdelt::files().concat().into_bytes()),
        ("parquet", parquet_files::small()),
        ("jodie", jodie),
    ];
    for (name, content) in &formats {
        let bench = Bench::new(&[(name, content)]);
        let hash = bench.open(name).hash().to_owned();
        let pipe = format!("{name}.pipe");
        assert_eq!(hash_of_pipe(&bench, &pipe, content), hash, "{name}");
        // Two stores, and nothing of the copy.
        assert_eq!(
            fs::read_dir(bench.path("cache")).unwrap().count(),
            2,
            "{name}"
        );
        fs::remove_file(bench.path(&pipe)).unwrap();
        assert_eq!(hash_of_pipe(&bench, &pipe, content), hash, "{name} again");
        let stores = fs::read_dir(bench.path("cache")).unwrap().count();
        assert_eq!(stores, 2, "{name}: the same bytes were converted twice");
    }
}

#[test]
fn features_and_imports_and_checks_take_pipes_too() {
    let values = f32_bytes(&[1.0, 2.0]);
    let tensor = Tensor::dense("FloatStorage", &[2, 1], &[1, 1], &values).file();
    for array in [npy("<f4", "(2, 1)", &values), tensor] {
        let bench = Bench::new(&[("a.txt", b"1 2 3\n2 1 4\n")]);
        let writers = [
            pipe(bench.path("events"), b"1 2 3\n2 1 4\n".to_vec()),
            pipe(bench.path("rows"), array),
        ];
        let options = OpenOptions {
            edge_features: Some(bench.path("rows")),
            ..bench.options()
        };
        let (source, to) = (bench.path("events"), bench.path("out/x.mspipe"));
        let report = import(source.to_str().unwrap(), &options, &to).unwrap();
        assert_eq!(report.info.edge_features.unwrap().width, 1);
        assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 1);
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        fs::remove_file(&source).unwrap();
        let writer = pipe(source.clone(), b"1 2 3\n1 2 3\n".to_vec());
        let findings = check(source.to_str().unwrap(), &bench.options()).unwrap();
        assert!(findings.iter().any(|f| f.code == "duplicate-events"));
        writer.join().unwrap();
    }
}

#[test]
fn messages_name_the_pipe_and_nothing_is_left() {
    let bench = Bench::new(&[]);
    let writer = pipe(bench.path("p"), b"1 2 3\n1 2\n".to_vec());
    let message = bench.refusal("p");
    assert!(
        message.starts_with("p:2: 2 fields; expected 3, as in the first event; "),
        "{message}"
    );
    writer.join().unwrap();
}

#[test]
fn a_pipe_into_which_nobody_writes_can_be_left() {
    let bench = Bench::new(&[]);
    let path: &Path = &bench.path("p");
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let stop = Stop::default();
    let options = OpenOptions {
        stop: stop.clone(),
        ..bench.options()
    };
    let opening = thread::scope(|scope| {
        let opening = scope.spawn(|| EventLog::open(path.to_str().unwrap(), &options));
        stop.request();
        opening.join().unwrap()
    });
    assert!(opening.unwrap_err().to_string().contains("interrupted"));
    assert_eq!(fs::read_dir(bench.path("cache")).unwrap().count(), 0);
    // Lets the thread go that waits for a writer.
    drop(fs::write(path, ""));
}
