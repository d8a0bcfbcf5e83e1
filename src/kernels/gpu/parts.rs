//! Parts of an array on a GPU: the same memory, from another place on.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::tensor::{DType, Shape};

use super::memories::part;
use crate::kernels::parts::Parts;

impl Parts for CubeBackend {
    fn int_part(packed: IntTensor<Self>, first: usize, shape: Shape) -> IntTensor<Self> {
        part(&packed, first, shape, packed.dtype)
    }

    fn float_part(packed: IntTensor<Self>, first: usize, shape: Shape) -> FloatTensor<Self> {
        part(&packed, first, shape, DType::F32)
    }
}
