//! Events on their way into memory: checked, written to the log, followed; by one thread, in order.
//!
//! Requests wait in a queue of bounded length. What waits is written to the log as one group and synced
//! once; then memory follows its events, whoever sent them, in batches of as many as in training, and each
//! request is answered. The log keeps the groups, so that what it has gives the same bits when it is
//! followed again. Questions have their turn between two pieces of a batch: what it can find ready (rows of the
//! updater) is made before, some events at a time, and only what changes the past and memory is one piece. Rows
//! that it has changed are made again when its requests are answered: questions need many of them.
//!
//! A request with an event that is too far ahead of the one before it is refused: after it all that comes
//! would be late.
//!
//! A request that says whose it is and which of theirs (`source`, `seq`) is followed once, however often
//! it comes; the last one of a source that comes again with other events is refused, as far as its events are
//! known (the log's head has numbers alone). Of earlier numbers nothing but their order is kept.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::error::ServeError;
use super::log::{Entry, Log};
use super::saving::Saving;
use super::shared::{Server, given};
use super::work::{Reply, Work};
use crate::session::predict::{Changed, Late, NewEvent, PredictError, Predictor, Updated};

/// Requests of a group, and events of one at most (but for those of its last request).
const GROUP: usize = 64;
const GROUP_EVENTS: usize = 16_384;

/// Sources whose numbers are remembered.
const SOURCES: usize = 4096;

/// How often a silent queue looks whether the server is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// The last number of each source.
#[derive(Debug, Default)]
pub(super) struct Sequences(HashMap<String, LastRequest>);

/// The last request of a source.
#[derive(Debug, Clone, Copy)]
struct LastRequest {
    seq: u64,
    /// What tells its events from others, if they are known.
    events: Option<u64>,
}

/// What tells events from others; none of no events, which a request always has.
fn digest(events: &[NewEvent]) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for event in events {
        (&event.src, &event.dst, event.time).hash(&mut hasher);
        event.features.len().hash(&mut hasher);
        event
            .features
            .iter()
            .for_each(|value| value.to_bits().hash(&mut hasher));
    }
    (!events.is_empty()).then(|| hasher.finish())
}

impl Sequences {
    /// Takes note of an entry of the log.
    pub(super) fn note(&mut self, entry: &Entry) {
        if !entry.source.is_empty() {
            let last = LastRequest {
                seq: entry.seq,
                events: digest(&entry.events),
            };
            self.0.insert(entry.source.clone(), last);
        }
    }

    /// The last requests, without their events, as the log keeps them after `given` events.
    fn entries(&self, given: u64, late: Late) -> Vec<Entry> {
        let mut entries: Vec<Entry> = (self.0.iter())
            .map(|(source, last)| Entry {
                before: given,
                late,
                source: source.clone(),
                seq: last.seq,
                events: Vec::new(),
            })
            .collect();
        entries.sort_by(|a, b| a.source.cmp(&b.source));
        entries
    }

    /// What is to be said of the request `seq` of `source` with `events`, unless it is the next one. The first
    /// number of a source may be any.
    fn unfit(&self, source: &str, seq: u64, events: &[NewEvent]) -> Option<Reply> {
        match self.0.get(source) {
            None if self.0.len() >= SOURCES => Some(Reply::Refused(format!(
                "there are {SOURCES} sources already; use fewer names"
            ))),
            None => None,
            Some(last)
                if seq == last.seq && last.events.is_some_and(|of| Some(of) != digest(events)) =>
            {
                Some(Reply::Other { seq })
            }
            Some(last) if seq <= last.seq => Some(Reply::Repeated { last: last.seq }),
            Some(last) if seq == last.seq + 1 => None,
            Some(last) => Some(Reply::Gap {
                expected: last.seq + 1,
            }),
        }
    }
}

/// A batch: whose events they are among the requests of a group, in order.
type Batch<'a> = Vec<(usize, &'a [NewEvent])>;

/// The events of a group in batches of at most `size`.
fn batches(group: &[Entry], size: usize) -> Vec<Batch<'_>> {
    let (mut batches, mut batch, mut room) = (Vec::new(), Batch::new(), size);
    for (place, entry) in group.iter().enumerate() {
        let mut rest = &entry.events[..];
        while !rest.is_empty() {
            let (taken, left) = rest.split_at(room.min(rest.len()));
            batch.push((place, taken));
            (rest, room) = (left, room - taken.len());
            if room == 0 {
                batches.push(std::mem::take(&mut batch));
                room = size;
            }
        }
    }
    batches.extend((!batch.is_empty()).then_some(batch));
    batches
}

/// Observes a batch of `group`; `updated` is what became of each of its requests.
fn observe_batch(
    predictor: &mut Predictor,
    group: &[Entry],
    batch: &Batch<'_>,
    updated: &mut [Updated],
) -> Result<(), PredictError> {
    for &(place, events) in batch {
        let one = predictor.observe(events, group[place].late)?;
        updated[place].add(&one);
    }
    Ok(())
}

/// Has memory follow a group of the log; returns how many events it has followed.
pub(super) fn follow_again(
    predictor: &mut Predictor,
    group: &[Entry],
) -> Result<usize, PredictError> {
    let mut updated = vec![Updated::default(); group.len()];
    for batch in batches(group, predictor.batch_size()) {
        observe_batch(predictor, group, &batch, &mut updated)?;
        predictor.follow()?;
    }
    Ok(updated.iter().map(|of| of.events).sum())
}

/// The thread's own.
pub(super) struct Ingest<'a> {
    pub(super) server: &'a Arc<Server>,
    pub(super) log: Log,
    pub(super) sequences: Sequences,
    pub(super) late: Late,
    pub(super) save_every: u64,
    /// Ticks that an event may be ahead of the one before it.
    pub(super) max_jump: Option<i64>,
    /// The state that is being written.
    pub(super) saving: Option<Saving>,
}

impl Ingest<'_> {
    /// Follows what comes until the server is to end and nothing waits; then saves the state.
    ///
    /// # Errors
    /// When memory can't follow what is on disk, or the last state can't be saved.
    pub(super) fn run(mut self, queue: &Receiver<Work>) -> Result<(), ServeError> {
        let mut unsaved = 0;
        loop {
            let first = match queue.recv_timeout(GLANCE) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) if !self.server.stop.requested() => {
                    self.saved();
                    continue;
                }
                Err(_) => break,
            };
            let mut group = vec![first];
            let mut events = group[0].events.len();
            while group.len() < GROUP
                && events < GROUP_EVENTS
                && let Ok(next) = queue.try_recv()
            {
                events += next.events.len();
                group.push(next);
            }
            let waited = group.len() as u64;
            unsaved += self.follow(group)?;
            self.server
                .numbers
                .waiting
                .fetch_sub(waited, Ordering::Relaxed);
            self.saved();
            if unsaved >= self.save_every && self.saving.is_none() {
                self.save();
                unsaved = 0;
            }
        }
        if let Some(saving) = self.saving.take() {
            self.end(saving);
        }
        if unsaved > 0 || self.server.numbers.saves.load(Ordering::Relaxed) == 0 {
            // Nobody is served any more, and whoever ends the server waits.
            match Saving::begin(self.server, false) {
                Ok(saving) => {
                    self.rotated(saving.given);
                    self.end(saving);
                }
                Err(error) => self.unsaved(&error),
            }
        }
        Ok(())
    }

    /// Begins to save the state. The log has everything: one that can't be saved now may be later.
    fn save(&mut self) {
        match Saving::begin(self.server, true) {
            Ok(saving) => {
                self.rotated(saving.given);
                self.saving = Some(saving);
            }
            Err(error) => self.unsaved(&error),
        }
    }

    /// The log goes on in a new file after `given` events.
    fn rotated(&mut self, given: u64) {
        let sources = self.sequences.entries(given, self.late);
        if let Err(error) = self.log.rotate(given, &sources) {
            let told = format!("the log goes on in the file that there is: {error}");
            self.server.tell(told);
        }
    }

    /// Takes note of a state that is written.
    fn saved(&mut self) {
        if let Some(saving) = self.saving.take_if(|saving| saving.is_over()) {
            self.end(saving);
        }
    }

    fn end(&mut self, saving: Saving) {
        let given = saving.given;
        match saving.end(self.server) {
            Ok(()) => self.remove_covered(given),
            Err(error) => self.unsaved(&error),
        }
    }

    fn unsaved(&self, error: &ServeError) {
        let failed = &self.server.numbers.failed_saves;
        failed.fetch_add(1, Ordering::Relaxed);
        self.server.tell(format!(
            "the state is not saved: {error}; the log has what it lacks, and a server with this folder follows it again"
        ));
    }

    fn remove_covered(&mut self, given: u64) {
        if let Err(error) = self.log.remove_covered(given) {
            let told = format!("a file of the log that is not needed any more stays: {error}");
            self.server.tell(told);
        }
        let bytes = &self.server.numbers.log_bytes;
        bytes.store(self.log.length(), Ordering::Relaxed);
    }

    /// Writes a group to the log and follows it; returns the events that were followed.
    fn follow(&mut self, group: Vec<Work>) -> Result<u64, ServeError> {
        let predictor = self.server.predictor();
        let (mut before, mut last) = (given(&predictor), predictor.last());
        drop(predictor);
        let (mut entries, mut accepted, mut answered) = (Vec::new(), Vec::new(), Vec::new());
        for work in group {
            let newest = match self.unfit(&work, last) {
                Ok(newest) => newest,
                Err(unfit) => {
                    answered.push((work.reply, unfit));
                    continue;
                }
            };
            last = newest;
            let entry = Entry {
                before,
                late: self.late,
                source: work.source,
                seq: work.seq.unwrap_or(0),
                events: work.events,
            };
            // One that comes twice within a group is found here.
            self.sequences.note(&entry);
            before += entry.events.len() as u64;
            entries.push(entry);
            accepted.push(work.reply);
        }
        if !entries.is_empty()
            && let Err(error) = self.log.append(&entries)
        {
            return self.unlogged(&error, &entries, accepted, answered);
        }
        let numbers = &self.server.numbers;
        numbers
            .log_bytes
            .store(self.log.length(), Ordering::Relaxed);
        let followed = self.follow_all(&entries, &accepted)?;
        // Whoever has gone has gone.
        answered
            .into_iter()
            .for_each(|(reply, what)| _ = reply.send(what));
        Ok(followed)
    }

    /// Has memory follow a group that is on disk, and answers each request when its last event is followed.
    fn follow_all(
        &self,
        group: &[Entry],
        replies: &[SyncSender<Reply>],
    ) -> Result<u64, ServeError> {
        let mut updated = vec![Updated::default(); group.len()];
        let mut left: Vec<usize> = group.iter().map(|entry| entry.events.len()).collect();
        let size = self.server.predictor().batch_size();
        for batch in batches(group, size) {
            let followed = self.follow_batch(group, &batch, &mut updated);
            let changed = followed.map_err(|error| {
                let said = format!("the events are on disk, and memory could not follow: {error}");
                for reply in replies {
                    // Those that were answered have gone.
                    _ = reply.try_send(Reply::Ending(said.clone()));
                }
                error
            })?;
            for (place, events) in batch {
                left[place] -= events.len();
                if left[place] == 0 {
                    self.server.note(&updated[place]);
                    _ = replies[place].send(Reply::Followed(updated[place]));
                }
            }
            self.server.make_again(changed)?;
            self.server.let_go();
        }
        Ok(updated.iter().map(|of| of.events as u64).sum())
    }

    /// Has memory follow a batch of `group`: what can be made before is made a piece at a time. Returns what is
    /// to be made again.
    fn follow_batch(
        &self,
        group: &[Entry],
        batch: &Batch<'_>,
        updated: &mut [Updated],
    ) -> Result<Changed, PredictError> {
        let events: Vec<&NewEvent> = batch.iter().flat_map(|(_, events)| *events).collect();
        self.server.make_ready(&events)?;
        self.server.change(|predictor| {
            observe_batch(predictor, group, batch, updated)?;
            Ok(predictor.follow_batch()?.unwrap_or_default())
        })
    }

    /// What is to be said of a request that can't be followed; else the time of the last event after it, if
    /// it is `last` before.
    fn unfit(&self, work: &Work, last: Option<i64>) -> Result<Option<i64>, Reply> {
        let unfit = work
            .seq
            .and_then(|seq| self.sequences.unfit(&work.source, seq, &work.events));
        if let Some(unfit) = unfit {
            return Err(unfit);
        }
        let predictor = self.server.predictor();
        let checked = predictor.check(&work.events, 1);
        checked.map_err(|error| Reply::Refused(error.to_string()))?;
        let mut newest = last;
        for (place, event) in work.events.iter().enumerate() {
            let ahead = newest.map_or(0, |newest| event.time.saturating_sub(newest));
            if self.max_jump.is_some_and(|most| ahead > most) {
                let most = self.max_jump.unwrap_or_default();
                let [ahead, most] = [ahead, most].map(|ticks| predictor.time_text(ticks));
                return Err(Reply::TooFar(format!(
                    "event {} of the request: its time {} is {ahead} after the event before it, and {most} is the \
                     most (--max-jump): what comes then would be late; nothing of this request is followed",
                    place + 1,
                    predictor.time_text(event.time)
                )));
            }
            newest = newest.max(Some(event.time));
        }
        Ok(newest)
    }

    /// A group that could not be written: nothing of it has happened.
    fn unlogged(
        &mut self,
        error: &std::io::Error,
        entries: &[Entry],
        accepted: Vec<SyncSender<Reply>>,
        answered: Vec<(SyncSender<Reply>, Reply)>,
    ) -> Result<u64, ServeError> {
        let said = format!("the log of events can't be written: {error}");
        self.server.tell(&said);
        // Numbers go back to where they were before the first request of each source.
        for entry in entries
            .iter()
            .rev()
            .filter(|entry| !entry.source.is_empty())
        {
            match entry.seq.checked_sub(1) {
                Some(seq) => {
                    let last = LastRequest { seq, events: None };
                    self.sequences.0.insert(entry.source.clone(), last)
                }
                None => self.sequences.0.remove(&entry.source),
            };
        }
        for reply in accepted {
            _ = reply.send(Reply::Failed(said.clone()));
        }
        for (reply, what) in answered {
            // What was repeated may be of this group.
            let what = match what {
                Reply::Repeated { .. } | Reply::Other { .. } => Reply::Failed(said.clone()),
                what => what,
            };
            _ = reply.send(what);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(events: usize) -> Entry {
        let event = NewEvent {
            src: 1u64.into(),
            dst: 2u64.into(),
            time: 3,
            features: Vec::new(),
        };
        Entry {
            before: 0,
            late: Late::Refuse,
            source: String::new(),
            seq: 0,
            events: vec![event; events],
        }
    }

    #[test]
    fn a_group_is_cut_into_batches_across_its_requests() {
        let cut = |requests: &[usize]| -> Vec<Vec<(usize, usize)>> {
            let group: Vec<Entry> = requests.iter().map(|&events| entry(events)).collect();
            let lengths =
                |batch: Batch<'_>| batch.iter().map(|(of, all)| (*of, all.len())).collect();
            batches(&group, 10).into_iter().map(lengths).collect()
        };
        assert_eq!(cut(&[3, 4]), [vec![(0, 3), (1, 4)]]);
        assert_eq!(cut(&[10, 1]), [vec![(0, 10)], vec![(1, 1)]]);
        let long = [vec![(0, 7), (1, 3)], vec![(1, 10)], vec![(1, 9), (2, 1)]];
        assert_eq!(cut(&[7, 22, 1]), long);
        assert!(cut(&[]).is_empty());
    }
}
