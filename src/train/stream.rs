//! The stream that sampling reads: one that was opened and never changes, or one that is followed
//! and grows.

use std::sync::Arc;

use mspipe_datasets::EventLog;

use crate::graph::{EventColumns, NodeId, Timestamp};

/// See the module.
#[derive(Clone)]
pub enum Stream {
    /// As it was opened.
    Opened(Arc<EventLog>),
    /// With what came since.
    Followed(FollowedStream),
}

/// A stream that grows: the events that it was opened with, in RAM, 16 bytes each, and the last of those
/// that came since.
#[derive(Debug, Clone, Default)]
pub struct FollowedStream {
    /// Its name.
    pub(crate) name: String,
    /// Nodes that may be asked for.
    pub(crate) nodes: usize,
    /// Ticks of its unit of time.
    pub(crate) ticks_per_unit: i64,
    /// The events that it was opened with.
    pub(crate) opened: Arc<Columns>,
    /// Those that came since.
    pub(crate) newer: NewerEvents,
}

/// Events as columns of one length.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Source of each event.
    pub(crate) src: Vec<u32>,
    /// Destination of each event.
    pub(crate) dst: Vec<u32>,
    /// Time of each event, ascending.
    pub(crate) time: Vec<Timestamp>,
}

/// The last events of a stream: those that memory has not followed, and those at the time of the last one
/// that it has. Nothing is asked of those before them that sampling and pair histories do not have.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewerEvents {
    /// Which event the first one is.
    pub(crate) first: usize,
    pub(crate) columns: Columns,
}

impl NewerEvents {
    /// Events of the stream.
    fn end(&self) -> usize {
        self.first + self.columns.time.len()
    }

    /// Lets go of what is not the last events any more, once the first `followed` are followed.
    pub(crate) fn settle(&mut self, followed: usize, last: Timestamp) {
        let Columns { src, dst, time } = &mut self.columns;
        let within = followed.saturating_sub(self.first).min(time.len());
        let before = time[..within].partition_point(|&time| time < last);
        // One that is copied is made room for by one that goes.
        if before > time.len() / 2 {
            src.drain(..before);
            dst.drain(..before);
            time.drain(..before);
            self.first += before;
        }
    }
}

impl Columns {
    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> u64 {
        let ids = self.src.capacity() + self.dst.capacity();
        (4 * ids + 8 * self.time.capacity()) as u64
    }
}

impl FollowedStream {
    /// Bytes that it takes: of what it was opened with, and of what came since.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        [self.opened.bytes(), self.newer.columns.bytes()]
    }
}

impl Stream {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Stream::Opened(log) => log.name(),
            Stream::Followed(stream) => &stream.name,
        }
    }

    /// Number of nodes; ids are `0..nodes`.
    pub fn nodes(&self) -> usize {
        match self {
            Stream::Opened(log) => log.nodes(),
            Stream::Followed(stream) => stream.nodes,
        }
    }

    /// Nodes that tables are made for: more than there are where nodes may come, so that not each of
    /// them needs new tables.
    pub(crate) fn room(&self) -> usize {
        match self {
            Stream::Opened(log) => log.nodes(),
            Stream::Followed(stream) => stream.nodes.next_power_of_two(),
        }
    }

    /// Ticks of its unit of time.
    pub fn ticks_per_unit(&self) -> i64 {
        match self {
            Stream::Opened(log) => log.ticks_per_unit(),
            Stream::Followed(stream) => stream.ticks_per_unit,
        }
    }

    /// Number of events.
    pub fn events(&self) -> usize {
        match self {
            Stream::Opened(log) => log.events(),
            Stream::Followed(stream) => stream.newer.end(),
        }
    }

    /// The columns that have event `event`, and its place in them.
    ///
    /// # Panics
    /// When it is one that came since the stream was opened, and is not of the last ones.
    fn place(&self, event: usize) -> ([&[u32]; 2], &[Timestamp], usize) {
        match self {
            Stream::Followed(stream) if event >= stream.opened.time.len() => {
                let NewerEvents { first, columns } = &stream.newer;
                let place = event
                    .checked_sub(*first)
                    .expect("an event that was let go of");
                ([&columns.src, &columns.dst], &columns.time, place)
            }
            _ => ([self.src(), self.dst()], self.time(), event),
        }
    }

    /// The two nodes of an event of the last ones, or of those that the stream was opened with.
    ///
    /// # Panics
    /// When it is neither.
    pub(crate) fn ends_of(&self, event: usize) -> [NodeId; 2] {
        let ([src, dst], _, place) = self.place(event);
        [NodeId(src[place]), NodeId(dst[place])]
    }

    /// Its time.
    ///
    /// # Panics
    /// As [`Stream::ends_of`].
    pub(crate) fn time_of(&self, event: usize) -> Timestamp {
        let (_, time, place) = self.place(event);
        time[place]
    }

    // Columns of a stream that is followed are of the events that it was opened with.

    /// Source node of each event.
    pub fn src(&self) -> &[u32] {
        match self {
            Stream::Opened(log) => log.src(),
            Stream::Followed(stream) => &stream.opened.src,
        }
    }

    /// Destination node of each event.
    pub fn dst(&self) -> &[u32] {
        match self {
            Stream::Opened(log) => log.dst(),
            Stream::Followed(stream) => &stream.opened.dst,
        }
    }

    /// Time of each event in ticks.
    pub fn time(&self) -> &[Timestamp] {
        match self {
            Stream::Opened(log) => log.time(),
            Stream::Followed(stream) => &stream.opened.time,
        }
    }

    /// State label of the source at each event; a stream that is followed has none.
    pub fn labels(&self) -> Option<&[i32]> {
        match self {
            Stream::Opened(log) => log.labels(),
            Stream::Followed(_) => None,
        }
    }

    /// Its columns.
    pub(crate) fn columns(&self) -> EventColumns<'_> {
        EventColumns {
            src: bytemuck::cast_slice::<u32, NodeId>(self.src()),
            dst: bytemuck::cast_slice::<u32, NodeId>(self.dst()),
            time: self.time(),
        }
    }
}

impl From<Arc<EventLog>> for Stream {
    fn from(log: Arc<EventLog>) -> Stream {
        Stream::Opened(log)
    }
}
