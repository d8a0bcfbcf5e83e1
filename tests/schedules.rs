//! Runs under each schedule: overlap and the place of the memory change no number, and
//! how stale memory is follows the rule alone, whatever the timing is.

use std::fs;
use std::path::Path;

use burn::tensor::Tensor;
use clap::Parser;
use mspipe::config::RunConfig;
use mspipe::memory::node_memory::NodeMemory;
use mspipe::pipeline::ledger::{self, LedgerLine};
use mspipe::pipeline::profile::MEASURING_SLACK;
use mspipe::pipeline::staleness::StaleMemory;
use mspipe::pipeline::turns::Running;
use mspipe::session::Session;
use mspipe::train::observer::TrainEvent;

use crate::on_device;

/// Each model, and one whose rows are not nodes but nodes at a time.
pub(crate) const MODELS: [&str; 4] = ["tgn", "jodie", "apan", "tgn --time-delta query"];

/// 8 iterations of training.
pub(crate) const SHORT: &str = "280";

/// 20 iterations of training: `mspipe` chooses its k at the 16th.
const LONG: &str = "700";

/// Faster, and much slower than the rest of an iteration, on a machine with other work too.
const LINKS: [&str; 3] = ["10GB/s,0us", "100MB/s,100us", "5MB/s,20ms"];

/// The program's options.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: RunConfig,
}

/// What a run left behind.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) losses: Vec<u32>,
    pub(crate) ledger: Vec<LedgerLine>,
    /// Bits of memory rows and mail.
    pub(crate) memory: Vec<u32>,
    last_update: Vec<i64>,
    /// Bits of the validation's AP: scores depend on all weights.
    pub(crate) val_ap: u64,
}

impl Outcome {
    /// Fails unless both have the same bits everywhere.
    pub(crate) fn must_equal(&self, other: &Outcome, what: &str) {
        assert_eq!(self.losses, other.losses, "losses of {what}");
        assert!(self.memory == other.memory, "memory of {what}");
        assert!(self.last_update == other.last_update, "times of {what}");
        assert_eq!(self.val_ap, other.val_ap, "AP of {what}");
        let stale = |outcome: &Outcome| -> Vec<Option<StaleMemory>> {
            let lines = outcome.ledger.iter();
            lines.map(|line| line.stale_memory.clone()).collect()
        };
        assert_eq!(stale(self), stale(other), "stale memory of {what}");
    }

    /// Fails unless each iteration had the k that `k` says, and the version that follows.
    pub(crate) fn must_be_stale(&self, k: impl Fn(&LedgerLine) -> usize) {
        assert_eq!(self.ledger.len(), self.losses.len());
        for line in &self.ledger {
            assert_eq!(line.k, k(line), "{line:?}");
            assert_eq!(line.version, line.iteration + 1 - line.k, "{line:?}");
        }
    }
}

impl Outcome {
    /// Notes what is compared.
    pub(crate) fn see(&mut self, event: TrainEvent<'_>) -> std::io::Result<()> {
        match event {
            TrainEvent::Losses { losses, .. } => {
                self.losses.extend(losses.iter().map(|loss| loss.to_bits()));
            }
            TrainEvent::EpochRecorded(record) => self.ledger.extend(record.ledger.iter().cloned()),
            TrainEvent::EpochDone { record, .. } => self.val_ap = record.val.ap.to_bits(),
            _ => {}
        }
        Ok(())
    }
}

/// Trains on the first `events` of a small generated stream.
pub(crate) fn train(model: &str, events: &str, options: &str) -> Outcome {
    let config = config(model, events, options);
    on_device(move |device| {
        let session = Session::open(config).unwrap();
        let mut training = session.training(device).unwrap();
        let mut outcome = Outcome::default();
        training.run(&mut |event| outcome.see(event)).unwrap();
        outcome.look_into(&training.memory);
        outcome
    })
}

/// Settings of such a run.
pub(crate) fn config(model: &str, events: &str, options: &str) -> RunConfig {
    const SMALL: &str = "mspipe --batch-size 25 --edge-features random:4 --width 16 --time-width 8 --fanout 4 \
                         --mail-slots 3";
    let data = match options.contains("--data ") {
        true => "",
        false => "--data synthetic:wikipedia:scale=0.01",
    };
    let unless_given = |option: &str, value: &str| match options.contains(option) {
        true => String::new(),
        false => format!("{option} {value}"),
    };
    let epochs = unless_given("--epochs", "1");
    let rate = unless_given("--learning-rate", "1e-3");
    let chosen =
        format!("{SMALL} {data} --model {model} --limit-events {events} {epochs} {rate} {options}");
    let config = Options::try_parse_from(chosen.split_whitespace()).unwrap_or_else(|error| {
        panic!("{error}");
    });
    config.config
}

impl Outcome {
    /// Keeps what the memory holds.
    pub(crate) fn look_into(&mut self, memory: &NodeMemory) {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let read = |tensor: Tensor<2>| bits(&tensor.into_data().try_into_vec::<f32>().unwrap());
        let (rows, mails, clock) = match memory {
            NodeMemory::Device(memory) => {
                let (rows, mails) = memory.tables();
                (read(rows), read(mails), memory.node_times())
            }
            NodeMemory::Host(memory) => {
                let (rows, mails) = memory.tables();
                (bits(rows), bits(mails), memory.node_times())
            }
        };
        self.memory = [rows, mails].concat();
        self.last_update = clock.last_update().to_vec();
        assert!(self.memory.iter().any(|&bits| bits != 0));
    }
}

/// What an iteration of `staleness:3` has.
pub(crate) fn three(line: &LedgerLine) -> usize {
    (line.iteration + 1).min(3)
}

#[cfg_attr(test, test)]
pub(crate) fn overlap_and_the_place_of_the_memory_change_no_number() {
    for model in MODELS {
        let reference = train(model, SHORT, "--schedule sequential --memory device");
        assert_eq!(reference.losses.len(), 8);
        reference.must_be_stale(|_| 1);
        for options in [
            "--schedule prefetch --memory device".to_owned(),
            "--schedule prefetch --memory host".to_owned(),
            "--schedule prefetch --memory device --features device".to_owned(),
            "--schedule exact-overlap --memory host --features device".to_owned(),
            "--schedule exact-overlap --memory host".to_owned(),
            format!(
                "--schedule sequential --memory host --emulate-link {}",
                LINKS[1]
            ),
            format!(
                "--schedule exact-overlap --memory host --emulate-link {}",
                LINKS[2]
            ),
        ] {
            let outcome = train(model, SHORT, &options);
            outcome.must_equal(&reference, &format!("{model} {options}"));
            outcome.must_be_stale(|_| 1);
        }
    }
}

/// Room for 40 and for some 170 of 280 rows of edge features, of which a batch reads up to 280: batches displace rows
/// that others read, and read theirs in several pieces.
#[cfg_attr(test, test)]
pub(crate) fn a_part_of_the_features_on_the_device_changes_no_number() {
    const PARTS: [&str; 2] = ["device:1280", "device:3840"];
    let run = |model: &str, options: &str, place: &str| {
        let features = format!("--node-features random:3 --features {place}");
        train(model, SHORT, &format!("--epochs 2 {options} {features}"))
    };
    for model in MODELS {
        let fresh = run(model, "--schedule sequential --memory device", "host");
        let stale = "--schedule staleness:3 --memory device --queue-depth 5";
        let of_stale = run(model, stale, "host");
        for (options, place, reference) in [
            ("--schedule sequential --memory device", PARTS[0], &fresh),
            ("--schedule prefetch --memory host", PARTS[1], &fresh),
            ("--schedule exact-overlap --memory host", PARTS[0], &fresh),
            (stale, PARTS[1], &of_stale),
        ] {
            let outcome = run(model, options, place);
            outcome.must_equal(reference, &format!("{model} {options} {place}"));
        }
    }
    // Two layers read of one table twice, and candidates are laid out while others are scored.
    let ranked = "--protocol tgb --candidates 7 --layers 2";
    let host = run("tgn", ranked, "host");
    run("tgn", ranked, PARTS[1]).must_equal(&host, "two layers and candidates");
}

#[cfg_attr(test, test)]
pub(crate) fn queue_depth_and_timing_change_no_number_of_a_stale_training() {
    for model in MODELS {
        let stale = "--schedule staleness:3 --memory";
        let reference = train(model, SHORT, &format!("{stale} device --queue-depth 2"));
        reference.must_be_stale(three);
        for (depth, link) in [1, 2, 5].into_iter().zip(LINKS) {
            let options = format!("{stale} host --queue-depth {depth} --emulate-link {link}");
            let outcome = train(model, SHORT, &options);
            outcome.must_equal(&reference, &format!("{model} {options}"));
            outcome.must_be_stale(three);
        }
        let fresh = train(model, SHORT, "--schedule prefetch --memory host");
        // Iterations 0 and 1 see what they also see without staleness; 2 misses an update.
        assert_eq!(fresh.losses[..1], reference.losses[..1]);
        assert_ne!(fresh.losses[2..], reference.losses[2..], "{model}");
    }
}

#[cfg_attr(test, test)]
pub(crate) fn a_replay_of_an_online_schedule_gives_its_numbers() {
    // A round trip is twice the link's latency and an iteration; the lanes are busy for twice the latency (what is
    // fetched) or an iteration, so k is 2 on a fast machine and on a slow one. Bytes must not count: they are
    // fetched more than once a round trip.
    let link = "--memory host --emulate-link 10GB/s,4ms";
    let online = train("tgn", LONG, &format!("--schedule mspipe {link}"));
    let last = online.ledger.last().unwrap();
    assert!((2..=3).contains(&last.k), "{:?}", online.ledger[16]);
    online.must_be_stale(|line| if line.iteration < 16 { 1 } else { line.k });

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    ledger::write(&online.ledger, &mut fs::File::create(&path).unwrap()).unwrap();
    for place in ["host", "device", link.trim_start_matches("--memory ")] {
        let replayed = train("tgn", LONG, &format!("{} --memory {place}", replay(&path)));
        replayed.must_equal(&online, place);
        replayed.must_be_stale(|line| online.ledger[line.iteration].k);
    }
}

#[cfg_attr(test, test)]
pub(crate) fn the_freshest_memory_is_within_its_bound_and_replayed_exactly() {
    // The way to the device and back takes several iterations, so that what is ready is old.
    let link = format!("--memory host --emulate-link {}", LINKS[2]);
    for bound in [1, 4] {
        let options = format!("--schedule freshest:{bound} {link}");
        let freshest = train("jodie", LONG, &options);
        freshest.must_be_stale(|line| line.k);
        assert!(freshest.ledger.iter().all(|line| line.k <= bound));
        let oldest = freshest.ledger.iter().map(|line| line.k).max();
        assert!(bound == 1 || oldest > Some(1), "{bound}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        ledger::write(&freshest.ledger, &mut fs::File::create(&path).unwrap()).unwrap();
        for place in ["host", "device"] {
            let options = format!("{} --memory {place}", replay(&path));
            train("jodie", LONG, &options).must_equal(&freshest, place);
        }
    }
    let on_device = train("jodie", SHORT, "--schedule freshest:4 --memory device");
    on_device.must_be_stale(|_| 1);
}

#[cfg_attr(test, test)]
pub(crate) fn auto_tries_whether_to_overlap_and_its_ledger_replays_that() {
    // 44 iterations an epoch, of which an iteration in turn waits for the link three times.
    let link = format!("--epochs 2 --memory host --emulate-link {}", LINKS[2]);
    let auto = train("jodie", "1570", &format!("--schedule auto {link}"));
    assert_eq!(auto.ledger.len(), 88);
    let parts: Vec<(Running, usize)> = auto
        .ledger
        .chunk_by(|line, next| (line.running, line.epoch) == (next.running, next.epoch))
        .map(|part| (part[0].running.unwrap(), part.len()))
        .collect();
    let choices: Vec<_> = auto
        .ledger
        .iter()
        .filter(|line| line.choice.is_some())
        .collect();
    assert_eq!(choices.len(), 1);
    assert_eq!((choices[0].epoch, choices[0].iteration), (2, 16));
    let choice = choices[0].choice.unwrap();
    let (in_turn, overlapped) = (Running::InTurn, Running::Overlapped);
    // Which it is the machine decides, and it may be busy with something else.
    let quicker = choice.overlapped < choice.in_turn.mul_f64(1.0 - MEASURING_SLACK);
    assert_eq!(choice.running == overlapped, quicker, "{choice:?}");
    // The first part of an epoch that is too short to measure would be tried again.
    let mut expected = vec![(in_turn, 16), (overlapped, 16), (in_turn, 12)];
    expected.extend(match choice.running {
        Running::Overlapped => vec![(overlapped, 44)],
        Running::InTurn => vec![(overlapped, 16), (in_turn, 28)],
    });
    assert_eq!(parts, expected);
    auto.must_be_stale(|line| match line.running {
        Some(Running::Overlapped) => line.k,
        _ => 1,
    });

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    ledger::write(&auto.ledger, &mut fs::File::create(&path).unwrap()).unwrap();
    for place in ["host", "device"] {
        let options = format!("{} --epochs 2 --memory {place}", replay(&path));
        train("jodie", "1570", &options).must_equal(&auto, place);
    }
}

/// What `train` gives where three updates may be missing, which is the same wherever memory lies.
#[cfg(test)]
pub(crate) fn same_wherever_memory_lies(
    model: &str,
    train: impl Fn(&str, &str) -> Outcome,
) -> Outcome {
    let stale = "--schedule staleness:3 --memory";
    let reference = train(model, &format!("{stale} device"));
    reference.must_be_stale(three);
    for options in [
        format!("{stale} host"),
        format!("{stale} host --queue-depth 5"),
    ] {
        train(model, &options).must_equal(&reference, &format!("{model} {options}"));
    }
    reference
}

/// Options that replay a ledger.
fn replay(path: &Path) -> String {
    let path = path.display().to_string();
    assert!(!path.contains(' '), "options are split at spaces: {path}");
    format!("--schedule replay:{path}")
}

#[cfg_attr(test, test)]
pub(crate) fn the_mitigation_is_the_same_wherever_memory_lies() {
    // Users of a generated Wikipedia hardly ever meet two pages so early; these do.
    let stale = "--data synthetic:mooc:scale=0.003 --schedule staleness:3 --memory";
    let mut cases = MODELS.map(|model| (model, "similarity")).to_vec();
    cases.push(("tgn", "similarity-released"));
    cases.push(("tgn --protocol tgl", "similarity"));
    for (model, mitigation) in cases {
        let mitigated = format!("--mitigation {mitigation} --mitigation-quantile 0.2");
        let on_device = train(model, LONG, &format!("{stale} device {mitigated}"));
        let on_host = train(model, LONG, &format!("{stale} host {mitigated}"));
        on_host.must_equal(&on_device, model);
        on_host.must_be_stale(three);
        let corrected = |outcome: &Outcome| -> Vec<usize> {
            let lines = outcome.ledger.iter();
            lines.map(|line| line.corrected.unwrap()).collect()
        };
        assert_eq!(corrected(&on_host), corrected(&on_device));
        assert!(corrected(&on_host).iter().sum::<usize>() > 0, "{model}");
        let without = train(model, LONG, &format!("{stale} host"));
        assert_ne!(without.losses, on_host.losses, "{model}");
    }
}
