//! Arrays of a batch on their way to a device: on a GPU all of them in one write, on the CPU each as it is.
//!
//! A write to a GPU's buffer costs a staging buffer of its own, and has all that was launched before it submitted
//! first. So what an iteration reads is gathered here, written before its first launch, and taken apart there.

use burn::backend::Dispatch;
#[cfg(feature = "gpu")]
use burn::backend::DispatchDevice;
use burn::tensor::kind::Autodiff;
use burn::tensor::{Device, Int, Shape, Tensor, TensorData};

use super::parts::Parts as _;
use crate::profiler::{self, Kind, Operation, Work};

/// Numbers between the beginnings of arrays that lie side by side: 256 bytes, the largest alignment that WebGPU
/// lets an adapter ask for.
pub const ALIGNED: usize = 64;

/// An array among others that were packed.
#[derive(Debug, Clone, Copy)]
pub struct Packed<const D: usize> {
    /// Its number, or on a GPU the place of its first number.
    at: usize,
    shape: [usize; D],
}

impl<const D: usize> Packed<D> {
    fn numbers(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Arrays that are to be written together.
#[derive(Debug)]
pub struct Packing {
    device: Device,
    together: bool,
    words: Vec<i32>,
    arrays: Vec<TensorData>,
}

impl Packing {
    /// For tensors on `device`, with autodiff where it has it.
    pub fn new(device: &Device) -> Packing {
        Packing {
            together: is_gpu(device),
            device: device.clone(),
            words: Vec::new(),
            arrays: Vec::new(),
        }
    }

    /// Adds integers, row-major.
    pub fn ints<const D: usize>(&mut self, values: &[i32], shape: [usize; D]) -> Packed<D> {
        match self.together {
            true => self.words(values, shape),
            false => self.array(TensorData::new(values.to_vec(), Shape::new(shape)), shape),
        }
    }

    /// Adds numbers, row-major.
    pub fn floats<const D: usize>(&mut self, values: &[f32], shape: [usize; D]) -> Packed<D> {
        match self.together {
            true => self.words(bytemuck::cast_slice(values), shape),
            false => self.array(TensorData::new(values.to_vec(), Shape::new(shape)), shape),
        }
    }

    /// Adds numbers, row-major, without a copy on the CPU.
    pub fn owned_floats<const D: usize>(
        &mut self,
        values: Vec<f32>,
        shape: [usize; D],
    ) -> Packed<D> {
        match self.together {
            true => self.words(bytemuck::cast_slice(&values), shape),
            false => self.array(TensorData::new(values, Shape::new(shape)), shape),
        }
    }

    fn words<const D: usize>(&mut self, words: &[i32], shape: [usize; D]) -> Packed<D> {
        let at = self.words.len();
        self.words.extend(words);
        self.words
            .resize((at + words.len()).next_multiple_of(ALIGNED), 0);
        Packed { at, shape }
    }

    fn array<const D: usize>(&mut self, data: TensorData, shape: [usize; D]) -> Packed<D> {
        self.arrays.push(data);
        Packed {
            at: self.arrays.len() - 1,
            shape,
        }
    }

    /// Writes them.
    pub fn send(self) -> Sent {
        let plain = self.device.clone().inner();
        let count = self.words.len();
        let words = (count > 0).then(|| {
            let _operation = upload(count);
            Tensor::from_data(TensorData::new(self.words, [count]), &plain)
        });
        Sent {
            words,
            arrays: self.arrays.into_iter().map(Some).collect(),
            device: self.device,
        }
    }
}

/// Arrays that were written together; each is taken once.
#[derive(Debug)]
pub struct Sent {
    words: Option<Tensor<1, Int>>,
    arrays: Vec<Option<TensorData>>,
    device: Device,
}

impl Sent {
    /// Integers that were packed.
    ///
    /// # Panics
    /// When they were taken before.
    pub fn ints<const D: usize>(&mut self, packed: Packed<D>) -> Tensor<D, Int> {
        let shape = Shape::new(packed.shape);
        match &self.words {
            _ if packed.numbers() == 0 => Tensor::empty(shape, &self.device),
            Some(words) => {
                let words = words.clone().into_dispatch();
                let part = Dispatch::int_part(words, packed.at, shape);
                on(&self.device, Tensor::from_dispatch(part))
            }
            None => {
                let _operation = upload(packed.numbers());
                Tensor::from_data(self.array(packed.at), &self.device)
            }
        }
    }

    /// Numbers that were packed.
    ///
    /// # Panics
    /// When they were taken before.
    pub fn floats<const D: usize>(&mut self, packed: Packed<D>) -> Tensor<D> {
        let shape = Shape::new(packed.shape);
        match &self.words {
            _ if packed.numbers() == 0 => Tensor::empty(shape, &self.device),
            Some(words) => {
                let words = words.clone().into_dispatch();
                let part = Dispatch::float_part(words, packed.at, shape);
                on(&self.device, Tensor::from_dispatch(part))
            }
            None => {
                let _operation = upload(packed.numbers());
                Tensor::from_data(self.array(packed.at), &self.device)
            }
        }
    }

    fn array(&mut self, at: usize) -> TensorData {
        match self.arrays[at].take() {
            Some(array) => array,
            None => unreachable!("a packed array is taken once"),
        }
    }
}

/// A tensor of a plain device as one of `device`, which is the same with autodiff or without.
fn on<const D: usize, K: Autodiff>(device: &Device, tensor: Tensor<D, K>) -> Tensor<D, K> {
    match device.is_autodiff() {
        true => Tensor::from_inner(tensor),
        false => tensor,
    }
}

/// An upload of so many numbers, for the profile.
pub(crate) fn upload(numbers: usize) -> Operation {
    profiler::operation("upload", Kind::Upload, || Work::new(2 * numbers, 0))
}

#[cfg(feature = "gpu")]
fn is_gpu(device: &Device) -> bool {
    matches!(
        device.clone().inner().as_dispatch(),
        DispatchDevice::Cube(_)
    )
}

#[cfg(not(feature = "gpu"))]
fn is_gpu(_: &Device) -> bool {
    false
}
