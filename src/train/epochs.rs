//! The loop over epochs: train, validate, keep the best, test once.
//!
//! An epoch is trained in one run of the pipeline, or in several with a checkpoint between
//! them. Invariant: checkpoints change no number, neither of the run that writes them nor
//! of one that continues from them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;
use mspipe_datasets::Stop;

use super::divergence::LossReader;
use super::ended::{EndRule, Ended};
use super::error::{EvalError, Kept, Left, TrainError, device_failed};
use super::evaluation::Evaluator;
use super::iteration::{MemoryRead, Training};
use super::lanes::{self, Plan};
use super::observer::tell;
use super::pass::Pass;
use super::probes::Probes;
use super::progress::{Best, Progress};
use super::queue_times::Stopwatch;
use super::ranks::Ranks;
use super::trainer::Trainer;
use crate::device::queue;
use crate::eval::metrics::MetricError;
use crate::eval::{EQUAL_SCORES, LinkMetrics};
use crate::memory::MemoryStore;
use crate::memory::node_memory::NodeMemory;
use crate::model::LinkModel;
use crate::model::tgl_weights;
use crate::pipeline::clock::{Clock as _, WallClock};
use crate::pipeline::ending::Proceed;
use crate::pipeline::executor::{Executor, Segment};
use crate::pipeline::link::Link;
use crate::pipeline::queue::QueueTimes;
use crate::pipeline::scheduler::Scheduler;
use crate::pipeline::staleness::StalenessCounter;
use crate::pipeline::trace::{RankTrace, Record};
use crate::pipeline::votes::Votes;
use crate::sampling::SplitPart;

use super::keeping::Keeping;
use super::observer::{EpochRecord, Observer, TrainEvent, TrainRecord};

/// Losses that may wait on the device before they are read.
const UNREAD_LOSSES: usize = 32;

/// What is said of an epoch that was resumed.
const UNPROBED: &str = "nothing is probed in the rest of the epoch: memory that is not stale has to follow it \
                        from its beginning";

/// Iterations of an epoch whose stages are in its trace.
const TRACED: usize = 400;

/// Everything that a run works on.
pub struct TrainLoop {
    /// Stream and rules.
    pub evaluator: Evaluator,
    /// Model and optimiser.
    pub trainer: Trainer,
    /// Node memory, reset at the start of each epoch.
    pub memory: NodeMemory,
    /// Chooses how stale memory may be.
    pub scheduler: Scheduler,
    /// Batches that may be ready ahead of the stage that takes them, at least 1.
    pub queue_depth: usize,
    /// A bus that transfers take the time of, with memory on the host.
    pub emulated_link: Option<Link>,
    /// When training ends.
    pub end: EndRule,
    /// Whether to evaluate the test part after each epoch.
    pub test_each_epoch: bool,
    /// Ends it after the current iteration, in an evaluation after the current batch.
    pub stop: Stop,
    /// When its state is kept.
    pub keeping: Keeping,
    /// Compares it with a run whose memory is not stale, if that is asked for.
    pub probes: Option<Probes>,
    /// Where it stands.
    pub progress: Progress,
    /// The other ranks, if there are any.
    pub ranks: Option<Ranks>,
}

impl TrainLoop {
    /// What counts staleness in an epoch that begins.
    pub fn new_staleness(&self) -> StalenessCounter {
        let times = self.memory.node_times();
        StalenessCounter::new(times.last_update().len(), times.rule().mail_slots)
    }

    /// Trains from where it stands, and tests once with the weights and memory of the best
    /// epoch; returns these weights too.
    ///
    /// # Errors
    /// See [`TrainError`].
    pub fn run(
        &mut self,
        observer: &mut Observer<'_>,
    ) -> Result<(TrainRecord, LinkModel), TrainError> {
        let ended = self.train_and_test(observer);
        ended.map_err(|error| self.left_by(error))
    }

    /// The same, without a word of what is left where another rank has ended or the test failed.
    fn train_and_test(
        &mut self,
        observer: &mut Observer<'_>,
    ) -> Result<(TrainRecord, LinkModel), TrainError> {
        self.build_histories();
        let ended = self.train(observer)?;
        tell(observer, TrainEvent::TrainingEnds(&ended))?;
        let Some(mut best) = self.progress.best.take() else {
            return Err(EvalError::from(MetricError::NoBatch).into());
        };
        if self.keeping.weights_due {
            let weights = &tgl_weights::unread(&best.model).map_err(device_failed)?;
            let epoch = best.epoch;
            tell(observer, TrainEvent::Best { epoch, weights })?;
        }
        tell(observer, TrainEvent::EvaluationBegins("test"))?;
        let tested = self.evaluator.test(&best.model, &mut best.memory);
        let measured = tested.and_then(|test| {
            Ok((
                test,
                self.evaluator.edgebank(true)?,
                self.evaluator.counts(true)?,
            ))
        });
        let (test, edgebank, counts) = match measured {
            // The checkpoint of the last epoch's end has it all.
            Err(EvalError::Stopped(_)) => {
                return Err(self.interrupted(self.keeping.kept(self.progress.place())));
            }
            measured => measured?,
        };
        if test.own_pool.equal_scores {
            warn(observer, &format!("test: {EQUAL_SCORES}"))?;
        }
        self.look_at_device();
        let totals = &self.progress.totals;
        let record = TrainRecord {
            epochs: self.progress.epochs.clone(),
            best_epoch: best.epoch,
            monitor: self.end.monitor,
            ended,
            test,
            edgebank,
            counts,
            stage_times: totals.times,
            updater: totals.updater,
            queue: totals.queue,
            staleness: totals.staleness.clone(),
            in_turn: totals.in_turn,
            stale_memory: totals.stale_memory.clone(),
            updater_rows: totals.updater_rows,
            corrected_rows: totals.corrected_rows,
            stall: totals.stall,
            exchanged: totals.exchanged,
            device_bytes: totals.device_bytes,
            not_written: self.keeping.unrecorded.take(),
        };
        Ok((record, best.model))
    }

    /// The same as one of several ranks, if there are others.
    #[must_use]
    pub fn with(self, ranks: Option<Ranks>) -> TrainLoop {
        let scheduler = match &ranks {
            Some(_) => self.scheduler.together(),
            None => self.scheduler,
        };
        TrainLoop {
            scheduler,
            evaluator: self.evaluator.shared_by(ranks.clone()),
            ranks,
            ..self
        }
    }

    /// Trains beside rank 0, which writes down what the run gives and tests.
    ///
    /// # Errors
    /// See [`TrainError`].
    pub fn run_beside(&mut self) -> Result<(), TrainError> {
        self.build_histories();
        self.train(&mut |_| Ok(()))?;
        let Some(Best { model, memory, .. }) = &mut self.progress.best else {
            return Err(EvalError::from(MetricError::NoBatch).into());
        };
        self.evaluator.test(model, memory)?;
        Ok(())
    }

    /// Builds pair histories, if they are read, with what they have of the training part in every epoch: not
    /// within the first iteration, whose time would be wrong.
    pub fn build_histories(&self) {
        let sampling = self.evaluator.sampling();
        if sampling.histories.read {
            sampling.pair_history().keep(&sampling.training_part());
        }
    }

    /// Whether any rank says so.
    fn any(&self, own: bool) -> Result<bool, TrainError> {
        agreed(self.ranks.as_ref(), [own]).map(|[any]| any)
    }

    /// Trains until it is over; then there is a best epoch.
    fn train(&mut self, observer: &mut Observer<'_>) -> Result<Ended, TrainError> {
        self.keeping.begin(&self.progress);
        let deadline = self
            .end
            .max_time
            .and_then(|time| Instant::now().checked_add(time));
        let deadline = Deadline(deadline);
        loop {
            let time_is_up = self.any(deadline.is_over())?;
            if let Some(ended) = self.progress.ended(&self.end, time_is_up) {
                return Ok(ended);
            }
            self.epoch(deadline, observer)?;
            let (epoch, iteration) = self.progress.place();
            if iteration > 0 {
                if !self.progress.has_best() {
                    self.measure_part(observer)?;
                }
                return Ok(Ended::Time { epoch, iteration });
            }
        }
    }

    /// Measures an epoch that its time did not suffice for, since there is no other. The place that
    /// the run can be resumed at stays in the middle of it.
    fn measure_part(&mut self, observer: &mut Observer<'_>) -> Result<(), TrainError> {
        let (epoch, iteration) = self.progress.place();
        let pass = self.evaluator.pass(SplitPart::Train, epoch as u64);
        if !self.progress.unapplied.is_empty() {
            let clock = WallClock::start();
            self.train_segment(&pass, iteration, &clock, Deadline(None), observer)?;
        }
        let trained = pass.batch_events(iteration - 1).end - pass.events.start;
        let warning = format!(
            "the time was up before an epoch had ended: validation and test begin with the weights \
             and the memory after {trained} of {} training events",
            pass.events.len()
        );
        warn(observer, &warning)?;
        let Some(record) = self.measure(trained, observer)? else {
            return Err(self.interrupted(self.keeping.kept(self.progress.place())));
        };
        self.progress.epochs.push(record);
        Ok(())
    }

    /// The rest of the epoch under way, validation, and a checkpoint; the time may be up before.
    fn epoch(&mut self, deadline: Deadline, observer: &mut Observer<'_>) -> Result<(), TrainError> {
        let Some(trained) = self.train_epoch(deadline, observer)? else {
            return Ok(());
        };
        match self.end_epoch(trained, observer) {
            // What was trained is whole.
            Err(error) if error.is_of_rank() || error.is_of_evaluation() => {
                Err(self.keep_what_is_left(error, observer))
            }
            ended => ended,
        }
    }

    /// What follows the training of an epoch.
    fn end_epoch(
        &mut self,
        mut trained: Record,
        observer: &mut Observer<'_>,
    ) -> Result<(), TrainError> {
        self.look_at_device();
        // Of an epoch that a checkpoint has whole, nothing is new.
        if !trained.ledger.is_empty() {
            if let Some(ranks) = &self.ranks {
                let own = RankTrace {
                    spans: trained.spans.clone(),
                    exchanges: trained.exchanges.clone(),
                };
                trained.others = ranks.traces(&own)?;
            }
            self.record(&trained, observer)?;
        }
        let events = self.evaluator.split.train.len();
        let record = match self.measure(events, observer)? {
            Some(record) => record,
            None => {
                let kept = self.keep(observer)?;
                return Err(self.interrupted(kept));
            }
        };
        self.progress.end_epoch(record);
        self.look_at_device();
        let kept = self.keep(observer)?;
        if self.any(self.stop.requested())? && self.keeping.keeps() {
            return Err(self.interrupted(kept));
        }
        self.warn_if_lost(&kept, observer)
    }

    /// Validates what `events` events of the epoch have trained, and chooses it if it is the best;
    /// `None` after a stop.
    fn measure(
        &mut self,
        events: usize,
        observer: &mut Observer<'_>,
    ) -> Result<Option<EpochRecord>, TrainError> {
        let epoch = self.progress.epoch;
        let model = self.trainer.model().valid();
        let mut memory = self.memory.clone();
        let measured = match self.evaluate(&model, &mut memory, observer) {
            Err(TrainError::Evaluation(EvalError::Stopped(_))) => None,
            measured => Some(measured?),
        };
        let stopped = self.any(measured.is_none())?;
        let Some(measured) = measured.filter(|_| !stopped) else {
            // The memory goes first: no more copies at once than when an epoch ends.
            return Ok(None);
        };
        let record = self.progress.record(events, measured);
        tell(
            observer,
            TrainEvent::EpochDone {
                epoch,
                record: &record,
            },
        )?;
        let val = &record.val;
        if val.equal_scores {
            warn(
                observer,
                &format!("validation after epoch {epoch}: {EQUAL_SCORES}"),
            )?;
        }
        let (best, choice) = (self.progress.best.as_ref(), self.end.monitor.of(val));
        if best.is_none_or(|best| choice > best.choice) {
            self.choose(model, memory, choice, observer)?;
        }
        Ok(Some(record))
    }

    /// Takes note of how much of the device's memory is taken; burn gives little of it back.
    fn look_at_device(&mut self) {
        let queue = queue::of(&self.evaluator.device);
        let taken = queue.and_then(|queue| queue.memory_bytes());
        let most = &mut self.progress.totals.device_bytes;
        *most = taken.max(*most);
    }

    /// Hands out what the training part of an epoch gave. The observer writes files, which is no
    /// part of training's time; no result depends on them.
    fn record(&mut self, trained: &Record, observer: &mut Observer<'_>) -> Result<(), TrainError> {
        let unrecorded = observer(TrainEvent::EpochRecorded(trained)).err();
        let unrecorded = unrecorded.map(|error| error.to_string());
        let before = std::mem::replace(&mut self.keeping.unrecorded, unrecorded);
        match &self.keeping.unrecorded {
            Some(error) if before.is_none() => {
                warn(observer, &format!("{error}; the run continues without it"))
            }
            _ => Ok(()),
        }
    }

    /// The epoch under way is the best so far.
    fn choose(
        &mut self,
        model: LinkModel,
        memory: NodeMemory,
        choice: f64,
        observer: &mut Observer<'_>,
    ) -> Result<(), TrainError> {
        let epoch = self.progress.epoch;
        let weights = &tgl_weights::unread(&model).map_err(device_failed)?;
        let written = observer(TrainEvent::Best { epoch, weights });
        self.keeping.weights_due = written.is_err();
        if let Err(error) = written {
            let warning = format!(
                "the weights of epoch {epoch} are not written: {error}; tried again at the end"
            );
            warn(observer, &warning)?;
        }
        self.progress.best = Some(Best {
            epoch,
            choice,
            model,
            memory,
        });
        Ok(())
    }

    /// Validation, which `memory` continues with, and the test where it is asked for each epoch.
    fn evaluate(
        &self,
        model: &LinkModel,
        memory: &mut NodeMemory,
        observer: &mut Observer<'_>,
    ) -> Result<(LinkMetrics, Option<LinkMetrics>), TrainError> {
        tell(observer, TrainEvent::EvaluationBegins("validation"))?;
        let val = self.evaluator.validate(model, memory)?;
        if !self.test_each_epoch {
            return Ok((val, None));
        }
        tell(observer, TrainEvent::EvaluationBegins("test"))?;
        let test = self.evaluator.test_own_pool(model, &mut memory.clone())?;
        Ok((val, Some(test)))
    }

    /// The end of a run that was asked to stop, after the last iteration that is trained.
    fn interrupted(&self, kept: Kept) -> TrainError {
        let (epoch, iteration) = match self.progress.place() {
            (epoch, 0) => {
                let of_an_epoch = self.evaluator.pass(SplitPart::Train, 0).iterations();
                (epoch - 1, of_an_epoch)
            }
            place => place,
        };
        TrainError::Interrupted {
            epoch,
            iteration: iteration - 1,
            kept,
        }
    }

    /// The rest of a pass over the training part; returns what overlapped, or nothing if the time
    /// was up before.
    fn train_epoch(
        &mut self,
        deadline: Deadline,
        observer: &mut Observer<'_>,
    ) -> Result<Option<Record>, TrainError> {
        let epoch = self.progress.epoch;
        let pass = self.evaluator.pass(SplitPart::Train, epoch as u64);
        let iterations = pass.iterations();
        if self.progress.iteration == 0 {
            self.memory.reset();
            self.progress.staleness = self.new_staleness();
            if let Some(probes) = &mut self.probes {
                probes.begin_epoch(&self.memory);
            }
        }
        tell(observer, TrainEvent::EpochBegins { epoch, iterations })?;
        if self.probes.as_ref().is_some_and(|probes| !probes.follows()) {
            warn(observer, UNPROBED)?;
        }
        if let Some(ranks) = &self.ranks {
            ranks.forget_exchanged();
            // Their clocks begin when all are here.
            ranks.any([])?;
        }
        let clock = WallClock::start();
        let mut record = Record::default();
        // After a pause that came with the last iteration, its updates belong to the epoch.
        while self.progress.iteration < iterations || !self.progress.unapplied.is_empty() {
            let end = self.scheduler.part(self.progress.iteration..iterations);
            let (segment, ended_early) =
                self.train_segment(&pass, end, &clock, deadline, observer)?;
            record.extend(segment);
            if self.progress.iteration == iterations || !ended_early {
                continue;
            }
            let kept = self.keep(observer)?;
            if self.any(self.stop.requested())? {
                return Err(self.interrupted(kept));
            }
            self.warn_if_lost(&kept, observer)?;
            if self.any(deadline.is_over())? {
                return Ok(None);
            }
        }
        if let Some(probes) = &mut self.probes {
            probes.end_epoch();
        }
        Ok(Some(record))
    }

    /// Trains up to iteration `end` of an epoch, or until a checkpoint is due or the time is up; then it
    /// says so.
    fn train_segment(
        &mut self,
        pass: &Pass,
        end: usize,
        clock: &WallClock,
        deadline: Deadline,
        observer: &mut Observer<'_>,
    ) -> Result<(Record, bool), TrainError> {
        let begin = Instant::now();
        let (epoch, first) = (self.progress.epoch, self.progress.iteration);
        let autodiff = self.evaluator.device.clone().autodiff();
        let together = self.together(pass);
        let progress = &mut self.progress;
        let (work, ranks) = ((&mut self.trainer, &autodiff), self.ranks.as_ref());
        let mut training = Training::new(work, pass, &mut progress.staleness, ranks);
        training.probes = self.probes.as_mut();
        let losses = &mut progress.losses;
        let (mut failure, mut ended_early, mut moments) = (None, false, Vec::new());
        let (stop, keeping) = (&self.stop, &self.keeping);
        let stopping = || stop.requested() || deadline.is_over();
        let reader = LossReader {
            epoch,
            kept: keeping.last,
        };
        let mut proceed =
            |work: &mut Training<'_>, watched: &dyn Fn() -> Tensor<1>, iteration: usize| {
                let mut told = Ok(());
                if work.unread.len() >= UNREAD_LOSSES {
                    told = reader.read(work, watched(), losses, observer);
                }
                moments.push(clock.now());
                let events = pass.batch_events(iteration).end - pass.events.start;
                let told =
                    told.and_then(|()| tell(observer, TrainEvent::Iteration { iteration, events }));
                let own = || [stopping(), keeping.is_due(first, iteration + 1)];
                let asked = told.and_then(|()| together.after(iteration, own()));
                let proceed = asked.map_or_else(
                    |error| after_failure(failure.insert(error)),
                    |asked| keeping.proceed(asked),
                );
                ended_early |= proceed != Proceed::Go;
                proceed
            };
        let (place, early) = (self.scheduler.memory(), self.scheduler.early());
        let stopwatch = Stopwatch::new(&self.evaluator.device, clock, first, place, early);
        let mut unapplied = std::mem::take(&mut progress.unapplied);
        let plan = Plan {
            executor: executor(self.queue_depth, first, clock, stopwatch.as_ref()),
            scheduler: &mut self.scheduler,
            segment: Segment {
                epoch: epoch as u64,
                iterations: first..end,
                unapplied: unapplied.len(),
            },
            pass,
            emulated_link: self.emulated_link,
            stopwatch: stopwatch.as_ref(),
            ranks: self.ranks.as_ref(),
        };
        let (memory, work) = (&mut self.memory, &mut training);
        let (mut record, failed) = lanes::train(plan, memory, work, &mut unapplied, &mut proceed);
        let failed = failure.or(failed.map(|error| TrainError::Run { epoch, error }));
        let updates = self.memory.version() as usize + unapplied.len();
        // What is written beyond what the next iteration reads can't be taken back.
        let whole =
            updates == losses.len() + training.unread.len() && !self.scheduler.reads_ahead();
        let failed = not_lost(failed, whole)?;
        reader.read(&mut training, self.memory.watched(), losses, observer)?;
        reader.check_unapplied(&unapplied, losses.len())?;
        let reads = by_all_ranks(self.ranks.as_ref(), training.reads);
        add_exchanged(self.ranks.as_ref(), &mut record, first, clock);
        self.scheduler.ran(&moments, &mut record.ledger);
        progress.trained(&mut record, reads, unapplied, begin.elapsed());
        tell(observer, TrainEvent::Ledger(&record.ledger))?;
        self.tell_probes(epoch, observer)?;
        failed.map_or(Ok((record, ended_early)), |error| {
            Err(self.keep_what_is_left(error, observer))
        })
    }

    /// Keeps the state of a run that has ended early and whose trained iterations are whole; says so where this rank
    /// writes it.
    fn keep_what_is_left(&mut self, error: TrainError, observer: &mut Observer<'_>) -> TrainError {
        if !self.records() {
            return error;
        }
        let place = self.progress.place();
        let kept = match self.keeping.last == Some(place) {
            true => Ok(Kept::Whole),
            false => self.keep(observer),
        };
        match kept {
            Ok(Kept::Whole) => TrainError::Leaves {
                error: Box::new(error),
                left: Left::Whole(place),
            },
            _ => error,
        }
    }

    /// `error` with what is left of the run, if another rank or an evaluation has ended it.
    fn left_by(&self, error: TrainError) -> TrainError {
        let evaluated = error.is_of_evaluation();
        if !(error.is_of_rank() || evaluated) || !self.keeping.keeps() {
            return error;
        }
        let last = self.keeping.last;
        // What follows the last checkpoint may be lost, unless it has only been evaluated.
        let whole = last.filter(|&last| evaluated && last == self.progress.place());
        TrainError::Leaves {
            error: Box::new(error),
            left: whole.map_or(Left::Last(last), Left::Whole),
        }
    }

    /// Whether this is the rank that writes down what the run gives, or the only one.
    fn records(&self) -> bool {
        self.ranks.as_ref().is_none_or(Ranks::records)
    }

    /// Whoever trains the iterations of `pass` in the epoch under way.
    fn together(&self, pass: &Pass) -> Together {
        Together {
            ranks: self.ranks.clone(),
            votes: self.scheduler.votes(),
            epoch: self.progress.epoch,
            iterations: pass.iterations(),
        }
    }

    /// Hands out what probes found since it did so last.
    fn tell_probes(&mut self, epoch: usize, observer: &mut Observer<'_>) -> Result<(), TrainError> {
        let probes = &self.probes.as_mut().map(Probes::take).unwrap_or_default();
        match probes.is_empty() {
            true => Ok(()),
            false => tell(observer, TrainEvent::Probed { epoch, probes }),
        }
    }

    /// Hands the state out to be kept.
    fn keep(&mut self, observer: &mut Observer<'_>) -> Result<Kept, TrainError> {
        if !self.keeping.keeps() {
            return Ok(Kept::Nothing);
        }
        let (epoch, iteration) = self.progress.place();
        if !self.records() {
            return Ok(self.keeping.tried((epoch, iteration), Ok(())));
        }
        let saved = self.save()?;
        let kept = observer(TrainEvent::Checkpoint {
            epoch,
            iteration,
            state: &saved.arrays(),
        });
        drop(saved);
        Ok(self.keeping.tried((epoch, iteration), kept))
    }

    /// A checkpoint that can't be written does not end the run.
    fn warn_if_lost(&self, kept: &Kept, observer: &mut Observer<'_>) -> Result<(), TrainError> {
        let Kept::Failed(error) = kept else {
            return Ok(());
        };
        let last = match self.keeping.last {
            Some((epoch, iteration)) => {
                format!("the last one, of epoch {epoch}, iteration {iteration}, stays as it is")
            }
            None => "there is none before it".to_owned(),
        };
        let warning = format!("a checkpoint is missing: {error}; {last}; the run continues");
        warn(observer, &warning)
    }
}

/// Whoever trains the iterations of an epoch together.
struct Together {
    ranks: Option<Ranks>,
    /// Where ranks agree on k, if that is chosen from measured times.
    votes: Option<Arc<Votes>>,
    epoch: usize,
    iterations: usize,
}

impl Together {
    /// After an iteration: whether any rank says so, of each of these. After the last one nobody is asked.
    fn after(&self, iteration: usize, own: [bool; 2]) -> Result<[bool; 2], TrainError> {
        if iteration + 1 == self.iterations {
            return Ok([false; 2]);
        }
        let (Some(ranks), Some(votes)) = (&self.ranks, &self.votes) else {
            return agreed(self.ranks.as_ref(), own);
        };
        let [one, other] = own.map(u8::from);
        let k = votes.own().map_or(0, |k| k as u8);
        let [one, other, k] = ranks.most([one, other, k])?;
        if k > 0 {
            votes.agree(self.epoch as u64, iteration, usize::from(k));
        }
        Ok([one, other].map(|says| says != 0))
    }
}

/// What has ended a run of the pipeline, if anything has, where the `whole` state stays.
///
/// # Errors
/// What leaves nothing to go on from.
fn not_lost(failed: Option<TrainError>, whole: bool) -> Result<Option<TrainError>, TrainError> {
    match failed {
        Some(error) if !whole || !error.is_of_rank() => Err(error),
        failed => Ok(failed),
    }
}

/// How a run of the pipeline ends that this has happened to.
fn after_failure(error: &TrainError) -> Proceed {
    match error.is_of_rank() {
        // What is whole may be kept.
        true => Proceed::Pause,
        false => Proceed::Stop,
    }
}

/// Whether any rank says so, of each of these.
fn agreed<const N: usize>(ranks: Option<&Ranks>, own: [bool; N]) -> Result<[bool; N], TrainError> {
    Ok(ranks.map_or(Ok(own), |ranks| ranks.any(own))?)
}

/// Writes down what the iterations from `first` on have exchanged with other ranks.
fn add_exchanged(ranks: Option<&Ranks>, record: &mut Record, first: usize, clock: &WallClock) {
    let Some(ranks) = ranks else {
        return;
    };
    let (lines, spans) = ranks.take_exchanged((first, TRACED), clock.now());
    for (line, exchanged) in record.ledger.iter_mut().zip(lines) {
        line.exchanged = Some(exchanged);
    }
    record.exchanges = spans;
}

/// What each iteration read, as all ranks have read it together where this one writes the ledger.
fn by_all_ranks(ranks: Option<&Ranks>, mut reads: Vec<MemoryRead>) -> Vec<MemoryRead> {
    let whole = ranks.map(Ranks::take_reads).unwrap_or_default();
    for (read, whole) in reads.iter_mut().zip(whole) {
        read.ages = whole.ages;
        read.stale.rows_read = whole.rows;
        read.updater_rows = whole.updater_rows;
    }
    reads
}

/// What runs the iterations from `first` on.
fn executor<'c>(
    queue_depth: usize,
    first: usize,
    clock: &'c WallClock,
    stopwatch: Option<&'c Stopwatch<'_>>,
) -> Executor<'c> {
    Executor {
        queue_depth: NonZeroUsize::new(queue_depth).unwrap_or(NonZeroUsize::MIN),
        traced: TRACED.saturating_sub(first),
        clock,
        queue: stopwatch.map(|watch| watch as &dyn QueueTimes),
    }
}

/// When the time of training is up, if it ever is.
#[derive(Debug, Clone, Copy)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn is_over(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}

fn warn(observer: &mut Observer<'_>, message: &str) -> Result<(), TrainError> {
    tell(observer, TrainEvent::Warning(message))
}
