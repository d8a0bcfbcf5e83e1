//! Counter-based random numbers: a value is a pure function of (seed, counter).
//!
//! No state is carried along, so any thread can produce any value and results
//! never depend on the number of threads. The mixing function is the finaliser
//! of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014; constants of variant 13 by
//! D. Stafford), applied to a Weyl sequence whose start is a mixed seed. It is
//! not for cryptography. Transcendental functions come from the `libm` crate,
//! which is pure Rust, so the bits are the same on every platform.

const WEYL: u64 = 0x9E37_79B9_7F4A_7C15;

/// The SplitMix64 finaliser: a bijection of 64-bit words.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A family of independent-looking words, addressed by a counter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words(u64);

impl Words {
    /// All 64 bits of `seed` count; `stream` separates uses of the same seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Words {
        Words(mix(mix(seed.wrapping_add(WEYL)) ^ stream.wrapping_mul(WEYL)))
    }

    /// Word number `counter`.
    pub(crate) fn at(self, counter: u64) -> u64 {
        mix(self
            .0
            .wrapping_add(counter.wrapping_add(1).wrapping_mul(WEYL)))
    }

    /// A family for the sub-stream `index`.
    pub(crate) fn child(self, index: u64) -> Words {
        Words(self.at(index))
    }
}

/// Draws in sequence from one family; for code that is sequential anyway.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    words: Words,
    next: u64,
}

impl Draws {
    pub(crate) fn new(words: Words) -> Draws {
        Draws { words, next: 0 }
    }

    pub(crate) fn word(&mut self) -> u64 {
        let word = self.words.at(self.next);
        self.next += 1;
        word
    }

    /// Uniform in (0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        open_unit(self.word())
    }

    /// Uniform below `n` (`n` > 0); the bias is below n / 2^64.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(n)) >> 64) as u64
    }

    /// Exponential with the given mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -libm::log(self.unit()) * mean
    }
}

/// Maps a word to (0, 1): 53 bits, never an end point.
pub(crate) fn open_unit(word: u64) -> f64 {
    ((word >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
}

/// Standard normal deviate of a uniform `p` in (0, 1).
///
/// Wichura's PPND7 (algorithm AS 241, Applied Statistics 37, 1988): about seven digits.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q
            * (((59.109_374_720 * r + 159.291_132_02) * r + 50.434_271_938) * r + 3.387_132_717_9)
            / (((67.187_563_600 * r + 78.757_757_664) * r + 17.895_169_469) * r + 1.0);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = libm::sqrt(-libm::log(tail));
    let z = if r <= 5.0 {
        let r = r - 1.6;
        (((0.170_238_210_3 * r + 1.306_728_481_6) * r + 2.756_815_390_0) * r + 1.423_437_277_7)
            / ((0.120_211_320_8 * r + 0.737_001_642_50) * r + 1.0)
    } else {
        let r = r - 5.0;
        (((0.017_337_203_997 * r + 0.428_682_943_37) * r + 3.081_226_386_0) * r + 6.657_905_115_0)
            / ((0.012_258_202_635 * r + 0.241_978_942_25) * r + 1.0)
    };
    if q < 0.0 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_splitmix_words() {
        // Reference: SplitMix64 seeded with 1234567 (Vigna's splitmix64.c) yields these first words.
        let mut state = 1_234_567u64;
        let mut next = || {
            state = state.wrapping_add(WEYL);
            mix(state)
        };
        assert_eq!(
            [next(), next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn quantiles() {
        // scipy.stats.norm.ppf([0.5, 0.975, 0.001, 1e-12])
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_985),
            (0.001, -3.090_232_306),
            (1e-12, -7.034_483_825),
        ] {
            assert!((normal_quantile(p) - z).abs() < 2e-6, "{p}");
        }
    }

    #[test]
    fn every_seed_bit_counts() {
        let base = Words::new(7, 0).at(0);
        for bit in 0..64 {
            assert_ne!(Words::new(7 ^ (1 << bit), 0).at(0), base, "bit {bit}");
        }
    }
}
