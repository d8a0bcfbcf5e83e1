//! Results of one run of a comparison, and what tables say of several.
//!
//! A cell is written to `cell.json` and read back; [`crate::grid`] does both. Speeds are those
//! of training alone, no evaluation.

use std::fmt;

use mspipe::config::{RunConfig, name_of};
use mspipe::eval::LinkMetrics;
use mspipe::pipeline::Stage;
use mspipe::pipeline::probe::Probe;
use mspipe::pipeline::staleness::StaleMemory;
use mspipe::profiler::machine::median;
use mspipe::run_folder::QueueSeconds;
use serde::{Deserialize, Serialize};

/// What stands behind the name of a stream that was generated.
pub fn synthetic_mark(synthetic: bool) -> &'static str {
    if synthetic { " (SYNTHETIC stream)" } else { "" }
}

/// What the numbers of a run belong to, beside its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Name of the stream.
    pub data: String,
    /// SHA-256 of its content.
    pub data_hash: String,
    /// Whether it was generated.
    pub synthetic: bool,
    /// Events used.
    pub events: usize,
    /// Nodes.
    pub nodes: usize,
    /// Width of the edge features.
    pub edge_width: usize,
    /// Adapter, driver and API.
    pub device: String,
    /// Processor and system.
    pub machine: String,
    /// Worker threads.
    pub threads: usize,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let synthetic = synthetic_mark(self.synthetic);
        write!(
            f,
            "{}{synthetic}, {} events, {:.8}, edge features {} wide, {} threads, {} ({})",
            self.data,
            self.events,
            self.data_hash,
            self.edge_width,
            self.threads,
            self.device,
            self.machine
        )
    }
}

impl Context {
    /// The stream as titles name it.
    pub fn title(&self) -> String {
        let synthetic = if self.synthetic { " (SYNTHETIC)" } else { "" };
        format!("{}{synthetic}", self.data)
    }
}

/// Results of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// Its settings.
    pub config: RunConfig,
    /// Stream and machine.
    pub context: Context,
    /// Version and commit of the program.
    pub program: String,
    /// Each epoch.
    pub epochs: Vec<CellEpoch>,
    /// Mean loss of each tenth of each epoch's iterations, in order.
    pub loss_curve: Vec<f64>,
    /// Seconds in each stage over all epochs and threads, by its name.
    pub stage_seconds: Vec<(String, f64)>,
    /// Of these, in `train` until the updated memory was known, where that was told from the rest.
    #[serde(default)]
    pub updater_seconds: Option<f64>,
    /// What a GPU's queue did in an iteration, beside the threads.
    #[serde(default)]
    pub queue: Option<QueueSeconds>,
    /// Seconds that the device thread waited for its input.
    pub stall_seconds: f64,
    /// Training iterations with each k, smallest k first.
    pub staleness: Vec<(usize, usize)>,
    /// What staleness did to memory; none in cells of programs that did not count it.
    #[serde(default)]
    pub stale_memory: Option<StaleMemory>,
    /// Where k changed, the first iteration of the training included.
    pub k_changes: Vec<KChange>,
    /// Root rows read in training by age, as [`mspipe::pipeline::ledger::AgeHistogram`] counts.
    pub ages: Vec<u64>,
    /// What was under way at once, at most.
    pub in_flight: InFlight,
    /// Test part with the protocol's own negatives.
    pub test: LinkMetrics,
    /// Test part with the other negatives.
    pub test_other_pool: LinkMetrics,
    /// Pooled AP of EdgeBank on the test part, with the protocol's own negatives.
    pub edgebank_ap: f64,
    /// Memory rows that the mitigation corrected in an iteration, the mean; none without one.
    pub corrected_rows: Option<f64>,
    /// What probes found, if the run was probed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// GFLOP/s of the product of [`crate::matmul`], before and after.
    pub matmul_gflops: [f64; 2],
}

/// Results of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CellEpoch {
    /// Mean loss.
    pub train_loss: f64,
    /// Seconds of training, without evaluation.
    pub train_seconds: f64,
    /// Training events per second.
    pub events_per_s: f64,
    /// Pooled AP of the validation part.
    pub val_ap: f64,
}

/// A k that holds from an iteration on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KChange {
    /// Iteration of the run, from 0, over all epochs.
    pub iteration: usize,
    /// Its staleness.
    pub k: usize,
}

/// What was under way at once, at most, of the iterations whose spans are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InFlight {
    /// Iterations between their first step's begin and their last one's end.
    pub iterations: usize,
    /// Bytes of their features, memory rows and updated rows.
    pub bytes: u64,
    /// Those of the largest single iteration, which `sequential` holds too.
    pub largest: u64,
}

impl Cell {
    /// Median training events per second of the epochs but the first, which warms caches and
    /// compiles shaders; where it is the only one, its own.
    pub fn median_events_per_s(&self) -> f64 {
        median(&self.counted_events_per_s())
    }

    /// Training events per second of the epochs that count: all but the first, which is
    /// counted where it is the only one.
    pub fn counted_events_per_s(&self) -> Vec<f64> {
        let from = usize::from(self.epochs.len() > 1);
        self.epochs[from..].iter().map(|e| e.events_per_s).collect()
    }

    /// Seconds of training, all epochs.
    pub fn train_seconds(&self) -> f64 {
        self.epochs.iter().map(|epoch| epoch.train_seconds).sum()
    }

    /// Seconds in a stage.
    pub fn seconds_in(&self, stage: Stage) -> f64 {
        let of = |(name, _): &&(String, f64)| name == stage.name();
        self.stage_seconds.iter().find(of).map_or(0.0, |s| s.1)
    }

    /// Mean GFLOP/s before and after.
    pub fn mean_gflops(&self) -> f64 {
        (self.matmul_gflops[0] + self.matmul_gflops[1]) / 2.0
    }

    /// Label of a row whose speed is that of an emulated bus.
    pub fn emulated_link(&self) -> Option<String> {
        let link = self.config.pipeline.emulate_link?;
        Some(format!("EMULATED link {link}"))
    }
}

/// What all rows of a table share: stream, machine, model, and the rate of its matrix product.
pub(crate) fn headline(cells: &[Cell]) -> String {
    let Some(Cell {
        context, config, ..
    }) = cells.first()
    else {
        return String::new();
    };
    let mut rates: Vec<f64> = cells.iter().flat_map(|cell| cell.matmul_gflops).collect();
    rates.sort_by(f64::total_cmp);
    let only_warm_up = if config.training.epochs == 1 {
        " (speeds are of the one that warms up)"
    } else {
        ""
    };
    format!(
        "{context}\n{}, batch {}, epochs {}{only_warm_up}, learning rate {}, protocol {}\n\
         G: 19800 x 472 x 300 product, GFLOP/s, before and after each run: median {:.1}, \
         {:.1} to {:.1}\n",
        config.model.name,
        config.training.batch_size,
        config.training.epochs,
        config.training.learning_rate,
        name_of(&config.protocol.name),
        median(&rates),
        rates[0],
        rates[rates.len() - 1],
    )
}
