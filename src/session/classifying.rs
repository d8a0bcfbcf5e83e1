//! Classification of labels: from a session to a finished run folder.

use std::io;

use serde::Serialize;

use super::event_log::EventLog;
use super::recording::RunFiles;
use super::{Session, SessionError};
use crate::checkpoint::{Every, Loaded};
use crate::device::ComputeDevice;
use crate::eval::LabelMonitor;
use crate::run_folder::{ClassificationSummary, RunFolder};
use crate::train::classification::{
    Classification, ClassificationError, ClassificationEvent, ClassificationObserver,
    ClassifierConfig, ClassifierEpoch, LabelOf, Labels,
};

/// An epoch as `metrics.jsonl` has it: by what the best will be chosen, a run that has not ended says too.
#[derive(Serialize)]
struct EpochLine<'a> {
    #[serde(flatten)]
    record: &'a ClassifierEpoch,
    monitor: LabelMonitor,
}

impl Session {
    /// The labels of the stream, which can be learned.
    ///
    /// # Errors
    /// When they can't.
    pub(super) fn checked_labels(&self) -> Result<Labels, SessionError> {
        let log = &self.sampling.log;
        Ok(Labels::of(log, &self.split, None)?.checked(log)?)
    }

    /// A classification of `labels` that has not begun, on the embeddings of the weights that the
    /// session begins with.
    pub(super) fn classification(
        &self,
        of: LabelOf,
        labels: Labels,
        device: &burn::tensor::Device,
        every: Every,
    ) -> Result<Classification, SessionError> {
        let config = &self.config;
        let model = self.new_model(device)?;
        let memory = self.new_memory(device);
        let evaluator = self.evaluator(device)?.of_embeddings();
        let classifier = ClassifierConfig {
            epochs: config.node.epochs,
            learning_rate: config.node.learning_rate,
            batch_size: config.node.batch_size,
            balance: config.node.balance,
            seed: config.training.seed,
        };
        let encoder = (model, memory);
        Ok(Classification::new(
            of, evaluator, labels, classifier, encoder, every,
        ))
    }

    /// Classifies labels, from a checkpoint if there is one, and writes all that such a run's folder
    /// holds.
    pub(super) fn classify_recorded(
        &self,
        of: LabelOf,
        from: Option<Loaded>,
        device: &ComputeDevice,
        folder: &RunFolder,
        observer: &mut ClassificationObserver<'_>,
    ) -> Result<ClassificationSummary, SessionError> {
        let labels = self.checked_labels()?;
        let every = self.config.machine.checkpoint_every;
        let mut classification = self.classification(of, labels, &device.device, every)?;
        let (mut files, warnings) = RunFiles::open(self, device, folder, from.as_ref())?;
        for warning in warnings {
            observer(ClassificationEvent::Warning(&warning))
                .map_err(ClassificationError::Observer)?;
        }
        let place = from.as_ref().map(|loaded| loaded.checkpoint.header.epoch);
        // Before epoch 1 the stream is embedded.
        let place = place.filter(|epoch| *epoch > 0).map(|epoch| (epoch, 0));
        let logged = self.config.output.log.is_some();
        let mut log = logged.then(|| EventLog::new(folder.path(), &self.config, 1, place, None));
        if let Some(Loaded {
            checkpoint, path, ..
        }) = from
        {
            classification
                .resume(checkpoint)
                .map_err(|error| SessionError::Resume { path, error })?;
        }
        let classified = classification.run(&mut |event| {
            match event {
                ClassificationEvent::EpochDone {
                    epoch,
                    record,
                    monitor,
                } => {
                    let line = EpochLine { record, monitor };
                    files.metrics.epoch(epoch, &line)?;
                    if let Some(log) = &mut log {
                        log.classifier_epoch(epoch, record)?;
                    }
                }
                ClassificationEvent::Checkpoint { place, state } => {
                    (files.keep(place.epoch, place.batch, state)).map_err(io::Error::other)?;
                }
                ClassificationEvent::EmbeddingBegins { .. }
                | ClassificationEvent::Embedded(_)
                | ClassificationEvent::Warning(_) => {}
            }
            observer(event)
        });
        if let Err(error @ ClassificationError::Diverged { .. }) = &classified {
            files.diverged(error);
        }
        let record = classified?;
        if let Some(log) = &mut log {
            (log.classifier_test(&record.test)).map_err(ClassificationError::Observer)?;
        }
        let summary = ClassificationSummary {
            setting: self.setting(self.config.start.task.name(), device),
            balance: self.config.node.balance,
            record,
        };
        folder.write_summary(&summary)?;
        Ok(summary)
    }
}
