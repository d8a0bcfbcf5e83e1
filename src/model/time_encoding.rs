//! Time encoding cos(Δt ω + φ) with trained or fixed frequencies and phases.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use crate::kernels;

/// Frequencies ω and phases φ of an encoding.
#[derive(Module, Debug)]
pub struct TimeEncoding {
    /// `[2, width]`: ω, then φ.
    pub time: Param<Tensor<2>>,
}

impl TimeEncoding {
    /// Starts from ω = 10^-(0..9), evenly spaced in the exponent, and φ = 0 (TGAT, TGN).
    /// They stay there where the model's time encoding is not trained.
    pub(crate) fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> TimeEncoding {
        let width = config.time_width;
        let step = 9.0 / (width.max(2) - 1) as f64;
        let mut values: Vec<f32> = (0..width)
            .map(|c| 10f64.powf(-(c as f64) * step) as f32)
            .collect();
        values.resize(2 * width, 0.0);
        let time = init.parameter(values, [2, width]);
        TimeEncoding {
            time: if config.train_time_encoding {
                time
            } else {
                time.set_require_grad(false)
            },
        }
    }

    /// Encodings `[n, width]` of the time differences `delta_t` `[n]`.
    pub(crate) fn forward(&self, delta_t: Tensor<1>) -> Tensor<2> {
        kernels::time_encoding::time_encoding(self.time.val(), delta_t)
    }

    /// Encoding of no time difference, cos φ, `[1, width]`.
    pub(crate) fn of_zero(&self) -> Tensor<2> {
        self.forward(Tensor::from_floats([0.0], &self.time.val().device()))
    }
}
