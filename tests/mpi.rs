//! Ranks that are processes of an MPI job, as `mpirun` starts them: the bits of threads, and how each kind of
//! end looks. Needs `mpirun`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(unix)]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use program::{Ended, GLANCE, PATIENCE, Program, watched};

/// The program in a folder of its own.
#[allow(dead_code, reason = "shared with the tests without MPI")]
mod program;

/// A run, without the number of ranks and the batch.
const TRAIN: &str = "train --data synthetic:wikipedia:scale=0.02 --device cpu --edge-features random:4 --width 16 \
                     --time-width 8 --fanout 4 --model tgn --limit-events 1658 --threads 1 --schedule staleness:2 \
                     --memory host";

/// Starts a job: each of `parts` is a process with these arguments.
fn job(program: &Program, parts: &[String]) -> Child {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe"]);
    for (nth, part) in parts.iter().enumerate() {
        if nth > 0 {
            command.arg(":");
        }
        command.args(["-n", "1", env!("CARGO_BIN_EXE_mspipe")]);
        command.args(part.split_whitespace());
    }
    command
        .current_dir(program.folder.path())
        .env("MSPIPE_CACHE_DIR", program.path("cache"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(program: &Program, parts: &[String]) -> Ended {
    watched(job(program, parts), &parts.join(" : "))
}

/// Two equal processes that train into `out`.
fn pair(out: &str, options: &str) -> Vec<String> {
    vec![format!("{TRAIN} --batch-size 30 --ranks mpi --out {out} {options}"); 2]
}

fn weights(program: &Program, run: &str) -> Vec<u8> {
    fs::read(program.path(&format!("{run}/weights.safetensors"))).unwrap()
}

#[test]
fn processes_give_the_bits_of_threads() {
    let program = Program::new();
    let threads = program.run(&format!(
        "{TRAIN} --batch-size 30 --ranks threads:2 --epochs 2 --out threads"
    ));
    assert_eq!(threads.code, Some(0), "{}", threads.stderr);
    let processes = run(&program, &pair("processes", "--epochs 2 --profile"));
    assert_eq!(processes.code, Some(0), "{}", processes.stderr);
    // What rank 0 spent.
    let profile = &program.json("processes/summary.json")["profile"];
    assert!(profile.is_object(), "{profile}");
    assert!(weights(&program, "threads") == weights(&program, "processes"));
    let test = |run: &str| program.json(&format!("{run}/summary.json"))["test"].clone();
    assert_eq!(test("threads"), test("processes"));
    // One rank speaks.
    assert_eq!(
        processes.stdout.matches("written   ").count(),
        1,
        "{}",
        processes.stdout
    );
}

#[test]
fn ranks_that_differ_are_refused() {
    let program = Program::new();
    let mut parts = pair("run", "--epochs 1");
    parts[1] += " --seed 5";
    let ended = run(&program, &parts);
    assert_ne!(ended.code, Some(0));
    let said = "rank 1 has seed 5, rank 0 has 0";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
    assert!(!program.path("run/metrics.jsonl").exists());
    let mut parts = pair("run", "--epochs 1");
    parts[1] = parts[1].replace("scale=0.02", "scale=0.03");
    let ended = run(&program, &parts);
    assert!(
        ended
            .stderr
            .contains("rank 1 has stream's name \"synthetic:wikipedia:scale=0.03\", rank 0 has"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_error_on_one_rank_ends_all() {
    let program = Program::new();
    let mut parts = pair("run", "--epochs 1");
    parts[1] = parts[1].replace("synthetic:wikipedia:scale=0.02", "none.csv");
    let ended = run(&program, &parts);
    assert_ne!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("rank 1 ended: none.csv"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_rank_with_another_checkpoint_is_refused() {
    let program = Program::new();
    let ended = signalled(&program, "run", "-INT");
    assert_ne!(ended.code, Some(0));
    // As on a machine that has no newer copy of the folder.
    fs::create_dir(program.path("old")).unwrap();
    fs::copy(
        program.path("run/config.json"),
        program.path("old/config.json"),
    )
    .unwrap();
    let parts = ["run", "old"].map(|folder| format!("train --resume {folder}"));
    let ended = run(&program, &parts);
    assert_ne!(ended.code, Some(0));
    let said = "rank 1 has checkpoint \"none\", rank 0 has \"of epoch ";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

/// Processes that a process has started.
fn children(of: u32) -> Vec<u32> {
    let read = fs::read_to_string(format!("/proc/{of}/task/{of}/children"));
    let list = read.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Starts two ranks, sends `signal` to the second one when there is a checkpoint, and waits for the end.
fn signalled(program: &Program, out: &str, signal: &str) -> Ended {
    let mut job = job(program, &pair(out, "--epochs 60 --checkpoint-every 5"));
    let checkpoint = program.path(&format!("{out}/checkpoint.safetensors"));
    let begin = Instant::now();
    while !checkpoint.exists() {
        assert!(job.try_wait().unwrap().is_none(), "it ended before");
        assert!(begin.elapsed() < PATIENCE, "no checkpoint comes");
        thread::sleep(GLANCE);
    }
    let ranks = children(job.id());
    assert_eq!(ranks.len(), 2, "mpirun has started two");
    let second = ranks[1].to_string();
    let sent = Command::new("kill").args([signal, &second]).status();
    assert!(sent.unwrap().success());
    watched(job, signal)
}

#[test]
fn a_signal_to_one_rank_ends_all_with_a_checkpoint() {
    let program = Program::new();
    let ended = signalled(&program, "run", "-INT");
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("interrupted after epoch"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("a checkpoint of it is written"),
        "{}",
        ended.stderr
    );
    for other in ["error: interrupted", "rank 1 ended"] {
        assert!(!ended.stderr.contains(other), "{}", ended.stderr);
    }
    let command = "mpirun -n 2 mspipe train --resume run";
    assert!(
        ended
            .stderr
            .contains(&format!("\nresume with: {command}\n")),
        "{}",
        ended.stderr
    );
    // Whoever forgets mpirun is told the same.
    let alone = program.run("train --resume run");
    assert_eq!(alone.code, Some(1));
    let said = format!("found 1 process; resume with as many as before,\n  {command}\n");
    assert!(alone.stderr.contains(&said), "{}", alone.stderr);
    let ended = signalled(&program, "other", "-TERM");
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
}

/// A process that nobody has started with others.
fn alone(program: &Program, options: &str, variable: Option<(&str, &str)>) -> Ended {
    let mut command = program.command(&format!("{TRAIN} --batch-size 30 --ranks mpi {options}"));
    command.envs(variable);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    watched(command.spawn().unwrap(), options)
}

#[test]
fn a_process_that_is_alone_says_so() {
    let program = Program::new();
    let ended = alone(&program, "--epochs 1 --out run", None);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = "note      --ranks mpi: this process is ALONE";
    assert!(ended.stdout.contains(said), "{}", ended.stdout);
    // One of several that MPI does not know of would train a run of its own.
    let ended = alone(&program, "--out other", Some(("SLURM_STEP_NUM_TASKS", "4")));
    let said =
        "4 processes were started (SLURM_STEP_NUM_TASKS), and each is alone for the MPI library";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(!program.path("other").exists());
}

#[test]
fn a_stream_that_one_rank_alone_would_get_is_refused() {
    let program = Program::new();
    let of_stdin = |part: String| part.replace("synthetic:wikipedia:scale=0.02", "-");
    let parts: Vec<String> = pair("run", "--epochs 1")
        .into_iter()
        .map(of_stdin)
        .collect();
    let ended = run(&program, &parts);
    assert_ne!(ended.code, Some(0));
    let said = "--data is -, expected a file or a data set with --ranks mpi";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
}

#[test]
fn ranks_say_how_many_they_are() {
    let program = Program::new();
    let ended = run(&program, &pair("run", "--epochs 1"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = "ranks     2 by MPI (mpi:2), which share batches of 60 events, 30 each";
    assert_eq!(ended.stdout.matches(said).count(), 1, "{}", ended.stdout);
    assert_eq!(program.json("run/summary.json")["ranks"], "mpi:2");
}

#[test]
fn a_rank_that_is_killed_ends_the_job_and_threads_resume_it() {
    let program = Program::new();
    let ended = signalled(&program, "run", "-KILL");
    assert_ne!(ended.code, Some(0));
    let whole = run(&program, &pair("whole", "--epochs 60"));
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    // Threads go on with the bits of processes.
    let resumed = program.run("train --resume run --ranks threads:2");
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert!(weights(&program, "run") == weights(&program, "whole"));
}

#[test]
fn processes_resume_what_processes_began() {
    let program = Program::new();
    let ended = signalled(&program, "run", "-INT");
    assert_ne!(ended.code, Some(0));
    let whole = run(&program, &pair("whole", "--epochs 60"));
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let resumed = run(&program, &["train --resume run"; 2].map(str::to_owned));
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert_eq!(resumed.stdout.matches("resumed   in epoch").count(), 1);
    assert!(weights(&program, "run") == weights(&program, "whole"));
}
