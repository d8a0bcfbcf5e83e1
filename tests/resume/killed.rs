//! Runs that are killed at random moments, as often as `MSPIPE_TEST_KILLS` says (a few by
//! default), and continue: their files end up as those of a run that was never killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mspipe::checkpoint;
use mspipe::session::predict;
use mspipe::weights;
use serde_json::Value;

use crate::labelled::stream;
use crate::place::Place;

/// Longer than any run below takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// 29 iterations per epoch.
const TRAIN: &str = "train --data synthetic:wikipedia:scale=0.02 --limit-events 1500 --epochs 3 \
                     --device cpu --width 16 --time-width 8 --edge-features random:4 --mail-slots 3 \
                     --batch-size 36 --checkpoint-every 4";

/// Numbers from a seed, good enough for moments.
struct Moments(u64);

impl Moments {
    /// From 0 to below 1.
    fn next(&mut self) -> f64 {
        // Steele and others' splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Fails if a file has its final name and can't be read whole.
fn all_readable(run: &Path) {
    let Ok(entries) = fs::read_dir(run) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            "config.json" | "summary.json" | "trace.json" => drop(json(&path)),
            "metrics.jsonl" | "ledger.jsonl" => {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.is_empty() || text.ends_with('\n'), "{text}");
                lines(&path);
            }
            checkpoint::LAST | checkpoint::PREVIOUS | predict::FILE_NAME => {
                drop(checkpoint::read(&path).unwrap());
            }
            "timeline.svg" | "report.html" => {
                let text = fs::read_to_string(&path).unwrap();
                assert!(
                    text.trim_end().ends_with('>'),
                    "{name}: {text}",
                    name = path.display()
                );
            }
            weights::FILE_NAME => drop(weights::open(&path).unwrap()),
            name => assert!(name.ends_with(".tmp") || name == "run.lock", "{name}"),
        }
    }
}

/// `value` without what depends on times, places and the machine.
fn timeless(mut value: Value) -> Value {
    const TIMES: [&str; 9] = [
        "train_seconds",
        "events_per_s",
        "stall_us",
        "stall_seconds",
        "stage_seconds",
        "updater_seconds",
        "machine_use",
        "decision",
        "schedule",
    ];
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !TIMES.contains(&name.as_str()));
        for value in fields.values_mut() {
            *value = timeless(value.take());
        }
    }
    if let Value::Array(values) = &mut value {
        for value in values {
            *value = timeless(value.take());
        }
    }
    value
}

/// All that a run left behind, but for times.
fn results(run: &Path) -> BTreeMap<String, String> {
    let mut results = BTreeMap::new();
    for name in ["metrics.jsonl", "ledger.jsonl"] {
        let lines = lines(&run.join(name)).into_iter();
        let lines: Vec<String> = lines.map(|line| timeless(line).to_string()).collect();
        results.insert(name.to_owned(), lines.join("\n"));
    }
    let summary = timeless(json(&run.join("summary.json")));
    results.insert("summary.json".to_owned(), summary.to_string());
    let weights = fs::read(run.join(weights::FILE_NAME)).unwrap();
    results.insert("weights".to_owned(), format!("{weights:?}"));
    // Weights, moments, memory, mail, times after the last epoch, and of the best one.
    let mut last = checkpoint::read(&run.join(checkpoint::LAST))
        .unwrap()
        .arrays;
    let _times_and_metrics = last.take::<u8>("state").unwrap();
    assert!(last.names().any(|name| name == "memory.mails"));
    results.insert("arrays".to_owned(), format!("{last:?}"));
    results
}

/// Fails unless both runs left the same numbers.
fn same_results(one: &Path, other: &Path) {
    let (one, other) = (results(one), results(other));
    for (name, expected) in &other {
        assert!(one[name] == *expected, "{name} differs");
    }
}

/// Starts and kills a run at random moments of `whole` (how long one takes) until it was
/// killed `kills` times, then lets it end. Returns how it was killed: before which iterations.
fn kill(place: &Place, train: &str, kills: usize, whole: Duration, seed: u64) -> usize {
    let run = place.path("killed");
    let mut moments = Moments(seed);
    let mut killed = 0;
    let mut began = false;
    loop {
        let arguments = if began {
            "train --resume killed".to_owned()
        } else {
            format!("{train} --out killed")
        };
        let mut program = place.start(&arguments);
        // More early moments than late ones: each try ends what is left.
        let at = match killed < kills {
            true => whole.mul_f64(moments.next().powi(2)),
            false => PATIENCE,
        };
        let begin = Instant::now();
        let ended = loop {
            if let Some(status) = program.try_wait().unwrap() {
                break Some(status);
            }
            if begin.elapsed() >= at {
                break None;
            }
            thread::sleep(Duration::from_millis(1));
        };
        match ended {
            None => {
                program.kill().unwrap();
                program.wait().unwrap();
                assert!(killed < kills, "{arguments}: hangs");
                killed += 1;
                all_readable(&run);
                if run.join("summary.json").exists() {
                    // It had just ended.
                    return killed;
                }
                began = run.join("config.json").exists();
            }
            Some(status) => {
                let output = program.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(status.success(), "{arguments}: {said}");
                all_readable(&run);
                return killed;
            }
        }
    }
}

/// Kills a run of `model` with `options` and compares it with one that was not.
fn survives(model: &str, options: &str, seed: u64) {
    let kills: usize = std::env::var("MSPIPE_TEST_KILLS").map_or(2, |kills| kills.parse().unwrap());
    let place = Place::new();
    let train = format!("{TRAIN} --model {model} {options}");
    let begin = Instant::now();
    place.run(&format!("{train} --out whole"), 0);
    let whole = begin.elapsed();
    let mut left = kills;
    while left > 0 {
        let killed = kill(&place, &train, left, whole, seed + left as u64);
        left -= killed.min(left);
        if options.contains("mspipe") && options.contains("host") {
            // What k was chosen depends on times. The same ks without a kill:
            let ledger = "--schedule replay:killed/ledger.jsonl";
            let replay = train.replace("--schedule mspipe", ledger);
            place.run(&format!("{replay} --out replayed"), 0);
            same_results(&place.path("killed"), &place.path("replayed"));
            fs::remove_dir_all(place.path("replayed")).unwrap();
            // On a machine that does much else, k = 1 may do: `tgn_stale_on_the_host` is never so.
            let ledger = lines(&place.path("killed/ledger.jsonl"));
            let stale = ledger.iter().filter(|line| line["k"].as_u64() > Some(1));
            println!("{model} {options}: k > 1 in {} iterations", stale.count());
        } else {
            same_results(&place.path("killed"), &place.path("whole"));
        }
        println!("{model} {options}: killed {killed} times, same bits");
        fs::remove_dir_all(place.path("killed")).unwrap();
    }
}

/// All that a classification left behind.
fn classified(run: &Path) -> (String, Value, String) {
    let summary = json(&run.join("summary.json"));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last = checkpoint::read(&run.join(checkpoint::LAST)).unwrap();
    (metrics, summary, format!("{:?}", last.arrays))
}

/// Kills a classification of labels, which has a pass over the stream and then epochs, and compares it
/// with one that was not.
fn labels_survive(task: &str, seed: u64) {
    let kills: usize = std::env::var("MSPIPE_TEST_KILLS").map_or(4, |kills| kills.parse().unwrap());
    let place = Place::new();
    let labelled = stream(5, |seen| match seen.event % 11 {
        0 => String::new(),
        _ => seen.before.to_string(),
    });
    fs::write(place.path("s.csv"), labelled).unwrap();
    let link = "--data s.csv --device cpu --batch-size 20 --epochs 1 --width 16 --time-width 8";
    place.run(&format!("train {link} --out link"), 0);
    let train = format!(
        "train --task {task} --init link --node-epochs 60 --node-batch-size 60 --balance weights \
         --checkpoint-every 10"
    );
    let begin = Instant::now();
    place.run(&format!("{train} --out whole"), 0);
    let whole = begin.elapsed();
    let (mut left, mut tries) = (kills, 0);
    while left > 0 {
        tries += 1;
        assert!(tries < 20, "{left} kills came too late each time");
        let killed = kill(&place, &train, left, whole, seed + tries);
        left -= killed.min(left);
        let [one, other] = ["killed", "whole"].map(|run| classified(&place.path(run)));
        assert!(one.0 == other.0, "metrics.jsonl:\n{}\n{}", one.0, other.0);
        assert_eq!(one.1, other.1);
        assert!(one.2 == other.2, "arrays of the last checkpoint differ");
        println!("{task}: killed {killed} times, same bits");
        fs::remove_dir_all(place.path("killed")).unwrap();
    }
}

#[test]
fn labels_of_nodes() {
    labels_survive("node", 8);
}

#[test]
fn labels_of_events() {
    labels_survive("edge", 9);
}

#[test]
fn tgn_sequential() {
    survives("tgn", "--schedule sequential --memory device", 1);
}

#[test]
fn tgn_mspipe_on_the_host() {
    let slow = "--emulate-link 20MB/s,2ms";
    survives("tgn", &format!("--schedule mspipe --memory host {slow}"), 2);
}

#[test]
fn jodie_mspipe_on_the_device() {
    survives("jodie", "--schedule mspipe --memory device", 3);
}

#[test]
fn jodie_sequential_on_the_host() {
    survives("jodie", "--schedule sequential --memory host", 4);
}

#[test]
fn apan_mspipe_on_the_host() {
    let slow = "--emulate-link 20MB/s,4ms";
    survives(
        "apan",
        &format!("--schedule mspipe --memory host {slow}"),
        5,
    );
}

#[test]
fn tgn_stale_on_the_host() {
    survives(
        "tgn",
        "--schedule staleness:2 --memory host --features device:4000",
        7,
    );
}

#[test]
fn apan_stale_on_the_device() {
    survives("apan", "--schedule staleness:3 --memory device", 6);
}
