//! Classification of labels as a user runs it, on streams whose labels follow a known rule.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::event_files;
use crate::labelled::{Seen, grouped, stream};

/// A stream with two kinds of events and these labels.
fn two_kinds(label: impl Fn(&Seen) -> i32) -> String {
    stream(2, |seen| label(seen).to_string())
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

    /// The summary that a classification of state labels prints.
    fn classified(&self, arguments: &str) -> Value {
        self.summary(&format!("--task node {arguments}"))
    }

    /// The summary that a classification of events' labels prints.
    fn edges(&self, arguments: &str) -> Value {
        self.summary(&format!("--task edge {arguments}"))
    }

    fn summary(&self, arguments: &str) -> Value {
        let output = self.train(&format!("--init link --json {arguments}"));
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
    let workdir = Workdir::new(&two_kinds(|seen| seen.before as i32));
    for balance in ["none", "sample", "weights"] {
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
    let workdir = Workdir::new(&two_kinds(|seen| seen.kind as i32));
    let summary = workdir.classified("--node-epochs 10 --out node");
    assert!((auc(&summary, "test") - 0.5).abs() < 0.2, "{summary}");
}

#[test]
fn a_label_of_an_event_that_follows_the_past_is_learned() {
    // A sixth of the labels is 1.
    let workdir = Workdir::new(&grouped(6, |group, _| i32::from(group == 2)));
    let options = "--node-epochs 20 --node-learning-rate 3e-3";
    let plain = workdir.edges(&format!("{options} --out plain"));
    assert_eq!(plain["task"], "edge");
    assert_eq!(plain["monitor"], "val-auc");
    assert!(auc(&plain, "val") > 0.8, "{plain}");
    assert!(auc(&plain, "test") > 0.8, "{plain}");
    // Rare labels that weigh more are predicted more often.
    let weighted = workdir.edges(&format!("{options} --balance weights --out weighted"));
    assert!(auc(&weighted, "test") > 0.8, "{weighted}");
    let predicted = |of: &Value| {
        of["test_classes"]["classes"][1]["predicted"]
            .as_u64()
            .unwrap()
    };
    assert!(
        predicted(&weighted) > predicted(&plain),
        "{plain}\n{weighted}"
    );
    check_tables(&plain);
    check_side_by_side(&workdir);
    let page = fs::read_to_string(workdir.folder.path().join("weighted/report.html")).unwrap();
    for part in [
        "Precision and recall",
        "Confusion: ",
        "F1-macro",
        "rare classes weigh more",
    ] {
        assert!(page.contains(part), "{part}");
    }

    // The same on one thread and on two.
    let threads = |threads: usize| {
        let mut summary = workdir.edges(&format!(
            "--node-epochs 2 --threads {threads} --out t{threads}"
        ));
        summary["device"] = Value::Null;
        summary
    };
    assert_eq!(threads(1), threads(2));
}

/// Runs of different tasks in one list and on one page: apart, each with the settings that act in it.
fn check_side_by_side(workdir: &Workdir) {
    let run = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mspipe"));
        let command = command
            .args(arguments.split(' '))
            .current_dir(workdir.folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = run("runs . --sort val");
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "Link prediction (--task link)", "{listed}");
    assert!(
        lines[2].starts_with("link ") && lines[2].contains(" AP "),
        "{listed}"
    );
    assert_eq!((lines[3], lines[4]), ("", "Labels of events (--task edge)"));
    assert!(lines[5].ends_with(" balance"), "{listed}");
    assert!(
        !lines[1].contains("balance") && !listed.contains("node_epochs"),
        "{listed}"
    );
    let all: Value = serde_json::from_str(&run("runs . --json")).unwrap();
    assert_eq!(all["differing"][0], "task");
    assert_eq!(all["runs"][0]["task"], "link");

    run("report plain weighted link --to page.html");
    let page = fs::read_to_string(workdir.folder.path().join("page.html")).unwrap();
    for part in [
        "Link prediction: Results",
        "Labels of events: Results",
        "Labels of events: Course of the runs",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Losses of 20 epochs, of both classifications; one epoch of link prediction has its iterations.
    assert_eq!(page.matches(">Training loss<").count(), 2);
    assert!(page.contains("<title>plain\nepoch: 20.0\nloss: "), "{page}");
}

#[test]
fn a_time_limit_of_a_classification_is_refused_with_the_reason() {
    let workdir = Workdir::new(&two_kinds(|seen| seen.before as i32));
    let refused = "--max-time is 1h, expected --task link with it: a classifier of labels ends after --node-epochs";
    let stderr = workdir.fails("--max-time 1h --out node");
    assert!(stderr.contains(refused), "{stderr}");
    assert!(!workdir.folder.path().join("node").exists());
    workdir.classified("--node-epochs 2 --out node");
    fs::remove_file(workdir.folder.path().join("node/summary.json")).unwrap();
    let resumed = workdir.train("--resume node --max-time 1h");
    let stderr = String::from_utf8(resumed.stderr).unwrap();
    assert!(
        !resumed.status.success() && stderr.contains(refused),
        "{stderr}"
    );
    let resumed = workdir.train("--resume node");
    assert!(resumed.status.success(), "{resumed:?}");
}

/// The straight way of somebody whose label has a name of its own: the encoder first, the label later.
#[test]
fn an_encoder_that_has_read_the_label_is_to_be_trained_again() {
    let labelled = two_kinds(|seen| seen.before as i32);
    let fraud = labelled.replacen(
        "user_id,item_id,timestamp,state_label,features",
        "src,dst,time,fraud,a,b",
        1,
    );
    let workdir = Workdir::new(&fraud);
    let refusal = |arguments: &str| {
        let output = workdir.train(&format!("--task edge --init link {arguments}"));
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let without = refusal("");
    assert!(
        without.contains("has no labels of events")
            && without.contains("train the encoder with it too"),
        "{without}"
    );
    for data in ["", "--data s.csv", "--dry-run"] {
        let said = refusal(&format!("--columns label=fraud {data}"));
        for part in [
            "are of an encoder that reads 3 edge features, and the stream has 2",
            "'fraud' is the label here, and was one of the features",
            "train one with\n  mspipe train --data s.csv --columns label=fraud\n",
        ] {
            assert!(said.contains(part), "{data}: {said}");
        }
        assert!(!said.contains("shape"), "{said}");
    }
    let again = "--data s.csv --columns label=fraud --device cpu --batch-size 50 --epochs 1 --width 32 --time-width 32";
    let output = workdir.train(&format!("{again} --out with-label"));
    assert!(output.status.success(), "{output:?}");
    let output = workdir.train("--task edge --init with-label --node-epochs 1 --out edge");
    assert!(output.status.success(), "{output:?}");
}

/// Tables and metrics of the test part say the same.
fn check_tables(summary: &Value) {
    let (test, table) = (&summary["test"], &summary["test_classes"]);
    let confusion: Vec<Vec<u64>> = serde_json::from_value(table["confusion"].clone()).unwrap();
    let all: u64 = confusion.iter().flatten().sum();
    assert_eq!(summary["labels"]["test"]["events"], all);
    let right: u64 = (0..confusion.len())
        .map(|class| confusion[class][class])
        .sum();
    assert_eq!(test["accuracy"], right as f64 / all as f64);
    assert_eq!(test["f1_micro"], test["accuracy"]);
    for (class, row) in table["classes"].as_array().unwrap().iter().enumerate() {
        assert_eq!(row["support"], confusion[class].iter().sum::<u64>());
        let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
        assert_eq!(row["predicted"], predicted);
        assert_eq!(
            row["precision"],
            confusion[class][class] as f64 / predicted.max(1) as f64
        );
    }
}

#[test]
fn labels_of_events_that_follow_nothing_are_not_learned() {
    let workdir = Workdir::new(&grouped(2, |_, chance| (chance & 1) as i32));
    let summary = workdir.edges("--node-epochs 10 --out edge");
    assert!((auc(&summary, "test") - 0.5).abs() < 0.15, "{summary}");
}

#[test]
fn an_events_own_features_are_read_for_its_label() {
    let workdir = Workdir::new(&two_kinds(|seen| seen.kind as i32));
    let summary = workdir.edges("--node-epochs 10 --node-learning-rate 3e-3 --out edge");
    assert!(auc(&summary, "test") > 0.99, "{summary}");
    let without = workdir.train(
        "--data s.csv --device cpu --batch-size 50 --epochs 1 --width 32 --time-width 32 \
         --edge-features zero --out link0",
    );
    assert!(without.status.success(), "{without:?}");
    let output = workdir.train("--task edge --init link0 --json --node-epochs 10 --out edge0");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!((auc(&summary, "test") - 0.5).abs() < 0.2, "{summary}");
}

/// What a classification of several classes leaves beside its summary.
fn check_files(run: &Path, epochs: usize) {
    let names = fs::read_dir(run).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    // It has no iterations that were scheduled.
    assert!(!names.contains(&"ledger.jsonl".to_owned()), "{names:?}");
    assert_eq!(event_files::count(run, "epoch/train_loss"), epochs);
    assert_eq!(event_files::count(run, "validation/f1_macro"), epochs);
    assert_eq!(event_files::count(run, "test/auc"), 1);
    // A run that has not ended says by what it will choose.
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(
        lines.matches("\"monitor\":\"val-f1-micro\"").count(),
        epochs
    );
    // Chance is another for each class.
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("F1-macro") && !page.contains("AP of chance"));
}

#[test]
fn one_of_five_labels_is_learned() {
    // Not the numbers of classes.
    const LABELS: [i32; 5] = [-3, 0, 4, 7, 20];
    let workdir = Workdir::new(&grouped(5, |group, _| LABELS[group]));
    let options = "--node-epochs 20 --node-learning-rate 3e-3";
    let summary = workdir.edges(&format!("{options} --log tensorboard --out edge"));
    assert_eq!(summary["labels"]["classes"], serde_json::json!(LABELS));
    check_files(&workdir.folder.path().join("edge"), 20);
    assert!(auc(&summary, "test") > 0.75, "{summary}");
    assert!(
        summary["test"]["f1_micro"].as_f64().unwrap() > 0.45,
        "{summary}"
    );
    assert!(summary["test"]["positive_rate"].is_null());
    assert_eq!(summary["monitor"], "val-f1-micro");
    check_tables(&summary);
    assert_eq!(
        summary["test_classes"]["curves"].as_array().unwrap().len(),
        5
    );
    let best = summary["best_epoch"].as_u64().unwrap() as usize;
    let f1 = |epoch: &Value| epoch["val"]["f1_micro"].as_f64().unwrap();
    let epochs = summary["epochs"].as_array().unwrap();
    assert!(
        epochs
            .iter()
            .all(|epoch| f1(epoch) <= f1(&epochs[best - 1]))
    );
    // The same labels as states of the source.
    let nodes = workdir.classified(&format!("{options} --balance sample --out node"));
    assert!(auc(&nodes, "test") > 0.7, "{nodes}");
    let text = workdir.train("--task edge --init link --node-epochs 1 --out text");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("labels    5 classes: "), "{text}");
    assert!(text.contains("best validation F1-micro"), "{text}");
}

#[test]
fn events_without_a_label_are_said_and_left_out() {
    let workdir = Workdir::new(&stream(2, |seen| match seen.event % 3 {
        0 => String::new(),
        _ => seen.before.to_string(),
    }));
    let summary = workdir.edges("--node-epochs 30 --node-learning-rate 3e-3 --out edge");
    let labels = &summary["labels"];
    assert_eq!(
        (&labels["train"]["events"], &labels["train"]["missing"]),
        (&700.into(), &350.into())
    );
    assert_eq!(labels["test"]["missing"], 75);
    assert!(auc(&summary, "test") > 0.6, "{summary}");
    check_tables(&summary);
    let text = workdir.train("--task edge --init link --node-epochs 1 --out text");
    let text = String::from_utf8(text.stdout).unwrap();
    let expected =
        "500 events have no label (350 / 75 / 75): they are neither trained on nor measured";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn the_audit_of_labels_passes() {
    let workdir = Workdir::new(&two_kinds(|seen| seen.before as i32));
    for task in ["edge", "node"] {
        let output = Command::new(env!("CARGO_BIN_EXE_mspipe"))
            .args(["audit", "link", "--task", task, "--json", "--probes", "1"])
            .current_dir(workdir.folder.path())
            .env("MSPIPE_CACHE_DIR", workdir.folder.path().join("cache"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = audit["checks"].as_array().unwrap();
        let labels = checks
            .iter()
            .find(|check| check["check"] == "labels")
            .unwrap();
        assert_eq!(labels["violations"], 0);
        assert!(labels["compared"].as_u64().unwrap() > 1000, "{labels}");
    }
}

#[test]
fn labels_that_cannot_be_learned_are_refused() {
    let late = Workdir::new(&two_kinds(|seen| {
        i32::from([10, 1100].contains(&seen.event))
    }));
    let stderr = late.fails("");
    let expected = "s: the test part has 0 positive labels among 225 events";
    assert!(stderr.contains(expected), "{stderr}");

    let three = Workdir::new(&two_kinds(|seen| {
        if seen.event < 1200 {
            seen.event as i32 % 3
        } else {
            2
        }
    }));
    let stderr = three.fails("");
    assert!(
        stderr.contains("s: the validation part has labels of 1 classes among 225 events")
            || stderr.contains("s: the test part has labels of 1 classes among 225 events"),
        "{stderr}"
    );
    let stderr = three.fails("--data synthetic:mooc:scale=0.01 --edge-features random:2");
    assert!(stderr.contains("has no labels of events"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_classification_after_the_current_batch() {
    use std::process::Stdio;
    use std::thread;
    use std::time::Instant;

    use crate::program::{GLANCE, PATIENCE, watched};

    let workdir = Workdir::new(&two_kinds(|seen| seen.before as i32));
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
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    let said = &ended.stderr;
    assert!(said.starts_with("interrupted in epoch "), "{said}");
    let expected =
        "batches; a checkpoint of it is written\nresume with: mspipe train --resume node\n";
    assert!(said.ends_with(expected), "{said}");
    let folder = metrics.parent().unwrap();
    assert!(folder.join("checkpoint.safetensors").exists());
    assert!(!folder.join("summary.json").exists());
    let mut files = fs::read_dir(folder).unwrap();
    assert!(files.all(|file| {
        file.unwrap()
            .path()
            .extension()
            .is_none_or(|end| end != "tmp")
    }));
}
