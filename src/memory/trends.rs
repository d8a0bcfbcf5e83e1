//! Trends: the past changes of each node's memory row per unit of time, as a source and as a
//! destination, which `--mitigation pres` predicts the next one from ([`crate::model::pres`]).
//!
//! ξ, the sums of changes, lie where rows do; n, how many there were, on the host. Invariants: both are
//! read with a batch's rows and written with its update, so that what a batch knows of them is as old
//! as its memory; only training reads or writes them.
//!
//! A change counts where the updater ran: a row that is written as it was has none.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::MemoryRequest;
use crate::kernels::cpu::rows;
use crate::kernels::memory_update::memory_update;

/// Components of a node: what it is written as, a source or a destination.
pub const COMPONENTS: usize = 2;

/// Trends of the rows that a batch writes; one entry a row that the updater ran for.
#[derive(Debug, Clone, Default)]
pub struct FetchedTrends {
    /// The row.
    pub row: Vec<i32>,
    /// The place in the table, node x 2 + component.
    pub place: Vec<i32>,
    /// n.
    pub count: Vec<u32>,
    /// Whether the node's row has changed before, as whichever side: if not, it is 0.
    pub changed: Vec<bool>,
    /// Time since the row's last update, in the stream's unit.
    pub delta_t: Vec<f32>,
    /// One tick, in the stream's unit.
    pub tick: f32,
    /// What each counts in the loss, where ranks share the batch.
    pub share: Option<Vec<f32>>,
}

/// Times of a batch's rows, of each: 1 where the updater runs for it, else 0, and how long ago it was
/// updated.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowTimes<'a> {
    pub(super) active: &'a [i32],
    pub(super) delta_t: &'a [f32],
    /// One tick, in the stream's unit.
    pub(super) tick: f32,
}

/// How many changes there were of each node, `[nodes x 2]`.
#[derive(Debug, Clone)]
struct Counts(Vec<u32>);

impl Counts {
    /// The trends of what `request` writes; `times` are those of its rows.
    fn fetch(&self, request: MemoryRequest<'_>, times: RowTimes<'_>) -> FetchedTrends {
        let mut trends = FetchedTrends {
            tick: times.tick,
            ..FetchedTrends::default()
        };
        let (Some(written), Some(_)) = (request.written, request.trains_from) else {
            return trends;
        };
        let written = (written.node.iter().zip(written.row)).zip(written.side);
        for ((node, &row), &side) in written {
            if times.active[row as usize] == 0 {
                continue;
            }
            let place = COMPONENTS * node.index() + usize::from(side);
            trends.row.push(row);
            trends.place.push(place as i32);
            trends.count.push(self.0[place]);
            let of_node = &self.0[COMPONENTS * node.index()..][..COMPONENTS];
            trends.changed.push(of_node.iter().any(|&count| count > 0));
            trends.delta_t.push(times.delta_t[row as usize]);
        }
        trends
    }

    fn add(&mut self, places: &[i32]) {
        for &place in places {
            self.0[place as usize] += 1;
        }
    }
}

/// Trends of a memory on the device.
#[derive(Debug, Clone)]
pub(super) struct DeviceTrends {
    counts: Counts,
    /// ξ, `[nodes x 2, width]`.
    sums: Tensor<2>,
}

impl DeviceTrends {
    pub(super) fn new(nodes: usize, width: usize, device: &Device) -> DeviceTrends {
        DeviceTrends {
            counts: Counts(vec![0; COMPONENTS * nodes]),
            sums: Tensor::zeros([COMPONENTS * nodes, width], device),
        }
    }

    /// What a batch reads: its trends, and their sums, `[trends, width]`, if there are any.
    pub(super) fn fetch(
        &self,
        request: MemoryRequest<'_>,
        times: RowTimes<'_>,
    ) -> (FetchedTrends, Option<Tensor<2>>) {
        let trends = self.counts.fetch(request, times);
        let sums = (!trends.place.is_empty()).then(|| self.select(&trends.place));
        (trends, sums)
    }

    /// The same without the sums.
    pub(super) fn places(&self, request: MemoryRequest<'_>, times: RowTimes<'_>) -> FetchedTrends {
        self.counts.fetch(request, times)
    }

    fn select(&self, places: &[i32]) -> Tensor<2> {
        let places = TensorData::new(places.to_vec(), [places.len()]);
        let places = Tensor::<1, Int>::from_data(places, &self.sums.device());
        self.sums.clone().select(0, places)
    }

    /// Adds the changes `[trends, width]` of an update.
    pub(super) fn add(&mut self, places: &[i32], changes: Tensor<2>) {
        let sums = self.select(places) + changes;
        let writer: Vec<i32> = (0..)
            .zip(places)
            .flat_map(|(row, &place)| [place, row])
            .collect();
        let device = self.sums.device();
        let writer = TensorData::new(writer, [places.len(), 2]);
        let writer = Tensor::<2, Int>::from_data(writer, &device);
        // The only handle of the table, so that it is written in place.
        let table = std::mem::replace(&mut self.sums, Tensor::empty([0, 0], &device));
        self.sums = memory_update(table, sums, writer);
        self.counts.add(places);
    }

    pub(super) fn reset(&mut self) {
        self.counts.0.fill(0);
        self.sums = self.sums.zeros_like();
    }

    /// ξ and n.
    pub(super) fn tables(&self) -> (Tensor<2>, &[u32]) {
        (self.sums.clone(), &self.counts.0)
    }

    pub(super) fn restore(&mut self, saved: SavedTrends) {
        let data = TensorData::new(saved.sums, self.sums.shape());
        self.sums = Tensor::from_data(data, &self.sums.device());
        self.counts = Counts(saved.counts);
    }
}

/// Trends of a memory in RAM.
#[derive(Debug, Clone)]
pub(super) struct HostTrends {
    counts: Counts,
    /// ξ, `[nodes x 2, width]`.
    sums: Vec<f32>,
    width: usize,
}

impl HostTrends {
    pub(super) fn new(nodes: usize, width: usize) -> HostTrends {
        HostTrends {
            counts: Counts(vec![0; COMPONENTS * nodes]),
            sums: vec![0.0; COMPONENTS * nodes * width],
            width,
        }
    }

    /// What a batch reads: its trends, and their sums, `[trends, width]`.
    pub(super) fn fetch(
        &self,
        request: MemoryRequest<'_>,
        times: RowTimes<'_>,
    ) -> (FetchedTrends, Vec<f32>) {
        let trends = self.counts.fetch(request, times);
        let sums = rows::gather_rows(&self.sums, &trends.place, self.width);
        (trends, sums)
    }

    /// The same without the sums.
    pub(super) fn places(&self, request: MemoryRequest<'_>, times: RowTimes<'_>) -> FetchedTrends {
        self.counts.fetch(request, times)
    }

    /// Adds the changes `[trends, width]` of an update.
    pub(super) fn add(&mut self, places: &[i32], changes: &[f32]) {
        for (&place, change) in places.iter().zip(changes.chunks_exact(self.width)) {
            let sum = &mut self.sums[place as usize * self.width..][..self.width];
            sum.iter_mut()
                .zip(change)
                .for_each(|(sum, change)| *sum += change);
        }
        self.counts.add(places);
    }

    pub(super) fn reset(&mut self) {
        self.counts.0.fill(0);
        self.sums.fill(0.0);
    }

    pub(super) fn grow(&mut self, nodes: usize) {
        self.counts.0.resize(COMPONENTS * nodes, 0);
        self.sums.resize(COMPONENTS * nodes * self.width, 0.0);
    }

    /// ξ and n.
    pub(super) fn tables(&self) -> (&[f32], &[u32]) {
        (&self.sums, &self.counts.0)
    }

    pub(super) fn restore(&mut self, saved: SavedTrends) {
        self.sums = saved.sums;
        self.counts = Counts(saved.counts);
    }
}

/// ξ and n, as a checkpoint has them.
#[derive(Debug)]
pub(super) struct SavedTrends {
    pub(super) sums: Vec<f32>,
    pub(super) counts: Vec<u32>,
}
