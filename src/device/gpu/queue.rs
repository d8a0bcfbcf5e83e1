//! The queue of a wgpu device, beside burn: what has been submitted to it, and when it came to it.
//!
//! burn and cubecl submit to the queue that mspipe opened, and keep their submissions' numbers to
//! themselves. A submission of our own, made on the same thread after burn was flushed, comes right
//! behind theirs; it holds nothing but, where times are asked for, a timestamp. A queue does one
//! submission after the other, so its end is the end of all before it.
//!
//! Invariant: nothing here changes what is computed.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use thiserror::Error;

/// A wgpu device and its queue, which burn uses too.
#[derive(Debug, Clone)]
pub struct GpuQueue {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Nanoseconds of a tick, if it can write timestamps in the order of its work.
    tick_ns: Option<f64>,
}

/// Queues of the devices that were opened; each is once in a process, as in burn.
static OPENED: Mutex<Vec<(Device, GpuQueue)>> = Mutex::new(Vec::new());

/// The queue of a device that [`crate::device::open`] has opened; none of a device without one.
pub fn of(device: &Device) -> Option<GpuQueue> {
    let device = device.clone().inner();
    let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = opened.iter().find(|(known, _)| *known == device);
    known.map(|(_, queue)| queue.clone())
}

impl GpuQueue {
    /// Of a device on `backend`.
    ///
    /// Metal takes the time of a pass when its encoder starts, which is not after work that it shares
    /// no buffer with (cubecl-wgpu `src/compute/timings.rs`, `drains_before_window`); so timestamps
    /// between submissions say nothing there.
    pub(super) fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        backend: wgpu::Backend,
    ) -> GpuQueue {
        let stamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let tick_ns = f64::from(queue.get_timestamp_period());
        let ordered = backend != wgpu::Backend::Metal;
        GpuQueue {
            tick_ns: (stamps && ordered && tick_ns > 0.0).then_some(tick_ns),
            device,
            queue,
        }
    }

    /// Makes it known under burn's device.
    pub(super) fn register(self, device: &Device) {
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        opened.push((device.clone(), self));
    }

    /// Whether it writes timestamps in the order of its work.
    pub fn has_timestamps(&self) -> bool {
        self.tick_ns.is_some()
    }

    /// Bytes of the device's memory that are taken at the moment, by all of the process; `None` where
    /// the graphics interface does not tell.
    pub fn memory_bytes(&self) -> Option<u64> {
        let report = self.device.generate_allocator_report()?;
        Some(report.total_reserved_bytes)
    }

    /// All that has been submitted up to now.
    pub fn submitted(&self) -> Submission {
        Submission {
            device: self.device.clone(),
            index: self.queue.submit([]),
        }
    }

    /// Takes the device away, as a driver does that resets it.
    pub(super) fn lose(&self) {
        self.device.destroy();
    }

    /// Lets callbacks run of what has ended, and waits for none.
    fn poll(&self) {
        // A lost device is reported by the read that then fails.
        let _reported_elsewhere = self.device.poll(wgpu::PollType::Poll);
    }
}

/// What was submitted does not end.
#[derive(Debug, Error)]
#[error("the device was lost while its work was waited for: {0}")]
pub struct Lost(String);

/// A place in a queue.
#[derive(Debug, Clone)]
pub struct Submission {
    device: wgpu::Device,
    index: wgpu::SubmissionIndex,
}

impl Submission {
    /// Waits until all up to here has ended, on any thread; not for what was submitted later. What was
    /// to be read back is mapped then.
    ///
    /// # Errors
    /// When the device is lost.
    pub fn wait(&self) -> Result<(), Lost> {
        let waited = self.device.poll(wgpu::PollType::Wait {
            submission_index: Some(self.index.clone()),
            timeout: None,
        });
        match waited {
            Ok(_) => Ok(()),
            Err(error) => Err(Lost(error.to_string())),
        }
    }
}

/// Timestamps of several places in a queue, to be written and then read.
#[derive(Debug)]
pub struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    mapped: wgpu::Buffer,
    /// Written so far.
    written: u32,
    most: u32,
    /// Set by the callback when they can be read.
    ready: Arc<OnceLock<bool>>,
}

impl Stamps {
    /// Room for `most` of them; `None` if the queue has none.
    pub fn new(queue: &GpuQueue, most: u32) -> Option<Stamps> {
        queue.tick_ns?;
        let size = u64::from(most) * u64::from(wgpu::QUERY_SIZE);
        let buffer = |usage| {
            queue.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("mspipe timestamps"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Some(Stamps {
            set: queue.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("mspipe timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: most,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            mapped: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            written: 0,
            most,
            ready: Arc::default(),
        })
    }

    /// Has the time written at which all that was submitted before has ended. It does nothing once
    /// there is no room.
    pub fn write(&mut self, queue: &GpuQueue) {
        if self.written == self.most {
            return;
        }
        let mut encoder = queue.device.create_command_encoder(&Default::default());
        // An empty pass: it needs no more than the feature that all backends have.
        drop(encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.set,
                beginning_of_pass_write_index: Some(self.written),
                end_of_pass_write_index: None,
            }),
        }));
        queue.queue.submit([encoder.finish()]);
        self.written += 1;
    }

    /// Asks for those that were written.
    pub fn ask(&mut self, queue: &GpuQueue) {
        let mut encoder = queue.device.create_command_encoder(&Default::default());
        encoder.resolve_query_set(&self.set, 0..self.written, &self.resolved, 0);
        let bytes = u64::from(self.written) * u64::from(wgpu::QUERY_SIZE);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.mapped, 0, bytes);
        queue.queue.submit([encoder.finish()]);
        let ready = self.ready.clone();
        let done = move |mapped: Result<(), wgpu::BufferAsyncError>| {
            let _once = ready.set(mapped.is_ok());
        };
        self.mapped.slice(..).map_async(wgpu::MapMode::Read, done);
    }

    /// The ticks in the order in which they were written, once they are there; after that it has room
    /// again.
    pub fn read(&mut self, queue: &GpuQueue) -> Option<Vec<u64>> {
        if self.ready.get().is_none() {
            queue.poll();
        }
        let mapped = *self.ready.get()?;
        let mut ticks = Vec::new();
        if mapped {
            let bytes = usize::try_from(self.written).unwrap_or(0) * wgpu::QUERY_SIZE as usize;
            if let Ok(view) = self.mapped.slice(..).get_mapped_range() {
                ticks.extend(bytemuck::allocation::pod_collect_to_vec::<u8, u64>(
                    &view[..bytes],
                ));
            }
            self.mapped.unmap();
        }
        self.written = 0;
        self.ready = Arc::default();
        Some(ticks)
    }
}

/// What turns ticks of a queue into times of the host.
#[derive(Debug, Clone, Copy)]
pub struct QueueClock {
    tick_ns: f64,
    at: (u64, Instant),
    /// How far off it may be.
    pub within: Duration,
}

/// Ticks are compared with the host's clock this often; the closest counts.
const COMPARISONS: usize = 5;

impl QueueClock {
    /// Compares the clocks of an idle queue; waits for it.
    pub fn of(queue: &GpuQueue) -> Option<QueueClock> {
        let mut stamps = Stamps::new(queue, 1)?;
        let mut best: Option<QueueClock> = None;
        queue.submitted().wait().ok()?;
        for _ in 0..COMPARISONS {
            let begin = Instant::now();
            stamps.write(queue);
            queue.submitted().wait().ok()?;
            let within = begin.elapsed() / 2;
            stamps.ask(queue);
            queue.submitted().wait().ok()?;
            let tick = *stamps.read(queue)?.first()?;
            if best.is_none_or(|best| within < best.within) {
                best = Some(QueueClock {
                    tick_ns: queue.tick_ns?,
                    at: (tick, begin + within),
                    within,
                });
            }
        }
        best
    }

    /// The host's time at `tick`.
    pub fn time(&self, tick: u64) -> Instant {
        let (at, instant) = self.at;
        let since = Duration::from_nanos((tick.abs_diff(at) as f64 * self.tick_ns) as u64);
        match tick >= at {
            true => instant + since,
            false => instant.checked_sub(since).unwrap_or(instant),
        }
    }
}
