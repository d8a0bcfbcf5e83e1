//! What commands write: never over what is not theirs, never half, and nothing left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use mspipe::{checkpoint, weights};
use serde_json::Value;

use crate::place::{CACHE, Place};

/// A small run of one epoch.
const TRAIN: &str = "train --data synthetic:wikipedia:scale=0.01 --limit-events 300 --epochs 1 --model jodie \
                     --device cpu --width 16 --time-width 8 --batch-size 36";

const STAGES: &str = "--stages sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2";

/// The same with more epochs, and checkpoints within them.
fn longer(epochs: usize) -> String {
    TRAIN.replace(
        "--epochs 1",
        &format!("--epochs {epochs} --checkpoint-every 4"),
    )
}

/// Everything in the folder but the cache: content of files, targets of links.
fn content(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![place.path("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                found.insert(path, target.into_os_string().into_encoded_bytes());
            } else if kind.is_file() {
                found.insert(path.clone(), fs::read(&path).unwrap());
            } else if entry.file_name() != CACHE {
                found.insert(path.clone(), Vec::new());
                folders.push(path);
            }
        }
    }
    found
}

/// Names in a run's folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_with_something_in_it_is_refused_and_stays_as_it_is() {
    for name in [
        "config.json",
        "metrics.jsonl",
        "weights.safetensors",
        "report.html",
        "run.lock",
        ".hidden",
    ] {
        let place = Place::new();
        fs::create_dir(place.path("d")).unwrap();
        fs::write(place.path("d").join(name), "{\"mine\": 1}").unwrap();
        let before = content(&place);
        for options in [
            "",
            "--init nosuch.safetensors",
            "--task node --init nosuch.safetensors",
        ] {
            let refused = place.run(&format!("{TRAIN} --out d {options}"), 1);
            assert!(
                refused.contains(&format!("d: is not empty ({name}) and holds no run")),
                "{refused}"
            );
        }
        assert_eq!(content(&place), before, "{name}");
    }
}

#[test]
fn files_links_and_runs_in_the_place_of_a_folder_are_refused() {
    let place = Place::new();
    fs::write(place.path("f"), "mine").unwrap();
    let refused = place.run(&format!("{TRAIN} --out f"), 1);
    assert!(
        refused.contains("f: is not a folder (a file or a broken link has the name)"),
        "{refused}"
    );

    place.run(&format!("{TRAIN} --out run"), 0);
    let before = content(&place);
    let ended = place.run(&format!("{TRAIN} --out run"), 1);
    assert!(ended.contains("run: holds a run that has ended"), "{ended}");
    assert_eq!(content(&place), before);

    fs::remove_file(place.path("run/summary.json")).unwrap();
    let before = content(&place);
    let unfinished = place.run(&format!("{TRAIN} --out run"), 1);
    assert!(
        unfinished.contains("resume it with mspipe train --resume run, or choose another --out"),
        "{unfinished}"
    );
    fs::remove_file(place.path("run/checkpoint.safetensors")).unwrap();
    let abandoned = place.run(&format!("{TRAIN} --out run --checkpoint-every never"), 1);
    assert!(
        abandoned.contains("run: holds a run that has not ended and has no checkpoint"),
        "{abandoned}"
    );
    assert_eq!(content(&place).len(), before.len() - 1);
    // What it advises is possible.
    assert!(
        abandoned.contains("with mspipe train --resume run"),
        "{abandoned}"
    );
    place.run("train --resume run", 0);

    let lock = fs::File::open(place.path("run/run.lock")).unwrap();
    lock.lock().unwrap();
    let running = place.run(&format!("{TRAIN} --out run"), 1);
    assert!(
        running.contains("run: another mspipe is writing this run"),
        "{running}"
    );
}

#[test]
fn a_run_that_fails_at_once_removes_what_it_made_and_nothing_else() {
    let place = Place::new();
    place.run(
        &format!("{TRAIN} --init nosuch.safetensors --out new/inner"),
        1,
    );
    assert_eq!(content(&place).len(), 0);
    fs::create_dir(place.path("empty")).unwrap();
    place.run(&format!("{TRAIN} --init nosuch.safetensors --out empty"), 1);
    assert_eq!(content(&place).len(), 1, "the folder that was there stays");
}

#[cfg(unix)]
#[test]
fn a_resumed_run_follows_no_link_out_of_its_folder() {
    let place = Place::new();
    place.run(&format!("{TRAIN} --out run"), 0);
    fs::remove_file(place.path("run/summary.json")).unwrap();
    fs::write(
        place.path("mine"),
        "of somebody else, and long enough to be cut",
    )
    .unwrap();
    for name in [
        "run.lock",
        "metrics.jsonl",
        "ledger.jsonl",
        "trace.json",
        "timeline.svg",
        "weights.safetensors",
        "state.safetensors",
        "checkpoint.safetensors",
        "report.html",
    ] {
        let link = place.path("run").join(name);
        let aside = place.path("aside");
        fs::rename(&link, &aside).unwrap();
        let links = [
            |to: &Path, link: &Path| std::os::unix::fs::symlink(to, link),
            |to: &Path, link: &Path| fs::hard_link(to, link),
        ];
        for make in links {
            make(&place.path("mine"), &link).unwrap();
            let before = content(&place);
            let refused = place.run("train --resume run", 1);
            assert!(
                refused.contains(&format!("run/{name}: is a link, or has another name")),
                "{refused}"
            );
            assert_eq!(content(&place), before);
            fs::remove_file(&link).unwrap();
        }
        fs::rename(&aside, &link).unwrap();
    }
}

#[test]
fn other_outputs_replace_nothing_without_force() {
    let place = Place::new();
    fs::write(place.path("base.csv"), "src,dst,time\n0,1,0\n").unwrap();
    fs::write(place.path("w.safetensors"), "mine").unwrap();
    place.run(&format!("{TRAIN} --out run"), 0);
    for line in [
        format!("schedule simulate {STAGES} --gantt base.csv"),
        format!("schedule simulate {STAGES} --trace base.csv"),
        "export run --to w.safetensors".to_owned(),
    ] {
        let before = content(&place);
        let refused = place.run(&line, 1);
        assert!(
            refused.contains("exists already; choose another name, or replace it with --force"),
            "{refused}"
        );
        assert_eq!(content(&place), before, "{line}");
        place.run(&format!("{line} --force"), 0);
    }
    let nowhere = place.run(&format!("schedule simulate {STAGES} --gantt no/a.svg"), 1);
    assert!(
        nowhere.contains("no/a.svg: there is no folder no;"),
        "{nowhere}"
    );
    let folder = place.run(&format!("schedule simulate {STAGES} --gantt run"), 1);
    assert!(
        folder.contains("run: is a folder; give the name of a file"),
        "{folder}"
    );
}

#[test]
fn no_output_is_an_input_or_another_output() {
    let place = Place::new();
    place.run(&format!("{TRAIN} --out run"), 0);
    let before = content(&place);
    for (line, reason) in [
        (
            "export run --to run/weights.safetensors --force".to_owned(),
            "run/weights.safetensors: is the file that is read",
        ),
        (
            "schedule simulate --profile run --gantt run/summary.json --force".to_owned(),
            "run/summary.json: is the file that --profile reads",
        ),
        (
            format!("schedule simulate {STAGES} --gantt a --trace ./a --force"),
            "a: --gantt and --trace both name it",
        ),
    ] {
        let refused = place.run(&line, 1);
        assert!(refused.contains(reason), "{refused}");
        assert_eq!(content(&place), before, "{line}");
    }
}

#[test]
fn of_runs_begun_at_once_in_one_folder_one_goes_on() {
    let place = Place::new();
    place.run(&format!("{TRAIN} --dry-run"), 0);
    let line = format!("{TRAIN} --out run");
    let started: Vec<_> = (0..4).map(|_| place.start(&line)).collect();
    let ended = started
        .into_iter()
        .map(|run| run.wait_with_output().unwrap());
    let ended: Vec<bool> = ended.map(|output| output.status.success()).collect();
    assert_eq!(
        ended.iter().filter(|success| **success).count(),
        1,
        "{ended:?}"
    );
    assert!(place.path("run/summary.json").exists());
}

/// Folders have the names of files that no result depends on.
#[test]
fn what_is_decoration_ends_no_run_and_is_told_once() {
    let place = Place::new();
    place.run(&format!("{} --out run", longer(3)), 0);
    let whole: Value = read_json(&place.path("run/summary.json"));
    fs::remove_file(place.path("run/summary.json")).unwrap();
    for name in ["trace.json", "timeline.svg", "report.html"] {
        let path = place.path("run").join(name);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    }
    for name in ["checkpoint.safetensors", "checkpoint-previous.safetensors"] {
        fs::remove_file(place.path("run").join(name)).unwrap();
    }
    let said = place.run("train --resume run", 0);
    assert_eq!(
        said.matches("the run continues without it").count(),
        1,
        "{said}"
    );
    assert!(said.contains("report: run/report.html: "), "{said}");
    let summary = read_json(&place.path("run/summary.json"));
    let missing = summary["not_written"].as_str().unwrap();
    for name in ["run/trace.json: ", "run/timeline.svg: "] {
        assert!(
            missing.contains(name) && said.contains(name),
            "{said}{missing}"
        );
    }
    assert_eq!(summary["test"], whole["test"]);
    assert!(place.path("run/checkpoint.safetensors").exists());
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Fails unless every file in a run's folder can be read to its end.
#[cfg(target_os = "linux")]
fn assert_whole(folder: &Path) {
    for name in names(folder) {
        let path = folder.join(&name);
        if name.starts_with("checkpoint") {
            checkpoint::read(&path).unwrap();
        } else if name.ends_with(".safetensors") {
            weights::open(&path).unwrap();
        } else if name.ends_with(".json") {
            read_json(&path);
        } else if name.ends_with(".svg") || name.ends_with(".html") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.trim_end().ends_with('>'), "{name}");
        } else {
            assert!(name.ends_with(".jsonl") || name == "run.lock", "{name}");
        }
    }
}

/// A limit on the size of a file stands for a full disk: writing fails in the middle of it.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_does_not_fit_is_named_and_leaves_nothing() {
    let place = Place::new();
    let line = longer(2);
    place.run(&format!("{line} --out whole"), 0);
    let losses = |folder: &str| {
        let text = fs::read_to_string(place.path(folder).join("metrics.jsonl")).unwrap();
        let lines = text.lines().filter(|line| line.contains("\"loss\""));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // Blocks of 1,024 bytes, from nothing at all to all but the checkpoint.
    for blocks in [0, 1, 2, 4, 8, 16, 32, 64] {
        let folder = place.path("run");
        let limited = format!("ulimit -f {blocks}; exec \"$0\" {line} --out run");
        let output = place
            .command("bash")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_mspipe")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panic"), "{blocks}: {said}");
        assert!(!said.contains(".mspipe-"), "a temporary name: {said}");
        if !output.status.success() {
            assert!(said.contains("error: run/"), "no file is named: {said}");
        }
        if !folder.exists() {
            continue;
        }
        let left = names(&folder);
        assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
        assert_whole(&folder);
        if !output.status.success() {
            place.run("train --resume run", 0);
        }
        assert_eq!(losses("run"), losses("whole"), "{blocks}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
