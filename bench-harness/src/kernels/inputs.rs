//! Inputs of kernels, of the sizes that a batch of Wikipedia has.

use burn::tensor::{Device, Int, Tensor};
use mspipe::kernels::gather_rows::{LongRows, Uses};
use mspipe::train::upload;

/// Widths of memory and embeddings, edge features, a mail, and the time encoding.
pub(super) const WIDTH: usize = 100;
pub(super) const EDGE: usize = 172;
/// Boolean edge features of GDELT.
pub(super) const BOOLEANS: usize = 186;
pub(super) const MAIL: usize = 2 * WIDTH + EDGE;
pub(super) const TIME: usize = 100;
pub(super) const HEADS: usize = 2;
/// Past events of a root, and mail of a node (APAN).
pub(super) const FANOUT: usize = 10;
/// Nodes of the stream.
pub(super) const NODES: usize = 9_228;
/// Parameters of TGN.
pub(super) const PARAMETERS: usize = 303_000;

/// Rows of memory, roots and events of a batch of 600 events of Wikipedia.
pub(super) const SIZES: [usize; 3] = [1_650, 1_800, 600];

/// Makes inputs on a device.
pub(super) struct Inputs<'a> {
    pub(super) device: &'a Device,
}

impl Inputs<'_> {
    pub(super) fn numbers(&self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| (i * 7 % 251) as f32 / 251.0 - 0.498)
            .collect()
    }

    pub(super) fn matrix(&self, rows: usize, width: usize) -> Tensor<2> {
        upload::floats(self.numbers(rows * width), [rows, width], self.device)
    }

    pub(super) fn vector(&self, count: usize) -> Tensor<1> {
        upload::floats(self.numbers(count), [count], self.device)
    }

    pub(super) fn indices(&self, values: Vec<i32>) -> Tensor<1, Int> {
        let count = values.len();
        upload::ints(values, [count], self.device)
    }

    pub(super) fn spread(&self, count: usize, below: usize) -> Vec<i32> {
        (0..count).map(|i| (i * 7919 % below) as i32).collect()
    }

    /// The uses of `rows` rows by `index`.
    pub(super) fn uses(&self, index: &[i32], rows: usize) -> Uses {
        let mut by_row = vec![Vec::new(); rows];
        for (place, &row) in (0..).zip(index) {
            by_row[row as usize].push(place);
        }
        let mut offsets = vec![0];
        let mut items: Vec<i32> = Vec::new();
        for places in by_row {
            items.extend(places);
            offsets.push(items.len() as i32);
        }
        let (long, table) = LongRows::of(&offsets);
        items.extend(table);
        Uses {
            offsets: self.indices(offsets),
            items: self.indices(items),
            long,
        }
    }
}
