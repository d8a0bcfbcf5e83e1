//! Rows of a table of features that lies on the device, by index.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Int, Tensor};

use super::unpack_bits::words_of;
use crate::kernels::costs;
use crate::kernels::cpu::rows;
use crate::kernels::flex::{from_floats, ints};
use crate::profiler::{self, Kind};

/// What a table of features holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The bits of a number, a word each.
    Numbers,
    /// Booleans, 32 to a word; see [`mod@super::unpack_bits`].
    Booleans,
}

impl Stored {
    /// Words of a row of `width` values.
    pub fn words_of(self, width: usize) -> usize {
        match self {
            Stored::Numbers => width,
            Stored::Booleans => words_of(width),
        }
    }
}

/// Dispatch of [`feature_rows`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait StoredRows: Backend {
    /// See [`feature_rows`].
    fn feature_rows(
        table: IntTensor<Self>,
        index: IntTensor<Self>,
        width: usize,
        stored: Stored,
    ) -> FloatTensor<Self>;
}

impl StoredRows for Flex {
    fn feature_rows(
        table: IntTensor<Self>,
        index: IntTensor<Self>,
        width: usize,
        stored: Stored,
    ) -> FloatTensor<Self> {
        let (table, index) = (ints(&table), ints(&index));
        let words = rows::gather_words(&table, &index, stored.words_of(width));
        let values = match stored {
            Stored::Numbers => bytemuck::allocation::cast_vec(words),
            Stored::Booleans => rows::unpack_bits(&words, width),
        };
        from_floats(values, [index.len(), width])
    }
}

/// Rows `index` (`[n]`) of `table` (`[rows, words of a row]`) as numbers, `[n, width]`: those that are
/// stored, bit by bit, or 0 and 1.
///
/// Not differentiable: features are constants.
///
/// # Panics
/// When `width` is 0, the table holds no i32, or its rows have not as many words as that takes.
pub fn feature_rows(
    table: Tensor<2, Int>,
    index: Tensor<1, Int>,
    width: usize,
    stored: Stored,
) -> Tensor<2> {
    let words = table.dims()[1];
    assert!(
        width > 0 && words == stored.words_of(width) && table.dtype() == DType::I32,
        "words of a row"
    );
    let _operation = profiler::operation("feature_rows", Kind::Kernel, || {
        costs::feature_rows(index.dims()[0], [words, width])
    });
    let (table, index) = (table.into_dispatch(), index.into_dispatch());
    Tensor::from_dispatch(Dispatch::feature_rows(table, index, width, stored))
}
