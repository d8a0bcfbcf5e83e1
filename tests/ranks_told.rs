//! What a run of ranks says of itself: before it begins, while it trains, and afterwards.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::event_files;
use crate::program::{Ended, Program, watched};

const SMALL: &str = "--data synthetic:wikipedia:scale=0.02 --device cpu --edge-features random:4 --width 16 --time-width 8 \
                     --fanout 4 --model tgn --limit-events 1658 --threads 2 --schedule sequential";

#[test]
fn a_run_says_who_shares_its_batches() {
    let program = Program::new();
    let train = |options: &str| {
        let ended = program.run(&format!("train {SMALL} --epochs 1 {options}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    let alone = train("--batch-size 60 --out runs/alone");
    assert!(!alone.contains("ranks  "), "{alone}");
    let words =
        "2 by threads of one process (threads:2), which share batches of 60 events, 30 each";
    let together = train("--batch-size 30 --ranks threads:2 --out runs/together");
    assert!(
        together.contains(&format!("\nranks     {words}\n")),
        "{together}"
    );
    let summary = program.json("runs/together/summary.json");
    assert_eq!(summary["ranks"], "threads:2");
    assert_eq!(summary["batch_size"], 60);
    assert!(
        program
            .json("runs/alone/summary.json")
            .get("ranks")
            .is_none()
    );
    let page = std::fs::read_to_string(program.path("runs/together/report.html")).unwrap();
    assert!(page.contains(words));
    // They share the same batches, and are compared.
    let listed = program.run("runs").stdout;
    assert!(listed.contains("threads:2"), "{listed}");
    assert!(!listed.contains("can't be compared"), "{listed}");
    let listed: Value = serde_json::from_str(&program.run("runs --json").stdout).unwrap();
    assert_eq!(
        listed["differing"],
        serde_json::json!(["batch_size", "ranks"])
    );
    let runs = listed["runs"].as_array().unwrap();
    let batches: Vec<&Value> = runs
        .iter()
        .map(|run| &run["settings"]["batch_size"])
        .collect();
    assert_eq!(batches, [60, 60]);
}

#[test]
fn runs_are_compared_by_the_batch_that_all_ranks_share() {
    let program = Program::new();
    for options in [
        "--batch-size 60 --out alone",
        "--batch-size 30 --ranks threads:2 --out together",
        "--batch-size 15 --ranks threads:4 --out four",
        "--batch-size 60 --ranks threads:2 --out larger",
        "--batch-size 30 --ranks threads:2 --seeds 2 --out seeds",
    ] {
        let ended = program.run(&format!("train {SMALL} --epochs 1 {options}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    for [one, other] in [
        ["alone", "together"],
        ["together", "four"],
        ["alone", "seeds"],
        ["seeds", "four"],
    ] {
        let ended = program.run(&format!("compare {one} {other} --json"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let said: Value = serde_json::from_str(&ended.stdout).unwrap();
        let differ = said["differ"].as_array().unwrap();
        assert_eq!(differ.len(), 1, "{differ:?}");
        assert!(
            differ[0].as_str().unwrap().starts_with("ranks: "),
            "{differ:?}"
        );
    }
    for other in ["alone", "together", "seeds"] {
        let ended = program.run(&format!("compare {other} larger"));
        assert_eq!(ended.code, Some(1), "{}", ended.stdout);
        let said = format!("larger: its batch_size is 120, and that of {other} is 60");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    }

    // One process evaluates, with the batches that were shared.
    for (options, batch) in [("", 60), ("--batch-size 20", 20)] {
        let ended = program.run(&format!("eval together {options} --json"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let said: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(said["batch_size"], batch);
    }
    let ended = program.run("eval together");
    assert!(!ended.stdout.contains("ranks  "), "{}", ended.stdout);
}

#[test]
fn the_learning_rate_that_is_shown_is_that_of_the_ranks_that_began() {
    let program = Program::new();
    let ended = program.run(&format!(
        "train {SMALL} --epochs 2 --batch-size 30 --ranks threads:2 --learning-rate 1e-3 \
         --scale-learning-rate sqrt-ranks --log tensorboard --out run"
    ));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // As after an end in the second epoch.
    let run = program.path("run");
    fs::remove_file(run.join("summary.json")).unwrap();
    fs::rename(
        run.join("checkpoint-previous.safetensors"),
        run.join("checkpoint.safetensors"),
    )
    .unwrap();
    let ended = program.run("train --resume run --ranks threads:3");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = "warning: --scale-learning-rate: the learning rate stays 1.414e-3, as the ranks that the run began with \
                made it; those of now would make it 1.732e-3\n";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    let rates = event_files::values(&run, "train/learning_rate");
    assert_eq!(
        rates.len(),
        60,
        "two epochs of 20 iterations, one of them twice"
    );
    let expected = (1e-3 * 2f64.sqrt()) as f32;
    assert!(rates.iter().all(|&rate| rate == expected), "{rates:?}");
}

/// How `arguments` end in process `number` of so many that Open MPI has started.
fn started(program: &Program, [processes, number]: [usize; 2], arguments: &str) -> Ended {
    let mut command = program.command(arguments);
    command
        .env("OMPI_COMM_WORLD_SIZE", processes.to_string())
        .env("OMPI_COMM_WORLD_RANK", number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    watched(command.spawn().unwrap(), arguments)
}

#[test]
fn processes_that_share_nothing_are_told_so() {
    let program = Program::new();
    let train = format!("train {SMALL} --epochs 1 --batch-size 30");
    let of_runs = "4 processes were started together (OMPI_COMM_WORLD_SIZE); without --ranks mpi each trains a run of its own\n";
    for options in [
        "--dry-run",
        "--ranks threads:2 --dry-run",
        "--ranks threads:2 --out run",
    ] {
        let arguments = format!("{train} {options}");
        let ended = started(&program, [4, 0], &arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches(of_runs).count(), 1, "{}", ended.stderr);
    }
    let other = started(&program, [4, 1], &format!("{train} --dry-run"));
    assert!(
        !other.stderr.contains("were started together"),
        "{}",
        other.stderr
    );
    fs::remove_file(program.path("run/summary.json")).unwrap();
    for options in ["--dry-run", ""] {
        let ended = started(&program, [4, 0], &format!("train --resume run {options}"));
        let said = "without --ranks mpi:4 each resumes this run by itself, which one alone can\n";
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
    }
    let ended = started(&program, [4, 2], "train --resume none");
    assert_eq!(ended.code, Some(1));
    let said = "error: rank 2 ended: none: holds no run here (there is no none/config.json); the machine of each rank \
                needs the folder of the run under the same name\n";
    assert_eq!(ended.stderr, said);
}

#[test]
fn what_each_rank_has_is_estimated_and_refused_where_it_does_not_fit() {
    let program = Program::new();
    let estimate = |ranks: usize| -> Value {
        let batch = 60 / ranks;
        let options = format!("--batch-size {batch} --ranks threads:{ranks} --dry-run --json");
        let ended = program.run(&format!("train {SMALL} {options}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let (one, four) = (estimate(1), estimate(4));
    let share = |of: &Value, what: &str| {
        let shares = of["shares"].as_array().unwrap();
        let share = shares.iter().find(|share| share["what"] == what).unwrap();
        share["ram_bytes"].as_u64().unwrap() + share["device_bytes"].as_u64().unwrap()
    };
    for (what, times) in [
        ("node memory", 4),
        ("parameters and optimiser", 4),
        ("graph (T-CSR)", 1),
    ] {
        assert_eq!(share(&four, what), times * share(&one, what), "{what}");
    }
    // Each has a quarter of the batch.
    let [whole, shared] = [&one, &four].map(|of| share(of, "batches in flight"));
    assert!(shared < 4 * whole, "{shared} {whole}");
    let all = |of: &Value| of["ram_bytes"].as_u64().unwrap();
    assert!(all(&four) > all(&one) + share(&four, "threads of ranks"));

    // Terabytes, of which each of the ranks has some gigabytes.
    let large = format!("{SMALL} --batch-size 1 --ranks threads:1024 --out large")
        .replace("--width 16", "--width 4096");
    for dry in ["", "--dry-run"] {
        let ended = program.run(&format!("train {large} {dry}"));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let said = "try fewer ranks (--ranks threads:R): each has its own";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(!program.path("large").exists());
    }
}
