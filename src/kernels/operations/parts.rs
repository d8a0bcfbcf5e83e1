//! Parts of an array that was written as one, as tensors of their own: no number is copied on a GPU.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Flex, backend_extension};
use burn::tensor::{Shape, TensorData};

use crate::kernels::flex::{from_floats, ints};

/// Dispatch of a part's making to the backends; `first` is the place of its first number, at a multiple of
/// [`ALIGNED`](crate::kernels::packing::ALIGNED).
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait Parts: Backend {
    /// Integers.
    fn int_part(packed: IntTensor<Self>, first: usize, shape: Shape) -> IntTensor<Self>;

    /// Numbers, of which `packed` has the bits.
    fn float_part(packed: IntTensor<Self>, first: usize, shape: Shape) -> FloatTensor<Self>;
}

impl Parts for Flex {
    fn int_part(packed: IntTensor<Self>, first: usize, shape: Shape) -> IntTensor<Self> {
        let part = ints(&packed)[first..first + shape.num_elements()].to_vec();
        IntTensor::<Self>::from_data(TensorData::new(part, shape))
    }

    fn float_part(packed: IntTensor<Self>, first: usize, shape: Shape) -> FloatTensor<Self> {
        let part = &ints(&packed)[first..first + shape.num_elements()];
        from_floats(bytemuck::cast_slice(part).to_vec(), shape)
    }
}
