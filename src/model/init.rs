//! Initial weights: drawn on the host from counters, so that every device starts from
//! the same bits.

use burn::module::Param;
use burn::tensor::{Device, Shape, Tensor, TensorData};

use crate::sampling::counter_rng::RandomStreams;

/// Draws initial weights one tensor after the other.
#[derive(Debug)]
pub struct Initializer<'a> {
    streams: RandomStreams,
    next: u64,
    device: &'a Device,
}

impl<'a> Initializer<'a> {
    /// Draws from `seed` for `device`.
    pub fn new(seed: u64, device: &'a Device) -> Initializer<'a> {
        Initializer {
            streams: RandomStreams::new(seed, 0, b"weights_"),
            next: 0,
            device,
        }
    }

    /// Uniform in ±`bound`, as PyTorch starts its linear and recurrent layers.
    pub(crate) fn uniform<const D: usize>(
        &mut self,
        shape: [usize; D],
        bound: f64,
    ) -> Param<Tensor<D>> {
        let mut rng = self.streams.at(self.next, 0);
        self.next += 1;
        let values = (0..shape.iter().product())
            .map(|_| ((f64::from(rng.f32_unit()) * 2.0 - 1.0) * bound) as f32)
            .collect();
        self.parameter(values, shape)
    }

    /// Standard-normal numbers.
    pub(crate) fn normal<const D: usize>(&mut self, shape: [usize; D]) -> Param<Tensor<D>> {
        let mut rng = self.streams.at(self.next, 0);
        self.next += 1;
        let values = (0..shape.iter().product())
            .map(|_| {
                // Box and Muller; 1 - u is above 0.
                let radius = (-2.0 * f64::ln(1.0 - f64::from(rng.f32_unit()))).sqrt();
                let angle = std::f64::consts::TAU * f64::from(rng.f32_unit());
                (radius * angle.cos()) as f32
            })
            .collect();
        self.parameter(values, shape)
    }

    /// Given values, row-major.
    pub(crate) fn parameter<const D: usize>(
        &mut self,
        values: Vec<f32>,
        shape: [usize; D],
    ) -> Param<Tensor<D>> {
        let data = TensorData::new(values, Shape::new(shape));
        Param::from_tensor(Tensor::from_data(data, self.device))
    }

    /// The device that the weights are made for.
    pub(crate) fn device(&self) -> &Device {
        self.device
    }
}
