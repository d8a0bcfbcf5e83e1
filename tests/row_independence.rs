//! A row has the same bits whatever the number of rows, its place among them, and the number of
//! threads: embeddings and scores of some roots alone are those that they have among all.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use mspipe::batch::{
    EventBatch, Layout, LayoutRule, MailAggregation, MailOrder, MailRule, MfgScratch,
};
use mspipe::graph::{Directions, NodeId, Queries, Tcsr, Timestamp};
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::node_times::{FetchedTimes, NodeTimes, NodeTimesRule};
use mspipe::memory::{MemoryCommit, MemoryRequest, MemoryStore, MemoryWrite};
use mspipe::model::init::Initializer;
use mspipe::model::{LinkModel, ModelConfig, ModelName, ModelNeeds, ModelOutput};
use mspipe::sampling::{NeighborSampler, Neighbors, Recent, SampleKey};
use mspipe::train::upload;

use crate::definitions::counter_hash::counter_hash;
use crate::on_device;
use crate::operations::{draws, floats, ints, numbers};

const NODES: usize = 40;
const EVENTS: usize = 120;
const FANOUT: usize = 3;

/// Roots whose embeddings are compared.
const ROOTS: usize = 141;

/// A stream, a memory that has seen it, and a model.
struct World {
    config: ModelConfig,
    needs: ModelNeeds,
    src: Vec<NodeId>,
    dst: Vec<NodeId>,
    time: Vec<Timestamp>,
    graph: Tcsr,
    edge: Vec<f32>,
    node: Vec<f32>,
    model: LinkModel,
    memory: DeviceMemory,
    device: Device,
}

/// A node and the time at which it is asked for.
type Root = (NodeId, Timestamp);

impl World {
    fn new(config: ModelConfig, device: &Device) -> World {
        let pick = |i: usize, step: usize| NodeId(((i * step + i / 5) % NODES) as u32);
        let src: Vec<NodeId> = (0..EVENTS).map(|i| pick(i, 3)).collect();
        let dst: Vec<NodeId> = (0..EVENTS).map(|i| pick(i, 7)).collect();
        let time: Vec<Timestamp> = (0..EVENTS).map(|i| (i / 2) as i64 * 3 + 1).collect();
        let needs = config.needs();
        let clock = NodeTimes::new(
            NODES,
            NodeTimesRule {
                time_delta: needs.time_delta,
                write: MemoryWrite::Event,
                mail_slots: needs.mail_slots,
                catch_up: false,
                ticks_per_unit: 1,
                origin: 1,
                first: 1,
            },
        );
        let model = LinkModel::new(&config, &mut Initializer::new(7, device));
        let mut world = World {
            graph: Tcsr::build(NODES, &src, &dst, &time, Directions::Both).unwrap(),
            edge: draws(1, EVENTS * config.edge_width),
            node: draws(2, NODES * config.node_width),
            memory: DeviceMemory::new(NODES, config.width, config.mail_width(), clock, device),
            device: device.clone(),
            needs,
            config,
            src,
            dst,
            time,
            model,
        };
        for begin in (0..EVENTS).step_by(20) {
            world.write(begin..begin + 20);
        }
        world
    }

    fn rule(&self) -> LayoutRule {
        LayoutRule {
            layers: self.needs.layers,
            time_delta: self.needs.time_delta,
            mail_rule: MailRule {
                aggregation: MailAggregation::Mean,
                order: MailOrder::Event,
                to_neighbors: self.needs.mail_to_neighbors,
            },
            attends_to_mail: self.needs.attends_to_mail,
            ticks_per_unit: 1,
        }
    }

    fn sample(&self, roots: Queries<'_>, request: u32) -> Neighbors {
        let key = SampleKey {
            seed: 0,
            epoch: 0,
            event: 0,
            request,
        };
        Recent { fanout: FANOUT }.sample(&self.graph, roots, None, key)
    }

    /// Goes over a batch as an evaluation does.
    fn write(&mut self, events: Range<usize>) {
        let neg = events.clone().map(|i| NodeId((i % NODES) as u32)).collect();
        let batch = EventBatch::cut(events, &self.src, &self.dst, &self.time, neg);
        let scratch = &mut MfgScratch::new(NODES);
        let sample = |roots: Queries<'_>, request| self.sample(roots, request);
        let layout = Layout::build(&batch, &self.rule(), sample, scratch);
        let (output, edge, times) = self.forward(&layout, batch.roots().queries());
        let commit = MemoryCommit {
            memory: output.memory,
            changes: None,
            edge,
            last_writers: layout.last_writers,
            mail_routing: layout.mail_routing,
            times,
        };
        self.memory.commit(commit).unwrap();
    }

    fn forward(
        &self,
        layout: &Layout,
        roots: Queries<'_>,
    ) -> (ModelOutput, Tensor<2>, FetchedTimes) {
        let rows = layout.innermost();
        let fetched = self.memory.fetch(MemoryRequest::of(layout, roots));
        let features = |table: &[f32], ids: Vec<usize>, width: usize| {
            let values = ids.iter().flat_map(|&id| &table[id * width..][..width]);
            let values: Vec<f32> = values.copied().collect();
            floats(&values, [ids.len(), width], &self.device)
        };
        let edge: Vec<Tensor<2>> = layout
            .layers
            .iter()
            .map(|layer| {
                let ids = layer.events.iter().map(|event| event.index()).collect();
                features(&self.edge, ids, self.config.edge_width)
            })
            .collect();
        let ids = rows.node.iter().map(|node| node.index()).collect();
        let node_width = self.config.node_width;
        let node = (node_width > 0).then(|| features(&self.node, ids, node_width));
        let input = upload::model_input(layout, &fetched, &edge, node, &self.device);
        let output = self.model.model.forward(&input, None);
        (output, edge[0].clone(), fetched.times)
    }

    /// Embedding of each root, asked for together.
    fn embed(&self, roots: &[Root]) -> Tensor<2> {
        let (node, time): (Vec<NodeId>, Vec<Timestamp>) = roots.iter().copied().unzip();
        let roots = Queries {
            node: &node,
            time: &time,
        };
        let scratch = &mut MfgScratch::new(NODES);
        let sample = |roots: Queries<'_>, request| self.sample(roots, request);
        let events = EVENTS - 20..EVENTS;
        let layout = Layout::of_roots(roots, events, &self.rule(), sample, scratch);
        self.forward(&layout, roots).0.embedding
    }

    /// Score of each of the first half of `roots` with the root as far after the middle.
    fn scores(&self, roots: &[Root]) -> Vec<f32> {
        let pairs = roots.len() / 2;
        let each: Vec<i32> = (0..pairs as i32).collect();
        let each = ints(&each, [pairs], &self.device);
        let predictor = &self.model.predictor;
        let history = self.history(roots);
        let embedding = self.embed(roots);
        let sources = predictor.of_sources(embedding.clone().slice(0..pairs));
        let destinations = embedding.slice(pairs..2 * pairs);
        numbers(predictor.score_pairs(&sources, destinations, [each.clone(), each], history))
    }

    /// Statistics of the pairs of [`Self::scores`], if the model reads any: drawn for each pair.
    fn history(&self, roots: &[Root]) -> Option<Tensor<2>> {
        let (count, (sources, destinations)) =
            (self.config.pair_history, roots.split_at(roots.len() / 2));
        let of_pair = |((source, time), (destination, _)): (&Root, &Root)| {
            draws(source.0 + 64 * destination.0 + 4096 * *time as u32, count)
        };
        let pairs = sources.iter().zip(destinations);
        let statistics: Vec<f32> = pairs.flat_map(of_pair).collect();
        (count > 0).then(|| floats(&statistics, [sources.len(), count], &self.device))
    }

    /// The same scores as those of the events of a batch, whose negatives are the destinations.
    fn logits(&self, roots: &[Root]) -> Vec<f32> {
        let embedding = self.embed(roots);
        let destinations = embedding.clone().slice(roots.len() / 2..roots.len());
        let both = Tensor::cat(vec![embedding, destinations], 0);
        let twice = |rows: Tensor<2>| Tensor::cat(vec![rows.clone(), rows], 0);
        let history = self.history(roots).map(twice);
        let logits = self.model.predictor.forward(both, history);
        assert_eq!(numbers(logits.positive()), numbers(logits.negative()));
        numbers(logits.positive())
    }
}

/// The roots, many of them of one node and some of one node and time.
fn roots() -> Vec<Root> {
    let root = |i: usize| {
        let drawn = |field| counter_hash([5, i as u32, field, 0]) as usize;
        let node = NodeId((drawn(0) % NODES) as u32);
        (node, (EVENTS / 2 * 3 + drawn(1) % 5) as Timestamp)
    };
    (0..ROOTS).map(root).collect()
}

/// Some of the roots, in another order.
fn some(count: usize, seed: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..ROOTS).collect();
    all.sort_unstable_by_key(|&i| counter_hash([6, i as u32, seed as u32, 0]));
    all.truncate(count);
    all
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|v| v.to_bits()).collect()
}

/// Checks a model with some widths; `counts` are numbers of roots that are asked for together.
fn check(config: ModelConfig, counts: &[usize], device: &Device) {
    let world = World::new(config, device);
    let (roots, width) = (&roots()[..], config.width);
    let all = bits(&numbers(world.embed(roots)));
    assert!(all.iter().any(|&bits| bits << 1 != 0), "all are zero");
    for (seed, &count) in counts.iter().enumerate() {
        let chosen = some(count, seed);
        let own: Vec<Root> = chosen.iter().map(|&i| roots[i]).collect();
        let alone = bits(&numbers(world.embed(&own)));
        for (alone, &i) in alone.chunks_exact(width).zip(&chosen) {
            let among = &all[i * width..][..width];
            assert!(alone == among, "root {i} of {count}, width {width}");
        }
    }
    let pairs = |chosen: &[usize]| -> Vec<Root> {
        let sides = [0, ROOTS / 2].into_iter();
        sides
            .flat_map(|from| chosen.iter().map(move |&i| roots[from + i]))
            .collect()
    };
    let every: Vec<usize> = (0..ROOTS / 2).collect();
    let all = bits(&world.scores(&pairs(&every)));
    assert!(
        all == bits(&world.logits(&pairs(&every))),
        "scores of a batch, width {width}"
    );
    for (seed, &count) in counts.iter().enumerate() {
        let mut chosen = some(ROOTS, seed);
        chosen.retain(|&i| i < ROOTS / 2);
        chosen.truncate(count);
        let alone = bits(&world.scores(&pairs(&chosen)));
        let among: Vec<u32> = chosen.iter().map(|&i| all[i]).collect();
        assert!(alone == among, "scores of {count} pairs, width {width}");
    }
}

/// TGN with `node_width` node features and `edge_width` edge features.
fn widths(width: usize, heads: usize, edge_width: usize, node_width: usize) -> ModelConfig {
    ModelConfig {
        name: ModelName::Tgn,
        width,
        time_width: width.div_ceil(2) + 1,
        edge_width,
        node_width,
        layers: 1,
        heads,
        mail_slots: 1,
        train_time_encoding: true,
        dropout: 0.1,
        attention_dropout: 0.1,
        pair_history: 0,
    }
}

fn check_models(config: ModelConfig, counts: &[usize], device: &Device) {
    let layers = if config.node_width > 0 { 2 } else { 1 };
    check(ModelConfig { layers, ..config }, counts, device);
    let name = ModelName::Jodie;
    check(ModelConfig { name, ..config }, counts, device);
    let apan = ModelConfig {
        name: ModelName::Apan,
        mail_slots: 3,
        node_width: 0,
        ..config
    };
    check(apan, counts, device);
}

#[cfg_attr(test, test)]
pub(crate) fn embeddings_and_scores_do_not_depend_on_other_roots() {
    on_device(|device| {
        let few: Vec<usize> = (1..=6).chain([17, 33, 64, 65, 70, 140]).collect();
        check_models(widths(8, 2, 3, 5), &few, device);
        let with_history = ModelConfig {
            pair_history: 13,
            ..widths(7, 1, 4, 0)
        };
        check_models(with_history, &few, device);
    });
}

/// Embeddings of the first `count` roots by a TGN as wide as Wikipedia's.
pub(crate) fn wide_embeddings(count: usize, device: &Device) -> Vec<u32> {
    let world = World::new(widths(100, 2, 172, 0), device);
    bits(&numbers(world.embed(&roots()[..count])))
}

#[cfg_attr(test, test)]
pub(crate) fn wide_embeddings_do_not_depend_on_other_roots() {
    on_device(|device| {
        let all = wide_embeddings(ROOTS, device);
        for count in [1, 2, 70] {
            let some = wide_embeddings(count, device);
            assert!(all[..some.len()] == some, "{count} roots");
        }
    });
}
