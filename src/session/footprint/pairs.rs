//! How many pairs of nodes a stream has.

/// Distinct (source, destination) pairs, estimated within some percent up to 10^8: pairs are
/// hashed to the bits of a table, and the share of bits that stay 0 tells how many there are.
///
/// Source: Whang et al., "A linear-time probabilistic counting algorithm", ACM TODS 1990.
pub(super) fn distinct_pairs(src: &[u32], dst: &[u32]) -> u64 {
    const WORDS: usize = 1 << 19;
    let mut seen = vec![0u64; WORDS];
    for (&src, &dst) in src.iter().zip(dst) {
        // A multiplication mixes the pair; its upper bits depend on all of it.
        let pair = u64::from(src) << 32 | u64::from(dst);
        let mixed = (pair ^ (pair >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bit = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 39;
        seen[bit as usize / 64] |= 1 << (bit % 64);
    }
    let bits = 64.0 * WORDS as f64;
    let zeros: u64 = seen.iter().map(|word| u64::from(word.count_zeros())).sum();
    let estimate = -bits * (zeros.max(1) as f64 / bits).ln();
    (estimate as u64).min(src.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_within_a_percent() {
        let src: Vec<u32> = (0..400_000).map(|i| i % 1000).collect();
        let dst: Vec<u32> = (0..400_000).map(|i| i % 700 + 5000).collect();
        // Chinese remainders: pairs repeat after lcm(1000, 700) = 7000 events.
        assert!(distinct_pairs(&src, &dst).abs_diff(7000) < 70);
        let dst: Vec<u32> = (0..400_000).map(|i| i / 1000).collect();
        assert!(distinct_pairs(&src, &dst).abs_diff(400_000) < 4000);
        assert_eq!(distinct_pairs(&[], &[]), 0);
    }
}
