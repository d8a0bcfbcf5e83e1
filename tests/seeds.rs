//! Several runs that differ by their seeds, as a user runs and compares them.

use std::fs;

use serde_json::{Value, json};

use crate::program::Program;

const TRAIN: &str = "train --data=synthetic:wikipedia:scale=0.002 --device=cpu --width=16 \
                     --time-width=8 --batch-size=50 --epochs=1 --learning-rate=1e-2";

fn succeeds(program: &Program, arguments: &str) -> String {
    let ended = program.run(arguments);
    assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.stderr);
    ended.stdout
}

/// A number of a finished run.
fn of_run(program: &Program, run: &str, part: &str, measure: &str) -> f64 {
    let summary = program.json(&format!("{run}/summary.json"));
    summary[part][measure].as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

fn close(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
}

#[test]
fn several_seeds_are_the_runs_of_each_and_their_mean() {
    let program = Program::new();
    let said = succeeds(&program, &format!("{TRAIN} --seeds=3 --out=all"));
    let all = program.json("all/summary.json");
    assert_eq!(
        (&all["task"], &all["seeds"]),
        (&json!("seeds"), &json!([0, 1, 2]))
    );
    for (part, measure) in [("test", "ap"), ("test", "auc"), ("test_other_pool", "ap")] {
        let name = format!("{part}.{measure}");
        let of = &all["measures"][&name];
        let runs =
            [0, 1, 2].map(|seed| of_run(&program, &format!("all/seed-{seed}"), part, measure));
        assert_eq!(numbers(&of["values"]), runs, "{name}");
        let mean = runs.iter().sum::<f64>() / 3.0;
        let squares: f64 = runs.iter().map(|run| (run - mean).powi(2)).sum();
        let deviation = (squares / 2.0).sqrt();
        assert!(deviation > 0.0, "seeds give other numbers");
        close(&of["mean"], mean);
        close(&of["deviation"], deviation);
        let row = format!("{name:<34} {mean:.4} ± {deviation:.4}");
        assert!(said.contains(&row), "{row}\n{said}");
    }
    assert!(!said.contains("test.inductive.events"), "{said}");
    assert!(said.contains("SYNTHETIC"), "{said}");

    // Alone, a run gives the same.
    succeeds(&program, &format!("{TRAIN} --seed=1 --out=one"));
    let test = |run: &str| program.json(&format!("{run}/summary.json"))["test"].clone();
    assert_eq!(test("one"), test("all/seed-1"));

    // Interrupted before the last run had begun.
    fs::remove_file(program.path("all/summary.json")).unwrap();
    fs::remove_dir_all(program.path("all/seed-2")).unwrap();
    let said = succeeds(&program, "train --resume=all");
    assert_eq!(said.matches("seed      ").count(), 1, "{said}");
    assert_eq!(program.json("all/summary.json"), all);
    for again in [
        format!("{TRAIN} --seeds=3 --out=all"),
        "train --resume=all".to_owned(),
    ] {
        let ended = program.run(&again);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("has ended"), "{}", ended.stderr);
    }
    let ended = program.run(&format!("{TRAIN} --seeds=3"));
    assert!(
        ended.stderr.starts_with("error: --out is missing"),
        "{}",
        ended.stderr
    );
}

#[test]
fn two_settings_are_compared_by_the_seeds_that_both_have() {
    let program = Program::new();
    succeeds(&program, &format!("{TRAIN} --seeds=3 --out=one"));
    succeeds(
        &program,
        &format!("{TRAIN} --seed=1 --seeds=3 --lr-schedule=linear --out=other"),
    );
    let several = program.run("eval one");
    assert!(
        several
            .stderr
            .contains("give the folder of one of them, such as one/seed-0"),
        "{}",
        several.stderr
    );
    let text = succeeds(&program, "compare one other --json");
    let comparison: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(comparison["seeds"], json!([1, 2]));
    assert_eq!(
        comparison["differ"],
        json!(["lr_schedule: constant, linear"])
    );
    let of = comparison["measures"]["test.ap"].as_array().unwrap();
    let [one, other] = ["one", "other"].map(|runs| {
        [1, 2].map(|seed| of_run(&program, &format!("{runs}/seed-{seed}"), "test", "ap"))
    });
    assert_eq!(
        (numbers(&of[0]["values"]), numbers(&of[1]["values"])),
        (one.into(), other.into())
    );
    let differences = [other[0] - one[0], other[1] - one[1]];
    // Reading JSON may round.
    for (found, expected) in of[2]["values"].as_array().unwrap().iter().zip(differences) {
        close(found, expected);
    }
    close(&of[2]["mean"], (differences[0] + differences[1]) / 2.0);
    let said = succeeds(&program, "compare one other");
    assert!(
        said.contains("differs   lr_schedule") && said.contains("test.ap "),
        "{said}"
    );

    succeeds(
        &program,
        &format!("{TRAIN} --protocol=tgl --seed=7 --out=tgl"),
    );
    succeeds(&program, &format!("{TRAIN} --seed=7 --out=seven"));
    for rule in ["--eval-seed=3", "--hide-batch=on"] {
        let out = rule.split(['-', '=']).nth(2).unwrap();
        succeeds(&program, &format!("{TRAIN} --seed=7 {rule} --out={out}"));
    }
    for (arguments, expected) in [
        (
            "compare one tgl",
            "tgl: its protocol is \"tgl\", and that of one is \"default\"",
        ),
        ("compare one seven", "none in common"),
        (
            "compare one eval",
            "eval: its eval_seed is 3, and that of one is 0",
        ),
        (
            "compare one hide",
            "hide: its hide_batch is \"on\", and that of one is \"off\"",
        ),
        ("compare one missing", "missing: holds no finished run"),
    ] {
        let ended = program.run(arguments);
        assert_eq!(ended.code, Some(1), "{arguments}");
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}
