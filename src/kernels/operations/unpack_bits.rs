//! Rows of booleans, 32 to a word, as rows of 0 and 1: features cross the bus packed.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};

use crate::kernels::costs;
use crate::kernels::cpu::rows;
use crate::kernels::flex::{from_floats, ints};
use crate::profiler::{self, Kind};

/// Dispatch of [`unpack_bits`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait UnpackBits: Backend {
    /// See [`unpack_bits`].
    fn unpack_bits(words: IntTensor<Self>, width: usize) -> FloatTensor<Self>;
}

impl UnpackBits for Flex {
    fn unpack_bits(words: IntTensor<Self>, width: usize) -> FloatTensor<Self> {
        let rows = words.shape()[0];
        from_floats(rows::unpack_bits(&ints(&words), width), [rows, width])
    }
}

/// Words of a row of `width` booleans.
pub fn words_of(width: usize) -> usize {
    width.div_ceil(32)
}

/// 0 and 1, `[rows, width]`, from `words` `[rows, ceil(width / 32)]`: column c is bit c % 32 of
/// word c / 32 of its row.
///
/// Not differentiable: features are constants.
///
/// # Panics
/// When `width` is 0, or the rows have not as many words as it takes.
pub fn unpack_bits(words: Tensor<2, Int>, width: usize) -> Tensor<2> {
    assert!(
        width > 0 && words.dims()[1] == words_of(width),
        "words of a row"
    );
    let _operation = profiler::operation("unpack_bits", Kind::Kernel, || {
        costs::unpack_bits(words.dims()[0], width)
    });
    Tensor::from_dispatch(Dispatch::unpack_bits(words.into_dispatch(), width))
}
