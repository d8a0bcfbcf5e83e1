//! Matrix products.

/// `a b` for `a` `[m, k]` and `b` `[k, n]`.
pub(crate) fn product(a: &[f64], b: &[f64], [m, k, n]: [usize; 3]) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            for l in 0..k {
                out[i * n + j] += a[i * k + l] * b[l * n + j];
            }
        }
    }
    out
}

/// The transposed of `a` `[m, n]`.
pub(crate) fn transposed(a: &[f64], [m, n]: [usize; 2]) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            out[j * m + i] = a[i * n + j];
        }
    }
    out
}

/// Sum of the rows of `a`, each `width` wide.
pub(crate) fn column_sums(a: &[f64], width: usize) -> Vec<f64> {
    let mut out = vec![0.0; width];
    for (i, value) in a.iter().enumerate() {
        out[i % width] += value;
    }
    out
}

/// `bias + x weight`; `sizes` are rows, inputs, outputs.
pub(crate) fn linear(bias: &[f64], x: &[f64], weight: &[f64], sizes: [usize; 3]) -> Vec<f64> {
    let mut out = product(x, weight, sizes);
    for (i, value) in out.iter_mut().enumerate() {
        *value += bias[i % bias.len()];
    }
    out
}

/// Gradients of bias, x and weight.
pub(crate) fn linear_gradients(
    x: &[f64],
    weight: &[f64],
    [rows, inputs, outputs]: [usize; 3],
    grad: &[f64],
) -> [Vec<f64>; 3] {
    let by_outputs = transposed(weight, [inputs, outputs]);
    let by_inputs = transposed(x, [rows, inputs]);
    [
        column_sums(grad, outputs),
        product(grad, &by_outputs, [rows, outputs, inputs]),
        product(&by_inputs, grad, [inputs, rows, outputs]),
    ]
}
