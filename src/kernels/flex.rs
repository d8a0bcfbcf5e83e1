//! Between the CPU backend's tensors and the slices that the CPU kernels take.

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{Shape, TensorData};

/// A contiguous view of a CPU tensor's numbers (copied only where it is strided).
pub(crate) struct Floats(FloatTensor<Flex>);

impl std::ops::Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let start = self.0.layout().start_offset();
        &self.0.storage()[start..start + self.0.layout().num_elements()]
    }
}

/// The numbers of an f32 tensor.
pub(crate) fn floats(tensor: &FloatTensor<Flex>) -> Floats {
    Floats(tensor.to_contiguous())
}

/// The numbers of an f32 tensor, to be changed: in place unless somebody else holds them.
/// A slice of a tensor shares its parent's storage, hence the range.
pub(crate) fn floats_mut(tensor: &mut FloatTensor<Flex>) -> &mut [f32] {
    if !tensor.layout().is_contiguous() {
        *tensor = tensor.to_contiguous();
    }
    let start = tensor.layout().start_offset();
    let end = start + tensor.layout().num_elements();
    &mut tensor.storage_mut()[start..end]
}

/// A contiguous view of a CPU integer tensor.
pub(crate) struct Ints(IntTensor<Flex>);

impl std::ops::Deref for Ints {
    type Target = [i32];

    fn deref(&self) -> &[i32] {
        let start = self.0.layout().start_offset();
        &self.0.storage()[start..start + self.0.layout().num_elements()]
    }
}

/// The numbers of an i32 tensor.
pub(crate) fn ints(tensor: &IntTensor<Flex>) -> Ints {
    Ints(tensor.to_contiguous())
}

/// The numbers of an i32 tensor, to be changed, as [`floats_mut`] gives those of an f32 tensor.
pub(crate) fn ints_mut(tensor: &mut IntTensor<Flex>) -> &mut [i32] {
    if !tensor.layout().is_contiguous() {
        *tensor = tensor.to_contiguous();
    }
    let start = tensor.layout().start_offset();
    let end = start + tensor.layout().num_elements();
    &mut tensor.storage_mut()[start..end]
}

/// A CPU tensor of `numbers`.
pub(crate) fn from_floats(numbers: Vec<f32>, shape: impl Into<Shape>) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(numbers, shape))
}
