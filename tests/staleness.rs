//! What staleness does to memory: the program's counts against others that follow the definition
//! word by word, on generated and on real streams, and in runs.

use std::collections::{BTreeMap, BTreeSet};

use mspipe::pipeline::schedule::Schedule;
use mspipe::pipeline::staleness::StaleMemory;
use mspipe::session::Session;
use mspipe::what_if::staleness::{EndPoints, StreamStaleness, count};
use mspipe_datasets::{EventLog, OpenOptions};

use crate::program::Program;
use crate::schedules::config;

/// Batches that each node is an end point in.
fn active(src: &[u32], dst: &[u32], batch_size: usize) -> BTreeMap<u32, Vec<usize>> {
    let mut active: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for (event, ends) in src.iter().zip(dst).enumerate() {
        for end in [ends.0, ends.1] {
            active.entry(*end).or_default().insert(event / batch_size);
        }
    }
    let sorted = |(node, batches): (u32, BTreeSet<usize>)| (node, batches.into_iter().collect());
    active.into_iter().map(sorted).collect()
}

/// The definition, node by node: batch i sees the updates up to i − k; its row is made of the row of
/// the newest update that it sees, and absorbs that update's mail.
fn by_definition(src: &[u32], dst: &[u32], batch_size: usize, k: usize) -> StreamStaleness {
    let mut result = StreamStaleness::default();
    for batches in active(src, dst, batch_size).values() {
        let seen = |i: usize| batches.iter().copied().filter(move |j| j + k <= i);
        let absorbed: BTreeSet<usize> = batches
            .iter()
            .filter_map(|&i| seen(i).next_back())
            .collect();
        let overwritten = &batches[..batches.len() - 1];
        result.memory.mail_overwritten += overwritten.len() as u64;
        let lost = overwritten.iter().filter(|mail| !absorbed.contains(mail));
        result.memory.mail_lost += lost.count() as u64;

        let mut kept = BTreeSet::new();
        let mut row = batches.last().copied();
        while let Some(of) = row {
            row = seen(of).next_back();
            kept.extend(row);
        }
        let missing = overwritten.iter().filter(|mail| !kept.contains(mail));
        result.mail_missing += missing.count() as u64;

        for &i in batches {
            let lacked = batches.iter().filter(|&&j| j < i && j + k > i).count();
            let rows = &mut result.memory.rows_written;
            rows.resize(rows.len().max(lacked + 1), 0);
            rows[lacked] += 1;
            let all = seen(i).count();
            let before = seen(i)
                .next_back()
                .map_or(0, |made_of| seen(made_of).count());
            result.updater_steps += u64::from(all > 0);
            result.catch_up_steps += (all - before) as u64;
        }
    }
    result
}

fn counted(src: &[u32], dst: &[u32], nodes: usize, batch_size: usize, k: usize) -> StreamStaleness {
    let stream = EndPoints {
        src,
        dst,
        nodes,
        batch_size,
    };
    count(stream, Schedule::Staleness(k)).unwrap()
}

#[test]
fn the_count_is_that_of_the_definition() {
    let program = Program::new();
    let options = OpenOptions {
        cache_dir: Some(program.path("cache")),
        ..OpenOptions::default()
    };
    for source in [
        "synthetic:wikipedia:scale=0.02",
        "synthetic:mooc:scale=0.01",
    ] {
        let log = EventLog::open(source, &options).unwrap();
        let (src, dst) = (log.src(), log.dst());
        // The last batch is not a whole one.
        for (batch_size, k) in [
            (1, 4),
            (50, 1),
            (50, 2),
            (50, 3),
            (70, 5),
            (30, 40),
            (10_000, 3),
        ] {
            assert_eq!(
                counted(src, dst, log.nodes(), batch_size, k),
                by_definition(src, dst, batch_size, k),
                "{source}, batch {batch_size}, k = {k}"
            );
        }
    }
}

/// Of the real Wikipedia stream, and of a stream whose nodes are all of one kind.
#[test]
fn mail_of_real_streams_is_lost_as_counted() {
    let Ok(folder) = std::env::var("MSPIPE_DATA_DIR") else {
        return println!("not run: MSPIPE_DATA_DIR names no folder with real streams");
    };
    let program = Program::new();
    let mut lost = Vec::new();
    for file in ["wikipedia/wikipedia.csv", "collegemsg/CollegeMsg.txt"] {
        let path = std::path::Path::new(&folder).join(file);
        if !path.exists() {
            println!("not run: {} is not there", path.display());
            continue;
        }
        let path = path.display();
        let ended = program.run(&format!("schedule staleness --data {path} --json"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let printed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let options = OpenOptions {
            cache_dir: Some(program.path("cache")),
            ..OpenOptions::default()
        };
        let log = EventLog::open(&path.to_string(), &options).unwrap();
        let train = log.split().train;
        let (src, dst) = (&log.src()[train.clone()], &log.dst()[train]);
        let lines = printed["staleness"].as_array().unwrap();
        assert_eq!(lines.len(), 5);
        for line in lines {
            let k = line["k"].as_u64().unwrap() as usize;
            let expected = by_definition(src, dst, 600, k);
            let expected = serde_json::to_value(&expected).unwrap();
            for (name, value) in expected.as_object().unwrap() {
                assert_eq!(&line[name], value, "{file}, k = {k}: {name}");
            }
            lost.push(line["mail_lost"].as_u64().unwrap());
        }
    }
    if lost.len() == 10 {
        assert_eq!(lost[..5], [0, 11_131, 16_176, 20_880, 23_728]);
    }
}

/// The sums of a run's ledger are the counts that need no run.
#[test]
fn a_run_loses_what_the_count_says() {
    for model in ["tgn", "jodie", "tgn --time-delta query"] {
        for k in [1, 3] {
            let options = format!("--epochs 2 --schedule staleness:{k}");
            let config = config(model, "480", &options);
            let (ledger, whole, expected) = crate::on_device(|device| {
                let session = Session::open(config).unwrap();
                let log = &session.sampling().log;
                let train = session.split.train.clone();
                let (src, dst) = (&log.src()[train.clone()], &log.dst()[train]);
                let expected = by_definition(src, dst, 25, k);
                let mut training = session.training(device).unwrap();
                let mut ledger = Vec::new();
                let record = training.run(&mut |event| {
                    if let mspipe::train::observer::TrainEvent::Ledger(lines) = event {
                        ledger.extend(lines.iter().cloned());
                    }
                    Ok(())
                });
                (ledger, record.unwrap().0.stale_memory, expected)
            });
            let mut sums = [StaleMemory::default(), StaleMemory::default()];
            for line in &ledger {
                sums[line.epoch as usize - 1].add(line.stale_memory.as_ref().unwrap());
            }
            for sum in &sums {
                assert_eq!(sum.mail_overwritten, expected.memory.mail_overwritten);
                assert_eq!(sum.mail_lost, expected.memory.mail_lost, "{model}, k = {k}");
                assert_eq!(sum.rows_written, expected.memory.rows_written);
                let rows = |by_lacking: &[u64]| by_lacking.iter().sum::<u64>();
                assert!(rows(&sum.rows_read) > rows(&sum.rows_written));
                assert_eq!(sum.rows_read.len(), sum.rows_written.len());
            }
            let [mut sum, second] = sums;
            sum.add(&second);
            assert_eq!(sum, whole);
        }
    }
}

#[test]
fn a_chart_and_a_table_are_drawn() {
    let program = Program::new();
    let command =
        "schedule staleness --data synthetic:wikipedia:scale=0.02 --batch-size 50,100 --k 1,3";
    let ended = program.run(&format!("{command} --chart lost.svg"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("(SYNTHETIC)"), "{}", ended.stdout);
    // Two lines above the table, its head, a line for each pair.
    assert_eq!(ended.stdout.lines().count(), 2 + 1 + 1 + 4 + 1);
    let chart = std::fs::read_to_string(program.path("lost.svg")).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains("rows written stale, batch 100"));
    let again = program.run(&format!("{command} --chart lost.svg"));
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let none = program.run(&format!("{command} --k 0"));
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    let picture = program.run(&format!("{command} --chart lost.png"));
    assert!(
        picture.stderr.contains(".svg") && picture.code == Some(1),
        "{}",
        picture.stderr
    );
}

#[test]
fn each_k_is_counted_once_over_the_events_that_are_used() {
    let program = Program::new();
    let command = "schedule staleness --data synthetic:wikipedia:scale=0.02 --batch-size 50,50 --k 3,1,3 --json";
    let counted = |options: &str| -> serde_json::Value {
        let ended = program.run(&format!("{command} {options}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let all = counted("");
    let k: Vec<_> = (all["staleness"].as_array().unwrap().iter())
        .map(|line| line["k"].as_u64().unwrap())
        .collect();
    assert_eq!(k, [3, 1]);
    // Only a run knows the rows that it reads.
    assert!(all["staleness"][0]["rows_read"].is_null());
    assert!(all["staleness"][0]["rows_written"].is_array());
    let few = counted("--limit-events 1000");
    assert_eq!(few["events"], 700);
    // Without anything above zero the axis has its numbers all the same.
    program.run("schedule staleness --data synthetic:wikipedia:scale=0.02 --k 1 --chart none.svg");
    let chart = std::fs::read_to_string(program.path("none.svg")).unwrap();
    assert!(
        chart.contains(">0.5</text>") && !chart.contains("0.000000000"),
        "{chart}"
    );
}

#[test]
fn a_mitigation_is_told_with_its_numbers() {
    let program = Program::new();
    let run = "train --data synthetic:wikipedia:scale=0.02 --device cpu --epochs 2 --batch-size 50 --width 16 \
               --schedule staleness:3 --mitigation similarity --mitigation-keep 0.5 --probe-every 10 --out run";
    let ended = program.run(run);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let read = |name: &str| std::fs::read_to_string(program.path(name)).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&read("run/summary.json")).unwrap();
    let ledger = read("run/ledger.jsonl");
    let corrected = ledger.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["corrected"].as_u64().unwrap()
    });
    let rows: u64 = corrected.sum();
    assert!(rows > 0);
    assert_eq!(summary["corrected_rows"], rows);
    let told = [ended.stderr, ended.stdout].concat();
    assert!(
        told.contains(&format!("the mitigation corrected {rows} rows")),
        "{told}"
    );
    let page = program.run("report run");
    assert_eq!(page.code, Some(0), "{}", page.stderr);
    let page = read("run/report.html");
    assert!(page.contains("similarity: λ 0.5, of rows with ages above the 0.99 quantile"));
    assert!(page.contains("The encoding of times was trained."));
    let audit = program.run("audit run --limit-events 500 --probes 1");
    assert!(
        audit
            .stdout
            .contains("schedule staleness:3, mitigation similarity"),
        "{}",
        audit.stdout
    );
}

#[test]
fn catching_up_is_refused_where_it_means_nothing() {
    let program = Program::new();
    let small = "train --data synthetic:wikipedia:scale=0.01 --device cpu --epochs 1 --out x \
                 --mitigation catch-up";
    for (options, expected) in [
        ("--model apan", "attends to all mail that a node keeps"),
        ("--memory-write read", "expected --memory-write event"),
    ] {
        let ended = program.run(&format!("{small} {options}"));
        assert_ne!(ended.code, Some(0));
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    let ended = program.run(&format!("{small} --mitigation-keep 0.5 --limit-events 300"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = [ended.stderr, ended.stdout].concat();
    assert!(told.contains("--mitigation-keep"), "{told}");
}
