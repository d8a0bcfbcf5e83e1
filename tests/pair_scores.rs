//! Pairs that are scored beside a batch, together and in any order, have the bits that each has
//! alone; and the memory updater makes each of their rows once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mspipe::batch::{
    EventBatch, Layout, LayoutRule, MailAggregation, MailOrder, MailRule, MfgScratch, TimeDelta,
};
use mspipe::features::{FeatureSource, Features, RowValues};
use mspipe::graph::{Directions, EventId, NodeId, Queries, Tcsr, Timestamp};
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::host::HostMemory;
use mspipe::memory::node_times::{NodeTimes, NodeTimesRule};
use mspipe::memory::similarity::{Mitigation, Similar, SimilarNodes};
use mspipe::memory::{
    FetchedMemory, MemoryCommit, MemoryError, MemoryRequest, MemoryStore, MemoryWrite,
};
use mspipe::model::init::Initializer;
use mspipe::model::{LinkModel, ModelConfig, ModelName};
use mspipe::sampling::{NegativePool, NeighborSampler, Recent, SampleKey, SplitPart, Uniform};
use mspipe::train::evaluation::Evaluator;
use mspipe::train::histories::Histories;
use mspipe::train::pass::Sampling;
use mspipe::train::upload;
use mspipe_datasets::EventLog;

use crate::on_device;

const MODEL: ModelConfig = ModelConfig {
    name: ModelName::Tgn,
    width: 8,
    time_width: 8,
    edge_width: 4,
    node_width: 3,
    layers: 1,
    heads: 2,
    mail_slots: 3,
    train_time_encoding: true,
    dropout: 0.1,
    attention_dropout: 0.1,
    pair_history: 0,
};

/// A place that tells which rows it was asked for.
struct Watched<S> {
    memory: S,
    rows: RefCell<Vec<(NodeId, Option<Timestamp>)>>,
}

impl<S: MemoryStore> MemoryStore for Watched<S> {
    fn fetch(&self, request: MemoryRequest<'_>) -> FetchedMemory {
        let Queries { node, time } = request.rows;
        let row = |(i, &node): (usize, &NodeId)| (node, time.get(i).copied());
        self.rows
            .borrow_mut()
            .extend(node.iter().enumerate().map(row));
        self.memory.fetch(request)
    }

    fn commit(&mut self, commit: MemoryCommit) -> Result<(), MemoryError> {
        self.memory.commit(commit)
    }

    fn node_times(&self) -> &NodeTimes {
        self.memory.node_times()
    }

    fn version(&self) -> u64 {
        self.memory.version()
    }

    fn watched(&self) -> Tensor<1> {
        self.memory.watched()
    }

    fn reset(&mut self) {
        self.memory.reset();
    }
}

/// What is different from case to case.
struct Case {
    config: ModelConfig,
    time_delta: TimeDelta,
    hide_batch: bool,
    sampler: Arc<dyn NeighborSampler>,
    mitigation: bool,
}

impl Case {
    fn of(name: ModelName, layers: usize, time_delta: TimeDelta) -> Case {
        Case {
            config: ModelConfig {
                name,
                layers,
                mail_slots: if name == ModelName::Apan { 3 } else { 1 },
                ..MODEL
            },
            time_delta,
            hide_batch: true,
            sampler: Arc::new(Recent { fanout: 3 }),
            mitigation: false,
        }
    }

    /// Checks the case with memory on the device and in RAM.
    fn check(self, device: &Device) {
        let log = EventLog::open("synthetic:wikipedia:scale=0.01", &Default::default()).unwrap();
        let log = Arc::new(log);
        let (src, dst) = (
            bytemuck::cast_slice::<u32, NodeId>(log.src()),
            bytemuck::cast_slice::<u32, NodeId>(log.dst()),
        );
        let (nodes, needs) = (log.nodes(), self.config.needs());
        let times = NodeTimes::new(
            nodes,
            NodeTimesRule {
                time_delta: self.time_delta,
                write: MemoryWrite::Event,
                mail_slots: needs.mail_slots,
                catch_up: false,
                ticks_per_unit: log.ticks_per_unit(),
                origin: 0,
                first: 0,
            },
        );
        let train = log.split().train;
        let mitigation = self.mitigation.then(|| Mitigation {
            similar: Similar::Listed(Arc::new(SimilarNodes::of(
                nodes,
                &src[train.clone()],
                &dst[train],
            ))),
            keep: 0.7,
            age_quantile: 0.5,
        });
        let world = World::new(&self, &log, device);
        let [width, mail] = [self.config.width, self.config.mail_width()];
        let on_device = DeviceMemory::new(nodes, width, mail, times.clone(), device);
        let scores = world.check(on_device);
        let on_host = HostMemory::new(nodes, width, mail, times, mitigation, device);
        assert_eq!(scores, world.check(on_host), "in RAM");
    }
}

struct World {
    sampling: Arc<Sampling>,
    evaluator: Evaluator,
    model: LinkModel,
    device: Device,
}

impl World {
    fn new(case: &Case, log: &Arc<EventLog>, device: &Device) -> World {
        let needs = case.config.needs();
        let (src, dst) = (
            bytemuck::cast_slice::<u32, NodeId>(log.src()),
            bytemuck::cast_slice::<u32, NodeId>(log.dst()),
        );
        let graph = Tcsr::build(log.nodes(), src, dst, log.time(), Directions::Both).unwrap();
        let features = [case.config.edge_width, case.config.node_width];
        let [edge, node] = features.map(FeatureSource::Random);
        let sampling = Arc::new(Sampling {
            features: Features::new(log, edge, node, 1),
            graph: Arc::new(graph),
            sampler: case.sampler.clone(),
            hide_batch: case.hide_batch,
            negatives: NegativePool::destinations(dst).unwrap(),
            train_negatives: None,
            layout: LayoutRule {
                layers: needs.layers,
                time_delta: case.time_delta,
                mail_rule: MailRule {
                    aggregation: MailAggregation::Last,
                    order: MailOrder::Event,
                    to_neighbors: needs.mail_to_neighbors,
                },
                attends_to_mail: needs.attends_to_mail,
                ticks_per_unit: log.ticks_per_unit(),
            },
            batch_size: 40,
            seed: 1,
            eval_seed: 1,
            scratch: Default::default(),
            histories: Arc::new(Histories::new(log.split().train.end, false)),
            log: log.clone().into(),
        });
        let other = NegativePool::AllNodes {
            nodes: log.nodes() as u32,
        };
        World {
            evaluator: Evaluator::new(sampling.clone(), other, log.split(), device.clone()),
            model: LinkModel::new(&case.config, &mut Initializer::new(1, device)),
            device: device.clone(),
            sampling,
        }
    }

    /// Scores the events of a batch with all nodes, compares some of the pairs with those alone, and
    /// returns the bits of all.
    fn check(&self, memory: impl MemoryStore) -> Vec<u32> {
        let mut memory = Watched {
            memory,
            rows: RefCell::default(),
        };
        self.evaluator
            .replay(&self.model, &mut memory, SplitPart::Train)
            .unwrap();
        let batch = self.evaluator.pass(SplitPart::Test, 0).batch(0).unwrap();
        let nodes = (0..self.sampling.log.nodes() as u32).map(NodeId);
        let mut pairs = Vec::new();
        for (event, &src) in (0..).zip(&batch.src) {
            pairs.extend(nodes.clone().map(|dst| (event, src, dst)));
        }
        // More than one chunk, and a node in two of them.
        assert!(pairs.len() > 4096, "{} pairs", pairs.len());

        memory.rows.borrow_mut().clear();
        let together = self
            .evaluator
            .scores_of_pairs(&self.model, &memory, &batch, &pairs)
            .unwrap();
        let made = memory.rows.take();
        assert_eq!(together.len(), pairs.len());
        let distinct: BTreeSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), made.len(), "rows that are made again");
        if self.sampling.layout.time_delta == TimeDelta::Message {
            // All nodes are candidates, and so a row of each.
            assert_eq!(made.len(), self.sampling.log.nodes());
        }
        for place in (0..pairs.len()).step_by(101) {
            let (event, src, dst) = pairs[place];
            let alone = self.alone(&memory, &batch, event as usize, [src, dst]);
            assert_eq!(together[place].to_bits(), alone.to_bits(), "pair {place}");
        }
        let bits: Vec<u32> = together.iter().map(|score| score.to_bits()).collect();
        let distinct: BTreeSet<&u32> = bits.iter().collect();
        assert!(
            distinct.len() > self.sampling.log.nodes(),
            "all are the same"
        );
        bits
    }

    /// The score of one pair, by itself.
    fn alone(
        &self,
        memory: &dyn MemoryStore,
        batch: &EventBatch,
        event: usize,
        [src, dst]: [NodeId; 2],
    ) -> f32 {
        let (sampling, first) = (&self.sampling, batch.events.start);
        let (node, time) = ([src, dst, dst], [batch.time[event]; 3]);
        let roots = Queries {
            node: &node,
            time: &time,
        };
        let sample = |queries: Queries<'_>, request| {
            let key = SampleKey {
                seed: sampling.seed,
                epoch: 0,
                event: first as u64,
                request,
            };
            let hidden = sampling.hide_batch.then_some(EventId(first as u32));
            let sampler = &sampling.sampler;
            sampler.sample(&sampling.graph, queries, hidden, key)
        };
        let scratch = &mut MfgScratch::new(sampling.log.nodes());
        let layout = Layout::of_roots(roots, first..first + 1, &sampling.layout, sample, scratch);
        let fetched = memory.fetch(MemoryRequest::of(&layout, roots));
        let features = |rows: mspipe::features::FeatureRows| match rows.values {
            RowValues::Floats(values) => {
                upload::floats(values, [rows.rows, rows.width], &self.device)
            }
            RowValues::Words(_) => unreachable!("drawn features are numbers"),
        };
        let edge: Vec<Tensor<2>> = (layout.layers.iter())
            .map(|layer| features(sampling.features.edge_rows(&layer.events)))
            .collect();
        let nodes = &layout.innermost().node;
        let node = features(sampling.features.node_rows(nodes));
        let input = upload::model_input(&layout, &fetched, &edge, Some(node), &self.device);
        let embedding = self.model.model.forward(&input, None).embedding;
        let logits = self.model.predictor.forward(embedding, None);
        let logits: Vec<f32> = logits.positive().into_data().try_to_vec().unwrap();
        logits[0]
    }
}

#[cfg_attr(test, test)]
pub(crate) fn pairs_of_tgn_have_the_bits_that_they_have_alone() {
    on_device(|device| {
        for layers in [1, 2] {
            for time_delta in [TimeDelta::Message, TimeDelta::Query] {
                Case::of(ModelName::Tgn, layers, time_delta).check(device);
            }
        }
    });
}

#[cfg_attr(test, test)]
pub(crate) fn pairs_of_jodie_and_apan_have_the_bits_that_they_have_alone() {
    on_device(|device| {
        for name in [ModelName::Jodie, ModelName::Apan] {
            for time_delta in [TimeDelta::Message, TimeDelta::Query] {
                Case::of(name, 0, time_delta).check(device);
            }
        }
    });
}

/// What is drawn for a pair beside a batch is what the batch itself draws, whatever the chunk.
#[cfg_attr(test, test)]
pub(crate) fn draws_do_not_depend_on_the_chunk() {
    on_device(|device| {
        Case {
            sampler: Arc::new(Uniform { fanout: 3 }),
            hide_batch: false,
            ..Case::of(ModelName::Tgn, 2, TimeDelta::Message)
        }
        .check(device);
    });
}

/// Corrections belong to training: evaluation has the scores of a memory without them.
#[cfg_attr(test, test)]
pub(crate) fn a_mitigation_leaves_candidates_alone() {
    on_device(|device| {
        Case {
            mitigation: true,
            ..Case::of(ModelName::Tgn, 1, TimeDelta::Query)
        }
        .check(device);
    });
}
