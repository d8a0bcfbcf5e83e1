//! Node memory in the device's own memory.

use burn::tensor::{Device, Int, Tensor, TensorData};
use bytemuck::cast_slice;

use super::node_times::{FetchedTimes, NodeTimes};
use super::similarity::{Correction, Mitigation};
use super::trends::{DeviceTrends, FetchedTrends};
use super::write_back::Update;
use super::{
    BegunFetch, FetchedMemory, MemoryCommit, MemoryError, MemoryRequest, MemoryStore, UnreadRows,
};
use crate::batch::MailList;
use crate::kernels::mail_update::{MailLists, MailWatch, mail_update};
use crate::kernels::memory_gather::memory_gather;
use crate::kernels::memory_update::memory_update;
use crate::kernels::packing::{Packed, Packing, Sent};

/// Memory rows and mail as two tables on the device, times on the host.
#[derive(Debug, Clone)]
pub struct DeviceMemory {
    /// `[nodes, width]`.
    pub(super) memory: Tensor<2>,
    /// `[nodes, slots x mail width]`.
    pub(super) mailbox: Tensor<2>,
    /// See [`MemoryStore::watched`].
    watched: Tensor<1>,
    pub(super) node_times: NodeTimes,
    mitigation: Option<Mitigation>,
    pub(super) trends: Option<DeviceTrends>,
    pub(super) version: u64,
}

impl DeviceMemory {
    /// Zero rows for `nodes` nodes on `device` (without autodiff: memory is a constant of
    /// an iteration); `node_times` says how much mail a node keeps.
    pub fn new(
        nodes: usize,
        width: usize,
        mail_width: usize,
        node_times: NodeTimes,
        device: &Device,
    ) -> DeviceMemory {
        let slots = node_times.rule().mail_slots;
        DeviceMemory {
            memory: Tensor::zeros([nodes, width], device),
            mailbox: Tensor::zeros([nodes, slots * mail_width], device),
            watched: Tensor::zeros([2], device),
            node_times,
            mitigation: None,
            trends: None,
            version: 0,
        }
    }

    /// The same memory with stale rows corrected when they are fetched.
    pub fn with_mitigation(self, mitigation: Option<Mitigation>) -> DeviceMemory {
        DeviceMemory { mitigation, ..self }
    }

    /// The same memory with trends, if `kept`; zero rows.
    pub fn with_trends(self, kept: bool) -> DeviceMemory {
        let [nodes, width] = self.memory.dims();
        let trends = kept.then(|| DeviceTrends::new(nodes, width, &self.memory.device()));
        DeviceMemory { trends, ..self }
    }

    /// The tables `[nodes, width]` and `[nodes, slots x mail width]`.
    pub fn tables(&self) -> (Tensor<2>, Tensor<2>) {
        (self.memory.clone(), self.mailbox.clone())
    }

    /// Width of a memory row.
    pub fn width(&self) -> usize {
        self.memory.dims()[1]
    }

    /// What is to be committed of an update that waited on the host.
    pub fn upload(&self, update: Update) -> MemoryCommit {
        let width = self.width();
        let mail_width = self.mailbox.dims()[1] / self.node_times.rule().mail_slots;
        update.upload([width, mail_width - 2 * width], &self.memory.device())
    }

    /// Pieces of mail at these places of all nodes' slots, `[places, mail width]`.
    fn select_mail(&self, places: &[i32]) -> Tensor<2> {
        let [nodes, mails] = self.mailbox.dims();
        let slots = self.node_times.rule().mail_slots;
        let pieces = self.mailbox.clone().reshape([nodes * slots, mails / slots]);
        let places = ints(places.to_vec(), [places.len()], &self.memory.device());
        pieces.select(0, places)
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

/// Rows that are to be read of the tables.
#[derive(Debug)]
struct DeviceFetch<'a> {
    of: &'a DeviceMemory,
    /// Nodes of the rows, then of those that only a correction reads.
    index: Packed<1>,
    /// So many, and the batch's rows among them.
    gathered: usize,
    rows: usize,
    correction: Correction,
    /// Sums of past changes.
    sums: Option<Tensor<2>>,
    mail_row: Vec<i32>,
    times: FetchedTimes,
}

impl DeviceMemory {
    /// Packs what [`UnreadRows::finish`] reads.
    fn begin(&self, request: MemoryRequest<'_>, packing: &mut Packing) -> DeviceFetch<'_> {
        let correction = Correction::of(self.mitigation.as_ref(), &self.node_times, request);
        let mut times = FetchedTimes {
            corrected: correction.corrected(),
            version: self.version,
            ..self.node_times.fetch(request)
        };
        let mut sums = None;
        if let Some(trends) = &self.trends {
            (times.trends, sums) = trends.fetch(request, self.node_times.of_rows(&times));
        }
        let nodes = request.rows.node.iter().chain(correction.extra());
        let index: Vec<i32> = nodes.map(|node| node.0 as i32).collect();
        let (rows, rule) = (request.rows.node.len(), self.node_times.rule());
        // Mail of several slots is read where it is.
        let mail_row = match rule.mail_slots > 1 && !rule.catch_up {
            true => index[..rows].to_vec(),
            false => (0..rows as i32).collect(),
        };
        DeviceFetch {
            of: self,
            index: packing.ints(&index, [index.len()]),
            gathered: index.len(),
            rows,
            correction,
            sums,
            mail_row,
            times,
        }
    }
}

impl UnreadRows for DeviceFetch<'_> {
    fn times(&self) -> (&FetchedTimes, &[i32]) {
        (&self.times, &self.mail_row)
    }

    fn finish(self: Box<Self>, sent: &mut Sent) -> FetchedMemory {
        let DeviceFetch {
            of,
            index,
            gathered,
            rows,
            correction,
            sums,
            mail_row,
            times,
        } = *self;
        let index = sent.ints(index).without_autodiff();
        // Mail of several slots is read where it is: the table is not written before the
        // batch that reads it is done, and then nobody else holds it.
        let rule = of.node_times.rule();
        let mut earlier_mail = None;
        let (memory, mail) = if rule.catch_up {
            let memory = of.memory.clone().select(0, index);
            let mail = of.select_mail(&times.mail_place);
            earlier_mail = (times.backlog.mail() > 0).then(|| of.select_mail(&times.backlog.place));
            (memory, mail)
        } else if rule.mail_slots > 1 {
            let memory = of.memory.clone().select(0, index);
            (memory, of.mailbox.clone())
        } else {
            let (memory, mail) = memory_gather(of.memory.clone(), of.mailbox.clone(), index);
            let mail = if gathered > rows {
                mail.slice(0..rows)
            } else {
                mail
            };
            (memory, mail)
        };
        FetchedMemory {
            memory: correction.apply(memory),
            mail,
            mail_row,
            earlier_mail,
            trends: sums,
            times,
        }
    }
}

impl MemoryStore for DeviceMemory {
    fn fetch(&self, request: MemoryRequest<'_>) -> FetchedMemory {
        let mut packing = Packing::new(&self.memory.device());
        let begun = Box::new(self.begin(request, &mut packing));
        begun.finish(&mut packing.send())
    }

    fn begin_fetch(&self, request: MemoryRequest<'_>, packing: &mut Packing) -> BegunFetch<'_> {
        BegunFetch::OnDevice(Box::new(self.begin(request, packing)))
    }

    fn commit(&mut self, commit: MemoryCommit) -> Result<(), MemoryError> {
        let last_writers = &commit.last_writers;
        let device = self.memory.device();
        let written = commit.times.written(last_writers);
        let mail_routing = &commit.mail_routing;
        let places = self.node_times.places(mail_routing);
        let lists = MailList::of(&places, &mail_routing.mail.offsets);
        let mails = &mail_routing.mail.items;
        let mut packing = Packing::new(&device);
        let last_writer = packing.ints(cast_slice(&written), [written.len(), 2]);
        let packed_lists = packing.ints(cast_slice(&lists), [lists.len(), 4]);
        let packed_mails = packing.ints(cast_slice(mails), [mails.len(), 3]);
        let mut sent = packing.send();
        let last_writer = sent.ints(last_writer);
        let lists = MailLists {
            lists: sent.ints(packed_lists),
            mails: sent.ints(packed_mails),
        };
        // Hand over the only handles of the tables, so that they are written in place.
        let nothing = || Tensor::<2>::empty([0, 0], &device);
        let memory = std::mem::replace(&mut self.memory, nothing());
        self.memory = memory_update(memory, commit.memory.clone(), last_writer);

        let mailbox = std::mem::replace(&mut self.mailbox, nothing());
        let [nodes, mails] = mailbox.dims();
        let slots = self.node_times.rule().mail_slots;
        let mailbox = mailbox.reshape([nodes * slots, mails / slots]);
        let watch = MailWatch {
            first: std::mem::replace(&mut self.watched, Tensor::empty([0], &device)),
            commit: self.version + 1,
        };
        let (mailbox, watch) = mail_update(mailbox, commit.memory, commit.edge, lists, watch);
        self.mailbox = mailbox.reshape([nodes, mails]);
        self.watched = watch.first;

        self.node_times
            .commit(last_writers, mail_routing, &commit.times);
        if let (Some(trends), Some(changes)) = (&mut self.trends, commit.changes) {
            trends.add(&commit.times.trends.place, changes);
        }
        self.version += 1;
        Ok(())
    }

    fn node_times(&self) -> &NodeTimes {
        &self.node_times
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn watched(&self) -> Tensor<1> {
        self.watched.clone()
    }

    fn reset(&mut self) {
        self.memory = self.memory.zeros_like();
        self.mailbox = self.mailbox.zeros_like();
        self.watched = self.watched.zeros_like();
        self.node_times.reset();
        if let Some(trends) = &mut self.trends {
            trends.reset();
        }
        self.version = 0;
    }
}

fn ints<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}
