//! Training iterations one by one, all five stages one after the other, without epochs around
//! them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use mspipe::device::ComputeDevice;
use mspipe::memory::MemoryStore as _;
use mspipe::memory::node_memory::NodeMemory;
use mspipe::pipeline::staleness::StalenessCounter;
use mspipe::sampling::SplitPart;
use mspipe::session::Session;
use mspipe::train::epochs::TrainLoop;
use mspipe::train::iteration::Training;
use mspipe::train::pass::Pass;

/// A run that continues when it is told to.
pub struct Iterations {
    training: TrainLoop,
    pass: Pass,
    device: ComputeDevice,
    staleness: StalenessCounter,
    next: usize,
}

impl Iterations {
    /// Model and memory of `session` on `device`. Call it, and all else, on the device thread.
    ///
    /// # Errors
    /// Node memory that the device can't hold, weights to begin with that can't be read.
    pub fn begin(session: &Session, device: &ComputeDevice) -> Result<Iterations> {
        session.check_tables(device)?;
        let training = session.training(&device.device)?;
        training.build_histories();
        Ok(Iterations {
            staleness: training.new_staleness(),
            pass: training.evaluator.pass(SplitPart::Train, 1),
            training,
            device: device.clone(),
            next: 0,
        })
    }

    /// Trains so many iterations and waits for the device; returns the time that took. After
    /// the last whole batch of the training part it continues in its middle with empty memory.
    ///
    /// # Errors
    /// When a stage or the device fails.
    pub fn run(&mut self, times: usize) -> Result<Duration> {
        let autodiff = self.device.device.clone().autodiff();
        // Fewer events than a batch are one batch.
        let whole = (self.pass.events.len() / self.pass.sampling.batch_size).max(1);
        let mut last_loss = None;
        let begin = Instant::now();
        for _ in 0..times {
            if self.next == whole {
                self.training.memory.reset();
                self.staleness = self.training.new_staleness();
                self.next = whole / 2;
            }
            let NodeMemory::Device(memory) = &mut self.training.memory else {
                return Err(anyhow!("--memory host: expected device"));
            };
            let work = (&mut self.training.trainer, &autodiff);
            let mut training = Training::new(work, &self.pass, &mut self.staleness, None);
            (training.first_iteration, training.iterations) = (0, usize::MAX);
            let (pass, iteration) = (&self.pass, self.next);
            let failed_at = || format!("iteration {iteration}");
            let sampled = pass.sample(iteration).with_context(failed_at)?;
            let prepared = pass.fetch_features(sampled);
            let fetched = pass.fetch_memory(prepared, &**memory, &autodiff);
            let commit = training.train(iteration, fetched).with_context(failed_at)?;
            memory.commit(commit).with_context(failed_at)?;
            last_loss = training.unread.pop();
            self.next += 1;
        }
        self.device.device.sync().map_err(failed)?;
        let time = begin.elapsed();
        // Waiting succeeds even where all work was skipped because memory was lacking.
        if let Some(loss) = last_loss {
            let loss: f32 = loss.try_into_scalar().map_err(failed)?;
            ensure!(loss.is_finite(), "the loss is {loss}");
        }
        Ok(time)
    }
}

fn failed(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("the device failed: {error:?}")
}
