//! A predictor as the auditor sees it.

use std::sync::Arc;

use mspipe_datasets::{EventLog, NodeKey};

use super::{Late, Pair, PredictError, Predictor};
use crate::audit::{Answers, Kept, ScoredBatch};
use crate::batch::EventBatch;
use crate::graph::NodeId;
use crate::sampling::{NegativeError, NeighborSampler};
use crate::train::error::{EvalError, StageError};
use crate::train::histories::Limits;

impl Predictor {
    /// The same with what is audited in place of the sampler and of what pair histories see.
    pub(in crate::session) fn audited(
        mut self,
        sampler: Option<Arc<dyn NeighborSampler>>,
        limits: Option<Limits>,
    ) -> Predictor {
        self.keeps_all = true;
        if let Some(sampler) = sampler {
            self.sampling = self.sampling.with_sampler(sampler);
        }
        if let Some(limits) = limits.filter(|_| self.sampling.histories.read) {
            let encoding = self.sampling.pair_history().encoding().clone();
            self.sampling = self.sampling.with_history_limits(limits);
            self.sampling.histories.give(encoding);
            self.sampling.pair_history();
        }
        self
    }

    /// What it says of the pairs and negatives of `batches`, each asked for when it is observed, if it is
    /// `asked`; and its memory at the end.
    pub(in crate::session) fn answers(
        mut self,
        log: &EventLog,
        batches: impl Iterator<Item = Result<EventBatch, NegativeError>>,
        asked: bool,
    ) -> Result<Answers, PredictError> {
        let events = self.events_of(log)?;
        let mut answers = Answers::default();
        for batch in batches {
            let batch = batch.map_err(|error| EvalError::from(StageError::from(error)))?;
            self.observe(&events[batch.events.clone()], Late::Refuse)?;
            if asked {
                let logits = |src: &[NodeId], dst: &[NodeId]| -> Result<Vec<f32>, PredictError> {
                    let key = |node: &NodeId| NodeKey::from(node.0);
                    let pairs = src.iter().zip(dst).zip(&batch.time);
                    let pairs: Vec<Pair> = pairs
                        .map(|((src, dst), &time)| Pair {
                            src: key(src),
                            dst: key(dst),
                            time,
                        })
                        .collect();
                    let scores = self.score(&pairs)?;
                    Ok(scores.iter().map(|score| score.logit).collect())
                };
                answers.batches.push(ScoredBatch {
                    events: batch.events.clone(),
                    positive: logits(&batch.src, &batch.dst)?,
                    negative: logits(batch.negative_sources(), &batch.neg)?,
                    ..ScoredBatch::default()
                });
            }
            self.follow()?;
        }
        answers.kept = self.kept();
        Ok(answers)
    }

    /// What it keeps, bit for bit.
    fn kept(&self) -> Kept {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
        let (rows, mails) = self.memory.tables();
        let times = bytemuck::cast_slice(self.memory.node_times().last_update()).to_vec();
        let mail_times = bytemuck::cast_slice(self.memory.node_times().mail_time()).to_vec();
        Kept(vec![
            ("memory".to_owned(), bits(rows)),
            ("mails".to_owned(), bits(mails)),
            ("times of the memory".to_owned(), times),
            ("times of the mail".to_owned(), mail_times),
        ])
    }
}
