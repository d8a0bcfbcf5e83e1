//! A training iteration of each model: all five stages, one after the other.

use anyhow::Result;
use mspipe::device::ComputeDevice;
use mspipe::profiler::{self, Work};
use mspipe_bench::iterations::Iterations;

use crate::stream;
use crate::suite::{Limit, Prepared, Suite};

/// Iterations that fill the memory before the first is measured.
const FILL: usize = 40;

/// Iterations whose work is counted.
const COUNTED: usize = 10;

pub(crate) fn measure(suite: &mut Suite) -> Result<()> {
    for model in ["tgn", "jodie", "apan"] {
        suite.bench("iteration", model, |device| prepare(model, device))?;
    }
    Ok(())
}

fn prepare(model: &str, device: &ComputeDevice) -> Result<Prepared> {
    let session = stream::session(model)?;
    let mut iterations = Iterations::begin(&session, device)?;
    iterations.run(FILL)?;
    profiler::take();
    profiler::set_recording(true);
    let counted = iterations.run(COUNTED);
    profiler::set_recording(false);
    counted?;
    let recorded = profiler::take();
    let mean = |of: fn(&Work) -> u64| {
        let operations = recorded.operations.iter();
        operations.map(|total| of(&total.work)).sum::<u64>() / COUNTED as u64
    };
    Ok(Prepared {
        work: Some(Work {
            bytes: mean(|work| work.bytes),
            flops: mean(|work| work.flops),
        }),
        items: Some(("events", session.config().training.batch_size as f64)),
        run: Box::new(move |times| iterations.run(times as usize)),
        bound: Limit::LargeWork,
    })
}
