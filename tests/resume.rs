//! Runs that continue from checkpoints give the bits of runs that never stopped.

mod files;
mod fuzz;
mod killed;
mod streams;

use std::io;
use std::thread;
use std::time::Duration;

use mspipe::checkpoint::{self, Checkpoint, Checkpoints, Every, Header};
use mspipe::config::{MaxTime, RunConfig};
use mspipe::pipeline::probe::Probe;
use mspipe::session::Session;
use mspipe::train::ended::Ended;
use mspipe::train::error::TrainError;
use mspipe::train::keeping::Keeping;
use mspipe::train::observer::{TrainEvent, TrainRecord};
use mspipe_datasets::Stop;
use tempfile::TempDir;

use crate::on_device;
use crate::schedules::{Outcome, config};

/// 14 iterations per epoch.
const EVENTS: &str = "480";
const ITERATIONS: usize = 14;

/// How warnings begin that these runs may give.
const EXPECTED: [&str; 2] = ["the time was up", "nothing is probed"];

/// Keeps a checkpoint every few iterations, and what happened.
struct Keeper {
    every: Every,
    outcome: Outcome,
    folder: TempDir,
    /// Places of the checkpoints.
    places: Vec<(usize, usize)>,
    /// Where to set `stop`.
    stop_at: Option<(usize, usize)>,
    /// In the evaluation of this part that so many others came before.
    stop_in: Option<(&'static str, usize)>,
    stop: Stop,
    /// Where to sleep for so long.
    sleep_at: Option<((usize, usize), Duration)>,
    warnings: Vec<String>,
    probes: Vec<Probe>,
    epoch: usize,
}

impl Keeper {
    fn new(every: Every) -> Keeper {
        Keeper {
            every,
            outcome: Outcome::default(),
            folder: TempDir::new().unwrap(),
            places: Vec::new(),
            stop_at: None,
            stop_in: None,
            stop: Stop::default(),
            sleep_at: None,
            warnings: Vec::new(),
            probes: Vec::new(),
            epoch: 0,
        }
    }

    /// The checkpoint at a place, through a file.
    fn checkpoint(&self, (epoch, iteration): (usize, usize)) -> Checkpoint {
        let name = format!("{epoch}-{iteration}/{}", checkpoint::LAST);
        checkpoint::read(&self.folder.path().join(name)).unwrap()
    }
}

impl Keeper {
    fn see(&mut self, event: TrainEvent<'_>) -> io::Result<()> {
        match event {
            TrainEvent::EpochBegins { epoch, iterations } => {
                assert_eq!(iterations, ITERATIONS);
                self.epoch = epoch;
            }
            TrainEvent::Iteration { iteration, .. }
                if self.stop_at == Some((self.epoch, iteration)) =>
            {
                self.stop.request();
            }
            TrainEvent::Iteration { iteration, .. } => match self.sleep_at {
                Some((place, time)) if place == (self.epoch, iteration) => thread::sleep(time),
                _ => {}
            },
            TrainEvent::EvaluationBegins(part) => match &mut self.stop_in {
                Some((of, 0)) if part == *of => self.stop.request(),
                Some((of, before)) if part == *of => *before -= 1,
                _ => {}
            },
            TrainEvent::Checkpoint {
                epoch,
                iteration,
                state,
            } => {
                let folder = self.folder.path().join(format!("{epoch}-{iteration}"));
                std::fs::create_dir(&folder).unwrap();
                self.places.push((epoch, iteration));
                let header = Header::new(epoch, iteration, serde_json::Value::Null);
                let kept = Checkpoints::of(&folder).save(&header, state);
                return kept.map_err(io::Error::other);
            }
            TrainEvent::Warning(message) => self.warnings.push(message.to_owned()),
            TrainEvent::Probed { probes, .. } => self.probes.extend_from_slice(probes),
            _ => {}
        }
        self.outcome.see(event)
    }
}

/// Trains with `keeper`, from a checkpoint if one is given.
fn train(
    config: &RunConfig,
    from: Option<Checkpoint>,
    keeper: &mut Keeper,
) -> Result<TrainRecord, TrainError> {
    on_device(|device| {
        let session = Session::open_until(config.clone(), &keeper.stop).unwrap();
        let mut training = session.training(device).unwrap();
        if let Some(checkpoint) = from {
            training.resume(checkpoint).unwrap();
        }
        training.keeping = Keeping::new(keeper.every);
        let result = training.run(&mut |event| keeper.see(event));
        keeper.outcome.look_into(&training.memory);
        if keeper
            .warnings
            .iter()
            .any(|warning| !EXPECTED.iter().any(|start| warning.starts_with(start)))
        {
            panic!("{:?}", keeper.warnings);
        }
        result.map(|(record, _)| record)
    })
}

/// Everything of a record but times, bit by bit.
fn numbers(record: &TrainRecord) -> Vec<String> {
    let epochs = record.epochs.iter();
    let mut all: Vec<String> = epochs
        .map(|epoch| format!("{:?} {:?}", epoch.train_loss.to_bits(), epoch.val))
        .collect();
    all.push(format!(
        "{} {:?} {:?} {:?} {:?}",
        record.best_epoch, record.ended, record.test, record.staleness, record.stale_memory
    ));
    all
}

/// Settings whose numbers don't depend on times.
const SETTINGS: [(&str, &str); 13] = [
    ("tgn", "--schedule sequential --memory device"),
    ("tgn", "--schedule staleness:3 --memory device"),
    (
        "tgn --memory-write read",
        "--schedule staleness:3 --memory device --mitigation similarity",
    ),
    (
        "tgn --time-delta query",
        "--schedule staleness:4 --memory host",
    ),
    ("jodie", "--schedule mspipe --memory device"),
    (
        "apan",
        "--schedule staleness:2 --memory device --features device:800",
    ),
    ("apan", "--schedule exact-overlap --memory host"),
    (
        "tgn",
        "--lr-schedule cosine --warmup 5 --clip-norm 0.3 --weight-decay 0.1 --max-time 2h \
         --monitor val-auc --patience 1",
    ),
    (
        "jodie --optimizer sgd",
        "--lr-schedule linear --warmup 17 --clip-norm 0.3 --weight-decay 0.1 --schedule \
         staleness:3",
    ),
    (
        "jodie",
        "--schedule staleness:4 --memory host --mitigation catch-up",
    ),
    (
        "tgn --time-delta query",
        "--schedule staleness:3 --memory device --mitigation catch-up",
    ),
    (
        "tgn",
        "--schedule staleness:3 --memory host --mitigation pres --features device:1280",
    ),
    (
        "apan",
        "--schedule staleness:2 --memory device --mitigation pres --clip-norm 0.3",
    ),
];

#[test]
fn checkpoints_change_no_number_of_the_training_that_writes_them() {
    for (model, options) in SETTINGS {
        let config = config(model, EVENTS, &format!("--epochs 2 {options}"));
        let mut whole = Keeper::new(Every::Never);
        let expected = numbers(&train(&config, None, &mut whole).unwrap());
        assert!(whole.places.is_empty());

        let mut kept = Keeper::new(Every::Iterations(3));
        let record = train(&config, None, &mut kept).unwrap();
        kept.outcome
            .must_equal(&whole.outcome, &format!("{model} {options}"));
        assert_eq!(numbers(&record), expected, "{model} {options}");
        // With k = 4 a pause comes up to 3 iterations late.
        assert!(kept.places.len() >= 6, "{:?}", kept.places);

        // From the first one, from within each epoch, from between them, from the end.
        let last = kept.places.len() - 1;
        let between = kept
            .places
            .iter()
            .position(|place| *place == (2, 0))
            .unwrap();
        for nth in [0, 2, between, between + 2, last] {
            let place = kept.places[nth];
            let mut resumed = Keeper::new(Every::Epoch);
            let from = kept.checkpoint(place);
            let record = train(&config, Some(from), &mut resumed).unwrap();
            let what = format!("{model} {options} from {place:?}");
            assert_eq!(numbers(&record), expected, "{what}");
            let done = (place.0 - 1) * ITERATIONS + place.1;
            assert_eq!(
                resumed.outcome.losses,
                whole.outcome.losses[done..],
                "{what}"
            );
            assert!(
                resumed.outcome.memory == whole.outcome.memory,
                "memory of {what}"
            );
            let lines = resumed
                .outcome
                .ledger
                .iter()
                .zip(&whole.outcome.ledger[done..]);
            for (line, expected) in lines {
                assert_eq!(
                    (line.iteration, line.k, &line.stale_memory),
                    (expected.iteration, expected.k, &expected.stale_memory),
                    "{what}"
                );
            }
        }
    }
}

/// Memory that is not stale follows an epoch from its beginning or not at all.
#[test]
fn probes_go_on_with_the_epoch_after() {
    let options = "--epochs 2 --schedule staleness:3 --probe-every 4";
    let config = config("tgn", EVENTS, options);
    let mut whole = Keeper::new(Every::Iterations(3));
    train(&config, None, &mut whole).unwrap();
    let trained: Vec<usize> = whole.probes.iter().map(|probe| probe.trained).collect();
    assert_eq!(trained, [4, 8, 12, 16, 20, 24, 28]);
    assert!(whole.warnings.is_empty());

    for (place, warnings) in [(whole.places[0], 1), ((2, 0), 0)] {
        let mut resumed = Keeper::new(Every::Epoch);
        train(&config, Some(whole.checkpoint(place)), &mut resumed).unwrap();
        assert_eq!(resumed.probes, whole.probes[3..], "{place:?}");
        assert_eq!(resumed.warnings.len(), warnings, "{place:?}");
    }
}

/// Settings of the optimiser act: none gives the numbers of another.
#[test]
fn each_control_changes_the_numbers() {
    let losses = |options: &str| {
        let config = config("tgn", EVENTS, options);
        let mut keeper = Keeper::new(Every::Never);
        train(&config, None, &mut keeper).unwrap();
        keeper.outcome.losses
    };
    let plain = losses("");
    for same in [
        "--lr-schedule constant --warmup 0 --optimizer adam --weight-decay 0",
        "--patience 1 --monitor val-ap --max-time 2h",
        "--clip-norm 1e9",
    ] {
        assert_eq!(losses(same), plain, "{same}");
    }
    let mut others = vec![plain];
    for other in [
        "--lr-schedule cosine",
        "--lr-schedule linear",
        "--warmup 3",
        "--optimizer sgd",
        "--weight-decay 0.1",
        "--clip-norm 0.1",
    ] {
        let losses = losses(other);
        assert!(!others.contains(&losses), "{other}");
        others.push(losses);
    }
}

#[test]
fn patience_ends_a_run_where_it_ends_an_interrupted_one() {
    // With such a rate no epoch is better than the first one for long.
    let mut config = config("tgn", EVENTS, "--epochs 9 --patience 2");
    config.training.learning_rate = 0.05;
    let mut whole = Keeper::new(Every::Epoch);
    let record = train(&config, None, &mut whole).unwrap();
    let epochs = record.epochs.len();
    assert!(epochs < 9, "{:?}", record.ended);
    let (epoch, patience) = (epochs, 2);
    assert_eq!(record.ended, Ended::Patience { epoch, patience });
    assert_eq!(record.best_epoch, epochs - 2);
    // The last one is of a run that has only its test to do.
    for place in [whole.places[epochs - 2], whole.places[epochs - 1]] {
        let mut resumed = Keeper::new(Every::Epoch);
        let from = whole.checkpoint(place);
        let again = train(&config, Some(from), &mut resumed).unwrap();
        assert_eq!(numbers(&again), numbers(&record), "{place:?}");
    }
}

#[test]
fn time_that_is_up_in_the_first_epoch_tests_what_there_is() {
    for (model, options) in [SETTINGS[0], SETTINGS[3]] {
        let mut config = config(model, EVENTS, &format!("--epochs 2 {options}"));
        let mut whole = Keeper::new(Every::Never);
        let expected = numbers(&train(&config, None, &mut whole).unwrap());
        config.machine.max_time = Some(MaxTime(Duration::ZERO));
        let mut timed = Keeper::new(Every::Epoch);
        let record = train(&config, None, &mut timed).unwrap();
        let Ended::Time { epoch, iteration } = record.ended else {
            panic!("{:?}", record.ended);
        };
        // What had read memory is trained too: at most k - 1 iterations more.
        assert!(epoch == 1 && (1..5).contains(&iteration), "{iteration}");
        assert_eq!((record.best_epoch, record.epochs.len()), (1, 1));
        assert_eq!(timed.warnings.len(), 1);
        assert_eq!(timed.places, [(1, iteration)]);
        // Whoever resumes it before its test has ended trains on.
        config.machine.max_time = None;
        let mut resumed = Keeper::new(Every::Never);
        let from = timed.checkpoint((1, iteration));
        let record = train(&config, Some(from), &mut resumed).unwrap();
        assert_eq!(numbers(&record), expected, "{model} {options}");
    }
}

#[test]
fn time_that_is_up_later_tests_the_best_epoch_that_has_ended() {
    let one = config("tgn", EVENTS, "--epochs 1");
    let expected = train(&one, None, &mut Keeper::new(Every::Never)).unwrap();
    let mut two = config("tgn", EVENTS, "--epochs 2");
    let time = Duration::from_secs(20);
    two.machine.max_time = Some(MaxTime(time));
    let mut timed = Keeper::new(Every::Epoch);
    timed.sleep_at = Some(((2, 4), time));
    let record = train(&two, None, &mut timed).unwrap();
    let (epoch, iteration) = (2, 5);
    assert_eq!(record.ended, Ended::Time { epoch, iteration });
    assert_eq!(timed.places, [(2, 0), (2, 5)]);
    assert_eq!((record.best_epoch, record.epochs.len()), (1, 1));
    assert_eq!(record.test, expected.test);
    assert!(timed.warnings.is_empty());
}

#[test]
fn updates_without_edge_features_are_kept_too() {
    for memory in ["device", "host"] {
        let options = format!("--schedule staleness:3 --memory {memory}");
        let mut config = config("jodie", EVENTS, &options);
        config.stream.edge_features = "zero".parse().unwrap();
        let mut whole = Keeper::new(Every::Iterations(5));
        let expected = numbers(&train(&config, None, &mut whole).unwrap());
        let from = whole.checkpoint(whole.places[0]);
        let mut resumed = Keeper::new(Every::Never);
        assert_eq!(
            numbers(&train(&config, Some(from), &mut resumed).unwrap()),
            expected
        );
        assert!(resumed.outcome.memory == whole.outcome.memory, "{memory}");
    }
}

#[test]
fn a_stop_keeps_the_iteration_that_it_comes_in() {
    for (model, options) in [SETTINGS[0], SETTINGS[3], SETTINGS[7], SETTINGS[8]] {
        let config = config(model, EVENTS, &format!("--epochs 2 {options}"));
        let mut whole = Keeper::new(Every::Never);
        let expected = numbers(&train(&config, None, &mut whole).unwrap());
        for stop_at in [(1, 4), (2, ITERATIONS - 1)] {
            let mut stopped = Keeper::new(Every::Epoch);
            stopped.stop_at = Some(stop_at);
            let error = train(&config, None, &mut stopped).unwrap_err();
            let TrainError::Interrupted {
                epoch, iteration, ..
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!(epoch, stop_at.0);
            // What had read memory is trained too: at most k - 1 iterations more.
            assert!((stop_at.1..stop_at.1 + 4).contains(&iteration), "{error}");
            let place = *stopped.places.last().unwrap();
            // Of the last iteration, that is before validation.
            assert_eq!(place, (epoch, iteration + 1));
            let mut resumed = Keeper::new(Every::Never);
            let from = stopped.checkpoint(place);
            let record = train(&config, Some(from), &mut resumed).unwrap();
            assert_eq!(
                numbers(&record),
                expected,
                "{model} {options} from {place:?}"
            );
            let losses = [stopped.outcome.losses, resumed.outcome.losses].concat();
            assert_eq!(losses, whole.outcome.losses);
        }
    }
}

#[test]
fn a_stop_in_an_evaluation_resumes_in_it() {
    for (model, options) in [SETTINGS[0], SETTINGS[3]] {
        let each = format!("--epochs 2 --eval-test-each-epoch {options}");
        let config = config(model, EVENTS, &each);
        let mut whole = Keeper::new(Every::Never);
        let expected = numbers(&train(&config, None, &mut whole).unwrap());
        for (stop_in, epoch, place) in [
            (("validation", 0), 1, (1, ITERATIONS)),
            (("test", 0), 1, (1, ITERATIONS)),
            (("validation", 1), 2, (2, ITERATIONS)),
            // After two tests of epochs, that of the whole run.
            (("test", 2), 2, (3, 0)),
        ] {
            let mut stopped = Keeper::new(Every::Epoch);
            stopped.stop_in = Some(stop_in);
            let error = train(&config, None, &mut stopped).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "interrupted after epoch {epoch}, iteration {}; a checkpoint of it is written",
                    ITERATIONS - 1
                )
            );
            assert_eq!(stopped.places.last(), Some(&place), "{stop_in:?}");
            let mut resumed = Keeper::new(Every::Never);
            let from = stopped.checkpoint(place);
            let record = train(&config, Some(from), &mut resumed).unwrap();
            assert_eq!(numbers(&record), expected, "{model} {options} {stop_in:?}");
            let losses = [stopped.outcome.losses, resumed.outcome.losses].concat();
            assert_eq!(losses, whole.outcome.losses, "{stop_in:?}");
        }
    }
}

#[test]
fn without_checkpoints_a_stop_says_so() {
    let config = config("jodie", EVENTS, "--epochs 2 --schedule staleness:2");
    let mut stopped = Keeper::new(Every::Never);
    stopped.stop_at = Some((1, 4));
    let error = train(&config, None, &mut stopped).unwrap_err().to_string();
    assert_eq!(
        error,
        "interrupted after epoch 1, iteration 4; losses up to there are written, but no checkpoint \
         (--checkpoint-every never)"
    );
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let tgn = config("tgn", EVENTS, "--schedule staleness:3");
    let mut kept = Keeper::new(Every::Iterations(5));
    train(&tgn, None, &mut kept).unwrap();
    let refused = |config: RunConfig| {
        let checkpoint = kept.checkpoint((1, kept.places[0].1));
        on_device(|device| {
            let session = Session::open(config).unwrap();
            let mut training = session.training(device).unwrap();
            training.resume(checkpoint).unwrap_err().to_string()
        })
    };
    let mut other = tgn.clone();
    other.model.width = 32;
    let wider = refused(other);
    assert!(
        wider.starts_with("its 'model': these weights are not of this model"),
        "{wider}"
    );
    let mut other = tgn.clone();
    other.stream.edge_features = "zero".parse().unwrap();
    let featureless = refused(other);
    assert!(featureless.contains("has shape"), "{featureless}");
}
