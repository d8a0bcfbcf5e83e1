//! Why a run is refused that does not fit, and what would make it fit.

use indicatif::{HumanBytes, HumanCount};
use thiserror::Error;

use super::features::PlacedTable;
use super::machine::{self, Together};
use super::sizes::{MAILBOX, NODE_MEMORY};
use super::{FEATURES_REMEDY, Footprint};
use crate::config::FeaturePlace;

/// A run that does not fit.
#[derive(Debug, Error)]
pub enum TooLarge {
    /// RAM won't do.
    #[error(
        "this run needs up to {} of RAM, and {} are available:\n{footprint}\n\
         Most of it is {largest}; try {remedy}. --no-memory-check trains anyway",
        HumanBytes(footprint.ram_bytes), HumanBytes(footprint.available_bytes)
    )]
    Ram {
        /// The figures.
        footprint: Box<Footprint>,
        /// The largest structure.
        largest: &'static str,
        /// What makes it smaller.
        remedy: &'static str,
    },
    /// The device's memory won't do.
    #[error(
        "this run needs up to {} of the memory of {adapter}, which has {}:\n{footprint}\n\
         Most of it is {largest}; try {remedy}. --no-memory-check trains anyway",
        HumanBytes(footprint.device_bytes), HumanBytes(*has)
    )]
    Device {
        /// The figures.
        footprint: Box<Footprint>,
        /// The adapter.
        adapter: String,
        /// Bytes that it has.
        has: u64,
        /// The largest structure on it.
        largest: &'static str,
        /// What makes it smaller.
        remedy: String,
    },
    /// RAM won't do for all processes of a machine, though it would for each.
    #[error(
        "{}, which are processes of one machine, need up to {} of RAM together, and {} are available; each has \
         its own, this one:\n{footprint}\n\
         Most of it is {largest}; try fewer ranks on each machine, or {remedy}. --no-memory-check trains anyway",
        machine::in_words(&together.ranks), HumanBytes(together.ram_bytes), HumanBytes(together.available_bytes)
    )]
    Machine {
        /// The figures of one.
        footprint: Box<Footprint>,
        /// Those of all of them.
        together: Together,
        /// The largest structure.
        largest: &'static str,
        /// What makes it smaller.
        remedy: &'static str,
    },
    /// The memory of an adapter won't do for all processes that work on it, though it would for each.
    #[error(
        "{}, which work on one adapter, need up to {} of the memory of {adapter} together, which has {}; give each \
         one of its own with --device gpu:local-rank, or start fewer ranks on the machine. --no-memory-check trains \
         anyway",
        machine::in_words(&together.on_adapter), HumanBytes(together.device_bytes), HumanBytes(*has)
    )]
    Adapter {
        /// The figures of all of them.
        together: Together,
        /// The adapter.
        adapter: String,
        /// Bytes that it has.
        has: u64,
    },
    /// There is room for too few rows of a table of features.
    #[error(
        "--features {place} has room for {} of the {} rows of {}, and a batch may read {} of them; give it {} or \
         more, or choose {remedy}",
        HumanCount(table.on_device), HumanCount(table.rows), table.table, HumanCount(table.of_batch), HumanBytes(*least)
    )]
    Slots {
        /// What was asked for.
        place: FeaturePlace,
        /// Which table.
        table: PlacedTable,
        /// Bytes that would do.
        least: u64,
        /// What takes none.
        remedy: &'static str,
    },
    /// A table is larger than the adapter binds.
    #[error(
        "{what} has {}, but {adapter} binds at most {} at once; try {remedy}",
        HumanBytes(*table), HumanBytes(*most)
    )]
    Table {
        /// Which table.
        what: &'static str,
        /// Bytes of the table.
        table: u64,
        /// The adapter.
        adapter: String,
        /// Most bytes that it binds.
        most: u64,
        /// What makes it smaller.
        remedy: &'static str,
    },
}

impl TooLarge {
    /// Advises what a run that is resumed can still do: its settings can't be others.
    pub(crate) fn of_resumed(&mut self) {
        match self {
            TooLarge::Ram { remedy, .. } | TooLarge::Machine { remedy, .. } => {
                *remedy = "fewer --threads, or a machine with more RAM";
            }
            // What it advises changes no number.
            TooLarge::Adapter { .. } | TooLarge::Slots { .. } => {}
            TooLarge::Table { remedy, .. } => *remedy = "the device that the run began on",
            TooLarge::Device { remedy, .. } => {
                "the device that the run began on".clone_into(remedy)
            }
        }
    }
}

impl Footprint {
    /// Refuses room that was asked for and is none to speak of.
    pub(super) fn check_slots(&self) -> Result<(), TooLarge> {
        let Some([bytes, least]) = self.feature_bytes else {
            return Ok(());
        };
        match self.features.iter().find(|table| table.is_too_small()) {
            Some(table) => Err(TooLarge::Slots {
                place: FeaturePlace::Part(bytes),
                table: table.clone(),
                least,
                remedy: FEATURES_REMEDY,
            }),
            None => Ok(()),
        }
    }

    /// Refuses what won't fit.
    ///
    /// # Errors
    /// When RAM won't do, or the adapter can't bind a table.
    pub fn check(&self) -> Result<(), TooLarge> {
        if let (Some(most), Some(adapter)) = (self.adapter_table_bytes, &self.adapter)
            && self.largest_table_bytes > most
        {
            return Err(TooLarge::Table {
                what: "the node memory's largest table",
                table: self.largest_table_bytes,
                adapter: adapter.clone(),
                most,
                remedy: "--memory host, which keeps it in RAM, or a smaller --width or --mail-slots",
            });
        }
        if let (most, Some(adapter)) = (self.most_feature_bytes(), &self.adapter)
            && self.largest_feature_bytes > most
        {
            return Err(TooLarge::Table {
                what: "the larger table of features",
                table: self.largest_feature_bytes,
                adapter: adapter.clone(),
                most,
                remedy: FEATURES_REMEDY,
            });
        }
        self.check_slots()?;
        self.check_device()?;
        let largest = self
            .shares
            .iter()
            .max_by_key(|share| match self.device_is_ram {
                true => share.ram_bytes + share.device_bytes,
                false => share.ram_bytes,
            });
        match (largest, &self.together) {
            (Some(largest), _) if self.ram_bytes > self.available_bytes => Err(TooLarge::Ram {
                footprint: Box::new(self.clone()),
                largest: largest.what,
                remedy: largest.remedy,
            }),
            (Some(largest), Some(all)) if all.ram_bytes > all.available_bytes => {
                Err(TooLarge::Machine {
                    footprint: Box::new(self.clone()),
                    together: all.clone(),
                    largest: largest.what,
                    remedy: largest.remedy,
                })
            }
            _ => Ok(()),
        }
    }

    /// Refuses what the device's own memory won't hold.
    pub(super) fn check_device(&self) -> Result<(), TooLarge> {
        let largest = self.shares.iter().max_by_key(|share| share.device_bytes);
        let (Some(has), Some(adapter), Some(largest)) =
            (self.adapter_bytes, &self.adapter, largest)
        else {
            return Ok(());
        };
        if self.device_bytes <= has {
            return match &self.together {
                Some(all) if all.device_bytes > has => Err(TooLarge::Adapter {
                    together: all.clone(),
                    adapter: adapter.clone(),
                    has,
                }),
                _ => Ok(()),
            };
        }
        Err(TooLarge::Device {
            footprint: Box::new(self.clone()),
            adapter: adapter.clone(),
            has,
            largest: largest.what,
            remedy: match [NODE_MEMORY, MAILBOX].contains(&largest.what) {
                true => format!(
                    "--memory host, which keeps it in RAM, or {}",
                    largest.remedy
                ),
                false => largest.remedy.to_owned(),
            },
        })
    }
}
