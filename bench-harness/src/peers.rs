//! `peers`: PyG's TGN and mspipe's on the same stream, in turns, on the same processor.
//!
//! Both get the same events, features, parts, negatives, batch size, widths, learning rate and
//! number of threads, and the same metric measures both. They take turns epoch by epoch (mspipe,
//! PyG, mspipe, PyG …), so that a machine that slows down slows both; while one works the other
//! waits. What still differs between the two is printed with every table.
//!
//! Only TGN is compared, and only on the CPU: it is what PyG has ready made, and what every
//! machine has.

mod job;
mod process;

use std::fmt;
use std::io;
use std::path::PathBuf;

use anyhow::Result;
use burn::module::Module as _;
use burn::tensor::Device;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Id, value_parser};
use mspipe::config::{self, RunConfig, Switch};
use mspipe::console;
use mspipe::device::{self, DeviceChoice};
use mspipe::interrupt;
use mspipe::profiler::machine::{PRODUCT, median};
use mspipe::sampling::SplitPart;
use mspipe::session::Session;
use mspipe::train::epochs::TrainLoop;
use mspipe::train::observer::{EpochRecord, TrainEvent};
use serde::Serialize;

use self::job::{Job, neighbor_rows};
pub use self::process::Versions;
use self::process::{Peer, PeerEpoch};
use crate::cell::synthetic_mark;
use crate::machine;
use crate::matmul::matmul_gflops;

/// What always differs between the two beside the implementation.
const DIFFERENCES: [&str; 4] = [
    "Past events: PyG keeps one list per node and sees events of earlier batches; mspipe samples \
     every root at its own time, earlier events of its batch included, and reads more rows.",
    "Messages: PyG makes a node's message when the node is read, of both nodes' memory at that \
     time, and applies all pending ones when training ends; mspipe keeps the mail that was made at \
     the event.",
    "Attention: PyG's TransformerConv scales scores and adds a linear skip; mspipe's is TGL's: \
     LeakyReLU, an output layer with dropout, ReLU and layer norm.",
    "Time encoding: PyG draws frequencies from a uniform distribution, mspipe starts from TGN's \
     powers of ten.",
];

/// What differs on streams whose unit of time has several ticks.
const TICKS: &str = "Time: PyG takes whole numbers and gets the stream's ticks, of which its unit \
                     has several; mspipe gets the unit.";

/// What differs on streams without edge features.
const NO_FEATURES: &str = "No edge features: PyG takes no width 0 and gets one column of zeros.";

/// What differs on a stream.
fn differences(ticks_per_unit: i64, edge_width: usize) -> Vec<&'static str> {
    let ticks = (ticks_per_unit != 1).then_some(TICKS);
    let features = (edge_width == 0).then_some(NO_FEATURES);
    DIFFERENCES
        .into_iter()
        .chain(ticks)
        .chain(features)
        .collect()
}

/// Options of a run that both can follow.
const COMPARED: [&str; 14] = [
    "data",
    "edge_features",
    "epochs",
    "batch_size",
    "seed",
    "fanout",
    "width",
    "time_width",
    "heads",
    "attention_dropout",
    "learning_rate",
    "limit_events",
    "threads",
    "schedule",
];

/// What to compare: options of a run, and where PyG is.
#[derive(Debug, Clone)]
pub struct PeersConfig {
    run: RunConfig,
    python: PathBuf,
}

impl FromArgMatches for PeersConfig {
    fn from_arg_matches(matches: &ArgMatches) -> Result<PeersConfig, clap::Error> {
        for option in not_compared() {
            let option = option.as_str();
            if matches.value_source(option) == Some(ValueSource::CommandLine) {
                return Err(clap::Error::raw(
                    ErrorKind::ArgumentConflict,
                    format!(
                        "--{}: PyG's TGN can't follow it, so nothing could be compared; leave \
                         it out\n",
                        option.replace('_', "-")
                    ),
                ));
            }
        }
        let Some(python) = matches.get_one::<PathBuf>("python") else {
            unreachable!("required");
        };
        let mut run = RunConfig::from_arg_matches(matches)?;
        run.device = DeviceChoice::Cpu.into();
        // PyG's TGN reads none.
        run.model.pair_history = Some(Switch::Off);
        run.training.eval_test_each_epoch = true;
        Ok(PeersConfig {
            run,
            python: python.clone(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = PeersConfig::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for PeersConfig {
    fn augment_args(command: Command) -> Command {
        let python = Arg::new("python")
            .long("python")
            .value_name("PATH")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("Python with the packages torch and torch_geometric");
        let command = RunConfig::augment_args(command.arg(python));
        not_compared().fold(command, |command, unused| {
            command.mut_arg(unused, |option| option.hide(true))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        PeersConfig::augment_args(command)
    }
}

/// The other options of a run.
fn not_compared() -> impl Iterator<Item = Id> {
    let all = config::options::<RunConfig>().into_iter();
    all.filter(|option| !COMPARED.contains(&option.as_str()))
}

/// One of the two in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Side {
    /// Training events per second, batch preparation to weight update.
    pub events_per_s: f64,
    /// Mean loss of the training batches.
    pub train_loss: f64,
    /// Pooled AP of the validation part.
    pub val_ap: f64,
    /// Pooled AP of the test part.
    pub test_ap: f64,
}

/// An epoch of both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EpochRow {
    /// mspipe.
    pub mspipe: Side,
    /// PyG.
    pub pyg: Side,
}

/// Both runs, and what they belong to.
#[derive(Debug, Clone, Serialize)]
pub struct PeersReport {
    /// Name of the stream.
    pub data: String,
    /// SHA-256 of its content.
    pub data_hash: String,
    /// Whether it was generated.
    pub synthetic: bool,
    /// Events of training, validation and test.
    pub events: [usize; 3],
    /// Width of the edge features.
    pub edge_width: usize,
    /// Settings of both.
    pub config: RunConfig,
    /// Worker threads of each.
    pub threads: usize,
    /// Processor and system.
    pub machine: String,
    /// mspipe's version and commit.
    pub program: String,
    /// mspipe's device.
    pub device: String,
    /// Trained parameters of mspipe's model.
    pub parameters: usize,
    /// What the peer is made of.
    pub pyg: Versions,
    /// Past events that mspipe gives a training batch, the mean.
    pub neighbor_rows: f64,
    /// Past events that PyG gives a training batch, the mean.
    pub pyg_neighbor_rows: f64,
    /// Each epoch.
    pub epochs: Vec<EpochRow>,
    /// GFLOP/s of mspipe's 19800 x 472 x 300 product, before and after.
    pub matmul_gflops: [f64; 2],
    /// GFLOP/s of PyTorch's.
    pub pyg_matmul_gflops: [f64; 2],
    /// Median over the counted epochs of mspipe's events per second over PyG's.
    pub ratio: f64,
    /// What differs between the two.
    pub differences: Vec<&'static str>,
}

/// Trains both in turns.
///
/// # Errors
/// When Python or its packages are missing, or one of the runs fails.
pub fn measure(asked: PeersConfig) -> Result<PeersReport> {
    let PeersConfig { run, python } = asked;
    config::start_threads(run.machine.threads)?;
    let stop = interrupt::stop();
    let session = Session::open_until(run, &stop)?;
    // The job's folder is removed, and the peer ended.
    let _unfinished = stop.unfinished();
    device::on_device_thread(|| -> Result<PeersReport> {
        let opened = device::open(DeviceChoice::Cpu)?;
        let device = &opened.device;
        let mut training: TrainLoop = session.training(device)?;
        let threads = rayon::current_num_threads();
        let job = Job::write(session.config(), &training.evaluator, threads)?;
        let (mut peer, pyg) = Peer::start(&python, job.path(), threads)?;
        let before = products(device, &mut peer)?;
        let mut turns = Turns {
            job: &job,
            peer: &mut peer,
            epochs: Vec::new(),
            neighbor_rows: Vec::new(),
        };
        training.run(&mut |event| match event {
            TrainEvent::EpochDone { epoch, record } => {
                turns.turn(epoch, record).map_err(io::Error::other)
            }
            _ => Ok(()),
        })?;
        let (epochs, rows) = (turns.epochs, turns.neighbor_rows);
        let after = products(device, &mut peer)?;
        let split = &session.split;
        Ok(PeersReport {
            data: session.data.name.clone(),
            data_hash: session.data.hash.clone(),
            synthetic: session.data.synthetic,
            events: [&split.train, &split.val, &split.test].map(ExactSizeIterator::len),
            edge_width: session.data.edge_width,
            config: session.config().clone(),
            threads,
            machine: machine::machine(),
            program: machine::program(),
            device: opened.adapter.clone(),
            parameters: training.trainer.model().num_params(),
            pyg,
            neighbor_rows: neighbor_rows(&training.evaluator.pass(SplitPart::Train, 1))?,
            pyg_neighbor_rows: rows.iter().sum::<f64>() / rows.len() as f64,
            matmul_gflops: [before[0], after[0]],
            pyg_matmul_gflops: [before[1], after[1]],
            ratio: median(&counted(&epochs).map(EpochRow::ratio).collect::<Vec<_>>()),
            epochs,
            differences: differences(
                session.sampling().log.ticks_per_unit(),
                session.data.edge_width,
            ),
        })
    })?
}

/// GFLOP/s of both.
fn products(device: &Device, peer: &mut Peer) -> Result<[f64; 2]> {
    Ok([matmul_gflops(device)?, peer.product_gflops(PRODUCT)?])
}

/// The epochs but the first, which warms caches; where it is the only one, itself.
fn counted(epochs: &[EpochRow]) -> impl Iterator<Item = &EpochRow> {
    epochs.iter().skip(usize::from(epochs.len() > 1))
}

impl EpochRow {
    /// mspipe's events per second over PyG's.
    fn ratio(&self) -> f64 {
        self.mspipe.events_per_s / self.pyg.events_per_s
    }
}

/// Lets the peer train an epoch after each of mspipe's.
struct Turns<'a> {
    job: &'a Job,
    peer: &'a mut Peer,
    epochs: Vec<EpochRow>,
    /// Past events that the peer gave a batch, of each epoch.
    neighbor_rows: Vec<f64>,
}

impl Turns<'_> {
    fn turn(&mut self, epoch: usize, record: &EpochRecord) -> Result<()> {
        let mspipe = Side {
            events_per_s: record.events_per_s,
            train_loss: record.train_loss,
            val_ap: record.val.ap,
            test_ap: record.test.map_or(f64::NAN, |test| test.ap),
        };
        console::part(format!(
            "epoch {epoch}: mspipe {:.0} events/s, test AP {:.4}; ",
            mspipe.events_per_s, mspipe.test_ap
        ));
        // The message of an error begins its own line.
        let answer = self.peer.epoch(epoch).inspect_err(|_| console::note(""))?;
        let [val_ap, test_ap] = self
            .job
            .average_precisions()
            .inspect_err(|_| console::note(""))?;
        let PeerEpoch {
            events_per_s,
            train_loss,
            neighbor_rows,
        } = answer;
        console::note(format!(
            "PyG {events_per_s:.0} events/s, test AP {test_ap:.4}"
        ));
        self.neighbor_rows.push(neighbor_rows);
        let pyg = Side {
            events_per_s,
            train_loss,
            val_ap,
            test_ap,
        };
        self.epochs.push(EpochRow { mspipe, pyg });
        Ok(())
    }
}

impl PeersReport {
    /// Test AP at the epoch with the best validation AP.
    fn best(&self, side: fn(&EpochRow) -> Side) -> (usize, f64) {
        let sides = self.epochs.iter().map(side).enumerate();
        let best = sides.reduce(|best, next| {
            if next.1.val_ap > best.1.val_ap {
                next
            } else {
                best
            }
        });
        best.map_or((0, f64::NAN), |(epoch, side)| (epoch + 1, side.test_ap))
    }

    fn epoch_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (epoch, row) in (1..).zip(&self.epochs) {
            let label = match (epoch, self.epochs.len()) {
                (1, 2..) => "1 (warm-up)".to_owned(),
                _ => epoch.to_string(),
            };
            writeln!(
                f,
                "{label:<18} {:>9.0} {:>9.0} {:>6.2}   {:>8.4} {:>8.4}   {:>8.4} {:>8.4}",
                row.mspipe.events_per_s,
                row.pyg.events_per_s,
                row.ratio(),
                row.mspipe.val_ap,
                row.pyg.val_ap,
                row.mspipe.test_ap,
                row.pyg.test_ap,
            )?;
        }
        Ok(())
    }

    /// Medians, products and rows read, of both.
    fn summary_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speed = |side: fn(&EpochRow) -> Side| -> f64 {
            let speeds = counted(&self.epochs).map(|row| side(row).events_per_s);
            median(&speeds.collect::<Vec<_>>())
        };
        let (own, theirs) = (speed(|row| row.mspipe), speed(|row| row.pyg));
        let (own_best, their_best) = (self.best(|row| row.mspipe), self.best(|row| row.pyg));
        writeln!(
            f,
            "{:<18} {own:>9.0} {theirs:>9.0} {:>6.2}   {:>17}   {:>8.4} {:>8.4}",
            "median", self.ratio, "best validation:", own_best.1, their_best.1
        )?;
        let mean = |rates: [f64; 2]| (rates[0] + rates[1]) / 2.0;
        let (product, their_product) = (mean(self.matmul_gflops), mean(self.pyg_matmul_gflops));
        writeln!(
            f,
            "{:<18} {product:>9.1} {their_product:>9.1} {:>6.2}   19800 x 472 x 300 product, each \
             by its own library",
            "GFLOP/s",
            product / their_product
        )?;
        writeln!(
            f,
            "{:<18} {:>9.0} {:>9.0} {:>6.2}   past events in a training batch, the mean\n",
            "neighbour rows",
            self.neighbor_rows,
            self.pyg_neighbor_rows,
            self.neighbor_rows / self.pyg_neighbor_rows
        )
    }
}

impl fmt::Display for PeersReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunConfig {
            model,
            training,
            pipeline,
            ..
        } = &self.config;
        let [train, val, test] = self.events;
        let synthetic = synthetic_mark(self.synthetic);
        writeln!(
            f,
            "TGN on {}{synthetic}, {:.8}: {train} training events, {val} validation, {test} test; \
             edge features {} wide\n\
             batch {}, fanout {}, widths {}, Adam {}, seed {}; {} threads each on {}\n\
             mspipe: {}, {}, schedule {}, {} parameters\n\
             PyG: torch_geometric {}, torch {}, Python {}, {} parameters\n",
            self.data,
            self.data_hash,
            self.edge_width,
            training.batch_size,
            model.fanout,
            model.width,
            training.learning_rate,
            training.seed,
            self.threads,
            self.machine,
            self.program,
            self.device,
            pipeline.schedule,
            self.parameters,
            self.pyg.torch_geometric,
            self.pyg.torch,
            self.pyg.python,
            self.pyg.parameters,
        )?;
        writeln!(
            f,
            "{:<18} {:>26}   {:>17}   {:>17}",
            "", "training events/s", "validation AP", "test AP"
        )?;
        writeln!(
            f,
            "{:<18} {:>9} {:>9} {:>6}   {:>8} {:>8}   {:>8} {:>8}",
            "epoch", "mspipe", "PyG", "ratio", "mspipe", "PyG", "mspipe", "PyG"
        )?;
        self.epoch_rows(f)?;
        self.summary_rows(f)?;
        write!(
            f,
            "The same for both: events, order, features, parts, negatives of training and \
             evaluation, the metric (pooled AP), alternating epochs.\nWhat differs:"
        )?;
        for difference in &self.differences {
            write!(f, "\n* {difference}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        peers: PeersConfig,
    }

    fn parse(arguments: &[&str]) -> Result<PeersConfig, clap::Error> {
        let all = ["test", "--python", "python3", "--data", "x"]
            .iter()
            .chain(arguments);
        Program::try_parse_from(all).map(|program| program.peers)
    }

    #[test]
    fn options_that_the_peer_can_not_follow_are_refused() {
        let run = parse(&["--batch-size=200", "--schedule=prefetch"])
            .unwrap()
            .run;
        assert_eq!(
            (run.training.batch_size, run.device.choice),
            (200, DeviceChoice::Cpu)
        );
        for argument in [
            "--model=jodie",
            "--device=gpu",
            "--layers=2",
            "--memory=host",
        ] {
            let error = parse(&[argument]).err().unwrap().to_string();
            assert!(error.contains("PyG's TGN can't follow it"), "{error}");
        }
        let known = config::options::<RunConfig>();
        assert!(
            COMPARED
                .iter()
                .all(|option| known.contains(&Id::from(*option)))
        );
    }

    fn row(mspipe: f64, pyg: f64, ap: f64) -> EpochRow {
        let side = |events_per_s, ap| Side {
            events_per_s,
            train_loss: 1.0,
            val_ap: ap,
            test_ap: ap / 2.0,
        };
        EpochRow {
            mspipe: side(mspipe, ap),
            pyg: side(pyg, 1.0 - ap),
        }
    }

    #[test]
    fn the_first_epoch_counts_only_where_it_is_alone() {
        let rows = [row(9.0, 1.0, 0.5), row(4.0, 2.0, 0.6), row(3.0, 1.0, 0.7)];
        let ratios = |rows| counted(rows).map(EpochRow::ratio).collect::<Vec<_>>();
        assert_eq!(ratios(&rows), [2.0, 3.0]);
        assert_eq!(ratios(&rows[..1]), [9.0]);
    }
}
