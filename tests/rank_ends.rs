//! What is left of a run that the failure of one rank ends: the message of that rank, and a checkpoint of all that
//! was trained wherever memory is still as the next iteration reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use burn::tensor::Device;
use mspipe::checkpoint::{self, Checkpoint, Checkpoints, Every, Header, LAST};
use mspipe::ranks::{Channel, Exchange, Gathered, RankError, threads};
use mspipe::session::Session;
use mspipe::train::error::{Left, TrainError};
use mspipe::train::keeping::Keeping;
use mspipe::train::observer::TrainEvent;
use mspipe::train::ranks::Ranks;
use tempfile::TempDir;

use crate::ranks::{Outcome, SMALL, config, train};

/// In which exchange of an iteration a rank fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    /// Of updated rows.
    Rows,
    /// Of gradients.
    Gradients,
    /// Of what is agreed on once it is trained.
    Agreement,
}

/// The connection of a rank whose device fails in the middle of an iteration.
struct Failing {
    rank: threads::Thread,
    kind: In,
    /// Exchanges of that kind before.
    left: AtomicUsize,
}

impl Failing {
    fn check(&self, kind: In) -> Result<(), RankError> {
        if kind != self.kind || self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        let why = "the driver has lost a card".to_owned();
        self.rank.end(Some(&why));
        Err(RankError::Ended { rank: 1, why })
    }
}

impl Exchange for Failing {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn size(&self) -> usize {
        self.rank.size()
    }

    fn on_machine(&self) -> &[usize] {
        self.rank.on_machine()
    }

    fn all_gather(&self, channel: Channel, own: Vec<u8>) -> Result<Gathered, RankError> {
        match channel {
            Channel::Rows => self.check(In::Rows)?,
            // Whether to stop, whether a checkpoint is due.
            Channel::Steps if own.len() == 2 => self.check(In::Agreement)?,
            Channel::Steps => {}
        }
        self.rank.all_gather(channel, own)
    }

    fn sum(&self, channel: Channel, numbers: &mut [f32]) -> Result<(), RankError> {
        self.check(In::Gradients)?;
        self.rank.sum(channel, numbers)
    }

    fn end(&self, why: Option<&str>) -> Option<RankError> {
        self.rank.end(why)
    }
}

/// A rank of a run with `options`, which keeps checkpoints in `folder` if it is given one: what it has at the end,
/// and why it ended early.
fn run(
    options: &str,
    exchange: Arc<dyn Exchange>,
    from: Option<Checkpoint>,
    folder: &TempDir,
) -> (Outcome, Option<TrainError>) {
    let session = Session::open(config(SMALL, options, 2)).unwrap();
    let training = session.training(&Device::flex()).unwrap();
    let records = exchange.rank() == 0;
    let mut training = training.with(Ranks::of(exchange));
    if let Some(checkpoint) = from {
        training.resume(checkpoint).unwrap();
    }
    training.keeping = Keeping::new(Every::Epoch);
    let mut outcome = Outcome::default();
    let ended = match records {
        true => {
            let run = training.run(&mut |event| {
                if let TrainEvent::Checkpoint {
                    epoch,
                    iteration,
                    state,
                } = &event
                {
                    let header = Header::new(*epoch, *iteration, serde_json::Value::Null);
                    let kept = Checkpoints::of(folder.path()).save(&header, state);
                    kept.map_err(std::io::Error::other)?;
                }
                outcome.see(event);
                Ok(())
            });
            run.err()
        }
        false => training.run_beside().err(),
    };
    outcome.look_into(&training.memory);
    (outcome, ended)
}

/// Two ranks of a run with `options`, the second of which fails after so many iterations, or none; rank 0's end.
fn both(
    options: &str,
    fails: Option<(In, usize)>,
    folder: &TempDir,
    resumes: bool,
) -> (Outcome, Option<TrainError>) {
    let from = || resumes.then(|| checkpoint::read(&folder.path().join(LAST)).unwrap());
    let mut all = threads::ranks(2).into_iter();
    let (first, second) = (all.next().unwrap(), all.next().unwrap());
    let second: Arc<dyn Exchange> = match fails {
        None => Arc::new(second),
        Some((kind, after)) => Arc::new(Failing {
            rank: second,
            kind,
            left: AtomicUsize::new(after),
        }),
    };
    thread::scope(|scope| {
        scope.spawn(|| run(options, second, from(), folder));
        run(options, Arc::new(first), from(), folder)
    })
}

#[test]
fn what_was_trained_when_a_rank_failed_is_kept_and_resumed() {
    for options in [
        "--model tgn",
        "--model tgn --memory host",
        "--model jodie --schedule prefetch",
        "--model apan --schedule prefetch --memory host",
        "--model tgn --schedule staleness:3",
        "--model tgn --schedule staleness:3 --mitigation catch-up",
    ] {
        let whole = train(options, 2, 1).remove(0);
        for kind in [In::Rows, In::Gradients, In::Agreement] {
            let what = format!("{options}, {kind:?}");
            let folder = TempDir::new().unwrap();
            let (outcome, ended) = both(options, Some((kind, 7)), &folder, false);
            let Some(TrainError::Leaves { error, left }) = ended else {
                panic!("{what}: {ended:?}");
            };
            let said = error.to_string();
            assert!(
                said.ends_with("rank 1 ended: the driver has lost a card"),
                "{what}: {said}"
            );
            // Rows of memory in RAM are exchanged when the step has been made: what was to follow is nowhere.
            if kind == In::Rows && options.contains("host") {
                assert_eq!(left, Left::Last(None), "{what}");
                continue;
            }
            // The rows of the last iteration may be under way while the rank ends.
            let under_way = kind == In::Agreement && options.contains("prefetch --memory host");
            if under_way && left == Left::Last(None) {
                continue;
            }
            let trained = 7 + usize::from(kind == In::Agreement);
            assert_eq!(left, Left::Whole((1, trained)), "{what}");
            assert_eq!(outcome.losses[..], whole.losses[..trained], "{what}");
            let (rest, ended) = both(options, None, &folder, true);
            assert!(ended.is_none(), "{what}: {ended:?}");
            assert_eq!(rest.losses[..], whole.losses[trained..], "{what}");
            assert!(rest.memory == whole.memory, "{what}");
            assert!(rest.times == whole.times, "{what}");
            let reads = outcome.reads.iter().chain(&rest.reads);
            assert!(reads.eq(&whole.reads), "{what}: what was read");
        }
    }
}

#[test]
fn where_memory_has_gone_on_the_last_checkpoint_stays() {
    for schedule in ["staleness:3", "exact-overlap"] {
        let options = format!("--model tgn --memory host --schedule {schedule}");
        let folder = TempDir::new().unwrap();
        let (_, ended) = both(&options, Some((In::Gradients, 7)), &folder, false);
        let said = ended.unwrap().to_string();
        let end = "rank 1 ended: the driver has lost a card. There is no checkpoint from before";
        assert!(said.ends_with(end), "{schedule}: {said}");
        assert!(!folder.path().join(LAST).exists(), "{schedule}");
        // In the second epoch there is that of the first one's end.
        let options = format!("{options} --epochs 2");
        let (_, ended) = both(&options, Some((In::Gradients, 27)), &folder, false);
        let said = ended.unwrap().to_string();
        let end = "a card. The last checkpoint, of epoch 2, iteration 0, is from before and stays";
        assert!(said.ends_with(end), "{schedule}: {said}");
    }
}
