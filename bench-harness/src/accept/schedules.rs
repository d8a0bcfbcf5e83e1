//! The part `schedules`: what each schedule is worth with memory on the device and in RAM, and whether
//! those that must give the same numbers do.
//!
//! Overlap and the place of memory change no number ([`mspipe::pipeline`]): schedules without
//! staleness give those of `sequential`, and `staleness:K` gives the same in both places. Here this
//! is seen where the device runs behind the host, with batches of the usual size.

use std::collections::HashMap;

use anyhow::Result;
use mspipe::console;
use mspipe::run_folder::Summary;

use super::asked::Asked;
use super::found::{Findings, Found, ScheduleRow};
use super::trained::{self, SOUND};

/// Batches of an epoch at least: `mspipe` chooses its k at the 16th iteration.
const LEAST: usize = 20;

/// Schedules that are compared.
const ALL: [&str; 7] = [
    "sequential",
    "prefetch",
    "exact-overlap",
    "staleness:2",
    "staleness:3",
    "mspipe",
    "auto",
];
const QUICK: [&str; 4] = ["sequential", "exact-overlap", "staleness:2", "mspipe"];

/// Those whose memory is never stale.
const EXACT: [&str; 3] = ["sequential", "prefetch", "exact-overlap"];

/// What runs that must be equal are compared by: losses, and scores, which all weights and all of
/// the memory decide.
type Numbers = Vec<f64>;

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    let schedules: &[&str] = if asked.quick { &QUICK } else { &ALL };
    let name = |schedule: &str, memory: &str| format!("{schedule}, memory on the {memory}");
    let places = ["device", "host"];
    let names = places
        .iter()
        .flat_map(|memory| schedules.iter().map(move |schedule| name(schedule, memory)));
    findings.plan(names.collect::<Vec<_>>())?;
    let device = trained::open(asked)?;
    let per_event = trained::seconds_per_event(asked, &device)?;
    let batch = if asked.quick { 200 } else { 600 };
    let each = asked.seconds / (2 * schedules.len()) as f64;
    let events = trained::events(each, per_event, LEAST, batch);
    let mut references = HashMap::new();
    for memory in places {
        let mut sequential = None;
        for schedule in schedules {
            let name = name(schedule, memory);
            console::note(format!("  {name}"));
            findings.check(&name, SOUND, |report| {
                let options = format!(
                    "--schedule {schedule} --memory {memory} --batch-size {batch} \
                     --limit-events {events} --epochs 2"
                );
                let config = trained::settings(asked, &options).map_err(trained::text)?;
                let run = trained::train(config, &device, &name).map_err(trained::text)?;
                let sound = trained::sound(&run.summary)?;
                let row = row(&run.summary, memory, schedule, sequential);
                sequential = sequential.or(Some(row.events_per_s));
                report.schedules.push(row);
                let found = compared(&mut references, &name, schedule, numbers(&run.summary))?;
                Ok(found.unwrap_or_else(|| sound.into()))
            })?;
        }
    }
    Ok(())
}

fn row(summary: &Summary, memory: &str, schedule: &str, sequential: Option<f64>) -> ScheduleRow {
    let last = summary.epochs.last();
    let events_per_s = last.map_or(0.0, |epoch| epoch.events_per_s);
    let seconds: f64 = summary.epochs.iter().map(|epoch| epoch.train_seconds).sum();
    let all: usize = summary.staleness.values().sum();
    // The smallest of equally frequent ones.
    let most = summary
        .staleness
        .iter()
        .rev()
        .max_by_key(|(_, count)| **count);
    let (k, count) = most.map_or((0, 0), |(k, count)| (*k, *count));
    ScheduleRow {
        memory: memory.to_owned(),
        schedule: schedule.to_owned(),
        events_per_s,
        speed_up: sequential.map(|sequential| events_per_s / sequential),
        k,
        k_percent: 100.0 * count as f64 / all.max(1) as f64,
        stall_percent: (schedule != "sequential").then(|| 100.0 * summary.stall_seconds / seconds),
        test_ap: summary.test.own_pool.ap,
    }
}

fn numbers(summary: &Summary) -> Numbers {
    let epochs = summary.epochs.iter();
    let mut all: Numbers = epochs.flat_map(|e| [e.train_loss, e.val.ap]).collect();
    all.extend([summary.test.own_pool.ap, summary.test.other_pool.ap]);
    all
}

/// Compares a run with the first of those that must give its numbers; nothing, if it is the first
/// itself or its staleness depends on times.
fn compared(
    references: &mut HashMap<String, (String, Numbers)>,
    name: &str,
    schedule: &str,
    ours: Numbers,
) -> Result<Option<Found>, String> {
    let like = match schedule {
        exact if EXACT.contains(&exact) => "sequential",
        stale if stale.starts_with("staleness:") => stale,
        _ => return Ok(None),
    };
    let Some((other, theirs)) = references.get(like) else {
        references.insert(like.to_owned(), (name.to_owned(), ours));
        return Ok(None);
    };
    let same = ours
        .iter()
        .map(|n| n.to_bits())
        .eq(theirs.iter().map(|n| n.to_bits()));
    match same {
        true => Ok(Some(Found {
            text: format!(
                "the same {} numbers, test AP {:.6}",
                ours.len(),
                ours[ours.len() - 2]
            ),
            expected: Some(format!("losses and scores of {other}, bit by bit")),
        })),
        false => Err(format!(
            "losses and scores {ours:?}; {other}, which must give the same, gave {theirs:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_without_staleness_are_compared_with_the_first_and_staleness_with_its_own() {
        let mut references = HashMap::new();
        let mut compare = |name, schedule, last: f64| {
            let numbers = vec![0.5, 0.75, 0.9, last];
            compared(&mut references, name, schedule, numbers).map(|found| found.is_some())
        };
        assert_eq!(compare("a", "sequential", 1.0), Ok(false), "the first");
        assert_eq!(compare("b", "prefetch", 1.0), Ok(true));
        assert_eq!(compare("c", "staleness:2", 2.0), Ok(false), "the first");
        assert_eq!(compare("d", "staleness:3", 3.0), Ok(false), "the first");
        assert_eq!(compare("e", "mspipe", 4.0), Ok(false), "depends on times");
        assert_eq!(compare("f", "sequential", 1.0), Ok(true));
        assert_eq!(compare("g", "staleness:2", 2.0), Ok(true));
        let error = compare("h", "exact-overlap", f64::from_bits(1f64.to_bits() + 1));
        assert!(error.unwrap_err().contains("a, which must give the same"));
        assert!(compare("i", "staleness:3", f64::NAN).is_err());
    }
}
