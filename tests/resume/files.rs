//! Runs that can't be continued, and what they say.

use std::fs;
use std::path::Path;

use mspipe::checkpoint::{self, LAST, PREVIOUS};

use crate::place::Place;

/// 10 iterations per epoch.
const TRAIN: &str = "train --data synthetic:wikipedia:scale=0.01 --limit-events 500 --epochs 2 \
                     --model jodie --device cpu --width 16 --time-width 8 --edge-features random:4 \
                     --batch-size 36 --checkpoint-every 4";

/// A run as one that was killed leaves it: without a summary, its last checkpoint in the second
/// epoch.
fn unfinished(place: &Place) {
    place.run(&format!("{TRAIN} --out run"), 0);
    fs::remove_file(place.path("run/summary.json")).unwrap();
}

/// Changes a file.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

const RESUME: &str = "train --resume run";

#[test]
fn a_run_that_has_ended_or_never_began_is_refused() {
    let place = Place::new();
    place.run(&format!("{TRAIN} --out run"), 0);
    let ended = place.run(RESUME, 1);
    assert_eq!(
        ended,
        "error: run: this run has ended (summary.json is there); to train on from its weights: \
         mspipe train --init run\n"
    );
    let foreign = place.run("train --resume nowhere", 1);
    assert!(
        foreign.starts_with("error: nowhere: holds no run (there is no"),
        "{foreign}"
    );
    let given = place.run("train --resume run --seed 3", 1);
    assert!(given.contains("run: this run has ended"), "{given}");

    fs::remove_file(place.path("run/summary.json")).unwrap();
    let given = place.run("train --resume run --learning-rate 1", 1);
    assert!(
        given.starts_with("error: --learning-rate can't be given with --resume"),
        "{given}"
    );
    let again = place.run(&format!("{TRAIN} --out run"), 1);
    assert!(
        again.contains("resume it with mspipe train --resume run,"),
        "{again}"
    );
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    for (what, damage) in [
        (
            "it is cut off after 5000 bytes",
            (|bytes| bytes.truncate(5000)) as fn(&mut Vec<u8>),
        ),
        ("does not match its SHA-256", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 16;
        }),
        ("it begins with \"an old letter", |bytes| {
            *bytes = b"an old letter to someone".to_vec()
        }),
    ] {
        let place = Place::new();
        unfinished(&place);
        let metrics = fs::read(place.path("run/metrics.jsonl")).unwrap();
        change(&place.path("run").join(LAST), damage);
        let said = place.run(RESUME, 0);
        assert!(said.contains(what), "{said}");
        assert!(
            said.contains("and the run continues from the one before"),
            "{said}"
        );
        assert!(place.path("run/summary.json").exists());
        assert!(place.path("run/checkpoint-damaged.safetensors").exists());
        // The same lines, but for seconds and events/s of the epoch.
        let again = fs::read(place.path("run/metrics.jsonl")).unwrap();
        let losses = |text: &[u8]| -> Vec<String> {
            let text = String::from_utf8(text.to_vec()).unwrap();
            let lines = text.lines().filter(|line| line.contains("\"loss\""));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(losses(&again), losses(&metrics), "{what}");

        fs::remove_file(place.path("run/summary.json")).unwrap();
        change(&place.path("run").join(LAST), damage);
        change(&place.path("run").join(PREVIOUS), damage);
        let refused = place.run(RESUME, 1);
        assert!(
            refused.starts_with("error: no checkpoint is intact:\n"),
            "{refused}"
        );
    }
}

#[test]
fn another_stream_or_setting_is_refused() {
    let place = Place::new();
    unfinished(&place);
    let other = "train --resume run --data synthetic:wikipedia:scale=0.011";
    let refused = place.run(other, 1);
    assert!(
        refused.contains("this checkpoint is not of this run: it is of the stream"),
        "{refused}"
    );
    assert!(
        refused.contains("give the stream that the run began with"),
        "{refused}"
    );

    let config = place.path("run/config.json");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("\"seed\": 0"));
    fs::write(&config, text.replace("\"seed\": 0", "\"seed\": 1")).unwrap();
    let refused = place.run(RESUME, 1);
    assert!(
        refused.contains("config.json has been changed since"),
        "{refused}"
    );
    assert!(refused.contains("seed was 0 and is 1"), "{refused}");
    fs::write(&config, text).unwrap();

    change(&place.path("run/metrics.jsonl"), |bytes| bytes.truncate(10));
    let refused = place.run(RESUME, 1);
    assert!(
        refused.contains("metrics.jsonl: has 10 bytes, but had"),
        "{refused}"
    );
}

#[test]
fn a_run_without_a_checkpoint_begins_again() {
    let place = Place::new();
    unfinished(&place);
    let before = fs::read(place.path("run/weights.safetensors")).unwrap();
    for name in [LAST, PREVIOUS] {
        fs::remove_file(place.path("run").join(name)).unwrap();
    }
    place.run(RESUME, 0);
    assert_eq!(
        fs::read(place.path("run/weights.safetensors")).unwrap(),
        before
    );
    let last = checkpoint::read(&place.path("run").join(LAST)).unwrap();
    assert_eq!((last.header.epoch, last.header.iteration), (3, 0));
}

#[test]
fn two_programs_do_not_write_one_run() {
    let place = Place::new();
    unfinished(&place);
    let lock = fs::File::open(place.path("run/run.lock")).unwrap();
    lock.lock().unwrap();
    let refused = place.run(RESUME, 1);
    assert!(
        refused.starts_with("error: run: another mspipe is writing this run;"),
        "{refused}"
    );
}

#[test]
fn a_checkpoint_is_no_weights_file() {
    let place = Place::new();
    unfinished(&place);
    let refused = place.run("export run/checkpoint.safetensors --to w.safetensors", 1);
    assert!(
        refused.contains("this is a checkpoint, from which a run continues;"),
        "{refused}"
    );
    assert!(refused.contains("give the folder of the run"), "{refused}");
}

#[test]
fn a_folder_that_can_t_be_written_ends_no_training() {
    let place = Place::new();
    unfinished(&place);
    // A folder with something in it has the name that the last checkpoint is to get.
    let previous = place.path("run").join(PREVIOUS);
    fs::rename(&previous, place.path("run").join(LAST)).unwrap();
    fs::create_dir_all(previous.join("mine")).unwrap();
    let said = place.run(RESUME, 0);
    assert!(
        said.contains("warning: a checkpoint is missing: "),
        "{said}"
    );
    assert!(said.contains("stays as it is; the run continues"), "{said}");
    assert!(place.path("run/summary.json").exists());
}
