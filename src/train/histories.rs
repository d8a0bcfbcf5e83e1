//! Pair histories of a run: built when they are first asked for, and the constants that belong to
//! the weights.
//!
//! A run whose model reads no pair history builds them at its end, for the counting baseline.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::checkpoint::{Arrays, Unfit};
use crate::graph::{EventColumns, EventId, NodeId, Timestamp};
use crate::model::tgl_weights::NamedTensor;
use crate::sampling::pair_history::{
    Encoding, EncodingArrays, PairHistory, SavedStates, Training, WIDTH,
};

/// What the names of an encoding's arrays begin with, in files of weights and in checkpoints.
pub(crate) const PREFIX: &str = "pair_history.";

/// What a query sees in place of its own time and the first event that is hidden from it.
pub type Limits = fn(Timestamp, Option<EventId>) -> (Timestamp, Option<EventId>);

/// See the module.
#[derive(Debug)]
pub struct Histories {
    /// Events of the training part.
    pub(super) train: usize,
    /// Whether a model reads them.
    pub(crate) read: bool,
    /// The encoding that weights were trained with.
    given: OnceLock<Encoding>,
    built: OnceLock<PairHistory>,
    /// A rule that is audited in place of the right one.
    pub(super) audited: Option<Limits>,
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

    /// The histories; built with `training` the first time.
    pub(super) fn get<'a>(&self, training: impl FnOnce() -> Training<'a>) -> &PairHistory {
        self.built
            .get_or_init(|| PairHistory::new(&training(), self.given.get().cloned()))
    }

    /// Adds the next event to what is built; `stream` has the events that it was built of.
    pub(super) fn append(
        &mut self,
        stream: EventColumns<'_>,
        event: EventId,
        ends: [NodeId; 2],
        now: Timestamp,
    ) {
        if let Some(built) = self.built.get_mut() {
            built.append(stream, event, ends, now);
        }
    }

    /// See [`PairHistory::settle`].
    pub(super) fn settle(&mut self, followed: EventId, last: Timestamp) {
        if let Some(built) = self.built.get_mut() {
            built.settle(followed, last);
        }
    }

    /// What is built, if anything is.
    pub(crate) fn built(&self) -> Option<&PairHistory> {
        self.built.get()
    }

    /// Takes over what came since those were built that are built; see [`PairHistory::restore`].
    pub(crate) fn restore(&mut self, newer: [SavedStates; 2], first: usize, times: &[Timestamp]) {
        if let Some(built) = self.built.get_mut() {
            built.restore(newer, first, times);
        }
    }

    /// Encodes as the weights were trained with; what is built already stays.
    pub(crate) fn give(&self, encoding: Encoding) {
        let _the_first_one_stays = self.given.set(encoding);
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

/// Names of the states of nodes, and of pairs, in a file.
const STATES: [&str; 2] = ["node_", "pair_"];

/// Adds states of nodes and pairs to `arrays`, under names that begin with `prefix`.
pub(crate) fn put_states<'a>(arrays: &mut Arrays<'a>, prefix: &str, states: &'a [SavedStates; 2]) {
    for (of, states) in STATES.into_iter().zip(states) {
        let put = |name: &str| format!("{prefix}{of}{name}");
        arrays.put_column(put("key"), &states.key[..]);
        arrays.put_column(put("count"), &states.count[..]);
        arrays.put_column(put("event"), &states.event[..]);
        arrays.put_column(put("partner"), &states.partner[..]);
        arrays.put_column(put("time"), &states.time[..]);
        arrays.put_column(put("sums"), &states.sums[..]);
    }
}

/// Takes states of nodes and pairs out of arrays whose names begin with nothing else.
///
/// # Errors
/// When one is missing, or their lengths contradict one another.
pub(crate) fn take_states(group: &mut Arrays<'_>) -> Result<[SavedStates; 2], Unfit> {
    let mut take = |of: &str| {
        let name = |name: &str| format!("{of}{name}");
        let states = SavedStates {
            key: group.take_column(&name("key"))?,
            count: group.take_column(&name("count"))?,
            event: group.take_column(&name("event"))?,
            partner: group.take_column(&name("partner"))?,
            time: group.take_column(&name("time"))?,
            sums: group.take_column(&name("sums"))?,
        };
        match states.is_whole() {
            true => Ok(states),
            false => Err(Unfit::Contradiction {
                name: name("key"),
                reason: "is out of order, or other columns have other lengths".to_owned(),
            }),
        }
    };
    Ok([take(STATES[0])?, take(STATES[1])?])
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
