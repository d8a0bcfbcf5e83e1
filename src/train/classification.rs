//! Node classification: the state label of an event's source, from its embedding.
//!
//! What is embedded: the source of each event at the event's time, by an encoder that was
//! trained for link prediction and stays as it is, in one pass over the stream. The event
//! itself is not applied yet: memory holds the batches before, sampled past events are
//! strictly earlier. A classifier is then trained on the training part's embeddings; the
//! epoch is chosen by the validation part's AUC and the test part is looked at once.
//!
//! Invariants: labels are 0 or 1, each part has both; the same seed gives the same numbers.
//!
//! It does not train the encoder, and does not use the features of the labelled event.
//!
//! Source: the labels are JODIE's (Kumar et al., KDD 2019), the classifier TGL's (Zhou et
//! al., VLDB 2022).

mod classifier;

use std::ops::Range;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::divergence::{check_memory, diverged};
use super::error::{Diverged, EvalError, StageError, Unsound};
use super::evaluation::Evaluator;
use super::optimizer::{Optimizer, OptimizerRule};
use super::upload::{floats, read};
use crate::eval::all_equal;
use crate::eval::metrics::{self, MetricError};
use crate::memory::MemoryStore;
use crate::model::LinkModel;
use crate::model::init::Initializer;
use crate::sampling::SplitPart;
use crate::sampling::counter_rng::RandomStreams;
use classifier::NodeClassifier;

/// Embeddings that may wait on the device before they are read, in batches.
const UNREAD_BATCHES: usize = 32;
/// Events that are classified at once outside training.
const CLASSIFIED_AT_ONCE: usize = 4096;
/// Keeps the classifier's first weights apart from the encoder's.
const CLASSIFIER_SEED: u64 = 0x6e6f_6465;

/// Why nodes could not be classified.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The stream has no labels.
    #[error(
        "{stream}: has no state labels; --task node needs a stream with them, such as JODIE's \
         wikipedia.csv, reddit.csv and mooc.csv"
    )]
    NoLabels {
        /// Name of the stream.
        stream: String,
    },
    /// A label that is neither 0 nor 1.
    #[error("{stream}: event {event} has the state label {label}, expected 0 or 1")]
    Label {
        /// Name of the stream.
        stream: String,
        /// The event.
        event: usize,
        /// Its label.
        label: i32,
    },
    /// A part in which all labels are equal.
    #[error(
        "{stream}: the {part} part has {positives} positive labels among {events} events; it \
         needs both kinds: take more of the stream (--limit-events), or another one"
    )]
    OneClass {
        /// Name of the stream.
        stream: String,
        /// The part.
        part: &'static str,
        /// Its positive labels.
        positives: usize,
        /// Its events.
        events: usize,
    },
    /// The stream could not be embedded, or the device stopped answering.
    #[error(transparent)]
    Embedding(#[from] EvalError),
    /// The classifier's scores could not be measured.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The classifier is not made of numbers any more.
    #[error(
        "epoch {epoch} of the classifier, batch {batch}: {what}; it diverged and ends here. Try a \
         smaller --node-learning-rate"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Batch of the epoch, from 0.
        batch: usize,
        /// What is not finite.
        what: Diverged,
    },
    /// Something could not be written down.
    #[error(transparent)]
    Observer(std::io::Error),
}

impl From<StageError> for NodeError {
    fn from(error: StageError) -> NodeError {
        NodeError::Embedding(error.into())
    }
}

/// What an epoch of the classifier goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// All training events.
    #[value(name = "none")]
    #[serde(rename = "none")]
    All,
    /// All positive ones and as many negative ones, redrawn each epoch.
    #[value(name = "sample")]
    #[serde(rename = "sample")]
    Sampled,
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
    /// What an epoch goes over.
    pub balance: Balance,
    /// Seed of the first weights and of every draw.
    pub seed: u64,
}

/// Labels of one part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LabelCount {
    /// Labelled events.
    pub events: usize,
    /// Those with label 1.
    pub positives: usize,
}

/// Labels of the three parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LabelCounts {
    /// Training.
    pub train: LabelCount,
    /// Validation.
    pub val: LabelCount,
    /// Test.
    pub test: LabelCount,
}

/// Metrics of one part, over all its events together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NodeMetrics {
    /// Area under the ROC curve; 0.5 is chance.
    pub auc: f64,
    /// Average precision; `positive_rate` is chance.
    pub ap: f64,
    /// Share of positive labels.
    pub positive_rate: f64,
    /// Whether all scores are one number: see [`EQUAL_SCORES`](crate::eval::EQUAL_SCORES).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub equal_scores: bool,
}

/// Results of an epoch.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NodeEpoch {
    /// Mean loss over the epoch's labels.
    pub train_loss: f64,
    /// Metrics of the validation part.
    pub val: NodeMetrics,
}

/// Results of a classification.
#[derive(Debug, Clone, Serialize)]
pub struct NodeRecord {
    /// Labels of each part.
    pub labels: LabelCounts,
    /// Each epoch.
    pub epochs: Vec<NodeEpoch>,
    /// Epoch (from 1) with the best validation AUC, whose classifier is measured.
    pub best_epoch: usize,
    /// Metrics of the validation part.
    pub val: NodeMetrics,
    /// Metrics of the test part.
    pub test: NodeMetrics,
}

/// What happens in a classification.
#[derive(Debug, Clone, Copy)]
pub enum NodeEvent<'a> {
    /// Labels have been counted; the pass over this many events begins.
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
        record: &'a NodeEpoch,
    },
}

/// Is told what happens; an error ends the classification.
pub(crate) type NodeObserver<'a> = dyn FnMut(NodeEvent<'_>) -> std::io::Result<()> + 'a;

/// Embeddings of the sources of all events, with their labels, on the host.
pub(crate) struct LabeledEmbeddings {
    /// `[events, width]`.
    rows: Vec<f32>,
    width: usize,
    labels: Vec<i32>,
    evaluator: Evaluator,
    counts: LabelCounts,
}

impl LabeledEmbeddings {
    /// Goes over the stream with `model` and an empty `memory`.
    ///
    /// # Errors
    /// When labels are missing, of other values, or of one kind only in a part; when a
    /// stage fails.
    pub(crate) fn of(
        evaluator: &Evaluator,
        model: &LinkModel,
        memory: &mut dyn MemoryStore,
        observer: &mut NodeObserver<'_>,
    ) -> Result<LabeledEmbeddings, NodeError> {
        let events = evaluator.split.test.end;
        let (labels, counts) = checked_labels(evaluator)?;
        observer(NodeEvent::EmbeddingBegins {
            labels: &counts,
            events,
        })
        .map_err(NodeError::Observer)?;
        let mut rows = Vec::new();
        for part in [SplitPart::Train, SplitPart::Validation, SplitPart::Test] {
            let pass = evaluator.pass(part, 0);
            let iterations = pass.iterations();
            let before = memory.version();
            let mut unread = Vec::new();
            for iteration in 0..iterations {
                let prepared = pass.fetch_features(pass.sample(iteration)?);
                let fetched = pass.fetch_memory(prepared, memory, &evaluator.device);
                let output = model.model.forward(&fetched.input, None);
                // Roots are src ‖ dst ‖ neg.
                let events = pass.batch_events(iteration);
                unread.push(output.embedding.slice(0..events.len()));
                fetched.update_memory(output.memory, memory)?;
                evaluator.check_stop()?;
                if unread.len() == UNREAD_BATCHES || iteration + 1 == iterations {
                    observer(NodeEvent::Embedded(events.end)).map_err(NodeError::Observer)?;
                    rows.extend(read(Tensor::cat(std::mem::take(&mut unread), 0))?);
                }
            }
            let made = pass.events.len() * (rows.len() / pass.events.end.max(1));
            check_embeddings(&rows[rows.len() - made..], &pass.events)?;
            check_memory(memory, before, &pass)?;
        }
        Ok(LabeledEmbeddings {
            width: rows.len() / events,
            rows,
            labels,
            evaluator: evaluator.clone(),
            counts,
        })
    }

    /// Trains a classifier and measures it.
    ///
    /// # Errors
    /// When training diverges, the device stops answering, or `observer` fails.
    pub(crate) fn classify(
        &self,
        config: &ClassifierConfig,
        observer: &mut NodeObserver<'_>,
    ) -> Result<NodeRecord, NodeError> {
        let split = &self.evaluator.split;
        let plain = &self.evaluator.device;
        let autodiff = plain.clone().autodiff();
        let mut init = Initializer::new(config.seed ^ CLASSIFIER_SEED, &autodiff);
        let mut classifier = NodeClassifier::new(self.width, &mut init);
        let mut optimizer = Optimizer::new(OptimizerRule::adam(config.learning_rate));
        let mut epochs = Vec::with_capacity(config.epochs);
        let mut best: Option<(usize, NodeMetrics, NodeClassifier)> = None;
        for epoch in 1..=config.epochs {
            let events = epoch_events(&self.labels[split.train.clone()], config, epoch as u64);
            let mut losses = Vec::new();
            let steps = optimizer.steps() as usize;
            for batch in events.chunks(config.batch_size) {
                self.evaluator.check_stop()?;
                let (embedding, label) = self.batch(batch, &autodiff);
                let loss = classifier.loss(embedding, label);
                let gradients = GradientsParams::from_grads(loss.backward(), &classifier);
                classifier = optimizer.step(classifier, gradients);
                losses.push(loss.inner() * batch.len() as f32);
            }
            let batches = losses.len();
            losses.extend(optimizer.watched());
            let mut losses = read(Tensor::cat(losses, 0))?;
            let watched = losses.split_off(batches);
            if let Some((batch, what)) = diverged(&losses, &watched, steps) {
                return Err(NodeError::Diverged { epoch, batch, what });
            }
            let sum: f64 = losses.into_iter().map(f64::from).sum();
            let valid = classifier.valid();
            let val = self.measure(&valid, split.val.clone())?;
            let record = NodeEpoch {
                train_loss: sum / events.len() as f64,
                val,
            };
            observer(NodeEvent::EpochDone {
                epoch,
                record: &record,
            })
            .map_err(NodeError::Observer)?;
            epochs.push(record);
            if best.as_ref().is_none_or(|(_, best, _)| val.auc > best.auc) {
                best = Some((epoch, val, valid));
            }
        }
        let Some((best_epoch, val, classifier)) = best else {
            return Err(NodeError::Metric(MetricError::NoBatch));
        };
        Ok(NodeRecord {
            labels: self.counts,
            epochs,
            best_epoch,
            val,
            test: self.measure(&classifier, split.test.clone())?,
        })
    }

    /// Embeddings `[events, width]` and labels `[events]` of some events.
    fn batch(&self, events: &[usize], device: &Device) -> (Tensor<2>, Tensor<1>) {
        let rows = events
            .iter()
            .flat_map(|event| &self.rows[event * self.width..][..self.width])
            .copied()
            .collect();
        let labels = events
            .iter()
            .map(|&event| self.labels[event] as f32)
            .collect();
        (
            floats(rows, [events.len(), self.width], device),
            floats(labels, [events.len()], device),
        )
    }

    /// Metrics of `events`.
    fn measure(
        &self,
        classifier: &NodeClassifier,
        events: Range<usize>,
    ) -> Result<NodeMetrics, NodeError> {
        let events: Vec<usize> = events.collect();
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for chunk in events.chunks(CLASSIFIED_AT_ONCE) {
            let (embedding, _) = self.batch(chunk, &self.evaluator.device);
            let logits = read(classifier.forward(embedding))?;
            for (event, logit) in chunk.iter().zip(logits) {
                let class = if self.labels[*event] == 1 {
                    &mut positive
                } else {
                    &mut negative
                };
                class.push(logit);
            }
        }
        Ok(NodeMetrics {
            auc: metrics::roc_auc(&positive, &negative)?,
            ap: metrics::average_precision(&positive, &negative)?,
            positive_rate: positive.len() as f64 / events.len() as f64,
            equal_scores: all_equal(&positive, &negative),
        })
    }
}

/// Fails if one of the embeddings of `events` is not finite.
fn check_embeddings(rows: &[f32], events: &Range<usize>) -> Result<(), StageError> {
    match rows.iter().position(|number| !number.is_finite()) {
        None => Ok(()),
        Some(at) => Err(StageError::Unsound(Unsound::Embedding {
            event: events.start + at * events.len() / rows.len(),
            value: rows[at],
        })),
    }
}

/// The labels of all events, with their numbers.
///
/// # Errors
/// When there are none, others than 0 and 1, or a part with labels of one kind.
pub(crate) fn checked_labels(evaluator: &Evaluator) -> Result<(Vec<i32>, LabelCounts), NodeError> {
    let log = &evaluator.sampling().log;
    let stream = || log.name().to_owned();
    let split = &evaluator.split;
    let labels = log
        .labels()
        .map(|labels| labels[..split.test.end].to_vec())
        .ok_or_else(|| NodeError::NoLabels { stream: stream() })?;
    if let Some(event) = labels.iter().position(|label| !(0..=1).contains(label)) {
        return Err(NodeError::Label {
            stream: stream(),
            event,
            label: labels[event],
        });
    }
    let count = |part, events: &Range<usize>| {
        let labels = &labels[events.clone()];
        let positives = labels.iter().filter(|label| **label == 1).count();
        let events = labels.len();
        if positives == 0 || positives == events {
            return Err(NodeError::OneClass {
                stream: stream(),
                part,
                positives,
                events,
            });
        }
        Ok(LabelCount { events, positives })
    };
    let counts = LabelCounts {
        train: count("training", &split.train)?,
        val: count("validation", &split.val)?,
        test: count("test", &split.test)?,
    };
    Ok((labels, counts))
}

/// The events of an epoch in its order; training events begin at 0.
fn epoch_events(labels: &[i32], config: &ClassifierConfig, epoch: u64) -> Vec<usize> {
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
        Balance::All => (0..labels.len()).collect(),
        Balance::Sampled => {
            let (mut events, mut negatives): (Vec<usize>, Vec<usize>) =
                (0..labels.len()).partition(|&event| labels[event] == 1);
            let wanted = events.len();
            shuffle(&mut negatives, wanted);
            events.extend(negatives.into_iter().take(wanted));
            events
        }
    };
    let all = events.len();
    shuffle(&mut events, all);
    events
}

#[cfg(test)]
mod tests;
