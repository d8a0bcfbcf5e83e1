//! Seeded mutations for a smoke run without a fuzzer: what libFuzzer does, without coverage.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// One change of a file.
#[derive(Debug, Clone)]
enum Change {
    Flip {
        at: prop::sample::Index,
        bit: u8,
    },
    Set {
        at: prop::sample::Index,
        byte: u8,
    },
    /// Overwrites a place with a number that sizes and offsets trip over.
    Number {
        at: prop::sample::Index,
        bytes: Vec<u8>,
    },
    Cut {
        at: prop::sample::Index,
    },
    Remove {
        at: prop::sample::Index,
        count: usize,
    },
    Repeat {
        at: prop::sample::Index,
        count: usize,
        times: usize,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let numbers = prop::sample::select(vec![
        vec![0; 8],
        vec![0xff; 4],
        vec![0xff; 8],
        i32::MAX.to_le_bytes().to_vec(),
        i64::MAX.to_le_bytes().to_vec(),
        i64::MIN.to_le_bytes().to_vec(),
        b"-1".to_vec(),
        b"99999999999999999999".to_vec(),
        b"1e309".to_vec(),
        b"nan".to_vec(),
        b"\n".to_vec(),
        b",".to_vec(),
    ]);
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set { at, byte }),
        (at(), numbers).prop_map(|(at, bytes)| Change::Number { at, bytes }),
        at().prop_map(|at| Change::Cut { at }),
        (at(), 1usize..20).prop_map(|(at, count)| Change::Remove { at, count }),
        (at(), 1usize..20, 1usize..400).prop_map(|(at, count, times)| Change::Repeat {
            at,
            count,
            times
        }),
    ]
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        let length = data.len();
        match self {
            Change::Flip { at, bit } => data[at.index(length)] ^= 1 << bit,
            Change::Set { at, byte } => data[at.index(length)] = *byte,
            Change::Number { at, bytes } => {
                let start = at.index(length);
                let end = length.min(start + bytes.len());
                data.splice(start..end, bytes.iter().copied());
            }
            Change::Cut { at } => data.truncate(at.index(length)),
            Change::Remove { at, count } => {
                let start = at.index(length);
                data.drain(start..length.min(start + count));
            }
            Change::Repeat { at, count, times } => {
                let start = at.index(length);
                let piece = data[start..length.min(start + count)].repeat(*times);
                data.splice(start..start, piece);
            }
        }
    }
}

/// Runs `target` on every seed, and on `count` mutations of them that are the same in every run.
/// Where one fails, the smallest that fails is in the message.
pub fn smoke(seeds: &[Vec<u8>], count: u32, target: fn(&[u8])) {
    seeds.iter().for_each(|seed| target(seed));
    let config = Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    };
    let mutated = (
        prop::sample::select(seeds.to_vec()),
        prop::collection::vec(change(), 1..5),
    );
    let mut runner = TestRunner::new_with_rng(
        config,
        prop::test_runner::TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
    );
    let result = runner.run(&mutated, |(mut data, changes)| {
        changes.iter().for_each(|change| change.apply(&mut data));
        target(&data);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
