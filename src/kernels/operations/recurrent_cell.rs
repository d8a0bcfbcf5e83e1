//! The recurrent cells that update memory: time encoding, products and gates as one operation.
//!
//! Inputs are split by what they multiply, so that no concatenated
//! `[rows, mail width + time width]` array is made, and mail and memory rows are constants of an
//! iteration, so that the only gradient of an input is that of the time encoding. On the GPU it
//! is a sequence of launches, on the CPU one pass (`cpu/recurrent_cell.rs`).

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, Flex, TensorMetadata,
    backend_extension,
};
use burn::tensor::{Int, Tensor};

use crate::kernels::autodiff::differentiable;
use crate::kernels::costs;
use crate::kernels::cpu::recurrent_cell as cpu;
use crate::kernels::flex::{floats, from_floats, ints};
use crate::profiler::{self, Kind};

/// What a cell reads of a batch, as burn's backends take it.
#[derive(ExtensionType, Debug, Clone)]
pub struct CellRows<B: Backend> {
    /// `[rows, mail width]`.
    pub mail: FloatTensor<B>,
    /// `[rows]`.
    pub delta_t: FloatTensor<B>,
    /// `[rows, width]`.
    pub memory: FloatTensor<B>,
    /// `[rows]`.
    pub active: IntTensor<B>,
}

/// Parameters of a cell, or their gradients, as burn's backends take them.
#[derive(ExtensionType, Debug, Clone)]
pub struct CellWeights<B: Backend> {
    /// `[2, time width]`.
    pub time: FloatTensor<B>,
    /// `[mail width, outputs]`.
    pub from_mail: FloatTensor<B>,
    /// `[time width, outputs]`.
    pub from_time: FloatTensor<B>,
    /// `[width, outputs]`.
    pub from_memory: FloatTensor<B>,
    /// `[outputs]`.
    pub input_bias: FloatTensor<B>,
    /// `[outputs]`.
    pub memory_bias: FloatTensor<B>,
}

/// What a cell makes: the new memory and, of a GRU, its two products; on a GPU also the encoding of the times.
#[derive(ExtensionType, Debug, Clone)]
pub struct CellOutput<B: Backend> {
    pub(crate) memory: FloatTensor<B>,
    pub(crate) from_input: FloatTensor<B>,
    pub(crate) from_memory: FloatTensor<B>,
    pub(crate) encoding: FloatTensor<B>,
}

/// Dispatch of [`recurrent_cell`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff)]
pub trait RecurrentCell: Backend {
    /// See [`recurrent_cell`].
    fn recurrent_cell(
        #[extension_type] rows: CellRows<Self>,
        #[extension_type] weights: CellWeights<Self>,
    ) -> CellOutput<Self>;

    /// Gradients of the parameters.
    fn recurrent_cell_backward(
        #[extension_type] rows: CellRows<Self>,
        #[extension_type] weights: CellWeights<Self>,
        #[extension_type] output: CellOutput<Self>,
        grad: FloatTensor<Self>,
    ) -> CellWeights<Self>;
}

/// Calls `kernel` with the numbers of `rows` and `weights`.
fn with_numbers<T>(
    rows: &CellRows<Flex>,
    weights: &CellWeights<Flex>,
    kernel: impl FnOnce(&cpu::CellInput<'_>) -> T,
) -> T {
    kernel(&cpu::CellInput {
        mail: &floats(&rows.mail),
        delta_t: &floats(&rows.delta_t),
        memory: &floats(&rows.memory),
        active: &ints(&rows.active),
        time: &floats(&weights.time),
        from_mail: &floats(&weights.from_mail),
        from_time: &floats(&weights.from_time),
        from_memory: &floats(&weights.from_memory),
        input_bias: &floats(&weights.input_bias),
        memory_bias: &floats(&weights.memory_bias),
    })
}

impl RecurrentCell for Flex {
    fn recurrent_cell(rows: CellRows<Self>, weights: CellWeights<Self>) -> CellOutput<Self> {
        let shape = rows.memory.shape();
        let outputs = weights.input_bias.shape()[0];
        let output = with_numbers(&rows, &weights, cpu::recurrent_cell);
        let product = |numbers: Vec<f32>| {
            let rows = numbers.len() / outputs;
            from_floats(numbers, [rows, outputs])
        };
        CellOutput {
            memory: from_floats(output.memory, shape),
            from_input: product(output.from_input),
            from_memory: product(output.from_memory),
            // The backward makes it again, a block at a time.
            encoding: from_floats(Vec::new(), [0, weights.time.shape()[1]]),
        }
    }

    fn recurrent_cell_backward(
        rows: CellRows<Self>,
        weights: CellWeights<Self>,
        output: CellOutput<Self>,
        grad: FloatTensor<Self>,
    ) -> CellWeights<Self> {
        let d = with_numbers(&rows, &weights, |input| {
            let made = cpu::CellRows {
                memory: &floats(&output.memory),
                from_input: &floats(&output.from_input),
                from_memory: &floats(&output.from_memory),
            };
            cpu::recurrent_cell_backward(input, &made, &floats(&grad))
        });
        CellWeights {
            time: from_floats(d.time, weights.time.shape()),
            from_mail: from_floats(d.from_mail, weights.from_mail.shape()),
            from_time: from_floats(d.from_time, weights.from_time.shape()),
            from_memory: from_floats(d.from_memory, weights.from_memory.shape()),
            input_bias: from_floats(d.input_bias, weights.input_bias.shape()),
            memory_bias: from_floats(d.memory_bias, weights.memory_bias.shape()),
        }
    }
}

/// Rows, width, mail width, time width and outputs.
fn sizes<B: Backend>(rows: &CellRows<B>, weights: &CellWeights<B>) -> [usize; 5] {
    let (memory, outputs) = (rows.memory.shape(), weights.input_bias.shape()[0]);
    let [mail, time] = [&rows.mail, &weights.time].map(|table| table.shape()[1]);
    [memory[0], memory[1], mail, time, outputs]
}

impl<B: RecurrentCell, C: CheckpointStrategy> RecurrentCell for Autodiff<B, C> {
    fn recurrent_cell(rows: CellRows<Self>, weights: CellWeights<Self>) -> CellOutput<Self> {
        let inputs = [
            weights.time.node(),
            weights.from_mail.node(),
            weights.from_time.node(),
            weights.from_memory.node(),
            weights.input_bias.node(),
            weights.memory_bias.node(),
        ];
        let rows = CellRows::<B> {
            mail: rows.mail.into_primitive(),
            delta_t: rows.delta_t.into_primitive(),
            memory: rows.memory.into_primitive(),
            active: rows.active,
        };
        let weights = CellWeights::<B> {
            time: weights.time.into_primitive(),
            from_mail: weights.from_mail.into_primitive(),
            from_time: weights.from_time.into_primitive(),
            from_memory: weights.from_memory.into_primitive(),
            input_bias: weights.input_bias.into_primitive(),
            memory_bias: weights.memory_bias.into_primitive(),
        };
        let output = B::recurrent_cell(rows.clone(), weights.clone());
        let [from_input, from_memory, encoding] =
            [&output.from_input, &output.from_memory, &output.encoding]
                .map(|made| <Self as AutodiffBackend>::from_inner(made.clone()));
        let memory = output.memory.clone();
        let kept = (rows, weights, output);
        let memory = differentiable::<B, C, _, 6>(inputs, kept, memory, |kept, grad| {
            let (rows, weights, output) = kept;
            let _operation = profiler::operation("recurrent_cell_backward", Kind::Kernel, || {
                costs::recurrent_cell(sizes(&rows, &weights), true)
            });
            let d = B::recurrent_cell_backward(rows, weights, output, grad);
            [
                d.time,
                d.from_mail,
                d.from_time,
                d.from_memory,
                d.input_bias,
                d.memory_bias,
            ]
        });
        CellOutput {
            memory,
            from_input,
            from_memory,
            encoding,
        }
    }

    fn recurrent_cell_backward(
        rows: CellRows<Self>,
        weights: CellWeights<Self>,
        output: CellOutput<Self>,
        grad: FloatTensor<Self>,
    ) -> CellWeights<Self> {
        let _ = (rows, weights, output, grad);
        unreachable!("first order only")
    }
}

/// What a cell reads of a batch: constants.
#[derive(Debug, Clone)]
pub struct CellBatch {
    /// Mail, `[rows, mail width]`.
    pub mail: Tensor<2>,
    /// Time since the last update of each row, `[rows]`.
    pub delta_t: Tensor<1>,
    /// `[rows, width]`.
    pub memory: Tensor<2>,
    /// `[rows]`; rows where it is 0 keep their memory.
    pub active: Tensor<1, Int>,
}

/// Parameters of a cell; `outputs` is three times the width in a GRU, whose gates are packed as
/// PyTorch packs them (r, z, n), and the width in an RNN with tanh.
#[derive(Debug, Clone)]
pub struct CellParameters {
    /// ω, then φ, `[2, time width]`.
    pub time: Tensor<2>,
    /// `[mail width, outputs]`.
    pub from_mail: Tensor<2>,
    /// `[time width, outputs]`.
    pub from_time: Tensor<2>,
    /// `[width, outputs]`.
    pub from_memory: Tensor<2>,
    /// Of the product of `[mail | Φ(Δt)]`, `[outputs]`.
    pub input_bias: Tensor<1>,
    /// Of the memory's product, `[outputs]`.
    pub memory_bias: Tensor<1>,
}

impl CellParameters {
    /// The same without autodiff.
    pub fn inner(self) -> CellParameters {
        CellParameters {
            time: self.time.inner(),
            from_mail: self.from_mail.inner(),
            from_time: self.from_time.inner(),
            from_memory: self.from_memory.inner(),
            input_bias: self.input_bias.inner(),
            memory_bias: self.memory_bias.inner(),
        }
    }
}

/// New memory `[rows, width]`: GRU or RNN cell of `[mail | cos(Δt ω + φ)]` and the old memory.
pub fn recurrent_cell(batch: CellBatch, parameters: CellParameters) -> Tensor<2> {
    let rows = CellRows::<Dispatch> {
        mail: batch.mail.into_dispatch(),
        delta_t: batch.delta_t.into_dispatch(),
        memory: batch.memory.into_dispatch(),
        active: batch.active.into_dispatch(),
    };
    let weights = CellWeights::<Dispatch> {
        time: parameters.time.into_dispatch(),
        from_mail: parameters.from_mail.into_dispatch(),
        from_time: parameters.from_time.into_dispatch(),
        from_memory: parameters.from_memory.into_dispatch(),
        input_bias: parameters.input_bias.into_dispatch(),
        memory_bias: parameters.memory_bias.into_dispatch(),
    };
    let _operation = profiler::operation("recurrent_cell", Kind::Kernel, || {
        costs::recurrent_cell(sizes(&rows, &weights), false)
    });
    Tensor::from_dispatch(Dispatch::recurrent_cell(rows, weights).memory)
}
