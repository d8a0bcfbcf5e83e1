//! What each structure takes, counted from the settings and the stream's counts.

use serde::Serialize;

use super::pairs::distinct_pairs;
use super::parameters::parameters;
use super::ranks::{self, Ranks};
use crate::checkpoint::Every;
use crate::config::{CandidateSource, MitigationName, Protocol, RunConfig, Task};
use crate::features::FeatureSource;
use crate::graph::Directions;
use crate::memory::trends::COMPONENTS;
use crate::model::{ModelConfig, ModelName, ModelNeeds};
use crate::pipeline::profile::Residency;
use crate::pipeline::schedule::Schedule;
use crate::profiler::machine::MEASURING_BYTES;
use crate::sampling::pair_history::most_bytes;
use crate::session::stream::OpenStream;
use crate::train::classification::LabelOf;
use crate::train::pair_scores::{PAIR_BYTES, PAIRS_PER_CHUNK, TABLE_ROWS};

/// What allocators keep for each thread beside what is in use.
pub(super) const THREAD_BYTES: u64 = 8 << 20;

/// Threads beside those that compute: of the program, of the device and of the pipeline.
pub(super) const OTHER_THREADS: u64 = 6;

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

/// The structures that `--memory host` keeps off a device.
pub(super) const NODE_MEMORY: &str = "node memory";
pub(super) const MAILBOX: &str = "mailbox";

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
    pub(super) remedy: &'static str,
}

/// Counts that everything follows from.
pub(super) struct Sizes {
    /// Events of the stream that are used; of its training part; of the larger of the other two.
    pub(super) events: u64,
    train: u64,
    evaluated: u64,
    pub(super) nodes: u64,
    /// Bytes of a node's mail.
    pub(super) mailbox_bytes: u64,
    pub(super) batch: Batch,
    /// Pairs of a batch that are ranked.
    ranked: u64,
    /// Batches that are ready or under way on the host.
    in_flight: u64,
    pub(super) threads: u64,
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
pub(super) struct Batch {
    /// On the host: layout, gathered features, rows of a memory in RAM.
    host: u64,
    /// On the device: inputs, results and gradients.
    device: u64,
    /// Rows of edge and of node features that it reads of a table at once.
    pub(super) feature_rows: [u64; 2],
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
    pub(super) fn of(stream: &OpenStream) -> Sizes {
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

    pub(super) fn shares(&self, stream: &OpenStream) -> Vec<Share> {
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
        if stream.config.machine.profile {
            let remedy = "no --profile, which measures the machine at the end";
            add("rates of the machine", remedy, 0, MEASURING_BYTES);
        }
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
