//! The executor: it does what the simulator says, keeps the version rule whatever the timing,
//! and ends when something fails.

mod chain;
mod virtual_clock;

use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mspipe::pipeline::Stage;
use mspipe::pipeline::clock::{Clock, WallClock};
use mspipe::pipeline::ending::{Proceed, RunError};
use mspipe::pipeline::executor::{Executor, Segment};
use mspipe::pipeline::profile::{Profile, Residency};
use mspipe::pipeline::schedule::Schedule;
use mspipe::pipeline::scheduler::Scheduler;
use mspipe::pipeline::step::Step;
use mspipe::pipeline::trace::Record;
use mspipe::what_if::ranks::Team;
use mspipe::what_if::simulator::{simulate, step_time};
use proptest::prelude::*;

use crate::schedule::{any_profile, residency, schedule};
use chain::{Chain, Hook, Tables, mix, random_time};
use virtual_clock::VirtualClock;

/// Iterations of a run: past the first choice of k, which is made at 16.
const ITERATIONS: usize = 20;

/// A case of the tests below.
#[derive(Debug, Clone)]
struct Case {
    schedule: Schedule,
    memory: Residency,
    depth: usize,
}

fn case() -> impl Strategy<Value = Case> {
    (schedule(), residency(), 1usize..5).prop_map(|(schedule, memory, depth)| Case {
        schedule,
        memory,
        depth,
    })
}

/// What a run left behind.
struct Outcome {
    record: Result<Record, RunError<String>>,
    losses: Vec<(usize, u64)>,
    tables: Tables,
}

impl Case {
    /// Any of its steps.
    fn step(&self, nth: usize) -> Step {
        let steps = match self.schedule {
            Schedule::Sequential => Step::in_turn(self.memory),
            _ => Step::of(self.memory, self.scheduler().early()),
        };
        steps[nth % steps.len()]
    }

    fn scheduler(&self) -> Scheduler {
        Scheduler::new(self.schedule.clone(), self.memory).unwrap()
    }

    fn run(&self, clock: &dyn Clock, hook: Hook<'_>, stop_after: usize) -> Outcome {
        self.run_in_parts(clock, hook, &|iteration| match iteration < stop_after {
            true => Proceed::Go,
            false => Proceed::Stop,
        })
    }

    /// Continues after each pause, as a run does in the same process: with the same
    /// scheduler and with the updates that the pause left.
    fn run_in_parts(
        &self,
        clock: &dyn Clock,
        hook: Hook<'_>,
        proceed: &dyn Fn(usize) -> Proceed,
    ) -> Outcome {
        let mut chain = Chain::new(hook);
        let executor = Executor {
            queue_depth: NonZeroUsize::new(self.depth).unwrap(),
            traced: ITERATIONS,
            clock,
            queue: None,
        };
        let mut scheduler = self.scheduler();
        let mut record = Ok(Record::default());
        let mut begin = 0;
        while begin < ITERATIONS {
            let segment = Segment {
                epoch: 1,
                iterations: begin..ITERATIONS,
                unapplied: chain.unapplied.len(),
            };
            let mut paused = false;
            let go = |iteration| {
                let next = proceed(iteration);
                paused |= next == Proceed::Pause;
                next
            };
            let ended = chain.run(&executor, &mut scheduler, segment, go);
            match (ended, &mut record) {
                (Ok(ended), Ok(record)) => record.extend(ended),
                (Err(error), record) => *record = Err(error),
                _ => {}
            }
            if record.is_err() || !paused {
                break;
            }
            begin = record.as_ref().map_or(0, |record| record.ledger.len());
            let version = chain.tables.lock().unwrap().version;
            assert_eq!(begin, version + chain.unapplied.len(), "no update is lost");
        }
        if record.is_ok() {
            chain.apply_all();
        }
        Outcome {
            record,
            tables: *chain.tables.lock().unwrap(),
            losses: chain.losses,
        }
    }
}

/// Losses and tables by the definition: iteration i sees the updates up to i − k.
fn by_definition(record: &Record) -> (Vec<(usize, u64)>, Tables) {
    let mut links = vec![0];
    let mut losses: Vec<(usize, u64)> = Vec::new();
    for line in &record.ledger {
        while links.len() <= line.version {
            let update = links.len() - 1;
            links.push(mix(links[update], losses[update].1));
        }
        let seen = line.iteration + 1 - line.k;
        losses.push((seen, mix(links[seen], line.iteration as u64)));
    }
    while links.len() <= losses.len() {
        let update = links.len() - 1;
        links.push(mix(links[update], losses[update].1));
    }
    let tables = Tables {
        version: losses.len(),
        link: links[losses.len()],
    };
    (losses, tables)
}

/// Fails instead of hanging.
fn watched<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    result
        .recv_timeout(Duration::from_secs(20))
        .expect("the run hangs, or its caller panicked")
}

fn no_delay(_: Step, _: usize) -> Result<(), String> {
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn follows_the_simulator_on_a_virtual_clock(profile in any_profile(), case in case()) {
        let simulated =
            simulate(&profile, &mut case.scheduler(), case.depth, ITERATIONS).unwrap();
        // What ends at the same moment may come in any order, and with these it counts which.
        let ordered = !matches!(case.schedule, Schedule::Freshest(_));
        let memory = case.memory;
        let outcome = watched(move || {
            let clock = VirtualClock::default();
            let sleep = |step, _| {
                clock.sleep(step_time(&profile, memory, step));
                Ok(())
            };
            case.run(&clock, &sleep, usize::MAX)
        });
        let record = outcome.record.unwrap();
        if ordered {
            prop_assert_eq!(&record.ledger, &simulated.ledger);
            prop_assert_eq!(without_bytes(&record), without_bytes(&simulated));
        }
        prop_assert_eq!((outcome.losses, outcome.tables), by_definition(&record));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn keeps_the_version_rule_under_random_delays(case in case(), seed: u64) {
        let schedule = case.schedule.clone();
        let outcome = watched(move || {
            let clock = VirtualClock::default();
            let sleep = |step, iteration| {
                clock.sleep(random_time(seed, step, iteration, Duration::from_millis(5)));
                Ok(())
            };
            case.run(&clock, &sleep, usize::MAX)
        });
        let record = outcome.record.unwrap();
        prop_assert_eq!(record.ledger.len(), ITERATIONS);
        prop_assert_eq!((outcome.losses, outcome.tables), by_definition(&record));
        if let Schedule::Freshest(Some(bound)) = schedule {
            prop_assert!(record.ledger.iter().all(|line| line.k <= bound));
        }
    }
}

/// What ranks exchange is part of their stage times.
#[test]
fn ranks_on_emulated_networks_are_within_3_percent_of_the_simulator() {
    let alone = "sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2";
    let alone: Profile = alone.parse().unwrap();
    let networks = ["1Gbit/s,30us", "10Gbit/s,30us", "100Gbit/s,5us"];
    let schedules = [
        Schedule::Staleness(1),
        Schedule::Staleness(2),
        Schedule::Mspipe,
    ];
    for (ranks, network) in [2, 8, 64]
        .into_iter()
        .zip(networks)
        .chain([(8, networks[0])])
    {
        let team = Team {
            ranks,
            network: network.parse().unwrap(),
            gradient_bytes: 1_200_000,
            row_bytes: 130_000,
        };
        let profile = team.profile(&alone);
        for schedule in schedules.clone() {
            let what = format!("{ranks} ranks, {network}, {schedule}");
            let memory = Residency::Host;
            let case = Case {
                schedule,
                memory,
                depth: 3,
            };
            let mut scheduler = case.scheduler();
            let simulated = simulate(&profile, &mut scheduler, case.depth, ITERATIONS).unwrap();
            let outcome = watched(move || {
                let clock = VirtualClock::default();
                let sleep = |step, _| {
                    clock.sleep(step_time(&profile, memory, step));
                    Ok(())
                };
                case.run(&clock, &sleep, usize::MAX)
            });
            let [found, expected] = [outcome.record.unwrap(), simulated]
                .map(|record| record.period().unwrap().as_secs_f64());
            assert!(
                (found / expected - 1.0).abs() < 0.03,
                "{what}: {found} {expected}"
            );
            let least = (alone.of(Stage::Train) + team.gradients()).as_secs_f64();
            assert!(
                found > 0.999 * least,
                "{what}: {found}, exchanges included {least}"
            );
        }
    }
}

fn without_bytes(record: &Record) -> Vec<String> {
    let spans = record.spans.iter();
    spans
        .map(|s| {
            let (begin, end) = (s.begin, s.end);
            format!(
                "{:?} {:?} {} {begin:?}-{end:?}",
                s.lane, s.step, s.iteration
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The same with real threads racing.
    #[test]
    fn real_time_and_queue_depth_change_no_result(bound in 1usize..7, seed: u64) {
        let run = |depth, memory, up_to_us| {
            let case = Case { schedule: Schedule::Staleness(bound), memory, depth };
            watched(move || {
                let sleep = |step, iteration| {
                    let up_to = Duration::from_micros(up_to_us);
                    let time = random_time(seed, step, iteration, up_to);
                    if time > Duration::from_micros(up_to_us / 2) {
                        thread::sleep(time);
                    }
                    Ok(())
                };
                case.run(&WallClock::start(), &sleep, usize::MAX)
            })
        };
        let first = run(1, Residency::Host, 100);
        let record = first.record.unwrap();
        prop_assert!(record.ledger.iter().all(|line| line.k == bound.min(line.iteration + 1)));
        for (depth, memory, up_to_us) in
            [(3, Residency::Host, 0), (8, Residency::Host, 200), (2, Residency::Device, 100)]
        {
            let other = run(depth, memory, up_to_us);
            prop_assert_eq!(&other.losses, &first.losses);
            prop_assert_eq!(other.tables, first.tables);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn an_error_ends_the_run_with_its_message(case in case(), at in 0..ITERATIONS, nth: usize) {
        let step = case.step(nth);
        let outcome = watched(move || {
            let fail = move |ran, iteration| match (ran, iteration) == (step, at) {
                true => Err("the disk is gone".to_owned()),
                false => Ok(()),
            };
            case.run(&WallClock::start(), &fail, usize::MAX)
        });
        let error = outcome.record.unwrap_err().to_string();
        prop_assert_eq!(error, format!("iteration {at}, {}: the disk is gone", step.stage()));
    }

    #[test]
    fn a_panic_ends_the_run_with_its_message(case in case(), at in 0..ITERATIONS, nth: usize) {
        prop_assume!(case.schedule != Schedule::Sequential);
        let step = case.step(nth);
        let outcome = watched(move || {
            let panic = move |ran, iteration| {
                assert!((ran, iteration) != (step, at), "out of luck");
                Ok(())
            };
            case.run(&WallClock::start(), &panic, usize::MAX)
        });
        let error = outcome.record.unwrap_err().to_string();
        let place = format!("thread panicked in {} of iteration {at}: out of luck", step.stage());
        prop_assert!(error.contains(&place), "{}", error);
    }

    #[test]
    fn a_stop_leaves_whole_updates(case in case(), at in 0..ITERATIONS) {
        let outcome = watched(move || case.run(&WallClock::start(), &no_delay, at));
        let record = outcome.record.unwrap();
        prop_assert_eq!(record.ledger.len(), at + 1);
        prop_assert_eq!(outcome.tables.version, at + 1);
        prop_assert_eq!((outcome.losses, outcome.tables), by_definition(&record));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// A pause, and continuing with what it left unapplied, change nothing that is computed.
    #[test]
    fn pauses_change_no_result(
        case in case(),
        pauses in prop::collection::vec(any::<bool>(), ITERATIONS),
        seed: u64,
    ) {
        let run = |pauses: Vec<bool>| {
            let case = case.clone();
            watched(move || {
                let clock = VirtualClock::default();
                let sleep = |step, iteration| {
                    clock.sleep(random_time(seed, step, iteration, Duration::from_millis(5)));
                    Ok(())
                };
                case.run_in_parts(&clock, &sleep, &|iteration| match pauses[iteration] {
                    true => Proceed::Pause,
                    false => Proceed::Go,
                })
            })
        };
        let paused = run(pauses);
        let record = paused.record.unwrap();
        prop_assert_eq!(record.ledger.len(), ITERATIONS);
        let (losses, tables) = by_definition(&record);
        prop_assert_eq!((&paused.losses, paused.tables), (&losses, tables));
        if !case.schedule.timed() {
            let whole = run(vec![false; ITERATIONS]);
            prop_assert_eq!(paused.losses, whole.losses);
            let ks = |record: &Record| -> Vec<_> {
                record.ledger.iter().map(|line| (line.iteration, line.k, line.version)).collect()
            };
            prop_assert_eq!(ks(&record), ks(&whole.record.unwrap()));
        }
    }
}

#[test]
fn a_run_may_begin_within_an_epoch_and_may_be_empty() {
    for memory in [Residency::Host, Residency::Device] {
        let mut chain = Chain::new(&no_delay);
        chain.tables.lock().unwrap().version = 10;
        let executor = Executor {
            queue_depth: NonZeroUsize::MIN,
            traced: 0,
            clock: &WallClock::start(),
            queue: None,
        };
        let mut scheduler = Scheduler::new(Schedule::Staleness(2), memory).unwrap();
        for (iterations, seen) in [(10..10, vec![]), (10..14, vec![10, 10, 11, 12])] {
            let part = Segment {
                epoch: 3,
                iterations,
                unapplied: 0,
            };
            let ended = chain.run(&executor, &mut scheduler, part, |_| Proceed::Go);
            let record = ended.unwrap();
            let versions: Vec<_> = record.ledger.iter().map(|line| line.version).collect();
            assert_eq!(versions, seen);
            assert!(record.spans.is_empty());
            assert!(record.ledger.iter().all(|line| line.epoch == 3));
        }
        assert_eq!(chain.tables.lock().unwrap().version, 14);
    }
}

/// The device thread is a worker of rayon's pool; waiting, it must not keep the other lanes from
/// the pool, even if it is the only worker.
#[test]
fn waiting_in_a_pool_of_one_worker_is_no_deadlock() {
    for memory in [Residency::Host, Residency::Device] {
        let case = Case {
            schedule: Schedule::Staleness(2),
            memory,
            depth: 1,
        };
        let outcome = watched(move || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
            let pool = pool.build().unwrap();
            let in_pool = |step, _| {
                let spin = || thread::sleep(Duration::from_micros(10));
                if !matches!(step, Step::Train) {
                    pool.install(|| rayon::join(spin, spin));
                }
                Ok(())
            };
            pool.install(|| case.run(&WallClock::start(), &in_pool, usize::MAX))
        });
        assert_eq!(outcome.record.unwrap().ledger.len(), ITERATIONS);
    }
}
