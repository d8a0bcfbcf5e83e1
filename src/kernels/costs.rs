//! What the operations move and compute, counted from shapes, for [`crate::profiler`].
//!
//! Each input is read once and each output written once: the least that an operation can do,
//! so tables are counted by the rows that are read of them, and what stays inside a kernel not
//! at all. Slots count as full. An exponential, a cosine, a root or a division is one
//! operation; the hash of a dropout is none, as it is of integers.

use super::cpu::temporal_attention::AttentionShape;
use crate::profiler::Work;

/// `[m, k]` times `[k, n]`, added to `base` numbers.
pub fn product([m, k, n]: [usize; 3], base: usize) -> Work {
    Work::new(m * k + k * n + m * n + base, 2 * m * k * n)
}

/// For each of `heads`, `[rows, width / heads]` times `[width / heads, inputs]`, or the reverse:
/// one side is `[heads, rows, inputs]`, the other `[rows, width]`.
pub fn head_product([heads, rows, inputs]: [usize; 3], width: usize) -> Work {
    Work::new(
        rows * width + inputs * width + heads * rows * inputs,
        2 * rows * width * inputs,
    )
}

/// The gradients of input, weight and bias of `[m, k]` times `[k, n]` plus a bias, those that are asked for.
#[cfg(feature = "gpu")]
pub(crate) fn linear_backward([m, k, n]: [usize; 3], [input, weight, bias]: [bool; 3]) -> Work {
    let products = usize::from(input) + usize::from(weight);
    let bias = usize::from(bias);
    Work::new(
        m * n + products * (m * k + k * n) + bias * n,
        products * 2 * m * k * n + bias * m * n,
    )
}

/// The gradients of both factors of [`head_product`].
#[cfg(feature = "gpu")]
pub(crate) fn head_products_backward([heads, rows, inputs]: [usize; 3], width: usize) -> Work {
    Work::new(
        2 * (rows * width + inputs * width) + heads * rows * inputs,
        4 * rows * width * inputs,
    )
}

/// An attention layer of `roots` roots with `own` rows among `rows` node rows and `events` feature rows: the attention
/// and the products around it, backward those of both factors.
#[cfg(feature = "gpu")]
pub(crate) fn attention_layer(
    shape: &AttentionShape,
    [roots, own, rows, events]: [usize; 4],
    width: usize,
    backward: bool,
) -> Work {
    let attention = temporal_attention(shape, [roots, own, rows, events], backward);
    let products = [
        product([own, width, width], 0),
        product([own, width, width], 0),
        head_product([shape.heads, own, shape.width()], width),
        head_product([shape.heads, roots, shape.width()], width),
        product([roots, width, width], roots * width),
    ];
    let times = if backward { 2 } else { 1 };
    products.iter().fold(attention, |sum, of| Work {
        bytes: sum.bytes + times * of.bytes,
        flops: sum.flops + times * of.flops,
    })
}

/// Rows of `width` by root, normalised and projected: each root's row again, backward each row once.
#[cfg(feature = "gpu")]
pub(crate) fn root_norm([rows, roots, width]: [usize; 3], backward: bool) -> Work {
    if backward {
        return Work::new(
            (2 * rows + roots + 4) * width + 2 * roots,
            (16 * rows + 3 * roots) * width,
        );
    }
    Work::new((2 * roots + 4) * width + 2 * roots, 11 * roots * width)
}

/// Sum of all rows.
pub fn column_sums(numbers: usize, width: usize) -> Work {
    Work::new(numbers + width, numbers)
}

/// `rows` rows of `width` out of a table.
pub fn gather(rows: usize, width: usize) -> Work {
    Work::new(rows * (2 * width + 1), 0)
}

/// `rows` rows of `width` booleans, 32 to a word, to as many numbers.
pub fn unpack_bits(rows: usize, width: usize) -> Work {
    Work::new(rows * (width + width.div_ceil(32)), 0)
}

/// `rows` rows of `width` numbers out of a table whose rows are of so many words.
pub fn feature_rows(rows: usize, [words, width]: [usize; 2]) -> Work {
    Work::new(rows * (words + 1 + width), 0)
}

/// Sums of `uses` rows of `width` to `rows` rows.
pub fn segment_sum(uses: usize, rows: usize, width: usize) -> Work {
    Work::new(
        (uses + rows) * width + uses + rows + 1,
        uses.saturating_sub(rows) * width,
    )
}

/// Means of `mails` pieces of mail of `width`, written to `places`.
pub fn mail_update(mails: usize, places: usize, width: usize) -> Work {
    Work::new(
        mails * (width + 3) + places * (width + 2),
        (mails + places) * width,
    )
}

/// Encodings of `rows` times; backward also reads the gradient, and sums it.
pub fn time_encoding(rows: usize, width: usize, backward: bool) -> Work {
    let flops = if backward { 7 } else { 3 };
    Work::new(rows * (width + 1) + 2 * width, flops * rows * width)
}

/// A recurrent cell of `rows` rows: mail, times and memory rows to the new memory, by way of
/// the products. Backward also reads the gradient, and makes those of all parameters and of the
/// time encoding.
pub fn recurrent_cell([rows, width, mail, time, outputs]: [usize; 5], backward: bool) -> Work {
    let inputs = mail + time + width;
    let weights = inputs * outputs + 2 * time + 2 * outputs;
    let (memory, products) = (
        rows * width,
        if outputs > width {
            2 * rows * outputs
        } else {
            0
        },
    );
    let read = rows * (mail + 2) + memory + weights;
    let (encoding, gates) = (rows * time, rows * outputs);
    if backward {
        let flops = 2 * rows * outputs * (inputs + time) + 7 * encoding + 12 * gates;
        return Work::new(read + 2 * memory + products + weights, flops);
    }
    let flops = 2 * rows * outputs * inputs + 3 * encoding + 5 * gates;
    Work::new(read + memory + products, flops)
}

/// A dropout of `numbers` elements.
pub fn dropout(numbers: usize) -> Work {
    Work::new(2 * numbers, numbers)
}

/// Activation, dropout and layer norm of `[rows, width]`.
pub fn output_norm(rows: usize, width: usize) -> Work {
    Work::new(2 * (rows + 1) * width, 8 * rows * width)
}

/// Gradients of [`output_norm`].
pub fn output_norm_backward(rows: usize, width: usize) -> Work {
    Work::new((3 * rows + 3) * width, 18 * rows * width)
}

/// The link predictor: two products of the embeddings, scores and loss; backward the gradients of
/// all of them. `statistics` of each pair's history are read, 0 for none.
pub fn link_predictor([events, width, statistics]: [usize; 3], backward: bool) -> Work {
    let (embeddings, weights) = (3 * events * width, 2 * width * width + 3 * width);
    let product = 2 * 3 * events * width * width;
    let history = 2 * events * statistics + statistics * width;
    let history_flops = 2 * 2 * events * statistics * width;
    if backward {
        let flops = 2 * product + 2 * events * (8 * width + 4) + history_flops;
        return Work::new(3 * embeddings + 2 * weights + 2 * events + history, flops);
    }
    let flops = product + 2 * events * (5 * width + 5) + history_flops;
    Work::new(2 * embeddings + weights + 2 * events + history, flops)
}

/// Scores of `pairs`, of each of which `statistics` are read.
pub fn link_scores([pairs, width, statistics]: [usize; 3]) -> Work {
    let history = pairs * statistics + statistics * width;
    Work::new(
        2 * pairs * width + 2 * width + pairs + history,
        pairs * (5 * width + 1) + 2 * pairs * statistics * width,
    )
}

/// A projection of `[rows, width]` to the times of queries; backward also sums the gradients of its
/// parameters.
pub fn time_projection(rows: usize, width: usize, backward: bool) -> Work {
    let (numbers, tables, flops) = if backward {
        (rows * width, 3, 8)
    } else {
        (rows * width, 2, 4)
    };
    let parameters = if backward { 4 } else { 2 };
    Work::new(
        tables * numbers + rows + parameters * width,
        flops * numbers,
    )
}

/// The norm of all gradients.
pub fn clip_scale(numbers: usize) -> Work {
    Work::new(numbers, 2 * numbers)
}

/// A step of Adam: parameter and moments are read and written, the gradient read.
pub fn adam(numbers: usize) -> Work {
    Work::new(7 * numbers, 13 * numbers)
}

/// Attention of `roots` roots with `queries` queries over `rows` node rows and `events` edge
/// feature rows: for each slot and head a dot product and a sum over the width of x.
pub fn temporal_attention(
    shape: &AttentionShape,
    [roots, queries, rows, events]: [usize; 4],
    backward: bool,
) -> Work {
    let AttentionShape {
        heads,
        fanout,
        node,
        edge,
        time,
    } = *shape;
    let slots = roots * fanout;
    // Edge features, and mail, are read where they are: of a table at most a row per slot.
    let tables = rows * node + events.min(slots) * edge + 2 * time + 4 * slots;
    let (of_roots, of_queries) = (
        heads * roots * shape.width(),
        heads * queries * shape.width(),
    );
    let pairs = slots * heads;
    if backward {
        // Query, its gradient and that of the result; scores; the gradient of the node rows,
        // which takes two more sums over a node row, as those of the times do.
        let numbers = tables + of_roots + 2 * of_queries + pairs + rows * node + rows + slots;
        let flops = pairs * (4 * shape.width() + 4 * (node + time) + 8) + 7 * slots * time;
        return Work::new(numbers, flops);
    }
    Work::new(
        tables + of_roots + of_queries + pairs,
        pairs * (4 * shape.width() + 6) + 3 * slots * time,
    )
}
