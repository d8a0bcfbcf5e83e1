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
//! moves with the stream, its length stays. The three other banks are DyGLib's (Yu et al., NeurIPS
//! 2023, `models/EdgeBank.py`), there made anew of all events before each batch, here kept up to
//! date: [`Bank::RecentEvents`] (its `fixed_proportion`), [`Bank::RepeatInterval`],
//! [`Bank::RepeatThreshold`].

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
    /// The pairs whose last event is not before the time that [`WINDOW_PERCENT`] per cent of all
    /// events so far come after (a quantile between two of them, as NumPy interpolates).
    RecentEvents,
    /// The pairs whose last event is no older than pairs take to repeat: the mean over all pairs of
    /// the mean time between a pair's events, 0 for a pair that has one.
    RepeatInterval,
    /// The pairs that have happened at least as often as pairs on average.
    RepeatThreshold,
}

/// What DyGLib's banks know more; 33 to 66 bytes a pair, and 8 an event.
#[derive(Clone, Debug, Default)]
struct Repeats {
    /// Time of each pair's first event, and how many it has.
    pairs: HashMap<u64, (Timestamp, u64), BuildHasherDefault<PairHasher>>,
    /// Of all events.
    times: Vec<Timestamp>,
    /// Sum over pairs of the mean time between a pair's events.
    intervals: f64,
}

/// The pairs seen so far with their last times; 17 to 34 bytes each.
#[derive(Clone, Debug, Default)]
pub struct EdgeBank {
    last: HashMap<u64, Timestamp, BuildHasherDefault<PairHasher>>,
    /// Time that the first events span.
    span: Timestamp,
    /// Time of the last event.
    end: Timestamp,
    /// Only where DyGLib's banks are asked for.
    repeats: Option<Repeats>,
}

impl EdgeBank {
    /// A bank that has seen `events`, whose span of time decides how long its window is;
    /// [`Bank::Unlimited`] and [`Bank::Window`] can be asked.
    pub fn after(events: EventColumns<'_>) -> EdgeBank {
        EdgeBank::default().begin(events)
    }

    /// The same for DyGLib's banks too.
    pub fn with_repeats_after(events: EventColumns<'_>) -> EdgeBank {
        let bank = EdgeBank {
            repeats: Some(Repeats::default()),
            ..EdgeBank::default()
        };
        bank.begin(events)
    }

    fn begin(self, events: EventColumns<'_>) -> EdgeBank {
        let mut bank = self;
        if let (Some(&first), Some(&last)) = (events.time.first(), events.time.last()) {
            (bank.span, bank.end) = (last - first, last);
        }
        bank.insert(events);
        bank
    }

    /// 1 if `bank` still knows the pair, else 0; 0 by a bank of DyGLib's that was not asked for.
    pub fn score(&self, bank: Bank, src: NodeId, dst: NodeId) -> f32 {
        let pair = pair(src, dst);
        let known = self.last.get(&pair).is_some_and(|&last| {
            let age = i128::from(self.end) - i128::from(last);
            let repeats = self.repeats.as_ref();
            match bank {
                Bank::Unlimited => true,
                // Exact: a product of two i64 fits an i128.
                Bank::Window => age * 100 <= i128::from(self.span) * i128::from(WINDOW_PERCENT),
                Bank::RecentEvents => repeats.is_some_and(|repeats| repeats.is_recent(last)),
                Bank::RepeatInterval => repeats.is_some_and(|repeats| {
                    // At the border a sum that was rounded otherwise decides nothing.
                    age as f64 * self.last.len() as f64 <= repeats.intervals * (1.0 + 1e-12)
                }),
                Bank::RepeatThreshold => repeats.is_some_and(|repeats| {
                    let (_, count) = repeats.pairs[&pair];
                    count * self.last.len() as u64 >= repeats.times.len() as u64
                }),
            }
        });
        f32::from(u8::from(known))
    }

    /// Remembers events, which must not be earlier than those before.
    pub fn insert(&mut self, events: EventColumns<'_>) {
        let pairs = events.src.iter().zip(events.dst).zip(events.time);
        for ((&src, &dst), &time) in pairs {
            let pair = pair(src, dst);
            let last = self.last.insert(pair, time);
            self.end = self.end.max(time);
            if let Some(repeats) = &mut self.repeats {
                repeats.insert(pair, last, time);
            }
        }
    }
}

impl Repeats {
    /// Remembers an event of `pair`, whose event before was at `last`.
    fn insert(&mut self, pair: u64, last: Option<Timestamp>, time: Timestamp) {
        let (first, count) = self.pairs.entry(pair).or_insert((time, 0));
        let mean = |until: Timestamp, count: u64| match count {
            0 | 1 => 0.0,
            count => (until - *first) as f64 / (count - 1) as f64,
        };
        let before = last.map_or(0.0, |last| mean(last, *count));
        self.intervals += mean(time, *count + 1) - before;
        *count += 1;
        self.times.push(time);
    }

    /// Whether `last` is not before the quantile of the events' times.
    fn is_recent(&self, last: Timestamp) -> bool {
        let Some(steps) = self.times.len().checked_sub(1) else {
            return false;
        };
        // 85 % of the way from the first event to the last one, in hundredths of an event.
        let way = steps as i128 * i128::from(100 - WINDOW_PERCENT);
        let (below, rest) = ((way / 100) as usize, way % 100);
        let [from, to] = [below, (below + 1).min(steps)].map(|at| i128::from(self.times[at]));
        (i128::from(last) - from) * 100 >= (to - from) * rest
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
    use std::collections::BTreeMap;

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

    /// What DyGLib's banks hold after some events, made anew of all of them.
    fn held(bank: Bank, events: &[(u32, u32, Timestamp)]) -> Vec<(u32, u32)> {
        let mut times: BTreeMap<(u32, u32), Vec<f64>> = BTreeMap::new();
        for &(src, dst, time) in events {
            times.entry((src, dst)).or_default().push(time as f64);
        }
        let all: Vec<f64> = events.iter().map(|&(.., time)| time as f64).collect();
        let pairs = times.len() as f64;
        let start = match bank {
            Bank::RecentEvents => {
                let place = 0.85 * (all.len() - 1) as f64;
                let (below, rest) = (place.floor(), place.fract());
                let (from, to) = (all[below as usize], all[place.ceil() as usize]);
                // Less than rounding could move it.
                from + (to - from) * rest - 1e-9
            }
            _ => {
                let means = times.values().filter(|times| times.len() > 1).map(|times| {
                    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
                    steps.sum::<f64>() / (times.len() - 1) as f64
                });
                all[all.len() - 1] - means.sum::<f64>() / pairs - 1e-9
            }
        };
        let often = all.len() as f64 / pairs;
        let kept = times.iter().filter(|(_, times)| match bank {
            Bank::RepeatThreshold => times.len() as f64 >= often,
            _ => times.iter().any(|&time| time >= start),
        });
        kept.map(|(&pair, _)| pair).collect()
    }

    #[test]
    fn dyglibs_banks_hold_what_their_definition_says() {
        const BANKS: [Bank; 3] = [
            Bank::RecentEvents,
            Bank::RepeatInterval,
            Bank::RepeatThreshold,
        ];
        for salt in 0..20u64 {
            let mut time = 0;
            let events: Vec<(u32, u32, Timestamp)> = (0..60u64)
                .map(|event| {
                    let mut hasher = PairHasher::default();
                    hasher.write_u64(event << 8 | salt);
                    let drawn = hasher.finish();
                    time += (drawn >> 32) as Timestamp % 5;
                    let (src, dst) = (drawn % 5, 10 + (drawn >> 16) % 4);
                    (src as u32, dst as u32, time)
                })
                .collect();
            let stream = |events: &[(u32, u32, Timestamp)]| {
                let words = events
                    .iter()
                    .map(|(src, dst, time)| format!("{src}>{dst}@{time}"));
                Stream::drawn(&words.collect::<Vec<_>>().join(" "))
            };
            let mut bank = EdgeBank::with_repeats_after(columns(&stream(&events[..7])));
            for seen in 7..events.len() {
                for of in BANKS {
                    let held = held(of, &events[..seen]);
                    for pair in (0..5).flat_map(|src| (10..14).map(move |dst| (src, dst))) {
                        let score = bank.score(of, NodeId(pair.0), NodeId(pair.1));
                        let expected = f32::from(u8::from(held.contains(&pair)));
                        assert_eq!(score, expected, "{of:?} {pair:?} after {seen} of {salt}");
                    }
                }
                bank.insert(columns(&stream(&events[seen..=seen])));
            }
            // One that was not asked for them has none.
            let plain = EdgeBank::after(columns(&stream(&events)));
            let pair = (NodeId(events[0].0), NodeId(events[0].1));
            assert!(
                BANKS
                    .iter()
                    .all(|&of| plain.score(of, pair.0, pair.1) == 0.0)
            );
        }
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
