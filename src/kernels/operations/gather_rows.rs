//! Rows of a table by index, differentiable: the backward is a segmented sum.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};

use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::rows;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::profiler::{self, Kind};

/// Uses of each row of a table: `items[offsets[r]..offsets[r + 1]]` are the places that
/// read row `r`, ascending.
#[derive(Debug, Clone)]
pub struct Uses {
    /// `[rows + 1]`.
    pub offsets: Tensor<1, Int>,
    /// One entry a use; behind them what [`LongRows::of`] says.
    pub items: Tensor<1, Int>,
    /// Rows that have many.
    pub long: LongRows,
}

/// Uses up to which one invocation of a GPU adds all of a row.
const MANY: usize = 256;

/// Uses that it adds of a row that has more, whose sums of pieces are added afterwards.
const PIECE: usize = 128;

/// Invocations that add the pieces of a row.
pub(crate) const LANES: usize = 64;

/// Rows with more uses than one invocation adds: a node in half of all events would set the time of a launch. On
/// the CPU they are like all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LongRows {
    /// How many.
    pub rows: usize,
    /// Pieces of their uses.
    pub pieces: usize,
}

impl LongRows {
    /// Of lists with these offsets, and what kernels need behind their items: of each long row its number, its first
    /// piece and how many it has; of each piece where it begins and ends among the items.
    pub fn of(offsets: &[i32]) -> (LongRows, Vec<i32>) {
        let (mut rows, mut pieces) = (Vec::new(), Vec::new());
        for (row, ends) in (0i32..).zip(offsets.windows(2)) {
            let uses = ends[0]..ends[1];
            if uses.len() > MANY {
                let begins = uses.step_by(PIECE);
                rows.extend([row, pieces.len() as i32 / 2, begins.len() as i32]);
                pieces.extend(begins.flat_map(|begin| [begin, ends[1].min(begin + PIECE as i32)]));
            }
        }
        let long = LongRows {
            rows: rows.len() / 3,
            pieces: pieces.len() / 2,
        };
        rows.append(&mut pieces);
        (long, rows)
    }

    /// Numbers of that table.
    #[cfg(feature = "gpu")]
    pub(crate) fn table(self) -> usize {
        3 * self.rows + 2 * self.pieces
    }

    /// Additions one after the other of the invocation that has most of them, over lists with these offsets.
    pub fn longest(offsets: &[i32]) -> usize {
        let of_row = |uses: usize| match uses {
            0..=MANY => uses,
            // The sums of the lanes are added by halves.
            _ => PIECE.max(uses.div_ceil(PIECE).div_ceil(LANES) + LANES.ilog2() as usize),
        };
        let uses = offsets.windows(2).map(|ends| (ends[1] - ends[0]) as usize);
        uses.map(of_row).max().unwrap_or(0)
    }
}

/// Dispatch of [`gather_rows`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait GatherRows: Backend {
    /// See [`gather_rows`].
    fn gather_rows(
        table: FloatTensor<Self>,
        index: IntTensor<Self>,
        offsets: IntTensor<Self>,
        items: IntTensor<Self>,
        long: LongRows,
    ) -> FloatTensor<Self>;

    /// For each row the sum of the rows of `value` that its items name.
    fn segment_sum(
        value: FloatTensor<Self>,
        offsets: IntTensor<Self>,
        items: IntTensor<Self>,
        long: LongRows,
    ) -> FloatTensor<Self>;
}

impl GatherRows for Flex {
    fn gather_rows(
        table: FloatTensor<Self>,
        index: IntTensor<Self>,
        _offsets: IntTensor<Self>,
        _items: IntTensor<Self>,
        _long: LongRows,
    ) -> FloatTensor<Self> {
        let width = table.shape()[1];
        let index = ints(&index);
        let rows = rows::gather_rows(&floats(&table), &index, width);
        from_floats(rows, [index.len(), width])
    }

    fn segment_sum(
        value: FloatTensor<Self>,
        offsets: IntTensor<Self>,
        items: IntTensor<Self>,
        _long: LongRows,
    ) -> FloatTensor<Self> {
        let width = value.shape()[1];
        let (offsets, items) = (ints(&offsets), ints(&items));
        let sums = rows::segment_sum(&floats(&value), &offsets, &items, width);
        from_floats(sums, [offsets.len().saturating_sub(1), width])
    }
}

impl<B: GatherRows, C: CheckpointStrategy> GatherRows for Autodiff<B, C> {
    fn gather_rows(
        table: FloatTensor<Self>,
        index: IntTensor<Self>,
        offsets: IntTensor<Self>,
        items: IntTensor<Self>,
        long: LongRows,
    ) -> FloatTensor<Self> {
        let inputs = [table.node()];
        let table = table.into_primitive();
        let out = B::gather_rows(table, index, offsets.clone(), items.clone(), long);
        let uses = (offsets, items, long);
        differentiable::<B, C, _, 1>(inputs, uses, out, |(offsets, items, long), grad| {
            let _operation = profiler::operation("gather_rows_backward", Kind::Kernel, || {
                let (uses, rows) = (grad.shape()[0], offsets.shape()[0].saturating_sub(1));
                costs::segment_sum(uses, rows, grad.shape()[1])
            });
            [B::segment_sum(grad, offsets, items, long)]
        })
    }

    fn segment_sum(
        value: FloatTensor<Self>,
        offsets: IntTensor<Self>,
        items: IntTensor<Self>,
        long: LongRows,
    ) -> FloatTensor<Self> {
        // The transpose of gather_rows needs an index, which this operation is not given:
        // segment_sum is used in backward passes only.
        let _ = (value, offsets, items, long);
        unreachable!("segment_sum is not differentiable")
    }
}

/// `table[index[i]]`, `[n, width]`, for `table` `[rows, width]` and `index` `[n]`;
/// `uses` is the inverse of `index`, for the backward.
pub fn gather_rows(table: Tensor<2>, index: Tensor<1, Int>, uses: Uses) -> Tensor<2> {
    let _operation = profiler::operation("gather_rows", Kind::Kernel, || {
        costs::gather(index.dims()[0], table.dims()[1])
    });
    Tensor::from_dispatch(Dispatch::gather_rows(
        table.into_dispatch(),
        index.into_dispatch(),
        uses.offsets.into_dispatch(),
        uses.items.into_dispatch(),
        uses.long,
    ))
}
