//! The matrix products of TGN between its kernels, forward.

use burn::tensor::Tensor;
use mspipe::kernels::costs;
use mspipe::kernels::head_products::{from_heads, to_heads};
use mspipe::kernels::linear::linear;

use super::super::Case;
use super::{EDGE, HEADS, Inputs, MAIL, TIME, WIDTH, case};

/// Products of `rows` memory rows and `roots` roots.
pub(super) fn products(make: &Inputs<'_>, rows: usize, roots: usize) -> Vec<Case> {
    let layer = |name, rows: usize, inputs: usize, outputs: usize| {
        let (bias, x) = (make.matrix(1, outputs), make.matrix(rows, inputs));
        let weight = make.matrix(inputs, outputs);
        let work = costs::product([rows, inputs, outputs], outputs);
        case(name, work, move || {
            drop(linear(bias.clone(), x.clone(), weight.clone()));
        })
    };
    // What attention reads of a past event: memory, edge features, time encoding.
    let inputs = WIDTH + EDGE + TIME;
    let heads = {
        let (x, weight) = (make.matrix(roots, WIDTH), make.matrix(inputs, WIDTH));
        let work = costs::head_product([HEADS, roots, inputs], WIDTH);
        case("to_heads (query)", work, move || {
            drop(to_heads(x.clone(), weight.clone(), HEADS));
        })
    };
    let values = {
        let x: Tensor<3> = make
            .matrix(HEADS * roots, inputs)
            .reshape([HEADS, roots, inputs]);
        let weight = make.matrix(inputs, WIDTH);
        let work = costs::head_product([HEADS, roots, inputs], WIDTH);
        case("from_heads (value)", work, move || {
            drop(from_heads(x.clone(), weight.clone()));
        })
    };
    vec![
        layer("linear (mail to gates)", rows, MAIL, 3 * WIDTH),
        layer("linear (memory to gates)", rows, WIDTH, 3 * WIDTH),
        layer("linear (output)", roots, WIDTH, WIDTH),
        heads,
        values,
    ]
}
