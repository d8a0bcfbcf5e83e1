//! An RNN cell after its two matrix products. [`mod@super::recurrent_cell`], which calls it, is what
//! autodiff knows.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};

use crate::kernels::costs;
use crate::kernels::cpu::rnn_gates as cpu;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::kernels::wgsl::{self, FINITE, GATES, KernelSpec, ROWS};
use crate::profiler::{self, Kind};

/// `shaders/rnn_gates.wgsl`.
pub static FORWARD: KernelSpec = KernelSpec {
    name: "rnn_gates",
    source: include_str!("../../../shaders/rnn_gates.wgsl"),
    shared: &[ROWS, FINITE, GATES],
    workgroup: 64,
    storage_buffers: 5,
    variants: &[&[("WIDTH", 100)]],
};

/// `shaders/rnn_gates_backward.wgsl`.
pub static BACKWARD: KernelSpec = KernelSpec {
    name: "rnn_gates_backward",
    source: include_str!("../../../shaders/rnn_gates_backward.wgsl"),
    shared: &[ROWS],
    workgroup: 64,
    storage_buffers: 4,
    variants: &[&[("WIDTH", 100)]],
};

/// Dispatch of [`rnn_gates`] to the backends.
#[backend_extension(Cube, Flex)]
pub trait RnnGates: Backend {
    /// See [`rnn_gates`].
    fn rnn_gates(
        from_input: FloatTensor<Self>,
        from_memory: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Gradient of either product, from the forward pass's result `out`.
    fn rnn_gates_backward(
        out: FloatTensor<Self>,
        active: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl RnnGates for CubeBackend {
    fn rnn_gates(
        from_input: FloatTensor<Self>,
        from_memory: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let [from_input, from_memory, hidden, active] =
            [from_input, from_memory, hidden, active].map(into_contiguous);
        let (rows, width) = (hidden.shape()[0], hidden.shape()[1]);
        let out = wgsl::empty(&hidden, [rows, width]);
        wgsl::launch(
            &FORWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(rows * width, FORWARD.workgroup),
            &[&from_input, &from_memory, &hidden, &active, &out],
            &[rows as u32],
        );
        out
    }

    fn rnn_gates_backward(
        out: FloatTensor<Self>,
        active: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [out, active, grad] = [out, active, grad].map(into_contiguous);
        let (rows, width) = (out.shape()[0], out.shape()[1]);
        let d_product = wgsl::empty(&out, [rows, width]);
        wgsl::launch(
            &BACKWARD,
            &[("WIDTH", width as u32)],
            wgsl::groups_of(rows * width, BACKWARD.workgroup),
            &[&out, &active, &grad, &d_product],
            &[rows as u32],
        );
        d_product
    }
}

impl RnnGates for Flex {
    fn rnn_gates(
        from_input: FloatTensor<Self>,
        from_memory: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        active: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let shape = hidden.shape();
        let out = cpu::rnn_gates(
            &floats(&from_input),
            &floats(&from_memory),
            &floats(&hidden),
            &ints(&active),
            shape[1],
        );
        from_floats(out, shape)
    }

    fn rnn_gates_backward(
        out: FloatTensor<Self>,
        active: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let shape = out.shape();
        let d = cpu::rnn_gates_backward(&floats(&out), &ints(&active), &floats(&grad), shape[1]);
        from_floats(d, shape)
    }
}

/// New rows `[rows, width]` of an RNN cell with tanh, from its two products, each
/// `[rows, width]`.
///
/// `hidden` `[rows, width]` is a constant (it comes from the node memory); rows whose
/// `active` (`[rows]`) is 0 keep it.
pub fn rnn_gates(
    from_input: Tensor<2>,
    from_memory: Tensor<2>,
    hidden: Tensor<2>,
    active: Tensor<1, Int>,
) -> Tensor<2> {
    let _operation = profiler::operation("rnn_gates", Kind::Kernel, || {
        costs::rnn_gates(hidden.shape().num_elements())
    });
    Tensor::from_dispatch(Dispatch::rnn_gates(
        from_input.into_dispatch(),
        from_memory.into_dispatch(),
        hidden.into_dispatch(),
        active.into_dispatch(),
    ))
}

/// Gradient of either product of [`rnn_gates`] `[rows, width]`, which are the same, from the new
/// rows `out` and their gradient `grad`.
pub fn rnn_gates_backward(out: Tensor<2>, active: Tensor<1, Int>, grad: Tensor<2>) -> Tensor<2> {
    let _operation = profiler::operation("rnn_gates_backward", Kind::Kernel, || {
        costs::rnn_gates_backward(out.shape().num_elements())
    });
    Tensor::from_dispatch(Dispatch::rnn_gates_backward(
        out.into_dispatch(),
        active.into_dispatch(),
        grad.into_dispatch(),
    ))
}
