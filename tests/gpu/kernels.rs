//! Each operation on the adapter against the same on the CPU device, forward and backward,
//! through the functions that the models call.

use burn::tensor::Device;
use mspipe::kernels;
use mspipe::kernels::temporal_attention::AttentionShape;
use mspipe::kernels::unpack_bits::words_of;

use super::device_thread;
use crate::operations::{
    Attention, DropoutCase, GatherRows, GruGates, HeadProducts, Linear, LinkPredictor, LinkScores,
    Operation, Outcome, OutputNorm, RecurrentCell, RnnGates, TimeEncoding, TimeProjection, ints,
    numbers, picks,
};

/// Row counts: none, one, and around multiples of the 64 invocations of a workgroup.
const ROWS: [usize; 4] = [0, 1, 65, 127];

/// One number, an odd width, and Wikipedia's.
const WIDTHS: [usize; 3] = [1, 7, 100];

/// What the operation gives on the adapter and on the CPU device. It runs twice on the
/// adapter: the same inputs must give the same bits.
fn both(operation: &impl Operation) -> (Outcome, Outcome) {
    let (on_adapter, again) = {
        let operation = operation.clone();
        device_thread::run(move |device| (operation.run(device), operation.run(device)))
    };
    assert!(
        bits(&on_adapter) == bits(&again),
        "a second run gives other bits"
    );
    (on_adapter, operation.run(&Device::flex()))
}

fn bits(outcome: &Outcome) -> Vec<u32> {
    let numbers = outcome
        .output
        .iter()
        .chain(outcome.gradients.iter().flatten());
    numbers.map(|v| v.to_bits()).collect()
}

/// Largest difference of `a` from `b`, relative to the largest number of `b`.
fn error(label: &str, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "{label}");
    let largest = b.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    let difference = a.iter().zip(b).fold(0.0f32, |most, (a, b)| {
        let difference = (a - b).abs();
        assert!(difference.is_finite(), "{label}: {a} against {b}");
        most.max(difference)
    });
    if difference == 0.0 {
        0.0
    } else {
        difference / largest
    }
}

/// Compares output and gradients, each within its tolerance.
fn agrees(mut operation: impl Operation, label: &str, output: f32, gradient: f32) {
    let (adapter, cpu) = both(&operation);
    let forward = error(&format!("{label} output"), &adapter.output, &cpu.output);
    assert!(forward <= output, "{label}: output differs by {forward}");
    let mut text = format!("{label}: output {forward:.1e}");
    let names: Vec<_> = operation
        .inputs()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for (name, (a, b)) in names
        .iter()
        .zip(adapter.gradients.iter().zip(&cpu.gradients))
    {
        let backward = error(&format!("{label} gradient of {name}"), a, b);
        assert!(
            backward <= gradient,
            "{label}: gradient of {name} differs by {backward}"
        );
        text += &format!(", {name} {backward:.1e}");
    }
    println!("{text}");
}

/// Exact: rows are copied, and their gradients added in the same order on both.
#[test]
fn gather_rows() {
    for width in WIDTHS {
        for n in ROWS {
            let operation = GatherRows::new(65, n, width);
            assert_eq!(operation.run(&Device::flex()).output, operation.expected());
            agrees(operation, &format!("{n} rows of {width}"), 0.0, 0.0);
        }
        agrees(
            GatherRows::new(1, 127, width),
            "one row 127 times",
            0.0,
            0.0,
        );
    }
}

/// More workgroups than fit one axis of a dispatch.
#[test]
fn gather_rows_in_a_folded_dispatch() {
    let operation = GatherRows::new(65, 45_000, 100);
    let (adapter, cpu) = both(&operation);
    assert!(adapter.output == operation.expected());
    assert!(adapter.gradients == cpu.gradients);
}

/// Exact: bits become 0 and 1, whatever the padding of a row's last word holds.
#[test]
fn unpack_bits() {
    for width in [1, 7, 31, 32, 33, 100, 186] {
        for rows in ROWS {
            let row_words = words_of(width);
            let words = picks(17, rows * row_words, i32::MAX as usize);
            let words: Vec<i32> = words.iter().map(|word| word.wrapping_mul(5)).collect();
            let run = |device: &Device| {
                let words = ints(&words, [rows, row_words], device);
                numbers(kernels::unpack_bits::unpack_bits(words, width))
            };
            let expected: Vec<f32> = (0..rows * width)
                .map(|i| {
                    let (row, column) = (i / width, i % width);
                    ((words[row * row_words + column / 32] >> (column % 32)) & 1) as f32
                })
                .collect();
            assert_eq!(run(&Device::flex()), expected, "{rows} rows of {width}");
            let words = words.clone();
            let on_adapter = device_thread::run(move |device| {
                let words = ints(&words, [rows, row_words], device);
                numbers(kernels::unpack_bits::unpack_bits(words, width))
            });
            assert_eq!(on_adapter, expected, "{rows} rows of {width}");
        }
    }
}

/// Exact: the draws are integers, the rest is one product.
#[test]
fn dropout() {
    for width in WIDTHS {
        for rows in ROWS {
            for probability in [0.0, 0.1, 0.5] {
                let label = format!("{rows} rows of {width}, {probability}");
                agrees(DropoutCase::new(rows, width, probability), &label, 0.0, 0.0);
            }
        }
    }
}

/// The CPU kernel's cosine is exact to 1.2e-7, the shader's to 1e-6 of which 2e-7 are allowed
/// here. Gradients are sums of up to 127 terms of mixed signs; the shader rounds its
/// sine 1e-7 differently in each.
#[test]
fn time_encoding() {
    for width in WIDTHS {
        for n in ROWS {
            for longest in [1.0, 2.7e6, 1.4e8] {
                let label = format!("{n} differences to {longest:e}, width {width}");
                agrees(TimeEncoding::new(n, width, longest), &label, 2e-7, 2e-6);
            }
        }
    }
}

/// exp and tanh of WGSL may be off by some units in the last place (the specification
/// allows tanh 1e-5 absolute); the CPU kernel's are within 3e-7.
#[test]
fn gru_gates() {
    for width in WIDTHS {
        for rows in ROWS {
            let label = format!("{rows} rows of {width}");
            agrees(GruGates::new(rows, width), &label, 1e-5, 1e-5);
        }
    }
    agrees(
        GruGates::new(65, 7).saturated(100.0),
        "saturated gates",
        1e-5,
        1e-5,
    );
}

/// As for the GRU's gates.
#[test]
fn rnn_gates() {
    for width in WIDTHS {
        for rows in ROWS {
            let label = format!("{rows} rows of {width}");
            agrees(RnnGates::new(rows, width, 1.0), &label, 1e-5, 1e-5);
        }
    }
}

/// As for their parts: products of up to 127 rows in another order, times of a month.
#[test]
fn recurrent_cells() {
    for gates in [1, 3] {
        for rows in ROWS {
            let operation = RecurrentCell::new([rows, 65, 13], gates, 2.7e6);
            agrees(
                operation,
                &format!("{rows} rows, {gates} gates"),
                1e-5,
                1e-5,
            );
        }
    }
}

#[test]
fn time_projection() {
    for width in WIDTHS {
        for rows in ROWS {
            let label = format!("{rows} rows of {width}");
            agrees(TimeProjection::new(rows, width), &label, 1e-6, 1e-5);
        }
    }
}

/// As for its parts.
#[test]
fn link_predictor() {
    for events in ROWS {
        let label = format!("{events} events");
        agrees(LinkPredictor::new(events, 65), &label, 1e-5, 1e-5);
    }
}

/// Logits are dot products of up to 100 terms in another order; exp and log of WGSL may be off
/// by some units in the last place.
#[test]
fn link_scores() {
    for width in WIDTHS {
        for events in ROWS {
            let operation = LinkScores::new(events, width);
            let label = format!("{events} events, width {width}");
            let on_adapter = {
                let operation = operation.clone();
                device_thread::run(move |device| operation.logits(device))
            };
            let difference = error(&label, &on_adapter, &operation.logits(&Device::flex()));
            assert!(difference < 1e-5, "{label}: logits differ by {difference}");
            agrees(operation, &label, 1e-5, 1e-5);
        }
    }
}

/// Means and variances of up to 100 numbers are added in another order. (Of rows of one or two
/// numbers nothing but rounding is left, times up to 316.)
#[test]
fn output_norm() {
    for width in [7, 65, 100] {
        for rows in ROWS {
            for (probability, relu) in [(0.0, false), (0.1, true)] {
                let label = format!("{rows} rows of {width}, {probability}, relu {relu}");
                let operation = OutputNorm::new(rows, width, probability, relu);
                agrees(operation, &label, 1e-5, 1e-4);
            }
        }
    }
}

/// Products on the adapter (`product.wgsl` on a software one, burn's on a real one) against
/// those on the CPU: up to 127 terms in another order. Sizes around the tile of 32 by 20.
#[test]
fn product() {
    for [rows, inputs, outputs] in [
        [1, 1, 1],
        [1, 100, 7],
        [31, 21, 41],
        [32, 1, 20],
        [65, 33, 19],
        [127, 100, 7],
    ] {
        let label = format!("{rows} x {inputs} x {outputs}");
        agrees(Linear::new(rows, inputs, outputs), &label, 1e-5, 1e-5);
    }
    for rows in [1, 65, 127] {
        let operation = HeadProducts::new(2, rows, 6, 13);
        agrees(operation, &format!("heads, {rows} rows"), 1e-5, 1e-5);
    }
    agrees(
        HeadProducts::new(3, 33, 63, 41),
        "three heads of 21",
        1e-5,
        1e-5,
    );
}

/// The gradient of a bias is a sum of rows: in one, two and three passes on a software adapter.
/// The order of additions differs.
#[test]
fn column_sums() {
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

/// Dot products of up to 372 terms are summed in another order (16 partial sums in the
/// CPU kernel, up to 16 lanes in the shader), which moves a score of order 1 by some 1e-6 and
/// with it the softmax.
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

#[test]
fn temporal_attention_at_the_widths_of_wikipedia() {
    attention_agrees(WIKIPEDIA, "wikipedia");
}

#[test]
fn temporal_attention_without_edge_features() {
    let shape = AttentionShape {
        heads: 1,
        fanout: 20,
        node: 16,
        edge: 0,
        time: 12,
    };
    attention_agrees(shape, "no edge features");
}

#[test]
fn temporal_attention_of_width_one() {
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
#[test]
fn temporal_attention_of_many_odd_slots() {
    let shape = AttentionShape {
        heads: 7,
        fanout: 19,
        node: 5,
        edge: 3,
        time: 7,
    };
    attention_agrees(shape, "many pairs");
}

#[test]
fn temporal_attention_without_past_events() {
    let operation = Attention::new(WIKIPEDIA, 65, 0.0).without_events();
    assert!(
        operation
            .run(&Device::flex())
            .output
            .iter()
            .all(|&v| v == 0.0)
    );
    agrees(operation, "no past events", 0.0, 0.0);
}
