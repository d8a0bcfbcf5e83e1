//! Launches of a step of Adam: one for all parameters whose gradients lie in six memories, since moments,
//! parameters and these are the eight storage buffers that every adapter can bind.

use burn::backend::TensorMetadata;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::{DType, Shape};

use super::memories::{Memories, Place, part, side_by_side};
use super::wgsl::{self, FINITE, KernelSpec, ROWS};
use crate::kernels::adam::{Adam, AdamState, AdamStep, BESIDE};
use crate::kernels::float_list::FloatList;

/// Memories that a launch binds beside moments and new parameters.
const SOURCES: usize = 6;

/// Most parameters of a launch.
const PARAMETERS: usize = 32;

/// `shaders/adam.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "adam",
    source: include_str!("../../../shaders/adam.wgsl"),
    shared: &[ROWS, FINITE],
    workgroup: 64,
    storage_buffers: 2 + SOURCES as u32,
    variants: &[
        &[("CLIPPED", 0), ("PARAMETERS", PARAMETERS as u32)],
        &[("CLIPPED", 1), ("PARAMETERS", PARAMETERS as u32)],
    ],
};

impl Adam for CubeBackend {
    fn adam(
        state: AdamState<Self>,
        gradients: FloatList<Self>,
        places: Vec<usize>,
        step: AdamStep,
    ) -> AdamState<Self> {
        let moments = wgsl::writable(state.moments);
        let weights = Weights::of(&moments, state.parameters.0);
        let mut launch = Launch::new(&moments, &weights.numbers, step);
        let gradients = gradients.0.into_iter().map(into_contiguous);
        for ((parameter, gradient), place) in weights.each.iter().zip(gradients).zip(places) {
            if parameter.shape.num_elements() > 0 {
                launch.add(parameter, &weights.old, &gradient, place);
            }
        }
        launch.submit();
        AdamState {
            parameters: FloatList(weights.moved()),
            moments,
        }
    }
}

/// A parameter: where its old numbers are, and where its new ones go.
struct Parameter {
    shape: Shape,
    old: Place,
    /// Its place among all new ones.
    new: usize,
}

/// All parameters of a step.
struct Weights {
    /// What the new ones are written to.
    numbers: CubeTensor,
    /// Where the old ones are.
    old: Memories,
    each: Vec<Parameter>,
}

impl Weights {
    /// In place where they lie in one memory that nobody else holds, as those of the step before do; else side
    /// by side in a new one beside `like`.
    fn of(like: &CubeTensor, parameters: Vec<CubeTensor>) -> Weights {
        let mut old = Memories::default();
        let each: Vec<_> = parameters
            .into_iter()
            .map(into_contiguous)
            .map(|parameter| {
                let shape = parameter.shape();
                let nowhere = Place {
                    memory: 0,
                    first: 0,
                };
                let place = match shape.num_elements() {
                    0 => nowhere,
                    _ => old.place(&parameter),
                };
                (shape, place)
            })
            .collect();
        // The parameters themselves are gone: what is left holds each memory once.
        let (numbers, new) = match old.all() {
            [memory] if memory.can_mut() && are_apart(&each) => (
                memory.clone(),
                each.iter().map(|(_, at)| at.first).collect(),
            ),
            _ => {
                let shapes = each.iter().map(|(shape, _)| shape.num_elements());
                let (begins, numbers) = side_by_side(shapes);
                (wgsl::empty(like, [numbers]), begins)
            }
        };
        let each = each.into_iter().zip(new);
        Weights {
            numbers,
            old,
            each: each
                .map(|((shape, old), new)| Parameter { shape, old, new })
                .collect(),
        }
    }

    /// The new parameters.
    fn moved(self) -> Vec<CubeTensor> {
        let Weights { numbers, each, .. } = self;
        let moved = each.into_iter().map(|of| match of.shape.num_elements() {
            0 => wgsl::empty(&numbers, of.shape),
            _ => part(&numbers, of.new, of.shape, DType::F32),
        });
        moved.collect()
    }
}

/// Whether no number of one memory belongs to two of these parameters.
fn are_apart(parameters: &[(Shape, Place)]) -> bool {
    let mut ranges: Vec<_> = parameters
        .iter()
        .map(|(shape, at)| (at.first, at.first + shape.num_elements()))
        .filter(|(begin, end)| begin < end)
        .collect();
    ranges.sort_unstable();
    ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

/// Parameters that are gathered until no more fit into a launch.
struct Launch<'a> {
    moments: &'a CubeTensor,
    weights: &'a CubeTensor,
    step: AdamStep,
    sources: Memories,
    /// Eight numbers for each parameter, as the shader has them.
    table: Vec<u32>,
    groups: usize,
}

impl<'a> Launch<'a> {
    fn new(moments: &'a CubeTensor, weights: &'a CubeTensor, step: AdamStep) -> Launch<'a> {
        Launch {
            moments,
            weights,
            step,
            sources: Memories::default(),
            table: Vec::new(),
            groups: 0,
        }
    }

    /// Adds a parameter whose old numbers are in one of the memories `old` and whose moments begin at `place`.
    fn add(&mut self, parameter: &Parameter, old: &Memories, gradient: &CubeTensor, place: usize) {
        let memory = &old.all()[parameter.old.memory];
        let in_place = Memories::same(memory, self.weights);
        let with_both = |sources: &Memories| match in_place {
            true => sources.with(&[gradient]),
            false => sources.with(&[gradient, memory]),
        };
        if with_both(&self.sources) > SOURCES || self.table.len() == 8 * PARAMETERS {
            self.submit();
        }
        let gradient = self.sources.place(gradient);
        let old = match in_place {
            true => SOURCES,
            false => self.sources.place(memory).memory,
        };
        let numbers = parameter.shape.num_elements();
        self.groups += wgsl::groups_of(numbers, FORWARD.workgroup);
        let of = [
            self.groups,
            numbers,
            place,
            parameter.new,
            old,
            parameter.old.first,
            gradient.memory,
            gradient.first,
        ];
        self.table.extend(of.map(|number| number as u32));
    }

    /// Launches what was added, if there is anything.
    fn submit(&mut self) {
        let step = &self.step;
        let all = (self.moments.shape().num_elements() - BESIDE) / 2;
        let mut sizes = vec![
            all as u32,
            step.beta_1.to_bits(),
            step.beta_2.to_bits(),
            step.epsilon.to_bits(),
            step.step_size.to_bits(),
            step.correction.to_bits(),
            step.number.to_bits(),
            step.keep.to_bits(),
        ];
        sizes.append(&mut self.table);
        sizes.resize(8 + 8 * PARAMETERS, 0);
        let mut buffers = vec![self.moments, self.weights];
        buffers.extend(self.sources.filled(SOURCES, self.moments));
        wgsl::launch(
            &FORWARD,
            &[
                ("CLIPPED", u32::from(step.clip_norm.is_some())),
                ("PARAMETERS", PARAMETERS as u32),
            ],
            self.groups,
            &buffers,
            &sizes,
        );
        self.sources = Memories::default();
        self.groups = 0;
    }
}
