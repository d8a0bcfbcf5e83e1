//! Launches of a step of Adam: three parameters with their gradients beside the moments are what fits into the
//! eight storage buffers that every adapter can bind.

use burn::backend::TensorMetadata;
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, FINITE, KernelSpec, ROWS};
use crate::kernels::adam::{Adam, AdamGradients, AdamStep, AdamTensors, BESIDE, GROUP};

/// `shaders/adam.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "adam",
    source: include_str!("../../../shaders/adam.wgsl"),
    shared: &[ROWS, FINITE],
    workgroup: 64,
    storage_buffers: 7,
    variants: &[&[("CLIPPED", 1)]],
};

impl Adam for CubeBackend {
    fn adam(
        state: AdamTensors<Self>,
        gradients: AdamGradients<Self>,
        places: [usize; GROUP],
        step: AdamStep,
    ) -> AdamTensors<Self> {
        let [moments, p0, p1, p2] = [
            state.moments,
            state.parameter_0,
            state.parameter_1,
            state.parameter_2,
        ]
        .map(wgsl::writable);
        let [g0, g1, g2] = [
            gradients.gradient_0,
            gradients.gradient_1,
            gradients.gradient_2,
        ]
        .map(into_contiguous);
        let mut end = 0;
        let ends = [&p0, &p1, &p2].map(|parameter| {
            end += parameter.shape().num_elements();
            end as u32
        });
        let places = places.map(|place| place as u32);
        wgsl::launch(
            &FORWARD,
            &[("CLIPPED", u32::from(step.clip_norm.is_some()))],
            wgsl::groups_of(end, FORWARD.workgroup),
            &[&moments, &p0, &g0, &p1, &g1, &p2, &g2],
            &[
                ends[0],
                ends[1],
                ends[2],
                0,
                places[0],
                places[1],
                places[2],
                0,
                ((moments.shape().num_elements() - BESIDE) / 2) as u32,
                step.beta_1.to_bits(),
                step.beta_2.to_bits(),
                step.epsilon.to_bits(),
                step.step_size.to_bits(),
                step.correction.to_bits(),
                step.number.to_bits(),
                step.keep.to_bits(),
            ],
        );
        AdamTensors {
            moments,
            parameter_0: p0,
            parameter_1: p1,
            parameter_2: p2,
        }
    }
}
