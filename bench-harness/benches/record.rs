//! Results of the benches, with everything it belongs to.

use std::fmt;

use mspipe::device::ComputeDevice;
use mspipe::profiler::Work;
use mspipe::profiler::machine::Machine;
use mspipe::profiler::report::cell;
use mspipe_bench::machine;
use serde::Serialize;

/// A time, with the interval of 95 % confidence.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Estimate {
    pub(crate) median_us: f64,
    pub(crate) low_us: f64,
    pub(crate) high_us: f64,
}

/// What a bench is compared with.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Bound {
    what: &'static str,
    time_us: f64,
}

impl Bound {
    pub(crate) fn new(what: &'static str, seconds: f64) -> Bound {
        Bound {
            what,
            time_us: 1e6 * seconds,
        }
    }
}

/// Results of one bench.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    group: &'static str,
    name: String,
    time: Estimate,
    /// What a run deals with: events, roots.
    items: Option<&'static str>,
    items_per_s: Option<f64>,
    bytes: Option<u64>,
    flops: Option<u64>,
    gb_per_s: Option<f64>,
    gflop_per_s: Option<f64>,
    bound: Option<Bound>,
    /// Time of the bound over that of the bench: 1 is perfect.
    of_bound: Option<f64>,
}

impl Entry {
    pub(crate) fn new(
        group: &'static str,
        name: &str,
        time: Estimate,
        work: Option<Work>,
        items: Option<(&'static str, f64)>,
        bound: Option<Bound>,
    ) -> Entry {
        let per_s = |amount: f64| 1e6 * amount / time.median_us;
        Entry {
            group,
            name: name.to_owned(),
            time,
            items: items.map(|(what, _)| what),
            items_per_s: items.map(|(_, count)| per_s(count)),
            bytes: work.map(|work| work.bytes),
            flops: work.map(|work| work.flops),
            gb_per_s: work.map(|work| per_s(work.bytes as f64) / 1e9),
            gflop_per_s: work.map(|work| per_s(work.flops as f64) / 1e9),
            of_bound: bound.map(|bound| bound.time_us / time.median_us),
            bound,
        }
    }
}

/// All benches of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    /// Version and commit.
    program: String,
    /// Processor and system.
    machine: String,
    /// `cpu` or `wgpu`.
    backend: &'static str,
    /// Adapter, driver and API.
    device: String,
    /// What the device reaches, measured before the benches.
    pub(crate) rates: Machine,
    /// The stream of `iteration` and `batches`.
    pub(crate) data: Option<String>,
    /// Each bench.
    pub(crate) entries: Vec<Entry>,
}

impl Record {
    pub(crate) fn new(device: &ComputeDevice, rates: Machine) -> Record {
        Record {
            program: machine::program(),
            machine: machine::machine(),
            backend: device.backend,
            device: device.adapter.clone(),
            rates,
            data: None,
            entries: Vec::new(),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            copy_gb_per_s,
            matmul_gflops,
            threads,
        } = self.rates;
        writeln!(
            f,
            "{}; {}\n{}, {threads} threads; 64 MiB copy {copy_gb_per_s:.1} GB/s, 19800 x 472 x 300 \
             product {matmul_gflops:.1} GFLOP/s",
            self.program, self.machine, self.device
        )?;
        if let Some(data) = &self.data {
            writeln!(f, "{data}")?;
        }
        write!(
            f,
            "\n{:<10} {:<28} {:>10} {:>8} {:>8} {:>20} {:>10} {:>8}  bound",
            "group", "bench", "µs", "GB/s", "GFLOP/s", "items/s", "bound µs", "of bound"
        )?;
        for entry in &self.entries {
            let items = match (entry.items, entry.items_per_s) {
                (Some(what), Some(rate)) if rate >= 1e6 => format!("{:.2} M {what}", rate / 1e6),
                (Some(what), Some(rate)) => format!("{rate:.0} {what}"),
                _ => "-".to_owned(),
            };
            write!(
                f,
                "\n{:<10} {:<28} {:>10.1} {:>8} {:>8} {items:>20} {:>10} {:>8}  {}",
                entry.group,
                entry.name,
                entry.time.median_us,
                cell(entry.gb_per_s, 1),
                cell(entry.gflop_per_s, 1),
                cell(entry.bound.map(|bound| bound.time_us), 1),
                entry
                    .of_bound
                    .map_or_else(|| "-".to_owned(), |of| format!("{:.0} %", 100.0 * of)),
                entry.bound.map_or("-", |bound| bound.what),
            )?;
        }
        Ok(())
    }
}
