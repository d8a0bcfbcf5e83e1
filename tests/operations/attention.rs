//! Temporal attention with inputs as plain numbers.

use burn::tensor::Device;
use mspipe::kernels::temporal_attention::{AttentionShape, AttentionSlots, temporal_attention};

use super::{
    Defined, Operation, Outcome, draws, dropout_of, finish, floats, frequencies, gradient, ints,
    uses_on, wide_projection,
};
use crate::definitions::counter_hash::counter_hash;
use crate::definitions::dropout::Draws;
use crate::definitions::temporal_attention as defined;

#[derive(Debug, Clone)]
pub(crate) struct Attention {
    pub(super) shape: AttentionShape,
    pub(super) roots: usize,
    pub(super) queries: usize,
    pub(super) rows: usize,
    pub(super) event_rows: usize,
    query: Vec<f32>,
    pub(super) node: Vec<f32>,
    pub(super) edge: Vec<f32>,
    pub(super) omega: Vec<f32>,
    pub(super) phi: Vec<f32>,
    slot: Vec<i32>,
    /// Query row of each root.
    pub(super) query_row: Vec<i32>,
    pub(super) draws: Draws,
}

impl Attention {
    /// Random roots: every third has no past event, the others fill their slots from the
    /// front to different lengths. Two of five roots share the query of another. Scores are of
    /// order 1 whatever the widths.
    pub(crate) fn new(shape: AttentionShape, roots: usize, probability: f32) -> Attention {
        let (rows, event_rows) = (2 * roots, 3 * roots);
        let scale = 3.0 / (shape.width() as f32).sqrt();
        let queries = query_rows(roots).max().map_or(0, |row| row as usize + 1);
        let query = draws(8, shape.heads * queries * shape.width());
        let (omega, phi) = frequencies(shape.time);
        let mut slot = Vec::with_capacity(roots * shape.fanout * 4);
        for (root, query_row) in (0..).zip(query_rows(roots)) {
            let filled = match root % 3 {
                1 => 0,
                _ => counter_hash([9, root, 0, 0]) as usize % shape.fanout + 1,
            };
            for k in 0..shape.fanout as u32 {
                if (k as usize) < filled {
                    let at = |field, below| (counter_hash([10, root, k, field]) % below) as i32;
                    let delta = at(2, 2_700_000) as f32;
                    slot.extend([at(0, rows as u32), at(1, event_rows as u32)]);
                    slot.push(delta.to_bits() as i32);
                } else {
                    slot.extend([-1, -1, 0]);
                }
                slot.push(query_row);
            }
        }
        Attention {
            shape,
            roots,
            queries,
            rows,
            event_rows,
            query: query.iter().map(|v| v * scale).collect(),
            node: draws(11, rows * shape.node),
            edge: draws(12, event_rows * shape.edge),
            omega,
            phi,
            slot,
            query_row: query_rows(roots).collect(),
            draws: Draws {
                probability,
                seed: 5,
                stream: 1,
                iteration: 2,
            },
        }
    }

    /// With no past event at all, and so no rows.
    pub(crate) fn without_events(mut self) -> Attention {
        for slot in self.slot.chunks_exact_mut(4) {
            slot[..3].copy_from_slice(&[-1, -1, 0]);
        }
        (self.rows, self.event_rows) = (0, 0);
        (self.node, self.edge) = (Vec::new(), Vec::new());
        self
    }

    /// With as many roots again that all share the first query and attend to the first row alone: of a node in half of
    /// all events.
    pub(crate) fn with_hub(mut self) -> Attention {
        let slots = self.slot.chunks_exact(4);
        let of_hub: Vec<[i32; 4]> = slots.map(|of| [of[0].min(0), of[1], of[2], 0]).collect();
        self.slot.extend(of_hub.as_flattened());
        self.query_row.resize(2 * self.roots, 0);
        self.roots *= 2;
        self
    }

    /// With time differences up to `longest` and frequencies of order 1.
    pub(crate) fn with_short_times(mut self, longest: f32) -> Attention {
        for slot in self.slot.chunks_exact_mut(4) {
            let delta = f32::from_bits(slot[2] as u32) / 2_700_000.0 * longest;
            slot[2] = delta.to_bits() as i32;
        }
        self.omega = draws(13, self.shape.time);
        self
    }

    /// The slots and their uses on a device.
    pub(super) fn slots(&self, device: &Device) -> AttentionSlots {
        let read = self.slot.chunks_exact(4).map(|slot| slot[0]);
        AttentionSlots {
            slot: ints(&self.slot, [self.roots, self.shape.fanout, 4], device),
            query_uses: uses_on(self.query_row.iter().copied(), self.queries, device),
            uses: uses_on(read, self.rows, device),
            draw_row: None,
        }
    }

    /// What is computed.
    pub(super) fn defined(&self) -> defined::Attention {
        let root_slots = self.slot.chunks_exact(4 * self.shape.fanout);
        let slot = |slot: &[i32]| {
            (slot[0] >= 0).then(|| defined::Slot {
                row: slot[0] as usize,
                event: slot[1] as usize,
                delta_t: f32::from_bits(slot[2] as u32),
            })
        };
        defined::Attention {
            heads: self.shape.heads,
            fanout: self.shape.fanout,
            widths: [self.shape.node, self.shape.edge],
            query: self.query.clone(),
            query_row: self.query_row.iter().map(|&row| row as usize).collect(),
            node: self.node.clone(),
            edge: self.edge.clone(),
            omega: self.omega.clone(),
            phi: self.phi.clone(),
            slots: root_slots
                .map(|slots| slots.chunks_exact(4).map(slot).collect())
                .collect(),
            draws: self.draws,
        }
    }
}

/// Query row of each root: in five roots 0, 1, 0, 2, 1.
pub(super) fn query_rows(roots: usize) -> impl Iterator<Item = i32> {
    (0..roots as i32).map(|root| 3 * (root / 5) + [0, 1, 0, 2, 1][root as usize % 5])
}

impl Operation for Attention {
    fn inputs(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        vec![
            ("query", &mut self.query),
            ("node", &mut self.node),
            ("omega", &mut self.omega),
            ("phi", &mut self.phi),
        ]
    }

    fn run(&self, device: &Device) -> Outcome {
        let device = &device.clone().autodiff();
        let shape = &self.shape;
        let query_shape = [shape.heads, self.queries, shape.width()];
        let query = floats(&self.query, query_shape, device).require_grad();
        let node = floats(&self.node, [self.rows, shape.node], device).require_grad();
        let edge = floats(&self.edge, [self.event_rows, shape.edge], device);
        let time = [self.omega.as_slice(), &self.phi].concat();
        let time = floats(&time, [2, shape.time], device).require_grad();
        let slots = self.slots(device);
        let (q, n, t) = (query.clone(), node.clone(), time.clone());
        let out = temporal_attention(q, n, edge, t, slots, dropout_of(self.draws));
        finish(out, device, |g| {
            let time = gradient(&time, g);
            let (omega, phi) = time.split_at(shape.time);
            vec![
                gradient(&query, g),
                gradient(&node, g),
                omega.to_vec(),
                phi.to_vec(),
            ]
        })
    }

    fn definition(&self) -> Defined {
        let attention = self.defined();
        let output = attention.output();
        let gradients = attention.gradients(&wide_projection(output.len()));
        Defined {
            output,
            gradients: gradients.to_vec(),
        }
    }
}
