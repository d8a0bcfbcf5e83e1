//! The recurrent cells as a sequence of launches: time encoding, products, gates.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::Shape;

use super::gru_gates::{self, gru_gates_backward};
use super::rnn_gates::{self, rnn_gates_backward};
use super::wgsl::{self, KernelSpec};
use crate::kernels::products::{ProductGradients, Products};
use crate::kernels::recurrent_cell::{CellOutput, CellRows, CellWeights, RecurrentCell};
use crate::kernels::time_encoding::TimeEncoding;

/// `[outputs]` as the row that products are added to.
fn as_row(bias: FloatTensor<CubeBackend>) -> FloatTensor<CubeBackend> {
    let outputs = bias.shape()[0];
    CubeBackend::float_reshape(bias, Shape::new([1, outputs]))
}

/// New rows `[rows, width]` from the products of input and memory, `[rows, width]` of an RNN and
/// `[rows, 3 width]` of a GRU with the gates packed as PyTorch packs them (r, z, n); rows whose
/// `active` (`[rows]`) is 0 keep `memory`.
fn gates(kernel: &'static KernelSpec, inputs: [CubeTensor; 4]) -> CubeTensor {
    let [from_input, from_memory, memory, active] = inputs.map(into_contiguous);
    let (rows, width) = (memory.shape()[0], memory.shape()[1]);
    let out = wgsl::empty(&memory, [rows, width]);
    wgsl::launch(
        kernel,
        &[("WIDTH", width as u32)],
        wgsl::groups_of(rows * width, kernel.workgroup),
        &[&from_input, &from_memory, &memory, &active, &out],
        &[rows as u32],
    );
    out
}

impl RecurrentCell for CubeBackend {
    fn recurrent_cell(rows: CellRows<Self>, weights: CellWeights<Self>) -> CellOutput<Self> {
        let CellRows {
            mail,
            delta_t,
            memory,
            active,
        } = rows;
        let encoding = Self::time_encoding(weights.time, delta_t);
        let from_mail = Self::add_product(as_row(weights.input_bias), mail, weights.from_mail);
        let from_input = Self::add_product(from_mail, encoding, weights.from_time);
        let bias = as_row(weights.memory_bias);
        let from_memory = Self::add_product(bias, memory.clone(), weights.from_memory);
        let kernel = if from_memory.shape() == memory.shape() {
            &rnn_gates::FORWARD
        } else {
            &gru_gates::FORWARD
        };
        let inputs = [from_input.clone(), from_memory.clone(), memory, active];
        CellOutput {
            memory: gates(kernel, inputs),
            from_input,
            from_memory,
        }
    }

    fn recurrent_cell_backward(
        rows: CellRows<Self>,
        weights: CellWeights<Self>,
        output: CellOutput<Self>,
        grad: FloatTensor<Self>,
    ) -> CellWeights<Self> {
        let CellRows {
            mail,
            delta_t,
            memory,
            active,
        } = rows;
        let outputs = weights.input_bias.shape()[0];
        let [d_input, d_memory] = if output.from_memory.shape() == memory.shape() {
            let d = rnn_gates_backward(output.memory, active, grad);
            [d.clone(), d]
        } else {
            let (input, from_memory) = (output.from_input, output.from_memory);
            gru_gates_backward([input, from_memory, memory.clone(), active], grad)
        };
        let encoding = Self::time_encoding(weights.time.clone(), delta_t.clone());
        let d_encoding = Self::product_transposed(d_input.clone(), weights.from_time);
        let flat = |sums| Self::float_reshape(sums, Shape::new([outputs]));
        CellWeights {
            time: Self::time_encoding_backward(weights.time, delta_t, d_encoding),
            from_mail: Self::transposed_product(mail, d_input.clone()),
            from_time: Self::transposed_product(encoding, d_input.clone()),
            from_memory: Self::transposed_product(memory, d_memory.clone()),
            input_bias: flat(Self::column_sums(d_input)),
            memory_bias: flat(Self::column_sums(d_memory)),
        }
    }
}
