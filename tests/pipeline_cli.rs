//! The pipeline as a user runs it: stages that fail, threads, an emulated link.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::Program;

const STAGES: [&str; 5] = [
    "sample",
    "fetch_features",
    "fetch_memory",
    "train",
    "update_memory",
];

/// Thread that a stage fails on.
fn thread_of(stage: &str, memory: &str) -> &'static str {
    match (stage, memory) {
        ("sample", _) => "sampler",
        ("fetch_features", _) | ("fetch_memory", "host") => "fetcher",
        ("update_memory", "host") => "receiver",
        _ => "device",
    }
}

const MEASURE: &str = "schedule measure --iterations 40 --stages sample=1,fetch_features=1,\
                       fetch_memory=1,train=1,update_memory=1";

#[test]
fn a_failing_stage_ends_the_run_with_its_message() {
    let program = Program::new();
    for memory in ["host", "device"] {
        for stage in STAGES {
            for schedule in ["mspipe", "sequential"] {
                let ended = program.run(&format!(
                    "{MEASURE} --memory {memory} --schedule {schedule} --fail {stage}:20:error"
                ));
                let expected = format!(
                    "error: {schedule}: iteration 20, {stage}: failed on purpose (--fail)\n"
                );
                assert_eq!((ended.code, ended.stderr), (Some(1), expected));
                assert_eq!(ended.stdout, "");
            }
        }
    }
}

#[test]
fn a_thread_that_dies_ends_the_run_with_its_message() {
    let program = Program::new();
    for memory in ["host", "device"] {
        for stage in STAGES {
            let fail = format!("{MEASURE} --memory {memory} --fail {stage}:20:panic --schedule");
            let ended = program.run(&format!("{fail} exact-overlap"));
            let thread = thread_of(stage, memory);
            let expected = format!(
                "error: exact-overlap: the {thread} thread panicked in {stage} of iteration 20: \
                 failed on purpose (--fail); this is a bug in mspipe\n"
            );
            assert_eq!(ended.code, Some(1), "{}", ended.stderr);
            assert!(ended.stderr.ends_with(&expected), "{}", ended.stderr);

            let ended = program.run(&format!("{fail} sequential"));
            let expected =
                "error: sequential: the device thread stopped: failed on purpose (--fail)\n";
            assert_eq!(ended.code, Some(1), "{}", ended.stderr);
            assert!(ended.stderr.ends_with(expected), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_failure_that_cannot_come_is_refused() {
    let program = Program::new();
    for (failure, expected) in [
        ("train:40:error", "expected one of 0 to 39"),
        ("trian:4:error", "STAGE one of sample, fetch_features"),
        ("train:4:crash", "expected STAGE:ITERATION:error or"),
        ("train:x:panic", "expected STAGE:ITERATION:error or"),
    ] {
        let ended = program.run(&format!("{MEASURE} --fail {failure}"));
        assert_ne!(ended.code, Some(0));
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}

/// A run of 62 iterations per epoch; where memory lies follows.
pub(crate) const TRAIN: &str = "train --data synthetic:wikipedia:scale=0.02 --device cpu --width 16 \
                     --time-width 8 --edge-features random:4 --batch-size 36 --memory";

/// Iteration and loss of each iteration in a run's metrics.
fn losses(run: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.get("loss").is_some())
        .map(|line| {
            (
                line["iteration"].as_u64().unwrap(),
                line["loss"].to_string(),
            )
        })
        .collect()
}

#[test]
fn threads_change_no_number_of_a_stale_training() {
    let program = Program::new();
    let train = format!("{TRAIN} host --epochs 1 --schedule staleness:3 --limit-events 1500");
    for (out, options) in [
        ("one", "--threads 1 --queue-depth 1"),
        ("two", "--threads 2 --queue-depth 5"),
        ("slow", "--threads 2 --emulate-link 20MB/s,1ms"),
    ] {
        let ended = program.run(&format!("{train} --out {out} {options}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let one = losses(&program.path("one"));
    assert_eq!(one.len(), 30);
    assert_eq!(losses(&program.path("two")), one);
    assert_eq!(losses(&program.path("slow")), one);
    let ap = |run: &str| program.json(&format!("{run}/summary.json"))["test"]["ap"].clone();
    assert_eq!(ap("two"), ap("one"));
}

#[test]
fn an_emulated_link_takes_its_time_and_is_named() {
    let program = Program::new();
    let options = "--epochs 1 --limit-events 1500 --schedule sequential --emulate-link";
    let ended = program.run(&format!("{TRAIN} host {options} 12GB/s,2ms --out run"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = ended
        .stdout
        .matches("EMULATED link of 12 GB/s, 2ms")
        .count();
    assert_eq!(said, 2, "{}", ended.stdout);
    let config = program.json("run/config.json");
    assert_eq!(config["pipeline"]["emulate_link"], "12 GB/s, 2ms");
    let summary = program.json("run/summary.json");
    assert_eq!(summary["emulated_link"], "12 GB/s, 2ms");
    for stage in ["fetch_features", "fetch_memory", "update_memory"] {
        // 30 iterations, one transfer in each.
        let seconds = summary["stage_seconds"][stage].as_f64().unwrap();
        assert!(seconds >= 0.060, "{stage}: {seconds} s");
    }
    // In turn, the part of training that makes the new memory is told from the rest.
    let [updater, train] = [
        &summary["updater_seconds"],
        &summary["stage_seconds"]["train"],
    ];
    let [updater, train] = [updater, train].map(|seconds| seconds.as_f64().unwrap());
    assert!(0.0 < updater && updater < train, "{updater} of {train} s");

    let refused = program.run(&format!("{TRAIN} device {options} 12GB/s,20us"));
    assert_eq!(refused.code, Some(1));
    assert_eq!(
        refused.stderr,
        "error: --emulate-link is 12 GB/s, 20µs with --memory device, expected --memory host \
         with it: memory on the device crosses no bus\n"
    );
}
