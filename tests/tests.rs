//! Tests that need no GPU, in one binary.

#![allow(clippy::print_stdout, reason = "tests say what they measured")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::Device;

/// Steps of Adam against f64.
mod adam;
/// Who imports whom, file sizes, module docs, one build of burn.
mod architecture;
/// Tables that are asked about or followed, for columns with names of their own.
mod asked_tables;
/// The leak auditor passes the program and finds what is broken on purpose.
mod audit;
/// Mail is caught up on: by hand, at any k, and in runs.
mod catch_up;
/// Labels of nodes and of events from embeddings, on streams with a known rule behind the labels.
mod classification;
/// The program as a user runs it: runs, determinism, bad input.
mod cli;
/// What every operation computes, in f64.
mod definitions;
/// Runs that diverge, and streams whose features are no numbers.
mod divergence;
/// Dry runs refuse what their runs refuse; what node classifications say of themselves.
mod dry_run;
/// The program when it is asked to end, and when nobody reads what it prints.
mod endings;
/// Passes with fixed weights: pools of negatives, candidates; metrics of recorded scores.
mod evaluation;
/// Runs whose evaluation fails, and what is left of them.
mod evaluation_ends;
/// What stands in event files for TensorBoard.
mod event_files;
/// The examples, which are programs of another crate.
mod examples;
/// The pipeline's executor: order of memory operations, failures, a virtual clock.
mod executor;
/// Finite differences of every hand-written backward, on the CPU device.
mod gradients;
/// Each operation against its definition, by the CPU kernels.
mod kernels;
/// Streams whose labels follow a known rule.
mod labelled;
/// What a run takes of memory, told in advance; features that stay packed.
mod larger_than_ram;
/// Strided and sliced inputs give what contiguous ones give.
mod layouts;
/// Rows with many uses: how these are divided, and what is left for one invocation.
mod long_rows;
/// How far results are from what is defined.
mod measured;
/// memory_gather, memory_update and mail_update against a plain model, on the CPU device.
mod memory_tables;
/// Two attention layers against their definition, on the CPU device.
mod models;
/// Mutations of the seeds of fuzz targets.
#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
#[path = "../fuzz/src/mutation.rs"]
mod mutation;
/// NaN and infinity pass every operation, on the CPU device.
mod not_finite;
/// Random inputs for the operations and one way to run them all.
mod operations;
/// Every option of every command with its extremes.
mod options;
/// What commands write: never over what is not theirs, and never half.
mod outputs;
/// Pair history: its encoding in weights files, the counting baseline, weights without it.
mod pair_history;
/// Pairs scored beside a batch against pairs scored alone, on the CPU device.
mod pair_scores;
/// What of an iteration is divided among threads, counted.
mod parallel;
/// The pipeline as a user runs it: failures, threads, an emulated link.
mod pipeline_cli;
/// An empty folder in which the program runs.
mod place;
/// What a predictor answers, against an evaluation.
mod predict;
/// The commands that ask a run, on text ids.
mod predict_cli;
/// Prediction and correction of memory: by hand, its gradients, and in runs.
mod pres;
/// Stale memory and gradients against those that are not stale, beside a run.
mod probes;
/// What an iteration costs: rows, shares, and their absence.
mod profiler;
/// The program in a folder of its own.
mod program;
/// Protocols and the audit as a user runs them.
mod protocols;
/// What is left of a run in which a rank fails.
mod rank_ends;
/// Ranks that train together against one process, bit by bit where that is promised.
mod ranks;
/// What runs of ranks say of themselves.
mod ranks_told;
/// Runs that continue from checkpoints; runs that are killed.
mod resume;
/// Embeddings and scores do not depend on what else is in a batch, on the CPU device.
mod row_independence;
/// Lists and pages of runs, event files, sweeps.
mod runs;
/// Schedules: the simulator against closed forms, the version rule, replays.
mod schedule;
/// Runs under each schedule, bit by bit, on the CPU device.
mod schedules;
/// Several runs that differ by their seeds, and their comparison.
mod seeds;
/// The server of answers, as its clients meet it.
#[cfg(all(unix, feature = "serve"))]
mod serve;
/// Settings from files, and what help, completions and manual pages show of them.
mod settings;
/// Every WGSL text under naga: valid without capabilities, translatable, as declared.
#[cfg(feature = "gpu")]
mod shaders_valid;
/// Corrections of stale memory by hand: who, by whom, and when not.
mod similarity;
/// What staleness does to memory, against counts from the definition.
mod staleness;
/// Sweeps: what is refused before the first run, and what is told.
mod sweeps;
/// The CPU kernels' bits do not depend on the number of threads.
mod threads;
/// Weights files, read and written, and `mspipe export`.
mod weights;
/// Files as people have them, and what every command says of them.
mod your_data;

/// Runs `work` on the device of this binary: burn's CPU backend.
fn on_device<T>(work: impl FnOnce(&Device) -> T) -> T {
    work(&Device::flex())
}
