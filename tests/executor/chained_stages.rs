//! Stages whose every result depends on exactly which updates had been applied when: the
//! memory is a chain of hashes, so one update too many or too few changes all that follow.

use std::sync::Mutex;
use std::time::Duration;

use mspipe::pipeline::flow::Step;
use mspipe::pipeline::{HostStages, Stages};

/// Called at the beginning of each step.
pub(crate) type Hook<'a> = &'a (dyn Fn(Step, usize) -> Result<(), String> + Sync);

/// The tables: how many updates were applied, and the chain's last link.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) version: usize,
    pub(crate) link: u64,
}

/// What worker threads see.
pub(crate) struct Host<'a> {
    pub(crate) tables: Mutex<Tables>,
    pub(crate) hook: Hook<'a>,
}

impl<'a> Host<'a> {
    pub(crate) fn new(hook: Hook<'a>) -> Host<'a> {
        Host {
            tables: Mutex::default(),
            hook,
        }
    }

    /// Reads the tables; the executor promises that nobody writes them.
    fn read(&self) -> Tables {
        *self.tables.try_lock().expect("a read beside a write")
    }

    /// Applies what a pause left.
    pub(crate) fn write_all(&self, updates: Vec<Batch>) {
        updates.into_iter().for_each(|update| self.write(update));
    }

    fn write(&self, update: Batch) {
        let mut tables = self.tables.try_lock().expect("a write beside a read");
        assert_eq!(update.iteration, tables.version, "updates are in order");
        *tables = Tables {
            version: tables.version + 1,
            link: mix(tables.link, update.value),
        };
    }
}

/// One link of the chain.
pub(crate) fn mix(link: u64, value: u64) -> u64 {
    (link ^ value)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_add(value)
}

/// A batch on its way through the stages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    iteration: usize,
    /// Updates that it saw, and what it became.
    version: usize,
    value: u64,
}

/// The stages, with what they trained.
pub(crate) struct ChainedStages<'h, 'a> {
    pub(crate) host: &'h Host<'a>,
    /// Updates seen and loss of each iteration.
    pub(crate) losses: Vec<(usize, u64)>,
    thread: std::thread::ThreadId,
}

impl<'h, 'a> ChainedStages<'h, 'a> {
    pub(crate) fn new(host: &'h Host<'a>) -> ChainedStages<'h, 'a> {
        ChainedStages {
            host,
            losses: Vec::new(),
            thread: std::thread::current().id(),
        }
    }

    fn on_device(&self, step: Step, batch: Batch) -> Result<Batch, String> {
        assert_eq!(
            self.thread,
            std::thread::current().id(),
            "one thread talks to the device"
        );
        (self.host.hook)(step, batch.iteration)?;
        Ok(batch)
    }
}

impl<'a> Stages for ChainedStages<'_, 'a> {
    type Host = Host<'a>;
    type Sampled = Batch;
    type Prepared = Batch;
    type Fetched = Batch;
    type Trained = Batch;
    type Error = String;

    fn host(&self) -> &Host<'a> {
        self.host
    }

    fn prepared_bytes(_: &Batch) -> u64 {
        24
    }

    fn sample(host: &Host<'a>, iteration: usize) -> Result<Batch, String> {
        (host.hook)(Step::Sample, iteration)?;
        Ok(Batch {
            iteration,
            version: 0,
            value: iteration as u64,
        })
    }

    fn fetch_features(host: &Host<'a>, batch: Batch) -> Result<Batch, String> {
        (host.hook)(Step::Features, batch.iteration)?;
        Ok(batch)
    }

    fn fetch_memory(&mut self, batch: Batch) -> Result<Batch, String> {
        let batch = self.on_device(Step::Gather, batch)?;
        let Tables { version, link } = self.host.read();
        Ok(Batch {
            version,
            value: mix(link, batch.value),
            ..batch
        })
    }

    fn train(&mut self, batch: Batch) -> Result<Batch, String> {
        let batch = self.on_device(Step::Train, batch)?;
        self.losses.push((batch.version, batch.value));
        Ok(batch)
    }

    fn update_memory(&mut self, batch: Batch) -> Result<(), String> {
        let batch = self.on_device(Step::Apply, batch)?;
        self.host.write(batch);
        Ok(())
    }
}

impl<'a> HostStages for ChainedStages<'_, 'a> {
    type Gathered = Batch;
    type Begun = Batch;
    type Pending = Batch;
    type Received = Batch;

    fn gathered_bytes(_: &Batch) -> u64 {
        24
    }

    fn received_bytes(_: &Batch) -> u64 {
        24
    }

    fn gather(host: &Host<'a>, batch: Batch) -> Result<Batch, String> {
        let Tables { version, link } = host.read();
        (host.hook)(Step::Gather, batch.iteration)?;
        assert_eq!(
            host.read().version,
            version,
            "nobody writes while this reads"
        );
        Ok(Batch {
            version,
            value: mix(link, batch.value),
            ..batch
        })
    }

    fn send(host: &Host<'a>, batch: Batch) -> Result<Batch, String> {
        (host.hook)(Step::Send, batch.iteration)?;
        Ok(batch)
    }

    fn upload(&mut self, batch: Batch) -> Result<Batch, String> {
        self.on_device(Step::Upload, batch)
    }

    fn begin(&mut self, batch: Batch) -> Result<(Batch, Batch), String> {
        let batch = self.on_device(Step::Begin, batch)?;
        Ok((batch, batch))
    }

    fn finish(&mut self, batch: Batch) -> Result<(), String> {
        let batch = self.on_device(Step::Finish, batch)?;
        self.losses.push((batch.version, batch.value));
        Ok(())
    }

    fn read_back(&mut self, batch: Batch) -> Result<Batch, String> {
        self.on_device(Step::ReadBack, batch)
    }

    fn receive(host: &Host<'a>, batch: Batch) -> Result<Batch, String> {
        (host.hook)(Step::Receive, batch.iteration)?;
        Ok(batch)
    }

    fn apply(host: &Host<'a>, batch: Batch) -> Result<(), String> {
        (host.hook)(Step::Apply, batch.iteration)?;
        host.write(batch);
        Ok(())
    }
}

/// A time for each step and iteration, up to `up_to`, from a seed.
pub(crate) fn random_time(seed: u64, step: Step, iteration: usize, up_to: Duration) -> Duration {
    let bits = mix(mix(seed, step as u64 + 1), iteration as u64 + 1);
    up_to.mul_f64((bits >> 11) as f64 / (1u64 << 53) as f64)
}
