//! TGN with two attention layers and node features against its definition: plain f64 code
//! that embeds one (node, time) after the other, with weights under PyTorch's names.
//!
//! One layer of each model is compared with TGL's recorded numbers in `mspipe-bench parity`.

use std::collections::BTreeMap;

use burn::tensor::Device;
use mspipe::batch::{
    EventBatch, Layout, LayoutRule, MailAggregation, MailOrder, MailRule, MfgScratch, TimeDelta,
};
use mspipe::graph::{Directions, NodeId, Queries, Tcsr, Timestamp};
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::node_times::{NodeTimes, NodeTimesRule};
use mspipe::memory::{MemoryCommit, MemoryRequest, MemoryStore, MemoryWrite};
use mspipe::model::init::Initializer;
use mspipe::model::tgl_weights::{NamedTensor, export};
use mspipe::model::{LinkModel, ModelConfig, ModelName};
use mspipe::sampling::{NeighborSampler, Recent, SampleKey};
use mspipe::train::upload::{floats, model_input};

use crate::measured::within;
use crate::on_device;
use crate::operations::{draws, numbers};

const CONFIG: ModelConfig = ModelConfig {
    name: ModelName::Tgn,
    width: 8,
    time_width: 6,
    edge_width: 3,
    node_width: 5,
    layers: 2,
    heads: 2,
    mail_slots: 1,
    train_time_encoding: true,
    dropout: 0.1,
    attention_dropout: 0.1,
    pair_history: 0,
};
const NODES: usize = 7;
const EVENTS: usize = 40;
const FANOUT: usize = 3;

/// A stream with repeated times, features and a memory that has seen its first half.
struct Case {
    src: Vec<NodeId>,
    dst: Vec<NodeId>,
    time: Vec<Timestamp>,
    graph: Tcsr,
    edge: Vec<f32>,
    node: Vec<f32>,
    model: LinkModel,
    memory: DeviceMemory,
}

impl Case {
    fn new(device: &Device) -> Case {
        let pick = |i: usize, step: usize| NodeId(((i * step + i / 5) % NODES) as u32);
        let src: Vec<NodeId> = (0..EVENTS).map(|i| pick(i, 3)).collect();
        let dst: Vec<NodeId> = (0..EVENTS).map(|i| pick(i, 5)).collect();
        let time: Vec<Timestamp> = (0..EVENTS).map(|i| (i / 2) as i64 * 3 + 1).collect();
        let rule = NodeTimesRule {
            time_delta: TimeDelta::Message,
            write: MemoryWrite::Event,
            mail_slots: 1,
            catch_up: false,
            ticks_per_unit: 1,
            origin: 1,
            first: 1,
        };
        let clock = NodeTimes::new(NODES, rule);
        let (width, mail_width) = (CONFIG.width, CONFIG.mail_width());
        let mut case = Case {
            graph: Tcsr::build(NODES, &src, &dst, &time, Directions::Both).unwrap(),
            edge: draws(1, EVENTS * CONFIG.edge_width),
            node: draws(2, NODES * CONFIG.node_width),
            model: LinkModel::new(&CONFIG, &mut Initializer::new(7, device)),
            memory: DeviceMemory::new(NODES, width, mail_width, clock, device),
            src,
            dst,
            time,
        };
        for start in [0, 10] {
            case.embed(start..start + 10, device);
        }
        case
    }

    fn batch(&self, events: std::ops::Range<usize>) -> EventBatch {
        let neg = events.clone().map(|i| NodeId((i % NODES) as u32)).collect();
        EventBatch::cut(events, &self.src, &self.dst, &self.time, neg)
    }

    /// Embeddings of a batch's roots; its events are then written to the memory.
    fn embed(&mut self, events: std::ops::Range<usize>, device: &Device) -> Vec<f32> {
        let batch = self.batch(events);
        let rule = LayoutRule {
            layers: CONFIG.layers,
            time_delta: TimeDelta::Message,
            mail_rule: MailRule {
                aggregation: MailAggregation::Mean,
                order: MailOrder::Event,
                to_neighbors: false,
            },
            attends_to_mail: false,
            ticks_per_unit: 1,
        };
        let sample = |roots: Queries<'_>, request| {
            let key = SampleKey {
                seed: 0,
                epoch: 0,
                event: 0,
                request,
            };
            Recent { fanout: FANOUT }.sample(&self.graph, roots, None, key)
        };
        let layout = Layout::build(&batch, &rule, sample, &mut MfgScratch::new(NODES));
        let rows = layout.innermost();
        let roots = batch.roots();
        let fetched = self
            .memory
            .fetch(MemoryRequest::of(&layout, roots.queries()));
        let features = |table: &[f32], ids: Vec<usize>, width: usize| {
            let values = ids.iter().flat_map(|&id| &table[id * width..][..width]);
            floats(values.copied().collect(), [ids.len(), width], device)
        };
        let edge: Vec<_> = layout
            .layers
            .iter()
            .map(|layer| {
                let ids = layer.events.iter().map(|event| event.index()).collect();
                features(&self.edge, ids, CONFIG.edge_width)
            })
            .collect();
        let ids = rows.node.iter().map(|node| node.index()).collect();
        let node = features(&self.node, ids, CONFIG.node_width);
        let input = model_input(&layout, &fetched, &edge, Some(node), device);
        let output = self.model.model.forward(&input, None);
        let commit = MemoryCommit {
            memory: output.memory,
            changes: None,
            edge: edge[0].clone(),
            last_writers: layout.last_writers,
            mail_routing: layout.mail_routing,
            times: fetched.times,
        };
        self.memory.commit(commit).unwrap();
        numbers(output.embedding)
    }
}

/// The definition, with weights by TGL's names.
struct Definition<'a> {
    case: &'a Case,
    weights: BTreeMap<String, NamedTensor>,
    /// Updated memory plus node features of each node.
    node: Vec<Vec<f64>>,
}

impl Definition<'_> {
    /// `weight x + bias` of a linear layer.
    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        self.product(&format!("{name}.weight"), &format!("{name}.bias"), x)
    }

    fn product(&self, weight: &str, bias: &str, x: &[f64]) -> Vec<f64> {
        let (weight, bias) = (&self.weights[weight], &self.weights[bias]);
        assert_eq!(weight.shape[1], x.len());
        let rows = weight.values.chunks_exact(x.len()).zip(&bias.values);
        rows.map(|(row, &bias)| {
            let terms = row.iter().zip(x).map(|(&w, x)| f64::from(w) * x);
            terms.sum::<f64>() + f64::from(bias)
        })
        .collect()
    }

    fn time(&self, name: &str, delta_t: f64) -> Vec<f64> {
        let angles = self.linear(&format!("{name}.time_enc.w"), &[delta_t]);
        angles.into_iter().map(f64::cos).collect()
    }

    /// PyTorch's GRUCell.
    fn updated(&self, mail: &[f64], delta_t: f64, memory: &[f64]) -> Vec<f64> {
        let cell = "memory_updater.updater";
        let x = [mail, &self.time("memory_updater", delta_t)].concat();
        let from_x = self.product(&format!("{cell}.weight_ih"), &format!("{cell}.bias_ih"), &x);
        let names = [format!("{cell}.weight_hh"), format!("{cell}.bias_hh")];
        let from_h = self.product(&names[0], &names[1], memory);
        let width = memory.len();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let gate = |g: usize, i: usize| sigmoid(from_x[g * width + i] + from_h[g * width + i]);
        (0..width)
            .map(|i| {
                let candidate = from_x[2 * width + i] + gate(0, i) * from_h[2 * width + i];
                (1.0 - gate(1, i)) * candidate.tanh() + gate(1, i) * memory[i]
            })
            .collect()
    }

    /// Embedding of `node` at `time` by the layers below `layer`.
    fn embedding(&self, node: NodeId, time: Timestamp, layer: usize) -> Vec<f64> {
        if layer == 0 {
            return self.node[node.index()].clone();
        }
        let name = format!("layers.l{}h0", layer - 1);
        let root = self.embedding(node, time, layer - 1);
        let zero = self.time(&name, 0.0);
        let query = self.linear(&format!("{name}.w_q"), &[&root[..], &zero].concat());
        let case = self.case;
        let past: Vec<usize> = (0..EVENTS)
            .rev()
            .filter(|&i| case.time[i] < time && (case.src[i] == node || case.dst[i] == node))
            .collect();
        // A self loop is in its node's past twice.
        let past = past.into_iter().flat_map(|i| {
            let twice = case.src[i] == case.dst[i];
            std::iter::repeat_n(i, if twice { 2 } else { 1 })
        });
        let inputs: Vec<Vec<f64>> = past
            .take(FANOUT)
            .map(|i| {
                let other = if case.src[i] == node {
                    case.dst[i]
                } else {
                    case.src[i]
                };
                let neighbor = self.embedding(other, case.time[i], layer - 1);
                let width = CONFIG.edge_width;
                let edge = case.edge[i * width..][..width].iter().copied();
                let edge: Vec<f64> = edge.map(f64::from).collect();
                let since = self.time(&name, (time - case.time[i]) as f64);
                [neighbor, edge, since].concat()
            })
            .collect();
        let linear = |part: &str, x: &Vec<f64>| self.linear(&format!("{name}.{part}"), x);
        let keys: Vec<_> = inputs.iter().map(|x| linear("w_k", x)).collect();
        let values: Vec<_> = inputs.iter().map(|x| linear("w_v", x)).collect();
        let head_width = CONFIG.width / CONFIG.heads;
        let mut attended = vec![0.0; CONFIG.width];
        for head in 0..CONFIG.heads {
            let columns = head * head_width..(head + 1) * head_width;
            let scores = keys.iter().map(|key| {
                let score: f64 = columns.clone().map(|c| query[c] * key[c]).sum();
                (if score > 0.0 { score } else { 0.2 * score }).exp()
            });
            let scores: Vec<f64> = scores.collect();
            let total: f64 = scores.iter().sum();
            for (score, value) in scores.iter().zip(&values) {
                for c in columns.clone() {
                    attended[c] += score / total * value[c];
                }
            }
        }
        let output = self.linear(&format!("{name}.w_out"), &[attended, root].concat());
        let output: Vec<f64> = output.into_iter().map(|x| x.max(0.0)).collect();
        let count = output.len() as f64;
        let mean = output.iter().sum::<f64>() / count;
        let variance = output.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let norm = |part: &str| &self.weights[&format!("{name}.layer_norm.{part}")].values;
        output
            .iter()
            .zip(norm("weight").iter().zip(norm("bias")))
            .map(|(x, (&gamma, &beta))| {
                (x - mean) / (variance + 1e-5).sqrt() * f64::from(gamma) + f64::from(beta)
            })
            .collect()
    }
}

#[cfg_attr(test, test)]
pub(crate) fn two_layers_of_tgn_agree_with_their_definition() {
    on_device(|device| {
        let mut case = Case::new(device);
        let nodes: Vec<NodeId> = (0..NODES as u32).map(NodeId).collect();
        let all = case.memory.fetch(MemoryRequest {
            rows: Queries {
                node: &nodes,
                time: &[],
            },
            ..MemoryRequest::default()
        });
        let events = 20..30;
        let batch = case.batch(events.clone());
        let mut definition = Definition {
            weights: export(&case.model).unwrap(),
            case: &case,
            node: Vec::new(),
        };
        let wide = |table: Vec<f32>| table.into_iter().map(f64::from).collect::<Vec<_>>();
        let (memory, mail) = (wide(numbers(all.memory)), wide(numbers(all.mail)));
        let features = wide(case.node.clone());
        definition.node = (0..NODES)
            .map(|node| {
                let row = |table: &[f64], width: usize| table[node * width..][..width].to_vec();
                let memory = row(&memory, CONFIG.width);
                let delta_t = f64::from(all.times.delta_t[node]);
                let updated = if all.times.active[node] == 1 {
                    definition.updated(&row(&mail, CONFIG.mail_width()), delta_t, &memory)
                } else {
                    memory
                };
                let features = row(&features, CONFIG.node_width);
                let projected = definition.linear("memory_updater.node_feat_map", &features);
                updated.iter().zip(projected).map(|(s, f)| s + f).collect()
            })
            .collect();
        assert!(all.times.active.iter().sum::<i32>() > 3, "mail is waiting");

        let roots = batch.roots();
        let expected: Vec<f64> = roots
            .node
            .iter()
            .zip(roots.time)
            .flat_map(|(&node, time)| definition.embedding(node, time, 2))
            .collect();
        let ours = case.embed(events, device);
        assert_eq!(ours.len(), expected.len());
        let mut largest = 0.0f64;
        for (ours, expected) in ours.iter().zip(expected) {
            assert!(ours.is_finite(), "{ours} against {expected}");
            largest = largest.max((f64::from(*ours) - expected).abs());
        }
        within("embeddings of two layers", largest, 2e-5);
    });
}
