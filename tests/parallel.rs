//! How many threads an iteration can use: what of its work is divided, counted, whatever cores the machine has.
//! `cargo test --release -- --nocapture parallel` prints the counts.

use std::collections::BTreeMap;

use clap::Parser;
use mspipe::config::RunConfig;
use mspipe::parallel::{self, Part};
use mspipe::profiler;
use mspipe::session::Session;

use crate::on_device;

/// The program's options.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: RunConfig,
}

/// Parts of the training of a stream like Wikipedia's in usual batches, and of the evaluation of its end.
fn of_training(model: &str) -> Vec<Part> {
    let options = format!(
        "mspipe --data synthetic:wikipedia --edge-features random:172 --limit-events 15000 --split 0.98,0.01 \
         --epochs 1 --memory device --schedule sequential --model {model}"
    );
    let config = Options::try_parse_from(options.split_whitespace());
    let config = config.unwrap_or_else(|error| panic!("{error}")).config;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    let pool = pool.build().unwrap();
    pool.install(|| {
        on_device(|device| {
            let session = Session::open(config).unwrap();
            let mut training = session.training(device).unwrap();
            profiler::set_recording(true);
            let (record, parts) = parallel::counted(|| training.run(&mut |_| Ok(())));
            profiler::set_recording(false);
            profiler::take();
            record.unwrap();
            parts
        })
    })
}

/// Work alone and in tasks of all parts of a name, with the largest task.
fn describe(parts: &[Part]) -> String {
    let mut named: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for part in parts {
        let sums = named.entry(part.name).or_default();
        sums[0] += part.alone;
        sums[1] += part.work() - part.alone;
        sums[2] = sums[2].max(part.tasks.iter().copied().max().unwrap_or(0));
    }
    let mut named: Vec<_> = named.into_iter().collect();
    named.sort_by_key(|(_, [alone, ..])| std::cmp::Reverse(*alone));
    let mut text = format!(
        "{:<30} {:>10} {:>10} {:>10}",
        "kB", "alone", "in tasks", "largest"
    );
    for (name, sums) in named {
        let [alone, tasks, largest] = sums.map(|bytes| bytes as f64 / 1e3);
        text += &format!("\n{name:<30} {alone:>10.0} {tasks:>10.0} {largest:>10.1}");
    }
    text
}

/// Checks that at most `alone` percent of the work is done by one thread while others wait, and that the rest is
/// shared out so well that two threads are as quick as if `serial` percent were (Amdahl's law), and eight.
fn is_divided(model: &str, alone: f64, serial: [f64; 2]) {
    let parts = of_training(model);
    let sum = |of: &dyn Fn(&Part) -> u64| parts.iter().map(of).sum::<u64>() as f64;
    let whole = sum(&Part::work);
    let counted = 100.0 * sum(&|part| part.alone) / whole;
    let [two, eight] = [2, 8].map(|threads| {
        let speedup = whole / sum(&|part| part.passes(threads));
        let threads = threads as f64;
        println!("{model}, {threads} threads: {speedup:.2} times");
        100.0 * (threads / speedup - 1.0) / (threads - 1.0)
    });
    println!("{model}: {counted:.2} % alone; as {two:.2} % of two, {eight:.2} % of eight threads");
    let table = describe(&parts);
    println!("{table}");
    assert!(counted <= alone, "{model}: {counted:.2} % alone\n{table}");
    assert!(
        two <= serial[0] && eight <= serial[1],
        "{two:.2} %, {eight:.2} %\n{table}"
    );
}

#[test]
fn an_iteration_of_tgn_is_divided() {
    is_divided("tgn", 8.0, [8.0, 8.0]);
}

#[test]
fn an_iteration_of_jodie_is_divided() {
    // A batch of 200 has few tasks of its cell for eight threads.
    is_divided("jodie", 8.0, [8.0, 9.0]);
}

#[test]
fn an_iteration_of_apan_is_divided() {
    is_divided("apan", 8.0, [8.0, 8.0]);
}
