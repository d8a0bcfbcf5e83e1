//! Pair histories of batches and of pairs beside them, under the rules of a run's sampling.

use std::collections::BTreeMap;

use super::histories::PREFIX;
use super::pass::Sampling;
use crate::batch::EventBatch;
use crate::graph::{EventId, NodeId, Timestamp};
use crate::model::tgl_weights::NamedTensor;
use crate::sampling::pair_history::{Events, PairHistory, Pairs, Training};

impl Sampling {
    /// The stream's pair histories.
    pub(crate) fn pair_history(&self) -> &PairHistory {
        self.histories.get(|| self.training_part())
    }

    /// What encodings and baselines are fitted to.
    pub(crate) fn training_part(&self) -> Training<'_> {
        Training {
            nodes: self.log.nodes(),
            stream: self.columns(),
            events: self.histories.train,
            ticks_per_unit: self.log.ticks_per_unit(),
            hidden_batch: self.hide_batch.then_some(self.batch_size),
        }
    }

    /// Statistics of pairs beside or in a batch whose first event is `first`, `[pairs, WIDTH]`.
    pub(crate) fn statistics(
        &self,
        [source, candidate]: [&[NodeId]; 2],
        time: &[Timestamp],
        first: usize,
    ) -> Vec<f32> {
        let hidden_from = self.hide_batch.then_some(EventId(first as u32));
        let statistics = |time: &[Timestamp], hidden_from| {
            let pairs = Pairs {
                source,
                candidate,
                time,
            };
            let history = self.pair_history();
            history.of_pairs(self.columns(), pairs, hidden_from)
        };
        match self.histories.audited {
            None => statistics(time, hidden_from),
            Some(limits) => {
                let seen = time.iter().map(|&time| limits(time, hidden_from).0);
                let hidden_from = time.first().and_then(|&t| limits(t, hidden_from).1);
                statistics(&seen.collect::<Vec<_>>(), hidden_from)
            }
        }
    }

    /// Statistics of a batch's (src, dst), then of its negatives, `[2 events, WIDTH]`, if the model
    /// reads them; where a batch is hidden, events are from `first` on. Workers count while this thread
    /// does what is `beside` it.
    pub(crate) fn batch_statistics<T>(
        &self,
        batch: &EventBatch,
        first: usize,
        beside: impl FnOnce() -> T,
    ) -> (Option<Vec<f32>>, T) {
        if !self.histories.read {
            return (None, beside());
        }
        if batch.neg_src.is_none() && self.histories.audited.is_none() {
            let events = Events {
                source: &batch.src,
                candidates: [&batch.dst, &batch.neg],
                time: &batch.time,
                first: Some(EventId(batch.events.start as u32)),
            };
            let hidden_from = self.hide_batch.then_some(EventId(first as u32));
            let (history, stream) = (self.pair_history(), self.columns());
            let (rows, beside) = history.of_events(stream, events, hidden_from, beside);
            return (Some(rows), beside);
        }
        let source = [&batch.src[..], batch.negative_sources()].concat();
        let candidate = [&batch.dst[..], &batch.neg].concat();
        let time = batch.time.repeat(2);
        let mut rows = None;
        let beside = rayon::in_place_scope(|scope| {
            scope.spawn(|_| rows = Some(self.statistics([&source, &candidate], &time, first)));
            beside()
        });
        (rows, beside)
    }

    /// Statistics of pairs (event, counted from the batch's first, whose time it has; source;
    /// candidate) that are scored beside a batch, `[pairs, WIDTH]`, if the model reads them. Pairs of
    /// one event that follow each other share what is of the source.
    pub(crate) fn beside_statistics(
        &self,
        batch: &EventBatch,
        pairs: impl Iterator<Item = (usize, NodeId, NodeId)>,
    ) -> Option<Vec<f32>> {
        if !self.histories.read {
            return None;
        }
        let (mut source, mut candidate, mut time) = (Vec::new(), Vec::new(), Vec::new());
        for (event, src, dst) in pairs {
            source.push(src);
            candidate.push(dst);
            time.push(batch.time[event]);
        }
        Some(self.statistics([&source, &candidate], &time, batch.events.start))
    }

    /// What belongs to weights that were trained on this: the encoding's arrays by their names in
    /// files, if the model reads it.
    pub(crate) fn constants(&self) -> BTreeMap<String, NamedTensor> {
        let arrays = self
            .histories
            .read
            .then(|| self.pair_history().encoding().arrays());
        let named = arrays.into_iter().flatten().map(|(name, values)| {
            let shape = vec![values.len()];
            (format!("{PREFIX}{name}"), NamedTensor { shape, values })
        });
        named.collect()
    }
}
