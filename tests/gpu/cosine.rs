//! The shaders' cosine at the arguments that time encodings really have.

use burn::tensor::Device;
use mspipe::kernels::time_encoding::time_encoding;

use crate::measured::within;
use crate::on_device;
use crate::operations::{draws, floats, frequencies, numbers};

const WIDTH: usize = 100;

/// Encodings of `delta` with phases 0 on a device.
fn encode(delta: &[f32], device: &Device) -> Vec<f32> {
    let (omega, _) = frequencies(WIDTH);
    let time = [omega, vec![0.0; WIDTH]].concat();
    let time = floats(&time, [2, WIDTH], device);
    numbers(time_encoding(time, floats(delta, [delta.len()], device)))
}

/// 1e-6 against f64 because the shader's polynomial and its reduced angle are f32; 2e-7
/// against the CPU kernel, whose result is f64 rounded once.
fn is_accurate_up_to(longest: f32) {
    let mut delta: Vec<f32> = draws(20, 2000).iter().map(|d| d.abs() * longest).collect();
    delta.extend((0..1000).map(|i| (i as f32).floor() * std::f32::consts::FRAC_PI_2));
    delta.extend([0.0, 1.0, longest]);
    let cpu = encode(&delta, &Device::flex());
    let shader = {
        let delta = delta.clone();
        on_device(move |device| encode(&delta, device))
    };
    let (omega, _) = frequencies(WIDTH);
    let (mut from_exact, mut from_cpu) = (0.0f64, 0.0f64);
    for (i, (&shader, &cpu)) in shader.iter().zip(&cpu).enumerate() {
        let argument = delta[i / WIDTH] * omega[i % WIDTH];
        let exact = f64::from(argument).cos();
        assert!(
            shader.is_finite(),
            "cos({argument}): {shader} against {exact}"
        );
        from_exact = from_exact.max((f64::from(shader) - exact).abs());
        from_cpu = from_cpu.max((f64::from(shader) - f64::from(cpu)).abs());
    }
    within(
        &format!("up to {longest:e}: cos from f64's"),
        from_exact,
        1e-6,
    );
    let what = format!("up to {longest:e}: cos from the CPU kernel's");
    within(&what, from_cpu, 2e-7);
}

#[cfg_attr(test, test)]
pub(crate) fn is_accurate_for_a_month_of_seconds() {
    is_accurate_up_to(2.7e6);
}

#[cfg_attr(test, test)]
pub(crate) fn is_accurate_for_four_years_of_seconds() {
    is_accurate_up_to(1.4e8);
}
