//! The paper's equations: begin and end of each stage from those before it, with memory
//! fetched as late as training allows and as many updates missed as are then missing.
//!
//! With τ the stage times and b, e the begin and end of stage j of iteration i:
//! b¹ᵢ = e¹ᵢ₋₁; b²ᵢ = max(e¹ᵢ, e³ᵢ₋₁) (both fetches use the bus); b³ᵢ = max(e²ᵢ, e³ᵢ₋₁,
//! e⁴ᵢ₋₁ − τ³) (delayed); b⁴ᵢ = max(e³ᵢ, e⁴ᵢ₋₁); b⁵ᵢ = max(e⁴ᵢ, e⁵ᵢ₋₁). kᵢ is the smallest k
//! with e⁵ᵢ₋ₖ ≤ b³ᵢ.
//!
//! Sampling takes one more rule than the paper writes down: it stays at most a queue ahead.
//! Without a bound or a delay, fetching runs ahead and k grows with i. Invariant: nothing here
//! waits for an update, so k is a result; [`crate::pipeline::flow`] has it the other way round, and
//! tests/schedule.rs compares the two.
//! Source: MSPipe, equations 1 to 5 (with j + 1 for j in the second line of equation 5).

use std::time::Duration;

use crate::pipeline::Stage;
use crate::pipeline::profile::Profile;

/// One iteration of the equations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recurrence {
    /// When each stage begins, in the order of [`Stage::ALL`].
    pub begin: [Duration; 5],
    /// When each ends.
    pub end: [Duration; 5],
    /// Staleness of the memory that it reads; at most the iteration's number.
    pub k: usize,
}

/// The first `iterations` (counted from 1 in the paper, from 0 here).
pub fn delayed_fetch(profile: &Profile, queue_depth: usize, iterations: usize) -> Vec<Recurrence> {
    let [sample, features, fetch, train, update] = Stage::ALL;
    let mut all: Vec<Recurrence> = Vec::with_capacity(iterations);
    // Newest update that the previous iteration saw; times only grow, so it does too.
    let mut seen = 0;
    for i in 0..iterations {
        let before = |stage: Stage| {
            i.checked_sub(1)
                .map_or(Duration::ZERO, |before| all[before].end[stage as usize])
        };
        let room = i
            .checked_sub(queue_depth)
            .map_or(Duration::ZERO, |taken| all[taken].begin[features as usize]);
        let mut begin = [Duration::ZERO; 5];
        let mut end = [Duration::ZERO; 5];
        for stage in Stage::ALL {
            let at = stage as usize;
            let done = at
                .checked_sub(1)
                .map_or(Duration::ZERO, |before| end[before]);
            let free = before(stage);
            begin[at] = done.max(free);
            if stage == sample {
                begin[at] = begin[at].max(room);
            } else if stage == features {
                begin[at] = begin[at].max(before(fetch));
            } else if stage == fetch {
                let late = before(train).saturating_sub(profile.of(fetch));
                begin[at] = begin[at].max(late);
            }
            end[at] = begin[at] + profile.of(stage);
        }
        while seen < i && all[seen].end[update as usize] <= begin[fetch as usize] {
            seen += 1;
        }
        let k = i + 1 - seen;
        all.push(Recurrence { begin, end, k });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_regime_settles_at_two() {
        let profile: Profile = "sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2"
            .parse()
            .unwrap();
        let all = delayed_fetch(&profile, 2, 300);
        assert!(all[10..].iter().all(|iteration| iteration.k == 2));
        assert_eq!(
            all[299].begin[3] - all[298].begin[3],
            Duration::from_millis(10)
        );
    }
}
