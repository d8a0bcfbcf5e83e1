//! What is tried of a setting, and how one of it is drawn.

use serde::Serialize;

use crate::numbers::shortest;
use crate::sampling::counter_rng::CounterRng;

/// How settings are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Every combination.
    Grid,
    /// Drawn.
    Random,
}

/// A setting that is tried.
pub(super) struct Tried {
    pub(super) name: String,
    pub(super) choice: Choice,
    pub(super) place: String,
}

/// What is tried of a setting.
pub(super) enum Choice {
    List(Vec<String>),
    /// Numbers between both ends, by their logarithm or not, whole or not; with a step only the first and what
    /// is whole steps from it.
    Range {
        from: f64,
        to: f64,
        log: bool,
        whole: bool,
        step: Option<f64>,
    },
}

impl Choice {
    /// All of it, where that is countable.
    pub(super) fn all(&self) -> Option<Vec<String>> {
        match self {
            Choice::List(values) => Some(values.clone()),
            Choice::Range {
                from,
                to,
                log: false,
                step: Some(step),
                ..
            } => {
                let steps = ((to - from) / step).floor() as usize;
                let nth = |nth: usize| shortest(from + step * nth as f64);
                Some((0..=steps).map(nth).collect())
            }
            Choice::Range { .. } => None,
        }
    }

    /// One of it.
    pub(super) fn draw(&self, random: &mut CounterRng) -> String {
        match self {
            Choice::List(values) => values[random.u32_below(values.len() as u32) as usize].clone(),
            Choice::Range {
                from,
                to,
                log,
                whole,
                step,
            } => {
                let share = f64::from(random.f32_unit());
                match step {
                    None => drawn(share, (*from, *to), *log, *whole),
                    Some(step) => stepped(share, (*from, *to), *log, *step),
                }
            }
        }
    }
}

/// The number at a share of a range.
fn at(share: f64, (from, to): (f64, f64), log: bool) -> f64 {
    match log {
        true => (from.ln() + share * (to / from).ln()).exp(),
        false => from + share * (to - from),
    }
}

/// The same with at most four digits.
fn drawn(share: f64, (from, to): (f64, f64), log: bool, whole: bool) -> String {
    let value = at(share, (from, to), log);
    if whole {
        return format!("{:.0}", value.round().clamp(from, to));
    }
    let short: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    shortest(short.clamp(from, to))
}

/// The same as the first end and whole steps: each as likely as any other, or, by logarithm, the nearest.
fn stepped(share: f64, (from, to): (f64, f64), log: bool, step: f64) -> String {
    let steps = ((to - from) / step).floor();
    let nth = match log {
        true => ((at(share, (from, to), true) - from) / step).round(),
        false => (share * (steps + 1.0)).floor(),
    };
    format!("{:.0}", from + step * nth.clamp(0.0, steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_all_drawn_and_nothing_between() {
        let shares = (0..100).map(|nth| f64::from(nth) / 100.0);
        let mut all: Vec<String> = shares
            .map(|share| stepped(share, (16.0, 70.0), false, 16.0))
            .collect();
        all.dedup();
        assert_eq!(all, ["16", "32", "48", "64"]);
        assert_eq!(stepped(1.0, (16.0, 70.0), false, 16.0), "64");
        // By logarithm half of them lie below the geometric mean.
        assert_eq!(stepped(0.5, (8.0, 128.0), true, 8.0), "32");
        let range = Choice::Range {
            from: 16.0,
            to: 70.0,
            log: false,
            whole: true,
            step: Some(16.0),
        };
        assert_eq!(range.all().unwrap(), ["16", "32", "48", "64"]);
    }

    #[test]
    fn numbers_are_short_and_within_their_range() {
        assert_eq!(drawn(0.5, (1e-4, 1e-2), true, false), "0.001");
        assert_eq!(drawn(1.0, (1.0, 1e30), true, false), "1e30");
        assert_eq!(drawn(0.49, (1.0, 2.0), false, true), "1");
    }
}
