//! What a batch writes back when its updated rows are on the host: which rows are read for it,
//! where they and its mail go; and updates that wait for their turn.
//!
//! Invariant: rows are numbered as they are read back, so an update needs nothing of its batch.

use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use burn::tensor::{Device, ExecutionError, Int, Tensor, TensorData, Transaction};

use super::node_times::FetchedTimes;
use super::trends::{COMPONENTS, FetchedTrends};
use super::{MemoryCommit, MemoryError, read};
use crate::batch::{LastWriters, Mail, MailRouting};
use crate::checkpoint::{Arrays, Unfit};
use crate::device;
use crate::device::queue::{self, Submission};
use crate::graph::{Csr, NodeId};

/// What a batch writes back, in terms of the updated rows that are read back for it.
#[derive(Debug, Clone)]
pub struct WriteBack {
    /// Rows of the batch that are read back, ascending.
    rows: Vec<i32>,
    pub(super) last_writers: LastWriters,
    pub(super) mail_routing: MailRouting,
    pub(super) times: FetchedTimes,
    /// Features of the batch's own events, `[events, edge width]`.
    pub(super) edge: Vec<f32>,
}

impl WriteBack {
    /// What a batch of `batch_rows` rows writes; `edge` are the features of its own events.
    pub fn new(
        last_writers: LastWriters,
        mail_routing: MailRouting,
        times: FetchedTimes,
        edge: Vec<f32>,
        batch_rows: usize,
    ) -> WriteBack {
        let mut back = WriteBack {
            rows: Vec::new(),
            last_writers,
            mail_routing,
            times,
            edge,
        };
        let mut place = vec![-1; batch_rows];
        if back.times.kept.is_empty() {
            let mail = back.mail_routing.mail.items.iter();
            let of_mail = mail.flat_map(|mail| [mail.own, mail.peer]);
            for row in back.last_writers.row.iter().copied().chain(of_mail) {
                place[row as usize] = 0;
            }
        } else {
            place.fill(0);
        }
        for (row, place) in place
            .iter_mut()
            .enumerate()
            .filter(|(_, place)| **place == 0)
        {
            *place = back.rows.len() as i32;
            back.rows.push(row as i32);
        }
        // Rows that are kept on reading keep their numbers: all rows are read back then.
        let updated = &back.times.updated;
        back.times.updated = back.rows.iter().map(|&row| updated[row as usize]).collect();
        if !back.times.seen.is_empty() {
            let seen = &back.times.seen;
            back.times.seen = back.rows.iter().map(|&row| seen[row as usize]).collect();
        }
        for row in &mut back.last_writers.row {
            *row = place[*row as usize];
        }
        for mail in &mut back.mail_routing.mail.items {
            mail.own = place[mail.own as usize];
            mail.peer = place[mail.peer as usize];
        }
        back
    }

    /// Rows of the batch that are read back, ascending.
    pub(crate) fn rows(&self) -> &[i32] {
        &self.rows
    }

    /// Features of the batch's own events, `[events, edge width]`.
    pub fn edge(&self) -> &[f32] {
        &self.edge
    }

    /// The rows to read back out of the batch's updated rows `[batch rows, width]`, and behind them
    /// the changes of rows, `[trends, width]`.
    pub fn select(&self, updated: Tensor<2>, changes: Option<Tensor<2>>) -> Tensor<2> {
        let count = self.rows.len();
        let rows = TensorData::new(self.rows.clone(), [count]);
        let rows = Tensor::<1, Int>::from_data(rows, &updated.device());
        let rows = updated.select(0, rows);
        match changes {
            Some(changes) => Tensor::cat(vec![rows, changes], 0),
            None => rows,
        }
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Vec<TensorData>, ExecutionError>> + Send>>;

/// A copy to the host.
enum Copying {
    Done(Vec<TensorData>),
    /// With its place in the device's queue.
    UnderWay(Reading, Option<Submission>),
}

/// An update whose rows are on their way to the host.
pub(crate) struct Pending {
    back: WriteBack,
    rows: Copying,
}

impl Pending {
    /// Begins to copy `rows`, which [`WriteBack::select`] chose, and does not wait for them. Call
    /// it on the thread that talks to the device.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn begin(back: WriteBack, rows: Tensor<2>) -> Result<Pending, MemoryError> {
        let device = rows.device();
        let mut reading: Reading = Box::pin(Transaction::default().register(rows).execute_async());
        // The first poll puts the copy into the device's queue, from this thread.
        let first = reading
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let rows = match first {
            Poll::Ready(data) => Copying::Done(data.map_err(not_done)?),
            Poll::Pending => {
                // Made right behind the copy, before anything else of this thread.
                let place = queue::of(&device).map(|queue| queue.submitted());
                Copying::UnderWay(reading, place)
            }
        };
        Ok(Pending { back, rows })
    }

    /// Waits for the rows, on any thread.
    ///
    /// # Errors
    /// When the device does not hand them over.
    pub(crate) fn receive(self) -> Result<Update, MemoryError> {
        let data = match self.rows {
            Copying::Done(data) => data,
            Copying::UnderWay(reading, place) => {
                // cubecl's thread that polls waits for the latest submission, which may be of another
                // iteration by now.
                if let Some(place) = place {
                    place.wait().map_err(unreadable)?;
                }
                pollster::block_on(reading).map_err(not_done)?
            }
        };
        let mut rows = Vec::new();
        for data in data {
            rows = data.try_into_vec().map_err(unreadable)?;
        }
        let back = self.back;
        Ok(Update { back, rows })
    }
}

/// Why work was not done is kept, so that the run ends with it.
fn not_done(error: ExecutionError) -> MemoryError {
    device::heed(&error);
    unreadable(error)
}

fn unreadable(error: impl Debug) -> MemoryError {
    MemoryError::Device(format!("{error:?}"))
}

/// An update whose rows are on the host, to be written into the tables.
#[derive(Debug, Clone)]
pub struct Update {
    /// Where its rows go.
    pub back: WriteBack,
    /// What [`WriteBack::select`] chose, `[rows + trends, width]`.
    pub rows: Vec<f32>,
}

impl MemoryCommit {
    /// The same with its rows on the host.
    ///
    /// # Errors
    /// When the device does not hand them over.
    pub(crate) fn into_update(self) -> Result<Update, MemoryError> {
        let events = self.mail_routing.events();
        let back = WriteBack::new(
            self.last_writers,
            self.mail_routing,
            self.times,
            read(self.edge.slice(0..events))?,
            self.memory.dims()[0],
        );
        let rows = read(back.select(self.memory, self.changes))?;
        Ok(Update { back, rows })
    }
}

/// Bounds of what an update may name.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Nodes of the stream.
    pub nodes: usize,
    /// Width of a memory row.
    pub width: usize,
    /// Width of an edge feature row.
    pub edge_width: usize,
    /// Whether rows catch up on mail.
    pub catch_up: bool,
    /// Whether there are trends.
    pub trends: bool,
}

impl Update {
    /// The same with its rows on `device`; widths of a memory row and of edge features.
    pub(crate) fn upload(self, [width, edge_width]: [usize; 2], device: &Device) -> MemoryCommit {
        let table = |values: Vec<f32>, width: usize| {
            let rows = values.len() / width.max(1);
            Tensor::from_data(TensorData::new(values, [rows, width]), device)
        };
        let changes = self.changes(width).to_vec();
        let Update { back, mut rows } = self;
        rows.truncate(rows.len() - changes.len());
        MemoryCommit {
            memory: table(rows, width),
            changes: (!changes.is_empty()).then(|| table(changes, width)),
            edge: table(back.edge, edge_width),
            last_writers: back.last_writers,
            mail_routing: back.mail_routing,
            times: back.times,
        }
    }

    /// Bytes of its rows.
    pub fn bytes(&self) -> u64 {
        4 * self.rows.len() as u64
    }

    /// The updated rows, `[rows, width]`.
    pub(super) fn updated(&self, width: usize) -> &[f32] {
        &self.rows[..self.rows.len() - self.back.times.trends.place.len() * width]
    }

    /// The changes of rows, `[trends, width]`.
    pub(super) fn changes(&self, width: usize) -> &[f32] {
        &self.rows[self.rows.len() - self.back.times.trends.place.len() * width..]
    }

    /// Nodes whose rows it writes, and those that get mail, ascending.
    pub(crate) fn nodes(&self) -> [&[NodeId]; 2] {
        let WriteBack {
            last_writers,
            mail_routing,
            times,
            ..
        } = &self.back;
        [times.written_nodes(last_writers), &mail_routing.node]
    }

    /// Adds it to `arrays`, with names that begin with `prefix`.
    pub fn put<'a>(&'a self, arrays: &mut Arrays<'a>, prefix: &str) {
        let WriteBack {
            last_writers,
            mail_routing,
            times,
            edge,
            ..
        } = &self.back;
        let mut nodes = |name: &str, nodes: &'a [NodeId]| {
            arrays.put_column::<u32>(format!("{prefix}{name}"), bytemuck::cast_slice(nodes));
        };
        nodes("winner_node", &last_writers.node);
        nodes("mail_node", &mail_routing.node);
        nodes("kept_node", &times.kept);
        let mut numbers = |name: &str, numbers: &'a [i32]| {
            arrays.put_column(format!("{prefix}{name}"), numbers);
        };
        numbers("winner_row", &last_writers.row);
        numbers("mail_offsets", &mail_routing.mail.offsets);
        numbers("mail_rows", bytemuck::cast_slice(&mail_routing.mail.items));
        let mut times_of = |name: &str, ticks: &'a [i64]| {
            arrays.put_column(format!("{prefix}{name}"), ticks);
        };
        times_of("mail_time", &mail_routing.time);
        times_of("updated", &times.updated);
        if !times.seen.is_empty() {
            arrays.put_column(format!("{prefix}seen"), times.seen.as_slice());
        }
        if !times.trends.place.is_empty() {
            let places = times.trends.place.as_slice();
            arrays.put_column(format!("{prefix}trends"), places);
        }
        arrays.put_column(format!("{prefix}edge"), edge.as_slice());
        arrays.put_column(format!("{prefix}rows"), self.rows.as_slice());
    }

    /// Takes one out of `arrays`, whose names have no prefix any more.
    ///
    /// # Errors
    /// When arrays are missing, or name nodes, rows or events that there are not.
    pub fn take(arrays: &mut Arrays<'_>, bounds: Bounds) -> Result<Update, Unfit> {
        let mut nodes = |name: &str| -> Result<Vec<NodeId>, Unfit> {
            let ids: Vec<u32> = arrays.take_column(name)?;
            Ok(bytemuck::allocation::pod_collect_to_vec(&ids))
        };
        let last_writer_node = nodes("winner_node")?;
        let mail_node = nodes("mail_node")?;
        let kept = nodes("kept_node")?;
        let mail: Vec<i32> = arrays.take_column("mail_rows")?;
        let (triples, rest) = mail.as_chunks();
        let seen = match bounds.catch_up {
            true => arrays.take_column("seen")?,
            false => Vec::new(),
        };
        let place = match bounds.trends && arrays.names().any(|name| name == "trends") {
            true => arrays.take_column("trends")?,
            false => Vec::new(),
        };
        let update = Update {
            back: WriteBack {
                rows: Vec::new(),
                last_writers: LastWriters {
                    node: last_writer_node,
                    row: arrays.take_column("winner_row")?,
                },
                mail_routing: MailRouting {
                    node: mail_node,
                    time: arrays.take_column("mail_time")?,
                    mail: Csr {
                        offsets: arrays.take_column("mail_offsets")?,
                        items: triples
                            .iter()
                            .map(|&[own, peer, event]| Mail { own, peer, event })
                            .collect(),
                    },
                },
                times: FetchedTimes {
                    updated: arrays.take_column("updated")?,
                    kept,
                    seen,
                    trends: FetchedTrends {
                        place,
                        ..FetchedTrends::default()
                    },
                    ..FetchedTimes::default()
                },
                edge: arrays.take_column("edge")?,
            },
            rows: arrays.take_column("rows")?,
        };
        let fault = if rest.is_empty() {
            update.fault(bounds).or_else(|| update.trends_fault(bounds))
        } else {
            Some(("mail_rows", "does not consist of triples"))
        };
        match fault {
            None => Ok(update),
            Some((name, reason)) => Err(Unfit::Contradiction {
                name: name.to_owned(),
                reason: reason.to_owned(),
            }),
        }
    }

    /// The array that names something that there is not, and how.
    fn fault(&self, bounds: Bounds) -> Option<(&'static str, &'static str)> {
        let WriteBack {
            last_writers,
            mail_routing,
            times,
            edge,
            ..
        } = &self.back;
        let rows = times.updated.len();
        let known = |nodes: &[NodeId]| {
            let ascending = nodes.is_sorted_by(|a, b| a < b);
            ascending && nodes.last().is_none_or(|last| last.index() < bounds.nodes)
        };
        let row_known = |row: &i32| (0..rows as i64).contains(&i64::from(*row));
        let of_row = |mail: &Mail| row_known(&mail.own) && row_known(&mail.peer);
        let events = edge.len().checked_div(bounds.edge_width);
        let of_event = |mail: &Mail| {
            mail.event >= 0 && events.is_none_or(|events| (mail.event as usize) < events)
        };
        let (lists, mail) = (&mail_routing.mail.offsets, &mail_routing.mail.items);
        let end = mail.len() as i64;
        let whole = lists.first() == Some(&0) && lists.last().map(|&l| i64::from(l)) == Some(end);
        [
            (
                "rows",
                "has a length that does not match its rows",
                self.rows.len() == (rows + times.trends.place.len()) * bounds.width,
            ),
            (
                "winner_node",
                "has unknown or unsorted nodes",
                known(&last_writers.node),
            ),
            (
                "winner_row",
                "does not have one row per node",
                last_writers.row.len() == last_writers.node.len()
                    && last_writers.row.iter().all(row_known),
            ),
            (
                "mail_node",
                "has unknown or unsorted nodes",
                known(&mail_routing.node) && mail_routing.time.len() == mail_routing.node.len(),
            ),
            (
                "mail_offsets",
                "does not have one list of mail per node",
                lists.len() == mail_routing.node.len() + 1 && lists.is_sorted() && whole,
            ),
            (
                "mail_rows",
                "has unknown rows or events",
                mail.iter().all(|mail| of_row(mail) && of_event(mail)),
            ),
            (
                "seen",
                "does not have one number per row",
                !bounds.catch_up || times.seen.len() == rows,
            ),
            (
                "kept_node",
                "does not have one node per row",
                times.kept.is_empty()
                    || times.kept.len() == rows
                        && times.kept.iter().all(|node| node.index() < bounds.nodes),
            ),
        ]
        .into_iter()
        .find_map(|(name, reason, holds)| (!holds).then_some((name, reason)))
    }

    /// The same of the trends alone.
    fn trends_fault(&self, bounds: Bounds) -> Option<(&'static str, &'static str)> {
        let places = &self.back.times.trends.place;
        let end = (COMPONENTS * bounds.nodes) as i64;
        let known = |place: &i32| (0..end).contains(&i64::from(*place));
        let sound = places.is_sorted_by(|a, b| a < b) && places.iter().all(known);
        (!sound).then_some(("trends", "has unknown or repeated places"))
    }
}
