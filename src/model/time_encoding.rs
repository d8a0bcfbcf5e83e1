//! Time encoding cos(Δt ω + φ) with trained or fixed frequencies and phases.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;

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
}
