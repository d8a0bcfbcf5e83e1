//! What a sweep refuses, and when; what it says before it trains and while it does.

use std::fs;

use serde_json::Value;

use crate::program::{Ended, Program};

/// Two runs of a second.
const SMALL: &str = "out = \"sweep\"\n[settings]\ndata = \"synthetic:wikipedia:scale=0.002\"\ndevice = \"cpu\"\n\
                     time_width = 8\nbatch_size = 50\nepochs = 1\n[values]\nwidth = [8, 16]\n";

fn written(text: &str) -> Program {
    let program = Program::new();
    write(&program, "sweep.toml", text);
    program
}

fn write(program: &Program, name: &str, text: &str) {
    fs::write(program.path(name), text).unwrap();
}

fn swept(program: &Program) -> Ended {
    let ended = program.run("sweep sweep.toml");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// What is said of a file that no sweep follows from; nothing may be left of it.
fn refused(text: &str, expected: &str) {
    let program = written(text);
    for command in ["sweep sweep.toml --dry-run", "sweep sweep.toml"] {
        let ended = program.run(command);
        assert_eq!(ended.code, Some(1), "{command}: {}", ended.stdout);
        assert!(
            ended.stderr.contains(expected),
            "{command}: {}",
            ended.stderr
        );
        assert!(!program.path("sweep").exists(), "{command}");
    }
}

#[test]
fn what_a_run_would_refuse_is_found_before_the_first_begins() {
    refused(
        &SMALL.replace(
            "width = [8, 16]",
            "layers = [1, 2]\nmodel = [\"tgn\", \"jodie\"]",
        ),
        "sweep.toml:9: --layers is 2, expected 1 for this model, which has no attention layers (the run with \
         layers = 2, model = jodie)",
    );
    refused(
        &SMALL.replace("width = [8, 16]", "warmup = [0, 100000]"),
        "sweep.toml: --warmup is 100000 with 1 epochs of 5 iterations, expected fewer iterations than the run has \
         (the run with warmup = 100000)",
    );
    refused(
        &SMALL.replace("synthetic:wikipedia:scale=0.002", "nowhere.csv"),
        "nowhere.csv",
    );
}

#[test]
fn a_file_may_be_mended_until_a_run_has_begun_and_explained_later() {
    let program = written(&SMALL.replace("synthetic:wikipedia:scale=0.002", "later.csv"));
    assert_eq!(program.run("sweep sweep.toml").code, Some(1));
    // As earlier versions left it.
    fs::create_dir(program.path("sweep")).unwrap();
    write(
        &program,
        "sweep/sweep.toml",
        "out = \"sweep\"\n[values]\nwidth = [8]\n",
    );
    write(&program, "sweep.toml", SMALL);
    let said = swept(&program).stdout;
    for part in [
        "run       1 of 2: sweep/run-001 (width = 8)\n  epoch 1   loss ",
        "run       2 of 2: sweep/run-002 (width = 16)\n",
        "\nrun      width  trained  best epoch  val AP\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    write(&program, "sweep.toml", &format!("# Why.\n{SMALL}"));
    let again = swept(&program).stdout;
    assert!(!again.contains("1 of 2"), "{again}");
    let other = SMALL.replace("16", "24");
    write(&program, "sweep.toml", &other);
    let ended = program.run("sweep sweep.toml --dry-run");
    assert!(
        ended.stderr.contains("holds runs of another sweep"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_file_of_settings_that_changes_meanwhile_is_told() {
    let program = written(&SMALL.replace("[settings]", "config = \"run.toml\"\n[settings]"));
    write(
        &program,
        "run.toml",
        "learning_rate = 0.01\nout = \"elsewhere\"\n",
    );
    let said = swept(&program).stderr;
    assert!(
        said.contains("note: 'out' of run.toml (elsewhere) has no effect: "),
        "{said}"
    );
    // What changes no number may change.
    write(&program, "run.toml", "learning_rate = 1e-2\nthreads = 1\n");
    swept(&program);
    write(&program, "run.toml", "learning_rate = 0.02\n");
    let ended = program.run("sweep sweep.toml");
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains(
            "sweep/run-001: was begun with other settings (learning_rate was 0.01 and is 0.02)"
        ),
        "{}",
        ended.stderr
    );
}

#[test]
fn epochs_that_are_tried_are_trained() {
    let text = SMALL
        .replace("epochs = 1\n", "")
        .replace("width = [8, 16]", "epochs = [1, 2]");
    let program = written(&text);
    let ended = program.run("sweep sweep.toml --json");
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    let trials = result["trials"].as_array().unwrap();
    for trial in trials {
        let epochs = &trial["values"]["epochs"];
        assert_eq!(
            (&trial["epochs"], &trial["trained_epochs"]),
            (epochs, epochs)
        );
        let folder = trial["folder"].as_str().unwrap();
        assert_eq!(
            program.json(&format!("{folder}/config.json"))["epochs"],
            *epochs
        );
    }
    assert_ne!(trials[0]["epochs"], trials[1]["epochs"]);
}

#[test]
fn a_script_is_told_of_the_runs_too() {
    let program = written(SMALL);
    let ended = program.run("sweep sweep.toml --dry-run --json");
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(plan["method"], "grid");
    assert_eq!(plan["trials"][1]["name"], "run-002");
    assert_eq!(
        plan["trials"][1]["values"],
        serde_json::json!({"width": 16})
    );
    assert_eq!(plan["rungs"], serde_json::json!([1]));
    assert!(!program.path("sweep").exists());
}

#[test]
fn a_folder_of_a_sweep_is_told_from_one_of_a_run() {
    let program = written(SMALL);
    swept(&program);
    for (command, expected) in [
        (
            "report sweep",
            "holds a sweep, and no run (there is no summary.json); its page is sweep/report.html",
        ),
        (
            "report sweep sweep/run-001 --to x.html",
            "but a sweep, whose runs are the folders below it",
        ),
        (
            "train --resume sweep",
            "but a sweep, whose runs are the folders below it",
        ),
    ] {
        let ended = program.run(command);
        assert_eq!(ended.code, Some(1));
        assert!(
            ended.stderr.contains(expected),
            "{command}: {}",
            ended.stderr
        );
    }
}
