//! burn's products, which are those of real GPUs: a row has the same bits among any number of rows
//! from two on. (A lone row is given to them twice.)

use crate::on_device;
use crate::operations::{draws, floats, numbers};

#[cfg_attr(test, test)]
pub(crate) fn rows_do_not_depend_on_their_number() {
    on_device(|device| {
        let (most, inputs, outputs) = (600, 100, 60);
        let (x, weight) = (draws(1, most * inputs), draws(2, inputs * outputs));
        let weight = floats(&weight, [inputs, outputs], device);
        let product = |rows: usize| -> Vec<u32> {
            let x = floats(&x[..rows * inputs], [rows, inputs], device);
            let product = numbers(x.matmul(weight.clone()));
            product.iter().map(|v| v.to_bits()).collect()
        };
        let all = product(most);
        for rows in [2, 3, 70] {
            assert!(all[..rows * outputs] == product(rows), "{rows} rows");
        }
    });
}
