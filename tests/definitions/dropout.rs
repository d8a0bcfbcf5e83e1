//! Dropout with draws that depend on a key and the element's number alone.

use super::counter_hash::counter_hash;

/// A dropout with `probability`, drawn from (`seed`, `stream`, `iteration`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    pub(crate) probability: f32,
    pub(crate) seed: u64,
    pub(crate) stream: u32,
    pub(crate) iteration: u32,
}

impl Draws {
    /// What element `i` is multiplied by: 0 with the probability, else what keeps the mean.
    pub(crate) fn factor(&self, i: usize) -> f64 {
        let key = [
            self.seed as u32,
            (self.seed >> 32) as u32,
            self.iteration * 16 + self.stream,
        ];
        let draw = f64::from(counter_hash([key[0], key[1], key[2], i as u32]));
        // 2^32 draws, of which this share drops, rounded down to a whole one.
        if draw < (f64::from(self.probability) * 4_294_967_296.0).floor() {
            0.0
        } else {
            // f32, as one number a run.
            f64::from(1.0 / (1.0 - self.probability))
        }
    }
}

/// Element by element; also the gradient of `x` from that of the result.
pub(crate) fn dropout(x: &[f64], draws: Draws) -> Vec<f64> {
    let element = |(i, x): (usize, &f64)| x * draws.factor(i);
    x.iter().enumerate().map(element).collect()
}
