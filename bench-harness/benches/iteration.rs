//! A training iteration of each model: all five stages, one after the other.
//!
//! Iterations are those of the second half of an epoch, over and over; node memory is filled by
//! the first half.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mspipe::device::ComputeDevice;
use mspipe::memory::node_memory::NodeMemory;
use mspipe::model::apan::Apan;
use mspipe::model::jodie::Jodie;
use mspipe::model::tgl_weights::TglNames;
use mspipe::model::tgn::Tgn;
use mspipe::pipeline::sequential;
use mspipe::profiler::{self, Work};
use mspipe::session::Session;
use mspipe::train::epochs::TrainLoop;
use mspipe::train::stages::{Pass, PassStages};
use mspipe::train::work::Training;

use crate::stream;
use crate::suite::{Limit, Prepared, Suite, failed};

/// Iterations that fill the memory before the first is measured.
const FILL: usize = 40;

/// Iterations whose work is counted.
const COUNTED: usize = 10;

/// No training here is ended from outside.
static NEVER: AtomicBool = AtomicBool::new(false);

pub(crate) fn measure(suite: &mut Suite) -> Result<()> {
    suite.bench("iteration", "tgn", prepare::<Tgn>)?;
    suite.bench("iteration", "jodie", prepare::<Jodie>)?;
    suite.bench("iteration", "apan", prepare::<Apan>)
}

fn prepare<M: TglNames + 'static>(device: &ComputeDevice) -> Result<Prepared> {
    let name = std::any::type_name::<M>();
    let model = name.rsplit("::").next().unwrap_or(name).to_lowercase();
    let session = stream::session(&model)?;
    let mut iterations = Iterations::<M>::begin(&session, device)?;
    iterations.run(FILL)?;
    profiler::take();
    profiler::set_recording(true);
    let counted = iterations.run(COUNTED);
    profiler::set_recording(false);
    counted?;
    let count = |of: fn(&Work) -> u64, recorded: &profiler::Recorded| {
        let operations = recorded.operations.iter();
        operations.map(|total| of(&total.work)).sum::<u64>() / COUNTED as u64
    };
    let recorded = profiler::take();
    let work = Work {
        bytes: count(|work| work.bytes, &recorded),
        flops: count(|work| work.flops, &recorded),
    };
    Ok(Prepared {
        items: Some(("events", session.config().batch_size as f64)),
        run: Box::new(move |times| iterations.run(times as usize)),
        work: Some(work),
        bound: Limit::LargeWork,
    })
}

/// A training that goes on iteration by iteration.
struct Iterations<M: TglNames> {
    training: TrainLoop<'static, M>,
    pass: Pass,
    device: ComputeDevice,
    next: usize,
}

impl<M: TglNames> Iterations<M> {
    fn begin(session: &Session, device: &ComputeDevice) -> Result<Iterations<M>> {
        let training = session.training::<M>(&device.device, &NEVER)?;
        Ok(Iterations {
            pass: stream::pass(session),
            training,
            device: device.clone(),
            next: 0,
        })
    }

    /// Trains so many iterations until the device has finished.
    fn run(&mut self, times: usize) -> Result<Duration> {
        let autodiff = self.device.device.clone().autodiff();
        let last = self.pass.events.len() / self.pass.sampling.batch_size;
        let begin = Instant::now();
        for _ in 0..times {
            if self.next == last {
                self.training.memory.reset();
                self.next = FILL.min(last - 1);
            }
            let NodeMemory::Device(memory) = &mut self.training.memory else {
                unreachable!("memory is on the device unless the settings say otherwise");
            };
            let mut stages = PassStages {
                pass: &self.pass,
                memory: &mut **memory,
                work: Training {
                    trainer: &mut self.training.trainer,
                    device: &autodiff,
                    seed: 0,
                    first_iteration: 0,
                    unread: Vec::new(),
                    reads: Vec::new(),
                },
            };
            sequential::run(&mut stages, self.next..self.next + 1, |_, _| true)
                .context("iteration")?;
            self.next += 1;
        }
        self.device.device.sync().map_err(failed)?;
        Ok(begin.elapsed())
    }
}
