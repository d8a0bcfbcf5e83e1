//! CPU kernel of `adam.wgsl`.

use multiversion::multiversion;

use crate::kernels::costs;
use crate::parallel;

/// Numbers that one task takes.
const CHUNK: usize = 1 << 12;

/// Constants of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Learning rate / (1 − β₁^t).
    pub step_size: f32,
    /// 1 / √(1 − β₂^t).
    pub correction: f32,
    /// t, which is exact up to 2^24.
    pub number: f32,
    /// What a parameter is multiplied by before it moves.
    pub keep: f32,
    /// Largest norm of all gradients of the step together, if there is one.
    pub clip_norm: Option<f32>,
}

impl AdamStep {
    /// Step `t` (from 1) with PyTorch's constants (0.9, 0.999, 1e-8).
    pub fn new(learning_rate: f64, t: u32) -> AdamStep {
        let (beta_1, beta_2) = (0.9f64, 0.999f64);
        AdamStep {
            beta_1: beta_1 as f32,
            beta_2: beta_2 as f32,
            epsilon: 1e-8,
            step_size: (learning_rate / (1.0 - beta_1.powf(f64::from(t)))) as f32,
            correction: (1.0 / (1.0 - beta_2.powf(f64::from(t))).sqrt()) as f32,
            number: t as f32,
            keep: 1.0,
            clip_norm: None,
        }
    }

    /// Step `t` (from 1) of plain gradient descent, θ − η g: Adam whose averages forget at once and
    /// whose divisor is 1.
    pub fn sgd(learning_rate: f64, t: u32) -> AdamStep {
        AdamStep {
            beta_1: 0.0,
            beta_2: 0.0,
            epsilon: 1.0,
            step_size: learning_rate as f32,
            correction: 0.0,
            number: t as f32,
            keep: 1.0,
            clip_norm: None,
        }
    }

    /// The same after parameters have lost the share `decay` (learning rate × weight decay), as in
    /// AdamW (Loshchilov and Hutter, ICLR 2019) and in PyTorch.
    #[must_use]
    pub fn with_decay(self, decay: f64) -> AdamStep {
        AdamStep {
            keep: (1.0 - decay) as f32,
            ..self
        }
    }
}

/// Numbers that take a step; all four slices have the same length.
#[derive(Debug)]
pub(crate) struct Numbers<'a> {
    /// The numbers of a parameter.
    pub(crate) parameter: &'a mut [f32],
    /// Its gradient.
    pub(crate) gradient: &'a [f32],
    /// First moments.
    pub(crate) first: &'a mut [f32],
    /// Second moments.
    pub(crate) second: &'a mut [f32],
}

impl<'a> Numbers<'a> {
    /// The same, some after the other.
    fn chunks(self) -> impl Iterator<Item = Numbers<'a>> {
        let moments = self
            .first
            .chunks_mut(CHUNK)
            .zip(self.second.chunks_mut(CHUNK));
        let numbers = self
            .parameter
            .chunks_mut(CHUNK)
            .zip(self.gradient.chunks(CHUNK));
        numbers
            .zip(moments)
            .map(|((parameter, gradient), (first, second))| Numbers {
                parameter,
                gradient,
                first,
                second,
            })
    }
}

/// One step of all `parameters` in place with the gradients times `scale`. Returns whether all second moments,
/// and whether all new parameters, are finite: a moment is not where its gradient is not, or where
/// the square of that overflows.
///
/// The small ones are shared out with the large ones: most parameters are a bias or a norm of a hundred numbers.
pub(crate) fn adam(parameters: Vec<Numbers<'_>>, step: AdamStep, scale: f32) -> [bool; 2] {
    let chunks: Vec<_> = parameters.into_iter().flat_map(Numbers::chunks).collect();
    let largest = parallel::map(chunks, |numbers| step_chunk(numbers, step, scale));
    let largest = largest.into_iter();
    let largest = largest.fold([0; 2], |a, b| [a[0].max(b[0]), a[1].max(b[1])]);
    largest.map(|bits| bits < f32::INFINITY.to_bits())
}

/// Steps of some numbers; returns the largest second moment and the largest size of a new
/// parameter, as bits, which order as the numbers do, NaN and infinity last.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn step_chunk(numbers: Numbers<'_>, step: AdamStep, scale: f32) -> [u32; 2] {
    parallel::task(|| costs::adam(numbers.parameter.len()).one());
    let mut largest = [0; 2];
    let moments = numbers.first.iter_mut().zip(numbers.second);
    let parameters = numbers.parameter.iter_mut().zip(numbers.gradient);
    for ((p, &g), (m, v)) in parameters.zip(moments) {
        let g = scale * g;
        *m = step.beta_1 * *m + (1.0 - step.beta_1) * g;
        *v = step.beta_2 * *v + (1.0 - step.beta_2) * g * g;
        *p = *p * step.keep - step.step_size * *m / (v.sqrt() * step.correction + step.epsilon);
        largest[0] = largest[0].max(v.abs().to_bits());
        largest[1] = largest[1].max(p.abs().to_bits());
    }
    largest
}
