//! A recording whose numbers follow by hand: all weights are zero but the last bias.
//!
//! ```text
//! batch      0           1
//! time   10     12   12     15
//!       0->3   0->4 1->3   0->3      negatives 2 4, 2 2
//! ```
//!
//! So memory stays zero, mail is edge features, every logit is the bias b, the loss is
//! softplus(-b) + softplus(b), its gradient is 2 σ(b) - 1 for b and 0 for all else, and two
//! steps of Adam move b alone.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

const NODES: usize = 5;
const WIDTH: usize = 2;
const TIME: usize = 3;
const RATE: f64 = 1e-3;
const BIAS: &str = "edge_predictor.out_fc.bias";

struct Tensor {
    kind: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The content of a recording, to be damaged and written.
pub(crate) struct HandMade {
    settings: HashMap<String, String>,
    tensors: BTreeMap<String, Tensor>,
}

impl HandMade {
    /// The recording with edge and node features of these widths.
    pub(crate) fn new(edge: usize, node: usize) -> HandMade {
        let numbers = [
            ("nodes", NODES),
            ("events", 4),
            ("batches", 2),
            ("batch", 2),
            ("dim", WIDTH),
            ("time", TIME),
            ("edge_dim", edge),
            ("node_dim", node),
            ("heads", 2),
            ("fanout", 2),
        ];
        let settings = numbers.map(|(key, value)| (key.to_owned(), value.to_string()));
        let mut made = HandMade {
            settings: settings.into(),
            tensors: BTreeMap::new(),
        };
        made.set("model", "tgn");
        made.set("lr", &RATE.to_string());

        let feature: Vec<f32> = (1..=4 * edge).map(|i| i as f32 / 4.0).collect();
        made.integers("events.src", &[0, 0, 1, 0]);
        made.integers("events.dst", &[3, 4, 3, 3]);
        made.floats("events.t", &[4], &[10.0, 12.0, 12.0, 15.0]);
        made.floats("events.feat", &[4, edge], &feature);
        let nodes: Vec<f32> = (0..NODES * node).map(|i| i as f32 - 3.0).collect();
        made.floats("nodes.feat", &[NODES, node], &nodes);
        made.input(0, &[0, 0, 3, 4, 2, 4], &[10.0, 12.0], &[(1, 3, 0, 10.0)]);
        // The rows of one root need not be together.
        let sampled = [(1, 3, 0, 10.0), (2, 0, 0, 10.0), (1, 4, 1, 12.0)];
        made.input(1, &[1, 0, 3, 3, 2, 2], &[12.0, 15.0], &sampled);

        let mut bias = 0.75f64;
        made.parameters("init.", edge, node, bias);
        let (mut mean, mut square) = (0.0f64, 0.0f64);
        for (i, step) in [(0, 1), (1, 2)] {
            let sigmoid = 1.0 / (1.0 + (-bias).exp());
            let gradient = 2.0 * sigmoid - 1.0;
            made.floats(&format!("b{i}.logit.pos"), &[2], &[bias as f32; 2]);
            made.floats(&format!("b{i}.logit.neg"), &[2], &[bias as f32; 2]);
            let loss = -sigmoid.ln() - (1.0 - sigmoid).ln();
            made.floats(&format!("b{i}.loss"), &[1], &[loss as f32]);
            made.parameters(&format!("b{i}.grad."), edge, node, gradient);
            mean = 0.9 * mean + 0.1 * gradient;
            square = 0.999 * square + 0.001 * gradient * gradient;
            let mean = mean / (1.0 - 0.9f64.powi(step));
            let square = square / (1.0 - 0.999f64.powi(step));
            bias -= RATE * mean / (square.sqrt() + 1e-8);
        }
        made.parameters("final.", edge, node, bias);

        // (node, its last event, that event's time) after each batch.
        made.state(
            0,
            edge,
            &feature,
            &[(0, 1, 12.0), (3, 0, 10.0), (4, 1, 12.0)],
        );
        let last = [(0, 3, 15.0), (1, 2, 12.0), (3, 3, 15.0), (4, 1, 12.0)];
        made.state(1, edge, &feature, &last);
        made
    }

    /// Roots with the times of the events, and sampled (root, node, event, time).
    fn input(&mut self, i: usize, roots: &[i32], time: &[f32], sampled: &[(i32, i32, i32, f32)]) {
        self.integers(&format!("b{i}.roots"), roots);
        self.floats(&format!("b{i}.roots_t"), &[6], &time.repeat(3));
        let column = |pick: fn(&(i32, i32, i32, f32)) -> i32| -> Vec<i32> {
            sampled.iter().map(pick).collect()
        };
        self.integers(&format!("b{i}.nbr.root"), &column(|row| row.0));
        self.integers(&format!("b{i}.nbr.node"), &column(|row| row.1));
        self.integers(&format!("b{i}.nbr.eid"), &column(|row| row.2));
        let time: Vec<f32> = sampled.iter().map(|row| row.3).collect();
        self.floats(&format!("b{i}.nbr.t"), &[time.len()], &time);
    }

    /// All parameters: zeros, and `bias` for the last.
    fn parameters(&mut self, prefix: &str, edge: usize, node: usize, bias: f64) {
        let mail = 2 * WIDTH + edge;
        let attended = WIDTH + edge + TIME;
        let mut shapes = vec![
            ("memory_updater.time_enc.w", vec![TIME, 1]),
            ("layers.l0h0.time_enc.w", vec![TIME, 1]),
            ("layers.l0h0.w_q", vec![WIDTH, WIDTH + TIME]),
            ("layers.l0h0.w_k", vec![WIDTH, attended]),
            ("layers.l0h0.w_v", vec![WIDTH, attended]),
            ("layers.l0h0.w_out", vec![WIDTH, 2 * WIDTH]),
            ("layers.l0h0.layer_norm", vec![WIDTH]),
            ("edge_predictor.src_fc", vec![WIDTH, WIDTH]),
            ("edge_predictor.dst_fc", vec![WIDTH, WIDTH]),
            ("edge_predictor.out_fc", vec![1, WIDTH]),
        ];
        if node > 0 && node != WIDTH {
            shapes.push(("memory_updater.node_feat_map", vec![WIDTH, node]));
        }
        for (layer, shape) in shapes {
            let zeros = |n| vec![0.0; n];
            let outputs = shape[0];
            let weights = zeros(shape.iter().product());
            self.floats(&format!("{prefix}{layer}.weight"), &shape, &weights);
            self.floats(
                &format!("{prefix}{layer}.bias"),
                &[outputs],
                &zeros(outputs),
            );
        }
        for (name, inputs) in [("ih", mail + TIME), ("hh", WIDTH)] {
            let gates = 3 * WIDTH;
            let cell = format!("{prefix}memory_updater.updater");
            let weights = vec![0.0; gates * inputs];
            self.floats(&format!("{cell}.weight_{name}"), &[gates, inputs], &weights);
            self.floats(&format!("{cell}.bias_{name}"), &[gates], &vec![0.0; gates]);
        }
        self.floats(&format!("{prefix}{BIAS}"), &[1], &[bias as f32]);
    }

    fn state(&mut self, i: usize, edge: usize, feature: &[f32], last: &[(usize, usize, f32)]) {
        let mail = 2 * WIDTH + edge;
        let mut mailbox = vec![0.0; NODES * mail];
        let mut time = [0.0; NODES];
        for &(node, event, at) in last {
            time[node] = at;
            mailbox[node * mail + 2 * WIDTH..(node + 1) * mail]
                .copy_from_slice(&feature[event * edge..(event + 1) * edge]);
        }
        self.floats(
            &format!("b{i}.memory"),
            &[NODES, WIDTH],
            &[0.0; NODES * WIDTH],
        );
        self.floats(&format!("b{i}.memory_t"), &[NODES], &time);
        self.floats(&format!("b{i}.mailbox"), &[NODES, 1, mail], &mailbox);
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.insert(name, Dtype::F32, shape, bytes);
    }

    fn integers(&mut self, name: &str, values: &[i32]) {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.insert(name, Dtype::I32, &[values.len()], bytes);
    }

    fn insert(&mut self, name: &str, kind: Dtype, shape: &[usize], bytes: Vec<u8>) {
        let shape = shape.to_vec();
        self.tensors
            .insert(name.to_owned(), Tensor { kind, shape, bytes });
    }

    /// Changes numbers of a tensor.
    pub(crate) fn floats_of(&mut self, name: &str, change: impl FnOnce(&mut [f32])) {
        let tensor = &self.tensors[name];
        let (words, _) = tensor.bytes.as_chunks::<4>();
        let mut values: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let shape = tensor.shape.clone();
        change(&mut values);
        self.floats(name, &shape, &values);
    }

    /// The recording in `file`, to be changed.
    pub(crate) fn of(file: &Path) -> HandMade {
        let bytes = std::fs::read(file).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let content = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |view: TensorView<'_>| Tensor {
            kind: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        HandMade {
            settings: header.metadata().clone().unwrap(),
            tensors: content
                .iter()
                .map(|(name, view)| (name.to_owned(), tensor(view)))
                .collect(),
        }
    }

    /// Adds node features of this width, for as many nodes as the settings say.
    pub(crate) fn add_node_features(&mut self, width: usize) {
        let nodes: usize = self.settings["nodes"].parse().unwrap();
        let values: Vec<f32> = (0..nodes * width).map(|i| (i % 11) as f32 - 5.0).collect();
        self.floats("nodes.feat", &[nodes, width], &values);
        self.set("node_dim", &width.to_string());
    }

    /// Changes a setting.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// Drops a setting.
    pub(crate) fn remove_setting(&mut self, key: &str) {
        self.settings.remove(key).unwrap();
    }

    /// Drops a tensor.
    pub(crate) fn remove(&mut self, name: &str) {
        self.tensors.remove(name).unwrap();
    }

    /// Gives a tensor another name.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let tensor = self.tensors.remove(from).unwrap();
        self.tensors.insert(to.to_owned(), tensor);
    }

    /// Writes the file, whose name begins with `name`.
    pub(crate) fn write(self, name: &str) -> PathBuf {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.safetensors"));
        let views = self.tensors.iter().map(|(name, tensor)| {
            let view = TensorView::new(tensor.kind, tensor.shape.clone(), &tensor.bytes);
            (name, view.unwrap())
        });
        safetensors::serialize_to_file(views, Some(self.settings), &file).unwrap();
        file
    }
}
