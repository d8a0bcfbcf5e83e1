//! The memories that tensors lie in, for kernels of many small tensors: tensors that lie side by side in one
//! memory take one of the eight storage buffers that a kernel can bind.

use burn::backend::wgpu::CubeTensor;
use burn::tensor::{DType, Shape};

use super::wgsl;
use crate::kernels::packing::ALIGNED;

/// Where a tensor begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Number of its memory.
    pub memory: usize,
    /// Numbers before it.
    pub first: usize,
}

/// Distinct memories, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Memories(Vec<CubeTensor>);

impl Memories {
    /// Where `tensor`, which is contiguous and not empty, begins.
    pub(super) fn place(&mut self, tensor: &CubeTensor) -> Place {
        let known = self.number(tensor);
        if known.is_none() {
            self.0.push(whole(tensor));
        }
        Place {
            memory: known.unwrap_or(self.0.len() - 1),
            first: tensor.handle.offset_start.unwrap_or(0) as usize / tensor.dtype.size(),
        }
    }

    /// The number of the memory of `tensor`.
    fn number(&self, tensor: &CubeTensor) -> Option<usize> {
        self.0
            .iter()
            .position(|known| Memories::same(known, tensor))
    }

    /// Whether two tensors lie in one memory.
    pub(super) fn same(a: &CubeTensor, b: &CubeTensor) -> bool {
        let [a, b] = [a, b].map(|tensor| tensor.handle.memory.descriptor().id);
        a == b
    }

    /// How many there would be with those of `tensors`, which lie in different ones.
    pub(super) fn with(&self, tensors: &[&CubeTensor]) -> usize {
        let new = tensors
            .iter()
            .filter(|tensor| self.number(tensor).is_none());
        self.0.len() + new.count()
    }

    /// All of them, whole.
    pub(super) fn all(&self) -> &[CubeTensor] {
        &self.0
    }

    /// So many, the last ones without meaning: a kernel's bindings.
    pub(super) fn filled<'a>(&'a self, count: usize, with: &'a CubeTensor) -> Vec<&'a CubeTensor> {
        let fill = std::iter::repeat(with);
        self.0.iter().chain(fill).take(count).collect()
    }
}

/// All of the memory that a tensor lies in.
fn whole(tensor: &CubeTensor) -> CubeTensor {
    let mut handle = tensor.handle.clone();
    (handle.offset_start, handle.offset_end) = (None, None);
    let numbers = handle.size() as usize / tensor.dtype.size();
    CubeTensor::new_contiguous(
        tensor.client.clone(),
        tensor.device.clone(),
        Shape::new([numbers]),
        handle,
        tensor.dtype,
    )
}

/// Where tensors of so many numbers begin that lie side by side, and the numbers of all of them.
pub(super) fn side_by_side(numbers: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let mut end = 0;
    let begins = numbers.map(|numbers| {
        let begin = end;
        end += numbers.next_multiple_of(ALIGNED);
        begin
    });
    let begins = begins.collect();
    (begins, end)
}

/// The numbers of a contiguous tensor from `first` on, as a tensor of this shape in the same memory.
///
/// # Panics
/// Where the adapter can't bind a buffer that begins there, or `of` ends before.
pub(super) fn part(of: &CubeTensor, first: usize, shape: Shape, dtype: DType) -> CubeTensor {
    let (begin, end) = (4 * first, 4 * (first + shape.num_elements()));
    let alignment = of.client.properties().memory.alignment as usize;
    assert!(begin.is_multiple_of(alignment), "{begin} by {alignment}");
    let behind = of.handle.size_in_used() - end as u64;
    let handle = of.handle.clone();
    CubeTensor::new_contiguous(
        of.client.clone(),
        of.device.clone(),
        shape,
        handle.offset_start(begin as u64).offset_end(behind),
        dtype,
    )
}

/// Uninitialised f32 tensors of these shapes beside `like`, side by side in one memory.
pub(super) fn empty_together<const N: usize>(
    like: &CubeTensor,
    shapes: [Shape; N],
) -> [CubeTensor; N] {
    let (begins, numbers) = side_by_side(shapes.iter().map(Shape::num_elements));
    let all = wgsl::empty(like, [numbers]);
    let mut begins = begins.into_iter();
    shapes.map(|shape| {
        let begin = begins.next().unwrap_or(0);
        match shape.num_elements() {
            // A part of no bytes would be bound up to the buffer's end.
            0 => wgsl::empty(like, shape),
            _ => part(&all, begin, shape, DType::F32),
        }
    })
}
