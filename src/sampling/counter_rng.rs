//! Random numbers that depend on what they are for, not on when they are drawn.
//!
//! A [`RandomStreams`] is fixed by (seed, epoch, purpose); [`RandomStreams::at`] opens the stream of
//! one (event, lane), where the lane tells apart several users at one event. Two streams share no
//! number and need no common state, so any thread may draw any of them in any order.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011): a bijection of a 128-bit counter under a 64-bit key that passes TestU01's
//! BigCrush. Its key is derived from all 64 bits of the seed, the epoch and the purpose by one more
//! Philox call, its counter is (draw, lane, event). Not for cryptography.

use std::collections::HashMap;

/// All streams of one (seed, epoch, purpose).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RandomStreams {
    key: [u32; 2],
}

impl RandomStreams {
    /// `purpose` is eight letters, one spelling for each use of random numbers in a run, so that
    /// uses with the same seed and epoch stay independent.
    pub(crate) fn new(seed: u64, epoch: u64, purpose: &[u8; 8]) -> RandomStreams {
        let (epoch, purpose) = (halves(epoch), halves(u64::from_le_bytes(*purpose)));
        let block = philox([epoch[0], epoch[1], purpose[0], purpose[1]], halves(seed));
        RandomStreams {
            key: [block[0], block[1]],
        }
    }

    /// The stream of `lane` at `event`, from its beginning. It is 2^34 numbers long.
    #[inline]
    pub(crate) fn at(&self, event: u64, lane: u32) -> CounterRng {
        let event = halves(event);
        CounterRng {
            key: self.key,
            counter: [0, lane, event[0], event[1]],
            block: [0; 4],
            used: 4,
        }
    }
}

/// One stream of random numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CounterRng {
    key: [u32; 2],
    /// Counter of the next block: (draw, lane, event low, event high).
    counter: [u32; 4],
    block: [u32; 4],
    /// Numbers of `block` already handed out.
    used: usize,
}

impl CounterRng {
    /// 32 random bits.
    #[inline]
    pub(crate) fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Uniform in `0..n` without bias: multiply and shift, rejecting the few products that would
    /// favour some results (Lemire: "Fast random integer generation in an interval", 2019).
    ///
    /// # Panics
    /// If `n` is 0.
    #[inline]
    pub(crate) fn u32_below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "no number is below 0");
        let mut product = u64::from(self.next_u32()) * u64::from(n);
        if (product as u32) < n {
            let biased = n.wrapping_neg() % n;
            while (product as u32) < biased {
                product = u64::from(self.next_u32()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    /// The numbers below `n` in random order, each once, lazily: Fisher and Yates' shuffle of an
    /// array of which, if it is long, only the entries that moved are kept, so drawing k of n costs k.
    pub(crate) fn each_below(self, n: u32) -> EachBelow {
        let rest = match n {
            ..=KEPT_WHOLE => Rest::All((0..n).collect()),
            _ => Rest::Moved(HashMap::new()),
        };
        EachBelow {
            rng: self,
            n,
            drawn: 0,
            rest,
        }
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-24.
    #[inline]
    pub(crate) fn f32_unit(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }
}

/// The numbers below `n` in random order, each once; see [`CounterRng::each_below`].
#[derive(Clone, Debug)]
pub(crate) struct EachBelow {
    rng: CounterRng,
    n: u32,
    drawn: u32,
    rest: Rest,
}

/// Longest array that is kept whole: to write it costs less than the look-ups of a hundred draws.
const KEPT_WHOLE: u32 = 1 << 12;

/// The array that is shuffled, from the first number that is not drawn yet.
#[derive(Clone, Debug)]
enum Rest {
    All(Vec<u32>),
    /// Where it differs from the ascending one.
    Moved(HashMap<u32, u32>),
}

impl Rest {
    /// The number at `chosen`, in whose place the one at `first` comes, which is not asked for again.
    fn take(&mut self, first: u32, chosen: u32) -> u32 {
        match self {
            Rest::All(all) => {
                all.swap(first as usize, chosen as usize);
                all[first as usize]
            }
            Rest::Moved(moved) => {
                let at_first = moved.remove(&first).unwrap_or(first);
                match chosen == first {
                    true => at_first,
                    false => moved.insert(chosen, at_first).unwrap_or(chosen),
                }
            }
        }
    }
}

impl Iterator for EachBelow {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.drawn == self.n {
            return None;
        }
        let (place, chosen) = (
            self.drawn,
            self.drawn + self.rng.u32_below(self.n - self.drawn),
        );
        self.drawn += 1;
        Some(self.rest.take(place, chosen))
    }
}

/// Low and high half.
#[inline]
fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// Philox4x32-10; constants from the paper's table 2.
#[inline]
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut a, mut b, mut c, mut d], [mut k0, mut k1]) = (counter, key);
    for _ in 0..10 {
        let [low_a, high_a] = halves(0xD251_1F53 * u64::from(a));
        let [low_c, high_c] = halves(0xCD9E_8D57 * u64::from(c));
        (a, b, c, d) = (high_c ^ b ^ k0, low_c, high_a ^ d ^ k1, low_a);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_once_and_every_order_alike() {
        let streams = RandomStreams::new(1, 0, b"shuffled");
        let mut orders = HashMap::new();
        for event in 0..6000 {
            let order: Vec<u32> = streams.at(event, 0).each_below(3).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
            *orders.entry(order).or_insert(0) += 1;
        }
        assert_eq!(orders.len(), 6);
        assert!(
            orders.values().all(|n| (850..1150).contains(n)),
            "{orders:?}"
        );
        assert_eq!(streams.at(0, 0).each_below(0).next(), None);
        // An array that is kept whole and one of which moved entries are draw alike.
        for event in 0..20 {
            let whole = streams.at(event, 0).each_below(100);
            let moved = EachBelow {
                rest: Rest::Moved(HashMap::new()),
                ..whole.clone()
            };
            assert!(whole.eq(moved));
        }
        let first: Vec<u32> = streams.at(0, 0).each_below(1 << 30).take(1000).collect();
        let distinct: std::collections::BTreeSet<&u32> = first.iter().collect();
        assert_eq!(distinct.len(), 1000);
    }

    /// `philox4x32 10` in `tests/kat_vectors` of the authors' Random123 library.
    #[test]
    fn published_vectors() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            philox(
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0]
            ),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    /// Flips every input bit and expects another stream; a generator that drops half of the seed
    /// fails here.
    #[test]
    fn every_bit_of_every_input_counts() {
        let first = |seed: u64, epoch: u64, purpose: u64, event: u64, lane: u32| {
            let mut rng = RandomStreams::new(seed, epoch, &purpose.to_le_bytes()).at(event, lane);
            [
                rng.next_u32(),
                rng.next_u32(),
                rng.next_u32(),
                rng.next_u32(),
            ]
        };
        let mut seen = std::collections::HashSet::from([first(7, 7, 7, 7, 7)]);
        for bit in 0..64 {
            let flipped = 7 ^ (1u64 << bit);
            assert!(seen.insert(first(flipped, 7, 7, 7, 7)), "seed bit {bit}");
            assert!(seen.insert(first(7, flipped, 7, 7, 7)), "epoch bit {bit}");
            assert!(seen.insert(first(7, 7, flipped, 7, 7)), "purpose bit {bit}");
            assert!(seen.insert(first(7, 7, 7, flipped, 7)), "event bit {bit}");
            if bit < 32 {
                assert!(
                    seen.insert(first(7, 7, 7, 7, flipped as u32)),
                    "lane bit {bit}"
                );
            }
        }
    }

    #[test]
    fn blocks_follow_one_another() {
        let mut rng = RandomStreams::new(1, 2, b"testing.").at(3, 4);
        let key = rng.key;
        let drawn: Vec<u32> = (0..8).map(|_| rng.next_u32()).collect();
        assert_eq!(drawn[..4], philox([0, 4, 3, 0], key));
        assert_eq!(drawn[4..], philox([1, 4, 3, 0], key));
    }

    /// Chi-square over 2,000 streams x 50 draws; 5 degrees of freedom exceed 25.7 once in 10^4.
    #[test]
    fn below_is_uniform_across_streams() {
        let mut count = [0u32; 6];
        let streams = RandomStreams::new(11, 0, b"testing.");
        for event in 0..2000 {
            let mut rng = streams.at(event, 0);
            (0..50).for_each(|_| count[rng.u32_below(6) as usize] += 1);
        }
        let expected = 100_000.0 / 6.0;
        let chi: f64 = count
            .iter()
            .map(|&c| (f64::from(c) - expected).powi(2) / expected)
            .sum();
        assert!(chi < 25.7, "chi-square {chi}, counts {count:?}");
    }

    /// Without rejection a third of the range would get twice its share of this `n`.
    #[test]
    fn below_rejects_what_would_be_biased() {
        let n = 3 << 30;
        let mut rng = RandomStreams::new(5, 0, b"testing.").at(0, 0);
        let mut thirds = [0u32; 3];
        (0..30_000).for_each(|_| thirds[(rng.u32_below(n) % 3) as usize] += 1);
        assert!(
            thirds.iter().all(|&c| (9_600..10_400).contains(&c)),
            "{thirds:?}"
        );
        assert_eq!(rng.u32_below(1), 0);
    }

    #[test]
    fn unit_floats_stay_below_one() {
        let mut rng = RandomStreams::new(9, 0, b"testing.").at(0, 0);
        let drawn: Vec<f32> = (0..10_000).map(|_| rng.f32_unit()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = drawn.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "mean {mean}");
    }
}
