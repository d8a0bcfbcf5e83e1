//! Pair histories of a run: built when they are first asked for, and the constants that belong to
//! the weights.
//!
//! A run whose model reads no pair history builds them at its end, for the counting baseline.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::batch::EventBatch;
use crate::checkpoint::{Arrays, Unfit};
use crate::graph::{EventId, NodeId, Timestamp};
use crate::model::tgl_weights::NamedTensor;
use crate::sampling::pair_history::{
    Encoding, EncodingArrays, PairHistory, Pairs, Training, WIDTH,
};
use crate::train::pass::Sampling;

/// What the names of an encoding's arrays begin with, in files of weights and in checkpoints.
pub(crate) const PREFIX: &str = "pair_history.";

/// What a query sees in place of its own time and the first event that is hidden from it.
pub type Limits = fn(Timestamp, Option<EventId>) -> (Timestamp, Option<EventId>);

/// See the module.
#[derive(Debug)]
pub struct Histories {
    /// Events of the training part.
    train: usize,
    /// Whether a model reads them.
    pub(crate) read: bool,
    /// The encoding that weights were trained with.
    given: OnceLock<Encoding>,
    built: OnceLock<PairHistory>,
    /// A rule that is audited in place of the right one.
    audited: Option<Limits>,
}

impl Histories {
    /// Of a stream of which the first `train` events are trained on; `read` says whether by a model.
    pub fn new(train: usize, read: bool) -> Histories {
        Histories {
            train,
            read,
            given: OnceLock::new(),
            built: OnceLock::new(),
            audited: None,
        }
    }

    /// The same, not built yet, where queries see as `limits` says.
    pub(crate) fn seen_by(&self, limits: Limits) -> Histories {
        Histories {
            audited: Some(limits),
            ..Histories::new(self.train, self.read)
        }
    }

    /// The same for what reads none.
    pub(super) fn unread(&self) -> Histories {
        Histories::new(self.train, false)
    }

    /// Encodes as the weights were trained with; what is built already stays.
    pub(crate) fn give(&self, encoding: Encoding) {
        let _the_first_one_stays = self.given.set(encoding);
    }
}

impl Sampling {
    /// The stream's pair histories.
    pub(crate) fn pair_history(&self) -> &PairHistory {
        let histories = &*self.histories;
        histories
            .built
            .get_or_init(|| PairHistory::new(&self.training_part(), histories.given.get().cloned()))
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
    /// reads them.
    pub(crate) fn batch_statistics(&self, batch: &EventBatch) -> Option<Vec<f32>> {
        self.histories.read.then(|| {
            let source = [&batch.src[..], batch.negative_sources()].concat();
            let candidate = [&batch.dst[..], &batch.neg].concat();
            let time = batch.time.repeat(2);
            self.statistics([&source, &candidate], &time, batch.events.start)
        })
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

/// Takes the encoding out of the tensors of a file of weights, if it has one; an error says what is
/// wrong with it.
pub(crate) fn take_constants(
    tensors: &mut BTreeMap<String, NamedTensor>,
) -> Result<Option<Encoding>, String> {
    let arrays = names().map(|name| (name, tensors.remove(&format!("{PREFIX}{name}"))));
    if arrays.iter().all(|(_, tensor)| tensor.is_none()) {
        return Ok(None);
    }
    let values = arrays.map(|(name, tensor)| (name, tensor.map_or(vec![], |tensor| tensor.values)));
    encoding(&values).map(Some)
}

/// Takes the encoding out of a checkpoint.
pub(crate) fn take_saved(arrays: &mut Arrays<'_>) -> Result<Result<Encoding, String>, Unfit> {
    let mut group = arrays.take_group(PREFIX);
    let mut saved: EncodingArrays = names().map(|name| (name, vec![]));
    for (name, values) in &mut saved {
        *values = group.take_column(name)?;
    }
    Ok(encoding(&saved))
}

fn names() -> [&'static str; 3] {
    ["times", "mean", "deviation"]
}

fn encoding(arrays: &EncodingArrays) -> Result<Encoding, String> {
    Encoding::of_arrays(arrays).ok_or_else(|| {
        let lengths = arrays.each_ref().map(|(_, values)| values.len());
        format!(
            "{PREFIX}times, {PREFIX}mean and {PREFIX}deviation have {lengths:?} numbers; expected \
             5 times and {WIDTH} statistics, all finite, times and deviations positive"
        )
    })
}
