//! The first failure of each open device.
//!
//! wgpu tells of it by callbacks, burn and cubecl by a line in the log and nothing else ([`log`](super::log)), on
//! threads of their own; what is under way then fails later and elsewhere, in words that don't say why, or not at all.
//! So the first cause is kept here, and [`on_device_thread`](crate::device::on_device_thread) returns it in place of
//! whatever came of the work.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::{Device, ExecutionError};

use super::super::failure::DeviceFailure;
use super::log::{self, cause_of, locked};

/// How long a device that failed is given to end what it was doing.
const NEWS: Duration = Duration::from_secs(2);

/// The first failure of one device.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    adapter: String,
    /// Bytes that it has, where its driver tells.
    memory: Option<u64>,
    /// Bytes of the largest buffer that a kernel can bind.
    most: u64,
    first: Arc<Mutex<Option<DeviceFailure>>>,
}

impl Watch {
    /// Of a device whose largest buffer has `most` bytes.
    pub(super) fn new(adapter: &str, memory: Option<u64>, most: u64) -> Watch {
        Watch {
            adapter: adapter.to_owned(),
            memory,
            most,
            first: Arc::default(),
        }
    }

    /// Listens to what wgpu says of `device`, in place of who has listened before: cubecl, whose listener
    /// panics. So does this one, after it has kept the error: what is under way must not go on
    /// with a buffer that is none, and the panic ends it on the thread that asked for it. (No panic hook is
    /// told: the run ends with the error.)
    fn listen(&self, device: &wgpu::Device) {
        let watch = self.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            let reason = error.to_string();
            watch.keep(match error {
                wgpu::Error::OutOfMemory { .. } => watch.no_memory(),
                _ => watch.of(reason.clone()),
            });
            panic::resume_unwind(Box::new(format!("wgpu: {reason}")));
        }));
        let watch = self.clone();
        device.set_device_lost_callback(move |_, reason| watch.lose(reason));
    }

    fn no_memory(&self) -> DeviceFailure {
        DeviceFailure::NoMemory {
            adapter: self.adapter.clone(),
            memory: self.memory,
        }
    }

    /// Of a reason in the words of wgpu or cubecl.
    fn of(&self, reason: String) -> DeviceFailure {
        let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        let adapter = self.adapter.clone();
        if says(&["out of device memory"]) {
            self.no_memory()
        } else if says(&[
            "binding size",
            "Buffer size",
            "can't allocate buffer of size",
        ]) {
            DeviceFailure::TooLarge {
                adapter,
                most: self.most,
                reason,
            }
        } else {
            DeviceFailure::Undone { adapter, reason }
        }
    }

    /// Keeps that the device is lost, whatever was kept before: buffers of a lost device are refused with
    /// other words, and sooner than wgpu tells why.
    fn lose(&self, reason: String) {
        let mut first = locked(&self.first);
        if !matches!(*first, Some(DeviceFailure::Lost { .. })) {
            *first = Some(self.lost(reason));
        }
    }

    /// wgpu tells of a loss when it is asked for news and all work has ended, as it has unless something
    /// failed. Whoever asks first has the listener called, on a thread of his own, so what looks like
    /// a consequence is given a moment.
    fn wait_for_news(&self, wgpu: &wgpu::Device) {
        let until = Instant::now() + NEWS;
        loop {
            // What came of the work is told by the listeners.
            let _ = wgpu.poll(wgpu::PollType::Wait {
                submission_index: None,
                timeout: Some(NEWS),
            });
            let first = locked(&self.first);
            let consequence = matches!(&*first, Some(DeviceFailure::Undone { reason, .. })
                if reason.contains("is invalid"));
            drop(first);
            if !consequence || Instant::now() > until {
                return;
            }
            thread::sleep(NEWS / 100);
        }
    }

    fn lost(&self, reason: String) -> DeviceFailure {
        DeviceFailure::Lost {
            adapter: self.adapter.clone(),
            reason,
        }
    }

    fn keep(&self, failure: DeviceFailure) {
        let mut first = locked(&self.first);
        first.get_or_insert(failure);
    }

    /// The first failure, which is then forgotten: a lost device before all that follows from it; what wgpu
    /// told; what burn says of the device once it has done all that it was given; what was only logged.
    fn take(&self, device: &Device, wgpu: &wgpu::Device) -> Option<DeviceFailure> {
        let synced = panic::catch_unwind(AssertUnwindSafe(|| device.sync()));
        self.wait_for_news(wgpu);
        let mut first = locked(&self.first);
        let (kept, logged) = (first.take(), log::taken());
        drop(first);
        match synced {
            _ if matches!(kept, Some(DeviceFailure::Lost { .. })) => kept,
            Ok(Err(ExecutionError::DevicePoisoned { reason })) => {
                Some(self.lost(cause_of(&reason)))
            }
            Ok(Err(error)) => kept.or_else(|| Some(self.of(cause_of(&error.to_string())))),
            Ok(Ok(())) => kept.or_else(|| logged.map(|reason| self.of(reason))),
            Err(_) => kept.or_else(|| Some(self.of("its thread has stopped".to_owned()))),
        }
    }
}

/// The adapters that this process has opened; they stay open.
static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

/// One of them, as burn and as wgpu know it.
#[derive(Clone)]
struct Open {
    burn: Device,
    wgpu: wgpu::Device,
    watch: Watch,
}

/// From now on [`take`] asks this device too, and `watch` listens to it.
pub(super) fn add(burn: &Device, wgpu: &wgpu::Device, watch: Watch) {
    watch.listen(wgpu);
    let mut open = locked(&OPEN);
    open.push(Open {
        burn: burn.clone(),
        wgpu: wgpu.clone(),
        watch,
    });
}

/// Whether a failure of an open device has been told or logged since the last [`take`]. Costs no wait.
pub(crate) fn has_failed() -> bool {
    let open = locked(&OPEN);
    let told = |watch: &Watch| watch.first.lock().is_ok_and(|first| first.is_some());
    let logged = log::has_error();
    open.iter().any(|device| logged || told(&device.watch))
}

/// The first failure of any open device since the last call; waits until they have done what they were
/// given. Called on the thread that gave it to them.
pub(crate) fn take() -> Option<DeviceFailure> {
    let open = locked(&OPEN).clone();
    open.iter()
        .find_map(|device| device.watch.take(&device.burn, &device.wgpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_kept_and_sizes_have_their_own_advice() {
        let watch = Watch::new("a card", Some(8 << 30), 128 << 20);
        let kept = || watch.first.lock().unwrap().clone();
        assert_eq!(kept(), None);
        let too_large = watch.of("Buffer binding size 1 exceeds the limit".to_owned());
        watch.keep(too_large.clone());
        watch.keep(watch.of("another".to_owned()));
        assert_eq!(kept(), Some(too_large.clone()));
        assert_eq!(
            too_large.to_string(),
            "a card binds at most 128.00 MiB at once, and a tensor has more: try a smaller --batch-size, \
             --fanout, --width or --mail-slots, fewer columns of features, or --device cpu; where only the test was \
             left, 'mspipe eval RUN --test-only' has it with these (Buffer binding size 1 exceeds the limit)"
        );
        watch.lose("reset".to_owned());
        watch.lose("dropped".to_owned());
        watch.keep(too_large);
        assert_eq!(kept(), Some(watch.lost("reset".to_owned())));
    }
}
