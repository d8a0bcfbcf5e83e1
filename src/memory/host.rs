//! Node memory in the host's RAM, for tables larger than the device's memory, or to leave
//! the device alone while memory is read and written.
//!
//! Rows are read ([`HostMemory::gather`]) and written ([`HostMemory::apply`]) here without a
//! device; what lies between is one upload and one read-back of the rows concerned. Rows are
//! moved by the same CPU kernels that [`DeviceMemory`](super::device::DeviceMemory)
//! uses, so both give the same bits.

use burn::tensor::{Device, Tensor, TensorData};

use super::node_times::{FetchedTimes, NodeTimes};
use super::similarity::{Correction, Mitigation};
use super::trends::{FetchedTrends, HostTrends};
use super::write_back::Update;
use super::{FetchedMemory, MemoryCommit, MemoryError, MemoryRequest, MemoryStore};
use crate::batch::{Distinct, MailList};
use crate::graph::NodeId;
use crate::kernels::cpu::rows::{self, MailParts};

/// Memory rows, mail and times, all in RAM.
#[derive(Debug, Clone)]
pub struct HostMemory {
    width: usize,
    mail_width: usize,
    /// `[nodes, width]`.
    pub(super) memory: Vec<f32>,
    /// `[nodes, slots x mail width]`.
    pub(super) mailbox: Vec<f32>,
    pub(super) node_times: NodeTimes,
    mitigation: Option<Mitigation>,
    pub(super) trends: Option<HostTrends>,
    pub(super) version: u64,
    /// See [`MemoryStore::watched`].
    watched: [f32; 2],
    /// Where fetched rows go when memory is used as a [`MemoryStore`].
    device: Device,
}

/// Rows read for a batch.
#[derive(Debug)]
pub struct HostRows {
    /// Memory of the batch's rows, then of the rows that only a correction reads,
    /// `[rows + extra, width]`.
    memory: Vec<f32>,
    /// Mail, `[mail rows, slots x mail width]`.
    mail: Vec<f32>,
    /// Mail that is absorbed before it, `[mail, mail width]`.
    earlier_mail: Vec<f32>,
    /// Sums of past changes, `[trends, width]`.
    trends: Vec<f32>,
    /// Row of `mail` of each row.
    mail_row: Vec<i32>,
    /// Of a memory row, of a row of `mail`, of a piece of mail.
    widths: [usize; 3],
    correction: Correction,
    times: FetchedTimes,
}

impl HostRows {
    /// Bytes that an upload moves.
    pub fn bytes(&self) -> u64 {
        let mail = self.mail.len() + self.earlier_mail.len();
        4 * (self.memory.len() + mail + self.trends.len()) as u64
    }

    /// The rows as tensors on `device`.
    pub fn upload(self, device: &Device) -> FetchedMemory {
        let tensor = |values: Vec<f32>, width: usize| {
            let rows = values.len() / width.max(1);
            Tensor::<2>::from_data(TensorData::new(values, [rows, width]), device)
        };
        let [width, mail_width, piece] = self.widths;
        let earlier_mail =
            (self.times.backlog.mail() > 0).then(|| tensor(self.earlier_mail, piece));
        FetchedMemory {
            memory: self.correction.apply(tensor(self.memory, width)),
            mail: tensor(self.mail, mail_width),
            mail_row: self.mail_row,
            earlier_mail,
            trends: (!self.trends.is_empty()).then(|| tensor(self.trends, width)),
            times: self.times,
        }
    }
}

impl HostMemory {
    /// Zero rows for `nodes` nodes; `node_times` says how much mail a node keeps.
    pub fn new(
        nodes: usize,
        width: usize,
        mail_width: usize,
        node_times: NodeTimes,
        mitigation: Option<Mitigation>,
        device: &Device,
    ) -> HostMemory {
        let slots = node_times.rule().mail_slots;
        HostMemory {
            width,
            mail_width,
            memory: vec![0.0; nodes * width],
            mailbox: vec![0.0; nodes * slots * mail_width],
            node_times,
            mitigation,
            trends: None,
            version: 0,
            watched: [0.0; 2],
            device: device.clone(),
        }
    }

    /// The same memory with trends, if `kept`; zero rows.
    pub fn with_trends(self, kept: bool) -> HostMemory {
        let nodes = self.node_times.last_update().len();
        let trends = kept.then(|| HostTrends::new(nodes, self.width));
        HostMemory { trends, ..self }
    }

    /// The times that belong to the rows that a batch needs, without the rows and without corrections.
    pub(crate) fn times(&self, request: MemoryRequest<'_>) -> FetchedTimes {
        FetchedTimes {
            version: self.version,
            ..self.node_times.fetch(request)
        }
    }

    /// Reads the rows that a batch needs.
    pub fn gather(&self, request: MemoryRequest<'_>) -> HostRows {
        let correction = Correction::of(self.mitigation.as_ref(), &self.node_times, request);
        let mut times = FetchedTimes {
            corrected: correction.corrected(),
            ..self.times(request)
        };
        let mut sums = Vec::new();
        if let Some(trends) = &self.trends {
            (times.trends, sums) = trends.fetch(request, self.node_times.of_rows(&times));
        }
        let rule = self.node_times.rule();
        let ids =
            |nodes: &[NodeId]| -> Vec<i32> { nodes.iter().map(|node| node.0 as i32).collect() };
        let node = ids(request.rows.node);
        let all = [&node[..], &ids(correction.extra())].concat();
        let piece = self.mail_width;
        let one_each = || (0..node.len() as i32).collect();
        if rule.catch_up {
            let mail = |places: &[i32]| rows::gather_rows(&self.mailbox, places, piece);
            return HostRows {
                memory: rows::gather_rows(&self.memory, &all, self.width),
                mail: mail(&times.mail_place),
                earlier_mail: mail(&times.backlog.place),
                trends: sums,
                mail_row: one_each(),
                widths: [self.width, piece, piece],
                correction,
                times,
            };
        }
        let slots = rule.mail_slots;
        let (with_mail, mail_row) = if slots > 1 {
            let distinct = Distinct::of(&node);
            let first = distinct.first.iter().map(|&row| node[row as usize]);
            (first.collect(), distinct.number)
        } else {
            (node.clone(), one_each())
        };
        HostRows {
            memory: rows::gather_rows(&self.memory, &all, self.width),
            mail: rows::gather_rows(&self.mailbox, &with_mail, slots * piece),
            earlier_mail: Vec::new(),
            trends: sums,
            mail_row,
            widths: [self.width, slots * piece, piece],
            correction,
            times,
        }
    }

    /// Writes a batch's rows and mail.
    pub fn apply(&mut self, update: &Update) {
        let (back, updated) = (&update.back, update.updated(self.width));
        let last_writers = &back.last_writers;
        let written = back.times.written(last_writers);
        rows::memory_update(&mut self.memory, updated, &written, self.width);
        let edge_width = self.mail_width - 2 * self.width;
        let parts = MailParts {
            hidden: updated,
            width: self.width,
            edge: &back.edge,
            edge_width,
        };
        let mail_routing = &back.mail_routing;
        let finite = rows::mail_update(
            &mut self.mailbox,
            parts,
            &MailList::of(
                &self.node_times.places(mail_routing),
                &mail_routing.mail.offsets,
            ),
            &mail_routing.mail.items,
        );
        self.node_times
            .commit(last_writers, mail_routing, &back.times);
        if let Some(trends) = &mut self.trends {
            trends.add(&back.times.trends.place, update.changes(self.width));
        }
        self.version += 1;
        for (first, finite) in self.watched.iter_mut().zip(finite) {
            if !finite && *first == 0.0 {
                *first = self.version as f32;
            }
        }
    }

    /// Adds nodes with zero rows and no mail, until there are `nodes`.
    pub(crate) fn grow(&mut self, nodes: usize) {
        self.node_times.grow(nodes);
        let nodes = self.node_times.last_update().len();
        let slots = self.node_times.rule().mail_slots;
        extend(&mut self.memory, nodes * self.width);
        if let Some(trends) = &mut self.trends {
            trends.grow(nodes);
        }
        extend(&mut self.mailbox, nodes * slots * self.mail_width);
    }

    /// Bytes of its tables, with the room that they have for more nodes.
    pub(crate) fn bytes(&self) -> u64 {
        let numbers = self.memory.capacity() + self.mailbox.capacity();
        4 * numbers as u64 + self.node_times.bytes()
    }

    /// The tables `[nodes, width]` and `[nodes, slots x mail width]`.
    pub fn tables(&self) -> (&[f32], &[f32]) {
        (&self.memory, &self.mailbox)
    }

    /// Width of a memory row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The times that belong to them.
    pub fn node_times(&self) -> &NodeTimes {
        &self.node_times
    }

    /// The trends of what a batch writes, without their sums; none where none are kept.
    pub(crate) fn trends_of(&self, request: MemoryRequest<'_>) -> Option<FetchedTrends> {
        let trends = self.trends.as_ref()?;
        let times = self.node_times.fetch(request);
        Some(trends.places(request, self.node_times.of_rows(&times)))
    }
}

/// Fills up `table` with zeros until it has `len` numbers. Room is made for a quarter more: for twice as many
/// would be gigabytes that nobody has yet.
fn extend(table: &mut Vec<f32>, len: usize) {
    if len > table.capacity() {
        table.reserve_exact((len - table.len()).max(table.len() / 4));
    }
    table.resize(len.max(table.len()), 0.0);
}

/// Reads and writes at once: nothing overlaps.
impl MemoryStore for HostMemory {
    fn fetch(&self, request: MemoryRequest<'_>) -> FetchedMemory {
        self.gather(request).upload(&self.device)
    }

    fn commit(&mut self, commit: MemoryCommit) -> Result<(), MemoryError> {
        self.apply(&commit.into_update()?);
        Ok(())
    }

    fn node_times(&self) -> &NodeTimes {
        &self.node_times
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn watched(&self) -> Tensor<1> {
        Tensor::from_floats(self.watched, &self.device)
    }

    fn reset(&mut self) {
        self.watched = [0.0; 2];
        self.memory.fill(0.0);
        self.mailbox.fill(0.0);
        self.node_times.reset();
        if let Some(trends) = &mut self.trends {
            trends.reset();
        }
        self.version = 0;
    }
}
