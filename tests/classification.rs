//! Node classification as a user runs it, on streams whose labels follow a known rule.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Events of a stream.
const EVENTS: usize = 1500;

/// A stream of 30 users and 10 items as JODIE writes it. Every seventh event or so is a bad
/// one: its feature says so. `label` is told whether the event itself and whether the user's
/// event before it was bad.
fn stream(label: impl Fn(usize, bool, bool) -> i32) -> String {
    let mut text = "user_id,item_id,timestamp,state_label,features\n".to_owned();
    let mut was_bad = [false; 30];
    let mut state = 12_345u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for event in 0..EVENTS {
        let (user, item, bad) = (random(30), random(10), random(7) == 0);
        let before = std::mem::replace(&mut was_bad[user as usize], bad);
        let label = label(event, bad, before);
        let feature = if bad { 2.0 } else { -1.0 };
        writeln!(text, "{user},{item},{event},{label},{feature},0.5").unwrap();
    }
    text
}

/// A folder with a stream and a link prediction run on it.
struct Workdir {
    folder: TempDir,
}

impl Workdir {
    fn new(stream: &str) -> Workdir {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("s.csv"), stream).unwrap();
        let workdir = Workdir { folder };
        let link = "--data s.csv --device cpu --batch-size 50 --epochs 1 --width 32 \
                    --time-width 32 --out link";
        let output = workdir.train(link);
        assert!(output.status.success(), "{output:?}");
        workdir
    }

    fn train(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mspipe"))
            .arg("train")
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env("MSPIPE_CACHE_DIR", self.folder.path().join("cache"))
            .output()
            .unwrap()
    }

    /// The summary that a classification prints.
    fn classified(&self, arguments: &str) -> Value {
        let output = self.train(&format!("--task node --init link --json {arguments}"));
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Standard error of a classification that must fail.
    fn fails(&self, arguments: &str) -> String {
        let output = self.train(&format!("--task node --init link {arguments}"));
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn auc(summary: &Value, part: &str) -> f64 {
    summary[part]["auc"].as_f64().unwrap()
}

#[test]
fn a_label_that_follows_the_recent_past_is_learned() {
    let workdir = Workdir::new(&stream(|_, _, before| i32::from(before)));
    for balance in ["none", "sample"] {
        let options = format!("--balance {balance} --node-epochs 30 --node-learning-rate 3e-3");
        let summary = workdir.classified(&format!("{options} --out {balance}"));
        assert_eq!(summary["task"], "node");
        assert_eq!(summary["balance"], balance);
        assert_eq!(summary["init"], "link");
        for part in ["val", "test"] {
            assert!(auc(&summary, part) > 0.65, "{balance} {part}: {summary}");
            let of = &summary[part];
            assert!(of["ap"].as_f64().unwrap() > 1.5 * of["positive_rate"].as_f64().unwrap());
        }
        let labels = &summary["labels"];
        assert_eq!(labels["train"]["events"], 1050);
        assert!(labels["test"]["positives"].as_u64().unwrap() > 10);
        let best = summary["best_epoch"].as_u64().unwrap() as usize;
        assert_eq!(summary["epochs"][best - 1]["val"], summary["val"]);
        let best_auc = auc(&summary, "val");
        for epoch in summary["epochs"].as_array().unwrap() {
            assert!(auc(epoch, "val") <= best_auc);
        }
        let lines = fs::read_to_string(workdir.folder.path().join(balance).join("metrics.jsonl"));
        assert_eq!(lines.unwrap().lines().count(), 30);
    }

    let threads = |threads: usize| {
        let out = format!("--node-epochs 3 --threads {threads} --out threads{threads}");
        let mut summary = workdir.classified(&out);
        // The device's name says the number of threads.
        summary["device"] = Value::Null;
        summary
    };
    assert_eq!(threads(1), threads(2));
    let text = workdir.train("--task node --init link --node-epochs 1 --out text");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains(" positive labels: "), "{text}");
    assert!(text.contains("chance 0."), "{text}");
}

/// The event's own feature decides, and that must not be seen.
#[test]
fn the_labelled_event_itself_is_not_seen() {
    let workdir = Workdir::new(&stream(|_, bad, _| i32::from(bad)));
    let summary = workdir.classified("--node-epochs 10 --out node");
    assert!((auc(&summary, "test") - 0.5).abs() < 0.2, "{summary}");
}

#[test]
fn labels_that_cannot_be_learned_are_refused() {
    let late = Workdir::new(&stream(|event, _, _| {
        i32::from(event == 10 || event == 1100)
    }));
    let stderr = late.fails("");
    let expected = "s: the test part has 0 positive labels among 225 events";
    assert!(stderr.contains(expected), "{stderr}");

    let three = Workdir::new(&stream(|event, _, _| event as i32 % 3));
    let stderr = three.fails("");
    assert!(
        stderr.contains("s: event 2 has the state label 2, expected 0 or 1"),
        "{stderr}"
    );
    let stderr = three.fails("--data synthetic:mooc:scale=0.01 --edge-features random:2");
    assert!(stderr.contains("has no state labels"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_classification_after_the_current_batch() {
    use std::process::Stdio;
    use std::thread;
    use std::time::Instant;

    use crate::program::{GLANCE, PATIENCE, watched};

    let workdir = Workdir::new(&stream(|_, _, before| i32::from(before)));
    let arguments = "train --task node --init link --node-epochs 1000000 --out node";
    let classifying = Command::new(env!("CARGO_BIN_EXE_mspipe"))
        .args(arguments.split_whitespace())
        .current_dir(workdir.folder.path())
        .env("MSPIPE_CACHE_DIR", workdir.folder.path().join("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = workdir.folder.path().join("node/metrics.jsonl");
    let begin = Instant::now();
    while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert!(begin.elapsed() < PATIENCE, "does not begin");
        thread::sleep(GLANCE);
    }
    let id = classifying.id().to_string();
    let kill = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(kill.success());
    let ended = watched(classifying, arguments);
    let expected = "interrupted before it was done; start it again\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(143), expected));
    let folder = metrics.parent().unwrap();
    assert!(!folder.join("summary.json").exists());
    let mut files = fs::read_dir(folder).unwrap();
    assert!(files.all(|file| {
        file.unwrap()
            .path()
            .extension()
            .is_none_or(|end| end != "tmp")
    }));
}
