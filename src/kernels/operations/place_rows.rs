//! Rows that are written to their slots of a table.

use burn::backend::tensor::IntTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Int, Tensor};

use crate::kernels::costs;
use crate::kernels::cpu::rows;
use crate::kernels::flex::{ints, ints_mut};
use crate::profiler::{self, Kind};

/// Dispatch of [`place_rows`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait PlaceRows: Backend {
    /// See [`place_rows`].
    fn place_rows(
        table: IntTensor<Self>,
        rows: IntTensor<Self>,
        slot: IntTensor<Self>,
    ) -> IntTensor<Self>;
}

impl PlaceRows for Flex {
    fn place_rows(
        mut table: IntTensor<Self>,
        rows: IntTensor<Self>,
        slot: IntTensor<Self>,
    ) -> IntTensor<Self> {
        let words = table.shape()[1];
        rows::place_rows(ints_mut(&mut table), &ints(&rows), &ints(&slot), words);
        table
    }
}

/// Writes `rows` (`[n, words]`) to the rows `slot` (`[n]`) of `table` (`[slots, words]`), word by word, and returns
/// the table.
///
/// Slots are distinct and lie in the table: shaders run without bounds checks. In place where the caller holds the
/// only handle of the table, else on a copy.
///
/// # Panics
/// When the rows are not of the table's width, are not as many as slots, or have no words; when the table
/// holds no i32.
pub fn place_rows(
    table: Tensor<2, Int>,
    rows: Tensor<2, Int>,
    slot: Tensor<1, Int>,
) -> Tensor<2, Int> {
    let [count, words] = rows.dims();
    assert!(
        words > 0 && words == table.dims()[1] && [count] == slot.dims(),
        "rows and their slots"
    );
    assert!(
        [table.dtype(), rows.dtype(), slot.dtype()] == [DType::I32; 3],
        "words and slots"
    );
    let _operation =
        profiler::operation("place_rows", Kind::Kernel, || costs::gather(count, words));
    Tensor::from_dispatch(Dispatch::place_rows(
        table.into_dispatch(),
        rows.into_dispatch(),
        slot.into_dispatch(),
    ))
}
