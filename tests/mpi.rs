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

/// Starts a job: each of `parts` is a process with these arguments, and before ` -- ` what starts it, if anything.
fn job(program: &Program, parts: &[String]) -> Child {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe"]);
    for (nth, part) in parts.iter().enumerate() {
        if nth > 0 {
            command.arg(":");
        }
        let (starter, part) = part.split_once(" -- ").unwrap_or(("", part));
        command.args(["-n", "1"]).args(starter.split_whitespace());
        command.arg(env!("CARGO_BIN_EXE_mspipe"));
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
    for (model, ranks, schedule) in [
        ("tgn", 2, "--schedule staleness:2 --memory host"),
        ("tgn --mitigation pres", 2, "--schedule staleness:3"),
        ("jodie", 4, "--schedule sequential"),
        ("apan", 4, "--schedule staleness:3 --memory host"),
    ] {
        let [threads, processes] =
            ["threads", "mpi"].map(|by| format!("{by}-{model}-{ranks}").replace(' ', ""));
        let train = TRAIN
            .replace("--model tgn", &format!("--model {model}"))
            .replace("--schedule staleness:2 --memory host", schedule);
        let train = format!("{train} --epochs 2 --batch-size {}", 60 / ranks);
        let ended = program.run(&format!("{train} --ranks threads:{ranks} --out {threads}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let parts = vec![format!("{train} --ranks mpi --out {processes} --profile"); ranks];
        let ended = run(&program, &parts);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        // What rank 0 spent.
        let profile = &program.json(&format!("{processes}/summary.json"))["profile"];
        assert!(profile.is_object(), "{profile}");
        assert!(
            weights(&program, &threads) == weights(&program, &processes),
            "{processes}"
        );
        let test = |run: &str| program.json(&format!("{run}/summary.json"))["test"].clone();
        assert_eq!(test(&threads), test(&processes));
        // One rank speaks.
        assert_eq!(
            ended.stdout.matches("written   ").count(),
            1,
            "{}",
            ended.stdout
        );
    }
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
    // One that has nothing to train.
    let mut parts = pair("run", "--epochs 1");
    parts[0] += " --dry-run";
    let ended = run(&program, &parts);
    assert_ne!(ended.code, Some(0));
    let said = "rank 0 ended while others had not: give all ranks the same command\n";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

/// Features that are too large for f32, which one event of the validation part sees: the source of event 705 comes
/// again in event 795, in the second rank's share of its batch.
fn too_large_for_one_rank(program: &Program) {
    let mut text =
        "user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n".to_owned();
    for event in 0..1000 {
        let (user, item) = match event {
            705 => (39, 0),
            795 => (39, 15),
            // None of its other end's later events sees it.
            706..720 => (event * 7 % 39, 0),
            _ => (event * 7 % 39, event % 20),
        };
        let value = if event == 705 { "3e38" } else { "0.5" };
        let features = [value; 40].join(",");
        text += &format!("{user},{item},{},0,{features}\n", 10 * event);
    }
    fs::write(program.path("huge.csv"), text).unwrap();
}

#[test]
fn an_error_while_a_rank_evaluates_ends_all_and_leaves_what_was_trained() {
    let program = Program::new();
    too_large_for_one_rank(&program);
    let options = "train --data huge.csv --device cpu --width 64 --time-width 8 --fanout 4 --model tgn --threads 2 \
                   --batch-size 30 --protocol tgb --candidates 5 --epochs 3";
    let threads = program.run(&format!("{options} --ranks threads:2 --out threads"));
    let parts = vec![format!("{options} --ranks mpi --out mpi"); 2];
    for (ended, run) in [(threads, "threads"), (run(&program, &parts), "mpi")] {
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        for said in [
            "error: rank 1 ended: evaluation: the score of event 795 with its candidate is NaN",
            "A checkpoint of epoch 1, iteration 12 is written: nothing that was trained is lost\n",
        ] {
            assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
        }
        assert!(
            program
                .path(&format!("{run}/checkpoint.safetensors"))
                .exists()
        );
    }
}

#[test]
fn files_that_each_rank_opens_itself_must_be_the_same() {
    let program = Program::new();
    let first = program.run(&format!("{TRAIN} --batch-size 60 --epochs 1 --out first"));
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    // Of each rank's machine, under the same name.
    for machine in ["a", "b"] {
        fs::create_dir(program.path(machine)).unwrap();
        let ledger = fs::read_to_string(program.path("first/ledger.jsonl")).unwrap();
        let ledger = match machine {
            "a" => ledger,
            _ => ledger.replace("\"k\":2", "\"k\":1"),
        };
        fs::write(program.path(&format!("{machine}/ledger.jsonl")), ledger).unwrap();
    }
    let parts: Vec<String> = ["a", "b"]
        .iter()
        .zip(pair("run", "--epochs 1"))
        .map(|(machine, part)| {
            let part = part.replace("staleness:2", "replay:ledger.jsonl");
            format!("env --chdir={machine} -- {part}")
        })
        .collect();
    let ended = run(&program, &parts);
    assert_ne!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("rank 1 has ledger's sha256 \""),
        "{}",
        ended.stderr
    );
    fs::remove_file(program.path("b/ledger.jsonl")).unwrap();
    let ended = run(&program, &parts);
    assert_ne!(ended.code, Some(0));
    let said = "ledger.jsonl: can't be read here: No such file or directory (os error 2); the machine of each rank needs \
                it under the same name";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[test]
fn processes_of_one_machine_are_estimated_together() {
    let program = Program::new();
    let ended = run(&program, &pair("run", "--dry-run --json"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let of = |name: &str| said["together"][name].clone();
    assert_eq!(of("ranks"), serde_json::json!([0, 1]));
    let both = 2 * said["ram_bytes"].as_u64().unwrap();
    assert_eq!(of("ram_bytes").as_u64().unwrap(), both);
    let ended = run(&program, &pair("run", "--dry-run"));
    let said = "\n  all 2 ranks of this machine ";
    assert!(ended.stdout.contains(said), "{}", ended.stdout);
    // One process of two, without the other.
    let alone = program.run(&format!("{TRAIN} --batch-size 30 --ranks mpi:2 --dry-run"));
    let said = "note: --ranks mpi:2: this is what one process needs";
    assert!(alone.stderr.contains(said), "{}", alone.stderr);

    // Each would fit, not both.
    let available = of("available_bytes").as_u64().unwrap();
    let parts = wide_enough(&program, available * 2 / 3);
    for dry in ["", " --dry-run"] {
        let parts: Vec<String> = parts.iter().map(|part| format!("{part}{dry}")).collect();
        let ended = run(&program, &parts);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        for said in [
            "error: ranks 0 and 1, which are processes of one machine, need up to ",
            "try fewer ranks on each machine, or ",
        ] {
            assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
        }
    }
    assert!(!program.path("wide").exists());
}

/// Two ranks that need about so many bytes each: what they need grows with the square of the width.
fn wide_enough(program: &Program, bytes: u64) -> Vec<String> {
    let part = |width: f64| {
        let one = &pair("wide", "--epochs 1")[0];
        one.replace("--width 16", &format!("--width {width}"))
    };
    let needs = |width: f64| {
        let alone = part(width).replace("--ranks mpi", "--ranks mpi:2");
        let dry = program.run(&format!("{alone} --dry-run --json"));
        let said: serde_json::Value = serde_json::from_str(&dry.stdout).unwrap();
        said["ram_bytes"].as_f64().unwrap()
    };
    // In units of 256: a + b x + c x² at 1, 2 and 3.
    let [one, two, three] = [256.0, 512.0, 768.0].map(needs);
    let c = (three - 2.0 * two + one) / 2.0;
    let b = two - one - 3.0 * c;
    let a = one - b - c;
    let x = ((b * b - 4.0 * c * (a - bytes as f64)).sqrt() - b) / (2.0 * c);
    let width = 256.0 * x;
    // Two heads have as much of it.
    vec![part(2.0 * (width / 2.0).round()); 2]
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
    let parts = pair(out, "--epochs 60 --checkpoint-every 5");
    struck(program, out, &parts, |second| {
        let mut kill = Command::new("kill");
        kill.args([signal, second]);
        kill
    })
}

/// Starts two ranks, has what `strike` makes of the second one's number run when there is a checkpoint in `out`,
/// and waits for the end.
fn struck(
    program: &Program,
    out: &str,
    parts: &[String],
    strike: impl Fn(&str) -> Command,
) -> Ended {
    let mut job = job(program, parts);
    let checkpoint = program.path(&format!("{out}/checkpoint.safetensors"));
    let begin = Instant::now();
    while !checkpoint.exists() {
        assert!(job.try_wait().unwrap().is_none(), "it ended before");
        assert!(begin.elapsed() < PATIENCE, "no checkpoint comes");
        thread::sleep(GLANCE);
    }
    let ranks = children(job.id());
    assert_eq!(ranks.len(), 2, "mpirun has started two");
    let mut strike = strike(&ranks[1].to_string());
    assert!(strike.status().unwrap().success());
    watched(job, &format!("{strike:?}"))
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
    for said in [
        "ranks     2 by MPI (mpi:2), which share batches of 60 events, 30 each",
        "machine   ranks 0 and 1 on one machine need up to ",
    ] {
        assert_eq!(ended.stdout.matches(said).count(), 1, "{}", ended.stdout);
    }
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
