//! What commands write: never over what is not theirs, never half, and nothing left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::place::{CACHE, Place};

/// A small run of one epoch.
const TRAIN: &str = "train --data synthetic:wikipedia:scale=0.01 --limit-events 300 --epochs 1 --model jodie \
                     --device cpu --width 16 --time-width 8 --batch-size 36";

const STAGES: &str = "--stages sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2";

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
        refused.contains("f: is a file; give --out a new folder"),
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
        abandoned.contains("run: holds a run that was ended before its first checkpoint"),
        "{abandoned}"
    );
    assert_eq!(content(&place).len(), before.len() - 1);

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
    for name in ["run.lock", "metrics.jsonl", "ledger.jsonl"] {
        let place = Place::new();
        place.run(&format!("{TRAIN} --out run"), 0);
        fs::remove_file(place.path("run/summary.json")).unwrap();
        fs::write(
            place.path("mine"),
            "of somebody else, and long enough to be cut",
        )
        .unwrap();
        let link = place.path("run").join(name);
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(place.path("mine"), &link).unwrap();
        let before = content(&place);
        let refused = place.run("train --resume run", 1);
        assert!(
            refused.contains(&format!("run/{name}: is a symbolic link")),
            "{refused}"
        );
        assert_eq!(content(&place), before);
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

/// A limit on the size of a file stands for a full disk: writing fails in the middle of it.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_does_not_fit_is_named_and_leaves_nothing() {
    let two = TRAIN.replace("--epochs 1", "--epochs 2");
    // Blocks of 1,024 bytes, from nothing at all to all but the checkpoint.
    for blocks in [0, 1, 2, 4, 8, 16, 32, 64] {
        let place = Place::new();
        place.run(&format!("{TRAIN} --dry-run"), 0);
        let line = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" {two} --out run");
        let output = place
            .command("bash")
            .args(["-c", &line, env!("CARGO_BIN_EXE_mspipe")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panic"), "{blocks}: {said}");
        if !output.status.success() {
            assert!(said.contains("run/"), "no file is named: {said}");
        }
        if !place.path("run").exists() {
            continue;
        }
        let left = names(&place.path("run"));
        assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
        if let (true, Ok(trace)) = (
            output.status.success(),
            fs::metadata(place.path("run/trace.json")),
        ) {
            assert!(trace.len() <= blocks * 1024);
        }
    }
}
