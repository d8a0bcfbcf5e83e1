//! The recurrent cells as a sequence of launches: time encoding, products, gates.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};

use super::gru_gates::{self, gru_gates_backward};
use super::memories::empty_together;
use super::product::{Base, Matrix, Product, multiply};
use super::rnn_gates::{self, rnn_gates_backward};
use super::time_encoding::time_encoding_backward;
use super::wgsl::{self, KernelSpec};
use crate::kernels::recurrent_cell::{CellOutput, CellRows, CellWeights, RecurrentCell};
use crate::kernels::time_encoding::TimeEncoding;

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

/// The products of `[mail | encoding]` and of `memory` with their weights, and the biases.
fn products(
    [mail, encoding, memory]: [&CubeTensor; 3],
    weights: &CellWeights<CubeBackend>,
) -> [CubeTensor; 2] {
    let (rows, n) = (memory.shape()[0], weights.input_bias.shape()[0]);
    let [from_mail, from_time, from_memory, input_bias, memory_bias] = [
        &weights.from_mail,
        &weights.from_time,
        &weights.from_memory,
        &weights.input_bias,
        &weights.memory_bias,
    ]
    .map(|weight| into_contiguous(weight.clone()));
    let k = |x: &CubeTensor| x.shape()[1];
    let out = [(); 2].map(|()| wgsl::empty(memory, [rows, n]));
    let factors = |x, weight| [Matrix::whole(x, k(x)), Matrix::whole(weight, n)];
    let product = |x, weight, bias, out| {
        let size = [1, rows, k(x), n];
        let out = Matrix::whole(out, n);
        Product::of_rows(factors(x, weight), size, Base::Row(bias), out)
    };
    multiply(&[Product {
        more: Some((factors(encoding, &from_time), k(encoding))),
        ..product(mail, &from_mail, &input_bias, &out[0])
    }]);
    multiply(&[product(memory, &from_memory, &memory_bias, &out[1])]);
    out
}

impl RecurrentCell for CubeBackend {
    fn recurrent_cell(rows: CellRows<Self>, weights: CellWeights<Self>) -> CellOutput<Self> {
        let encoding = Self::time_encoding(weights.time.clone(), rows.delta_t);
        let [mail, memory] = [rows.mail, rows.memory].map(into_contiguous);
        let [from_input, from_memory] = products([&mail, &encoding, &memory], &weights);
        let kernel = if from_memory.shape() == memory.shape() {
            &rnn_gates::FORWARD
        } else {
            &gru_gates::FORWARD
        };
        let inputs = [from_input.clone(), from_memory.clone(), memory, rows.active];
        CellOutput {
            memory: gates(kernel, inputs),
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
        let CellRows {
            mail,
            delta_t,
            memory,
            active,
        } = rows;
        let [mail, memory] = [mail, memory].map(into_contiguous);
        let [d_input, d_memory] = if output.from_memory.shape() == memory.shape() {
            let d = rnn_gates_backward(output.memory, active, grad);
            [d.clone(), d]
        } else {
            let (input, from_memory) = (output.from_input, output.from_memory);
            gru_gates_backward([input, from_memory, memory.clone(), active], grad)
        };
        let inputs = [&mail, &output.encoding, &memory];
        let d = room(&weights);
        let from_time = into_contiguous(weights.from_time);
        let d_encoding = products_backward(inputs, &from_time, [&d_input, &d_memory], &d);
        time_encoding_backward([weights.time, delta_t, d_encoding], &d.time);
        d
    }
}

/// Room for the gradients of all parameters, in one memory.
fn room(weights: &CellWeights<CubeBackend>) -> CellWeights<CubeBackend> {
    let parameters = [
        &weights.time,
        &weights.from_mail,
        &weights.from_time,
        &weights.from_memory,
        &weights.input_bias,
        &weights.memory_bias,
    ];
    let shapes = parameters.map(|of| of.shape());
    let [
        time,
        from_mail,
        from_time,
        from_memory,
        input_bias,
        memory_bias,
    ] = empty_together(&weights.time, shapes);
    CellWeights {
        time,
        from_mail,
        from_time,
        from_memory,
        input_bias,
        memory_bias,
    }
}

/// The gradient of the encoding, from those of the two products; those of weights and biases are written to `d`.
fn products_backward(
    inputs: [&CubeTensor; 3],
    from_time: &CubeTensor,
    [d_input, d_memory]: [&CubeTensor; 2],
    d: &CellWeights<CubeBackend>,
) -> CubeTensor {
    let [mail, encoding, memory] = inputs;
    let (rows, n) = (memory.shape()[0], d_input.shape()[1]);
    let k = |x: &CubeTensor| x.shape()[1];
    let d_encoding = wgsl::empty(memory, [rows, k(encoding)]);
    let of_weight = |x, grad, out, sums| {
        let factors = [Matrix::whole(x, k(x)).transposed(), Matrix::whole(grad, n)];
        let size = [1, k(x), rows, n];
        Product::of_terms(factors, size, Matrix::whole(out, n), sums)
    };
    let of_encoding = Product::of_rows(
        [
            Matrix::whole(d_input, n),
            Matrix::whole(from_time, n).transposed(),
        ],
        [1, rows, n, k(encoding)],
        Base::Zero,
        Matrix::whole(&d_encoding, k(encoding)),
    );
    multiply(&[
        of_encoding,
        of_weight(memory, d_memory, &d.from_memory, Some(&d.memory_bias)),
    ]);
    multiply(&[
        of_weight(mail, d_input, &d.from_mail, Some(&d.input_bias)),
        of_weight(encoding, d_input, &d.from_time, None),
    ]);
    d_encoding
}
