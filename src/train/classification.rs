//! Classification: labels of events, from embeddings of their nodes.
//!
//! What is embedded: for state labels ([`LabelOf::Source`]) the source of each event, for labels of the
//! events themselves ([`LabelOf::Event`]) both of its nodes, at the event's time, by an encoder that was
//! trained for link prediction and stays as it is, in one pass over the stream. The event itself is not
//! applied yet: memory holds the batches before, sampled past events are strictly earlier. A classifier
//! is then trained on the training part's embeddings, for labels of events with the events' own features
//! beside them; the epoch is chosen by the validation part (AUC, with more than two classes F1-micro) and
//! the test part is looked at once.
//!
//! Invariants: no label is input of anything; events without a label are embedded as all others and
//! neither trained on nor measured; each part has two classes at least; the same seed gives the same
//! numbers, also of a run that was interrupted and resumed.
//!
//! It does not train the encoder, and for state labels does not use the features of the labelled event.
//!
//! Source: the state labels are JODIE's (Kumar et al., KDD 2019), the classifier TGL's (Zhou et al., VLDB
//! 2022); labels of events as in DistTGL (Zhou et al., SC 2023).

mod classifier;
mod embeddings;
mod encoding;
mod error;
mod labels;
mod saving;

use std::io;
use std::ops::Range;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::divergence::diverged;
use super::error::Kept;
use super::evaluation::Evaluator;
use super::keeping::Keeping;
use super::optimizer::{Optimizer, OptimizerRule};
use super::upload::{floats, read};
use crate::checkpoint::{Arrays, Every};
use crate::eval::classes::ClassScores;
use crate::eval::metrics::MetricError;
use crate::eval::{ClassTable, LabelMetrics, LabelMonitor};
use crate::memory::node_memory::NodeMemory;
use crate::model::LinkModel;
use crate::model::init::Initializer;
use crate::sampling::SplitPart;
use crate::sampling::counter_rng::RandomStreams;
use classifier::{Classifier, logits_of};
use embeddings::{Encoder, Rows};
pub use error::{ClassificationError, Place};
pub(crate) use labels::Labels;
pub use labels::{LabelCount, LabelCounts};

/// Events that are classified at once outside training.
const CLASSIFIED_AT_ONCE: usize = 4096;
/// Keeps the classifier's first weights apart from the encoder's.
const CLASSIFIER_SEED: u64 = 0x6e6f_6465;

/// What labels are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOf {
    /// The state of an event's source.
    Source,
    /// The event.
    Event,
}

/// How classes weigh against one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// All training labels, each with the same weight
    #[value(name = "none")]
    #[serde(rename = "none")]
    All,
    /// All labels of the rarest class (of two, the positive one) and as many of each other, redrawn each
    /// epoch
    #[value(name = "sample")]
    #[serde(rename = "sample")]
    Sampled,
    /// All training labels, each weighing by the inverse of how frequent its class is in the training part
    Weights,
}

/// How the classifier is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClassifierConfig {
    /// Passes over the training labels.
    pub epochs: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Labels per batch.
    pub batch_size: usize,
    /// How classes weigh.
    pub balance: Balance,
    /// Seed of the first weights and of every draw.
    pub seed: u64,
}

/// Results of an epoch.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ClassifierEpoch {
    /// Mean loss over the epoch's labels.
    pub train_loss: f64,
    /// Metrics of the validation part.
    pub val: LabelMetrics,
}

/// Results of a classification.
#[derive(Debug, Clone, Serialize)]
pub struct ClassificationRecord {
    /// Labels of each part.
    pub labels: LabelCounts,
    /// Each epoch.
    pub epochs: Vec<ClassifierEpoch>,
    /// The best epoch (from 1), whose classifier is measured.
    pub best_epoch: usize,
    /// The measure that chose it.
    pub monitor: LabelMonitor,
    /// Metrics of the validation part.
    pub val: LabelMetrics,
    /// Metrics of the test part.
    pub test: LabelMetrics,
    /// The classes of the validation part.
    pub val_classes: ClassTable,
    /// The classes of the test part.
    pub test_classes: ClassTable,
}

/// What happens in a classification.
#[derive(Debug, Clone, Copy)]
pub enum ClassificationEvent<'a> {
    /// Labels have been counted; the pass over this many events begins or continues.
    EmbeddingBegins {
        /// Of each part.
        labels: &'a LabelCounts,
        /// Events of all parts.
        events: usize,
    },
    /// So many events have been embedded.
    Embedded(usize),
    /// An epoch of the classifier has been trained and validated.
    EpochDone {
        /// From 1.
        epoch: usize,
        /// Its result.
        record: &'a ClassifierEpoch,
        /// The measure that chooses the best one.
        monitor: LabelMonitor,
    },
    /// The state is to be kept.
    Checkpoint {
        /// How far it is.
        place: Place,
        /// All of it.
        state: &'a Arrays<'a>,
    },
    /// Something that the user should know.
    Warning(&'a str),
}

/// Is told what happens; an error ends the classification.
pub(crate) type ClassificationObserver<'a> =
    dyn FnMut(ClassificationEvent<'_>) -> io::Result<()> + 'a;

/// A classification and how far it is.
pub(crate) struct Classification {
    pub(super) of: LabelOf,
    evaluator: Evaluator,
    labels: Labels,
    config: ClassifierConfig,
    encoder: Encoder,
    rows: Rows,
    /// Once all events are embedded.
    training: Option<Training>,
    keeping: Keeping,
}

/// The classifier, and how far it is trained.
struct Training {
    classifier: Classifier,
    optimizer: Optimizer,
    /// Epochs that have ended.
    epochs: Vec<ClassifierEpoch>,
    /// Batches of the next that are trained.
    batch: usize,
    /// Their losses, each times its weight.
    losses: Vec<f32>,
    best: Option<Best>,
}

/// The best epoch so far.
struct Best {
    epoch: usize,
    val: LabelMetrics,
    /// Without autodiff.
    classifier: Classifier,
}

impl Classification {
    /// Before the first event, with an empty `memory`. State is kept `every` so often, after the pass over
    /// the stream, and when a stop is requested.
    pub(crate) fn new(
        of: LabelOf,
        evaluator: Evaluator,
        labels: Labels,
        config: ClassifierConfig,
        (model, memory): (LinkModel, NodeMemory),
        every: Every,
    ) -> Classification {
        Classification {
            of,
            evaluator,
            labels,
            config,
            encoder: Encoder {
                model,
                memory,
                batches: 0,
            },
            rows: Rows::default(),
            training: None,
            keeping: Keeping::new(every),
        }
    }

    /// Does what is left to do.
    ///
    /// # Errors
    /// When a stage fails, training diverges, the device stops answering, or `observer` fails; a stop.
    pub(crate) fn run(
        &mut self,
        observer: &mut ClassificationObserver<'_>,
    ) -> Result<ClassificationRecord, ClassificationError> {
        observer(ClassificationEvent::EmbeddingBegins {
            labels: &self.labels.counts,
            events: self.evaluator.split.test.end,
        })
        .map_err(ClassificationError::Observer)?;
        self.embed(observer)?;
        if self.training.is_none() {
            self.training = Some(self.new_training());
            self.keep(false, observer)?;
        }
        while self.epochs() < self.config.epochs {
            self.train_epoch(observer)?;
        }
        let training = self.training.take();
        let Some(Training {
            best: Some(best),
            epochs,
            ..
        }) = training
        else {
            return Err(ClassificationError::Metric(MetricError::NoBatch));
        };
        let val = self.scores(&best.classifier, self.labels.val.clone())?;
        let test = self.scores(&best.classifier, self.labels.test.clone())?;
        Ok(ClassificationRecord {
            labels: self.labels.counts.clone(),
            epochs,
            best_epoch: best.epoch,
            monitor: self.monitor(),
            val: best.val,
            test: test.metrics()?,
            val_classes: val.table()?,
            test_classes: test.table()?,
        })
    }

    /// For the audit: logits of the labelled events after the training part, one event's after the
    /// other, by a classifier that was trained for an epoch and that no validation chose.
    ///
    /// # Errors
    /// As [`Classification::run`].
    pub(crate) fn logits(&mut self) -> Result<Vec<(u32, Vec<f32>)>, ClassificationError> {
        self.embed(&mut |_| Ok(()))?;
        self.training = Some(self.new_training());
        self.train_batches(&self.epoch_events(1))?;
        let Some(training) = self.training.take() else {
            return Ok(Vec::new());
        };
        let later = self.labels.val.start..self.labels.test.end;
        let scores = self.scores(&training.classifier.valid(), later.clone())?;
        let each = scores.scores.chunks(logits_of(self.labels.classes()));
        let events = self.labels.events[later].iter().copied();
        Ok(events.zip(each.map(<[f32]>::to_vec)).collect())
    }

    /// The measure that chooses the best epoch.
    fn monitor(&self) -> LabelMonitor {
        LabelMonitor::of_classes(self.labels.classes())
    }

    /// Epochs that have ended.
    fn epochs(&self) -> usize {
        self.training
            .as_ref()
            .map_or(0, |training| training.epochs.len())
    }

    /// How far it is.
    fn place(&self) -> Place {
        match &self.training {
            None => Place {
                epoch: 0,
                batch: self.encoder.batches,
            },
            Some(training) => Place {
                epoch: training.epochs.len() + 1,
                batch: training.batch,
            },
        }
    }

    /// Events of the first `batches` batches.
    fn events_of(&self, mut batches: usize) -> usize {
        let mut end = 0;
        for part in [SplitPart::Train, SplitPart::Validation, SplitPart::Test] {
            let pass = self.evaluator.pass(part, 0);
            let of_part = batches.min(pass.iterations());
            if of_part > 0 {
                end = pass.batch_events(of_part - 1).end;
            }
            batches -= of_part;
        }
        end
    }

    /// A classifier that is not trained yet.
    fn new_training(&self) -> Training {
        let autodiff = self.evaluator.device.clone().autodiff();
        let mut init = Initializer::new(self.config.seed ^ CLASSIFIER_SEED, &autodiff);
        let width = match self.of {
            LabelOf::Source => self.rows.width,
            LabelOf::Event => self.rows.width / 2,
        };
        let classes = self.labels.classes();
        Training {
            classifier: Classifier::new(self.input_width(), width, classes, &mut init),
            optimizer: Optimizer::new(OptimizerRule::adam(self.config.learning_rate)),
            epochs: Vec::new(),
            batch: 0,
            losses: Vec::new(),
            best: None,
        }
    }

    /// The labels that an epoch, from 1, goes over, in its order.
    fn epoch_events(&self, epoch: u64) -> Vec<usize> {
        let class = &self.labels.class[self.labels.train.clone()];
        epoch_events(class, self.labels.classes(), &self.config, epoch)
    }

    /// Batches of an epoch.
    fn epoch_batches(&self, epoch: u64) -> usize {
        self.epoch_events(epoch)
            .len()
            .div_ceil(self.config.batch_size)
    }

    /// Trains what is left of the epoch under way, and validates.
    fn train_epoch(
        &mut self,
        observer: &mut ClassificationObserver<'_>,
    ) -> Result<(), ClassificationError> {
        let epoch = self.epochs() + 1;
        let events = self.epoch_events(epoch as u64);
        let batches = events.len().div_ceil(self.config.batch_size);
        while self.place().batch < batches {
            let stopping = self.train_batches(&events)?;
            if stopping || self.place().batch < batches {
                self.keep(stopping, observer)?;
            }
        }
        let Some(mut training) = self.training.take() else {
            return Ok(());
        };
        let classifier = training.classifier.valid();
        let val = self
            .scores(&classifier, self.labels.val.clone())?
            .metrics()?;
        let sum: f64 = training.losses.drain(..).map(f64::from).sum();
        let weight: f64 = match self.class_weights() {
            None => events.len() as f64,
            Some(weights) => {
                let of = |event: &usize| f64::from(weights[self.labels.class[*event] as usize]);
                events.iter().map(of).sum()
            }
        };
        let record = ClassifierEpoch {
            train_loss: sum / weight,
            val,
        };
        training.epochs.push(record);
        training.batch = 0;
        let monitor = self.monitor();
        let best = training.best.as_ref();
        if best.is_none_or(|best| monitor.of(&val) > monitor.of(&best.val)) {
            training.best = Some(Best {
                epoch,
                val,
                classifier,
            });
        }
        self.training = Some(training);
        observer(ClassificationEvent::EpochDone {
            epoch,
            record: &record,
            monitor,
        })
        .map_err(ClassificationError::Observer)?;
        match self.keeping.is_due_after_epoch() {
            true => self.keep(false, observer),
            false => Ok(()),
        }
    }

    /// Trains batches of `events` until the epoch ends, a checkpoint is due or a stop is requested; whether
    /// it is one.
    fn train_batches(&mut self, events: &[usize]) -> Result<bool, ClassificationError> {
        let Some(mut training) = self.training.take() else {
            return Ok(false);
        };
        let autodiff = self.evaluator.device.clone().autodiff();
        let weights = self.class_weights();
        let first = training.batch;
        let steps = training.optimizer.steps() as usize;
        let mut losses = Vec::new();
        let mut stopping = false;
        for batch in events.chunks(self.config.batch_size).skip(first) {
            let (rows, target) = (
                self.inputs(batch, &autodiff),
                self.targets(batch, &autodiff),
            );
            let each = training.classifier.losses(rows, target);
            let (loss, weight) = match &weights {
                None => (each.mean(), batch.len() as f32),
                Some(weights) => {
                    let of = |event: &usize| weights[self.labels.class[*event] as usize];
                    let of_batch: Vec<f32> = batch.iter().map(of).collect();
                    let sum = of_batch.iter().sum::<f32>();
                    let of_batch = floats(of_batch, [batch.len()], &autodiff);
                    ((each * of_batch).sum() / sum, sum)
                }
            };
            let gradients = GradientsParams::from_grads(loss.backward(), &training.classifier);
            training.classifier = training.optimizer.step(training.classifier, gradients);
            losses.push(loss.inner() * weight);
            training.batch += 1;
            stopping = self.evaluator.check_stop().is_err();
            if stopping || self.keeping.is_due(first, training.batch) {
                break;
            }
        }
        let batches = losses.len();
        losses.extend(training.optimizer.watched());
        let mut losses = read(Tensor::cat(losses, 0))?;
        let watched = losses.split_off(batches);
        if let Some((batch, what)) = diverged(&losses, &watched, steps) {
            return Err(ClassificationError::Diverged {
                epoch: training.epochs.len() + 1,
                batch: first + batch,
                what,
            });
        }
        training.losses.extend(losses);
        self.training = Some(training);
        Ok(stopping)
    }

    /// Has the state kept, unless it is; ends the classification if it is `stopping`.
    fn keep(
        &mut self,
        stopping: bool,
        observer: &mut ClassificationObserver<'_>,
    ) -> Result<(), ClassificationError> {
        let place = self.place();
        let number = (place.epoch, place.batch);
        let mut failed = None;
        if self.keeping.keeps() && self.keeping.last != Some(number) {
            let saved = self.save()?;
            let written = observer(ClassificationEvent::Checkpoint {
                place,
                state: &saved.arrays(),
            });
            drop(saved);
            if let Kept::Failed(error) = self.keeping.tried(number, written) {
                failed = Some(error);
            }
        }
        match (stopping, failed) {
            (true, Some(error)) => Err(ClassificationError::Interrupted {
                place,
                kept: Kept::Failed(error),
            }),
            (true, None) => Err(ClassificationError::Interrupted {
                place,
                kept: self.keeping.kept(number),
            }),
            (false, Some(error)) => {
                let warning = format!("{error}; the run continues, and tries again later");
                observer(ClassificationEvent::Warning(&warning))
                    .map_err(ClassificationError::Observer)
            }
            (false, None) => Ok(()),
        }
    }

    /// What the loss of each class counts, where classes weigh differently: the mean over the training
    /// labels is 1.
    fn class_weights(&self) -> Option<Vec<f32>> {
        let train = &self.labels.counts.train;
        let there = train.by_class.iter().filter(|events| **events > 0).count();
        let weight = |events: &usize| match events {
            0 => 0.0,
            events => (train.events as f64 / (there * events) as f64) as f32,
        };
        (self.config.balance == Balance::Weights)
            .then(|| train.by_class.iter().map(weight).collect())
    }

    /// What the classifier should say of some labelled events, `[labels, logits]`.
    fn targets(&self, labelled: &[usize], device: &Device) -> Tensor<2> {
        let logits = logits_of(self.labels.classes());
        let mut targets = vec![0.0; labelled.len() * logits];
        for (row, &at) in labelled.iter().enumerate() {
            let class = self.labels.class[at] as usize;
            match logits {
                1 => targets[row] = class as f32,
                _ => targets[row * logits + class] = 1.0,
            }
        }
        floats(targets, [labelled.len(), logits], device)
    }

    /// Scores of some of the labelled events.
    fn scores(
        &self,
        classifier: &Classifier,
        labelled: Range<usize>,
    ) -> Result<ClassScores<'_>, ClassificationError> {
        let class = self.labels.class[labelled.clone()].to_vec();
        let labelled: Vec<usize> = labelled.collect();
        let mut scores = Vec::new();
        for chunk in labelled.chunks(CLASSIFIED_AT_ONCE) {
            let rows = self.inputs(chunk, &self.evaluator.device);
            scores.extend(read(classifier.forward(rows))?);
        }
        Ok(ClassScores {
            classes: self.labels.class_labels(),
            class,
            scores,
        })
    }
}

/// The labels of an epoch in its order; training labels, of these classes, begin at 0.
fn epoch_events(
    class: &[u32],
    classes: usize,
    config: &ClassifierConfig,
    epoch: u64,
) -> Vec<usize> {
    let mut rng = RandomStreams::new(config.seed, epoch, b"nodetask").at(0, 0);
    // The first `wanted` places of a shuffle by Fisher and Yates.
    let mut shuffle = |items: &mut [usize], wanted: usize| {
        for place in 0..wanted.min(items.len()) {
            // Event ids are u32.
            let rest = (items.len() - place) as u32;
            items.swap(place, place + rng.u32_below(rest) as usize);
        }
    };
    let mut events: Vec<usize> = match config.balance {
        Balance::All | Balance::Weights => (0..class.len()).collect(),
        Balance::Sampled => {
            let mut by_class = vec![Vec::new(); classes];
            for (event, &class) in class.iter().enumerate() {
                by_class[class as usize].push(event);
            }
            let counts = by_class.iter().map(Vec::len).enumerate();
            let rarest = match classes {
                2 => Some((1, by_class[1].len())),
                _ => counts
                    .filter(|(_, events)| *events > 0)
                    .min_by_key(|(_, events)| *events),
            };
            let (rarest, wanted) = rarest.unwrap_or((0, 0));
            let mut events = std::mem::take(&mut by_class[rarest]);
            for mut others in by_class {
                shuffle(&mut others, wanted);
                events.extend(others.into_iter().take(wanted));
            }
            events
        }
    };
    let all = events.len();
    shuffle(&mut events, all);
    events
}

#[cfg(test)]
mod tests;
