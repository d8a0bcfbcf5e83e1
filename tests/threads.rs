//! The CPU kernels give the same bits with one thread and with three.

use mspipe::kernels::temporal_attention::AttentionShape;

use crate::on_device;
use crate::operations::{
    Attention, DropoutCase, GatherRows, Operation, RecurrentCell, TimeEncoding,
};
use crate::row_independence::wide_embeddings;

fn in_pool(threads: usize, operation: &impl Operation) -> Vec<Vec<u32>> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let outcome = pool.install(|| on_device(|device| operation.run(device)));
    std::iter::once(outcome.output)
        .chain(outcome.gradients)
        .map(|numbers| numbers.iter().map(|v| v.to_bits()).collect())
        .collect()
}

/// Same bits in pools of one thread and of three, and in each of three runs of the latter.
fn does_not_depend_on_threads(operation: &impl Operation) {
    let one = in_pool(1, operation);
    assert!(
        one.iter()
            .any(|numbers| numbers.iter().any(|&bits| bits != 0))
    );
    for _ in 0..3 {
        assert!(
            one == in_pool(3, operation),
            "bits differ between 1 and 3 threads"
        );
    }
}

// Sizes that every CPU kernel splits into several tasks.

#[test]
fn temporal_attention() {
    let shape = AttentionShape {
        heads: 2,
        fanout: 10,
        node: 100,
        edge: 172,
        time: 100,
    };
    does_not_depend_on_threads(&Attention::new(shape, 301, 0.1));
}

#[test]
fn recurrent_cells() {
    for gates in [1, 3] {
        does_not_depend_on_threads(&RecurrentCell::new([301, 100, 172], gates, 2.7e6));
    }
}

#[test]
fn time_encoding() {
    does_not_depend_on_threads(&TimeEncoding::new(1001, 100, 2.7e6));
}

#[test]
fn gather_rows() {
    does_not_depend_on_threads(&GatherRows::new(257, 3001, 100));
}

#[test]
fn dropout() {
    does_not_depend_on_threads(&DropoutCase::new(301, 100, 0.1));
}

/// Products, cells, norms and all else between a stream and its embeddings; one root alone, too.
#[test]
fn embeddings() {
    let embed = |threads: usize, count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        pool.install(|| on_device(|device| wide_embeddings(count, device)))
    };
    let one = embed(1, 90);
    assert!(one == embed(3, 90) && one == embed(2, 90));
    let alone = embed(2, 1);
    assert!(one[..alone.len()] == alone);
}
