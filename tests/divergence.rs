//! Runs that diverge, as a user meets them: where they end, what they say and what they leave.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mspipe::checkpoint;
use serde_json::Value;
use tempfile::TempDir;

/// The program in a folder of its own.
struct Program(TempDir);

/// Seven iterations per epoch.
const SMALL: &str = "--device cpu --width 16 --time-width 8 --batch-size 100 --fanout 4 --seed 1";

impl Program {
    fn new() -> Program {
        Program(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mspipe"))
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .env("MSPIPE_CACHE_DIR", self.path("cache"))
            .output()
            .unwrap()
    }

    /// What a command says that must fail.
    fn fails(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, arguments: &str) -> (Value, String) {
        let output = self.run(&format!("{arguments} --json"));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments}: {errors}");
        (serde_json::from_slice(&output.stdout).unwrap(), errors)
    }

    /// Writes a JODIE stream of 1,000 events, one a time from `first` on; `row` gives the size of
    /// an event's features, and its label.
    fn stream(&self, name: &str, first: i64, row: impl Fn(usize) -> (f32, u8)) {
        let mut text = "user_id,item_id,timestamp,state_label,features\n".to_owned();
        for event in 0..1000 {
            let (user, item) = (event * 7 % 23, event * event % 11);
            let (feature, label) = row(event);
            let time = first + event as i64;
            write!(text, "{user},{item},{time},{label}").unwrap();
            for column in 0..8 {
                let sign = if column % 3 == 0 { -1.0 } else { 1.0 };
                write!(text, ",{}", sign * feature).unwrap();
            }
            text.push('\n');
        }
        fs::write(self.path(name), text).unwrap();
    }
}

/// Ordinary features, but numbers of the size `bad` in the 20 events from `at` on.
fn ordinary_but(at: usize, bad: f32) -> impl Fn(usize) -> (f32, u8) {
    move |event| {
        let feature = (event as f32).sin();
        let feature = match (at..at + 20).contains(&event) {
            true => bad * feature.signum(),
            false => feature,
        };
        (feature, u8::from(event % 9 == 4))
    }
}

/// No feature is of note.
fn ordinary(event: usize) -> (f32, u8) {
    ordinary_but(0, 0.0)(event)
}

/// The iteration of a checkpoint, whose numbers must be finite, and how many there are.
fn sound(path: &Path) -> (usize, usize) {
    let checkpoint = checkpoint::read(path).unwrap();
    let mut arrays = checkpoint.arrays;
    let names: Vec<String> = arrays.names().map(str::to_owned).collect();
    let mut count = 0;
    for name in names {
        if let Ok((_, numbers)) = arrays.take::<f32>(&name) {
            count += numbers.len();
            assert!(numbers.iter().all(|number| number.is_finite()), "{name}");
        }
    }
    (checkpoint.header.iteration, count)
}

/// Features so large that products of them overflow, from the 351st event on: the run ends in
/// iteration 3 or soon after, and keeps the checkpoint before.
#[test]
fn a_run_ends_where_it_diverged_and_keeps_the_last_sound_checkpoint() {
    let program = Program::new();
    program.stream("late.csv", 0, ordinary_but(350, 3e38));
    for (run, settings) in [
        "--model tgn",
        "--model tgn --memory host --schedule staleness:2",
        "--model tgn --schedule mspipe --memory host",
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("run{run}");
        let train = format!("train --data late.csv {SMALL} --checkpoint-every 2 --out {out}");
        let said = program.fails(&format!("{train} {settings}"));
        let place = said.split("epoch 1, iteration ").nth(1).unwrap();
        let iteration: usize = place.split(':').next().unwrap().parse().unwrap();
        assert!((3..6).contains(&iteration), "{settings}: {said}");
        for part in [
            "the run diverged and ends here",
            "smaller --learning-rate",
            "data check",
        ] {
            assert!(said.contains(part), "{settings}: {said}");
        }
        let (kept, numbers) = sound(&program.path(&format!("{out}/checkpoint.safetensors")));
        assert!(
            (2..=iteration).contains(&kept) && numbers > 10_000,
            "{kept} {numbers}"
        );
        let of = format!("The last checkpoint, of epoch 1, iteration {kept}, is from before");
        assert!(said.contains(&of), "{settings}: {said}");
        let metrics = fs::read_to_string(program.path(&format!("{out}/metrics.jsonl"))).unwrap();
        // A loss of each iteration, and why there are no more.
        assert_eq!(metrics.lines().count(), iteration + 2, "{settings}");
        let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
        assert!(said.contains(last["diverged"].as_str().unwrap()), "{last}");
        let again = program.fails(&format!("train --resume {out}"));
        assert!(
            again.contains(&format!("iteration {iteration}: ")),
            "{again}"
        );
        assert_eq!(said.lines().last(), again.lines().last(), "{settings}");
    }
}

#[test]
fn a_learning_rate_that_breaks_the_weights_ends_the_run_at_once() {
    let program = Program::new();
    program.stream("base.csv", 0, ordinary);
    let said = program.fails(&format!(
        "train --data base.csv {SMALL} --learning-rate 1e38 --out run"
    ));
    let told = "epoch 1, iteration 0: the optimiser's step made weights NaN or infinite; the run \
                diverged and ends here. Try a smaller --learning-rate";
    assert!(said.contains(told), "{said}");
    assert!(
        said.contains("There is no checkpoint from before"),
        "{said}"
    );

    let train = format!("train --data base.csv {SMALL} --epochs 1 --out encoder");
    assert!(program.run(&train).status.success());
    let classify = "train --task node --init encoder --node-learning-rate 1e38 --out node";
    let said = program.fails(classify);
    let told = "epoch 1 of the classifier, batch 0: the optimiser's step made weights NaN or \
                infinite; it diverged and ends here. Try a smaller --node-learning-rate";
    assert!(said.contains(told), "{said}");
}

/// Features in the validation part, which training never sees.
#[test]
fn scores_that_are_not_finite_are_named_with_their_events() {
    let program = Program::new();
    program.stream("base.csv", 0, ordinary);
    let train = format!("train --data base.csv {SMALL} --epochs 1 --out sound");
    assert!(program.run(&train).status.success());

    // Validation begins at event 700.
    program.stream("val.csv", 0, ordinary_but(760, 3e38));
    let settings = format!("--data val.csv {SMALL} --epochs 2");
    for command in [
        format!("train {settings} --out val"),
        format!("eval --init sound/weights.safetensors {settings}"),
        format!("train --task node --init sound/weights.safetensors {settings} --out node"),
    ] {
        let said = program.fails(&command);
        let events = 700..900;
        let named: Vec<usize> = said
            .split("event")
            .skip(1)
            .filter_map(|rest| {
                rest.trim_start_matches(['s', ' '])
                    .split(' ')
                    .next()?
                    .parse()
                    .ok()
            })
            .collect();
        assert!(
            named.first().is_some_and(|at| events.contains(at)),
            "{command}: {said}"
        );
        assert!(said.contains("mspipe data check"), "{said}");
    }
}

/// Features of 1e20 flatten what every layer norm makes of them; a pair's history is no feature and
/// would still tell pairs apart.
#[test]
fn scores_that_are_all_equal_are_named() {
    let program = Program::new();
    program.stream("large.csv", 0, |event| (1e20 * (1.0 + event as f32), 0));
    let train = format!("train --data large.csv {SMALL} --epochs 1 --out run --pair-history off");
    let output = program.run(&train);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("WARNING: all scores are equal"),
        "{printed}"
    );
    let said = String::from_utf8(output.stderr).unwrap();
    for part in [
        "validation after epoch 1: all scores are equal",
        "test: all scores are equal",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let text = |name: &str| fs::read_to_string(program.path("run").join(name)).unwrap();
    let summary: Value = serde_json::from_str(&text("summary.json")).unwrap();
    assert_eq!(summary["test"]["equal_scores"], true);
    assert_eq!(summary["epochs"][0]["val"]["equal_scores"], true);
    assert!(text("report.html").contains("all scores were equal"));
    let check = program.run("data check large.csv");
    let found = String::from_utf8(check.stdout).unwrap();
    assert!(found.contains("large-features"), "{found}");
}

/// TGL divides by t + 1, which is 0 at -1.
#[test]
fn jodie_takes_times_around_minus_one() {
    let program = Program::new();
    program.stream("early.csv", -700, ordinary);
    let train = format!("train --data early.csv {SMALL} --epochs 1 --protocol tgl --model jodie");
    let (summary, _) = program.json(&format!("{train} --out run"));
    let loss = summary["epochs"][0]["train_loss"].as_f64().unwrap();
    assert!(loss.is_finite() && loss < 3.0, "{loss}");
}
