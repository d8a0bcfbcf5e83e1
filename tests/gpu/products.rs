//! The kernels of products: a row has the same bits among any number of rows, alone too.

use mspipe::kernels::products::{from_heads, linear, to_heads};

use crate::on_device;
use crate::operations::{draws, floats, numbers};

/// Rows of which the first few are multiplied too.
const MOST: usize = 600;

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|v| v.to_bits()).collect()
}

/// Narrow outputs and wide ones have tiles of different sizes.
#[cfg_attr(test, test)]
pub(crate) fn rows_do_not_depend_on_their_number() {
    on_device(|device| {
        for [inputs, outputs] in [[100, 60], [37, 300]] {
            let (x, weight) = (draws(1, MOST * inputs), draws(2, inputs * outputs));
            let weight = floats(&weight, [inputs, outputs], device);
            let product = |rows: usize| {
                let x = floats(&x[..rows * inputs], [rows, inputs], device);
                let bias = floats(&draws(3, outputs), [1, outputs], device);
                bits(&numbers(linear(bias, x, weight.clone())))
            };
            let all = product(MOST);
            for rows in [1, 2, 3, 70] {
                assert!(
                    all[..rows * outputs] == product(rows),
                    "{rows} rows of {outputs}"
                );
            }
        }
    });
}

#[cfg_attr(test, test)]
pub(crate) fn rows_of_heads_do_not_depend_on_their_number() {
    on_device(|device| {
        let (heads, width, inputs) = (2, 26, 373);
        let (x, weight) = (draws(1, MOST * width), draws(2, inputs * width));
        let weight = floats(&weight, [inputs, width], device);
        let products = |rows: usize| {
            let x = floats(&x[..rows * width], [rows, width], device);
            let by_head = to_heads(x, weight.clone(), heads);
            let first = by_head.clone().slice(0..1);
            let joined = from_heads(by_head, weight.clone());
            [bits(&numbers(first)), bits(&numbers(joined))]
        };
        let all = products(MOST);
        for rows in [1, 2, 3, 70] {
            let [first, joined] = products(rows);
            assert!(all[0][..rows * inputs] == first, "{rows} rows of a head");
            assert!(all[1][..rows * width] == joined, "{rows} rows of all heads");
        }
    });
}
