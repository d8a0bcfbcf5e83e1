//! Tables of edge and node features, and how many of their rows a device holds.

use mspipe_datasets::EventLog;
use serde::Serialize;

use crate::config::{FeaturePlace, StreamSettings};
use crate::features::resident::FILLING_BYTES;
use crate::features::{Features, ROW_BYTES, SLOT_BYTES};
use crate::session::stream::OpenStream;

/// Batches whose rows a part of a table holds at least, where nobody has asked for it: with fewer, most rows are
/// displaced before they are wanted again.
const FEW_BATCHES: u64 = 4;

/// Pieces in which a batch may read its rows at most: each takes two launches.
const MOST_PIECES: u64 = 16;

/// What a table may have at most: shaders count its words in 32 bits.
pub(super) const MOST_BYTES: u64 = 4 * u32::MAX as u64;

/// A table, and how much of it a device holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacedTable {
    /// `edge features` or `node features`.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// Those for which there is room on the device: all of them, those that were wanted last, or none.
    pub on_device: u64,
    /// Bytes of that room.
    pub bytes: u64,
    /// Rows of it that a batch may read.
    #[serde(skip)]
    pub(super) of_batch: u64,
}

/// Tables of edge and of node features, by their rows and the bytes of each as a device holds them.
pub(crate) struct FeatureTables {
    rows: [u64; 2],
    row_bytes: [u64; 2],
}

impl FeatureTables {
    pub(crate) fn of(stream: &OpenStream) -> FeatureTables {
        let rows = [stream.events, stream.log.nodes()];
        FeatureTables::new(&stream.log, &stream.config.stream, rows)
    }

    fn new(log: &EventLog, of: &StreamSettings, rows: [usize; 2]) -> FeatureTables {
        let row_bytes = Features::resident_row_bytes(log, [of.edge_features, of.node_features]);
        FeatureTables {
            rows: [0, 1].map(|table| match row_bytes[table] {
                0 => 0,
                _ => rows[table] as u64,
            }),
            row_bytes,
        }
    }

    /// Rows on the device where they are asked for, whatever it has.
    pub(crate) fn asked(&self, place: FeaturePlace) -> [usize; 2] {
        let slots = match place {
            FeaturePlace::Auto | FeaturePlace::Host => [0; 2],
            FeaturePlace::Device => self.whole(),
            FeaturePlace::Part(bytes) => self.within(bytes, MOST_BYTES),
        };
        slots.map(|slots| slots as usize)
    }

    pub(super) fn whole(&self) -> [u64; 2] {
        self.rows
    }

    /// As many rows as fit into so many bytes, each table into `most`: it may have half, and what one does not need is
    /// the other's.
    pub(super) fn within(&self, bytes: u64, most: u64) -> [u64; 2] {
        let needs = self.bytes(self.rows).map(|bytes| bytes.min(most));
        [0, 1].map(|table| {
            let left = bytes - needs[1 - table].min(bytes / 2);
            match self.row_bytes[table] {
                0 => 0,
                of_row => needs[table].min(left) / of_row,
            }
        })
    }

    /// Bytes of so many rows of each.
    pub(super) fn bytes(&self, slots: [u64; 2]) -> [u64; 2] {
        [0, 1].map(|table| slots[table] * self.row_bytes[table])
    }

    /// RAM for these: of a whole table while it is filled, of a part to know what it holds.
    pub(super) fn ram_bytes(&self, slots: [u64; 2]) -> u64 {
        let (mut filling, mut known) = (0, 0);
        for (table, bytes) in self.bytes(slots).into_iter().enumerate() {
            match slots[table] {
                0 => {}
                all if all == self.rows[table] => filling += bytes,
                part => known += ROW_BYTES * self.rows[table] + SLOT_BYTES * part,
            }
        }
        filling.min(FILLING_BYTES) + known
    }

    /// Those that have rows, where so many lie on the device and a batch may read so many.
    pub(super) fn placed(&self, slots: [u64; 2], of_batch: [u64; 2]) -> Vec<PlacedTable> {
        let bytes = self.bytes(slots);
        let names = ["edge features", "node features"];
        let tables = [0, 1].map(|table| PlacedTable {
            table: names[table],
            rows: self.rows[table],
            on_device: slots[table],
            bytes: bytes[table],
            of_batch: of_batch[table].min(self.rows[table]),
        });
        tables.into_iter().filter(|table| table.rows > 0).collect()
    }

    /// The least bytes that nobody is refused for.
    pub(super) fn least_bytes(&self, tables: &[PlacedTable]) -> u64 {
        let rows = |table: &PlacedTable| table.of_batch.div_ceil(MOST_PIECES);
        let all = tables
            .iter()
            .zip(self.row_bytes.iter().filter(|of| **of > 0));
        let most = all.map(|(table, of_row)| rows(table) * of_row).max();
        tables.len() as u64 * most.unwrap_or(0)
    }
}

impl PlacedTable {
    /// Whether it is neither whole on the device nor in RAM.
    pub(super) fn is_part(&self) -> bool {
        (1..self.rows).contains(&self.on_device)
    }

    /// Whether a batch would read its rows in too many pieces.
    pub(super) fn is_too_small(&self) -> bool {
        self.on_device < self.of_batch.div_ceil(MOST_PIECES)
    }

    /// Whether it holds the rows of a few batches.
    pub(super) fn holds_batches(&self) -> bool {
        self.on_device >= self.rows.min(FEW_BATCHES * self.of_batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_share_what_there_is() {
        let tables = FeatureTables {
            rows: [1000, 100],
            row_bytes: [40, 8],
        };
        for (bytes, most, expected) in [
            (u64::MAX, u64::MAX, [1000, 100]),
            (40_800, u64::MAX, [1000, 100]),
            (40_799, u64::MAX, [999, 100]),
            // Of the smaller table all, as long as it is within half.
            (1600, u64::MAX, [20, 100]),
            (1500, u64::MAX, [18, 93]),
            (u64::MAX, 400, [10, 50]),
            (7, u64::MAX, [0, 0]),
            (0, u64::MAX, [0, 0]),
        ] {
            let slots = tables.within(bytes, most);
            assert_eq!(slots, expected, "{bytes} {most}");
            assert!(tables.bytes(slots).iter().sum::<u64>() <= bytes);
        }
        let none = FeatureTables {
            rows: [1000, 0],
            row_bytes: [40, 0],
        };
        assert_eq!(none.within(4000, u64::MAX), [100, 0]);
        assert_eq!(none.placed([100, 0], [5, 5]).len(), 1);
        assert_eq!(none.ram_bytes([100, 0]), 4 * 1000 + 12 * 100);
        assert_eq!(none.ram_bytes([1000, 0]), 40_000);
    }
}
