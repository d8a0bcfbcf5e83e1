//! What the machine reaches: a plain copy of much memory, and one large matrix product.
//!
//! The copy of 64 MiB is larger than usual last-level caches, so operations on a batch,
//! whose arrays stay in the cache, may be faster than it.

use std::time::Instant;

use burn::tensor::{Device, ExecutionError, Tensor, TensorData};
use rayon::prelude::*;
use serde::Serialize;

/// Rows, inner width and columns of the product that speeds are compared with: that of the
/// updater's largest product on Wikipedia when nothing is shared between rows.
pub const PRODUCT: [usize; 3] = [19_800, 472, 300];

/// Products that are timed; the median counts.
pub const PRODUCTS: usize = 11;

/// Copies that are timed; the median counts.
const COPIES: usize = 7;

/// Numbers of the large copy: 64 MiB.
pub const LARGE: usize = 1 << 24;

/// Bytes that measuring takes at most: the copy's source and what allocators keep of two of its results, and
/// the product's matrices.
pub(crate) const MEASURING_BYTES: u64 = {
    let [rows, inner, columns] = PRODUCT;
    4 * (3 * LARGE + rows * inner + inner * columns + rows * columns) as u64
};

/// Numbers that one task copies at least.
const TASK: usize = 1 << 14;

/// Rates of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Machine {
    /// 10^9 bytes per second, read and written ones, of a plain copy.
    pub copy_gb_per_s: f64,
    /// 10^9 floating-point operations per second of an f32 product of [`PRODUCT`].
    pub matmul_gflops: f64,
    /// Worker threads.
    pub threads: usize,
}

impl Machine {
    /// Measures `device`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn measure(device: &Device) -> Result<Machine, ExecutionError> {
        Ok(Machine {
            copy_gb_per_s: copy_gb_per_s(device)?,
            matmul_gflops: matmul_gflops(device)?,
            threads: rayon::current_num_threads(),
        })
    }
}

/// Whether `device` is the CPU backend, whose operations run when they are called.
pub(crate) fn is_cpu(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

/// A plain copy of `numbers` f32, to be called again and again: on the CPU device a memcpy on
/// all threads, on a GPU burn's `x + 1`, which is enqueued.
pub fn copy(numbers: usize, device: &Device) -> Box<dyn FnMut() + Send> {
    if is_cpu(device) {
        let from = vec![1.0f32; numbers];
        let mut to = vec![0.0f32; numbers];
        return Box::new(move || {
            to.par_chunks_mut(TASK)
                .zip(from.par_chunks(TASK))
                .for_each(|(to, from)| to.copy_from_slice(from));
            std::hint::black_box(&mut to);
        });
    }
    let from = Tensor::<1>::ones([numbers], device);
    Box::new(move || drop(from.clone() + 1.0))
}

fn copy_gb_per_s(device: &Device) -> Result<f64, ExecutionError> {
    let mut once = copy(LARGE, device);
    let seconds = median_seconds(COPIES, || {
        once();
        device.sync()
    })?;
    Ok(8.0 * LARGE as f64 / seconds / 1e9)
}

/// Burn's f32 product of [`PRODUCT`] on `device`, to be called again and again.
pub fn product(device: &Device) -> impl FnMut() -> Tensor<2> + Send + use<> {
    let [rows, inner, columns] = PRODUCT;
    // Any numbers without zeros and subnormals do.
    let matrix = |shape: [usize; 2]| {
        let count = shape[0] * shape[1];
        let numbers: Vec<f32> = (0..count)
            .map(|i| (i % 251) as f32 / 251.0 - 0.498)
            .collect();
        Tensor::<2>::from_data(TensorData::new(numbers, shape), device)
    };
    let (left, right) = (matrix([rows, inner]), matrix([inner, columns]));
    move || left.clone().matmul(right.clone())
}

/// 10^9 operations per second of a [`product`] that takes so many seconds.
pub fn product_gflops(seconds: f64) -> f64 {
    let [rows, inner, columns] = PRODUCT;
    2.0 * (rows * inner * columns) as f64 / seconds / 1e9
}

/// GFLOP/s of [`product`] on `device`: the median of several, each until the device has finished,
/// after a warm-up.
///
/// # Errors
/// When the device fails.
pub fn matmul_gflops(device: &Device) -> Result<f64, ExecutionError> {
    let mut once = product(device);
    let seconds = median_seconds(PRODUCTS, || {
        let product = once();
        device.sync()?;
        drop(product);
        Ok(())
    })?;
    Ok(product_gflops(seconds))
}

/// The middle of some values, at least one, or the mean of the two middle ones.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    }
}

/// Seconds of `run`: the median of `times`, after three that don't count.
///
/// # Errors
/// Those of `run`.
pub fn median_seconds<E>(times: usize, mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    for _ in 0..3 {
        run()?;
    }
    let mut seconds = Vec::with_capacity(times);
    for _ in 0..times.max(1) {
        let begin = Instant::now();
        run()?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    Ok(median(&seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middle_ones() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
