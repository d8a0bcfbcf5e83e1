//! What JODIE and APAN make of node rows for the roots: layer norm, the rows by root, and JODIE's drift.
//!
//! On the CPU each row is normalised once and the others follow; on an adapter it is one launch, in which roots that
//! share a row normalise it again, and two in the backward, where no row has so many roots that they come in pieces.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, Flex, TensorMetadata,
    backend_extension,
};
use burn::nn::LayerNorm;
use burn::tensor::{Int, Tensor};

use super::gather_rows::{GatherRows, LongRows, Uses};
use super::output_norm::{BeforeNorm, OutputNorm};
use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::time_projection as cpu;
use crate::kernels::flex::{floats, from_floats};
use crate::profiler::{self, Kind, Operation, Work};

/// What gets gradients, or the gradients, as burn's backends take them.
#[derive(ExtensionType, Debug, Clone)]
pub struct NormInputs<B: Backend> {
    /// `[rows, width]`.
    pub table: FloatTensor<B>,
    /// `[width]`.
    pub gamma: FloatTensor<B>,
    /// `[width]`.
    pub beta: FloatTensor<B>,
    /// `[1, width]`; `[1, 0]` without a projection.
    pub weight: FloatTensor<B>,
    /// `[width]`; `[0]` without a projection.
    pub bias: FloatTensor<B>,
}

/// The roots, as burn's backends take them.
#[derive(ExtensionType, Debug, Clone)]
pub struct NormRoots<B: Backend> {
    /// Row of each, `[roots]`.
    pub row: IntTensor<B>,
    /// Roots of each row: offsets `[rows + 1]`.
    pub offsets: IntTensor<B>,
    /// Roots of each row.
    pub items: IntTensor<B>,
    /// `[roots]`; `[0]` without a projection.
    pub recency: FloatTensor<B>,
    /// Rows with many roots.
    pub long: LongRows,
}

/// What is made of the roots: the output and what the backward needs, the rows before the projection on the CPU, on an
/// adapter the parameters behind the output.
#[derive(ExtensionType, Debug, Clone)]
pub struct NormOutput<B: Backend> {
    pub(crate) out: FloatTensor<B>,
    pub(crate) kept: FloatTensor<B>,
}

impl<B: Backend> NormInputs<B> {
    /// Whether a projection follows.
    pub(crate) fn projected(&self) -> bool {
        self.weight.shape().num_elements() > 0
    }
}

/// Dispatch of [`root_norm`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait RootNorm: Backend {
    /// See [`root_norm`].
    fn root_norm(
        #[extension_type] inputs: NormInputs<Self>,
        #[extension_type] roots: NormRoots<Self>,
    ) -> NormOutput<Self>;

    /// Gradients of the inputs, given what the forward has kept.
    fn root_norm_backward(
        #[extension_type] inputs: NormInputs<Self>,
        #[extension_type] roots: NormRoots<Self>,
        kept: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> NormInputs<Self>;
}

/// Begins a part of it on the CPU.
fn begin(name: &'static str, work: impl FnOnce() -> Work) -> Operation {
    profiler::operation(name, Kind::Kernel, work)
}

/// Calls `kernel` with the numbers of a projection of the rows `x` of the roots.
fn with_projection<T>(
    x: &FloatTensor<Flex>,
    inputs: &NormInputs<Flex>,
    roots: &NormRoots<Flex>,
    kernel: impl FnOnce(&cpu::ProjectionInput<'_>) -> T,
) -> T {
    kernel(&cpu::ProjectionInput {
        x: &floats(x),
        recency: &floats(&roots.recency),
        weight: &floats(&inputs.weight),
        bias: &floats(&inputs.bias),
    })
}

impl RootNorm for Flex {
    fn root_norm(inputs: NormInputs<Self>, roots: NormRoots<Self>) -> NormOutput<Self> {
        let projected = inputs.projected();
        let (rows, width) = (inputs.table.shape()[0], inputs.table.shape()[1]);
        let operation = begin("output_norm", || costs::output_norm(rows, width));
        let (table, gamma) = (inputs.table.clone(), inputs.gamma.clone());
        let normed = Self::output_norm(table, gamma, inputs.beta.clone(), BeforeNorm::NOTHING);
        drop(operation);
        let count = roots.row.shape()[0];
        let operation = begin("gather_rows", || costs::gather(count, width));
        let (offsets, items) = (roots.offsets.clone(), roots.items.clone());
        let x = Self::gather_rows(normed, roots.row.clone(), offsets, items, roots.long);
        drop(operation);
        if !projected {
            let kept = inputs.weight;
            return NormOutput { out: x, kept };
        }
        let _operation = begin("time_projection", || {
            costs::time_projection(count, width, false)
        });
        let out = with_projection(&x, &inputs, &roots, cpu::time_projection);
        NormOutput {
            out: from_floats(out, [count, width]),
            kept: x,
        }
    }

    fn root_norm_backward(
        inputs: NormInputs<Self>,
        roots: NormRoots<Self>,
        kept: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> NormInputs<Self> {
        let (count, width) = (grad.shape()[0], grad.shape()[1]);
        let (d_x, weight, bias) = if inputs.projected() {
            let _operation = begin("time_projection_backward", || {
                costs::time_projection(count, width, true)
            });
            let (d_x, mut d_weight) = with_projection(&kept, &inputs, &roots, |input| {
                cpu::time_projection_backward(input, &floats(&grad))
            });
            let d_bias = d_weight.split_off(d_weight.len() / 2);
            (
                from_floats(d_x, [count, width]),
                from_floats(d_weight, inputs.weight.shape()),
                from_floats(d_bias, inputs.bias.shape()),
            )
        } else {
            (grad, inputs.weight, inputs.bias)
        };
        let rows = inputs.table.shape()[0];
        let operation = begin("gather_rows_backward", || {
            costs::segment_sum(count, rows, width)
        });
        let d = Self::segment_sum(d_x, roots.offsets, roots.items, roots.long);
        drop(operation);
        let _operation = begin("output_norm_backward", || {
            costs::output_norm_backward(rows, width)
        });
        let d = Self::output_norm_backward(inputs.table, inputs.gamma, d, BeforeNorm::NOTHING);
        NormInputs {
            table: d.x,
            gamma: d.gamma,
            beta: d.beta,
            weight,
            bias,
        }
    }
}

impl<B: RootNorm, C: CheckpointStrategy> RootNorm for Autodiff<B, C> {
    fn root_norm(inputs: NormInputs<Self>, roots: NormRoots<Self>) -> NormOutput<Self> {
        let nodes = [
            inputs.table.node(),
            inputs.gamma.node(),
            inputs.beta.node(),
            inputs.weight.node(),
            inputs.bias.node(),
        ];
        let inputs = NormInputs::<B> {
            table: inputs.table.into_primitive(),
            gamma: inputs.gamma.into_primitive(),
            beta: inputs.beta.into_primitive(),
            weight: inputs.weight.into_primitive(),
            bias: inputs.bias.into_primitive(),
        };
        let roots = NormRoots::<B> {
            row: roots.row,
            offsets: roots.offsets,
            items: roots.items,
            recency: roots.recency.into_primitive(),
            long: roots.long,
        };
        let NormOutput { out, kept } = B::root_norm(inputs.clone(), roots.clone());
        let state = (inputs, roots, kept.clone());
        let out = differentiable::<B, C, _, 5>(nodes, state, out, |(inputs, roots, kept), grad| {
            let d = B::root_norm_backward(inputs, roots, kept, grad);
            [d.table, d.gamma, d.beta, d.weight, d.bias]
        });
        NormOutput {
            out,
            kept: <Self as AutodiffBackend>::from_inner(kept),
        }
    }

    fn root_norm_backward(
        inputs: NormInputs<Self>,
        roots: NormRoots<Self>,
        kept: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> NormInputs<Self> {
        let _ = (inputs, roots, kept, grad);
        unreachable!("first order only")
    }
}

/// JODIE's projection of an embedding to the time of a query.
#[derive(Debug, Clone)]
pub struct Projection {
    /// r of each root, `[roots]` (constants).
    pub recency: Tensor<1>,
    /// w, `[1, width]`.
    pub weight: Tensor<2>,
    /// b, `[width]`.
    pub bias: Tensor<1>,
}

/// Layer norm of the row of each root, `[roots, width]`, for `table` `[rows, width]` and `row` `[roots]`; with a projection
/// times 1 + r w + b (JODIE, equation 3). `uses` is the inverse of `row`.
///
/// `norm` gives the parameters, `[width]`; its epsilon must be 1e-5, burn's and PyTorch's default.
pub fn root_norm(
    table: Tensor<2>,
    norm: &LayerNorm,
    row: Tensor<1, Int>,
    uses: Uses,
    projection: Option<Projection>,
) -> Tensor<2> {
    let gamma = norm.gamma.val();
    let beta = match &norm.beta {
        Some(beta) => beta.val(),
        None => gamma.zeros_like(),
    };
    let device = table.device();
    let Projection {
        recency,
        weight,
        bias,
    } = projection.unwrap_or_else(|| Projection {
        recency: Tensor::empty([0], &device),
        weight: Tensor::empty([1, 0], &device),
        bias: Tensor::empty([0], &device),
    });
    let inputs = NormInputs::<Dispatch> {
        table: table.into_dispatch(),
        gamma: gamma.into_dispatch(),
        beta: beta.into_dispatch(),
        weight: weight.into_dispatch(),
        bias: bias.into_dispatch(),
    };
    let roots = NormRoots {
        row: row.into_dispatch(),
        offsets: uses.offsets.into_dispatch(),
        items: uses.items.into_dispatch(),
        recency: recency.into_dispatch(),
        long: uses.long,
    };
    Tensor::from_dispatch(Dispatch::root_norm(inputs, roots).out)
}
