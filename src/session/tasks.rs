//! What is done with a stream and a model: training and evaluation.

use std::sync::Arc;

use burn::tensor::Device;

use super::profiling::Profiling;
use super::scores::{ScoresTable, ScoresTo};
use super::{Session, SessionError, initial, protocol};
use crate::checkpoint::{Every, Loaded};
use crate::config::{ConfigError, MitigationName, Protocol, Task};
use crate::device::ComputeDevice;
use crate::features::Features;
use crate::memory::device::DeviceMemory;
use crate::memory::host::HostMemory;
use crate::memory::node_memory::NodeMemory;
use crate::memory::similarity::{Mitigation, Similar, SimilarNodes};
use crate::model::LinkModel;
use crate::model::tgl_weights;
use crate::pipeline::profile::Residency;
use crate::pipeline::scheduler::Scheduler;
use crate::run_folder::{Dataset, EvalSummary, FeatureUse, MachineUse, RunFolder, Summary};
use crate::sampling::SplitPart;
use crate::train::ended::EndRule;
use crate::train::epochs::TrainLoop;
use crate::train::error::TrainError;
use crate::train::evaluation::{Evaluator, ScoreSink, Scored};
use crate::train::keeping::Keeping;
use crate::train::learning_rate::LearningRate;
use crate::train::observer::{Observer, TrainEvent};
use crate::train::optimizer::OptimizerRule;
use crate::train::probes::Probes;
use crate::train::progress::Progress;
use crate::train::ranks::Ranks;
use crate::train::trainer::Trainer;
use crate::weights;

/// What an evaluation measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// Both parts.
    ValidationAndTest,
    /// The test part: where each event is ranked among a thousand, half of the time.
    Test,
}

impl Session {
    /// The model that the session begins with, on `device`.
    pub(super) fn new_model(&self, device: &Device) -> Result<LinkModel, SessionError> {
        let weights = self.weights.as_deref();
        initial::model(&self.config, &self.model, &self.data.hash, weights, device)
    }

    pub(super) fn new_memory(&self, device: &Device) -> NodeMemory {
        let pipeline = &self.config.pipeline;
        let similar = match pipeline.mitigation {
            MitigationName::None | MitigationName::CatchUp | MitigationName::Pres => None,
            MitigationName::Similarity => self.past.clone().map(Similar::Past),
            MitigationName::SimilarityReleased => {
                Some(Similar::Listed(Arc::new(self.similar_nodes())))
            }
        };
        let mitigation = similar.map(|similar| Mitigation {
            similar,
            keep: pipeline.mitigation_keep,
            age_quantile: pipeline.mitigation_quantile,
        });
        let trends = pipeline.mitigation == MitigationName::Pres;
        let (nodes, clock) = (self.data.nodes, self.clock.clone());
        let (width, mail_width) = (self.model.width, self.model.mail_width());
        match pipeline.memory {
            Residency::Device => {
                let memory = DeviceMemory::new(nodes, width, mail_width, clock, device);
                let memory = memory.with_mitigation(mitigation).with_trends(trends);
                NodeMemory::Device(Box::new(memory))
            }
            Residency::Host => {
                let memory = HostMemory::new(nodes, width, mail_width, clock, mitigation, device);
                NodeMemory::Host(Box::new(memory.with_trends(trends)))
            }
        }
    }

    /// Who is similar to whom in the training part.
    fn similar_nodes(&self) -> SimilarNodes {
        let (log, train) = (&self.sampling.log, self.split.train.clone());
        SimilarNodes::of(
            self.data.nodes,
            bytemuck::cast_slice(&log.src()[train.clone()]),
            bytemuck::cast_slice(&log.dst()[train]),
        )
    }

    /// The run that [`train`](Session::train) runs, for callers that look into its memory
    /// or its optimiser. Call it on the device thread.
    ///
    /// # Errors
    /// Weights to begin with that can't be read, a ledger that can't be replayed.
    pub fn training(&self, device: &Device) -> Result<TrainLoop, SessionError> {
        let config = &self.config;
        let autodiff = device.clone().autodiff();
        let model = self.new_model(&autodiff)?;
        Ok(TrainLoop {
            evaluator: self.evaluator(device)?,
            trainer: Trainer::new(model, self.optimizer_rule()),
            memory: self.new_memory(device),
            end: EndRule {
                epochs: config.training.epochs,
                monitor: protocol::monitor(config),
                patience: config.training.patience,
                max_time: config.machine.max_time.map(|time| time.0),
            },
            test_each_epoch: config.training.eval_test_each_epoch,
            scheduler: self.scheduler()?,
            queue_depth: config.pipeline.queue_depth,
            emulated_link: config.pipeline.emulate_link,
            stop: self.stop.clone(),
            keeping: Keeping::new(Every::Never),
            probes: config.output.probe_every.map(Probes::new),
            progress: Progress::default(),
            ranks: None,
        })
    }

    /// How the weights are moved.
    pub(super) fn optimizer_rule(&self) -> OptimizerRule {
        let training = &self.config.training;
        let iterations = self.split.train.len().div_ceil(training.batch_events());
        OptimizerRule {
            optimizer: training.optimizer,
            learning_rate: LearningRate {
                peak: training.learning_rate
                    * training.scale_learning_rate.factor(training.ranks()),
                schedule: training.lr_schedule,
                warmup: training.warmup,
                steps: training.epochs.saturating_mul(iterations),
            },
            weight_decay: training.weight_decay,
            clip_norm: training.clip_norm,
        }
    }

    fn scheduler(&self) -> Result<Scheduler, SessionError> {
        let pipeline = &self.config.pipeline;
        let scheduler = Scheduler::new(pipeline.schedule.clone(), pipeline.memory);
        Ok(scheduler.map_err(TrainError::from)?.trying_turns())
    }

    /// Refuses to replay the ledger of a run with other iterations.
    fn check_schedule(
        &self,
        scheduler: &Scheduler,
        evaluator: &Evaluator,
    ) -> Result<(), SessionError> {
        let iterations = evaluator.pass(SplitPart::Train, 0).iterations();
        let (epochs, patience) = (self.config.training.epochs, self.config.training.patience);
        // The first epoch is the best so far; so many that are not better end the run.
        let needed = match (self.config.machine.max_time, patience) {
            (Some(_), _) => 1,
            (None, 0) => epochs,
            (None, patience) => epochs.min(patience.saturating_add(1)),
        };
        let checked = scheduler.check(epochs, needed, iterations);
        Ok(checked.map_err(TrainError::from)?)
    }

    /// Makes and checks all that a run needs before its first batch, and drops it.
    ///
    /// # Errors
    /// What the run would refuse.
    pub(super) fn check_start(&self, device: &ComputeDevice) -> Result<(), SessionError> {
        self.new_model(&device.device)?;
        let evaluator = self.evaluator(&device.device)?;
        match self.config.start.task {
            Task::Link => self.check_schedule(&self.scheduler()?, &evaluator),
            Task::Node | Task::Edge => self.checked_labels().map(drop),
        }
    }

    /// What the protocol evaluates by.
    pub(super) fn evaluator(&self, device: &Device) -> Result<Evaluator, SessionError> {
        let sampling = match self.feature_slots {
            [0, 0] => self.sampling.clone(),
            slots => {
                let rows = [self.data.events, self.data.nodes];
                Arc::new(self.sampling.with_features_on(rows, slots, device))
            }
        };
        let evaluator = Evaluator::new(
            sampling,
            self.other_pool.clone(),
            self.split.clone(),
            device.clone(),
        )
        .until(self.stop.clone());
        let evaluator = match &self.candidates {
            Some(candidates) => {
                // Before a run that would end with an event that has none.
                let evaluated = self.split.val.start..self.split.test.end;
                candidates.check(evaluated, self.sampling.columns())?;
                evaluator.with_candidates(candidates.clone())
            }
            None => evaluator,
        };
        Ok(if self.config.protocol.name == Protocol::Dyglib {
            evaluator.with_past_pairs()?
        } else {
            evaluator
        })
    }

    /// Trains for link prediction, from a checkpoint if there is one and with other ranks if there are
    /// any, and writes weights and summary into `folder`; the state is to be kept `every` so often.
    pub(super) fn train_from(
        &self,
        (from, ranks): (Option<Loaded>, Option<Ranks>),
        every: Every,
        device: &ComputeDevice,
        folder: &RunFolder,
        observer: &mut Observer<'_>,
    ) -> Result<Summary, SessionError> {
        let config = &self.config;
        let mut training = self.training(&device.device)?.with(ranks);
        self.check_schedule(&training.scheduler, &training.evaluator)?;
        if let Some(Loaded {
            checkpoint, path, ..
        }) = from
        {
            training
                .resume(checkpoint)
                .map_err(|error| SessionError::Resume { path, error })?;
        }
        training.keeping = Keeping::new(every);
        let (record, model, profile) = if config.machine.profile {
            let mut profiling = Profiling::new(observer);
            let (record, model) =
                training.run(&mut |event: TrainEvent<'_>| profiling.see(event))?;
            let schedule = &config.pipeline.schedule;
            let profile = profiling.finish(schedule, &device.device)?;
            (record, model, Some(profile))
        } else {
            let (record, model) = training.run(observer)?;
            (record, model, None)
        };
        let path = folder.path().join(weights::FILE_NAME);
        let tensors = tgl_weights::unread(&model).map_err(SessionError::Unreadable)?;
        let description = initial::description(config, &self.model, &self.data.hash);
        let constants = self.sampling.constants();
        weights::write_unread(&path, &tensors, &constants, Some(&description))?;
        self.leave_state(&model, &device.device, folder, observer)?;
        let setting = self.setting("link", device);
        let features = self.feature_use(&training.evaluator.sampling().features);
        let machine_use = MachineUse::of(&record, self.estimate, features);
        let summary = Summary::new(setting, &config.pipeline, record, machine_use, profile);
        folder.write_summary(&summary)?;
        Ok(summary)
    }

    /// What became of the tables of features in a run.
    fn feature_use(&self, features: &Features) -> Vec<FeatureUse> {
        let Dataset {
            events,
            nodes,
            edge_width,
            node_width,
            ..
        } = self.data;
        let tables = [
            ("edge features", events, edge_width),
            ("node features", nodes, node_width),
        ];
        let tables = tables.into_iter().zip(features.resident());
        let with_columns = tables.filter(|((_, _, width), _)| *width > 0);
        let used = with_columns.map(|((table, rows, _), resident)| {
            let none = FeatureUse {
                table,
                rows,
                ..FeatureUse::default()
            };
            resident.map_or(none.clone(), |resident| {
                let [_, on_device] = resident.rows_and_slots();
                let counts = resident.counts();
                FeatureUse {
                    on_device,
                    bytes: 4 * on_device as u64 * resident.columns() as u64,
                    batches: counts.batches,
                    wanted: counts.wanted,
                    found: counts.found,
                    divided: counts.divided,
                    sent_bytes: resident.sent_bytes(counts),
                    ..none
                }
            })
        });
        used.collect()
    }

    /// Writes the run's state; one that can't be written costs the run nothing else: whoever asks it
    /// replays the stream.
    fn leave_state(
        &self,
        model: &LinkModel,
        device: &Device,
        folder: &RunFolder,
        observer: &mut Observer<'_>,
    ) -> Result<(), SessionError> {
        let Err(error) = self.write_state(model, device, folder) else {
            return Ok(());
        };
        let warning = format!(
            "the run's state is not written: {error}; mspipe score and its like build it from the \
             stream each time"
        );
        Ok(observer(TrainEvent::Warning(&warning)).map_err(TrainError::Observer)?)
    }

    /// Replays the training part with the given weights, validates and tests, or goes over the
    /// validation part as over training where only the test is `measured`; `begins` is told which
    /// part begins. All scores go `to` a table, if one is given.
    pub(super) fn evaluate(
        &self,
        device: &ComputeDevice,
        measured: Measured,
        to: Option<&ScoresTo>,
        begins: &mut dyn FnMut(&str),
    ) -> Result<EvalSummary, SessionError> {
        if self.weights.is_none() {
            return Err(SessionError::Config(ConfigError::Missing {
                option: "init",
                expected: "give the folder of a link prediction run, or a weights file",
            }));
        }
        let mut table = to.map(|to| to.begin(self)).transpose()?;
        let mut put = |part, negatives, scored: &Scored| match &mut table {
            Some(table) => table.put(part, negatives, scored),
            None => Ok(()),
        };
        let model = self.new_model(&device.device)?;
        let mut memory = self.new_memory(&device.device);
        let evaluator = self.evaluator(&device.device)?;
        begins("training");
        evaluator.replay(&model, &mut memory, SplitPart::Train)?;
        begins("validation");
        let val = match measured {
            Measured::ValidationAndTest => Some(evaluator.validate_to(
                &model,
                &mut memory,
                to.map(|_| &mut put as ScoreSink<'_>),
            )?),
            Measured::Test => {
                evaluator.replay(&model, &mut memory, SplitPart::Validation)?;
                None
            }
        };
        begins("test");
        let test = evaluator.test_to(&model, &mut memory, to.map(|_| &mut put as ScoreSink<'_>))?;
        let validation = measured == Measured::ValidationAndTest;
        let summary = EvalSummary {
            setting: self.setting("eval", device),
            val,
            test,
            edgebank: evaluator.edgebank(validation)?,
            counts: evaluator.counts(validation)?,
        };
        table.map_or(Ok(()), ScoresTable::finish)?;
        Ok(summary)
    }
}
