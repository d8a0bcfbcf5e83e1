//! Runs side by side: lists, pages, event files, and sweeps that are killed and continued.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::event_files;
use crate::program::{GLANCE, PATIENCE, Program};

/// A run of a second.
const SMALL: &str = "train --data=synthetic:wikipedia:scale=0.002 --device=cpu --width=16 \
                     --time-width=8 --batch-size=50 --epochs=2";

fn ok(program: &Program, arguments: &str) -> String {
    let ended = program.run(arguments);
    assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.stderr);
    ended.stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Two runs, `runs/a` and `runs/b`, that differ by seed and learning rate.
fn two_runs() -> Program {
    let program = Program::new();
    ok(&program, &format!("{SMALL} --out=runs/a"));
    ok(
        &program,
        &format!("{SMALL} --out=runs/b --seed=1 --learning-rate=0.01"),
    );
    program
}

#[test]
fn runs_are_listed_sorted_and_filtered() {
    let program = two_runs();
    let listed = ok(&program, "runs");
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        [
            "run",
            "state",
            "epochs",
            "val",
            "test",
            "seed",
            "learning_rate"
        ]
    );
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words[..4], ["a", "ended", "2/2", "AP"], "{listed}");
    assert_eq!(words[6..], ["0", "0.001"], "{listed}");
    assert!(listed.contains("SYNTHETIC"));
    assert!(lines[..3].iter().all(|line| line.len() <= 80), "{listed}");

    let all = json(&ok(&program, "runs --json --sort val"));
    let runs = all["runs"].as_array().unwrap();
    assert!(runs[0]["val"].as_f64() >= runs[1]["val"].as_f64());
    let name = runs[0]["name"].as_str().unwrap();
    let summary = program.json(&format!("runs/{name}/summary.json"));
    assert_eq!(runs[0]["test"], summary["test"]["ap"]);
    assert_eq!(runs[0]["best_epoch"], summary["best_epoch"]);
    assert_eq!(
        all["differing"],
        serde_json::json!(["seed", "learning_rate"])
    );

    for (filter, expected) in [
        ("seed=1", &["b"][..]),
        ("seed!=1", &["a"]),
        ("learning-rate<0.005", &["a"]),
        ("state=ended", &["a", "b"]),
        ("val>=2", &[]),
        ("model=apan", &[]),
    ] {
        let found = json(&ok(
            &program,
            &format!("runs --json --sort name --filter {filter}"),
        ));
        let names = found["runs"].as_array().unwrap().iter();
        let names: Vec<&str> = names.map(|run| run["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{filter}");
    }
    for (wrong, expected) in [
        (
            "--filter sede=1",
            "unknown name 'sede'; the nearest is 'seed'",
        ),
        ("--sort vall", "unknown name 'vall'; the nearest is 'val'"),
        ("--filter test>abc", "test: found 'abc', expected a number"),
        (
            "--filter model=tgm",
            "model: found 'tgm', expected one of tgn, jodie, apan",
        ),
    ] {
        let ended = program.run(&format!("runs {wrong}"));
        assert_eq!(ended.code, Some(2), "{wrong}");
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    // A setting of 32 bits is the number that was given.
    let found = json(&ok(&program, "runs --json --filter dropout=0.1"));
    assert_eq!(found["runs"].as_array().unwrap().len(), 2);
    assert_eq!(found["runs"][0]["settings"]["dropout"].to_string(), "0.1");
}

#[test]
fn who_has_no_runs_is_told_how_to_make_one() {
    let program = Program::new();
    let told = ok(&program, "runs");
    assert!(
        told.starts_with("There are no runs yet below runs.")
            && told.contains("\n  mspipe train --data "),
        "{told}"
    );
    assert_eq!(
        json(&ok(&program, "runs --json")),
        serde_json::json!({"differing": [], "runs": []})
    );
    // A folder that somebody names is meant to be there.
    let ended = program.run("runs elsewhere");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("elsewhere"), "{}", ended.stderr);
}

#[test]
fn runs_are_drawn_on_one_page() {
    let program = two_runs();
    ok(&program, "report runs/a runs/b --to both.html");
    let page = fs::read_to_string(program.path("both.html")).unwrap();
    for part in [
        "2 runs",
        "runs/a",
        "runs/b",
        "learning_rate",
        "Training loss",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for (folder, expected) in [
        (
            "runs",
            "runs: holds no run (there is no summary.json); give a folder",
        ),
        ("runs/a/no", "runs/a/no: holds no run"),
    ] {
        let ended = program.run(&format!("report {folder}"));
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    let again = program.run("report runs/a runs/b --to both.html");
    assert_eq!(again.code, Some(1));
    fs::remove_file(program.path("runs/a/report.html")).unwrap();
    ok(&program, "report runs/a");
    let page = fs::read_to_string(program.path("runs/a/report.html")).unwrap();
    // A k that never changes is a sentence and no chart.
    assert!(page.contains("k = 1 in every iteration") && !page.contains(">Staleness k<"));
}

#[test]
fn an_event_file_has_every_loss_and_its_checksums() {
    let program = Program::new();
    ok(&program, &format!("{SMALL} --out=run --log=tensorboard"));
    let count = |word: &str| event_files::count(&program.path("run"), word);
    let metrics = fs::read_to_string(program.path("run/metrics.jsonl")).unwrap();
    let losses = metrics.lines().filter(|line| line.contains("\"loss\""));
    assert_eq!(count("train/loss"), losses.count());
    assert_eq!(count("validation/ap_batch_mean"), 2);
    assert_eq!(count("test/auc"), 1);
    let losses = metrics.lines().filter(|line| line.contains("\"loss\""));
    assert_eq!(count("train/learning_rate"), losses.count());
    for (tag, often) in [
        ("validation/new_nodes_auc", 2),
        ("test/ap_batch_mean", 1),
        ("test/new_nodes_ap", 1),
        ("test_other_pool/ap", 2),
    ] {
        // Of the other pool the mean over batches begins with the same letters.
        assert_eq!(count(tag), often, "{tag}");
    }
    assert_eq!(count("batch_size = 50"), 1, "the settings");
    assert_eq!(count("\ndropout = 0.1\n"), 1, "numbers as they were given");
}

/// The fields of a message of Protocol Buffers: their numbers and contents, a whole number's too.
fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for nth in 0.. {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << (7 * nth);
            if *byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes) as u8;
        let length = match key & 7 {
            0 => {
                all.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            5 => 4,
            _ => varint(&mut bytes) as usize,
        };
        let (content, rest) = bytes.split_at(length);
        all.push((key >> 3, content.to_vec()));
        bytes = rest;
    }
    all
}

/// The numbers of a run by tag and step, as TensorBoard shows them: a `SessionLog` that starts has it forget
/// what earlier files of the folder say from its step on.
fn shown(program: &Program, run: &str) -> BTreeMap<(String, u64), u32> {
    let mut shown = BTreeMap::new();
    for file in event_files::files(&program.path(run)) {
        let bytes = fs::read(file).unwrap();
        let mut at = 0;
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            let event = fields(&bytes[at + 12..at + 12 + length]);
            at += length + 16;
            let of = |number| event.iter().find(|(field, _)| *field == number);
            let step = of(2).map_or(0, |(_, step)| {
                u64::from_le_bytes(step[..8].try_into().unwrap())
            });
            if of(7).is_some() {
                shown.retain(|(_, earlier): &(String, u64), _| *earlier < step);
            }
            for (_, value) in of(5).iter().flat_map(|(_, summary)| fields(summary)) {
                let value = fields(&value);
                let tag = String::from_utf8(value[0].1.clone()).unwrap();
                if let Some((_, number)) = value.iter().find(|(field, _)| *field == 2) {
                    let bits = u32::from_le_bytes(number[..4].try_into().unwrap());
                    assert!(
                        shown.insert((tag.clone(), step), bits).is_none(),
                        "{tag} {step} twice"
                    );
                }
            }
        }
    }
    shown.retain(|(tag, _), _| tag != "epoch/events_per_s");
    shown
}

/// Whatever a run had written when it was killed: before its first checkpoint, in an epoch, after the last.
#[test]
fn a_resumed_run_continues_its_event_files() {
    let program = Program::new();
    let run = "train --data=synthetic:wikipedia:scale=0.01 --device=cpu --width=16 --time-width=8 \
               --batch-size=20 --epochs=2 --threads=1 --log=tensorboard";
    ok(
        &program,
        &format!("{run} --checkpoint-every=never --out=whole"),
    );
    let whole = shown(&program, "whole");
    assert!(whole.len() > 100);
    let lines = fs::read_to_string(program.path("whole/metrics.jsonl")).unwrap();
    let of_epoch = lines.lines().count() / 2;
    for (out, every, after) in [
        ("start", "epoch", 3),
        ("middle", "7", of_epoch / 2),
        ("end", "7", 2 * of_epoch),
    ] {
        let mut killed = program.start(&format!("{run} --checkpoint-every={every} --out={out}"));
        let begin = Instant::now();
        let metrics = program.path(out).join("metrics.jsonl");
        let written = || fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        while written() < after && killed.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < PATIENCE, "{out}");
            thread::sleep(std::time::Duration::from_millis(1));
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
        // It may have been quicker than its killer.
        if !program.path(out).join("summary.json").exists() {
            ok(&program, &format!("train --resume {out}"));
        }
        assert!(shown(&program, out) == whole, "{out}");
    }
}

const SWEEP: &str = "out = \"sweep\"\n[settings]\ndata = \"synthetic:wikipedia:scale=0.01\"\n\
                     device = \"cpu\"\ntime_width = 8\nepochs = 2\nthreads = 1\n[values]\n\
                     learning_rate = [1e-4, 1e-2]\nbatch_size = [50, 100]\nwidth = [8, 16]\n";

/// Kills a sweep once so many of its runs have ended.
fn killed_after(program: &Program, ended: usize) {
    let mut sweep = program.start("sweep sweep.toml");
    let begin = Instant::now();
    let done = || {
        let runs = (1..=8).map(|nth| format!("sweep/run-{nth:03}/summary.json"));
        runs.filter(|path| program.path(path).exists()).count()
    };
    while done() < ended {
        assert!(
            begin.elapsed() < PATIENCE,
            "{ended} of the runs have not ended"
        );
        assert!(sweep.try_wait().unwrap().is_none(), "it was not killed");
        thread::sleep(GLANCE);
    }
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    assert!(done() < 8);
}

#[test]
fn a_sweep_that_is_killed_twice_chooses_as_one_by_hand() {
    let program = Program::new();
    fs::write(program.path("sweep.toml"), SWEEP).unwrap();
    killed_after(&program, 2);
    killed_after(&program, 4);
    let first = fs::metadata(program.path("sweep/run-001/summary.json")).unwrap();
    let result = json(&ok(&program, "sweep sweep.toml --json"));
    let again = fs::metadata(program.path("sweep/run-001/summary.json")).unwrap();
    assert_eq!(first.modified().unwrap(), again.modified().unwrap());

    // By hand: each run alone, and the best of their validations.
    let mut best: Option<(f64, String)> = None;
    let mut nth = 0;
    for batch_size in [50, 100] {
        for learning_rate in ["1e-4", "1e-2"] {
            for width in [8, 16] {
                nth += 1;
                let out = format!("hand-{batch_size}-{learning_rate}-{width}");
                ok(
                    &program,
                    &format!(
                        "train --data synthetic:wikipedia:scale=0.01 --device cpu --time-width 8 --epochs 2 \
                         --threads 1 --learning-rate {learning_rate} --batch-size {batch_size} --width {width} \
                         --out {out}"
                    ),
                );
                let summary = program.json(&format!("{out}/summary.json"));
                let vals = summary["epochs"].as_array().unwrap().iter();
                let val = vals.map(|epoch| epoch["val"]["ap"].as_f64().unwrap());
                let val = val.fold(f64::MIN, f64::max);
                let own = program.json(&format!("sweep/run-{nth:03}/summary.json"));
                assert_eq!(own["test"], summary["test"], "run-{nth:03}, {out}");
                if best.as_ref().is_none_or(|(most, _)| val > *most) {
                    best = Some((val, format!("sweep/run-{nth:03}")));
                }
            }
        }
    }
    let (val, folder) = best.unwrap();
    assert_eq!(result["best"], folder.as_str());
    assert_eq!(result["trials"][0]["val"], val);
    assert_eq!(result["trials"].as_array().unwrap().len(), 8);
    let summary = program.json(&format!("{folder}/summary.json"));
    assert_eq!(result["test"], summary["test"]["ap"]);
    // The test of the chosen one alone is on the page.
    let page = fs::read_to_string(program.path("sweep/report.html")).unwrap();
    let table = &page[..page.rfind("Settings that differ").unwrap()];
    let number = format!("{:.4}", result["test"].as_f64().unwrap());
    assert!(table.contains(&number));
    assert_eq!(table.matches("<td class=\"number\">-</td>").count(), 2 * 7);
    assert_eq!(table.matches("<td>chosen; ").count(), 1);
    assert!(!page.contains("can't be compared"));

    let text = ok(&program, "sweep sweep.toml");
    assert!(
        text.contains(&format!("best      {folder}, by validation")),
        "{text}"
    );
    // The folder is of this file alone.
    fs::write(program.path("sweep.toml"), SWEEP.replace("1e-2", "2e-2")).unwrap();
    let other = program.run("sweep sweep.toml");
    assert_eq!(other.code, Some(1));
    assert!(
        other.stderr.contains("holds runs of another sweep"),
        "{}",
        other.stderr
    );
}

#[test]
fn halving_trains_the_better_part_longer_and_goes_on_after_one_that_diverges() {
    let program = Program::new();
    let text = SWEEP
        .replace("scale=0.01", "scale=0.002")
        .replace("epochs = 2", "epochs = 4")
        .replace(
            "batch_size = [50, 100]\nwidth = [8, 16]\n",
            "seed = [0, 1]\n",
        )
        .replace("1e-4, 1e-2", "1e-2, 1e38")
        + "[halving]\nepochs = 1\nkeep = 2\n";
    fs::write(program.path("sweep.toml"), text).unwrap();
    let result = json(&ok(&program, "sweep sweep.toml --json"));
    let trials = result["trials"].as_array().unwrap();
    assert_eq!((trials.len(), &trials[0]["epochs"]), (1, &Value::from(4)));
    let dropped = result["dropped"].as_array().unwrap();
    assert_eq!(dropped.len(), 3);
    let failed = dropped.iter().filter(|trial| trial["failed"].is_string());
    assert_eq!(failed.count(), 2, "{dropped:?}");
    // They are on the page too, with their reason and without a result.
    let page = fs::read_to_string(program.path("sweep/report.html")).unwrap();
    assert_eq!(page.matches("<td>diverged, ").count(), 2, "{page}");
    // Whoever lists the runs learns of it without the sweep, and the sweep does not train them again.
    let listed = json(&ok(&program, "runs sweep --json --filter state=diverged"));
    assert_eq!(listed["runs"].as_array().unwrap().len(), 2);
    let begun = fs::metadata(program.path("sweep/rung-1/run-003/metrics.jsonl")).unwrap();
    let again = json(&ok(&program, "sweep sweep.toml --json"));
    assert_eq!(again, result);
    let after = fs::metadata(program.path("sweep/rung-1/run-003/metrics.jsonl")).unwrap();
    assert_eq!(begun.modified().unwrap(), after.modified().unwrap());
    let text = ok(&program, "runs sweep");
    assert_eq!(
        text.lines().next().unwrap().matches("epochs").count(),
        1,
        "{text}"
    );
    assert_eq!(page.matches("diverged and ends here").count(), 2);
    let rates = dropped
        .iter()
        .map(|trial| &trial["values"]["learning_rate"]);
    assert_eq!(
        rates.filter(|rate| **rate == 1e38).count(),
        2,
        "{dropped:?}"
    );
    assert!(page.contains(">1e38<") && !page.contains("00000000"));
    let folder = result["best"].as_str().unwrap();
    assert!(folder.starts_with("sweep/rung-3/run-00"), "{folder}");
    assert_eq!(program.json(&format!("{folder}/config.json"))["epochs"], 4);
}

#[test]
fn a_random_sweep_trains_what_it_drew_and_draws_the_same_again() {
    let program = Program::new();
    let text = |runs: usize| {
        format!(
            "out = \"sweep\"\nmethod = \"random\"\nruns = {runs}\nseed = 3\n[settings]\n\
             data = \"synthetic:wikipedia:scale=0.002\"\ndevice = \"cpu\"\ntime_width = 8\nepochs = 1\n\
             batch_size = 50\n[values]\nlearning_rate = {{ from = 1e-4, to = 1e-2, log = true }}\n\
             width = [8, 16]\nseed = {{ from = 1, to = 1000 }}\n"
        )
    };
    fs::write(program.path("sweep.toml"), text(3)).unwrap();
    let result = json(&ok(&program, "sweep sweep.toml --json"));
    let trials = result["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 3);
    let drawn = |nth: usize| program.json(&format!("sweep/run-{nth:03}/config.json"));
    let mut best = (f64::MIN, String::new());
    for nth in 1..=3 {
        let config = drawn(nth);
        let rate = config["learning_rate"].as_f64().unwrap();
        assert!((1e-4..=1e-2).contains(&rate), "{rate}");
        assert!([8, 16].contains(&config["width"].as_u64().unwrap()));
        assert!((1..=1000).contains(&config["seed"].as_u64().unwrap()));
        let summary = program.json(&format!("sweep/run-{nth:03}/summary.json"));
        let val = summary["epochs"][0]["val"]["ap"].as_f64().unwrap();
        if val > best.0 {
            best = (val, format!("sweep/run-{nth:03}"));
        }
    }
    assert_ne!(drawn(1)["learning_rate"], drawn(2)["learning_rate"]);
    assert_eq!(
        (&result["best"], &trials[0]["val"]),
        (&best.1.into(), &best.0.into())
    );
    // The same draws, if the same sweep begins elsewhere.
    let elsewhere = text(2).replace("\"sweep\"", "\"again\"");
    fs::write(program.path("again.toml"), elsewhere).unwrap();
    ok(&program, "sweep again.toml");
    for nth in 1..=2 {
        let again = program.json(&format!("again/run-{nth:03}/summary.json"));
        assert_eq!(
            again["test"],
            program.json(&format!("sweep/run-{nth:03}/summary.json"))["test"]
        );
    }
}
