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
    /// One entry a use.
    pub items: Tensor<1, Int>,
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
    ) -> FloatTensor<Self>;

    /// For each row the sum of the rows of `value` that its items name.
    fn segment_sum(
        value: FloatTensor<Self>,
        offsets: IntTensor<Self>,
        items: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl GatherRows for Flex {
    fn gather_rows(
        table: FloatTensor<Self>,
        index: IntTensor<Self>,
        _offsets: IntTensor<Self>,
        _items: IntTensor<Self>,
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
    ) -> FloatTensor<Self> {
        let inputs = [table.node()];
        let table = table.into_primitive();
        let out = B::gather_rows(table, index, offsets.clone(), items.clone());
        differentiable::<B, C, _, 1>(inputs, (offsets, items), out, |(offsets, items), grad| {
            let _operation = profiler::operation("gather_rows_backward", Kind::Kernel, || {
                let (uses, rows) = (items.shape()[0], offsets.shape()[0].saturating_sub(1));
                costs::segment_sum(uses, rows, grad.shape()[1])
            });
            [B::segment_sum(grad, offsets, items)]
        })
    }

    fn segment_sum(
        value: FloatTensor<Self>,
        offsets: IntTensor<Self>,
        items: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        // The transpose of gather_rows needs an index, which this operation is not given:
        // segment_sum is used in backward passes only.
        let _ = (value, offsets, items);
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
    ))
}
