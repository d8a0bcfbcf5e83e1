//! A dry run refuses what its run would refuse at its start, in the same words, and leaves nothing.

use std::fs;

use mspipe::config::{RunConfig, Task};

use crate::place::Place;

const STREAM: &str = "--data synthetic:wikipedia:scale=0.005 --device cpu --width 16 --time-width 8 \
                      --batch-size 100";

#[test]
fn what_a_run_refuses_at_its_start_its_dry_run_refuses() {
    let place = Place::new();
    place.run(&format!("train {STREAM} --epochs 1 --out run"), 0);
    for (name, text) in [("empty.jsonl", ""), ("lists.csv", "0,1\n")] {
        fs::write(place.path(name), text).unwrap();
    }
    for (options, expected) in [
        ("--init nope", "nope: holds no run"),
        ("--init /dev/null", "/dev/null: holds no run"),
        ("--init empty.jsonl", "neither a safetensors file nor"),
        (
            "--init run --model jodie",
            "has the weights of tgn with 2 heads",
        ),
        ("--init run --width 32", "weights.safetensors: "),
        (
            "--schedule replay:empty.jsonl",
            "has 0 iterations of epoch 1",
        ),
        (
            "--schedule replay:run/ledger.jsonl --epochs 2 --patience 0",
            "has 0 iterations of epoch 2",
        ),
        (
            "--schedule replay:run --epochs 9 --patience 3",
            "run/ledger.jsonl: has 0 iterations of epoch 2",
        ),
        ("--schedule replay:nowhere", "cannot read nowhere"),
        (
            "--epochs 1 --schedule replay:run/ledger.jsonl --limit-events 600",
            "has 6 iterations of epoch 1, and the run has 5",
        ),
        (
            "--protocol tgb --candidates lists.csv",
            "candidate 1, which is not a destination of the stream",
        ),
        (
            "--task node --init run --limit-events 300",
            "has no labels of events",
        ),
        ("--out run", "holds a run that has ended"),
    ] {
        let stream = match options.contains("--width") {
            true => "--data synthetic:wikipedia:scale=0.005 --device cpu",
            false => STREAM,
        };
        let out = if options.contains("--out") {
            ""
        } else {
            "--out new"
        };
        let of_run = place.run(&format!("train {stream} {options} {out}"), 1);
        let of_dry_run = place.run(&format!("train {stream} {options} {out} --dry-run"), 1);
        assert!(of_run.contains(expected), "{options}: {of_run}");
        assert_eq!(of_dry_run, of_run, "{options}");
        assert!(!place.path("new").exists(), "{options}");
    }
    place.run(
        &format!(
            "train {STREAM} --init run --epochs 1 --schedule replay:run/ledger.jsonl --dry-run"
        ),
        0,
    );
}

#[test]
fn a_dry_run_may_be_of_a_run_that_is_to_resume() {
    let place = Place::new();
    place.run(&format!("train {STREAM} --epochs 1 --out run"), 0);
    let dry = "train --resume run --dry-run";
    assert!(place.run(dry, 1).contains("this run has ended"));
    fs::remove_file(place.path("run/summary.json")).unwrap();
    let files = || {
        let file = |entry: std::io::Result<fs::DirEntry>| entry.unwrap();
        let mut names: Vec<_> = fs::read_dir(place.path("run"))
            .unwrap()
            .map(file)
            .map(|file| {
                (
                    file.file_name(),
                    file.metadata().unwrap().modified().unwrap(),
                )
            })
            .collect();
        names.sort();
        names
    };
    let before = files();
    place.run(dry, 0);
    let other = place.run(&format!("{dry} --data synthetic:wikipedia:scale=0.006"), 1);
    assert!(
        other.contains("this checkpoint is not of this run"),
        "{other}"
    );
    fs::write(place.path("run/checkpoint.safetensors"), "damaged").unwrap();
    place.run(dry, 1);
    fs::remove_file(place.path("run/checkpoint.safetensors")).unwrap();
    assert_eq!(
        files().len() + 1,
        before.len(),
        "a dry run puts nothing aside"
    );
}

#[test]
fn a_classification_says_what_it_is() {
    let place = Place::new();
    let mut config = RunConfig::default();
    config.source.data = "synthetic:wikipedia:scale=0.005".to_owned();
    (config.start.task, config.start.init) = (Task::Node, Some("link".into()));
    fs::create_dir(place.path("node")).unwrap();
    let text = serde_json::to_string(&config).unwrap();
    fs::write(place.path("node/config.json"), text).unwrap();
    let unfinished = place.run("train --resume node", 1);
    assert!(unfinished.contains("link: holds no run"), "{unfinished}");
    fs::write(place.path("node/summary.json"), "{}").unwrap();
    let ended = place.run("train --resume node", 1);
    assert!(
        ended.contains("a classification of labels that has ended")
            && ended.contains("--init link"),
        "{ended}"
    );
    for arguments in [
        "train --init node",
        "train --init node --dry-run",
        "eval node",
        "audit node",
        "export node --to w.safetensors",
    ] {
        let refused = place.run(arguments, 1);
        assert!(
            refused.contains(
                "which trains no weights of a model and can't classify new events yet; give the weights that its embeddings \
                 are of: link"
            ),
            "{arguments}: {refused}"
        );
    }
}
