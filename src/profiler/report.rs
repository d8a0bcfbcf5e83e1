//! The cost of a run as `summary.json` and the table at the end of a run have it.
//!
//! Invariant: rows of the thread that owns the device don't overlap, so their shares of the
//! training time sum to at most 1. What other threads did meanwhile has no share.

use std::fmt;

use serde::Serialize;

use super::machine::{Machine, median};
use super::{Kind, Recorded, Total};
use crate::pipeline::step::Lane;
use crate::pipeline::trace::QueueTotals;
use crate::pipeline::{Stage, StageTimes};

/// The run that was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Training {
    /// Iterations.
    pub iterations: usize,
    /// Seconds of training, without evaluation.
    pub seconds: f64,
    /// Time in each stage, over all threads.
    pub stages: StageTimes,
    /// What a GPU's queue did beside them.
    pub queue: QueueTotals,
    /// Whether all stages ran on the thread that owns the device, one after the other.
    pub sequential: bool,
    /// Whether operations run when they are called, as on the CPU device.
    pub on_cpu: bool,
}

/// An operation of ours, per iteration.
#[derive(Debug, Clone, Serialize)]
pub struct OperationRow {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Calls.
    pub calls: f64,
    /// Launches of our shaders.
    pub launches: f64,
    /// Microseconds of the calling thread.
    pub time_us: f64,
    /// Share of the training time.
    pub share: f64,
    /// Bytes read and written, from shapes.
    pub bytes: f64,
    /// Floating-point operations, from shapes.
    pub flops: f64,
    /// 10^9 bytes per second; `None` where time is that of enqueuing.
    pub gb_per_s: Option<f64>,
    /// The same over that of a plain copy.
    pub of_copy: Option<f64>,
    /// 10^9 operations per second; `None` where time is that of enqueuing.
    pub gflop_per_s: Option<f64>,
    /// The same over that of the large matrix product.
    pub of_matmul: Option<f64>,
}

/// Time that is not in an operation of ours, per iteration.
#[derive(Debug, Clone, Serialize)]
pub struct RemainderRow {
    /// What it is.
    pub name: &'static str,
    /// Microseconds.
    pub time_us: f64,
    /// Share of the training time; `None` for other threads than the device's.
    pub share: Option<f64>,
}

/// What a GPU's queue does in an iteration, beside all threads.
#[derive(Debug, Clone, Serialize)]
pub struct LaneRow {
    /// `gpu`, which runs kernels, or `bus`, which copies between host and device.
    pub lane: &'static str,
    /// Microseconds, the mean of the iterations in which it was measured.
    pub time_us: f64,
    /// The same over the time of an iteration. Threads and lanes overlap.
    pub busy: f64,
}

/// What an iteration costs.
#[derive(Debug, Clone, Serialize)]
pub struct Profile {
    /// `work`: operations run when they are called. `enqueue`: they run later, on a GPU.
    pub time_is: &'static str,
    /// Training iterations.
    pub iterations: usize,
    /// Microseconds of an iteration, the mean.
    pub iteration_us: f64,
    /// Launches of our shaders in an iteration; burn's own are not counted.
    pub launches: f64,
    /// Microseconds of the calling thread for one of them, the median.
    pub launch_us: Option<f64>,
    /// The mean, which includes compiling, and waiting where the device's queue was full.
    pub launch_mean_us: Option<f64>,
    /// What the machine reaches, measured after training.
    pub machine: Machine,
    /// Our operations, most time first.
    pub operations: Vec<OperationRow>,
    /// The rest.
    pub remainder: Vec<RemainderRow>,
    /// The lanes of a GPU's queue; empty where there is none.
    pub lanes: Vec<LaneRow>,
    /// Microseconds of the device's thread to encode an iteration for that queue, from the first launch of each step to its
    /// last submission; the mean of the iterations in which it was measured.
    pub encode_us: Option<f64>,
}

impl Profile {
    /// From what was recorded in a run.
    pub(crate) fn new(recorded: &Recorded, training: &Training, machine: Machine) -> Profile {
        let iterations = training.iterations.max(1) as f64;
        let rates = training.on_cpu.then_some(machine);
        let mut operations: Vec<OperationRow> = recorded
            .operations
            .iter()
            .map(|total| operation_row(total, training, rates))
            .collect();
        operations.sort_by(|a, b| b.time_us.total_cmp(&a.time_us));
        Profile {
            time_is: if training.on_cpu { "work" } else { "enqueue" },
            iterations: training.iterations,
            iteration_us: 1e6 * training.seconds / iterations,
            launches: recorded.launches as f64 / iterations,
            launch_us: (!recorded.launch_ns.is_empty()).then(|| {
                let us = recorded.launch_ns.iter().map(|&ns| f64::from(ns) / 1e3);
                median(&us.collect::<Vec<_>>())
            }),
            launch_mean_us: (recorded.launches > 0)
                .then(|| 1e6 * recorded.launch_time.as_secs_f64() / recorded.launches as f64),
            machine,
            operations,
            remainder: remainder(recorded, training),
            lanes: lanes(training),
            encode_us: (training.queue.mean_encode_seconds()).map(|seconds| 1e6 * seconds),
        }
    }

    /// Counted floating-point operations of an iteration.
    pub(crate) fn flops(&self) -> f64 {
        self.operations.iter().map(|row| row.flops).sum()
    }

    /// Counted bytes of an iteration.
    pub(crate) fn bytes(&self) -> f64 {
        self.operations.iter().map(|row| row.bytes).sum()
    }
}

fn operation_row(total: &Total, training: &Training, rates: Option<Machine>) -> OperationRow {
    let iterations = training.iterations.max(1) as f64;
    let seconds = total.time.as_secs_f64();
    let (bytes, flops) = (total.work.bytes as f64, total.work.flops as f64);
    let rate = |amount: f64| (seconds > 0.0).then(|| amount / seconds / 1e9);
    // The CPU device takes a vector over as it is.
    let rates = rates.filter(|_| total.kind != Kind::Upload);
    let gb_per_s = rates.and_then(|_| rate(bytes));
    let gflop_per_s = rates.and_then(|_| rate(flops));
    let over = |rate: Option<f64>, of: fn(&Machine) -> f64| Some(rate? / of(rates.as_ref()?));
    OperationRow {
        name: total.name,
        kind: total.kind,
        calls: total.calls as f64 / iterations,
        launches: total.launches as f64 / iterations,
        time_us: 1e6 * seconds / iterations,
        share: seconds / training.seconds,
        bytes: bytes / iterations,
        flops: flops / iterations,
        gb_per_s,
        of_copy: over(gb_per_s, |machine| machine.copy_gb_per_s),
        gflop_per_s,
        of_matmul: over(gflop_per_s, |machine| machine.matmul_gflops),
    }
}

fn remainder(recorded: &Recorded, training: &Training) -> Vec<RemainderRow> {
    let of = |stage: Stage| training.stages.of(stage).as_secs_f64();
    let operations = |in_training: bool| -> f64 {
        recorded
            .operations
            .iter()
            .filter(|total| total.kind.in_training() == in_training)
            .map(|total| total.time.as_secs_f64())
            .sum()
    };
    let mut rows = Vec::new();
    let mut row = |name, seconds: f64, shared: bool| {
        let seconds = seconds.max(0.0);
        rows.push(RemainderRow {
            name,
            time_us: 1e6 * seconds / training.iterations.max(1) as f64,
            share: shared.then(|| seconds / training.seconds),
        });
        if shared { seconds } else { 0.0 }
    };
    let burn = (of(Stage::Train) - operations(true)).max(0.0);
    let mut seen = operations(true) + operations(false);
    let rest = match training.on_cpu {
        true => "burn's own operations and autodiff",
        false => "burn's own operations, autodiff, and waiting for the queue",
    };
    seen += row(rest, burn, true);
    let memory = of(Stage::FetchMemory) + of(Stage::UpdateMemory) - operations(false);
    let sequential = training.sequential;
    seen += row("times and indices of memory", memory, sequential);
    seen += row("sample", of(Stage::Sample), sequential);
    seen += row("fetch_features", of(Stage::FetchFeatures), sequential);
    let last = if sequential {
        "reading losses and the loop"
    } else {
        "waiting, reading losses and the loop"
    };
    row(last, training.seconds - seen, true);
    rows
}

fn lanes(training: &Training) -> Vec<LaneRow> {
    let iteration = training.seconds / training.iterations.max(1) as f64;
    let row = |lane: Lane| {
        let of = |stage| training.queue.mean_seconds(lane, stage);
        let seconds: f64 = Stage::ALL.into_iter().map(of).sum::<Option<f64>>()?;
        Some(LaneRow {
            lane: lane.name(),
            time_us: 1e6 * seconds,
            busy: seconds / iteration,
        })
    };
    [Lane::Gpu, Lane::Bus].into_iter().filter_map(row).collect()
}

/// A number in few digits, or a dash.
pub fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn percent(share: Option<f64>) -> String {
    cell(share.map(|share| 100.0 * share), 1)
}

impl fmt::Display for OperationRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<34} {:>6.1} {:>8.1} {:>9.0} {:>6.1} {:>9.3} {:>9.2} {:>8} {:>7} {:>8} {:>6}",
            self.name,
            self.calls,
            self.launches,
            self.time_us,
            100.0 * self.share,
            self.bytes / 1e6,
            self.flops / 1e6,
            cell(self.gb_per_s, 1),
            percent(self.of_copy),
            cell(self.gflop_per_s, 1),
            percent(self.of_matmul),
        )
    }
}

impl fmt::Display for RemainderRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, none, share) = (self.name, "", percent(self.share));
        write!(
            f,
            "{name:<34} {none:>6} {none:>8} {:>9.0} {share:>6}",
            self.time_us
        )
    }
}

impl fmt::Display for LaneRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lane, none) = (self.lane, "");
        write!(
            f,
            "{lane:<34} {none:>6} {none:>8} {:>9.0} {:>6.1}",
            self.time_us,
            100.0 * self.busy
        )
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = self.time_is == "work";
        writeln!(
            f,
            "profile   an iteration takes {:.0} µs (mean of {}); times are {}",
            self.iteration_us,
            self.iterations,
            if work {
                "those of the work itself"
            } else {
                "what it costs the host to enqueue"
            }
        )?;
        writeln!(
            f,
            "  {:<34} {:>6} {:>8} {:>9} {:>6} {:>9} {:>9} {:>8} {:>7} {:>8} {:>6}",
            "operation",
            "calls",
            "launches",
            "µs",
            "%",
            "MB",
            "MFLOP",
            "GB/s",
            "% copy",
            "GFLOP/s",
            "% G"
        )?;
        for row in &self.operations {
            writeln!(f, "  {row}")?;
        }
        for row in &self.remainder {
            writeln!(f, "  {row}")?;
        }
        if !self.lanes.is_empty() {
            writeln!(f, "  beside the threads, in the device's queue:")?;
        }
        for row in &self.lanes {
            writeln!(f, "  {row}")?;
        }
        if let Some(encode_us) = self.encode_us {
            writeln!(
                f,
                "  to encode an iteration, the host takes {encode_us:.0} µs"
            )?;
        }
        let Machine {
            copy_gb_per_s,
            matmul_gflops,
            threads,
        } = self.machine;
        write!(
            f,
            "  counted: {:.1} MB, {:.3} GFLOP; the machine copies {copy_gb_per_s:.1} GB/s (read \
             and written) and multiplies {matmul_gflops:.1} GFLOP/s with {threads} thread{}",
            self.bytes() / 1e6,
            self.flops() / 1e9,
            if threads == 1 { "" } else { "s" },
        )?;
        if let (Some(median), Some(mean)) = (self.launch_us, self.launch_mean_us) {
            write!(
                f,
                "\n  launches of our shaders: {:.1} per iteration, {median:.1} µs of the host each \
                 (median; mean {mean:.1} with compiling and full queues); burn's own are not counted",
                self.launches
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Work;
    use super::*;

    fn total(name: &'static str, kind: Kind, ms: u64) -> Total {
        Total {
            name,
            kind,
            calls: 20,
            launches: 0,
            time: Duration::from_millis(ms),
            work: Work {
                bytes: 1_000_000,
                flops: 8_000_000,
            },
        }
    }

    fn in_stages(ms: [u64; 5]) -> StageTimes {
        let mut stages = StageTimes::default();
        for (stage, ms) in Stage::ALL.into_iter().zip(ms) {
            stages.add(stage, Duration::from_millis(ms));
        }
        stages
    }

    fn profile(sequential: bool, on_cpu: bool) -> Profile {
        let recorded = Recorded {
            operations: vec![
                total("gather", Kind::Memory, 30),
                total("gates", Kind::Kernel, 400),
            ],
            launches: 0,
            launch_time: Duration::ZERO,
            launch_ns: Vec::new(),
            submissions: 0,
        };
        let training = Training {
            iterations: 10,
            seconds: 1.0,
            stages: in_stages([100, 50, 40, 700, 60]),
            queue: QueueTotals {
                gpu: in_stages([0, 0, 10, 70, 0]),
                bus: in_stages([0, 5, 5, 0, 0]),
                updater: Duration::ZERO,
                encode: Duration::from_millis(if on_cpu { 0 } else { 8 }),
                iterations: if on_cpu { 0 } else { 2 },
                in_turn: 0,
            },
            sequential,
            on_cpu,
        };
        let machine = Machine {
            copy_gb_per_s: 5.0,
            matmul_gflops: 2.0,
            threads: 1,
        };
        Profile::new(&recorded, &training, machine)
    }

    #[test]
    fn rows_are_per_iteration_and_shares_sum_to_one() {
        let profile = profile(true, true);
        let gates = &profile.operations[0];
        assert_eq!((gates.name, gates.calls), ("gates", 2.0));
        assert!((gates.time_us - 40_000.0).abs() < 1e-6);
        assert!((gates.gb_per_s.unwrap() - 0.0025).abs() < 1e-9);
        assert!((gates.of_matmul.unwrap() - 0.01).abs() < 1e-9);
        let shares: Vec<f64> = profile.remainder.iter().map(|r| r.share.unwrap()).collect();
        for (share, expected) in shares.iter().zip([0.3, 0.07, 0.1, 0.05, 0.05]) {
            assert!((share - expected).abs() < 1e-9, "{shares:?}");
        }
        let operations: f64 = profile.operations.iter().map(|row| row.share).sum();
        assert!((operations + shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn other_threads_have_no_share_and_enqueuing_has_no_rate() {
        let profile = profile(false, false);
        let shared: Vec<bool> = profile
            .remainder
            .iter()
            .map(|r| r.share.is_some())
            .collect();
        assert_eq!(shared, [true, false, false, false, true]);
        assert!(profile.operations.iter().all(|row| row.gb_per_s.is_none()));
        let operations: f64 = profile.operations.iter().map(|row| row.share).sum();
        let rest: f64 = profile.remainder.iter().filter_map(|row| row.share).sum();
        assert!((operations + rest - 1.0).abs() < 1e-9);
        let text = profile.to_string();
        assert!(text.contains("to enqueue"), "{text}");

        // Two iterations of ten were measured, each of 100 ms.
        let percent = |row: &LaneRow| (100.0 * row.busy).round();
        let lanes = profile.lanes.iter();
        let lanes: Vec<_> = lanes
            .map(|row| (row.lane, row.time_us.round(), percent(row)))
            .collect();
        assert_eq!(lanes, [("gpu", 40_000.0, 40.0), ("bus", 5_000.0, 5.0)]);
        assert!(text.contains("beside the threads"), "{text}");
        assert!(text.contains("the host takes 4000 µs"), "{text}");
    }

    #[test]
    fn a_device_without_a_queue_has_no_lanes() {
        let profile = profile(true, true);
        assert!(profile.lanes.is_empty());
        assert!(!profile.to_string().contains("queue:"));
        assert_eq!(profile.encode_us, None);
    }
}
