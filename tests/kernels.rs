//! Each operation against its definition in f64, forward and backward, through the functions that the
//! models call.
//!
//! Both test binaries run this file: the CPU kernels are compared with the definitions, and the
//! shaders. Tolerances are relative to the largest number, and those that the worse of the two needs.

use mspipe::kernels;
use mspipe::kernels::feature_rows::Stored;
use mspipe::kernels::temporal_attention::AttentionShape;
use mspipe::kernels::unpack_bits::words_of;

use crate::measured::within;
use crate::operations::{
    Attention, AttentionLayer, DropoutCase, GatherRows, HeadProducts, Linear, LinkPredictor,
    LinkScores, Operation, OutputNorm, RecurrentCell, RootNorm, TimeEncoding, ints, numbers, picks,
};
use crate::{definitions, on_device};

/// Row counts: none, one, and around multiples of the 64 invocations of a workgroup.
pub(crate) const ROWS: [usize; 4] = [0, 1, 65, 127];

/// One number, an odd width, and Wikipedia's.
pub(crate) const WIDTHS: [usize; 3] = [1, 7, 100];

/// Largest difference of what was found from what is defined, relative to the largest number defined.
fn error(label: &str, found: &[f32], defined: &[f64]) -> f64 {
    assert_eq!(found.len(), defined.len(), "{label}");
    let largest = defined
        .iter()
        .fold(0.0f64, |largest, v| largest.max(v.abs()));
    let mut most = 0.0f64;
    for (found, defined) in found.iter().zip(defined) {
        let difference = (f64::from(*found) - defined).abs();
        assert!(
            difference.is_finite(),
            "{label}: {found}, defined {defined}"
        );
        most = most.max(difference);
    }
    if most == 0.0 { 0.0 } else { most / largest }
}

/// Compares output and gradients, each within its tolerance.
fn agrees(mut operation: impl Operation, label: &str, output: f64, gradient: f64) {
    let found = {
        let operation = operation.clone();
        on_device(move |device| operation.run(device))
    };
    let defined = operation.definition();
    let forward = error(&format!("{label} output"), &found.output, &defined.output);
    within(&format!("{label}: output"), forward, output);
    let names = operation.inputs().into_iter().map(|(name, _)| name);
    let gradients = found.gradients.iter().zip(&defined.gradients);
    assert_eq!(found.gradients.len(), defined.gradients.len(), "{label}");
    for (name, (found, defined)) in names.zip(gradients) {
        let what = format!("{label}: gradient of {name}");
        within(&what, error(&what, found, defined), gradient);
    }
}

/// Rows are copied; the gradient of one that is read 127 times is a sum of as many terms.
#[cfg_attr(test, test)]
pub(crate) fn gather_rows() {
    for width in WIDTHS {
        for n in ROWS {
            let label = format!("{n} rows of {width}");
            agrees(GatherRows::new(65, n, width), &label, 0.0, 1e-6);
        }
        let label = format!("one row of {width} 127 times");
        agrees(GatherRows::new(1, 127, width), &label, 0.0, 1e-6);
    }
}

/// A row that is read more often than one invocation adds, at both sides of where its uses come in pieces: sums of up
/// to 20,000 terms.
#[cfg_attr(test, test)]
pub(crate) fn rows_with_many_uses() {
    for (n, width) in [(511, 3), (513, 3), (514, 7), (1_000, 100), (40_000, 5)] {
        let label = format!("every other of {n} places reads one row of {width}");
        agrees(GatherRows::new(65, n, width).with_hub(), &label, 0.0, 3e-6);
        let label = format!("one row of {width} {n} times");
        agrees(GatherRows::new(1, n, width), &label, 0.0, 3e-6);
    }
}

/// Exact, whatever the padding of a row's last word holds.
#[cfg_attr(test, test)]
pub(crate) fn unpack_bits() {
    for width in [1, 7, 31, 32, 33, 100, 186] {
        for rows in ROWS {
            let row_words = words_of(width);
            let words = picks(17, rows * row_words, i32::MAX as usize);
            let words: Vec<i32> = words.iter().map(|word| word.wrapping_mul(5)).collect();
            let defined = definitions::unpack_bits::unpack_bits(&words, width);
            let found = on_device(move |device| {
                let words = ints(&words, [rows, row_words], device);
                numbers(kernels::unpack_bits::unpack_bits(words, width))
            });
            assert_eq!(found, defined, "{rows} rows of {width}");
        }
    }
}

/// Bit by bit, numbers that are none among them; booleans exactly.
#[cfg_attr(test, test)]
pub(crate) fn feature_rows() {
    const TABLE: usize = 23;
    for width in [1, 7, 32, 33, 100] {
        for rows in ROWS {
            let index = picks(5, rows, TABLE);
            for stored in [Stored::Numbers, Stored::Booleans] {
                let columns = stored.words_of(width);
                let mut words = picks(17, TABLE * columns, i32::MAX as usize);
                words
                    .iter_mut()
                    .for_each(|word| *word = word.wrapping_mul(5));
                // Infinity, NaN, the least number above 0.
                words[..TABLE].copy_from_slice(&[0x7f80_0000, 0x7fc0_0001, 1].repeat(8)[..TABLE]);
                let (table, of) = (words.clone(), index.clone());
                let found = on_device(move |device| {
                    let table = ints(&table, [TABLE, columns], device);
                    let index = ints(&of, [of.len()], device);
                    numbers(kernels::feature_rows::feature_rows(
                        table, index, width, stored,
                    ))
                });
                let label = format!("{rows} rows of {width} {stored:?}");
                match stored {
                    Stored::Numbers => {
                        let found: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
                        let defined = definitions::feature_rows::numbers(&words, &index, width);
                        assert_eq!(found, defined, "{label}");
                    }
                    Stored::Booleans => {
                        let defined = definitions::feature_rows::booleans(&words, &index, width);
                        assert_eq!(found, defined, "{label}");
                    }
                }
            }
        }
    }
}

/// Word by word, in a table that nobody else holds and in a copy of one that somebody does.
#[cfg_attr(test, test)]
pub(crate) fn place_rows() {
    const TABLE: usize = 131;
    for words in [1, 7, 32, 172] {
        for rows in ROWS {
            let table = picks(11, TABLE * words, i32::MAX as usize);
            let mut placed = picks(13, rows * words, i32::MAX as usize);
            // Infinity, NaN, the least number above 0.
            let odd = [0x7f80_0000, 0x7fc0_0001, 1];
            placed
                .iter_mut()
                .zip(odd)
                .for_each(|(word, odd)| *word = odd);
            // Distinct, in no order.
            let slot: Vec<i32> = (0..rows).map(|row| (5 * row % TABLE) as i32).collect();
            let defined = definitions::place_rows::place_rows(&table, &placed, &slot, words);
            for shared in [false, true] {
                let (before, placed, slot) = (table.clone(), placed.clone(), slot.clone());
                let [found, left] = on_device(move |device| {
                    let table = ints(&before, [TABLE, words], device);
                    let other = shared.then(|| table.clone());
                    let rows = ints(&placed, [slot.len(), words], device);
                    let slot = ints(&slot, [slot.len()], device);
                    let found = kernels::place_rows::place_rows(table, rows, slot);
                    [Some(found), other].map(|table| {
                        table.map(|table| table.into_data().try_into_vec::<i32>().unwrap())
                    })
                });
                let label = format!("{rows} rows of {words}, shared: {shared}");
                assert_eq!(found.as_ref(), Some(&defined), "{label}");
                assert_eq!(left, shared.then(|| table.clone()), "{label}");
            }
        }
    }
}

/// The same bits for every counter.
#[cfg_attr(test, test)]
pub(crate) fn counter_hash() {
    for i in 0..10_000u32 {
        let mut counter = [i, !i, i.wrapping_mul(0x9e37_79b9), 7];
        counter.rotate_left(i as usize % 4);
        assert_eq!(
            kernels::dropout::counter_hash(counter),
            definitions::counter_hash::counter_hash(counter),
            "{counter:?}"
        );
    }
}

/// The draws are whole numbers, the rest is one product.
#[cfg_attr(test, test)]
pub(crate) fn dropout() {
    for width in WIDTHS {
        for rows in ROWS {
            for probability in [0.0, 0.1, 0.5] {
                let label = format!("{rows} rows of {width}, {probability}");
                let operation = DropoutCase::new(rows, width, probability);
                agrees(operation.clone(), &label, 1e-7, 1e-7);
                agrees(operation.with_relu(), &format!("{label}, relu"), 1e-7, 1e-7);
            }
        }
    }
}

/// The CPU kernel's cosine is exact to 1.2e-7, and the shader's within 2e-7 of it here. Gradients are
/// sums of up to 127 terms of mixed signs, and the sines of each are rounded.
#[cfg_attr(test, test)]
pub(crate) fn time_encoding() {
    for width in WIDTHS {
        for n in ROWS {
            for longest in [1.0, 2.7e6, 1.4e8] {
                let label = format!("{n} differences to {longest:e}, width {width}");
                agrees(TimeEncoding::new(n, width, longest), &label, 3.2e-7, 3e-6);
            }
        }
    }
    let many = TimeEncoding::new(1_300, 100, 2.7e6);
    agrees(many, "1300 differences", 3.2e-7, 3e-6);
}

/// exp and tanh of WGSL may be off by some units in the last place (the specification allows tanh
/// 1e-5 absolute); the CPU kernel's are within 3e-7. Products of up to 127 rows, times of a month.
#[cfg_attr(test, test)]
pub(crate) fn recurrent_cells() {
    for gates in [1, 3] {
        for rows in ROWS {
            for [width, mail] in [[65, 13], [7, 1], [100, 33], [1, 5]] {
                let label = format!("{rows} rows of {width}, mail {mail}, {gates} gates");
                let cell = RecurrentCell::new([rows, width, mail], gates, 2.7e6);
                agrees(cell, &label, 1e-5, 1e-5);
            }
        }
    }
}

/// Gates that are 1 or 0; a product that is hundreds is as exact as its largest term.
#[cfg_attr(test, test)]
pub(crate) fn saturated_cells() {
    let gru = RecurrentCell::new([65, 7, 3], 3, 2.7e6).saturated(100.0);
    agrees(gru, "saturated gru", 1e-5, 1e-4);
    // Beyond what e^x can take: 1 and -1, and no gradient at all.
    let rnn = RecurrentCell::new([65, 7, 3], 1, 2.7e6).saturated(1e20);
    let defined = rnn.definition();
    let found = on_device(move |device| rnn.run(device));
    let difference = error("saturated rnn", &found.output, &defined.output);
    within("saturated rnn: output", difference, 1e-5);
    assert!(found.gradients.concat().iter().all(|d| d.abs() < 1e-5));
}

/// Logits are dot products of up to 100 terms, of sums of as many; exp and log of WGSL may be off by
/// some units in the last place.
#[cfg_attr(test, test)]
pub(crate) fn link_predictor() {
    for events in ROWS {
        for width in [1, 5, 65] {
            let label = format!("{events} events, width {width}");
            agrees(LinkPredictor::new(events, width), &label, 1e-5, 1e-5);
        }
    }
    agrees(LinkPredictor::new(700, 5), "700 events", 1e-5, 1e-5);
    let far = LinkPredictor::new(19, 5).scaled(1e3);
    agrees(far, "logits of hundreds", 1e-5, 1e-5);
}

/// As above; of one statistic, of as many as are read, and of more than a vector has.
#[cfg_attr(test, test)]
pub(crate) fn link_predictor_with_pair_history() {
    for events in ROWS {
        for (width, statistics) in [(1, 1), (5, 11), (65, 17)] {
            let label = format!("{events} events, width {width}, {statistics} statistics");
            let operation = LinkPredictor::new(events, width).with_history(statistics);
            agrees(operation, &label, 1e-5, 1e-5);
        }
    }
}

/// As above.
#[cfg_attr(test, test)]
pub(crate) fn link_scores() {
    let cases = WIDTHS.iter().flat_map(|&width| [(width, 0), (width, 13)]);
    for (width, statistics) in cases {
        for pairs in ROWS {
            let operation = LinkScores::new(pairs, width).with_history(statistics);
            let label = format!("{pairs} pairs, width {width}, {statistics} statistics");
            let logits = operation.definition().logits();
            let found = on_device(move |device| operation.run(device));
            let difference = error(&label, &found, &logits);
            within(&format!("{label}: logits"), difference, 1e-5);
        }
    }
}

/// Means and variances of up to 100 numbers. (Of rows of one or two numbers nothing but rounding is
/// left, times up to 316.)
#[cfg_attr(test, test)]
pub(crate) fn output_norm() {
    for width in [7, 65, 100] {
        for rows in ROWS {
            for (probability, relu) in [(0.0, false), (0.1, true)] {
                let label = format!("{rows} rows of {width}, {probability}, relu {relu}");
                let operation = OutputNorm::new(rows, width, probability, relu);
                agrees(operation, &label, 1e-5, 1e-4);
            }
        }
    }
    agrees(OutputNorm::new(700, 65, 0.1, true), "700 rows", 1e-5, 1e-4);
}

/// As output_norm; gradients are sums over roots and rows.
#[cfg_attr(test, test)]
pub(crate) fn root_norm() {
    for width in [7, 65, 100] {
        for roots in ROWS {
            for projected in [false, true] {
                let label = format!("{roots} roots of {width}, projected {projected}");
                agrees(RootNorm::new(roots, width, projected), &label, 1e-5, 1e-4);
            }
        }
    }
    for projected in [false, true] {
        let label = format!("every other of 700 roots has one row, projected {projected}");
        agrees(
            RootNorm::new(700, 65, projected).with_hub(),
            &label,
            1e-5,
            1e-4,
        );
    }
}

/// Up to 400 terms. Sizes around the tile of 32 by 20 of a software adapter, and such that a GPU takes each of its
/// three tiles, forward and backward.
#[cfg_attr(test, test)]
pub(crate) fn product() {
    for [rows, inputs, outputs] in [
        [1, 1, 1],
        [1, 100, 7],
        [31, 21, 41],
        [32, 1, 20],
        [65, 33, 19],
        [127, 100, 7],
        [33, 100, 300],
        [70, 372, 400],
    ] {
        let label = format!("{rows} x {inputs} x {outputs}");
        agrees(Linear::new(rows, inputs, outputs), &label, 1e-5, 1e-5);
    }
    for rows in [1, 65, 127] {
        let operation = HeadProducts::new(2, rows, 6, 13);
        agrees(operation, &format!("heads, {rows} rows"), 1e-5, 1e-5);
    }
    let three = HeadProducts::new(3, 33, 63, 41);
    agrees(three, "three heads of 21", 1e-5, 1e-5);
    let wide = HeadProducts::new(2, 40, 100, 373);
    agrees(
        wide,
        "two heads of 50 at the widths of wikipedia",
        1e-5,
        1e-5,
    );
}

/// The gradient of a bias is a sum of rows: in one, two and three passes on a software adapter, in one on a GPU.
#[cfg_attr(test, test)]
pub(crate) fn column_sums() {
    for rows in [63, 65, 4200] {
        agrees(Linear::new(rows, 2, 3), &format!("{rows} rows"), 1e-5, 1e-5);
    }
}

const WIKIPEDIA: AttentionShape = AttentionShape {
    heads: 2,
    fanout: 10,
    node: 100,
    edge: 172,
    time: 100,
};

/// Dot products of up to 372 terms, which move a score of order 1 by some 1e-6 and with it the softmax.
fn attention_agrees(shape: AttentionShape, label: &str) {
    for roots in ROWS {
        for probability in [0.0, 0.1] {
            let label = format!("{label}, {roots} roots, dropout {probability}");
            agrees(
                Attention::new(shape, roots, probability),
                &label,
                1e-5,
                1e-5,
            );
        }
    }
}

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_at_the_widths_of_wikipedia() {
    attention_agrees(WIKIPEDIA, "wikipedia");
}

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_without_edge_features() {
    let shape = AttentionShape {
        heads: 1,
        fanout: 20,
        node: 16,
        edge: 0,
        time: 12,
    };
    attention_agrees(shape, "no edge features");
}

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_of_width_one() {
    let shape = AttentionShape {
        heads: 1,
        fanout: 1,
        node: 1,
        edge: 1,
        time: 1,
    };
    attention_agrees(shape, "width 1");
}

/// More (slot, head) pairs than invocations in a workgroup.
#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_of_many_odd_slots() {
    let shape = AttentionShape {
        heads: 7,
        fanout: 19,
        node: 5,
        edge: 3,
        time: 7,
    };
    attention_agrees(shape, "many pairs");
}

/// Gradients of one query and one node row that are sums of 300 and of about 1,000 terms, in pieces.
#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_to_a_node_in_half_of_all_events() {
    let shape = AttentionShape {
        heads: 2,
        fanout: 10,
        node: 7,
        edge: 3,
        time: 5,
    };
    let operation = Attention::new(shape, 300, 0.1).with_hub();
    agrees(operation.with_short_times(10.0), "hub", 1e-5, 1e-5);
}

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_without_past_events() {
    let operation = Attention::new(WIKIPEDIA, 65, 0.0).without_events();
    agrees(operation, "no past events", 0.0, 0.0);
}

/// The attention between products of up to 372 terms.
#[cfg_attr(test, test)]
pub(crate) fn attention_layers() {
    let narrow = AttentionShape {
        heads: 3,
        fanout: 4,
        node: 21,
        edge: 3,
        time: 7,
    };
    for (label, shape) in [("wikipedia", WIKIPEDIA), ("narrow", narrow)] {
        for roots in ROWS {
            let label = format!("{label}, {roots} roots");
            agrees(AttentionLayer::new(shape, roots, 0.1), &label, 1e-5, 1e-5);
        }
    }
    let hub = AttentionLayer::new(narrow, 300, 0.1).with_hub();
    agrees(hub.with_short_times(10.0), "hub", 1e-5, 1e-5);
}
