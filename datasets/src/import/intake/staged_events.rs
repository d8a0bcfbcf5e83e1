//! Events on their way into a store: fixed-size records in a file.
//!
//! Read back one after another; only if they must be sorted is the file mapped
//! and an order of 4 bytes an event held (and half as much again to make it).

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};

use crate::error::DataError;
use crate::fields::decimal::Decimal;
use crate::ram::room_for;
use crate::stream::column::Column;

/// An event as staged; `time` is the mantissa of a decimal with `scale`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Staged {
    pub(super) mantissa: i64,
    pub(super) src: u32,
    pub(super) dst: u32,
    pub(super) label: i32,
    pub(super) scale: u8,
    pub(super) roll: u8,
    pub(super) unused: [u8; 2],
}

impl Staged {
    pub(super) fn time(&self) -> Decimal {
        Decimal {
            mantissa: self.mantissa,
            scale: self.scale,
        }
    }
}

/// The records of a file, in the order in which the store will have them.
pub(super) enum StagedEvents {
    InFileOrder(PathBuf, BufReader<File>),
    Sorted(Column<Staged>, Vec<u32>),
}

impl StagedEvents {
    /// `source` is for messages.
    pub(super) fn open(
        path: &Path,
        count: usize,
        sort: bool,
        source: &Path,
    ) -> Result<StagedEvents, DataError> {
        if sort {
            // The order, and half as much again to make it.
            room_for(6 * count as u64).map_err(|problem| {
                DataError::format(
                    source,
                    format!("{count} events are to be sorted, for which {problem}"),
                    "sort the file with another program first (`sort` works on the disk)",
                )
            })?;
            let column: Column<Staged> = Column::map(path, count)?;
            let order = time_order(column.as_slice());
            return Ok(StagedEvents::Sorted(column, order));
        }
        let file = File::open(path).map_err(DataError::io("open", path))?;
        Ok(StagedEvents::InFileOrder(
            path.to_path_buf(),
            BufReader::with_capacity(1 << 18, file),
        ))
    }

    /// Replaces `events` with those of `piece`, which must follow the piece before.
    pub(super) fn read(
        &mut self,
        piece: Range<usize>,
        events: &mut Vec<Staged>,
    ) -> Result<(), DataError> {
        events.clear();
        match self {
            StagedEvents::InFileOrder(path, file) => {
                events.resize(piece.len(), Staged::zeroed());
                file.read_exact(bytemuck::cast_slice_mut(events))
                    .map_err(DataError::io("read", path))
            }
            StagedEvents::Sorted(column, order) => {
                let all = column.as_slice();
                events.extend(order[piece].iter().map(|&event| all[event as usize]));
                Ok(())
            }
        }
    }

    /// The new order of the events, if it is another than the file's.
    pub(super) fn into_order(self) -> Option<Vec<u32>> {
        match self {
            StagedEvents::InFileOrder(..) => None,
            StagedEvents::Sorted(_, order) => Some(order),
        }
    }
}

/// Indices of the events in time order; equal times keep file order.
fn time_order(staged: &[Staged]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..staged.len() as u32).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (staged[a as usize].time(), staged[b as usize].time());
        if a.precedes(b) {
            std::cmp::Ordering::Less
        } else if b.precedes(a) {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    });
    order
}
