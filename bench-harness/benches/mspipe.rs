//! `cargo bench`: every part of mspipe alone, each beside the bound of the machine it runs on.
//!
//! | group | what is measured | bound |
//! |---|---|---|
//! | `kernels` | each kernel at Wikipedia's sizes, and burn's own operations for the same | copying as many bytes, or computing as much as a large product does |
//! | `products` | the matrix products between them | the same |
//! | `iteration` | a training iteration of each model, all five stages | the same, for the work that is counted |
//! | `batches` | sampling, layout, features of a batch | copying as many bytes, where bytes are counted |
//! | `executor` | the pipeline with stages that only sleep | the period that the schedule predicts |
//! | `import` | a stream from csv to a store, and opening the store again | copying the csv file |
//!
//! `MSPIPE_BENCH_DEVICE` is the device (as `--device`; default auto), `MSPIPE_BENCH_DATA` the
//! stream of `iteration` and `batches` (as `--data`; default wikipedia, or its synthetic stand-in
//! where the file is missing). Criterion's options work: `cargo bench -- kernels` runs one group,
//! `-- --save-baseline NAME` and `-- --baseline NAME` compare. Results with what they belong to
//! are in `mspipe.json` in criterion's folder.

mod batches;
mod executor;
mod import;
mod iteration;
mod kernels;
mod record;
mod stream;
mod suite;

use std::process::ExitCode;

use anyhow::Result;
use mspipe::{console, device};

/// As in `mspipe` itself, so that the same program is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // SAFETY: as in `mspipe` itself: sets a number before any other thread runs.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    match device::on_device_thread(run).map_err(Into::into).flatten() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::note(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut suite = suite::Suite::begin()?;
    kernels::measure(&mut suite)?;
    iteration::measure(&mut suite)?;
    batches::measure(&mut suite)?;
    executor::measure(&mut suite)?;
    import::measure(&mut suite)?;
    suite.finish()
}
