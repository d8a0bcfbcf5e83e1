//! The recurrent cells of the memory updater as one pass over the rows: encoding of the times,
//! products and gates of some rows after the other, while they are in the cache.
//!
//! What the GPU does in several launches ([`crate::kernels::recurrent_cell`]). A task's rows
//! depend on the number of rows alone, so bits do not depend on the number of threads.

use multiversion::multiversion;

use super::cosine::TimeColumns;
use super::products::{
    Matrix, ROWS, Together, WEIGHT_ROWS, add_product, rows_of_task, write_product,
};
use super::time_encoding::encode_chunk;
use super::vector::add;
use super::{Unwritten, gru_gates, rnn_gates, room, zeroed};
use crate::kernels::costs;
use crate::parallel;
use crate::profiler::Work;

/// What a cell reads; all tables row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellInput<'a> {
    /// `[rows, mail width]`.
    pub(crate) mail: &'a [f32],
    /// `[rows]`.
    pub(crate) delta_t: &'a [f32],
    /// `[rows, width]`.
    pub(crate) memory: &'a [f32],
    /// `[rows]`; rows where it is 0 keep their memory.
    pub(crate) active: &'a [i32],
    /// omega, then phi, `[2, time width]`.
    pub(crate) time: &'a [f32],
    /// `[mail width, outputs]`.
    pub(crate) from_mail: &'a [f32],
    /// `[time width, outputs]`.
    pub(crate) from_time: &'a [f32],
    /// `[width, outputs]`.
    pub(crate) from_memory: &'a [f32],
    /// `[outputs]`.
    pub(crate) input_bias: &'a [f32],
    /// `[outputs]`.
    pub(crate) memory_bias: &'a [f32],
}

impl CellInput<'_> {
    fn rows(&self) -> usize {
        self.active.len()
    }

    /// Columns of the products: three gates of a GRU, one of an RNN.
    fn outputs(&self) -> usize {
        self.input_bias.len()
    }

    fn time_width(&self) -> usize {
        self.time.len() / 2
    }

    fn width(&self) -> usize {
        self.from_memory.len() / self.outputs()
    }

    fn mail_width(&self) -> usize {
        self.from_mail.len() / self.outputs()
    }

    /// Whether the cell is a GRU, and not an RNN.
    fn is_gru(&self) -> bool {
        self.outputs() != self.width()
    }

    /// What is done with it.
    fn work(&self, backward: bool) -> Work {
        let (mail, time) = (self.mail_width(), self.time_width());
        let sizes = [self.rows(), self.width(), mail, time, self.outputs()];
        costs::recurrent_cell(sizes, backward)
    }

    /// Some rows of all that has rows.
    fn part(&self, first: usize, rows: usize) -> Self {
        let (width, mail) = (self.width(), self.mail_width());
        CellInput {
            mail: &self.mail[first * mail..][..rows * mail],
            delta_t: &self.delta_t[first..][..rows],
            memory: &self.memory[first * width..][..rows * width],
            active: &self.active[first..][..rows],
            ..*self
        }
    }
}

/// What a cell makes.
#[derive(Debug, Default)]
pub(crate) struct CellOutput {
    /// `[rows, width]`.
    pub(crate) memory: Vec<f32>,
    /// Product of the input with its bias, `[rows, outputs]`; of a GRU alone.
    pub(crate) from_input: Vec<f32>,
    /// Product of the memory with its bias, the same.
    pub(crate) from_memory: Vec<f32>,
}

/// Gradients of a cell's parameters; each as long as its parameter.
#[derive(Debug, Default)]
pub(crate) struct CellGradients {
    /// Of omega and phi.
    pub(crate) time: Vec<f32>,
    /// Of the mail's weights.
    pub(crate) from_mail: Vec<f32>,
    /// Of the time encoding's weights.
    pub(crate) from_time: Vec<f32>,
    /// Of the memory's weights.
    pub(crate) from_memory: Vec<f32>,
    /// Of the input product's bias.
    pub(crate) input_bias: Vec<f32>,
    /// Of the memory product's bias.
    pub(crate) memory_bias: Vec<f32>,
}

/// Makes room for `len` numbers and splits it into `count` pieces of `piece` numbers, of which
/// the last may have less.
fn pieces(numbers: &mut Vec<f32>, len: usize, piece: usize, count: usize) -> Vec<&mut Unwritten> {
    let mut rest = room(numbers, len);
    (0..count)
        .map(|_| {
            let len = piece.min(rest.len());
            let own;
            (own, rest) = std::mem::take(&mut rest).split_at_mut(len);
            own
        })
        .collect()
}

/// New memory of each row.
pub(crate) fn recurrent_cell(input: &CellInput<'_>) -> CellOutput {
    let (rows, width, outputs) = (input.rows(), input.width(), input.outputs());
    let mut output = CellOutput::default();
    if rows == 0 {
        return output;
    }
    let chunk = rows_of_task(rows, ROWS);
    let count = rows.div_ceil(chunk);
    let kept = if input.is_gru() { outputs } else { 0 };
    let memory = pieces(&mut output.memory, rows * width, chunk * width, count);
    let from_input = pieces(&mut output.from_input, rows * kept, chunk * kept, count);
    let from_memory = pieces(&mut output.from_memory, rows * kept, chunk * kept, count);
    let pieces_of = memory
        .into_iter()
        .zip(from_input)
        .zip(from_memory)
        .enumerate();
    parallel::for_each(
        pieces_of.collect(),
        |(i, ((memory, from_input), from_memory))| {
            let part = input.part(i * chunk, memory.len() / width);
            parallel::task(|| part.work(false).one());
            let memory = zeroed(memory);
            let mut scratch = Vec::new();
            if part.is_gru() {
                let (from_input, from_memory) = part.products(from_input, from_memory);
                let (hidden, active) = (part.memory, part.active);
                gru_gates::forward_chunk(from_input, from_memory, hidden, active, width, memory);
            } else {
                let len = part.rows() * outputs;
                let [a, b] = <[_; 2]>::try_from(pieces(&mut scratch, 2 * len, len, 2))
                    .unwrap_or_else(|_| unreachable!("two pieces"));
                let (from_input, from_memory) = part.products(a, b);
                let (hidden, active) = (part.memory, part.active);
                rnn_gates::forward_chunk(from_input, from_memory, hidden, active, width, memory);
            }
        },
    );
    // SAFETY: the pieces cover the tables, and each task has written all of its own.
    unsafe {
        output.memory.set_len(rows * width);
        output.from_input.set_len(rows * kept);
        output.from_memory.set_len(rows * kept);
    }
    output
}

impl CellInput<'_> {
    /// Both products with their biases, on this thread.
    fn products<'o>(
        &self,
        from_input: &'o mut Unwritten,
        from_memory: &'o mut Unwritten,
    ) -> (&'o mut [f32], &'o mut [f32]) {
        let (rows, outputs, time) = (self.rows(), self.outputs(), self.time_width());
        let (width, mail) = (self.width(), self.mail_width());
        let mut encoding = vec![0.0; rows * time];
        encode_chunk(self.time, self.delta_t, time, &mut encoding);
        let of = |table, width| Matrix::whole(table, width);
        let from_input = write_product(
            of(self.mail, mail),
            of(self.from_mail, outputs),
            [rows, mail, outputs],
            Some(self.input_bias),
            from_input,
        );
        let (encoding, from_time) = (of(&encoding, time), of(self.from_time, outputs));
        add_product(encoding, from_time, [rows, time, outputs], from_input);
        let from_memory = write_product(
            of(self.memory, width),
            of(self.from_memory, outputs),
            [rows, width, outputs],
            Some(self.memory_bias),
            from_memory,
        );
        (from_input, from_memory)
    }
}

/// Backward of [`recurrent_cell`], whose result is `output`; `grad` is the gradient of the new
/// memory.
pub(crate) fn recurrent_cell_backward(
    input: &CellInput<'_>,
    output: &CellRows<'_>,
    grad: &[f32],
) -> CellGradients {
    let (rows, outputs, time) = (input.rows(), input.outputs(), input.time_width());
    let width = input.width();
    let chunk = rows_of_task(rows, ROWS);
    let count = rows.div_ceil(chunk);
    let of_memory = if input.is_gru() { outputs } else { 0 };
    let (mut d_input, mut d_memory, mut encoding) = (Vec::new(), Vec::new(), Vec::new());
    let tasks = pieces(&mut d_input, rows * outputs, chunk * outputs, count)
        .into_iter()
        .zip(pieces(
            &mut d_memory,
            rows * of_memory,
            chunk * of_memory,
            count,
        ))
        .zip(pieces(&mut encoding, rows * time, chunk * time, count))
        .enumerate();
    let partial = parallel::map(tasks.collect(), |(i, ((d_input, d_memory), encoding))| {
        let (first, rows) = (i * chunk, d_input.len() / outputs);
        let (part, output) = (
            input.part(first, rows),
            output.part(first, rows, width, of_memory),
        );
        let grad = &grad[first * width..][..rows * width];
        // The gradients of the weights are tasks of their own.
        parallel::task(|| part.work(true).one() - part.work(false).one());
        part.backward(
            &output,
            grad,
            zeroed(d_input),
            zeroed(d_memory),
            zeroed(encoding),
        )
    });
    // SAFETY: the pieces cover the tables, and each task has written all of its own.
    unsafe {
        d_input.set_len(rows * outputs);
        d_memory.set_len(rows * of_memory);
        encoding.set_len(rows * time);
    }
    let mut sums = vec![0.0; 2 * time + 2 * outputs];
    for of_task in partial {
        add(&mut sums, &of_task);
    }
    let d_memory = if input.is_gru() { &d_memory } else { &d_input };
    let memory_bias = sums.split_off(2 * time + outputs);
    let input_bias = sums.split_off(2 * time);
    let mut d = CellGradients {
        time: sums,
        input_bias,
        memory_bias,
        ..CellGradients::default()
    };
    weight_gradients(input, &encoding, [&d_input, d_memory], &mut d);
    d
}

/// Writes the gradients of the three weights: of each the transposed factor times the gradient of the
/// product, of the input's and of the memory's.
fn weight_gradients(
    input: &CellInput<'_>,
    encoding: &[f32],
    [d_input, d_memory]: [&[f32]; 2],
    d: &mut CellGradients,
) {
    let (rows, outputs, time) = (input.rows(), input.outputs(), input.time_width());
    let (width, mail) = (input.width(), input.mail_width());
    let mut products = Together::default();
    for (d_weight, x, inputs, d_product) in [
        (&mut d.from_mail, input.mail, mail, d_input),
        (&mut d.from_time, encoding, time, d_input),
        (&mut d.from_memory, input.memory, width, d_memory),
    ] {
        let x = Matrix::whole(x, inputs).transposed();
        let d_product = Matrix::whole(d_product, outputs);
        let out = room(d_weight, inputs * outputs);
        products.add(x, d_product, [inputs, rows, outputs], WEIGHT_ROWS, out);
    }
    products.write();
    // SAFETY: each of the products has been written.
    unsafe {
        d.from_mail.set_len(mail * outputs);
        d.from_time.set_len(time * outputs);
        d.from_memory.set_len(width * outputs);
    }
}

/// What [`recurrent_cell`] has made, as its backward reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellRows<'a> {
    /// `[rows, width]`.
    pub(crate) memory: &'a [f32],
    /// `[rows, outputs]` of a GRU.
    pub(crate) from_input: &'a [f32],
    /// The same.
    pub(crate) from_memory: &'a [f32],
}

impl CellRows<'_> {
    fn part(&self, first: usize, rows: usize, width: usize, kept: usize) -> Self {
        CellRows {
            memory: &self.memory[first * width..][..rows * width],
            from_input: &self.from_input[first * kept..][..rows * kept],
            from_memory: &self.from_memory[first * kept..][..rows * kept],
        }
    }
}

impl CellInput<'_> {
    /// Writes the gradients of the products (of an RNN both are `d_input`) and the encodings;
    /// returns the rows' share of the gradients of omega, phi and the two biases.
    fn backward(
        &self,
        output: &CellRows<'_>,
        grad: &[f32],
        d_input: &mut [f32],
        d_memory: &mut [f32],
        encoding: &mut [f32],
    ) -> Vec<f32> {
        let (rows, outputs, time) = (self.rows(), self.outputs(), self.time_width());
        let (width, active) = (self.width(), self.active);
        if self.is_gru() {
            let CellRows {
                from_input,
                from_memory,
                ..
            } = *output;
            gru_gates::backward_chunk(
                from_input,
                from_memory,
                self.memory,
                active,
                grad,
                width,
                d_input,
                d_memory,
            );
        } else {
            rnn_gates::backward_chunk(output.memory, active, grad, width, d_input);
        }
        let mut buffer = Vec::with_capacity(rows * time);
        let d_encoding = write_product(
            Matrix::whole(d_input, outputs),
            Matrix::whole(self.from_time, outputs).transposed(),
            [rows, outputs, time],
            None,
            &mut buffer.spare_capacity_mut()[..rows * time],
        );
        let d_memory = if self.is_gru() { &*d_memory } else { &*d_input };
        let mut sums = vec![0.0; 2 * time + 2 * outputs];
        let (of_time, of_bias) = sums.split_at_mut(2 * time);
        encode_backward(self.time, self.delta_t, d_encoding, encoding, of_time);
        let (of_input, of_memory) = of_bias.split_at_mut(outputs);
        add_rows(d_input, of_input);
        add_rows(d_memory, of_memory);
        sums
    }
}

/// Writes the encodings `[rows, width]` of the times `delta`, and adds to `d_time` what their
/// gradient `grad` makes of omega and phi.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn encode_backward(
    time: &[f32],
    delta: &[f32],
    grad: &[f32],
    encoding: &mut [f32],
    d_time: &mut [f32],
) {
    let width = time.len() / 2;
    let columns = TimeColumns::new(time, width);
    let (d_omega, d_phi) = d_time.split_at_mut(width);
    let mut sine = vec![0.0; width];
    let rows = encoding
        .chunks_exact_mut(width)
        .zip(grad.chunks_exact(width));
    for (&delta, (encoding, grad)) in delta.iter().zip(rows) {
        columns.encode(delta, encoding, &mut sine);
        for c in 0..width {
            let d_argument = -sine[c] * grad[c];
            d_omega[c] += d_argument * delta;
            d_phi[c] += d_argument;
        }
    }
}

/// Adds the rows of a table to `sum`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn add_rows(table: &[f32], sum: &mut [f32]) {
    for row in table.chunks_exact(sum.len()) {
        add(sum, row);
    }
}
