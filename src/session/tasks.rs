//! What is done with a stream and a model: training, evaluation, node classification; each
//! written once for all models.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;

use super::profiling::Profiling;
use super::{Session, SessionError, initial};
use crate::checkpoint::Loaded;
use crate::config::{BalanceName, MemoryPlaceName, MitigationName, ModelName, Protocol};
use crate::device::ComputeDevice;
use crate::memory::device::DeviceMemory;
use crate::memory::host::HostMemory;
use crate::memory::node_memory::NodeMemory;
use crate::memory::similarity::{Mitigation, SimilarNodes};
use crate::model::LinkModel;
use crate::model::apan::Apan;
use crate::model::init::Initializer;
use crate::model::jodie::Jodie;
use crate::model::tgl_weights::{self, TglNames};
use crate::model::tgn::Tgn;
use crate::pipeline::profile::Residency;
use crate::pipeline::scheduler::Scheduler;
use crate::run_folder::{EvalSummary, NodeSummary, RunFolder, Summary};
use crate::train::epochs::{Observer, TrainError, TrainLoop};
use crate::train::evaluation::Evaluator;
use crate::train::node_classification::{
    Balance, ClassifierConfig, LabeledEmbeddings, NodeObserver,
};
use crate::train::progress::Progress;
use crate::train::trainer::Trainer;
use crate::weights;

/// Work that is the same for each model.
pub(super) trait ForModel {
    /// What it gives.
    type Output;

    /// Does it for one.
    fn with<M: TglNames>(self) -> Self::Output;
}

/// Does `work` for the model called `name`.
pub(super) fn for_model<W: ForModel>(name: ModelName, work: W) -> W::Output {
    match name {
        ModelName::Tgn => work.with::<Tgn>(),
        ModelName::Jodie => work.with::<Jodie>(),
        ModelName::Apan => work.with::<Apan>(),
    }
}

impl Session {
    /// A model on `device`: of `init`, where there is one, else with initial weights.
    pub(super) fn new_model<M: TglNames>(
        &self,
        init: Option<&Path>,
        device: &Device,
    ) -> Result<LinkModel<M>, SessionError> {
        let model = LinkModel::new(&self.model, &mut Initializer::new(self.config.seed, device));
        match init {
            Some(init) => initial::load(
                model,
                init,
                &self.config,
                &initial::description(&self.config, &self.model, &self.data),
            ),
            None => Ok(model),
        }
    }

    pub(super) fn new_memory(&self, device: &Device) -> NodeMemory {
        let pipeline = &self.config.pipeline;
        let mitigation = (pipeline.mitigation == MitigationName::Similarity).then(|| Mitigation {
            similar: Arc::new(self.similar_nodes()),
            keep: pipeline.mitigation_keep,
            age_quantile: pipeline.mitigation_quantile,
        });
        let (nodes, clock) = (self.data.nodes, self.clock.clone());
        let (width, mail_width) = (self.model.width, self.model.mail_width());
        match pipeline.memory {
            MemoryPlaceName::Device => {
                let memory = DeviceMemory::new(nodes, width, mail_width, clock, device);
                NodeMemory::Device(Box::new(memory.with_mitigation(mitigation)))
            }
            MemoryPlaceName::Host => {
                let memory = HostMemory::new(nodes, width, mail_width, clock, mitigation, device);
                NodeMemory::Host(Box::new(memory))
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

    /// The training that [`train`](Session::train) runs, for callers that look into its memory
    /// or its optimiser; `M` must be the model of the settings. Call it on the device thread.
    ///
    /// # Errors
    /// Weights to begin with that can't be read, a ledger that can't be replayed.
    pub fn training<M: TglNames>(&self, device: &Device) -> Result<TrainLoop<M>, SessionError> {
        self.training_with(self.config.init.as_deref(), device)
    }

    /// The same with the weights of `init`, where there is one.
    fn training_with<M: TglNames>(
        &self,
        init: Option<&Path>,
        device: &Device,
    ) -> Result<TrainLoop<M>, SessionError> {
        let config = &self.config;
        let autodiff = device.clone().autodiff();
        let model = self.new_model::<M>(init, &autodiff)?;
        let residency = match config.pipeline.memory {
            MemoryPlaceName::Device => Residency::Device,
            MemoryPlaceName::Host => Residency::Host,
        };
        Ok(TrainLoop {
            evaluator: self.evaluator(device)?,
            trainer: Trainer::new(model, config.learning_rate),
            memory: self.new_memory(device),
            epochs: config.epochs,
            test_each_epoch: config.eval_test_each_epoch,
            scheduler: Scheduler::new(config.pipeline.schedule.clone(), residency)
                .map_err(TrainError::from)?,
            queue_depth: config.pipeline.queue_depth,
            emulated_link: config.pipeline.emulate_link,
            stop: self.stop.clone(),
            progress: Progress::default(),
        })
    }

    /// What the protocol evaluates by.
    pub(super) fn evaluator(&self, device: &Device) -> Result<Evaluator, SessionError> {
        let evaluator = Evaluator::new(
            self.sampling.clone(),
            self.other_pool.clone(),
            self.split.clone(),
            device.clone(),
        )
        .until(self.stop.clone());
        let evaluator = match &self.candidates {
            Some(candidates) => {
                // Before a training that would end with an event that has none.
                let evaluated = self.split.val.start..self.split.test.end;
                candidates.check(evaluated, self.sampling.columns())?;
                evaluator.with_candidates(candidates.clone())
            }
            None => evaluator,
        };
        Ok(if self.config.protocol == Protocol::Dyglib {
            evaluator.with_past_pairs()?
        } else {
            evaluator
        })
    }
}

/// Trains for link prediction and writes weights and summary.
pub(super) struct Train<'a> {
    pub(super) session: &'a Session,
    pub(super) device: &'a ComputeDevice,
    pub(super) folder: &'a RunFolder,
    /// Where to go on.
    pub(super) from: Option<Loaded>,
    pub(super) observer: &'a mut dyn Observer,
}

impl ForModel for Train<'_> {
    type Output = Result<Summary, SessionError>;

    fn with<M: TglNames>(self) -> Result<Summary, SessionError> {
        let (session, device) = (self.session, &self.device.device);
        let config = &session.config;
        let mut training = match self.from {
            None => session.training::<M>(device)?,
            Some(Loaded {
                checkpoint, path, ..
            }) => {
                // It has weights of its own.
                let mut training = session.training_with::<M>(None, device)?;
                training
                    .resume(checkpoint)
                    .map_err(|error| SessionError::Resume { path, error })?;
                training
            }
        };
        let (record, model, profile) = if config.profile {
            let mut profiling = Profiling::new(self.observer);
            let (record, model) = training.run(&mut profiling)?;
            let profile = profiling.finish(&record, &config.pipeline.schedule, device)?;
            (record, model, Some(profile))
        } else {
            let (record, model) = training.run(self.observer)?;
            (record, model, None)
        };
        let path = self.folder.path().join(weights::FILE_NAME);
        let tensors = tgl_weights::unread(&model).map_err(SessionError::Unreadable)?;
        let description = initial::description(config, &session.model, &session.data);
        weights::write_unread(&path, &tensors, Some(&description))?;
        let setting = session.setting("link", self.device);
        let summary = Summary::new(setting, &config.pipeline, record, profile);
        self.folder.write_summary(&summary)?;
        Ok(summary)
    }
}

/// Replays the training part with fixed weights, validates and tests.
pub(super) struct Evaluate<'a> {
    pub(super) session: &'a Session,
    pub(super) device: &'a ComputeDevice,
    pub(super) weights: PathBuf,
    /// Is told which part begins.
    pub(super) begins: &'a mut dyn FnMut(&str),
}

impl ForModel for Evaluate<'_> {
    type Output = Result<EvalSummary, SessionError>;

    fn with<M: TglNames>(self) -> Result<EvalSummary, SessionError> {
        let (session, device) = (self.session, &self.device.device);
        let model = session.new_model::<M>(Some(&self.weights), device)?;
        let mut memory = session.new_memory(device);
        let evaluator = session.evaluator(device)?;
        (self.begins)("training");
        evaluator.replay(&model, &mut memory)?;
        (self.begins)("validation");
        let val = evaluator.validate(&model, &mut memory)?;
        (self.begins)("test");
        let test = evaluator.test(&model, &mut memory)?;
        Ok(EvalSummary {
            setting: session.setting("eval", self.device),
            val,
            test,
            edgebank: evaluator.edgebank()?,
        })
    }
}

/// Classifies nodes on the embeddings of fixed weights and writes the summary.
pub(super) struct ClassifyNodes<'a> {
    pub(super) session: &'a Session,
    pub(super) device: &'a ComputeDevice,
    pub(super) folder: &'a RunFolder,
    pub(super) weights: PathBuf,
    pub(super) observer: &'a mut dyn NodeObserver,
}

impl ForModel for ClassifyNodes<'_> {
    type Output = Result<NodeSummary, SessionError>;

    fn with<M: TglNames>(self) -> Result<NodeSummary, SessionError> {
        let (session, device) = (self.session, &self.device.device);
        let config = &session.config;
        let model = session.new_model::<M>(Some(&self.weights), device)?;
        let mut memory = session.new_memory(device);
        let evaluator = session.evaluator(device)?;
        let embeddings = LabeledEmbeddings::of(&evaluator, &model, &mut memory, self.observer)?;
        let classifier = ClassifierConfig {
            epochs: config.node_epochs,
            learning_rate: config.node_learning_rate,
            batch_size: config.node_batch_size,
            balance: match config.balance {
                BalanceName::None => Balance::All,
                BalanceName::Sample => Balance::Sampled,
            },
            seed: config.seed,
        };
        let record = embeddings.classify(&classifier, self.observer)?;
        let summary = NodeSummary {
            setting: session.setting("node", self.device),
            balance: config.balance,
            record,
        };
        self.folder.write_summary(&summary)?;
        Ok(summary)
    }
}
