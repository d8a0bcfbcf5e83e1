//! The five stages of a training whose node memory lies in the host's RAM: rows are read and
//! written by other threads while the device trains.
//!
//! An emulated link adds the time that it would take for the bytes of each transfer: of the
//! features at the end of `fetch_features`, of the rows in `send`, of the updated rows in
//! `receive`. It sleeps on the threads of these steps and changes no number.

use std::pin::Pin;
use std::sync::{PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::thread;

use burn::tensor::{ExecutionError, Tensor, TensorData, Transaction};

use super::stages::{Fetched, Pass, Prepared, Sampled, StageError};
use super::trainer;
use super::work::{BatchWork, Training};
use crate::memory::host::{HostMemory, HostRows};
use crate::memory::write_back::{Update, WriteBack};
use crate::memory::{MemoryError, MemoryStore as _};
use crate::pipeline::link::Link;
use crate::pipeline::{HostStages, Stages};

/// What other threads than the device's read and write.
pub struct HostPass<'m> {
    /// What to go over.
    pub pass: Pass,
    /// Node memory. The executor orders who reads and who writes, so nobody ever waits.
    pub memory: RwLock<&'m mut HostMemory>,
    /// A slower bus than the device's own, to be emulated.
    pub emulated_link: Option<Link>,
}

impl HostPass<'_> {
    /// See [`MemoryStore::watched`].
    pub(super) fn watched(&self) -> Tensor<1> {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory.watched()
    }

    /// Takes the time of one transfer over the emulated link, if there is one.
    fn transfer(&self, bytes: u64) {
        if let Some(link) = self.emulated_link {
            thread::sleep(link.time(bytes));
        }
    }
}

/// The stages of a training pass.
pub struct HostPassStages<'a, 'm, 'w> {
    /// What to go over, and the memory.
    pub host: &'a HostPass<'m>,
    /// Model, optimiser and losses.
    pub work: Training<'w>,
}

/// A batch with its rows out of the host's tables.
pub struct Gathered {
    prepared: Prepared,
    rows: HostRows,
}

/// A batch on the device.
pub struct HostFetched {
    fetched: Fetched,
    /// Features of its own events, for the mails.
    own_edge: Vec<f32>,
}

/// Training under way.
pub struct HostBegun {
    begun: trainer::Begun,
    fetched: Fetched,
}

/// Updated rows on the device, and where they go.
pub struct HostTrained {
    back: WriteBack,
    rows: Tensor<2>,
}

type Reading = Pin<Box<dyn Future<Output = Result<Vec<TensorData>, ExecutionError>> + Send>>;

/// A copy to the host.
enum Copying {
    Done(Vec<TensorData>),
    UnderWay(Reading),
}

/// Updated rows on their way to the host.
pub struct Pending {
    back: WriteBack,
    rows: Copying,
}

impl HostPassStages<'_, '_, '_> {
    /// What a batch writes back, once its updated rows `[rows, width]` are known.
    fn trained(fetched: &Fetched, own_edge: Vec<f32>, memory: Tensor<2>) -> HostTrained {
        let back = WriteBack::new(
            fetched.layout.last_writers.clone(),
            fetched.layout.mail_routing.clone(),
            fetched.times.clone(),
            own_edge,
            memory.dims()[0],
        );
        HostTrained {
            rows: back.select(memory),
            back,
        }
    }
}

impl<'m> Stages for HostPassStages<'_, 'm, '_> {
    type Host = HostPass<'m>;
    type Sampled = Sampled;
    type Prepared = Prepared;
    type Fetched = HostFetched;
    type Trained = HostTrained;
    type Error = StageError;

    fn host(&self) -> &HostPass<'m> {
        self.host
    }

    fn prepared_bytes(prepared: &Prepared) -> u64 {
        prepared.bytes()
    }

    fn sample(host: &HostPass<'m>, iteration: usize) -> Result<Sampled, StageError> {
        host.pass.sample(iteration)
    }

    fn fetch_features(host: &HostPass<'m>, sampled: Sampled) -> Result<Prepared, StageError> {
        let prepared = host.pass.fetch_features(sampled);
        host.transfer(prepared.bytes());
        Ok(prepared)
    }

    fn fetch_memory(&mut self, prepared: Prepared) -> Result<HostFetched, StageError> {
        let gathered = Self::gather(self.host, prepared)?;
        let sent = Self::send(self.host, gathered)?;
        self.upload(sent)
    }

    fn train(&mut self, fetched: HostFetched) -> Result<HostTrained, StageError> {
        let (begun, trained) = self.begin(fetched)?;
        self.finish(begun)?;
        Ok(trained)
    }

    fn update_memory(&mut self, trained: HostTrained) -> Result<(), StageError> {
        let pending = self.read_back(trained)?;
        let received = Self::receive(self.host, pending)?;
        Self::apply(self.host, received)
    }
}

impl<'m> HostStages for HostPassStages<'_, 'm, '_> {
    type Gathered = Gathered;
    type Begun = HostBegun;
    type Pending = Pending;
    type Received = Update;

    fn gathered_bytes(gathered: &Gathered) -> u64 {
        gathered.rows.bytes()
    }

    fn received_bytes(received: &Update) -> u64 {
        4 * received.rows.len() as u64
    }

    fn gather(host: &HostPass<'m>, prepared: Prepared) -> Result<Gathered, StageError> {
        let memory = host.memory.read().unwrap_or_else(PoisonError::into_inner);
        let rows = prepared.request(|request| memory.gather(request));
        Ok(Gathered { prepared, rows })
    }

    fn send(host: &HostPass<'m>, gathered: Gathered) -> Result<Gathered, StageError> {
        host.transfer(Self::gathered_bytes(&gathered));
        Ok(gathered)
    }

    fn upload(&mut self, gathered: Gathered) -> Result<HostFetched, StageError> {
        let Gathered { prepared, rows } = gathered;
        let pass = &self.host.pass;
        let own_edge = prepared.own_edge();
        let device = self.work.input_device();
        let fetched = rows.upload(&device.clone().inner());
        Ok(HostFetched {
            fetched: pass.load(prepared, fetched, device),
            own_edge,
        })
    }

    fn begin(&mut self, fetched: HostFetched) -> Result<(HostBegun, HostTrained), StageError> {
        let HostFetched { fetched, own_edge } = fetched;
        self.work.saw(&fetched.times);
        let begun = self.work.begin(fetched.iteration, &fetched.input);
        let trained = Self::trained(&fetched, own_edge, begun.memory());
        Ok((HostBegun { begun, fetched }, trained))
    }

    fn finish(&mut self, begun: HostBegun) -> Result<(), StageError> {
        self.work.finish(begun.begun, &begun.fetched.input);
        Ok(())
    }

    fn read_back(&mut self, trained: HostTrained) -> Result<Pending, StageError> {
        let reading = Transaction::default()
            .register(trained.rows)
            .execute_async();
        let mut reading: Reading = Box::pin(reading);
        // The first poll puts the copy into the device's queue, from this thread, which is
        // the one that talks to the device.
        let first = reading
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let rows = match first {
            Poll::Ready(data) => Copying::Done(data.map_err(|error| unreadable(&error))?),
            Poll::Pending => Copying::UnderWay(reading),
        };
        Ok(Pending {
            back: trained.back,
            rows,
        })
    }

    fn receive(host: &HostPass<'m>, pending: Pending) -> Result<Update, StageError> {
        let data = match pending.rows {
            Copying::Done(data) => data,
            Copying::UnderWay(reading) => {
                pollster::block_on(reading).map_err(|error| unreadable(&error))?
            }
        };
        let mut rows = Vec::new();
        for data in data {
            rows = data.try_into_vec().map_err(|error| unreadable(&error))?;
        }
        let received = Update {
            back: pending.back,
            rows,
        };
        host.transfer(Self::received_bytes(&received));
        Ok(received)
    }

    fn apply(host: &HostPass<'m>, update: Update) -> Result<(), StageError> {
        let mut memory = host.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.apply(&update);
        Ok(())
    }
}

fn unreadable(error: &dyn std::fmt::Debug) -> StageError {
    MemoryError::Device(format!("{error:?}")).into()
}
