//! `mspipe-bench schedules` as a user runs it, on a small generated stream.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

use crate::workdir::{self, Workdir};

/// Where the table goes, again each time.
const JSON: [&str; 3] = ["--json", "all.json", "--force"];

/// A folder in which a small stream is trained on.
struct Grid(Workdir);

impl Grid {
    fn new(name: &str) -> Grid {
        Grid(Workdir::new(name))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command(arguments);
        command.args(["--device=cpu", "--out", "grid", "--batch-size=100"]);
        if !arguments
            .iter()
            .any(|argument| argument.starts_with("--data"))
        {
            command.args(["--data", "synthetic:wikipedia:scale=0.01"]);
        }
        command
    }

    fn ok(&self, arguments: &[&str]) -> (String, String) {
        let (code, stdout, stderr) = workdir::run(self.command(arguments).args(JSON));
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        (stdout, stderr)
    }

    /// Standard error of a command that must fail.
    fn fails(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = workdir::run(self.command(arguments).args(JSON));
        assert_eq!(code, Some(2), "{arguments:?}: {stdout}{stderr}");
        stderr
    }

    fn json(&self) -> Value {
        self.0.json("all.json")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    /// The finished runs by name, and when each ended.
    fn finished(&self) -> Vec<(String, SystemTime)> {
        let mut all: Vec<_> = fs::read_dir(self.path("grid"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let cell = entry.path().join("cell.json");
                let name = entry.file_name().into_string().unwrap();
                (name, fs::metadata(cell).unwrap().modified().unwrap())
            })
            .collect();
        all.sort();
        all
    }
}

/// The first words of the table's rows, one string a row.
fn rows(table: &str, words: usize) -> Vec<String> {
    table
        .lines()
        .skip(5)
        .map(|line| {
            let first: Vec<&str> = line.split_whitespace().take(words).collect();
            first.join(" ")
        })
        .collect()
}

#[test]
fn schedules_are_trained_once_and_put_into_one_table() {
    let grid = Grid::new("schedules");
    let asked = [
        "schedules",
        "--schedule=sequential,staleness:2",
        "--seeds=0",
        "--epochs=1",
    ];
    let (table, progress) = grid.ok(&asked);
    println!("{progress}{table}");
    assert!(table.contains("SYNTHETIC stream"), "{table}");
    let expected = [
        "device sequential",
        "device staleness:2",
        "host sequential",
        "host staleness:2",
    ];
    assert_eq!(rows(&table, 2), expected);
    assert!(progress.contains("4 runs, 0 of them finished"));
    assert!(progress.contains("[4/4] staleness:2, memory host, seed 0 … "));

    let json = grid.json();
    let row = |nth: usize, name: &str| json["rows"][nth][name].clone();
    assert_eq!([0, 1].map(|nth| row(nth, "k")), [1, 2]);
    assert_eq!([0, 2].map(|nth| row(nth, "speed_up")), [1.0, 1.0]);
    assert_eq!(
        [0, 2].map(|nth| row(nth, "stall_percent")),
        [(); 2].map(|()| Value::Null)
    );
    assert!(row(3, "stall_percent").is_number() && row(3, "speed_up").is_number());
    // Where memory lies changes no number, staleness does.
    let ap = [0, 1, 2, 3].map(|nth| row(nth, "test_ap")["mean"].as_f64().unwrap());
    assert_eq!((ap[0], ap[1]), (ap[2], ap[3]));
    assert_ne!(ap[0], ap[1]);

    let before = grid.finished();
    let (again, progress) = grid.ok(&asked);
    assert_eq!(again, table);
    assert!(
        progress.contains("4 runs, 4 of them finished"),
        "{progress}"
    );
    assert_eq!(grid.finished(), before);

    // A training that was ended before its cell was written is the only one to run again.
    let lost = grid.path("grid/staleness-2-memory-host-seed-0/cell.json");
    fs::remove_file(lost).unwrap();
    let (_, progress) = grid.ok(&asked);
    assert!(progress.contains("[1/1] staleness:2, memory host, seed 0 … "));
    assert_eq!(grid.json()["rows"][3]["test_ap"]["mean"], ap[3]);
    let after = grid.finished();
    let changed = before.iter().zip(&after).filter(|(old, new)| old != new);
    assert_eq!(changed.count(), 1);

    let error = grid.fails(&[&asked[..], &["--fanout=5"]].concat());
    assert!(
        error.contains("trained with other settings (fanout: 10, now 5); choose another --out"),
        "{error}"
    );
    let error = grid.fails(&[&asked[..], &["--threads=7"]].concat());
    assert!(error.contains("threads: null, now 7"), "{error}");
}

/// Every file below a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn what_is_not_of_a_grid_is_refused_and_stays_as_it_is() {
    let grid = Grid::new("foreign");
    let folder = grid.path("grid");
    let asked = [
        "schedules",
        "--schedule=prefetch",
        "--memory=host",
        "--seeds=0",
        "--epochs=1",
    ];
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    let error = grid.fails(&asked);
    assert!(
        error.contains("grid: is not empty (notes.txt) and holds no runs of this program"),
        "{error}"
    );
    assert_eq!(content(&folder).len(), 1);
    fs::remove_file(folder.join("notes.txt")).unwrap();
    grid.ok(&asked);

    let before = fs::read(grid.path("all.json")).unwrap();
    let (code, _, error) = workdir::run(grid.command(&asked).args(["--json", "all.json"]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("all.json: exists already"), "{error}");
    assert_eq!(fs::read(grid.path("all.json")).unwrap(), before);

    // A run of `mspipe train` has the name of a run of the grid: it logs metrics.
    let run = folder.join("prefetch-memory-host-seed-0");
    fs::remove_file(run.join("cell.json")).unwrap();
    for (name, text) in [("metrics.jsonl", "{}"), ("notes.txt", "mine")] {
        fs::write(run.join(name), text).unwrap();
        let before = content(&folder);
        let error = grid.fails(&asked);
        assert!(
            error.contains(&format!(
                "has {name}, which the run that belongs there does not write"
            )),
            "{error}"
        );
        assert_eq!(content(&folder), before);
        fs::remove_file(run.join(name)).unwrap();
    }
    grid.ok(&asked);
}

#[test]
fn rows_of_an_emulated_bus_say_so() {
    let grid = Grid::new("emulated");
    let link = "--emulate-link=10GB/s,1us";
    let asked = [
        "schedules",
        "--schedule=prefetch",
        "--seeds=4",
        "--epochs=1",
    ];
    let (table, _) = grid.ok(&[&asked[..], &["--memory=host", link]].concat());
    assert_eq!(rows(&table, 2), ["host prefetch"]);
    assert!(
        table
            .lines()
            .last()
            .unwrap()
            .contains("EMULATED link 10 GB/s")
    );
    // Nothing is trained before all settings are seen to be possible.
    let error = grid.fails(&[&asked[..], &["--memory=host,device", link]].concat());
    assert!(
        error.contains("run 'prefetch, memory device, seed 4'"),
        "{error}"
    );
}

#[test]
fn a_mitigation_is_compared_with_the_schedule_alone_and_with_sequential() {
    let grid = Grid::new("mitigation");
    // Users of a generated Wikipedia hardly ever meet two pages so early; these do.
    let asked = [
        "schedules",
        "--data=synthetic:mooc:scale=0.003",
        "--schedule=sequential,staleness:2",
        "--memory=device",
        "--mitigation=none,similarity",
        "--keep=1.0,0.5",
        "--quantile=0.5",
        "--seeds=3",
        "--epochs=1",
    ];
    let (table, progress) = grid.ok(&asked);
    println!("{progress}{table}");
    let expected = [
        "device sequential - -",
        "device staleness:2 - -",
        "device staleness:2 0.5 1",
        "device staleness:2 0.5 0.5",
    ];
    let ends = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [.., quantile, keep, _] = words[..] else {
            panic!("{line}");
        };
        [words[0], words[1], quantile, keep].join(" ")
    };
    let found: Vec<String> = table.lines().skip(5).map(ends).collect();
    assert_eq!(found, expected);
    let json = grid.json();
    let row = |nth: usize, name: &str| json["rows"][nth][name].clone();
    let ap = [0, 1, 2, 3].map(|nth| row(nth, "test_ap")["mean"].as_f64().unwrap());
    // λ = 1 leaves the rows as they are.
    assert_eq!(ap[1], ap[2]);
    assert_ne!(ap[2], ap[3]);
    assert_eq!(
        [0, 1].map(|nth| row(nth, "corrected_rows")),
        [(); 2].map(|()| Value::Null)
    );
    assert!(row(2, "corrected_rows").as_f64().unwrap() > 1.0);
    assert_eq!(row(2, "corrected_rows"), row(3, "corrected_rows"));

    let before = grid.finished();
    let (again, _) = grid.ok(&asked);
    assert_eq!((again, grid.finished()), (table, before));

    let error = grid.fails(&[&asked[..], &["--keep=1.5"]].concat());
    assert!(
        error.contains("--mitigation-keep is 1.5, expected 0 to 1"),
        "{error}"
    );
}

/// A grid of one run.
const ONE: [&str; 7] = [
    "schedules",
    "--width=8",
    "--time-width=8",
    "--schedule=sequential",
    "--memory=device",
    "--seeds=0",
    "--epochs",
];

#[test]
fn a_table_that_nobody_reads_is_in_its_file() {
    let grid = Grid::new("unread");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = grid.command(&[&ONE[..], &["2"], &JSON].concat());
    let status = command
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .status();
    assert_eq!(status.unwrap().code(), Some(0));
    assert!(grid.json().is_object());

    if cfg!(target_os = "linux") {
        fs::remove_file(grid.path("all.json")).unwrap();
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = grid.command(&[&ONE[..], &["2"], &JSON].concat());
        let output = command.stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("error: the answer can't be written to stdout: No space left"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(2));
        assert!(grid.json().is_object());
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_grid_after_the_current_iteration() {
    let grid = Grid::new("signal");
    let mut command = grid.command(&[&ONE[..], &["100000"], &JSON].concat());
    let training = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let began = || {
        let runs = fs::read_dir(grid.path("grid")).into_iter().flatten();
        let mut settings = runs.map(|run| run.unwrap().path().join("config.json"));
        settings.any(|file| file.exists())
    };
    for _ in 0..6000 {
        if began() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let id = training.id().to_string();
    let kill = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(kill.success());
    let output = training.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(said.contains("interrupted after epoch"), "{said}");
}
