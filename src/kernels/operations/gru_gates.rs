//! Gates of a GRU cell after its two matrix products. [`mod@super::recurrent_cell`], which calls them,
//! is what autodiff knows.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};

use crate::kernels::costs;
use crate::kernels::cpu::gru_gates as cpu;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::kernels::wgsl::{self, FINITE, GATES, KernelSpec, ROWS};
use crate::profiler::{self, Kind};

/// `shaders/gru_gates.wgsl`.
pub static FORWARD: KernelSpec = KernelSpec {
    name: "gru_gates",
    source: include_str!("../../../shaders/gru_gates.wgsl"),
    shared: &[ROWS, FINITE, GATES],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/gru_gates_backward.wgsl`.
pub static BACKWARD: KernelSpec = KernelSpec {
    name: "gru_gates_backward",
    source: include_str!("../../../shaders/gru_gates_backward.wgsl"),
    shared: &[ROWS, FINITE, GATES],
    workgroup: 64,
    storage_buffers: 7,
    variants: &[&[("WIDTH", 100)]],
};

/// Gradients of the two products, as burn's backends hand them over.
#[derive(ExtensionType)]
pub struct GateGradients<B: Backend> {
    pub(super) from_input: FloatTensor<B>,
    pub(super) from_hidden: FloatTensor<B>,
}

/// Dispatch of [`gru_gates`] to the backends.
#[backend_extension(Cube, Flex)]
pub trait GruGates: Backend {
    /// See [`gru_gates`].
    fn gru_gates(
        from_input: FloatTensor<Self>,
        from_hidden: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Gradients of the two products.
    fn gru_gates_backward(
        from_input: FloatTensor<Self>,
        from_hidden: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> GateGradients<Self>;
}

impl GruGates for CubeBackend {
    fn gru_gates(
        from_input: FloatTensor<Self>,
        from_hidden: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let [from_input, from_hidden, hidden, active] =
            [from_input, from_hidden, hidden, active].map(into_contiguous);
        let (rows, width) = (hidden.shape()[0], hidden.shape()[1]);
        let out = wgsl::empty(&hidden, [rows, width]);
        wgsl::launch(
            &FORWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(rows * width, FORWARD.workgroup),
            &[&from_input, &from_hidden, &hidden, &active, &out],
            &[rows as u32],
        );
        out
    }

    fn gru_gates_backward(
        from_input: FloatTensor<Self>,
        from_hidden: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> GateGradients<Self> {
        let [from_input, from_hidden, hidden, active, grad] =
            [from_input, from_hidden, hidden, active, grad].map(into_contiguous);
        let (rows, width) = (hidden.shape()[0], hidden.shape()[1]);
        let d_from_input = wgsl::empty(&hidden, [rows, 3 * width]);
        let d_from_hidden = wgsl::empty(&hidden, [rows, 3 * width]);
        wgsl::launch(
            &BACKWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(rows * width, BACKWARD.workgroup),
            &[
                &from_input,
                &from_hidden,
                &hidden,
                &active,
                &grad,
                &d_from_input,
                &d_from_hidden,
            ],
            &[rows as u32],
        );
        GateGradients {
            from_input: d_from_input,
            from_hidden: d_from_hidden,
        }
    }
}

impl GruGates for Flex {
    fn gru_gates(
        from_input: FloatTensor<Self>,
        from_hidden: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let (rows, width) = (hidden.shape()[0], hidden.shape()[1]);
        let out = cpu::gru_gates(
            &floats(&from_input),
            &floats(&from_hidden),
            &floats(&hidden),
            &ints(&active),
            width,
        );
        from_floats(out, [rows, width])
    }

    fn gru_gates_backward(
        from_input: FloatTensor<Self>,
        from_hidden: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> GateGradients<Self> {
        let (rows, width) = (hidden.shape()[0], hidden.shape()[1]);
        let (d_from_input, d_from_hidden) = cpu::gru_gates_backward(
            &floats(&from_input),
            &floats(&from_hidden),
            &floats(&hidden),
            &ints(&active),
            &floats(&grad),
            width,
        );
        GateGradients {
            from_input: from_floats(d_from_input, [rows, 3 * width]),
            from_hidden: from_floats(d_from_hidden, [rows, 3 * width]),
        }
    }
}

/// New rows `[rows, width]` of a GRU cell from its two products with the gates packed as
/// PyTorch packs them (r, z, n), each `[rows, 3 width]`.
///
/// `hidden` `[rows, width]` is a constant (it comes from the node memory); rows whose
/// `active` (`[rows]`) is 0 keep it.
pub fn gru_gates(
    from_input: Tensor<2>,
    from_hidden: Tensor<2>,
    hidden: Tensor<2>,
    active: Tensor<1, Int>,
) -> Tensor<2> {
    let _operation = profiler::operation("gru_gates", Kind::Kernel, || {
        costs::gru_gates(hidden.shape().num_elements())
    });
    Tensor::from_dispatch(Dispatch::gru_gates(
        from_input.into_dispatch(),
        from_hidden.into_dispatch(),
        hidden.into_dispatch(),
        active.into_dispatch(),
    ))
}

/// Gradients of the two products of [`gru_gates`], `[rows, 3 width]` each, from its inputs and the
/// gradient `grad` of the new rows.
pub fn gru_gates_backward(
    from_input: Tensor<2>,
    from_hidden: Tensor<2>,
    hidden: Tensor<2>,
    active: Tensor<1, Int>,
    grad: Tensor<2>,
) -> [Tensor<2>; 2] {
    let _operation = profiler::operation("gru_gates_backward", Kind::Kernel, || {
        costs::gru_gates_backward(hidden.shape().num_elements())
    });
    let d = Dispatch::gru_gates_backward(
        from_input.into_dispatch(),
        from_hidden.into_dispatch(),
        hidden.into_dispatch(),
        active.into_dispatch(),
        grad.into_dispatch(),
    );
    [d.from_input, d.from_hidden].map(Tensor::from_dispatch)
}
