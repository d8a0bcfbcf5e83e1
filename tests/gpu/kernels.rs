//! Where shaders and CPU kernels give the same bits: rows are copied or drawn for by whole numbers, and
//! added in one order. And that a second run of any shader gives the bits of the first.

use burn::tensor::Device;
use mspipe::kernels::temporal_attention::AttentionShape;

use crate::kernels::{ROWS, WIDTHS};
use crate::on_device;
use crate::operations::{
    Attention, AttentionLayer, DropoutCase, GatherRows, HeadProducts, Linear, LinkPredictor,
    Operation, Outcome, OutputNorm, RecurrentCell, RootNorm, TimeEncoding,
};

fn bits(outcome: &Outcome) -> Vec<u32> {
    let numbers = outcome
        .output
        .iter()
        .chain(outcome.gradients.iter().flatten());
    numbers.map(|v| v.to_bits()).collect()
}

/// What the adapter gives, twice.
fn repeats(operation: &impl Operation) -> Outcome {
    let operation = operation.clone();
    let (first, again) = on_device(move |device| (operation.run(device), operation.run(device)));
    assert!(
        bits(&first) == bits(&again),
        "a second run gives other bits"
    );
    first
}

fn has_the_bits_of_the_cpu(operation: &impl Operation) {
    let cpu = operation.run(&Device::flex());
    assert!(bits(&repeats(operation)) == bits(&cpu), "other bits");
}

#[cfg_attr(test, test)]
pub(crate) fn gather_rows() {
    for width in WIDTHS {
        for n in ROWS {
            has_the_bits_of_the_cpu(&GatherRows::new(65, n, width));
        }
        has_the_bits_of_the_cpu(&GatherRows::new(1, 127, width));
    }
}

/// More workgroups than fit one axis of a dispatch; no row with so many uses that they are summed in pieces.
#[cfg_attr(test, test)]
pub(crate) fn gather_rows_in_a_folded_dispatch() {
    has_the_bits_of_the_cpu(&GatherRows::new(350, 45_000, 100));
}

#[cfg_attr(test, test)]
pub(crate) fn dropout() {
    for width in WIDTHS {
        for rows in ROWS {
            for probability in [0.0, 0.1, 0.5] {
                let operation = DropoutCase::new(rows, width, probability);
                has_the_bits_of_the_cpu(&operation);
                has_the_bits_of_the_cpu(&operation.with_relu());
            }
        }
    }
}

#[cfg_attr(test, test)]
pub(crate) fn a_second_run_gives_the_bits_of_the_first() {
    repeats(&GatherRows::new(65, 1_000, 100).with_hub());
    for rows in [1, 127] {
        repeats(&TimeEncoding::new(rows, 100, 2.7e6));
        repeats(&RecurrentCell::new([rows, 65, 13], 1, 2.7e6));
        repeats(&RecurrentCell::new([rows, 65, 13], 3, 2.7e6));
        repeats(&LinkPredictor::new(rows, 65));
        repeats(&LinkPredictor::new(rows, 65).with_history(13));
        repeats(&OutputNorm::new(rows, 100, 0.1, true));
        repeats(&RootNorm::new(rows, 100, true));
        repeats(&Linear::new(rows, 100, 7));
        repeats(&HeadProducts::new(3, rows, 63, 41));
        let shape = AttentionShape {
            heads: 7,
            fanout: 19,
            node: 5,
            edge: 3,
            time: 7,
        };
        repeats(&Attention::new(shape, rows, 0.1));
        let shape = AttentionShape { node: 14, ..shape };
        repeats(&AttentionLayer::new(shape, rows, 0.1));
    }
    repeats(&Linear::new(4200, 2, 3));
}
