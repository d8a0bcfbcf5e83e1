//! The program when it is asked to end, and when nobody reads what it prints.

use std::process::Stdio;

use crate::program::{Program, watched};

/// Commands, and whether what they print is what they are for.
const PRINTING: [(&str, bool); 11] = [
    ("--help", true),
    ("train --help", true),
    ("devices", true),
    ("data list", true),
    ("data info synthetic:wikipedia:scale=0.01", true),
    ("data check synthetic:wikipedia:scale=0.01", true),
    (
        "schedule simulate --stages sample=1,fetch_features=1,fetch_memory=1,train=1,update_memory=1 --json",
        true,
    ),
    (
        "train --data synthetic:wikipedia:scale=0.01 --device cpu --dry-run",
        true,
    ),
    (
        "train --data synthetic:wikipedia:scale=0.01 --device cpu --width 8 --time-width 8 --epochs 2 --json",
        true,
    ),
    (
        "train --data synthetic:wikipedia:scale=0.01 --device cpu --width 8 --time-width 8 --epochs 2",
        false,
    ),
    (
        "eval runs/synthetic-wikipedia-scale-0-01-tgn-1 --device cpu",
        true,
    ),
];

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let program = Program::new();
    for (arguments, _) in PRINTING {
        // Both at once: a terminal that was closed.
        let mut command = program.command(arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stderr(writer.try_clone().unwrap()).stdout(writer);
        let ended = watched(command.spawn().unwrap(), arguments);
        assert_eq!(ended.code, Some(0), "{arguments}");
    }
    let first = program.json("runs/synthetic-wikipedia-scale-0-01-tgn-1/summary.json");
    let second = program.json("runs/synthetic-wikipedia-scale-0-01-tgn-2/summary.json");
    assert_eq!(first["test"], second["test"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_said_once_and_ends_no_run() {
    let program = Program::new();
    for (arguments, product) in PRINTING {
        let mut command = program.command(arguments);
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        command.stdout(full).stderr(Stdio::piped());
        let ended = watched(command.spawn().unwrap(), arguments);
        let expected = match product {
            true => {
                "error: the answer can't be written to stdout: No space left on device (os error 28)\n"
            }
            false => {
                "warning: stdout can't be written: No space left on device (os error 28); continuing without it\n"
            }
        };
        assert_eq!(ended.stderr, expected, "{arguments}");
        assert_eq!(ended.code, Some(i32::from(product)), "{arguments}");
    }
    assert!(
        program
            .path("runs/synthetic-wikipedia-scale-0-01-tgn-2/report.html")
            .exists()
    );
}

#[test]
fn names_that_a_terminal_would_obey_are_shown() {
    let program = Program::new();
    let name = "a\u{1b}]0;owned\u{7}\u{9b}2J.csv";
    for arguments in [
        "data info",
        "data check",
        "export --to x.safetensors",
        "train --data",
    ] {
        let mut command = program.command(arguments);
        command
            .arg(name)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ended = watched(command.spawn().unwrap(), arguments);
        let said = ended.stderr + &ended.stdout;
        assert!(
            said.contains("a\\u001b]0;owned\\u0007\\u009b2J.csv"),
            "{said}"
        );
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{said}");
    }
}

#[cfg(unix)]
mod signals {
    use std::fs;
    use std::os::unix::process::CommandExt as _;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::thread;
    use std::time::Instant;

    use nix::sys::signal::{SigHandler, Signal, kill, signal};
    use nix::unistd::Pid;
    use serde_json::Value;

    use super::{Program, watched};
    use crate::pipeline_cli::TRAIN;
    use crate::program::{GLANCE, PATIENCE};

    const ALL: [(Signal, i32); 3] = [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ];

    /// Starts the program with these signals ignored, and all others as they are by default: what
    /// runs the tests may have been started in the background, where Ctrl-C is ignored.
    fn start(mut command: Command, ignored: &'static [Signal]) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let set = move || {
            for (one, _) in ALL {
                let handler = match ignored.contains(&one) {
                    true => SigHandler::SigIgn,
                    false => SigHandler::SigDfl,
                };
                // SAFETY: neither is a function.
                unsafe { signal(one, handler) }?;
            }
            Ok(())
        };
        // SAFETY: it sets dispositions of signals and nothing else.
        unsafe { command.pre_exec(set) };
        command.spawn().unwrap()
    }

    fn send(program: &Child, signal: Signal) {
        kill(Pid::from_raw(program.id() as i32), signal).unwrap();
    }

    fn wait_until(what: &str, mut come: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !come() {
            assert!(begin.elapsed() < PATIENCE, "{what}: does not come");
            thread::sleep(GLANCE);
        }
    }

    /// Lines of losses in the metrics of a run that may be writing them.
    fn losses_written(run: &Path) -> usize {
        let metrics = fs::read_to_string(run.join("metrics.jsonl"));
        metrics.map_or(0, |text| text.matches("\"loss\"").count())
    }

    /// Files that are neither whole nor kept on purpose.
    fn unfinished(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.') || name.ends_with(".tmp"))
            .collect()
    }

    #[test]
    fn a_run_ends_after_the_current_iteration() {
        let program = Program::new();
        let schedules = ["mspipe", "exact-overlap", "sequential"];
        for ((signal, code), schedule) in ALL.into_iter().zip(schedules) {
            let train =
                format!("{TRAIN} host --epochs 1000 --schedule {schedule} --out {schedule}");
            let training = start(program.command(&train), &[]);
            let run = program.path(schedule);
            wait_until(schedule, || losses_written(&run) > 0);
            send(&training, signal);
            let ended = watched(training, &train);
            assert_eq!(ended.code, Some(code), "{}", ended.stderr);
            // Losses up to the iteration that it names are there, and none after it. An epoch that
            // it came at the end of has its own line after them.
            let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
            let mut losses = metrics.lines().filter(|line| line.contains("\"loss\""));
            let last: Value = serde_json::from_str(losses.next_back().unwrap()).unwrap();
            assert_eq!(
                ended.stderr,
                format!(
                    "interrupted after epoch {}, iteration {}; a checkpoint of it is written\n\
                     resume with: mspipe train --resume {schedule}\n",
                    last["epoch"], last["iteration"]
                )
            );
            assert!(!run.join("summary.json").exists());
            assert_eq!(unfinished(&run), [""; 0]);
        }
    }

    #[test]
    fn an_evaluation_ends_after_the_current_batch_and_goes_on_in_it() {
        let program = Program::new();
        // 62 iterations of a moment, and a validation of many.
        let options = "device --epochs 1 --protocol tgb --candidates 300 --model jodie";
        let whole = program.run(&format!("{TRAIN} {options} --out whole"));
        assert_eq!(whole.code, Some(0), "{}", whole.stderr);
        for (signal, code) in ALL {
            let train = format!("{TRAIN} {options} --out {code}");
            let training = start(program.command(&train), &[]);
            let run = program.path(&code.to_string());
            wait_until("the end of the epoch", || losses_written(&run) == 62);
            send(&training, signal);
            let ended = watched(training, &train);
            assert_eq!(
                ended.stderr,
                format!(
                    "interrupted after epoch 1, iteration 61; a checkpoint of it is written\n\
                     resume with: mspipe train --resume {code}\n"
                )
            );
            assert_eq!(ended.code, Some(code));
            let resumed = program.run(&format!("train --resume {code}"));
            assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
            let numbers = |run: &str| {
                let summary = program.json(&format!("{run}/summary.json"));
                (summary["test"].clone(), summary["epochs"][0]["val"].clone())
            };
            assert_eq!(numbers(&code.to_string()), numbers("whole"));
        }
    }

    #[test]
    fn a_conversion_ends_and_leaves_nothing() {
        let program = Program::new();
        let cache = program.path("cache");
        for (signal, code) in ALL {
            let info = "data info synthetic:wikipedia:scale=5";
            let converting = start(program.command(info), &[]);
            wait_until("the conversion", || !unfinished(&cache).is_empty());
            send(&converting, signal);
            let ended = watched(converting, info);
            let expected = "interrupted before it was done; start it again\n";
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), expected));
            assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_has_nothing_to_keep_ends_at_once() {
        let program = Program::new();
        // 40 iterations of 20 s.
        let measure = "schedule measure --iterations 40 --schedule sequential --stages \
                       sample=20s,fetch_features=1,fetch_memory=1,train=1,update_memory=1";
        for (signal, code) in ALL {
            let measuring = start(program.command(measure), &[]);
            // Whether it listens already or not.
            thread::sleep(10 * GLANCE);
            send(&measuring, signal);
            let status = measuring.wait_with_output().unwrap().status;
            let by_default = std::os::unix::process::ExitStatusExt::signal(&status);
            assert!(
                status.code() == Some(code) || by_default == Some(signal as i32),
                "{status}"
            );
        }
    }

    #[test]
    fn a_second_signal_ends_at_once_and_nohup_is_heeded() {
        let program = Program::new();
        // The transfers of an iteration take an hour: only a second signal ends it.
        let train = format!("{TRAIN} host --emulate-link 1GB/s,3600s --out");
        let stuck = |run: &'static str, ignored| {
            let training = start(program.command(&format!("{train} {run}")), ignored);
            wait_until(run, || program.path(run).join("config.json").exists());
            training
        };
        let goes_on = |training: &mut Child| {
            thread::sleep(10 * GLANCE);
            training.try_wait().unwrap().is_none()
        };
        let mut training = stuck("twice", &[]);
        // A closing terminal and its shell send one each.
        for _ in 0..3 {
            send(&training, Signal::SIGHUP);
            assert!(goes_on(&mut training));
        }
        send(&training, Signal::SIGINT);
        assert_eq!(watched(training, "SIGHUP, SIGINT").code, Some(130));

        let mut training = stuck("nohup", &[Signal::SIGHUP]);
        send(&training, Signal::SIGHUP);
        send(&training, Signal::SIGTERM);
        assert!(goes_on(&mut training));
        send(&training, Signal::SIGHUP);
        assert!(goes_on(&mut training));
        send(&training, Signal::SIGTERM);
        assert_eq!(watched(training, "SIGTERM twice").code, Some(143));
    }
}
