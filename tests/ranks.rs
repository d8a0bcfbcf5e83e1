//! Ranks that train together: R with a batch of B give what one process gives with R x B, and the same
//! bits each time.

use std::sync::Arc;
use std::thread;

use burn::tensor::{Device, Tensor};
use clap::Parser;
use mspipe::checkpoint::{Every, LAST};
use mspipe::config::RunConfig;
use mspipe::memory::node_memory::NodeMemory;
use mspipe::pipeline::ledger::{AgeHistogram, LedgerLine};
use mspipe::pipeline::staleness::StaleMemory;
use mspipe::ranks::{Exchange, threads};
use mspipe::session::Session;
use mspipe::train::epochs::TrainLoop;
use mspipe::train::error::TrainError;
use mspipe::train::keeping::Keeping;
use mspipe::train::observer::TrainEvent;
use mspipe::train::ranks::Ranks;
use mspipe_datasets::Stop;

use crate::program::{GLANCE, Program};

/// Two runs that round otherwise drift apart by a factor of ten an iteration while the time encoding is trained:
/// its ω is multiplied by times of up to 10^6. A fixed one leaves the rounding of weights as small as it is.
const FIXED: &str = "--time-encoding fixed";

/// A stream, and how it is cut.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    data: &'static str,
    /// Events of a batch that all ranks share.
    batch: usize,
    /// 20 iterations of training, the last with a third of a batch: of four ranks the last two have none.
    events: usize,
}

pub(crate) const SMALL: Cut = Cut {
    data: "synthetic:wikipedia:scale=0.02",
    batch: 60,
    events: 1658,
};

/// Batches as large as one trains with.
const LARGE: Cut = Cut {
    data: "synthetic:wikipedia:scale=0.12",
    batch: 600,
    events: 16_572,
};

/// The program's options.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: RunConfig,
}

/// What a rank has at the end.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) losses: Vec<f32>,
    /// k of each iteration.
    staleness: Vec<usize>,
    /// What each iteration read.
    pub(crate) reads: Vec<Read>,
    /// Memory rows, then mail.
    pub(crate) memory: Vec<f32>,
    /// Last updates, times of mail, slots.
    pub(crate) times: String,
    val_ap: f64,
}

/// What an iteration read, as its line of the ledger says it.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    ages: Option<AgeHistogram>,
    stale_memory: Option<StaleMemory>,
    updater_rows: Option<u64>,
}

impl Read {
    fn of(line: &LedgerLine) -> Read {
        Read {
            ages: line.ages.clone(),
            stale_memory: line.stale_memory.clone(),
            updater_rows: line.updater_rows,
        }
    }
}

impl Outcome {
    pub(crate) fn see(&mut self, event: TrainEvent<'_>) {
        match event {
            TrainEvent::Losses { losses, .. } => self.losses.extend(losses),
            TrainEvent::Ledger(lines) => {
                self.staleness.extend(lines.iter().map(|line| line.k));
                self.reads.extend(lines.iter().map(Read::of));
            }
            TrainEvent::EpochDone { record, .. } => self.val_ap = record.val.ap,
            _ => {}
        }
    }

    pub(crate) fn look_into(&mut self, memory: &NodeMemory) {
        let read = |table: Tensor<2>| table.into_data().try_into_vec::<f32>().unwrap();
        let (rows, mail, times) = match memory {
            NodeMemory::Device(memory) => {
                let (rows, mail) = memory.tables();
                (read(rows), read(mail), memory.node_times())
            }
            NodeMemory::Host(memory) => {
                let (rows, mail) = memory.tables();
                (rows.to_vec(), mail.to_vec(), memory.node_times())
            }
        };
        self.memory = [rows, mail].concat();
        self.times = format!("{times:?}");
    }

    /// Fails unless it is what `one` process gives but for the rounding of weights.
    fn must_agree(&self, one: &Outcome, what: &str) {
        assert!(self.times == one.times, "{what}: times and slots");
        assert_eq!(self.reads.len(), 20, "{what}");
        for (at, both) in self.reads.iter().zip(&one.reads).enumerate() {
            assert_eq!(both.0, both.1, "{what}: ledger of iteration {at}");
        }
        assert_eq!(self.losses.len(), one.losses.len(), "{what}");
        for (at, (loss, expected)) in self.losses.iter().zip(&one.losses).enumerate() {
            let off = (loss - expected).abs() / expected.abs();
            assert!(
                off < 1e-5,
                "{what}: loss {at} is {loss}, expected {expected}"
            );
        }
        let both = self.memory.iter().zip(&one.memory);
        let off = both.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "{what}: memory is off by {off}");
        let off = (self.val_ap - one.val_ap).abs();
        assert!(off < 1e-3, "{what}: AP is off by {off}");
    }
}

pub(crate) fn config(cut: Cut, options: &str, ranks: usize) -> RunConfig {
    let small =
        "mspipe --edge-features random:4 --width 16 --time-width 8 --fanout 4 --mail-slots 3";
    let Cut { data, events, .. } = cut;
    let batch = cut.batch / ranks;
    let epochs = if options.contains("--epochs") {
        ""
    } else {
        "--epochs 1"
    };
    let rate = if options.contains("--learning-rate") {
        ""
    } else {
        "--learning-rate 1e-4"
    };
    let all = format!(
        "{small} {rate} --data {data} --limit-events {events} --batch-size {batch} --ranks threads:{ranks} {options} {epochs}"
    );
    Options::parse_from(all.split_whitespace()).config
}

/// Trains in a pool of so many threads.
fn in_pool(threads: usize, work: impl FnOnce() -> Outcome + Send) -> Outcome {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(work)
}

fn trained(session: &Session, ranks: Option<Ranks>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut training: TrainLoop = session
        .training(&Device::flex())
        .unwrap()
        .with(ranks.clone());
    let first = ranks.is_none_or(|ranks| ranks.records());
    if first {
        let seen = training.run(&mut |event| {
            outcome.see(event);
            Ok(())
        });
        seen.unwrap();
    } else {
        training.run_beside().unwrap();
    }
    outcome.look_into(&training.memory);
    outcome
}

/// What each rank has, with pools of so many threads.
pub(crate) fn train(options: &str, ranks: usize, pool: usize) -> Vec<Outcome> {
    train_on(SMALL, options, ranks, pool)
}

fn train_on(cut: Cut, options: &str, ranks: usize, pool: usize) -> Vec<Outcome> {
    let session = Session::open(config(cut, options, ranks)).unwrap();
    let session = &session;
    thread::scope(|scope| {
        let running: Vec<_> = threads::ranks(ranks)
            .into_iter()
            .map(|rank| {
                let exchange: Arc<dyn Exchange> = Arc::new(rank);
                let ranks = Ranks::of(exchange);
                scope.spawn(move || in_pool(pool, || trained(session, ranks)))
            })
            .collect();
        running
            .into_iter()
            .map(|rank| rank.join().unwrap())
            .collect()
    })
}

/// Trains with 1, 2 and 4 ranks, and compares.
fn compare(cut: Cut, options: &str) {
    let one = train_on(cut, options, 1, 1).remove(0);
    assert_eq!(one.losses.len(), 20);
    for ranks in [2, 4] {
        let what = format!("{options}, {ranks} ranks");
        let all = train_on(cut, options, ranks, 1);
        all[0].must_agree(&one, &what);
        // Replicas are equal in bits.
        for other in &all[1..] {
            assert!(other.memory == all[0].memory, "{what}");
            assert!(other.times == all[0].times, "{what}");
        }
    }
}

#[test]
fn ranks_give_what_one_process_gives() {
    for model in ["tgn", "jodie", "apan"] {
        for dropout in ["0", "0.2"] {
            for schedule in ["sequential", "staleness:3 --memory host"] {
                let drops = format!("--dropout {dropout} --attention-dropout {dropout}");
                let options = format!("--model {model} {drops} --schedule {schedule} {FIXED}");
                compare(SMALL, &options);
            }
        }
    }
}

#[test]
fn ranks_give_what_one_process_gives_with_batches_of_600() {
    for model in ["tgn", "jodie", "apan"] {
        let schedule = "--schedule staleness:3 --memory host";
        compare(LARGE, &format!("--model {model} {schedule} {FIXED}"));
    }
}

#[test]
fn ranks_keep_to_all_that_a_batch_may_see() {
    for options in [
        // Hidden batches and pair histories, which see a batch's first event.
        "--protocol tgb --candidates 5 --pair-history on",
        "--model tgn --sampler uniform --hide-batch on --schedule staleness:3",
        "--model tgn --time-delta query --schedule exact-overlap --memory host",
        "--model tgn --layers 2 --dropout 0 --attention-dropout 0 --clip-norm 0.5",
        // What inner layers drop is numbered by what all of a batch has sampled.
        "--model tgn --layers 2 --dropout 0.2 --attention-dropout 0.2",
        "--model tgn --layers 3 --sampler uniform --schedule staleness:2 --time-delta query",
        "--model apan --mail-aggregation mean --weight-decay 0.1",
        "--model tgn --mitigation catch-up --schedule staleness:3 --memory host",
        "--model jodie --mitigation catch-up --schedule staleness:2",
        "--model tgn --mitigation pres --coherence 0.3 --schedule staleness:3 --memory host",
        "--model jodie --mitigation pres --schedule staleness:2",
        "--model tgn --mitigation pres --time-delta query --schedule prefetch",
        "--model apan --mitigation pres",
    ] {
        compare(SMALL, &format!("{options} {FIXED}"));
    }
}

#[test]
fn a_trained_time_encoding_leaves_times_and_the_first_losses() {
    let one = train("--model tgn", 1, 1).remove(0);
    let two = train("--model tgn", 2, 1).remove(0);
    assert!(two.times == one.times);
    for (loss, expected) in two.losses.iter().zip(&one.losses).take(4) {
        assert!(
            (loss - expected).abs() < 1e-5 * expected,
            "{loss} {expected}"
        );
    }
}

#[test]
fn equal_ranks_give_equal_bits() {
    for options in [
        "--model tgn --schedule staleness:3 --memory host",
        "--model apan --schedule prefetch",
    ] {
        let first = train(options, 2, 1);
        assert!(first == train(options, 2, 1), "{options}: twice");
        assert!(first == train(options, 2, 2), "{options}: other threads");
    }
}

#[test]
fn the_learning_rate_grows_with_the_root_of_the_ranks_where_that_is_asked_for() {
    let (rate, root) = (1e-3, 3f64.sqrt());
    let with = |rate: f64, scale: &str| {
        let scale = format!("--scale-learning-rate {scale}");
        train(&format!("--model tgn --learning-rate {rate} {scale}"), 3, 1)
    };
    let scaled = with(rate, "sqrt-ranks");
    assert!(scaled == with(rate * root, "none"));
    assert!(scaled[0].losses != with(rate, "none")[0].losses);
}

/// Each rank measures other times, and all read what the same updates are in: else their memory would differ.
#[test]
fn ranks_agree_on_the_k_that_they_measure() {
    let options =
        "--model tgn --schedule mspipe --memory host --epochs 2 --emulate-link 1GB/s,20ms";
    let all = train(options, 3, 1);
    assert!(all[1..].iter().all(|other| other.memory == all[0].memory));
    assert!(all[1..].iter().all(|other| other.times == all[0].times));
    let (first, second) = all[0].staleness.split_at(20);
    // The first epoch has too few blocks to choose by.
    assert_eq!(first, [1; 20]);
    assert!(second.iter().any(|&k| k > 1), "{second:?}");
}

/// What became of the two ranks of a run with `options`, the second of which is asked to stop when the
/// first has trained iteration 5: why each ended, and the checkpoints.
fn stopped(options: &str, every: Every) -> ([TrainError; 2], Vec<(usize, usize)>) {
    let stops = [Stop::default(), Stop::default()];
    let mut checkpoints = Vec::new();
    let run = |rank: threads::Thread, see: &mut (dyn FnMut(TrainEvent<'_>) + Send)| {
        let session = Session::open_until(config(SMALL, options, 2), &stops[rank.rank()]).unwrap();
        let first = rank.rank() == 0;
        let exchange: Arc<dyn Exchange> = Arc::new(rank);
        let training = session.training(&Device::flex()).unwrap();
        let mut training = training.with(Ranks::of(exchange));
        training.keeping = Keeping::new(every);
        let ended = match first {
            true => training
                .run(&mut |event| {
                    see(event);
                    Ok(())
                })
                .map(drop),
            false => training.run_beside(),
        };
        ended.unwrap_err()
    };
    let mut all = threads::ranks(2).into_iter();
    let (first, second) = (all.next().unwrap(), all.next().unwrap());
    let ended = thread::scope(|scope| {
        let other = scope.spawn(|| run(second, &mut |_| ()));
        let first = run(first, &mut |event| match event {
            TrainEvent::Iteration { iteration: 5, .. } => stops[1].request(),
            TrainEvent::Checkpoint {
                epoch, iteration, ..
            } => checkpoints.push((epoch, iteration)),
            _ => {}
        });
        [first, other.join().unwrap()]
    });
    (ended, checkpoints)
}

#[test]
fn a_stop_on_one_rank_ends_all_after_the_same_iteration() {
    // The other rank may have been one iteration ahead when it was asked.
    for (options, most) in [
        ("--model jodie", 7),
        ("--model jodie --schedule prefetch --memory host", 7),
        ("--model tgn --schedule staleness:3 --memory host", 9),
        ("--model tgn --schedule exact-overlap --memory host", 8),
    ] {
        for every in [Every::Epoch, Every::Never] {
            let (ended, checkpoints) = stopped(options, every);
            let places = ended.each_ref().map(|error| match error {
                TrainError::Interrupted {
                    epoch, iteration, ..
                } => (*epoch, *iteration),
                error => panic!("{options}: {error}"),
            });
            assert_eq!(places[0], places[1], "{options}");
            assert!((5..=most).contains(&places[0].1), "{options}: {places:?}");
            let kept = match every {
                Every::Never => vec![],
                _ => vec![(1, places[0].1 + 1)],
            };
            assert_eq!(checkpoints, kept, "{options}");
        }
    }
}

#[test]
fn a_rank_that_fails_ends_the_others_with_what_it_says() {
    let config = config(
        SMALL,
        "--model jodie --schedule staleness:2 --memory host",
        2,
    );
    let session = &Session::open(config).unwrap();
    let mut all = threads::ranks(2).into_iter();
    let (first, second) = (all.next().unwrap(), all.next().unwrap());
    let error = thread::scope(|scope| {
        scope.spawn(move || second.end(Some("the disk is full")));
        let exchange: Arc<dyn Exchange> = Arc::new(first);
        let training = session.training(&Device::flex()).unwrap();
        let mut training = training.with(Ranks::of(exchange));
        training.run(&mut |_| Ok(())).unwrap_err()
    });
    let said = error.to_string();
    assert!(said.ends_with("rank 1 ended: the disk is full"), "{said}");
}

/// A run of the program, without the number of ranks and the batch.
const TRAIN: &str = "train --data synthetic:wikipedia:scale=0.02 --device cpu --edge-features random:4 --width 16 \
                     --time-width 8 --fanout 4 --model tgn --limit-events 1658 --epochs 3 --threads 2 \
                     --schedule staleness:2 --memory host --time-encoding fixed";

#[test]
fn a_run_of_ranks_is_killed_and_resumed() {
    let program = Program::new();
    let begin = |out: &str| {
        format!("{TRAIN} --batch-size 30 --ranks threads:2 --checkpoint-every 3 --out {out}")
    };
    let whole = program.run(&begin("whole"));
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let weights = |run: &str| std::fs::read(program.path(&format!("{run}/weights.safetensors")));
    for (run, resume) in [("same", ""), ("other", " --ranks threads:4")] {
        let mut child = program.start(&begin(run));
        while !program.path(&format!("{run}/{LAST}")).exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before");
            thread::sleep(GLANCE);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let said = program.run(&format!("train --resume {run} --ranks threads:7"));
        let expected = "--ranks is 7 ranks for a batch of 60, expected a number of ranks that";
        assert!(said.stderr.contains(expected), "{}", said.stderr);
        let resumed = program.run(&format!("train --resume {run}{resume}"));
        assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
        let same = weights("whole").unwrap() == weights(run).unwrap();
        assert_eq!(same, resume.is_empty(), "other ranks round otherwise");
        // Other ranks are told of, and the change stays written down.
        let told = resumed
            .stderr
            .contains("the run has other ranks: threads:4, threads:2 before");
        assert_eq!(told, !same, "{}", resumed.stderr);
        let read = |file: &str| std::fs::read_to_string(program.path(&format!("{run}/{file}")));
        let written = read("metrics.jsonl").unwrap();
        let change = "\"ranks\":\"threads:4\",\"ranks_before\":\"threads:2\"";
        assert_eq!(written.contains(change), !same);
        let page = read("report.html").unwrap();
        assert_eq!(page.contains("; threads:2 before iteration"), !same);
        let summary = program.json(&format!("{run}/summary.json"));
        let ranks = if same { "threads:2" } else { "threads:4" };
        assert_eq!(summary["ranks"], ranks);
        assert_eq!(summary["batch_size"], 60);
        let loss = |run: &str| {
            let summary = program.json(&format!("{run}/summary.json"));
            summary["epochs"][2]["train_loss"].as_f64().unwrap()
        };
        let (found, expected) = (loss(run), loss("whole"));
        assert!((found - expected).abs() < 1e-4 * expected, "{found}");
    }
    let ledger = std::fs::read_to_string(program.path("whole/ledger.jsonl")).unwrap();
    assert!(
        ledger
            .lines()
            .all(|line| line.contains("\"exchanged\":{\"gradient_bytes\":"))
    );
    let trace = program.json("whole/trace.json");
    let events = trace.as_array().unwrap();
    let count = |name: &str, pid: usize| {
        let named = events.iter().filter(|event| event["name"] == name);
        named.filter(|event| event["pid"] == pid).count()
    };
    // A process of each rank, with all of its 20 iterations.
    for (name, each) in [
        ("process_name", 1),
        ("train", 20),
        ("gradients", 20),
        ("rows", 20),
    ] {
        assert_eq!([count(name, 1), count(name, 2)], [each; 2], "{name}");
    }
    let page = std::fs::read_to_string(program.path("whole/report.html")).unwrap();
    assert!(page.contains("What rank 0 gave the other ranks"));
}

#[test]
fn what_ranks_can_not_do_together_is_refused() {
    let program = Program::new();
    for (options, said) in [
        ("--schedule auto", "--schedule is auto, expected"),
        (
            "--schedule freshest:2",
            "--schedule is freshest:2, expected",
        ),
        (
            "--mitigation similarity",
            "--mitigation is given, expected none, catch-up or pres with --ranks",
        ),
        (
            "--memory-write read",
            "--memory-write is read, expected event with --ranks",
        ),
        (
            "--profile",
            "--profile is given, expected a run without --ranks threads:R",
        ),
    ] {
        let ended = program.run(&format!(
            "train --data synthetic:wikipedia:scale=0.01 --device cpu --ranks threads:2 {options}"
        ));
        assert_eq!(ended.code, Some(1), "{options}");
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    let stream = "--data synthetic:wikipedia:scale=0.01 --device cpu";
    let ended = program.run(&format!("train {stream} --ranks mpi --seeds 2 --out seeds"));
    let said = "--seeds is 2, expected a run without --ranks mpi";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(!program.path("seeds").exists());
    let sweep = "out = \"sweep\"\nmethod = \"grid\"\n[settings]\ndata = \"synthetic:wikipedia:scale=0.01\"\n\
                 ranks = \"mpi\"\n[values]\nseed = [0, 1]\n";
    std::fs::write(program.path("sweep.toml"), sweep).unwrap();
    let ended = program.run("sweep sweep.toml");
    let said = "ranks: found mpi, expected threads:R";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}
