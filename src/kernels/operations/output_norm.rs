//! What follows an attention layer's output product: dropout, relu and layer norm in one
//! launch, their gradients in three. Also layer norm alone.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::backend::{
    Autodiff, Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension,
};
use burn::nn::LayerNorm;
use burn::tensor::{Shape, Tensor};

use crate::kernels::autodiff::differentiable;
use crate::kernels::choice::SOFTWARE;
use crate::kernels::costs;
use crate::kernels::cpu::output_norm as cpu;
use crate::kernels::flex::{floats, from_floats};
use crate::kernels::products::cube::column_sums;
use crate::kernels::wgsl::{self, COUNTER_HASH, FINITE, KernelSpec, ROWS};
use crate::profiler::{self, Kind};

pub use crate::kernels::cpu::output_norm::BeforeNorm;

/// `shaders/output_norm.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "output_norm",
    source: include_str!("../../../shaders/output_norm.wgsl"),
    shared: &[ROWS, COUNTER_HASH, FINITE],
    workgroup: 64,
    storage_buffers: 4,
    variants: &[
        &[("WIDTH", 100)],
        &[("WIDTH", 100), ("WORKGROUP", SOFTWARE.row_workgroup)],
    ],
};

/// `shaders/output_norm_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "output_norm_backward",
    source: include_str!("../../../shaders/output_norm_backward.wgsl"),
    shared: &[ROWS, COUNTER_HASH, FINITE],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[
        &[("WIDTH", 100)],
        &[("WIDTH", 100), ("WORKGROUP", SOFTWARE.row_workgroup)],
    ],
};

/// `shaders/output_norm_backward_sums.wgsl`.
pub(crate) static BACKWARD_SUMS: KernelSpec = KernelSpec {
    name: "output_norm_backward_sums",
    source: include_str!("../../../shaders/output_norm_backward_sums.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 3,
    variants: &[&[("WIDTH", 100)]],
};

/// Gradients of the three inputs, as burn's backends hand them over.
#[derive(ExtensionType)]
pub struct NormGradients<B: Backend> {
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
}

/// Dispatch of [`output_norm`] to the backends.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait OutputNorm: Backend {
    /// See [`output_norm`].
    fn output_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> FloatTensor<Self>;

    /// Gradients of the inputs.
    fn output_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> NormGradients<Self>;
}

/// Constants of the two kernels that take a row per workgroup.
fn row_constants(x: &CubeTensor, width: usize) -> [(&'static str, u32); 2] {
    let workgroup = wgsl::row_workgroup(x, FORWARD.workgroup);
    [("WIDTH", width as u32), ("WORKGROUP", workgroup)]
}

/// The sizes uniform of the two kernels that take a row per workgroup.
fn sizes(rows: usize, before: &BeforeNorm) -> [u32; 8] {
    let dropout = before.dropout;
    let [a, b, c] = dropout.key;
    let (scale, epsilon) = (dropout.scale.to_bits(), cpu::EPSILON.to_bits());
    [
        rows as u32,
        dropout.drop_below,
        scale,
        epsilon,
        a,
        b,
        c,
        before.relu.into(),
    ]
}

impl OutputNorm for CubeBackend {
    fn output_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> FloatTensor<Self> {
        let [x, gamma, beta] = [x, gamma, beta].map(into_contiguous);
        let (rows, width) = (x.shape()[0], x.shape()[1]);
        let out = wgsl::empty(&x, [rows, width]);
        wgsl::launch(
            &FORWARD,
            &row_constants(&x, width),
            rows,
            &[&x, &gamma, &beta, &out],
            &sizes(rows, &before),
        );
        out
    }

    fn output_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> NormGradients<Self> {
        let [x, gamma, grad] = [x, gamma, grad].map(into_contiguous);
        let (rows, width) = (x.shape()[0], x.shape()[1]);
        let d_x = wgsl::empty(&x, [rows, width]);
        let normalised = wgsl::empty(&x, [rows, width]);
        wgsl::launch(
            &BACKWARD,
            &row_constants(&x, width),
            rows,
            &[&x, &gamma, &grad, &d_x, &normalised],
            &sizes(rows, &before),
        );
        let chunks = rows.div_ceil(cpu::CHUNK);
        let partial = wgsl::empty(&x, [chunks, 2 * width]);
        wgsl::launch(
            &BACKWARD_SUMS,
            &[("WIDTH", width as u32)],
            chunks,
            &[&grad, &normalised, &partial],
            &[rows as u32],
        );
        let part = |first: usize| {
            let sums = column_sums(&partial, first, width);
            Self::float_reshape(sums, Shape::new([width]))
        };
        NormGradients {
            x: d_x,
            gamma: part(0),
            beta: part(width),
        }
    }
}

impl OutputNorm for Flex {
    fn output_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> FloatTensor<Self> {
        let out = cpu::output_norm(&floats(&x), &floats(&gamma), &floats(&beta), before);
        from_floats(out, x.shape())
    }

    fn output_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> NormGradients<Self> {
        let width = gamma.shape()[0];
        let (d_x, mut d_gamma) =
            cpu::output_norm_backward(&floats(&x), &floats(&gamma), &floats(&grad), before);
        let d_beta = d_gamma.split_off(width);
        NormGradients {
            x: from_floats(d_x, x.shape()),
            gamma: from_floats(d_gamma, [width]),
            beta: from_floats(d_beta, [width]),
        }
    }
}

impl<B: OutputNorm, C: CheckpointStrategy> OutputNorm for Autodiff<B, C> {
    fn output_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> FloatTensor<Self> {
        let inputs = [x.node(), gamma.node(), beta.node()];
        let [x, gamma, beta] = [x, gamma, beta].map(|tensor| tensor.into_primitive());
        let out = B::output_norm(x.clone(), gamma.clone(), beta, before);
        let kept = (x, gamma, before);
        differentiable::<B, C, _, 3>(inputs, kept, out, |(x, gamma, before), grad| {
            let _operation = profiler::operation("output_norm_backward", Kind::Kernel, || {
                costs::output_norm_backward(x.shape()[0], x.shape()[1])
            });
            let d = B::output_norm_backward(x, gamma, grad, before);
            [d.x, d.gamma, d.beta]
        })
    }

    fn output_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        before: BeforeNorm,
    ) -> NormGradients<Self> {
        let _ = (x, gamma, grad, before);
        unreachable!("first order only")
    }
}

/// Layer norm of each row of `x` `[rows, width]`, after a dropout and a relu if `before` asks
/// for them.
///
/// `norm` gives the parameters, `[width]`; its epsilon must be 1e-5, burn's and PyTorch's
/// default. The draws are those of [`dropout`](super::dropout::dropout()) with the same key.
pub fn output_norm(x: Tensor<2>, norm: &LayerNorm, before: BeforeNorm) -> Tensor<2> {
    let gamma = norm.gamma.val();
    let beta = match &norm.beta {
        Some(beta) => beta.val(),
        None => gamma.zeros_like(),
    };
    let _operation = profiler::operation("output_norm", Kind::Kernel, || {
        let [rows, width] = x.dims();
        costs::output_norm(rows, width)
    });
    Tensor::from_dispatch(Dispatch::output_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        before,
    ))
}
