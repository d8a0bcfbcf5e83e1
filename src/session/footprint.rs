//! Estimates the RAM and device memory that a run needs, before anything is allocated.
//!
//! Counted structure by structure from the settings and the stream's counts, as an upper bound:
//! each root finds all the past events that it asks for, and all of them name different nodes, as
//! far as the stream has that many.
//! All of it is counted but `PROGRAM_BYTES`, `THREAD_BYTES`, `DRIVER_BYTES` and `SLACK`, which are
//! fitted to what runs took.
//!
//! Columns and features of a store are mapped, not read: the operating system keeps as much of
//! them as there is room for. They are told, but nothing is refused for them.

mod features;
mod machine;
mod pairs;
mod parameters;
mod ranks;

use std::fmt;

use indicatif::{HumanBytes, HumanCount};
use mspipe_datasets::ram;
use serde::Serialize;
use thiserror::Error;

use pairs::distinct_pairs;
use parameters::parameters;
use ranks::Ranks;

pub(super) use features::FeatureTables;
use features::MOST_BYTES;
pub use features::PlacedTable;
#[cfg(any(test, feature = "mpi"))]
pub(super) use machine::Needs;
pub use machine::Together;

use super::stream::OpenStream;
use crate::checkpoint::Every;
use crate::config::{CandidateSource, FeaturePlace, MitigationName, Protocol, RunConfig, Task};
use crate::device::{AdapterClass, AdapterReport};
use crate::features::FeatureSource;
use crate::graph::Directions;
use crate::memory::trends::COMPONENTS;
use crate::model::{ModelConfig, ModelName, ModelNeeds};
use crate::pipeline::profile::Residency;
use crate::pipeline::schedule::Schedule;
use crate::sampling::pair_history::most_bytes;
use crate::train::classification::LabelOf;
use crate::train::pair_scores::{PAIR_BYTES, PAIRS_PER_CHUNK, TABLE_ROWS};

/// What the program takes by itself, on the CPU device.
const PROGRAM_BYTES: u64 = 80 << 20;

/// What allocators keep for each thread beside what is in use.
const THREAD_BYTES: u64 = 8 << 20;

/// Threads beside those that compute: of the program, of the device and of the pipeline.
const OTHER_THREADS: u64 = 6;

/// What a graphics driver takes more.
const DRIVER_BYTES: u64 = 120 << 20;

/// What allocators keep beside what is in use, for what comes and goes with every batch.
const SLACK: f64 = 1.25;

/// Node memories that exist at once: the run's, the best epoch's, the one under evaluation.
const MEMORIES: u64 = 3;

/// More of them on a device while one is reset: burn makes the zeros and copies them, and the
/// old one is still there.
const RENEWED: u64 = 2;

/// Copies in RAM of what a checkpoint takes off a device: the run's and the best epoch's.
const SAVED: u64 = 2;

/// Tables of rows that pairs share: the one in use, and those before it that the allocator keeps. Ranking
/// took 2.3 to 3.3 tables more than a run without it (widths 100, 172 and 300, one thread).
const PAIR_TABLES: u64 = 3;

/// What the ranks of a process have together: the stream, and what the one has that writes the run.
const OF_ALL_RANKS: [&str; 7] = [
    "graph (T-CSR)",
    "pair histories",
    "random features",
    "history of candidates",
    "checkpoint",
    "evaluation",
    RANK_THREADS,
];

const RANK_THREADS: &str = "threads of ranks";

/// What makes smaller what each of them has.
const FEWER_RANKS: &str = "fewer ranks (--ranks threads:R): each has its own";

const FEATURES_REMEDY: &str = "--features host, which gathers a batch's rows in RAM";

/// The structures that `--memory host` keeps off a device.
const NODE_MEMORY: &str = "node memory";
const MAILBOX: &str = "mailbox";

/// One structure.
#[derive(Debug, Clone, Serialize)]
pub struct Share {
    /// What it is.
    pub what: &'static str,
    /// Bytes of RAM.
    pub ram_bytes: u64,
    /// Bytes of the device's memory; on the CPU they are RAM too.
    pub device_bytes: u64,
    /// What makes it smaller.
    #[serde(skip)]
    remedy: &'static str,
}

/// The memory that a run needs; see the module.
#[derive(Debug, Clone, Serialize)]
pub struct Footprint {
    /// Name of the adapter; None on the CPU device.
    pub adapter: Option<String>,
    /// What selects it, `gpu:N` or the like.
    #[serde(skip)]
    pub device: Option<String>,
    /// Whether the device's memory is RAM: of the CPU device, a software adapter, an integrated GPU.
    pub device_is_ram: bool,
    /// The structures.
    pub shares: Vec<Share>,
    /// RAM at the peak.
    pub ram_bytes: u64,
    /// The device's memory at the peak, 0 on the CPU device; where it is RAM, `ram_bytes` has it too.
    pub device_bytes: u64,
    /// Memory of the adapter's own, where it has some and its driver tells how much.
    pub adapter_bytes: Option<u64>,
    /// Tables of edge and node features, as far as the stream has them.
    pub features: Vec<PlacedTable>,
    /// Rows of both in the device's memory.
    #[serde(skip)]
    pub(super) feature_slots: [usize; 2],
    /// Refused: a size that was asked for, and the least that won't be.
    #[serde(skip)]
    feature_bytes: Option<[u64; 2]>,
    /// Rows of both that a batch may read.
    #[serde(skip)]
    batch_rows: [u64; 2],
    /// Columns and features mapped from the store.
    pub mapped_bytes: u64,
    /// RAM that is available now, to this process and within its control group.
    pub available_bytes: u64,
    /// Larger table of features on the device.
    pub largest_feature_bytes: u64,
    /// Largest table of node memory that a kernel binds, and the most that the adapter binds.
    pub largest_table_bytes: u64,
    /// Most bytes of a table that the adapter binds.
    pub adapter_table_bytes: Option<u64>,
    /// What it needs together with the other ranks that are processes of its machine, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<Together>,
}

/// A run that does not fit.
#[derive(Debug, Error)]
pub enum TooLarge {
    /// RAM won't do.
    #[error(
        "this run needs up to {} of RAM, and {} are available:\n{footprint}\n\
         Most of it is {largest}; try {remedy}. --no-memory-check trains anyway",
        HumanBytes(footprint.ram_bytes), HumanBytes(footprint.available_bytes)
    )]
    Ram {
        /// The figures.
        footprint: Box<Footprint>,
        /// The largest structure.
        largest: &'static str,
        /// What makes it smaller.
        remedy: &'static str,
    },
    /// The device's memory won't do.
    #[error(
        "this run needs up to {} of the memory of {adapter}, which has {}:\n{footprint}\n\
         Most of it is {largest}; try {remedy}. --no-memory-check trains anyway",
        HumanBytes(footprint.device_bytes), HumanBytes(*has)
    )]
    Device {
        /// The figures.
        footprint: Box<Footprint>,
        /// The adapter.
        adapter: String,
        /// Bytes that it has.
        has: u64,
        /// The largest structure on it.
        largest: &'static str,
        /// What makes it smaller.
        remedy: String,
    },
    /// RAM won't do for all processes of a machine, though it would for each.
    #[error(
        "{}, which are processes of one machine, need up to {} of RAM together, and {} are available; each has \
         its own, this one:\n{footprint}\n\
         Most of it is {largest}; try fewer ranks on each machine, or {remedy}. --no-memory-check trains anyway",
        machine::in_words(&together.ranks), HumanBytes(together.ram_bytes), HumanBytes(together.available_bytes)
    )]
    Machine {
        /// The figures of one.
        footprint: Box<Footprint>,
        /// Those of all of them.
        together: Together,
        /// The largest structure.
        largest: &'static str,
        /// What makes it smaller.
        remedy: &'static str,
    },
    /// The memory of an adapter won't do for all processes that work on it, though it would for each.
    #[error(
        "{}, which work on one adapter, need up to {} of the memory of {adapter} together, which has {}; give each \
         one of its own with --device gpu:local-rank, or start fewer ranks on the machine. --no-memory-check trains \
         anyway",
        machine::in_words(&together.on_adapter), HumanBytes(together.device_bytes), HumanBytes(*has)
    )]
    Adapter {
        /// The figures of all of them.
        together: Together,
        /// The adapter.
        adapter: String,
        /// Bytes that it has.
        has: u64,
    },
    /// There is room for too few rows of a table of features.
    #[error(
        "--features {place} has room for {} of the {} rows of {}, and a batch may read {} of them; give it {} or \
         more, or choose {remedy}",
        HumanCount(table.on_device), HumanCount(table.rows), table.table, HumanCount(table.of_batch), HumanBytes(*least)
    )]
    Slots {
        /// What was asked for.
        place: FeaturePlace,
        /// Which table.
        table: PlacedTable,
        /// Bytes that would do.
        least: u64,
        /// What takes none.
        remedy: &'static str,
    },
    /// A table is larger than the adapter binds.
    #[error(
        "{what} has {}, but {adapter} binds at most {} at once; try {remedy}",
        HumanBytes(*table), HumanBytes(*most)
    )]
    Table {
        /// Which table.
        what: &'static str,
        /// Bytes of the table.
        table: u64,
        /// The adapter.
        adapter: String,
        /// Most bytes that it binds.
        most: u64,
        /// What makes it smaller.
        remedy: &'static str,
    },
}

impl TooLarge {
    /// Advises what a run that is resumed can still do: its settings can't be others.
    pub(super) fn of_resumed(&mut self) {
        match self {
            TooLarge::Ram { remedy, .. } | TooLarge::Machine { remedy, .. } => {
                *remedy = "fewer --threads, or a machine with more RAM";
            }
            // What it advises changes no number.
            TooLarge::Adapter { .. } | TooLarge::Slots { .. } => {}
            TooLarge::Table { remedy, .. } => *remedy = "the device that the run began on",
            TooLarge::Device { remedy, .. } => {
                "the device that the run began on".clone_into(remedy)
            }
        }
    }
}

impl Footprint {
    /// The footprint of training on `stream`, with `adapter` or on the CPU.
    pub(super) fn of(stream: &OpenStream, adapter: Option<&AdapterReport>) -> Footprint {
        let tables = FeatureTables::of(stream);
        let base = Footprint::without_features(stream, adapter);
        let ranks = Ranks::of(stream.config.training.ranks);
        let placed = |slots| base.clone().with_features(&tables, slots, ranks.here);
        let host = || placed([0; 2]);
        match (stream.config.pipeline.features, adapter) {
            (FeaturePlace::Host, _) | (FeaturePlace::Auto, None) => host(),
            (FeaturePlace::Device, _) => placed(tables.whole()),
            (FeaturePlace::Part(bytes), _) => {
                let placed = placed(tables.within(bytes, base.most_feature_bytes()));
                let least = tables.least_bytes(&placed.features);
                Footprint {
                    feature_bytes: Some([bytes, least]),
                    ..placed
                }
            }
            // It reads both from RAM, and gathers more slowly than the host.
            (_, Some(adapter)) if adapter.class == AdapterClass::Software => host(),
            _ if tables.whole() == [0; 2] => host(),
            _ => {
                let whole = placed(tables.whole());
                if whole.has_room() {
                    return whole;
                }
                let part = |bytes| placed(tables.within(bytes, base.most_feature_bytes()));
                // Where a batch reads no past events, its own are those that were wanted an epoch ago.
                let reads_again = stream.needs.layers > 0;
                let of_each =
                    (base.room_for_part()).filter(|_| reads_again && !ranks.are_processes());
                of_each
                    .map(|bytes| part(bytes / ranks.here))
                    .filter(|part| part.has_room())
                    .filter(|part| part.features.iter().all(PlacedTable::holds_batches))
                    .unwrap_or_else(host)
            }
        }
    }

    /// The same with so many rows of edge and node features on the device, of each of the `ranks` that share the
    /// process.
    fn with_features(self, tables: &FeatureTables, slots: [u64; 2], ranks: u64) -> Footprint {
        let bytes = tables.bytes(slots);
        let ram = ranks * tables.ram_bytes(slots);
        let device = ranks * bytes.iter().sum::<u64>();
        let mut shares = self.shares;
        if device > 0 {
            shares.push(Share {
                what: "features on the device",
                ram_bytes: ram,
                device_bytes: device,
                remedy: FEATURES_REMEDY,
            });
        }
        let as_ram = if self.device_is_ram { device } else { 0 };
        let as_device = if self.adapter.is_some() { device } else { 0 };
        Footprint {
            shares,
            ram_bytes: self.ram_bytes + ram + as_ram,
            device_bytes: self.device_bytes + as_device,
            features: tables.placed(slots, self.batch_rows),
            feature_slots: slots.map(|slots| slots as usize),
            largest_feature_bytes: bytes[0].max(bytes[1]),
            ..self
        }
    }

    /// All but edge and node features on the device.
    fn without_features(stream: &OpenStream, adapter: Option<&AdapterReport>) -> Footprint {
        let sizes = Sizes::of(stream);
        let shares = sizes.shares(stream);
        let sum = |of: fn(&Share) -> u64| shares.iter().map(of).sum::<u64>();
        let (ram, device) = (
            sum(|share| share.ram_bytes),
            sum(|share| share.device_bytes),
        );
        let program = PROGRAM_BYTES + THREAD_BYTES * (sizes.threads + OTHER_THREADS);
        let log = &stream.log;
        let features = [log.edge_features(), log.node_features()];
        let mapped = features
            .into_iter()
            .flatten()
            .map(|table| table.as_bytes().len() as u64);
        let device_is_ram = adapter.is_none_or(AdapterReport::shares_ram);
        let driver = adapter.map_or(0, |_| DRIVER_BYTES);
        let ram_bytes = ram + program + driver + if device_is_ram { device } else { 0 };
        Footprint {
            adapter: adapter.map(|adapter| adapter.name.clone()),
            device: adapter.map(|adapter| adapter.device.clone()),
            device_is_ram,
            ram_bytes,
            device_bytes: adapter.map_or(0, |_| device),
            adapter_bytes: adapter
                .filter(|_| !device_is_ram)
                .and_then(|adapter| adapter.memory_bytes),
            mapped_bytes: 16 * sizes.events + mapped.sum::<u64>(),
            available_bytes: ram::available_bytes(),
            features: Vec::new(),
            feature_slots: [0; 2],
            feature_bytes: None,
            batch_rows: sizes.batch.feature_rows,
            largest_feature_bytes: 0,
            largest_table_bytes: match stream.config.pipeline.memory {
                Residency::Device => sizes.nodes * sizes.mailbox_bytes,
                Residency::Host => 0,
            },
            adapter_table_bytes: adapter
                .map(|adapter| adapter.binding_bytes.min(adapter.buffer_bytes)),
            together: None,
            shares,
        }
    }

    /// Whether features on the device leave it room: of RAM what there is, of a card's own memory, of which
    /// others take some, a quarter. One whose driver does not tell has none.
    fn has_room(&self) -> bool {
        let binds = self.largest_feature_bytes <= self.most_feature_bytes();
        binds
            && self.ram_bytes <= self.available_bytes
            && (self.device_is_ram
                || (self.adapter_bytes).is_some_and(|has| self.device_bytes <= has / 4 * 3))
    }

    /// What a card's own memory has left for a part of the features, if its driver tells. Where device memory is RAM, the
    /// pages of mapped features are as near.
    fn room_for_part(&self) -> Option<u64> {
        let has = self.adapter_bytes.filter(|_| !self.device_is_ram)?;
        Some((has / 4 * 3).saturating_sub(self.device_bytes))
    }

    /// What a table of features may have at most.
    fn most_feature_bytes(&self) -> u64 {
        let binds = self.adapter_table_bytes.unwrap_or(MOST_BYTES);
        binds.min(MOST_BYTES)
    }

    /// Refuses room that was asked for and is none to speak of.
    fn check_slots(&self) -> Result<(), TooLarge> {
        let Some([bytes, least]) = self.feature_bytes else {
            return Ok(());
        };
        match self.features.iter().find(|table| table.is_too_small()) {
            Some(table) => Err(TooLarge::Slots {
                place: FeaturePlace::Part(bytes),
                table: table.clone(),
                least,
                remedy: FEATURES_REMEDY,
            }),
            None => Ok(()),
        }
    }

    /// Refuses what won't fit.
    ///
    /// # Errors
    /// When RAM won't do, or the adapter can't bind a table.
    pub fn check(&self) -> Result<(), TooLarge> {
        if let (Some(most), Some(adapter)) = (self.adapter_table_bytes, &self.adapter)
            && self.largest_table_bytes > most
        {
            return Err(TooLarge::Table {
                what: "the node memory's largest table",
                table: self.largest_table_bytes,
                adapter: adapter.clone(),
                most,
                remedy: "--memory host, which keeps it in RAM, or a smaller --width or --mail-slots",
            });
        }
        if let (most, Some(adapter)) = (self.most_feature_bytes(), &self.adapter)
            && self.largest_feature_bytes > most
        {
            return Err(TooLarge::Table {
                what: "the larger table of features",
                table: self.largest_feature_bytes,
                adapter: adapter.clone(),
                most,
                remedy: FEATURES_REMEDY,
            });
        }
        self.check_slots()?;
        self.check_device()?;
        let largest = self
            .shares
            .iter()
            .max_by_key(|share| match self.device_is_ram {
                true => share.ram_bytes + share.device_bytes,
                false => share.ram_bytes,
            });
        match (largest, &self.together) {
            (Some(largest), _) if self.ram_bytes > self.available_bytes => Err(TooLarge::Ram {
                footprint: Box::new(self.clone()),
                largest: largest.what,
                remedy: largest.remedy,
            }),
            (Some(largest), Some(all)) if all.ram_bytes > all.available_bytes => {
                Err(TooLarge::Machine {
                    footprint: Box::new(self.clone()),
                    together: all.clone(),
                    largest: largest.what,
                    remedy: largest.remedy,
                })
            }
            _ => Ok(()),
        }
    }

    /// Refuses what the device's own memory won't hold.
    fn check_device(&self) -> Result<(), TooLarge> {
        let largest = self.shares.iter().max_by_key(|share| share.device_bytes);
        let (Some(has), Some(adapter), Some(largest)) =
            (self.adapter_bytes, &self.adapter, largest)
        else {
            return Ok(());
        };
        if self.device_bytes <= has {
            return match &self.together {
                Some(all) if all.device_bytes > has => Err(TooLarge::Adapter {
                    together: all.clone(),
                    adapter: adapter.clone(),
                    has,
                }),
                _ => Ok(()),
            };
        }
        Err(TooLarge::Device {
            footprint: Box::new(self.clone()),
            adapter: adapter.clone(),
            has,
            largest: largest.what,
            remedy: match [NODE_MEMORY, MAILBOX].contains(&largest.what) {
                true => format!(
                    "--memory host, which keeps it in RAM, or {}",
                    largest.remedy
                ),
                false => largest.remedy.to_owned(),
            },
        })
    }
}

#[cfg(any(test, feature = "mpi"))]
impl Footprint {
    /// What this process tells the other ranks.
    pub(super) fn needs(&self) -> Needs {
        let adapter = (!self.device_is_ram).then(|| self.device.clone());
        Needs {
            ram_bytes: self.ram_bytes,
            available_bytes: self.available_bytes,
            adapter: adapter.flatten(),
            device_bytes: self.device_bytes,
        }
    }

    /// The same for one of the ranks `here`, which are processes of one machine; `all` is what each rank needs.
    pub(super) fn together(mut self, here: &[usize], all: &[Needs]) -> Footprint {
        self.together = Together::of(&self.needs(), here, all);
        self
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_cpu = self.adapter.is_none();
        let shares = self.shares.iter().map(|share| match on_cpu {
            true => (share.what, share.ram_bytes + share.device_bytes, 0),
            false => (share.what, share.ram_bytes, share.device_bytes),
        });
        let all = self.together.as_ref();
        let together = all.map(|all| {
            let what = format!("all {} ranks of this machine", all.ranks.len());
            (what, all.ram_bytes, all.device_bytes)
        });
        let available = all.map_or(self.available_bytes, |all| all.available_bytes);
        let sums = [
            (
                "all, with the program itself",
                self.ram_bytes,
                self.device_bytes,
            ),
            ("available", available, self.adapter_bytes.unwrap_or(0)),
            ("mapped, released on demand", self.mapped_bytes, 0),
        ];
        write!(f, "  {:<34} {:>12} {:>12}", "at most", "RAM", "device")?;
        let [all, rest @ ..] = sums;
        let together = (together.iter()).map(|(what, ram, device)| (what.as_str(), *ram, *device));
        for (what, ram, device) in shares.chain([all]).chain(together).chain(rest) {
            let [ram, device] = [ram, device].map(|bytes| match bytes {
                0 => "-".to_owned(),
                _ => HumanBytes(bytes).to_string(),
            });
            write!(f, "\n  {what:<34} {ram:>12} {device:>12}")?;
        }
        for table in self.features.iter().filter(|table| table.is_part()) {
            let (part, rows) = (HumanCount(table.on_device), HumanCount(table.rows));
            write!(
                f,
                "\n  of {}, {part} of {rows} rows on the device, those that were wanted last",
                table.table
            )?;
        }
        Ok(())
    }
}

/// Counts that everything follows from.
struct Sizes {
    /// Events of the stream that are used; of its training part; of the larger of the other two.
    events: u64,
    train: u64,
    evaluated: u64,
    nodes: u64,
    /// Bytes of a node's mail.
    mailbox_bytes: u64,
    batch: Batch,
    /// Pairs of a batch that are ranked.
    ranked: u64,
    /// Batches that are ready or under way on the host.
    in_flight: u64,
    threads: u64,
    ranks: Ranks,
}

/// Most candidates that an event has.
fn candidates_per_event(config: &RunConfig, nodes: u64) -> u64 {
    let most = match config.protocol.candidates {
        Some(CandidateSource::Drawn(count) | CandidateSource::HalfHistorical(count)) => {
            count as u64
        }
        // As many as TGB records for an event of any of its sets.
        Some(CandidateSource::Files(_)) | None => 1000,
    };
    most.min(nodes)
}

/// Pieces of mail that a row catching up absorbs, on average and at most: some 1.4 at k = 3 and 2.5 at
/// k = 10 of Wikipedia's.
const CAUGHT_UP: usize = 4;

/// Numbers (of four bytes) of one batch.
#[derive(Default)]
struct Batch {
    /// On the host: layout, gathered features, rows of a memory in RAM.
    host: u64,
    /// On the device: inputs, results and gradients.
    device: u64,
    /// Rows of edge and of node features that it reads of a table at once.
    feature_rows: [u64; 2],
}

impl Batch {
    fn of(model: &ModelConfig, needs: ModelNeeds, size: Wanted) -> Batch {
        let [width, time, edge, node, heads] = [
            model.width,
            model.time_width,
            model.edge_width,
            model.node_width,
            model.heads,
        ]
        .map(|value| value as u64);
        // Rows that catch up read more than their newest mail where they have it.
        let pieces = match needs.attends_to_mail {
            true => needs.mail_slots,
            false => needs.mail_slots.min(CAUGHT_UP),
        };
        let mails = pieces as u64 * model.mail_width() as u64;
        let layers = needs.layers.max(1);
        let statistics = model.pair_history as u64;
        let history = 2 * size.events * statistics;
        let mut batch = Batch {
            host: history,
            // With partial sums of the gradient of its weights, of 16 events each.
            device: 2 * history + size.events.div_ceil(16) * statistics * width,
            feature_rows: [0; 2],
        };
        let mut roots = 3 * size.events;
        // From the outermost layer inwards: the rows of one are the roots of the next.
        for layer in 0..layers {
            let slots = if needs.layers + usize::from(needs.mail_to_neighbors) > 0 {
                roots * size.fanout
            } else {
                0
            };
            let in_layer = match needs.layers {
                0 => 0,
                _ => slots,
            };
            let innermost = layer + 1 == layers;
            let rows = size.rows(roots, in_layer, innermost);
            let events = size.events + in_layer.min(size.past_events);
            batch.feature_rows = [batch.feature_rows[0].max(events), rows];
            batch.host += 4 * rows + 8 * roots + 5 * slots + events * edge;
            let attended = heads * (width + edge + time + 1);
            // Input, its projection, the result, and the gradients of both.
            batch.device += match needs.layers {
                0 => 4 * roots * width,
                _ => {
                    events * edge
                        + slots * (4 + 2 * heads)
                        + roots * (14 * width + 4 * attended)
                        + 2 * rows * width
                }
            };
            if innermost {
                batch.host += rows * node;
                if size.memory_on_host {
                    batch.host += rows * (width + mails);
                }
                batch.device += rows * (2 * width + mails + node * 2 + 2 * time);
                batch.device += match model.name {
                    ModelName::Tgn => 16 * rows * width,
                    ModelName::Jodie => 8 * rows * width,
                    ModelName::Apan => {
                        let slots = needs.mail_slots as u64;
                        let attended = heads * (model.mail_width() as u64 + time + 1);
                        rows * (14 * width + 4 * attended + slots * (3 + 2 * heads))
                    }
                };
            }
            roots = rows;
        }
        batch
    }
}

/// What is asked of a batch.
#[derive(Clone, Copy)]
struct Wanted {
    events: u64,
    fanout: u64,
    /// Events that a root may find.
    past_events: u64,
    /// Where a row of the innermost layer is a node, there are no more rows than nodes.
    most_rows: Option<u64>,
    memory_on_host: bool,
}

impl Wanted {
    /// Rows of a layer whose roots find this many events, each of which is a time of its two nodes.
    fn rows(self, roots: u64, found: u64, innermost: bool) -> u64 {
        let pairs = roots + found.min(2 * self.past_events);
        match self.most_rows {
            Some(nodes) if innermost => pairs.min(nodes),
            _ => pairs,
        }
    }
}

/// Takes a share: its name, what makes it smaller, its bytes in RAM and on the device.
type Add<'a> = dyn FnMut(&'static str, &'static str, u64, u64) + 'a;

impl Sizes {
    fn of(stream: &OpenStream) -> Sizes {
        let (config, split) = (&stream.config, &stream.split);
        let nodes = stream.log.nodes() as u64;
        let model = &stream.model;
        let memory_on_host = config.pipeline.memory == Residency::Host;
        let wanted = Wanted {
            events: config.training.batch_size.min(stream.events) as u64,
            fanout: config.model.fanout as u64,
            past_events: stream.events as u64,
            most_rows: stream.rules.one_row_a_node().then_some(nodes),
            memory_on_host,
        };
        let depth = config.pipeline.queue_depth as u64;
        let batch_of = |wanted| Batch::of(model, stream.needs, wanted);
        let mut batch = batch_of(wanted);
        let mut ranked = 0;
        if config.protocol.name == Protocol::Tgb {
            ranked = wanted.events * (1 + candidates_per_event(config, nodes));
            // Sources, or destinations with their candidates, three roots per event.
            let of_chunk = batch_of(Wanted {
                events: (PAIRS_PER_CHUNK as u64).min(ranked).div_ceil(3),
                ..wanted
            });
            batch.device = batch.device.max(of_chunk.host + of_chunk.device);
            let larger = |table: usize| batch.feature_rows[table].max(of_chunk.feature_rows[table]);
            batch.feature_rows = [larger(0), larger(1)];
        }
        Sizes {
            ranks: Ranks::of(config.training.ranks),
            events: stream.events as u64,
            train: split.train.len() as u64,
            evaluated: split.val.len().max(split.test.len()) as u64,
            nodes,
            mailbox_bytes: 4 * (stream.needs.mail_slots * model.mail_width()) as u64,
            batch,
            ranked,
            in_flight: match config.pipeline.schedule {
                Schedule::Sequential => 1,
                // Two queues and what their three threads hold.
                _ => 2 * depth + 3,
            },
            threads: config
                .machine
                .threads
                .unwrap_or_else(rayon::current_num_threads) as u64,
        }
    }

    fn shares(&self, stream: &OpenStream) -> Vec<Share> {
        let mut shares = Vec::new();
        let mut add = |what, remedy, ram_bytes, device_bytes| {
            if ram_bytes + device_bytes > 0 {
                shares.push(Share {
                    what,
                    ram_bytes,
                    device_bytes,
                    remedy,
                });
            }
        };
        self.of_stream(stream, &mut add);
        self.of_node_memory(stream, &mut add);
        self.of_training(stream, &mut add);
        if self.ranks.share_batches() {
            let numbers = ranks::exchanged_numbers(stream, self.in_flight, self.evaluated);
            let bytes = (4.0 * SLACK * numbers as f64) as u64;
            let remedy = "a smaller --batch-size or --width";
            add("what ranks exchange", remedy, bytes, 0);
            let threads = self.ranks.threads(self.threads, OTHER_THREADS);
            add(RANK_THREADS, FEWER_RANKS, THREAD_BYTES * threads, 0);
        }
        let ranks = self.ranks.here;
        let of_each = |share: &&mut Share| ranks > 1 && !OF_ALL_RANKS.contains(&share.what);
        for share in shares.iter_mut().filter(of_each) {
            share.ram_bytes = share.ram_bytes.saturating_mul(ranks);
            share.device_bytes = share.device_bytes.saturating_mul(ranks);
            share.remedy = FEWER_RANKS;
        }
        shares
    }

    /// What holds the stream: its graph, pair histories, and features that are drawn.
    fn of_stream(&self, stream: &OpenStream, add: &mut Add<'_>) {
        let config = &stream.config;
        let entries = match stream.rules.directions {
            Directions::Both => 2 * self.events,
            Directions::SourceOnly => self.events,
        };
        // Degrees are counted in a table per thread.
        // A mitigation that looks for similar nodes needs both directions.
        let again = match (config.pipeline.mitigation, stream.rules.directions) {
            (MitigationName::Similarity, Directions::SourceOnly) => 2 * self.events,
            _ => 0,
        };
        let graph = 16 * (entries + again) + 8 * self.nodes + 8 * self.nodes * (self.threads + 1);
        add(
            "graph (T-CSR)",
            "--limit-events N, or a machine with more RAM",
            graph,
            0,
        );

        // Of a model that reads none too: its counting baseline does, at the end.
        let histories = match config.start.task {
            Task::Link => most_bytes(self.events, self.nodes, self.threads),
            Task::Node | Task::Edge => 0,
        };
        add(
            "pair histories",
            "--limit-events N, or a machine with more RAM",
            histories,
            0,
        );

        let drawn = |source: &FeatureSource, rows: u64| match source {
            FeatureSource::Random(width) => 4 * rows * *width as u64,
            FeatureSource::Zero | FeatureSource::File | FeatureSource::Standardized => 0,
        };
        let random = drawn(&config.stream.edge_features, stream.log.events() as u64)
            + drawn(&config.stream.node_features, self.nodes);
        add(
            "random features",
            "--edge-features zero, or features in a file, which are mapped",
            random,
            0,
        );
    }

    /// Rows, mail and times of nodes.
    fn of_node_memory(&self, stream: &OpenStream, add: &mut Add<'_>) {
        let (config, model) = (&stream.config, &stream.model);
        let rows = self.nodes * 4 * model.width as u64;
        let mailbox = self.nodes * self.mailbox_bytes;
        let memories = MEMORIES + u64::from(config.training.eval_test_each_epoch);
        let (ram, device) = match config.pipeline.memory {
            Residency::Device => (0, memories + RENEWED),
            Residency::Host => (memories, 0),
        };
        let smaller = "a smaller --width";
        add(NODE_MEMORY, smaller, ram * rows, device * rows);
        add(
            MAILBOX,
            match config.pipeline.mitigation {
                MitigationName::CatchUp => "a smaller --width or k",
                _ => "a smaller --width or --mail-slots",
            },
            ram * mailbox,
            device * mailbox,
        );
        // Sums of changes, a row for each component of a node.
        let pres = u64::from(config.pipeline.mitigation == MitigationName::Pres);
        let trends = COMPONENTS as u64 * rows * pres;
        add(
            "trends of nodes",
            "--mitigation none, or a smaller --width",
            ram * trends,
            device * trends,
        );
        if device > 0 && config.machine.checkpoint_every != Every::Never {
            let saved = SAVED * (rows + mailbox + trends);
            add("checkpoint", "--checkpoint-every never", saved, 0);
        }
        let slots = stream.needs.mail_slots as u64;
        // What each node has got and absorbed of its mail, where rows catch up.
        let counts = 8 * u64::from(config.pipeline.mitigation == MitigationName::CatchUp);
        let counts = counts + 4 * COMPONENTS as u64 * pres;
        let clocks = (memories + 1) * self.nodes * (12 + 8 * slots + counts);
        // The last is the counter of staleness and what a checkpoint keeps of it.
        let tables = self.nodes * (8 * self.in_flight.min(4) + 8 + 32);
        add(
            "times and tables of nodes",
            "--limit-events N",
            clocks + tables,
            0,
        );
    }

    /// Parameters, batches, and what grows with the iterations.
    fn of_training(&self, stream: &OpenStream, add: &mut Add<'_>) {
        let (config, model) = (&stream.config, &stream.model);
        if config.pipeline.mitigation == MitigationName::SimilarityReleased {
            let lists = 32 * self.train + self.nodes * (48 + 8 * self.threads);
            add("similar nodes", "--mitigation none", lists, 0);
        }

        // Values, two moments, gradients, the best epoch's; two more for what the backward pass and
        // the writing of a tensor (which is read, transposed and written on its own) hold meanwhile.
        let parameters = 4 * parameters(model);
        add(
            "parameters and optimiser",
            "a smaller --width",
            0,
            7 * parameters,
        );

        let batches = "a smaller --batch-size or --fanout";
        let slack = |numbers: u64| (4.0 * SLACK * numbers as f64) as u64;
        let host = slack(self.in_flight * self.batch.host);
        add("batches in flight", batches, host, slack(self.batch.device));

        if self.ranked > 0 {
            let table = 4 * TABLE_ROWS as u64 * model.width as u64;
            add(
                "ranking",
                "fewer --candidates or a smaller --batch-size",
                PAIR_BYTES * self.ranked,
                PAIR_TABLES * table,
            );
        }

        let iterations = self.train.div_ceil(config.training.batch_events() as u64);
        // Loss, ledger line with its histogram, trace.
        add(
            "records of an epoch",
            "a larger --batch-size",
            700 * iterations,
            0,
        );

        if let Some(CandidateSource::HalfHistorical(_)) = config.protocol.candidates {
            // Pairs of the training part while they are sorted, and the lists.
            let history = 12 * self.train + 8 * self.nodes;
            add("history of candidates", "--candidates N", history, 0);
        }
        let pairs = distinct_pairs(
            &stream.log.src()[..stream.events],
            &stream.log.dst()[..stream.events],
        );
        // Events with negatives and scores, sorted for each metric; EdgeBank twice.
        let mut evaluation = 96 * self.evaluated + 2 * 18 * pairs;
        if config.protocol.name == Protocol::Dyglib {
            // What its banks know more.
            evaluation += 2 * (34 * pairs + 8 * self.events);
        }
        add("evaluation", "--limit-events N", evaluation, 0);
        if let Some(of) = config.start.task.label_of() {
            let nodes = match of {
                LabelOf::Source => 1,
                LabelOf::Event => 2,
            };
            let embeddings = self.events * 4 * (nodes * model.width as u64 + 4);
            add("embeddings of labels", "--limit-events N", embeddings, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use mspipe_datasets::Stop;

    use super::super::opening::Begin;
    use super::*;
    use crate::device::KernelChoice;

    /// Of APAN, which keeps ten mails of a node, in small batches on an adapter of this class with so much memory.
    fn on(class: AdapterClass, memory_bytes: Option<u64>) -> Footprint {
        placed(FeaturePlace::Host, class, memory_bytes)
    }

    /// The same with random features of the width of Wikipedia's, kept there.
    fn placed(features: FeaturePlace, class: AdapterClass, memory_bytes: Option<u64>) -> Footprint {
        placed_on(ModelName::Apan, features, &adapter(class, memory_bytes))
    }

    fn placed_on(model: ModelName, features: FeaturePlace, adapter: &AdapterReport) -> Footprint {
        let mut config = RunConfig::default();
        config.source.data = "synthetic:wikipedia:scale=0.3".to_owned();
        config.model.name = model;
        config.training.batch_size = 20;
        config.pipeline.features = features;
        config.stream.edge_features = FeatureSource::Random(172);
        let stream = OpenStream::open(config, Begin::Fresh, &Stop::default()).unwrap();
        Footprint::of(&stream, Some(adapter))
    }

    fn adapter(class: AdapterClass, memory_bytes: Option<u64>) -> AdapterReport {
        AdapterReport {
            device: "gpu:0".to_owned(),
            name: "a card".to_owned(),
            api: "vulkan".to_owned(),
            driver: "driver 1".to_owned(),
            class,
            real: class != AdapterClass::Software,
            kernels: KernelChoice::Auto.on(class),
            memory_bytes,
            binding_bytes: 1 << 40,
            buffer_bytes: 1 << 40,
            storage_buffers: 8,
            workgroup_bytes: 16_384,
            unfit: None,
            auto: true,
        }
    }

    #[test]
    fn memory_of_integrated_and_software_adapters_is_ram() {
        let [own, integrated, software] = [
            AdapterClass::Discrete,
            AdapterClass::Integrated,
            AdapterClass::Software,
        ]
        .map(|class| on(class, Some(1)));
        assert!(own.device_bytes > 10 << 20, "{}", own.device_bytes);
        assert!(!own.device_is_ram && own.adapter_bytes == Some(1));
        for shared in [integrated, software] {
            assert!(shared.device_is_ram && shared.adapter_bytes.is_none());
            assert_eq!(shared.ram_bytes, own.ram_bytes + own.device_bytes);
            assert_eq!(shared.device_bytes, own.device_bytes);
        }
    }

    #[test]
    fn features_go_where_they_fit() {
        use FeaturePlace::{Auto, Device, Host};
        let card = |place, has| placed(place, AdapterClass::Discrete, has);
        let (host, device) = (card(Host, None), card(Device, None));
        let whole = |footprint: &Footprint| {
            let tables = &footprint.features;
            tables.iter().all(|table| table.on_device == table.rows)
        };
        assert!(!whole(&host) && whole(&device) && device.features.len() == 1);
        let tables = device.device_bytes - host.device_bytes;
        assert_eq!(tables, device.largest_feature_bytes);
        assert_eq!(tables % (4 * 172), 0);
        assert!(tables > 20 << 20, "{tables}");
        // A quarter of the card is left to others; a driver may not tell what it has.
        let needs = device.device_bytes.div_ceil(3) * 4;
        for (has, fits) in [(Some(needs), true), (Some(needs - 8), false), (None, false)] {
            assert_eq!(whole(&card(Auto, has)), fits, "{has:?}");
        }
        assert!(whole(&placed(Auto, AdapterClass::Integrated, None)));
        assert_eq!(
            placed(Auto, AdapterClass::Software, None).feature_slots,
            [0; 2]
        );
        // Shaders count words in 32 bits, and an adapter binds as much as it does.
        let mut small = card(Device, None);
        small.adapter_table_bytes = Some(tables - 1);
        small.largest_table_bytes = 0;
        let refused = small.check().unwrap_err().to_string();
        for part in ["the larger table of features has ", "try --features host"] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }

    #[test]
    fn a_part_of_the_features_goes_where_all_do_not_fit() {
        use FeaturePlace::{Auto, Device, Part};
        const ROW: u64 = 4 * 172;
        let card = |place, has| {
            let adapter = adapter(AdapterClass::Discrete, has);
            placed_on(ModelName::Tgn, place, &adapter)
        };
        let whole = card(Device, None);
        let (rows, needs) = (whole.features[0].rows, whole.device_bytes);
        let part = card(Part(1000 * ROW), None);
        assert_eq!(
            (part.feature_slots, part.largest_feature_bytes),
            ([1000, 0], 1000 * ROW)
        );
        assert_eq!(whole.device_bytes - part.device_bytes, (rows - 1000) * ROW);
        let line = format!(
            "of edge features, 1,000 of {} rows on the device",
            HumanCount(rows)
        );
        assert!(part.to_string().contains(&line), "{part}");
        assert_eq!(
            card(Part(u64::MAX), None).feature_slots,
            whole.feature_slots
        );
        // What a card has left, down to the rows of a few batches.
        let left = |rows: u64| (needs - (whole.features[0].rows - rows) * ROW).div_ceil(3) * 4;
        let few = 4 * whole.features[0].of_batch;
        assert!(few < rows / 2, "{few}");
        for (own, expected) in [(rows / 2, rows / 2), (few, few), (few - 1, 0)] {
            let found = card(Auto, Some(left(own))).feature_slots[0] as u64;
            assert!((expected..=expected + 1).contains(&found), "{own}: {found}");
        }
        // Room for less than a batch reads in a few pieces is none.
        let least = whole.features[0].of_batch.div_ceil(16) * ROW;
        assert!(card(Part(least), None).check_slots().is_ok());
        let refused = card(Part(least - 1), None)
            .check_slots()
            .unwrap_err()
            .to_string();
        for part in [
            "--features device:",
            "rows of edge features",
            "or choose --features host",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        let half = AdapterReport {
            binding_bytes: 3000 * ROW + 7,
            ..adapter(AdapterClass::Discrete, Some(u64::MAX))
        };
        let found = placed_on(ModelName::Tgn, Auto, &half).feature_slots;
        assert_eq!(found, [3000, 0]);
        // Who reads each event once an epoch finds none that is there.
        let found = placed_on(ModelName::Apan, Auto, &half).feature_slots;
        assert_eq!(found, [0; 2]);
    }

    #[test]
    fn ranks_of_one_machine_are_added_up() {
        let card = |bytes| on(AdapterClass::Discrete, Some(bytes));
        let one = card(u64::MAX);
        let among = |footprint: Footprint, here: &[usize]| {
            let all = [footprint.needs(), footprint.needs(), footprint.needs()];
            footprint.together(here, &all)
        };
        // Each would fit, two of three do not.
        let mut tight = card(one.device_bytes + 1);
        assert!(among(tight.clone(), &[1]).check().is_ok());
        let refused = among(tight.clone(), &[0, 2])
            .check()
            .unwrap_err()
            .to_string();
        for part in [
            "ranks 0, 2, which work on one adapter",
            "--device gpu:local-rank",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        tight.adapter_bytes = Some(3 * one.device_bytes);
        tight.available_bytes = 2 * one.ram_bytes;
        let two = among(tight.clone(), &[0, 1]);
        assert!(two.check().is_ok());
        assert_eq!(
            two.together
                .as_ref()
                .map(|all| (all.ram_bytes, all.device_bytes)),
            Some((2 * one.ram_bytes, 2 * one.device_bytes))
        );
        assert!(
            two.to_string().contains("all 2 ranks of this machine"),
            "{two}"
        );
        let refused = among(tight.clone(), &[0, 1, 2])
            .check()
            .unwrap_err()
            .to_string();
        for part in [
            "ranks 0 to 2, which are processes of one machine",
            "fewer ranks",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        // Another card of the same name is another.
        let needs = tight.needs();
        let mut other = tight.clone();
        other.device = Some("gpu:1".to_owned());
        let apart = other.together(&[0, 1], &[needs, tight.needs()]);
        assert_eq!(apart.together.map(|all| all.device_bytes), Some(0));
    }

    #[test]
    fn what_a_card_won_t_hold_is_refused_where_its_driver_tells_how_much_it_has() {
        let needed = on(AdapterClass::Discrete, None);
        assert!(needed.check_device().is_ok());
        let has = |bytes| on(AdapterClass::Discrete, Some(bytes)).check_device();
        assert!(has(needed.device_bytes).is_ok());
        let refused = has(needed.device_bytes - 1).unwrap_err().to_string();
        for part in [
            "of the memory of a card, which has ",
            "Most of it is mailbox; try --memory host, which keeps it in RAM, or a smaller --width",
            "--no-memory-check trains anyway",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }
}
