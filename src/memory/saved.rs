//! Node memory in checkpoints: tables, mail, times.
//!
//! Invariant: numbers are moved, never computed, and are the same wherever the memory lies, so
//! a memory on the device could resume from what one in RAM left.

use std::borrow::Cow;

use burn::tensor::{Tensor, TensorData};

use super::device::DeviceMemory;
use super::host::HostMemory;
use super::node_memory::NodeMemory;
use super::node_times::{NodeTimes, SavedTimes};
use super::trends::{COMPONENTS, DeviceTrends, HostTrends, SavedTrends};
use super::{MemoryError, MemoryStore as _, read};
use crate::checkpoint::{Arrays, Unfit};

/// What a memory holds, on the host.
#[derive(Debug)]
pub struct SavedMemory<'a> {
    /// `[nodes, width]`.
    rows: Cow<'a, [f32]>,
    /// `[nodes, slots x mail width]`.
    mails: Cow<'a, [f32]>,
    node_times: &'a NodeTimes,
    /// Sums and numbers of changes, where there are trends.
    trends: Option<(Cow<'a, [f32]>, &'a [u32])>,
    version: [i64; 1],
}

impl SavedMemory<'_> {
    /// Adds it to `arrays`, with names that begin with `prefix`.
    pub fn put<'a>(&'a self, arrays: &mut Arrays<'a>, prefix: &str) {
        let nodes = self.node_times.last_update().len();
        let mut table = |name: &str, values: &'a [f32]| {
            let width = values.len() / nodes.max(1);
            arrays.put(format!("{prefix}{name}"), &[nodes, width], values);
        };
        table("rows", &self.rows);
        table("mails", &self.mails);
        if let Some((sums, _)) = &self.trends {
            table("trends", sums);
        }
        arrays.put_column(
            format!("{prefix}last_update"),
            self.node_times.last_update(),
        );
        arrays.put_column(format!("{prefix}mail_time"), self.node_times.mail_time());
        arrays.put_column(format!("{prefix}next_slot"), self.node_times.next_slot());
        arrays.put_column(format!("{prefix}version"), self.version.as_slice());
        if self.node_times.rule().catch_up {
            let [received, absorbed] = self.node_times.received_and_absorbed();
            arrays.put_column(format!("{prefix}received"), received);
            arrays.put_column(format!("{prefix}absorbed"), absorbed);
        }
        if let Some((_, counts)) = self.trends {
            arrays.put_column(format!("{prefix}trend_counts"), counts);
        }
    }
}

impl NodeMemory {
    /// What it holds.
    ///
    /// # Errors
    /// When the device does not hand it over.
    pub fn save(&self) -> Result<SavedMemory<'_>, MemoryError> {
        let version = [self.version() as i64];
        Ok(match self {
            NodeMemory::Device(memory) => {
                let (rows, mails) = memory.tables();
                let trends = match memory.trends.as_ref().map(DeviceTrends::tables) {
                    Some((sums, counts)) => Some((read(sums)?.into(), counts)),
                    None => None,
                };
                SavedMemory {
                    trends,
                    rows: read(rows)?.into(),
                    mails: read(mails)?.into(),
                    node_times: memory.node_times(),
                    version,
                }
            }
            NodeMemory::Host(memory) => memory.save(),
        })
    }

    /// Takes over what another one of the same sizes held, out of `arrays`, whose names have no
    /// prefix any more.
    ///
    /// # Errors
    /// When arrays are missing or of another size; it is unchanged then.
    pub(crate) fn restore(&mut self, arrays: &mut Arrays<'_>) -> Result<(), Unfit> {
        match self {
            NodeMemory::Device(memory) => {
                let trends = memory.trends.is_some();
                let held = Held::take(arrays, memory.shapes(), memory.node_times(), trends)?;
                memory.restore(held);
            }
            NodeMemory::Host(memory) => memory.restore(arrays)?,
        }
        Ok(())
    }
}

/// What arrays hold of a memory.
struct Held {
    rows: Vec<f32>,
    mails: Vec<f32>,
    times: SavedTimes,
    trends: Option<SavedTrends>,
    version: u64,
}

impl Held {
    /// Of a memory whose tables have these shapes.
    fn take(
        arrays: &mut Arrays<'_>,
        shapes: [[usize; 2]; 2],
        node_times: &NodeTimes,
        trends: bool,
    ) -> Result<Held, Unfit> {
        let [nodes, width] = shapes[0];
        let slots = node_times.rule().mail_slots;
        let catch_up = node_times.rule().catch_up;
        let mut counts = |name| match catch_up {
            true => arrays.take_shaped(name, &[nodes]),
            false => Ok(Vec::new()),
        };
        let (received, absorbed) = (counts("received")?, counts("absorbed")?);
        let rows = arrays.take_shaped("rows", &shapes[0])?;
        let mails = arrays.take_shaped("mails", &shapes[1])?;
        let times = SavedTimes {
            last_update: arrays.take_shaped("last_update", &[nodes])?,
            mail_time: arrays.take_shaped("mail_time", &[nodes * slots])?,
            next_slot: arrays.take_shaped("next_slot", &[nodes])?,
            received,
            absorbed,
        };
        if times.next_slot.iter().any(|&slot| slot as usize >= slots) {
            return Err(Unfit::Contradiction {
                name: "next_slot".to_owned(),
                reason: format!("has slots beyond the {slots} that a node has"),
            });
        }
        let trends = match trends {
            true => Some(SavedTrends {
                sums: arrays.take_shaped("trends", &[nodes, COMPONENTS * width])?,
                counts: arrays.take_shaped("trend_counts", &[COMPONENTS * nodes])?,
            }),
            false => None,
        };
        let version: Vec<i64> = arrays.take_shaped("version", &[1])?;
        Ok(Held {
            rows,
            mails,
            times,
            trends,
            version: version[0] as u64,
        })
    }
}

impl DeviceMemory {
    fn restore(&mut self, held: Held) {
        let [rows_shape, mails_shape] = self.shapes();
        let device = self.memory.device();
        self.memory = Tensor::from_data(TensorData::new(held.rows, rows_shape), &device);
        self.mailbox = Tensor::from_data(TensorData::new(held.mails, mails_shape), &device);
        self.node_times.restore(held.times);
        if let (Some(trends), Some(saved)) = (&mut self.trends, held.trends) {
            trends.restore(saved);
        }
        self.version = held.version;
    }

    fn shapes(&self) -> [[usize; 2]; 2] {
        [self.memory.dims(), self.mailbox.dims()]
    }
}

impl HostMemory {
    /// What it holds.
    pub(crate) fn save(&self) -> SavedMemory<'_> {
        let (rows, mails) = self.tables();
        SavedMemory {
            rows: rows.into(),
            mails: mails.into(),
            node_times: self.node_times(),
            trends: (self.trends.as_ref())
                .map(HostTrends::tables)
                .map(|(sums, counts)| (sums.into(), counts)),
            version: [self.version as i64],
        }
    }

    /// As [`NodeMemory::restore`].
    ///
    /// # Errors
    /// When arrays are missing or of another size; it is unchanged then.
    pub(crate) fn restore(&mut self, arrays: &mut Arrays<'_>) -> Result<(), Unfit> {
        let trends = self.trends.is_some();
        let held = Held::take(arrays, self.shapes(), self.node_times(), trends)?;
        self.memory = held.rows;
        self.mailbox = held.mails;
        self.node_times.restore(held.times);
        if let (Some(trends), Some(saved)) = (&mut self.trends, held.trends) {
            trends.restore(saved);
        }
        self.version = held.version;
        Ok(())
    }

    fn shapes(&self) -> [[usize; 2]; 2] {
        let nodes = self.node_times.last_update().len();
        let width = |table: &[f32]| table.len() / nodes.max(1);
        [[nodes, width(&self.memory)], [nodes, width(&self.mailbox)]]
    }
}
