//! Whether iterations overlap or follow one another, found out by measuring both while a training runs.
//!
//! Overlap needs something to overlap with. Where a device has threads, a queue or a bus of its own
//! it wins; on a processor whose few cores do everything already, threads that take turns on them
//! cost up to a quarter. Which it is no formula tells, so both are tried.
//!
//! Rules. A training begins with [`ROUNDS`] rounds of a [`TRIAL`] in turn and one that overlaps, of
//! which the last round counts: the ones before it warm up, and give the k of overlap its times. Then
//! what was quicker goes on, in parts of [`PART`] iterations, each of which measures it again; after every
//! [`AGAIN`] iterations the other is tried once more. Iterations that follow one another are not stale, so
//! overlap has to be quicker by [`MEASURING_SLACK`] to be chosen first, as has any change after that.
//!
//! Invariant: only the order of steps in time depends on it, and k: the ledger has that.
//! The times are those of whole iterations, as they came out; it knows nothing of stages.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::profile::MEASURING_SLACK;

/// Rounds of trials at the start.
const ROUNDS: usize = 2;
/// Iterations of a trial.
pub(crate) const TRIAL: usize = 16;
/// Iterations of a part once it is known what is quicker.
const PART: usize = 256;
/// Iterations after which the other is tried again; a trial that loses costs a hundredth of them, times
/// what it loses.
const AGAIN: usize = 1536;
/// Iterations at the start of a part that are not measured: lanes fill.
const FILLING: usize = 2;
/// Iterations that a part needs to be measured.
const ENOUGH: usize = 8;
/// With staleness k, iterations repeat themselves every k or k + 1: this many are a multiple of both
/// up to k = 2, and of k up to 3.
const REPEATS: usize = 6;

/// How iterations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Running {
    /// One after the other.
    InTurn,
    /// Several at once.
    Overlapped,
}

impl Running {
    fn other(self) -> Running {
        match self {
            Running::InTurn => Running::Overlapped,
            Running::Overlapped => Running::InTurn,
        }
    }
}

/// A choice between the two, and what it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Choice {
    /// What goes on.
    pub running: Running,
    /// Time of an iteration in turn, in seconds.
    #[serde(serialize_with = "seconds")]
    pub in_turn: Duration,
    /// Time of an iteration that overlaps, in seconds.
    #[serde(serialize_with = "seconds")]
    pub overlapped: Duration,
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Tries both, and goes on with the quicker one.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    running: Running,
    best: Running,
    /// Trials that are left before the next choice.
    trials: usize,
    /// Iterations since the last choice.
    since: usize,
    /// Latest time of an iteration of each.
    periods: [Option<Duration>; 2],
    chosen: Option<Choice>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            running: Running::InTurn,
            best: Running::InTurn,
            trials: 2 * ROUNDS,
            since: 0,
            periods: [None; 2],
            chosen: None,
        }
    }
}

impl Turns {
    /// How the next part runs.
    pub(crate) fn running(&self) -> Running {
        self.running
    }

    /// Its iterations, at most.
    pub(crate) fn part(&self) -> usize {
        if self.trials > 0 { TRIAL } else { PART }
    }

    /// The choice that holds from the part on that ran last, if that is new.
    pub(crate) fn take_choice(&mut self) -> Option<Choice> {
        self.chosen.take()
    }

    /// A part ran; its iterations were trained at these moments. One that is too short, since an epoch
    /// ended or a checkpoint was due, tells nothing.
    pub(crate) fn ran(&mut self, moments: &[Duration]) {
        self.since += moments.len();
        let settled = moments.get(FILLING..).unwrap_or_default();
        let Some(period) = period(settled).filter(|_| settled.len() >= ENOUGH) else {
            return;
        };
        self.periods[self.running as usize] = Some(period);
        if self.trials > 0 {
            self.trials -= 1;
            match self.trials {
                0 => self.choose(),
                _ => self.running = self.running.other(),
            }
        } else if self.since >= AGAIN {
            self.trials = 1;
            self.running = self.best.other();
        }
    }

    fn choose(&mut self) {
        self.since = 0;
        let [Some(in_turn), Some(overlapped)] = self.periods else {
            return;
        };
        let of = |running: Running| match running {
            Running::InTurn => in_turn,
            Running::Overlapped => overlapped,
        };
        if of(self.best.other()) < of(self.best).mul_f64(1.0 - MEASURING_SLACK) {
            self.best = self.best.other();
        }
        self.running = self.best;
        self.chosen = Some(Choice {
            running: self.best,
            in_turn,
            overlapped,
        });
    }
}

/// Median time of an iteration, of moments at each of which one began or ended.
pub(super) fn period(moments: &[Duration]) -> Option<Duration> {
    let mut times: Vec<Duration> = moments
        .iter()
        .zip(moments.iter().skip(REPEATS))
        .map(|(begin, end)| end.saturating_sub(*begin) / REPEATS as u32)
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `iterations` of which each takes so many µs; says how many ran in turn, and the choices.
    fn run(
        turns: &mut Turns,
        iterations: usize,
        us: impl Fn(Running, usize) -> u64,
    ) -> (usize, Vec<Running>) {
        let (mut done, mut in_turn, mut choices) = (0, 0, Vec::new());
        while done < iterations {
            let part = turns.part().min(iterations - done);
            let running = turns.running();
            choices.extend(turns.take_choice().map(|choice| choice.running));
            let mut now = 0;
            let moments: Vec<Duration> = (done..done + part)
                .map(|iteration| {
                    now += us(running, iteration);
                    Duration::from_micros(now)
                })
                .collect();
            turns.ran(&moments);
            done += part;
            in_turn += if running == Running::InTurn { part } else { 0 };
        }
        (in_turn, choices)
    }

    fn constant(in_turn: u64, overlapped: u64) -> impl Fn(Running, usize) -> u64 {
        move |running, _| match running {
            Running::InTurn => in_turn,
            Running::Overlapped => overlapped,
        }
    }

    #[test]
    fn the_quicker_one_goes_on_and_the_other_costs_little() {
        const ITERATIONS: usize = 10_000;
        for (times, best) in [
            ((1000, 1250), Running::InTurn),
            // No quicker than the noise: memory that is not stale is worth more.
            ((1000, 985), Running::InTurn),
            ((1000, 600), Running::Overlapped),
        ] {
            let (in_turn, choices) = run(
                &mut Turns::default(),
                ITERATIONS,
                constant(times.0, times.1),
            );
            assert_eq!(choices[0], best);
            assert!(choices.iter().all(|choice| *choice == best), "{choices:?}");
            let lost = match best {
                Running::InTurn => ITERATIONS - in_turn,
                Running::Overlapped => in_turn,
            };
            // Two trials at the start, and one each time the other is tried again.
            let again = choices.len() - 1;
            assert_eq!(lost, TRIAL * (2 + again), "{times:?}");
            assert!((5..=6).contains(&again), "{again}");
        }
    }

    #[test]
    fn it_changes_when_the_machine_does() {
        let mut turns = Turns::default();
        let times = |running, iteration| match (running, iteration < 3000) {
            (Running::InTurn, _) => 1000,
            (Running::Overlapped, true) => 1200,
            (Running::Overlapped, false) => 700,
        };
        let (_, choices) = run(&mut turns, 8000, times);
        assert_eq!(choices[0], Running::InTurn);
        assert_eq!(turns.running(), Running::Overlapped, "{choices:?}");
    }

    #[test]
    fn outliers_warming_up_and_short_parts_decide_nothing() {
        let mut turns = Turns::default();
        // Each epoch has five iterations: too few to measure, so nothing is ever chosen.
        for _ in 0..100 {
            let (in_turn, choices) = run(&mut turns, 5, constant(1000, 100));
            assert_eq!((in_turn, choices.len()), (5, 0));
        }
        let mut turns = Turns::default();
        let (_, choices) = run(&mut turns, 1000, |running, iteration| {
            let slow = iteration < 12 || iteration % 16 == 5;
            let usual = constant(1000, 800)(running, iteration);
            if slow { 50_000 } else { usual }
        });
        assert_eq!(choices, [Running::Overlapped]);
    }
}
