//! Estimates the RAM and device memory that a run needs, before anything is allocated.
//!
//! Counted structure by structure from the settings and the stream's counts, as an upper bound:
//! each root finds all the past events that it asks for, and all of them name different nodes, as
//! far as the stream has that many.
//! All of it is counted (`sizes`) but `PROGRAM_BYTES`, `THREAD_BYTES`, `DRIVER_BYTES` and `SLACK`, which
//! are fitted to what runs took.
//!
//! Columns and features of a store are mapped, not read: the operating system keeps as much of
//! them as there is room for. They are told, but nothing is refused for them.

mod features;
mod machine;
mod pairs;
mod parameters;
mod ranks;
mod refusal;
mod sizes;

use std::fmt;

use indicatif::{HumanBytes, HumanCount};
use mspipe_datasets::ram;
use serde::Serialize;

use ranks::Ranks;
use sizes::{OTHER_THREADS, Sizes, THREAD_BYTES};

pub(super) use features::FeatureTables;
use features::MOST_BYTES;
pub use features::PlacedTable;
#[cfg(any(test, feature = "mpi"))]
pub(super) use machine::Needs;
pub use machine::Together;
pub use refusal::TooLarge;
pub use sizes::Share;

use super::stream::OpenStream;
use crate::config::FeaturePlace;
use crate::device::{AdapterClass, AdapterReport};
use crate::pipeline::profile::Residency;

/// What the program takes by itself, on the CPU device.
const PROGRAM_BYTES: u64 = 80 << 20;

/// What a graphics driver takes more.
const DRIVER_BYTES: u64 = 120 << 20;

const FEATURES_REMEDY: &str = "--features host, which gathers a batch's rows in RAM";

/// The memory that a run needs; see the module.
#[derive(Debug, Clone, Serialize)]
pub struct Footprint {
    /// Name of the adapter; None on the CPU device.
    pub adapter: Option<String>,
    /// What selects it, `gpu:N` or the like.
    #[serde(skip)]
    pub device: Option<String>,
    /// Whether the device's memory is RAM: of the CPU device, a software adapter, an integrated GPU.
    pub device_is_ram: bool,
    /// The structures.
    pub shares: Vec<Share>,
    /// RAM at the peak.
    pub ram_bytes: u64,
    /// The device's memory at the peak, 0 on the CPU device; where it is RAM, `ram_bytes` has it too.
    pub device_bytes: u64,
    /// Memory of the adapter's own, where it has some and its driver tells how much.
    pub adapter_bytes: Option<u64>,
    /// Tables of edge and node features, as far as the stream has them.
    pub features: Vec<PlacedTable>,
    /// Rows of both in the device's memory.
    #[serde(skip)]
    pub(super) feature_slots: [usize; 2],
    /// Refused: a size that was asked for, and the least that won't be.
    #[serde(skip)]
    feature_bytes: Option<[u64; 2]>,
    /// Rows of both that a batch may read.
    #[serde(skip)]
    batch_rows: [u64; 2],
    /// Columns and features mapped from the store.
    pub mapped_bytes: u64,
    /// RAM that is available now, to this process and within its control group.
    pub available_bytes: u64,
    /// Larger table of features on the device.
    pub largest_feature_bytes: u64,
    /// Largest table of node memory that a kernel binds, and the most that the adapter binds.
    pub largest_table_bytes: u64,
    /// Most bytes of a table that the adapter binds.
    pub adapter_table_bytes: Option<u64>,
    /// What it needs together with the other ranks that are processes of its machine, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<Together>,
}

impl Footprint {
    /// The footprint of training on `stream`, with `adapter` or on the CPU.
    pub(super) fn of(stream: &OpenStream, adapter: Option<&AdapterReport>) -> Footprint {
        let tables = FeatureTables::of(stream);
        let base = Footprint::without_features(stream, adapter);
        let ranks = Ranks::of(stream.config.training.ranks);
        let placed = |slots| base.clone().with_features(&tables, slots, ranks.here);
        let host = || placed([0; 2]);
        match (stream.config.pipeline.features, adapter) {
            (FeaturePlace::Host, _) | (FeaturePlace::Auto, None) => host(),
            (FeaturePlace::Device, _) => placed(tables.whole()),
            (FeaturePlace::Part(bytes), _) => {
                let placed = placed(tables.within(bytes, base.most_feature_bytes()));
                let least = tables.least_bytes(&placed.features);
                Footprint {
                    feature_bytes: Some([bytes, least]),
                    ..placed
                }
            }
            // It reads both from RAM, and gathers more slowly than the host.
            (_, Some(adapter)) if adapter.class == AdapterClass::Software => host(),
            _ if tables.whole() == [0; 2] => host(),
            _ => {
                let whole = placed(tables.whole());
                if whole.has_room() {
                    return whole;
                }
                let part = |bytes| placed(tables.within(bytes, base.most_feature_bytes()));
                // Where a batch reads no past events, its own are those that were wanted an epoch ago.
                let reads_again = stream.needs.layers > 0;
                let of_each =
                    (base.room_for_part()).filter(|_| reads_again && !ranks.are_processes());
                of_each
                    .map(|bytes| part(bytes / ranks.here))
                    .filter(|part| part.has_room())
                    .filter(|part| part.features.iter().all(PlacedTable::holds_batches))
                    .unwrap_or_else(host)
            }
        }
    }

    /// The same with so many rows of edge and node features on the device, of each of the `ranks` that share the
    /// process.
    fn with_features(self, tables: &FeatureTables, slots: [u64; 2], ranks: u64) -> Footprint {
        let bytes = tables.bytes(slots);
        let ram = ranks * tables.ram_bytes(slots);
        let device = ranks * bytes.iter().sum::<u64>();
        let mut shares = self.shares;
        if device > 0 {
            shares.push(Share {
                what: "features on the device",
                ram_bytes: ram,
                device_bytes: device,
                remedy: FEATURES_REMEDY,
            });
        }
        let as_ram = if self.device_is_ram { device } else { 0 };
        let as_device = if self.adapter.is_some() { device } else { 0 };
        Footprint {
            shares,
            ram_bytes: self.ram_bytes + ram + as_ram,
            device_bytes: self.device_bytes + as_device,
            features: tables.placed(slots, self.batch_rows),
            feature_slots: slots.map(|slots| slots as usize),
            largest_feature_bytes: bytes[0].max(bytes[1]),
            ..self
        }
    }

    /// All but edge and node features on the device.
    fn without_features(stream: &OpenStream, adapter: Option<&AdapterReport>) -> Footprint {
        let sizes = Sizes::of(stream);
        let shares = sizes.shares(stream);
        let sum = |of: fn(&Share) -> u64| shares.iter().map(of).sum::<u64>();
        let (ram, device) = (
            sum(|share| share.ram_bytes),
            sum(|share| share.device_bytes),
        );
        let program = PROGRAM_BYTES + THREAD_BYTES * (sizes.threads + OTHER_THREADS);
        let log = &stream.log;
        let features = [log.edge_features(), log.node_features()];
        let mapped = features
            .into_iter()
            .flatten()
            .map(|table| table.as_bytes().len() as u64);
        let device_is_ram = adapter.is_none_or(AdapterReport::shares_ram);
        let driver = adapter.map_or(0, |_| DRIVER_BYTES);
        let ram_bytes = ram + program + driver + if device_is_ram { device } else { 0 };
        Footprint {
            adapter: adapter.map(|adapter| adapter.name.clone()),
            device: adapter.map(|adapter| adapter.device.clone()),
            device_is_ram,
            ram_bytes,
            device_bytes: adapter.map_or(0, |_| device),
            adapter_bytes: adapter
                .filter(|_| !device_is_ram)
                .and_then(|adapter| adapter.memory_bytes),
            mapped_bytes: 16 * sizes.events + mapped.sum::<u64>(),
            available_bytes: ram::available_bytes(),
            features: Vec::new(),
            feature_slots: [0; 2],
            feature_bytes: None,
            batch_rows: sizes.batch.feature_rows,
            largest_feature_bytes: 0,
            largest_table_bytes: match stream.config.pipeline.memory {
                Residency::Device => sizes.nodes * sizes.mailbox_bytes,
                Residency::Host => 0,
            },
            adapter_table_bytes: adapter
                .map(|adapter| adapter.binding_bytes.min(adapter.buffer_bytes)),
            together: None,
            shares,
        }
    }

    /// Whether features on the device leave it room: of RAM what there is, of a card's own memory, of which
    /// others take some, a quarter. One whose driver does not tell has none.
    fn has_room(&self) -> bool {
        let binds = self.largest_feature_bytes <= self.most_feature_bytes();
        binds
            && self.ram_bytes <= self.available_bytes
            && (self.device_is_ram
                || (self.adapter_bytes).is_some_and(|has| self.device_bytes <= has / 4 * 3))
    }

    /// What a card's own memory has left for a part of the features, if its driver tells. Where device memory is RAM, the
    /// pages of mapped features are as near.
    fn room_for_part(&self) -> Option<u64> {
        let has = self.adapter_bytes.filter(|_| !self.device_is_ram)?;
        Some((has / 4 * 3).saturating_sub(self.device_bytes))
    }

    /// What a table of features may have at most.
    fn most_feature_bytes(&self) -> u64 {
        let binds = self.adapter_table_bytes.unwrap_or(MOST_BYTES);
        binds.min(MOST_BYTES)
    }
}

#[cfg(any(test, feature = "mpi"))]
impl Footprint {
    /// What this process tells the other ranks.
    pub(super) fn needs(&self) -> Needs {
        let adapter = (!self.device_is_ram).then(|| self.device.clone());
        Needs {
            ram_bytes: self.ram_bytes,
            available_bytes: self.available_bytes,
            adapter: adapter.flatten(),
            device_bytes: self.device_bytes,
        }
    }

    /// The same for one of the ranks `here`, which are processes of one machine; `all` is what each rank needs.
    pub(super) fn together(mut self, here: &[usize], all: &[Needs]) -> Footprint {
        self.together = Together::of(&self.needs(), here, all);
        self
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_cpu = self.adapter.is_none();
        let shares = self.shares.iter().map(|share| match on_cpu {
            true => (share.what, share.ram_bytes + share.device_bytes, 0),
            false => (share.what, share.ram_bytes, share.device_bytes),
        });
        let all = self.together.as_ref();
        let together = all.map(|all| {
            let what = format!("all {} ranks of this machine", all.ranks.len());
            (what, all.ram_bytes, all.device_bytes)
        });
        let available = all.map_or(self.available_bytes, |all| all.available_bytes);
        let sums = [
            (
                "all, with the program itself",
                self.ram_bytes,
                self.device_bytes,
            ),
            ("available", available, self.adapter_bytes.unwrap_or(0)),
            ("mapped, released on demand", self.mapped_bytes, 0),
        ];
        write!(f, "  {:<34} {:>12} {:>12}", "at most", "RAM", "device")?;
        let [all, rest @ ..] = sums;
        let together = (together.iter()).map(|(what, ram, device)| (what.as_str(), *ram, *device));
        for (what, ram, device) in shares.chain([all]).chain(together).chain(rest) {
            let [ram, device] = [ram, device].map(|bytes| match bytes {
                0 => "-".to_owned(),
                _ => HumanBytes(bytes).to_string(),
            });
            write!(f, "\n  {what:<34} {ram:>12} {device:>12}")?;
        }
        for table in self.features.iter().filter(|table| table.is_part()) {
            let (part, rows) = (HumanCount(table.on_device), HumanCount(table.rows));
            write!(
                f,
                "\n  of {}, {part} of {rows} rows on the device, those that were wanted last",
                table.table
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mspipe_datasets::Stop;

    use super::super::opening::Begin;
    use super::*;
    use crate::config::RunConfig;
    use crate::device::KernelChoice;
    use crate::features::FeatureSource;
    use crate::model::ModelName;

    /// Of APAN, which keeps ten mails of a node, in small batches on an adapter of this class with so much memory.
    fn on(class: AdapterClass, memory_bytes: Option<u64>) -> Footprint {
        placed(FeaturePlace::Host, class, memory_bytes)
    }

    /// The same with random features of the width of Wikipedia's, kept there.
    fn placed(features: FeaturePlace, class: AdapterClass, memory_bytes: Option<u64>) -> Footprint {
        placed_on(ModelName::Apan, features, &adapter(class, memory_bytes))
    }

    fn placed_on(model: ModelName, features: FeaturePlace, adapter: &AdapterReport) -> Footprint {
        let mut config = RunConfig::default();
        config.source.data = "synthetic:wikipedia:scale=0.3".to_owned();
        config.model.name = model;
        config.training.batch_size = 20;
        config.pipeline.features = features;
        config.stream.edge_features = FeatureSource::Random(172);
        let stream = OpenStream::open(config, Begin::Fresh, &Stop::default()).unwrap();
        Footprint::of(&stream, Some(adapter))
    }

    fn adapter(class: AdapterClass, memory_bytes: Option<u64>) -> AdapterReport {
        AdapterReport {
            device: "gpu:0".to_owned(),
            name: "a card".to_owned(),
            api: "vulkan".to_owned(),
            driver: "driver 1".to_owned(),
            class,
            real: class != AdapterClass::Software,
            kernels: KernelChoice::Auto.on(class),
            memory_bytes,
            binding_bytes: 1 << 40,
            buffer_bytes: 1 << 40,
            storage_buffers: 8,
            workgroup_bytes: 16_384,
            unfit: None,
            auto: true,
        }
    }

    #[test]
    fn memory_of_integrated_and_software_adapters_is_ram() {
        let [own, integrated, software] = [
            AdapterClass::Discrete,
            AdapterClass::Integrated,
            AdapterClass::Software,
        ]
        .map(|class| on(class, Some(1)));
        assert!(own.device_bytes > 10 << 20, "{}", own.device_bytes);
        assert!(!own.device_is_ram && own.adapter_bytes == Some(1));
        for shared in [integrated, software] {
            assert!(shared.device_is_ram && shared.adapter_bytes.is_none());
            assert_eq!(shared.ram_bytes, own.ram_bytes + own.device_bytes);
            assert_eq!(shared.device_bytes, own.device_bytes);
        }
    }

    #[test]
    fn features_go_where_they_fit() {
        use FeaturePlace::{Auto, Device, Host};
        let card = |place, has| placed(place, AdapterClass::Discrete, has);
        let (host, device) = (card(Host, None), card(Device, None));
        let whole = |footprint: &Footprint| {
            let tables = &footprint.features;
            tables.iter().all(|table| table.on_device == table.rows)
        };
        assert!(!whole(&host) && whole(&device) && device.features.len() == 1);
        let tables = device.device_bytes - host.device_bytes;
        assert_eq!(tables, device.largest_feature_bytes);
        assert_eq!(tables % (4 * 172), 0);
        assert!(tables > 20 << 20, "{tables}");
        // A quarter of the card is left to others; a driver may not tell what it has.
        let needs = device.device_bytes.div_ceil(3) * 4;
        for (has, fits) in [(Some(needs), true), (Some(needs - 8), false), (None, false)] {
            assert_eq!(whole(&card(Auto, has)), fits, "{has:?}");
        }
        assert!(whole(&placed(Auto, AdapterClass::Integrated, None)));
        assert_eq!(
            placed(Auto, AdapterClass::Software, None).feature_slots,
            [0; 2]
        );
        // Shaders count words in 32 bits, and an adapter binds as much as it does.
        let mut small = card(Device, None);
        small.adapter_table_bytes = Some(tables - 1);
        small.largest_table_bytes = 0;
        let refused = small.check().unwrap_err().to_string();
        for part in ["the larger table of features has ", "try --features host"] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }

    #[test]
    fn a_part_of_the_features_goes_where_all_do_not_fit() {
        use FeaturePlace::{Auto, Device, Part};
        const ROW: u64 = 4 * 172;
        let card = |place, has| {
            let adapter = adapter(AdapterClass::Discrete, has);
            placed_on(ModelName::Tgn, place, &adapter)
        };
        let whole = card(Device, None);
        let (rows, needs) = (whole.features[0].rows, whole.device_bytes);
        let part = card(Part(1000 * ROW), None);
        assert_eq!(
            (part.feature_slots, part.largest_feature_bytes),
            ([1000, 0], 1000 * ROW)
        );
        assert_eq!(whole.device_bytes - part.device_bytes, (rows - 1000) * ROW);
        let line = format!(
            "of edge features, 1,000 of {} rows on the device",
            HumanCount(rows)
        );
        assert!(part.to_string().contains(&line), "{part}");
        assert_eq!(
            card(Part(u64::MAX), None).feature_slots,
            whole.feature_slots
        );
        // What a card has left, down to the rows of a few batches.
        let left = |rows: u64| (needs - (whole.features[0].rows - rows) * ROW).div_ceil(3) * 4;
        let few = 4 * whole.features[0].of_batch;
        assert!(few < rows / 2, "{few}");
        for (own, expected) in [(rows / 2, rows / 2), (few, few), (few - 1, 0)] {
            let found = card(Auto, Some(left(own))).feature_slots[0] as u64;
            assert!((expected..=expected + 1).contains(&found), "{own}: {found}");
        }
        // Room for less than a batch reads in a few pieces is none.
        let least = whole.features[0].of_batch.div_ceil(16) * ROW;
        assert!(card(Part(least), None).check_slots().is_ok());
        let refused = card(Part(least - 1), None)
            .check_slots()
            .unwrap_err()
            .to_string();
        for part in [
            "--features device:",
            "rows of edge features",
            "or choose --features host",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        let half = AdapterReport {
            binding_bytes: 3000 * ROW + 7,
            ..adapter(AdapterClass::Discrete, Some(u64::MAX))
        };
        let found = placed_on(ModelName::Tgn, Auto, &half).feature_slots;
        assert_eq!(found, [3000, 0]);
        // Who reads each event once an epoch finds none that is there.
        let found = placed_on(ModelName::Apan, Auto, &half).feature_slots;
        assert_eq!(found, [0; 2]);
    }

    #[test]
    fn ranks_of_one_machine_are_added_up() {
        let card = |bytes| on(AdapterClass::Discrete, Some(bytes));
        let one = card(u64::MAX);
        let among = |footprint: Footprint, here: &[usize]| {
            let all = [footprint.needs(), footprint.needs(), footprint.needs()];
            footprint.together(here, &all)
        };
        // Each would fit, two of three do not.
        let mut tight = card(one.device_bytes + 1);
        assert!(among(tight.clone(), &[1]).check().is_ok());
        let refused = among(tight.clone(), &[0, 2])
            .check()
            .unwrap_err()
            .to_string();
        for part in [
            "ranks 0, 2, which work on one adapter",
            "--device gpu:local-rank",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        tight.adapter_bytes = Some(3 * one.device_bytes);
        tight.available_bytes = 2 * one.ram_bytes;
        let two = among(tight.clone(), &[0, 1]);
        assert!(two.check().is_ok());
        assert_eq!(
            two.together
                .as_ref()
                .map(|all| (all.ram_bytes, all.device_bytes)),
            Some((2 * one.ram_bytes, 2 * one.device_bytes))
        );
        assert!(
            two.to_string().contains("all 2 ranks of this machine"),
            "{two}"
        );
        let refused = among(tight.clone(), &[0, 1, 2])
            .check()
            .unwrap_err()
            .to_string();
        for part in [
            "ranks 0 to 2, which are processes of one machine",
            "fewer ranks",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        // Another card of the same name is another.
        let needs = tight.needs();
        let mut other = tight.clone();
        other.device = Some("gpu:1".to_owned());
        let apart = other.together(&[0, 1], &[needs, tight.needs()]);
        assert_eq!(apart.together.map(|all| all.device_bytes), Some(0));
    }

    #[test]
    fn what_a_card_won_t_hold_is_refused_where_its_driver_tells_how_much_it_has() {
        let needed = on(AdapterClass::Discrete, None);
        assert!(needed.check_device().is_ok());
        let has = |bytes| on(AdapterClass::Discrete, Some(bytes)).check_device();
        assert!(has(needed.device_bytes).is_ok());
        let refused = has(needed.device_bytes - 1).unwrap_err().to_string();
        for part in [
            "of the memory of a card, which has ",
            "Most of it is mailbox; try --memory host, which keeps it in RAM, or a smaller --width",
            "--no-memory-check trains anyway",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }
}
