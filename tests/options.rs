//! Every option of every command with its extremes: it is taken or refused, never a panic, an
//! abort or a hang. Which options there are is read from what `--help` prints.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use crate::program::Program;

/// Ends of the types that options have, and what is no number.
const EXTREMES: [&str; 8] = [
    "",
    "0",
    "-1",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "NaN",
    "1e308",
];

/// Words that are followed by a number, for the options that take them.
const WITH_A_NUMBER: [(&str, &str); 12] = [
    ("candidates", "half-historical:"),
    ("edge-features", "random:"),
    ("node-features", "random:"),
    ("features", "device:"),
    ("schedule", "staleness:"),
    ("schedule", "freshest:"),
    ("device", "gpu:"),
    ("limits", "alignment:"),
    ("data", "synthetic:wikipedia:scale="),
    ("data", "synthetic:wikipedia:scale=0.002:seed="),
    ("fail", "train:"),
    ("checkpoint-every", ""),
];

/// What the standard library's parsers say, which says nothing to a person.
const RUSTS_OWN: [&str; 6] = [
    "invalid digit",
    "invalid float",
    "cannot parse",
    "too large to fit",
    "too small to fit",
    " is not in ",
];

const STREAM: &str = "--data=synthetic:wikipedia:scale=0.002 --device=cpu --width=16 \
                      --time-width=8 --batch-size=100";

const STAGES: &str = "--stages=sample=0.1,fetch_features=0.1,fetch_memory=0.1,train=0.1,\
                      update_memory=0.1 --iterations=40 --link=1GB/s,1us --bytes=fetch_memory=1";

/// Each command with arguments that it works with.
fn commands() -> [(&'static str, String); 21] {
    let simulated = format!("{STAGES} --gantt=a.svg --trace=a.json");
    [
        ("train", format!("{STREAM} --dry-run")),
        ("eval", "run --device=cpu".to_owned()),
        (
            "audit",
            format!("{STREAM} --model=jodie --limit-events=300 --probes=1"),
        ),
        ("export", "run --to=a.safetensors --force".to_owned()),
        ("score", "run --device=cpu --pairs=pairs.csv".to_owned()),
        ("top-k", "run --device=cpu --sources=1,2".to_owned()),
        ("embed", "run --device=cpu --to=a.npy --force".to_owned()),
        (
            "update",
            "run --device=cpu --events=events.txt --to=b.safetensors --force".to_owned(),
        ),
        // Refused for its address without a token: else it would serve on.
        ("serve", "run --device=cpu --http=0.0.0.0:0".to_owned()),
        ("devices", String::new()),
        ("config", STREAM.to_owned()),
        ("man", "train".to_owned()),
        ("runs", ".".to_owned()),
        ("report", "run --force".to_owned()),
        ("sweep", "none.toml".to_owned()),
        ("data import", "events.txt --to=store".to_owned()),
        ("data info", "events.txt".to_owned()),
        ("data check", "events.txt".to_owned()),
        ("data fetch", "no-such-set".to_owned()),
        ("schedule simulate", simulated),
        ("schedule measure", format!("{STAGES} --schedule=prefetch")),
    ]
}

/// Options that take a value, as a command's help lists them.
fn options(program: &Program, command: &str) -> Vec<String> {
    let help = program.run(&format!("{command} --help")).stdout;
    let names = help.lines().filter_map(|line| {
        let (name, value) = line.trim_start().strip_prefix("--")?.split_once(' ')?;
        value.starts_with('<').then(|| name.to_owned())
    });
    names.collect()
}

/// All values to try.
fn values(option: &str) -> Vec<String> {
    let plain = EXTREMES.map(str::to_owned).into_iter();
    let words = WITH_A_NUMBER.iter().filter(|(of, _)| *of == option);
    let more = words.flat_map(|(_, word)| {
        let end = match option {
            "fail" => ":error",
            "checkpoint-every" => "h",
            _ => "",
        };
        EXTREMES.map(|number| format!("{word}{number}{end}"))
    });
    plain.chain(more).collect()
}

#[test]
fn extremes_are_taken_or_refused() {
    let program = Program::new();
    std::fs::write(program.path("events.txt"), "0 3 1\n1 4 2\n2 3 3\n").unwrap();
    std::fs::write(program.path("pairs.csv"), "src,dst\n0,1\n2,3\n").unwrap();
    let run = program.run(&format!("train {STREAM} --epochs=1 --out=run"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let mut attempts = Vec::new();
    for (command, works) in commands() {
        for option in options(&program, command) {
            // The last of an option that is given twice would be refused as such.
            let given = format!("--{option}=");
            let others = works.split(' ').filter(|word| !word.starts_with(&given));
            let others = others.collect::<Vec<_>>().join(" ");
            for value in values(&option) {
                attempts.push((
                    command,
                    format!("{command} {others}"),
                    format!("{given}{value}"),
                ));
            }
        }
    }
    let (left, counts) = (Mutex::new(attempts), Mutex::new(BTreeMap::new()));
    let next = || left.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((command, works, value)) = next() {
                    let ended = program.run_with(&works, &value);
                    let said = &ended.stderr;
                    let sound = matches!(ended.code, Some(0..=2))
                        && !said.contains("panicked")
                        && !said.contains("thread stopped")
                        && !said.contains("fault of the program")
                        && !RUSTS_OWN.iter().any(|words| said.contains(words));
                    assert!(sound, "{works} {value}: {:?} {said}", ended.code);
                    let mut counts = counts.lock().unwrap();
                    let (taken, refused) = counts.entry(command).or_insert((0, 0));
                    *(if ended.code == Some(0) {
                        taken
                    } else {
                        refused
                    }) += 1;
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    // A help that is laid out otherwise would leave nothing to try.
    let (taken, refused) = counts["train"];
    assert!(taken > 30 && refused > 250, "{counts:?}");
    assert!(
        counts["audit"].1 > 250 && counts["schedule simulate"].1 > 40,
        "{counts:?}"
    );
}

#[test]
fn a_refusal_says_option_value_range_and_why() {
    let program = Program::new();
    for (value, expected) in [
        (
            "--batch-size=18446744073709551615",
            "--batch-size is 18446744073709551615, expected 1 to 715,827,882: a batch has three \
             roots per event, numbered in 31 bits",
        ),
        (
            "--threads=100000",
            "--threads is 100000, expected 1 to 1,024: more than a machine has cores only take \
             turns",
        ),
        (
            "--edge-features=random:18446744073709551615",
            "--edge-features is random:18446744073709551615, expected random:1 to random:16384",
        ),
        (
            "--mail-slots=9223372036854775808",
            "--mail-slots is 9223372036854775808, expected 1 to 128: with its heads, the attention \
             of a node has at most 128 products",
        ),
    ] {
        let ended = program.run_with("train --data=synthetic:wikipedia:scale=0.002", value);
        assert_eq!(
            (ended.code, ended.stderr),
            (Some(1), format!("error: {expected}\n"))
        );
    }
}
