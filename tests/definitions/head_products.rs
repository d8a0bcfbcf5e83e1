//! Products of heads that lie side by side in the columns of a matrix: head h has the columns
//! `h * width / heads ..` of `[rows, width]`.

/// Heads, rows, inputs and width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) heads: usize,
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) width: usize,
}

impl Sizes {
    /// Calls `of` with every (head, row, input, column of the head).
    fn for_each(self, mut of: impl FnMut(usize, usize, usize, usize)) {
        let of_head = self.width / self.heads;
        for head in 0..self.heads {
            for row in 0..self.rows {
                for input in 0..self.inputs {
                    for column in head * of_head..(head + 1) * of_head {
                        of(head, row, input, column);
                    }
                }
            }
        }
    }

    /// Place in a `[heads, rows, inputs]` table.
    fn by_head(self, head: usize, row: usize, input: usize) -> usize {
        (head * self.rows + row) * self.inputs + input
    }
}

/// `[heads, rows, inputs]`: each head's columns of `x` `[rows, width]` times those of `weight`
/// `[inputs, width]`, transposed.
pub(crate) fn to_heads(x: &[f64], weight: &[f64], sizes: Sizes) -> Vec<f64> {
    let mut out = vec![0.0; sizes.heads * sizes.rows * sizes.inputs];
    sizes.for_each(|head, row, input, c| {
        out[sizes.by_head(head, row, input)] +=
            x[row * sizes.width + c] * weight[input * sizes.width + c];
    });
    out
}

/// Gradients of x and weight.
pub(crate) fn to_heads_gradients(
    x: &[f64],
    weight: &[f64],
    sizes: Sizes,
    grad: &[f64],
) -> [Vec<f64>; 2] {
    let (mut d_x, mut d_weight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    sizes.for_each(|head, row, input, c| {
        let grad = grad[sizes.by_head(head, row, input)];
        d_x[row * sizes.width + c] += grad * weight[input * sizes.width + c];
        d_weight[input * sizes.width + c] += grad * x[row * sizes.width + c];
    });
    [d_x, d_weight]
}

/// `[rows, width]`: each head's `x` `[rows, inputs]` times its columns of `weight` `[inputs, width]`.
pub(crate) fn from_heads(x: &[f64], weight: &[f64], sizes: Sizes) -> Vec<f64> {
    let mut out = vec![0.0; sizes.rows * sizes.width];
    sizes.for_each(|head, row, input, c| {
        out[row * sizes.width + c] +=
            x[sizes.by_head(head, row, input)] * weight[input * sizes.width + c];
    });
    out
}

/// Gradients of x and weight.
pub(crate) fn from_heads_gradients(
    x: &[f64],
    weight: &[f64],
    sizes: Sizes,
    grad: &[f64],
) -> [Vec<f64>; 2] {
    let (mut d_x, mut d_weight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    sizes.for_each(|head, row, input, c| {
        let grad = grad[row * sizes.width + c];
        d_x[sizes.by_head(head, row, input)] += grad * weight[input * sizes.width + c];
        d_weight[input * sizes.width + c] += grad * x[sizes.by_head(head, row, input)];
    });
    [d_x, d_weight]
}
