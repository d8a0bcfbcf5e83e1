//! Schedules on random stage profiles: the simulator against the closed forms and the paper's
//! recurrences, the version rule, replays.

use std::io::Write as _;
use std::time::Duration;

use mspipe::pipeline::Stage;
use mspipe::pipeline::ledger;
use mspipe::pipeline::profile::{MEASURING_SLACK, Profile, Residency};
use mspipe::pipeline::schedule::Schedule;
use mspipe::pipeline::scheduler::{BLOCK, Scheduler};
use mspipe::pipeline::step::Step;
use mspipe::pipeline::trace::Record;
use mspipe::what_if::recurrences::delayed_fetch;
use mspipe::what_if::simulator::simulate;
use proptest::prelude::*;

const PROFILES: u32 = 3000;
/// Iterations of a simulation; the first half lets it settle.
const ITERATIONS: usize = 120;

fn micros(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// Any times, some of them zero.
pub(crate) fn any_profile() -> impl Strategy<Value = Profile> {
    let time = || prop_oneof![1 => Just(0), 9 => 0u64..5000];
    (prop::array::uniform5(time()), 0.0..1.0)
        .prop_map(|(times, share)| profile(times.map(micros), share))
}

/// Training is the bottleneck, and takes time.
fn training_bound() -> impl Strategy<Value = Profile> {
    (1u64..5000, prop::array::uniform5(0.0..=1.0)).prop_map(|(train, share)| {
        let part = |share: f64| (train as f64 * share) as u64;
        let [sample, fetches, of_fetches, update, updater] = share;
        let fetches = part(fetches);
        let features = (fetches as f64 * of_fetches) as u64;
        let times = [sample, 0.0, 0.0, 1.0, update].map(part);
        let times = [times[0], features, fetches - features, train, times[4]];
        profile(times.map(micros), updater)
    })
}

fn profile(times: [Duration; 5], updater_share: f64) -> Profile {
    Profile::new(times, times[Stage::Train as usize].mul_f64(updater_share))
}

pub(crate) fn residency() -> impl Strategy<Value = Residency> {
    prop_oneof![Just(Residency::Host), Just(Residency::Device)]
}

/// Schedules that need no file.
pub(crate) fn schedule() -> impl Strategy<Value = Schedule> {
    let compared = prop::sample::select(&Schedule::COMPARED[..]);
    let freshest = (1usize..10).prop_map(|k| Schedule::Freshest(Some(k)));
    prop_oneof![
        4 => compared,
        1 => (1usize..10).prop_map(Schedule::Staleness),
        1 => freshest,
    ]
}

fn run(profile: &Profile, schedule: &Schedule, memory: Residency, depth: usize) -> Record {
    let mut scheduler = Scheduler::new(schedule.clone(), memory).unwrap();
    simulate(profile, &mut scheduler, depth, ITERATIONS).unwrap()
}

/// Checks the time of all iterations against a period. What comes on top is at most one way
/// through the pipeline, plus what iterations before k was chosen took longer; nothing comes off but
/// that a staleness k needs whole k iterations.
fn check_length(
    record: &Record,
    period: Duration,
    k: usize,
    most_on_top: Duration,
) -> Result<(), String> {
    let whole = (ITERATIONS - ITERATIONS % k) as u32;
    let rounding = Duration::from_micros(1);
    let least = period * whole;
    let most = period * ITERATIONS as u32 + most_on_top + rounding;
    let length = record.spans.iter().map(|span| span.end).max().unwrap();
    if length + rounding >= least && length <= most {
        Ok(())
    } else {
        Err(format!("{length:?}, expected {least:?} to {most:?}"))
    }
}

/// Time that the device waited for its input in the second half.
fn settled_stall_us(record: &Record) -> u64 {
    let half = &record.ledger[ITERATIONS / 2..];
    half.iter().map(|line| line.stall_us).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(PROFILES))]

    #[test]
    fn simulated_periods_are_the_closed_forms(
        profile in any_profile(),
        memory in residency(),
        depth in 1usize..5,
    ) {
        for schedule in Schedule::COMPARED {
            let period = schedule.period(&profile, memory).unwrap();
            let k = schedule.staleness(&profile, memory, MEASURING_SLACK).unwrap();
            let mut on_top = profile.in_turn(memory);
            if schedule.online() {
                let exact = profile.period(memory, schedule.early(), 1);
                on_top += (exact - period) * (BLOCK as u32 + 1);
            }
            if memory == Residency::Device {
                // Updates that a staleness puts off are made up for at the end.
                on_top += profile.of(Stage::UpdateMemory) * (k as u32 - 1);
            }
            let record = run(&profile, &schedule, memory, depth);
            let checked = check_length(&record, period, k, on_top);
            prop_assert_eq!(checked, Ok(()), "{}", schedule);
        }
    }

    /// The paper's regime: k = 1 + ceil((τ3 + τ5) / τ4), no less, no more.
    #[test]
    fn training_bound_k_is_minimal(profile in training_bound(), depth in 1usize..5) {
        let transfers = profile.of(Stage::FetchMemory) + profile.of(Stage::UpdateMemory);
        let k = 1 + transfers.as_nanos().div_ceil(profile.of(Stage::Train).as_nanos()) as usize;
        prop_assert!(profile.training_bound());
        prop_assert_eq!(profile.minimal_staleness(Residency::Host, false, 0.0), k);
        prop_assert!(k <= 3);

        let enough = run(&profile, &Schedule::Staleness(k), Residency::Host, depth);
        prop_assert_eq!(enough.period().unwrap(), profile.of(Stage::Train));
        prop_assert_eq!(settled_stall_us(&enough), 0);
        if k > 1 {
            let fewer = run(&profile, &Schedule::Staleness(k - 1), Residency::Host, depth);
            prop_assert!(fewer.period().unwrap() > profile.of(Stage::Train));
            prop_assert!(settled_stall_us(&fewer) > 0);
        }
    }

    /// Outside of it the period of k is the bottleneck's, and that of k − 1 is longer.
    #[test]
    fn minimal_k_in_general(profile in any_profile(), early: bool) {
        let bottleneck = profile.bottleneck(Residency::Host);
        let k = profile.minimal_staleness(Residency::Host, early, 0.0);
        prop_assert_eq!(profile.period(Residency::Host, early, k), bottleneck);
        prop_assert!(k == 1 || profile.period(Residency::Host, early, k - 1) > bottleneck);
        if !early {
            let record = run(&profile, &Schedule::Staleness(k), Residency::Host, 2);
            prop_assert_eq!(check_length(&record, bottleneck, k, profile.in_turn(Residency::Host)), Ok(()));
        }
    }

    /// The recurrences let memory be missed, the flow forbids it: both arrive at the same k.
    #[test]
    fn the_papers_recurrences_settle_at_the_minimal_k(profile in training_bound()) {
        let k = profile.minimal_staleness(Residency::Host, false, 0.0);
        let iterations = delayed_fetch(&profile, 2, ITERATIONS);
        for iteration in &iterations[ITERATIONS / 2..] {
            prop_assert_eq!(iteration.k, k);
        }
        let train = Stage::Train as usize;
        let last = &iterations[ITERATIONS - 2..];
        prop_assert_eq!(last[1].begin[train] - last[0].begin[train], profile.of(Stage::Train));
    }

    /// However far back it may read, it reads what the smallest k of the exact rule reads, in the same
    /// time: reading is put off until then.
    #[test]
    fn the_freshest_memory_is_that_of_the_minimal_k(
        profile in training_bound(),
        more in 1usize..4,
        depth in 1usize..5,
    ) {
        let k = profile.minimal_staleness(Residency::Host, false, 0.0);
        let bound = k + more;
        let record = run(&profile, &Schedule::Freshest(Some(bound)), Residency::Host, depth);
        let exact = run(&profile, &Schedule::Staleness(bound), Residency::Host, depth);
        prop_assert_eq!(record.period(), exact.period());
        prop_assert_eq!(settled_stall_us(&record), 0);
        let transfers = profile.of(Stage::FetchMemory) + profile.of(Stage::UpdateMemory);
        // Where an update is written just when it should be read, either may be first.
        let tie = profile.of(Stage::Train) * (k as u32 - 1) == transfers;
        for line in &record.ledger[ITERATIONS / 2..ITERATIONS - bound] {
            prop_assert!(line.k == k || tie && line.k == k + 1, "{line:?}, minimal {k}");
        }
    }

    /// When iteration i gathers, exactly the updates up to i − k_i are applied.
    #[test]
    fn simulations_keep_the_version_rule(
        profile in any_profile(),
        schedule in schedule(),
        memory in residency(),
        depth in 1usize..5,
    ) {
        let record = run(&profile, &schedule, memory, depth);
        let spans = |step| record.spans.iter().filter(move |span| span.step == step);
        let applied: Vec<_> = spans(Step::Apply).collect();
        prop_assert_eq!(applied.len(), ITERATIONS);
        for (read, line) in spans(Step::Gather).zip(&record.ledger) {
            prop_assert_eq!(line.version + line.k, line.iteration + 1);
            if line.version > 0 {
                prop_assert!(applied[line.version - 1].end <= read.begin);
            }
            // An update that the iteration doesn't see ends after it has read.
            prop_assert!(applied[line.version].end >= read.end);
            match schedule {
                Schedule::Staleness(k) => prop_assert_eq!(line.k, k.min(line.iteration + 1)),
                Schedule::Freshest(Some(k)) => prop_assert!(line.k <= k),
                _ => {}
            }
        }
        prop_assert!(record.ledger.is_sorted_by_key(|line| line.version));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_replay_reads_what_the_run_read(
        profile in any_profile(),
        other in any_profile(),
        schedule in prop::sample::select(vec![
            Schedule::Mspipe,
            Schedule::Freshest(None),
            Schedule::Freshest(Some(4)),
        ]),
    ) {
        let online = run(&profile, &schedule, Residency::Host, 2);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut text = Vec::new();
        ledger::write(&online.ledger, &mut text).unwrap();
        file.write_all(&text).unwrap();
        // Other stage times: the replay follows the file, not them.
        let replay = Schedule::Replay(file.path().to_owned());
        let again = run(&other, &replay, Residency::Host, 1);
        let reads = |record: &Record| -> Vec<_> {
            let lines = record.ledger.iter();
            lines.map(|line| (line.iteration, line.k, line.version)).collect()
        };
        prop_assert_eq!(reads(&again), reads(&online));
    }
}

#[test]
fn a_choice_of_k_is_written_down_with_its_reasons() {
    let profile: Profile = "sample=1,fetch_features=1,fetch_memory=6,train=10,update_memory=8"
        .parse()
        .unwrap();
    let record = run(&profile, &Schedule::Mspipe, Residency::Host, 2);
    let chosen: Vec<_> = record
        .ledger
        .iter()
        .filter_map(|line| Some((line.iteration, line.decision.clone()?)))
        .collect();
    assert_eq!(
        chosen[0].0, 16,
        "the first choice, after measuring with k = 1"
    );
    assert_eq!(chosen[0].1.k, 3);
    assert_eq!(chosen[0].1.measured.of(Stage::UpdateMemory), micros(8000));
    assert!(record.ledger[..16].iter().all(|line| line.k == 1));
    assert!(record.ledger[17..].iter().all(|line| line.k == 3));
}

/// `mspipe schedule` as a user runs it.
mod command {
    use std::fs;
    use std::process::{Command, Output};

    use serde_json::{Value, json};
    use tempfile::TempDir;

    const STAGES: &str =
        "sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2,updater=4";

    fn schedule(arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mspipe"));
        command.arg("schedule").args(arguments).output().unwrap()
    }

    fn json(arguments: &[&str]) -> Value {
        let output = schedule(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn fails(arguments: &[&str]) -> String {
        let output = schedule(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn simulates_all_schedules_and_draws() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (chart, trace) = (path("chart.svg"), path("trace.json"));
        let found = json(&[
            "simulate", "--stages", STAGES, "--json", "--gantt", &chart, "--trace", &trace,
        ]);
        assert_eq!(found["recurrences_k"], 2);
        let lines = found["schedules"].as_array().unwrap();
        let of = |name: &str| lines.iter().find(|line| line["schedule"] == name).unwrap();
        assert_eq!(of("sequential")["period"], 0.019);
        assert_eq!(of("prefetch")["period"], 0.014);
        assert_eq!(of("mspipe")["k"], 2);
        assert_eq!(of("mspipe")["speedup_over_prefetch"], 1.4);
        assert_eq!(of("auto")["k"], 1);
        assert!(fs::read_to_string(chart).unwrap().starts_with("<svg"));
        let events: Value = serde_json::from_slice(&fs::read(trace).unwrap()).unwrap();
        // Nine steps an iteration, five names, and what the device waits.
        assert!(events.as_array().unwrap().len() > 300 * 9);
    }

    #[test]
    fn takes_the_stage_times_of_a_run_and_another_bus() {
        let folder = TempDir::new().unwrap();
        let run = folder.path().display().to_string();
        // Two epochs of 1,000 events in batches of 300: eight iterations.
        let epoch = json!({"train_seconds": 0.5, "events_per_s": 2000.0});
        let stages = json!({"sample": 0.008, "fetch_features": 0.016, "fetch_memory": 0.8,
            "train": 0.08, "update_memory": 0.0});
        let mut summary =
            json!({"batch_size": 300, "epochs": [epoch, epoch], "stage_seconds": stages});
        let write = |summary: &Value| {
            fs::write(folder.path().join("summary.json"), summary.to_string()).unwrap();
        };
        write(&summary);
        let found = json(&[
            "simulate",
            "--profile",
            &run,
            "--json",
            "--link",
            "1GB/s,0us",
            "--bytes",
            "fetch_memory=3MB",
        ]);
        assert_eq!(found["stages"]["sample"], 0.001);
        assert_eq!(found["stages"]["fetch_memory"], 0.003);
        assert_eq!(found["stages"]["train"], 0.01);
        // A fifth of `train`, unless the run says.
        assert_eq!(found["stages"]["updater"], 0.002);
        summary["updater_seconds"] = json!(0.04);
        write(&summary);
        let found = json(&["simulate", "--profile", &run, "--json"]);
        assert_eq!(found["stages"]["updater"], 0.005);
    }

    #[test]
    fn measures_by_sleeping() {
        let found = json(&[
            "measure",
            "--stages",
            STAGES,
            "--iterations",
            "40",
            "--schedule",
            "staleness:2",
            "--json",
        ]);
        let line = &found["schedules"][0];
        assert_eq!(line["k"], 2);
        assert_eq!(line["predicted_period"], 0.01);
        assert!(line["measured_period"].as_f64().unwrap() > 0.0099);
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |more: &[&str]| fails(&[&["simulate", "--stages", STAGES], more].concat());
        assert!(error(&["--schedule", "fast"]).contains("expected sequential, prefetch"));
        assert!(error(&["--link", "12GB/s,1us"]).contains("--bytes"));
        assert!(
            error(&["--link", "1GB/s,1us", "--bytes", "train=3"])
                .contains("'train' is no transfer")
        );
        assert!(error(&["--schedule", "replay:nowhere"]).contains("cannot read nowhere"));
        assert!(
            fails(&["simulate", "--stages", "sample=3"]).contains("fetch_features has no time")
        );
        assert!(fails(&["simulate", "--profile", "nowhere"]).contains("folder of a finished run"));
    }
}
