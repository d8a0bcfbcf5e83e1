//! Products of heads that lie side by side in the columns of one matrix.

use rayon::prelude::*;

use super::{Base, Matrix, Place, Shared, write};

/// One new matrix of `len` numbers made of one product for each head, each with its place;
/// together they must cover it.
fn new_by_head<'a>(
    len: usize,
    heads: usize,
    of: impl Fn(usize) -> (Matrix<'a>, Matrix<'a>, usize, Place) + Sync,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(len);
    let target = Shared(out.as_mut_ptr());
    (0..heads).into_par_iter().for_each(|head| {
        let (a, b, k, place) = of(head);
        // SAFETY: the new allocation holds `len` numbers, no two heads have the same place,
        // and nothing is read.
        unsafe { write(a, b, k, Base::Zero, place, target, len) };
    });
    // SAFETY: the places cover all numbers (callers below), and each was written.
    unsafe { out.set_len(len) };
    out
}

/// For each head, its columns of `x` `[rows, width]` times the transposed ones of `weight`
/// `[inputs, width]`: `[heads, rows, inputs]`.
pub fn to_heads(
    x: &[f32],
    weight: &[f32],
    [heads, rows, inputs]: [usize; 3],
    width: usize,
) -> Vec<f32> {
    let k = width / heads;
    new_by_head(heads * rows * inputs, heads, |head| {
        let x = Matrix::whole(x, width).from(head * k);
        let weight = Matrix::whole(weight, width).from(head * k).transposed();
        let place = Place {
            m: rows,
            n: inputs,
            start: head * rows * inputs,
            stride: inputs,
        };
        (x, weight, k, place)
    })
}

/// For each head, `x` `[heads, rows, inputs]` times its columns of `weight`
/// `[inputs, width]`: its columns of `[rows, width]`.
pub fn from_heads(
    x: &[f32],
    weight: &[f32],
    [heads, rows, inputs]: [usize; 3],
    width: usize,
) -> Vec<f32> {
    let n = width / heads;
    new_by_head(rows * width, heads, |head| {
        let x = Matrix::whole(x, inputs).from(head * rows * inputs);
        let weight = Matrix::whole(weight, width).from(head * n);
        let place = Place {
            m: rows,
            n,
            start: head * n,
            stride: width,
        };
        (x, weight, inputs, place)
    })
}

/// For each head, the transposed `x` `[heads, rows, inputs]` times its columns of `grad`
/// `[rows, width]`: its columns of `[inputs, width]`.
pub fn transposed_of_heads(
    x: &[f32],
    grad: &[f32],
    [heads, rows, inputs]: [usize; 3],
    width: usize,
) -> Vec<f32> {
    let n = width / heads;
    new_by_head(inputs * width, heads, |head| {
        let x = Matrix::whole(x, inputs)
            .from(head * rows * inputs)
            .transposed();
        let grad = Matrix::whole(grad, width).from(head * n);
        let place = Place {
            m: inputs,
            n,
            start: head * n,
            stride: width,
        };
        (x, grad, rows, place)
    })
}
