//! EdgeBank: predicts that what happened will happen again.
//!
//! A pair (source, destination) scores 1 if it is in the bank, else 0. [`Bank::Unlimited`] never
//! forgets; [`Bank::Window`] knows the pairs whose last event lies in a window of fixed length that
//! ends with the last event seen. The window is as long as [`WINDOW_PERCENT`] per cent of the time
//! that the bank's first events span. EdgeBank does not learn and yet beats trained models under
//! some protocols, so both variants are printed beside every result.
//!
//! Pairs are directed. A bank only knows what it was told with [`EdgeBank::insert`]: whoever
//! evaluates scores a batch first and inserts its events afterwards, so no score sees an event of
//! its own batch.
//!
//! Sources: Poursafaei et al., "Towards better evaluation for dynamic link prediction", NeurIPS
//! 2022; the window is that of TGB's `EdgeBankPredictor` (py-tgb, `edgebank_predictor.py`): its end
//! moves with the stream, its length stays. DyGLib's window holds a share of all *events* so far
//! instead and grows with them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::graph::{EventColumns, NodeId, Timestamp};

/// Length of the window in per cent of the time that the bank's first events span, as in TGB.
pub const WINDOW_PERCENT: i64 = 15;

/// What a bank still knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bank {
    /// Every pair seen.
    Unlimited,
    /// The pairs whose last event is in the window.
    Window,
}

/// The pairs seen so far with their last times; 17 to 34 bytes each.
#[derive(Clone, Debug, Default)]
pub struct EdgeBank {
    last: HashMap<u64, Timestamp, BuildHasherDefault<PairHasher>>,
    /// Time that the first events span.
    span: Timestamp,
    /// Time of the last event.
    end: Timestamp,
}

impl EdgeBank {
    /// A bank that has seen `events`, whose span of time decides how long its window is.
    pub fn after(events: EventColumns<'_>) -> EdgeBank {
        let mut bank = EdgeBank::default();
        if let (Some(&first), Some(&last)) = (events.time.first(), events.time.last()) {
            (bank.span, bank.end) = (last - first, last);
        }
        bank.insert(events);
        bank
    }

    /// 1 if `bank` still knows the pair, else 0.
    pub fn score(&self, bank: Bank, src: NodeId, dst: NodeId) -> f32 {
        let known = self.last.get(&pair(src, dst)).is_some_and(|&last| {
            // Exact: a product of two i64 fits an i128.
            let age = i128::from(self.end) - i128::from(last);
            let window = i128::from(self.span) * i128::from(WINDOW_PERCENT);
            bank == Bank::Unlimited || age * 100 <= window
        });
        f32::from(u8::from(known))
    }

    /// Remembers events, which must not be earlier than those before.
    pub fn insert(&mut self, events: EventColumns<'_>) {
        let pairs = events.src.iter().zip(events.dst).zip(events.time);
        for ((&src, &dst), &time) in pairs {
            self.last.insert(pair(src, dst), time);
            self.end = self.end.max(time);
        }
    }
}

fn pair(src: NodeId, dst: NodeId) -> u64 {
    u64::from(src.0) << 32 | u64::from(dst.0)
}

/// Hashes one u64 by the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom
/// number generators", OOPSLA 2014). Several times faster than the standard hasher, whose defence
/// against chosen keys a bank of node pairs does not need.
#[derive(Clone, Debug, Default)]
struct PairHasher(u64);

impl Hasher for PairHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, key: u64) {
        let mut z = (self.0 ^ key).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = z ^ (z >> 31);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::drawn_streams::Stream;

    fn columns(stream: &Stream) -> EventColumns<'_> {
        EventColumns {
            src: &stream.src,
            dst: &stream.dst,
            time: &stream.time,
        }
    }

    fn scores(bank: &EdgeBank, src: u32, dst: u32) -> [f32; 2] {
        [Bank::Unlimited, Bank::Window].map(|of| bank.score(of, NodeId(src), NodeId(dst)))
    }

    #[test]
    fn pairs_are_directed_and_remembered_once() {
        assert!(EdgeBank::default().last.is_empty());
        let bank = EdgeBank::after(columns(&Stream::drawn("1>2@5 1>2@6")));
        assert_eq!(bank.last.len(), 1);
        assert_eq!(scores(&bank, 1, 2), [1.0, 1.0]);
        assert_eq!(scores(&bank, 2, 1), [0.0, 0.0]);
        assert_eq!(scores(&bank, 1, 3), [0.0, 0.0]);
    }

    /// By hand. The first events span 100 ticks, so that the window is 15 long: at time 100 it is
    /// 85..=100, at time 104 it is 89..=104.
    ///
    /// ```text
    /// time   0     84    85    90    100  |  101   104
    ///       0>5   1>6   2>7   0>8   3>5   |  1>6   3>5
    /// ```
    #[test]
    fn the_window_has_a_fixed_length_and_moves_with_the_stream() {
        let mut bank = EdgeBank::after(columns(&Stream::drawn(
            "0>5@0 1>6@84 2>7@85 0>8@90 3>5@100",
        )));
        assert_eq!(scores(&bank, 0, 5), [1.0, 0.0]);
        assert_eq!(
            scores(&bank, 1, 6),
            [1.0, 0.0],
            "one tick before the window"
        );
        assert_eq!(scores(&bank, 2, 7), [1.0, 1.0], "at the window's beginning");
        assert_eq!(scores(&bank, 0, 8), [1.0, 1.0]);
        bank.insert(columns(&Stream::drawn("1>6@101 3>5@104")));
        assert_eq!(scores(&bank, 1, 6), [1.0, 1.0], "seen again");
        assert_eq!(scores(&bank, 2, 7), [1.0, 0.0], "the window has left it");
        assert_eq!(scores(&bank, 0, 8), [1.0, 1.0]);
        assert_eq!(bank.last.len(), 5);
    }

    #[test]
    fn many_pairs_are_told_apart() {
        let pairs = (0..300).flat_map(|src| (0..300).map(move |dst| (src, dst)));
        let (src, dst): (Vec<NodeId>, Vec<NodeId>) = pairs
            .filter(|(src, dst)| (src + dst) % 3 == 0)
            .map(|(src, dst)| (NodeId(src), NodeId(dst)))
            .unzip();
        let time = vec![0; src.len()];
        let bank = EdgeBank::after(EventColumns {
            src: &src,
            dst: &dst,
            time: &time,
        });
        assert_eq!(bank.last.len(), 30_000);
        for src in 0..300 {
            for dst in 0..300 {
                let expected = if (src + dst) % 3 == 0 { 1.0 } else { 0.0 };
                assert_eq!(scores(&bank, src, dst), [expected; 2], "{src} {dst}");
            }
        }
    }
}
