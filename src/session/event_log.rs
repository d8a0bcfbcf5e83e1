//! What a run tells TensorBoard, with `--log tensorboard`.
//!
//! Steps are training iterations, counted over all epochs from 0; those of a classification are its epochs. An epoch's
//! validation stands at its last iteration, and the test at the step after the last one: a run that resumes after its
//! last epoch writes another file, which has TensorBoard forget what came after the checkpoint, and the test again.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{RunConfig, to_toml};
use crate::eval::{LabelMetrics, LinkMetrics};
use crate::run_folder::EventFile;
use crate::train::classification::ClassifierEpoch;
use crate::train::learning_rate::LearningRate;
use crate::train::metrics::TestMetrics;
use crate::train::observer::TrainEvent;

/// The log of a run.
pub(super) struct EventLog {
    folder: PathBuf,
    settings: String,
    /// Begun with the first number: a run that fails before leaves none.
    file: Option<EventFile>,
    /// That of each iteration, where link prediction is trained.
    rate: Option<LearningRate>,
    /// Iterations of an epoch.
    iterations: usize,
    /// Iterations that were trained when it began.
    from: u64,
    /// Iterations so far.
    last: u64,
}

impl EventLog {
    /// That of a run in `folder` with so many `iterations` per epoch, which resumes at an epoch, from 1, and
    /// an iteration.
    pub(super) fn new(
        folder: &Path,
        config: &RunConfig,
        iterations: usize,
        resumed: Option<(usize, usize)>,
        rate: Option<LearningRate>,
    ) -> EventLog {
        let from = resumed.map_or(0, |(epoch, first)| (epoch - 1) * iterations + first) as u64;
        EventLog {
            folder: folder.to_owned(),
            settings: format!("```toml\n{}```\n", to_toml(config)),
            file: None,
            rate,
            iterations,
            from,
            last: from,
        }
    }

    /// Writes what there is to write of `event`.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn see(&mut self, event: TrainEvent<'_>) -> io::Result<()> {
        match event {
            TrainEvent::Losses {
                epoch,
                first,
                losses,
            } => {
                let first = self.step(epoch - 1, first);
                for (offset, loss) in losses.iter().enumerate() {
                    let step = first + offset as u64;
                    let mut values = vec![("train/loss", f64::from(*loss))];
                    let rate = self.rate.map(|rate| rate.at(step as usize + 1));
                    values.extend(rate.map(|rate| ("train/learning_rate", rate)));
                    self.file()?.scalars(step, &values)?;
                }
                Ok(())
            }
            TrainEvent::Probed { probes, .. } => {
                for probe in probes {
                    let mut values = vec![
                        ("probe/memory_error", probe.memory_error),
                        ("probe/gradient_error", probe.gradient_error),
                        ("probe/squared_gradient", probe.squared_gradient),
                    ];
                    values.extend(probe.smoothness.map(|value| ("probe/smoothness", value)));
                    self.file()?.scalars(probe.trained as u64 - 1, &values)?;
                }
                Ok(())
            }
            TrainEvent::EpochDone { epoch, record } => {
                self.last = self.step(epoch, 0);
                let mut values = vec![
                    ("epoch/train_loss".to_owned(), record.train_loss),
                    ("epoch/events_per_s".to_owned(), record.events_per_s),
                ];
                values.extend(of_links("validation", &record.val));
                if let Some(test) = &record.test {
                    values.extend(of_links("test_each_epoch", test));
                }
                let step = self.last_of_epoch();
                self.file()?.scalars(step, &values)
            }
            _ => Ok(()),
        }
    }

    /// Writes what the test gave.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn test(&mut self, test: &TestMetrics) -> io::Result<()> {
        let pools = [
            ("test", Some(&test.own_pool)),
            ("test_other_pool", Some(&test.other_pool)),
            ("test_historical", test.historical.as_ref()),
            ("test_inductive", test.inductive.as_ref()),
        ];
        let pools = pools.into_iter().filter_map(|(part, of)| Some((part, of?)));
        let values: Vec<_> = pools.flat_map(|(part, of)| of_links(part, of)).collect();
        let step = self.last;
        self.file()?.scalars(step, &values)
    }

    /// Writes what an epoch of a classification gave.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn classifier_epoch(
        &mut self,
        epoch: usize,
        record: &ClassifierEpoch,
    ) -> io::Result<()> {
        self.last = self.step(epoch, 0);
        let step = self.last_of_epoch();
        let file = self.file()?;
        file.scalars(step, &[("epoch/train_loss", record.train_loss)])?;
        file.scalars(step, &of_labels("validation", &record.val))
    }

    /// Writes what the test of a classification gave.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn classifier_test(&mut self, test: &LabelMetrics) -> io::Result<()> {
        let step = self.last;
        self.file()?.scalars(step, &of_labels("test", test))
    }

    /// The number of an iteration, from 0, of an epoch, from 0, over all epochs.
    fn step(&self, epoch: usize, iteration: usize) -> u64 {
        (epoch * self.iterations + iteration) as u64
    }

    /// The last iteration of the epoch that has ended: a run that resumes after it has TensorBoard forget the
    /// next one, and not this.
    fn last_of_epoch(&self) -> u64 {
        self.last.saturating_sub(1)
    }

    fn file(&mut self) -> io::Result<&mut EventFile> {
        if self.file.is_none() {
            let mut file = EventFile::create(&self.folder)?;
            // Of a run that was started again without a checkpoint, all.
            file.forget_from(self.from)?;
            file.text("settings", &self.settings)?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => Ok(file),
            None => unreachable!("begun above"),
        }
    }
}

/// The measures of a `part`, with their tags.
fn of_labels(part: &str, metrics: &LabelMetrics) -> Vec<(String, f64)> {
    let measures = [
        ("auc", metrics.auc),
        ("ap", metrics.ap),
        ("f1_micro", metrics.f1_micro),
        ("f1_macro", metrics.f1_macro),
    ];
    let tag = |(name, value)| (format!("{part}/{name}"), value);
    measures.map(tag).into()
}

/// The same of link prediction, over all events of the part and over those with a node that training never saw.
fn of_links(part: &str, metrics: &LinkMetrics) -> Vec<(String, f64)> {
    let ranking = metrics.ranking;
    let new_nodes = &metrics.inductive;
    let measures = [
        ("ap", Some(metrics.ap)),
        ("ap_batch_mean", Some(metrics.ap_batch_mean)),
        ("auc", Some(metrics.auc)),
        ("mrr", ranking.map(|ranking| ranking.mrr)),
        ("new_nodes_ap", new_nodes.ap),
        ("new_nodes_auc", new_nodes.auc),
        (
            "new_nodes_mrr",
            ranking.and_then(|ranking| ranking.inductive_mrr),
        ),
    ];
    let tag = |(name, value): (&str, Option<f64>)| Some((format!("{part}/{name}"), value?));
    measures.into_iter().filter_map(tag).collect()
}
