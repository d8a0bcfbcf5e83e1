//! The same by burn's own operations, one after the other, where they have a counterpart: a kernel
//! that takes longer has no reason to be.

use burn::nn::LayerNormConfig;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Distribution, IndexingUpdateOp, Int, Tensor};

use super::inputs::{Inputs, MAIL, NODES, PARAMETERS, SIZES, TIME, WIDTH};

/// Operations that do what the kernel of this name does.
type OfBurn = (&'static str, Box<dyn FnMut()>);

/// What burn's own operations do of the kernels' work, by the kernel's name, with rows divided by
/// `shrink`.
pub fn of_burn(shrink: usize, device: &Device) -> Vec<OfBurn> {
    let make = &Inputs { device };
    let [rows, roots, events] = SIZES.map(|size| size / shrink);
    let mut all = moves(make, rows, roots);
    all.extend(cells(make, rows));
    all.extend(of_roots(make, rows, roots, events));
    all.push(adam(make));
    all
}

fn of(name: &'static str, run: impl FnMut() + 'static) -> OfBurn {
    (name, Box::new(run))
}

fn moves(make: &Inputs<'_>, rows: usize, roots: usize) -> Vec<OfBurn> {
    let (memory, mailbox) = (make.matrix(NODES, WIDTH), make.matrix(NODES, MAIL));
    let nodes = make.indices(make.spread(rows, NODES));
    let (table, value) = (make.matrix(rows, WIDTH), make.matrix(roots, WIDTH));
    let index = make.indices(make.spread(roots, rows));
    let (zeros, places) = (table.zeros_like(), index.clone());
    vec![
        of("memory_gather", move || {
            let mails = mailbox.clone().select(0, nodes.clone());
            drop((memory.clone().select(0, nodes.clone()), mails));
        }),
        of("gather_rows", move || {
            drop(table.clone().select(0, index.clone()));
        }),
        of("gather_rows_backward", move || {
            let (index, value) = (places.clone(), value.clone());
            drop(
                zeros
                    .clone()
                    .select_assign(0, index, value, IndexingUpdateOp::Add),
            );
        }),
    ]
}

fn cells(make: &Inputs<'_>, rows: usize) -> Vec<OfBurn> {
    let (mail, memory) = (make.matrix(rows, MAIL), make.matrix(rows, WIDTH));
    let (omega, phi) = (make.matrix(1, TIME), make.matrix(1, TIME));
    let delta = (make.vector(rows).abs() * 2.7e6).unsqueeze_dim::<2>(1);
    let active: Tensor<1, Int> = make.indices(vec![1; rows]);
    let active = active
        .unsqueeze_dim::<2>(1)
        .equal_elem(1)
        .expand([rows, WIDTH]);
    // Both products with their biases.
    let products = |outputs: usize| {
        let (mail, memory) = (mail.clone(), memory.clone());
        let (delta, omega, phi) = (delta.clone(), omega.clone(), phi.clone());
        let [of_mail, of_time, of_memory] =
            [MAIL, TIME, WIDTH].map(|inputs| make.matrix(inputs, outputs));
        let (bias, other) = (make.matrix(1, outputs), make.matrix(1, outputs));
        move || {
            let encoding = (delta.clone() * omega.clone() + phi.clone()).cos();
            let of_input = mail.clone().matmul(of_mail.clone()) + encoding.matmul(of_time.clone());
            let of_memory = memory.clone().matmul(of_memory.clone());
            (of_input + bias.clone(), of_memory + other.clone())
        }
    };
    let (gru, rnn) = (products(3 * WIDTH), products(WIDTH));
    let (old, runs) = (memory.clone(), active.clone());
    let third = |of: &Tensor<2>, gate: usize| of.clone().narrow(1, gate * WIDTH, WIDTH);
    vec![
        of("recurrent_cell (gru)", move || {
            let (input, hidden) = gru();
            let r = sigmoid(third(&input, 0) + third(&hidden, 0));
            let z = sigmoid(third(&input, 1) + third(&hidden, 1));
            let n = (third(&input, 2) + r * third(&hidden, 2)).tanh();
            let new = n.clone() + z * (memory.clone() - n);
            drop(memory.clone().mask_where(active.clone(), new));
        }),
        of("recurrent_cell (rnn)", move || {
            let (input, hidden) = rnn();
            let new = (input + hidden).tanh();
            drop(old.clone().mask_where(runs.clone(), new));
        }),
    ]
}

fn of_roots(make: &Inputs<'_>, rows: usize, roots: usize, events: usize) -> Vec<OfBurn> {
    let (omega, phi) = (make.matrix(1, TIME), make.matrix(1, TIME));
    let delta = (make.vector(rows).abs() * 2.7e6).unsqueeze_dim::<2>(1);
    let x = make.matrix(roots, WIDTH);
    let dropped = |x: Tensor<2>| {
        let kept = x.random_like(Distribution::Bernoulli(0.9));
        x * kept / 0.9
    };
    let norm = LayerNormConfig::new(WIDTH).init(make.device);
    let (before, source) = (x.clone(), make.matrix(events, WIDTH));
    let destination = make.matrix(2 * events, WIDTH);
    let (bias, output) = (make.matrix(1, WIDTH), make.matrix(WIDTH, 1));
    vec![
        of("time_encoding", move || {
            drop((delta.clone() * omega.clone() + phi.clone()).cos());
        }),
        of("dropout", move || drop(dropped(x.clone()))),
        of("output_norm", move || {
            drop(norm.forward(relu(dropped(before.clone()))));
        }),
        of("link_scores", move || {
            let source = source.clone().repeat(&[2, 1]) + bias.clone();
            drop(relu(source + destination.clone()).matmul(output.clone()));
        }),
    ]
}

fn adam(make: &Inputs<'_>) -> OfBurn {
    let gradient = make.vector(PARAMETERS);
    let (m, v) = (make.vector(PARAMETERS), make.vector(PARAMETERS).abs());
    let mut state = (make.vector(PARAMETERS), m, v);
    of("adam", move || {
        let (parameter, m, v) = state.clone();
        let m = m * 0.9 + gradient.clone() * 0.1;
        let v = v * 0.999 + gradient.clone().square() * 0.001;
        let step = m.clone() / 0.271 / ((v.clone() / 0.002_997).sqrt() + 1e-8);
        state = (parameter - step * 1e-4, m, v);
    })
}
