//! Runs benches under criterion and keeps what each gave beside its bound.
//!
//! A bench is prepared only when criterion's filter lets it run, and its bound is measured right
//! after it. Where criterion only lists or tests benches there is nothing to keep.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use criterion::Criterion;
use mspipe::console;
use mspipe::device::{self, ComputeDevice, DeviceChoice};
use mspipe::profiler::Work;
use mspipe::profiler::machine::{self, Machine};
use mspipe_datasets::whole_file::{self, Existing};
use serde_json::Value;

use crate::record::{Bound, Entry, Estimate, Record};
use crate::stream;

/// Calls between two waits for the device, so that waiting is a small share.
const CALLS: u64 = 8;

/// Copies that are timed; the median counts.
const COPIES: usize = 15;

/// Runs a bench so many times, and tells how long that took.
pub(crate) type Run = Box<dyn FnMut(u64) -> Result<Duration>>;

/// A bench that is ready to run.
pub(crate) struct Prepared {
    /// Runs it.
    pub(crate) run: Run,
    /// What one run reads, writes and computes, where it is counted.
    pub(crate) work: Option<Work>,
    /// What one run deals with, and how many of them.
    pub(crate) items: Option<(&'static str, f64)>,
    /// What it is compared with.
    pub(crate) bound: Limit,
}

/// What a bench is compared with.
pub(crate) enum Limit {
    /// The longer of a copy of its bytes and its operations at the rate of the large product.
    Work,
    /// The same, with bytes at the rate of a large copy.
    LargeWork,
    /// Anything else, measured when it is asked for: what it is and its seconds.
    Seconds(&'static str, Box<dyn FnOnce() -> Result<f64>>),
    /// Nothing.
    None,
}

/// Criterion, the device, and what was measured so far.
pub(crate) struct Suite {
    criterion: Criterion,
    folder: PathBuf,
    device: ComputeDevice,
    record: Record,
}

impl Suite {
    /// Opens the device and measures what it reaches.
    pub(crate) fn begin() -> Result<Suite> {
        let device = match env::var("MSPIPE_BENCH_DEVICE") {
            Ok(name) => name
                .parse()
                .map_err(|error| anyhow!("MSPIPE_BENCH_DEVICE: {error}"))?,
            Err(_) => DeviceChoice::Auto,
        };
        let device = device::open(device)?;
        let rates = Machine::measure(&device.device).map_err(failed)?;
        let folder = folder();
        // The whole suite should take minutes: short measurements, few samples.
        let criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(20)
            .nresamples(5_000)
            .output_directory(&folder)
            .configure_from_args();
        Ok(Suite {
            record: Record::new(&device, rates),
            criterion,
            folder,
            device,
        })
    }

    /// The device.
    pub(crate) fn device(&self) -> &ComputeDevice {
        &self.device
    }

    /// Measures one bench; `prepare` is called if criterion runs it.
    pub(crate) fn bench(
        &mut self,
        group: &'static str,
        name: &str,
        prepare: impl FnOnce(&ComputeDevice) -> Result<Prepared>,
    ) -> Result<()> {
        let mut prepare = Some(prepare);
        let mut prepared: Option<Prepared> = None;
        let mut failure = None;
        let device = &self.device;
        let mut criterion_group = self.criterion.benchmark_group(group);
        criterion_group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let nothing = Duration::from_micros(times);
                if failure.is_some() {
                    return nothing;
                }
                if let Some(prepare) = prepare.take() {
                    match prepare(device) {
                        Ok(ready) => prepared = Some(ready),
                        Err(error) => failure = Some(error),
                    }
                }
                let Some(bench) = &mut prepared else {
                    return nothing;
                };
                (bench.run)(times).unwrap_or_else(|error| {
                    failure = Some(error);
                    nothing
                })
            });
        });
        criterion_group.finish();
        if let Some(error) = failure {
            return Err(error.context(format!("{group}/{name}")));
        }
        let Some(prepared) = prepared else {
            return Ok(());
        };
        let Some(time) = estimate(&self.folder.join(group).join(name))? else {
            return Ok(());
        };
        let Prepared {
            run,
            work,
            items,
            bound,
        } = prepared;
        // Its memory is given back before the bound is measured.
        drop(run);
        let bound = self.bound(bound, work)?;
        self.record
            .entries
            .push(Entry::new(group, name, time, work, items, bound));
        Ok(())
    }

    fn bound(&self, limit: Limit, work: Option<Work>) -> Result<Option<Bound>> {
        let rates = self.record.rates;
        let of_work = |copy: f64, work: Work| {
            let computed = work.flops as f64 / rates.matmul_gflops / 1e9;
            let (what, seconds) = if copy > computed {
                ("copy of the bytes", copy)
            } else {
                ("FLOPs at the product's rate", computed)
            };
            Bound::new(what, seconds)
        };
        Ok(match (limit, work) {
            (Limit::Work, Some(work)) => Some(of_work(copy_seconds(work, &self.device)?, work)),
            (Limit::LargeWork, Some(work)) => {
                let copy = work.bytes as f64 / rates.copy_gb_per_s / 1e9;
                Some(of_work(copy, work))
            }
            (Limit::Seconds(what, measure), _) => Some(Bound::new(what, measure()?)),
            (Limit::Work | Limit::LargeWork, None) | (Limit::None, _) => None,
        })
    }

    /// Prints the table and writes the record, if anything was measured.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.criterion.final_summary();
        self.record.data = stream::used();
        if self.record.entries.is_empty() {
            return Ok(());
        }
        console::news(format!("\n{}", self.record));
        let path = self.folder.join("mspipe.json");
        let text = serde_json::to_string_pretty(&self.record)? + "\n";
        whole_file::write(&path, Existing::Replace, |file| {
            file.write_all(text.as_bytes())
        })?;
        console::news(format!("\nwritten to {}", path.display()));
        Ok(())
    }
}

/// Criterion's folder: `CRITERION_HOME`, else `criterion` in the target folder, in whose
/// `release/deps` this program lies.
fn folder() -> PathBuf {
    if let Some(home) = env::var_os("CRITERION_HOME") {
        return PathBuf::from(home);
    }
    let program = env::current_exe().unwrap_or_default();
    let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
    target.join("criterion")
}

/// What criterion found of the bench in `folder`; nothing where it only tested it.
fn estimate(folder: &Path) -> Result<Option<Estimate>> {
    // Criterion's own options: they ask it to measure nothing.
    if env::args().any(|argument| argument == "--test" || argument == "--profile-time") {
        return Ok(None);
    }
    let path = folder.join("new").join("estimates.json");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let median = &serde_json::from_str::<Value>(&text)?["median"];
    // Criterion counts nanoseconds.
    let us = |value: &Value| value.as_f64().map(|ns| ns / 1e3);
    let interval = &median["confidence_interval"];
    let estimate = || {
        Some(Estimate {
            median_us: us(&median["point_estimate"])?,
            low_us: us(&interval["lower_bound"])?,
            high_us: us(&interval["upper_bound"])?,
        })
    };
    let estimate = estimate().with_context(|| format!("{}: no median", path.display()))?;
    Ok(Some(estimate))
}

/// Seconds of a plain copy of as many bytes as `work` reads and writes.
fn copy_seconds(work: Work, device: &ComputeDevice) -> Result<f64> {
    let mut copy = machine::copy((work.bytes / 8) as usize, &device.device);
    let seconds = machine::median_seconds(COPIES, || {
        (0..CALLS).for_each(|_| copy());
        device.device.sync()
    });
    Ok(seconds.map_err(failed)? / CALLS as f64)
}

/// Runs `call` again and again, and waits for the device.
pub(crate) fn on_device(mut call: impl FnMut() + 'static, device: &ComputeDevice) -> Run {
    let device = device.device.clone();
    Box::new(move |times| {
        let begin = Instant::now();
        for time in 0..times {
            call();
            if time % CALLS == CALLS - 1 {
                device.sync().map_err(failed)?;
            }
        }
        device.sync().map_err(failed)?;
        Ok(begin.elapsed())
    })
}

/// Runs `call`, which waits for no device, again and again.
pub(crate) fn on_host(mut call: impl FnMut() -> Result<()> + 'static) -> Run {
    Box::new(move |times| {
        let begin = Instant::now();
        for _ in 0..times {
            call()?;
        }
        Ok(begin.elapsed())
    })
}

/// The error of a device.
pub(crate) fn failed(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("the device failed: {error:?}")
}
