//! In place of `gpu.rs` in programs without the feature `gpu`: no adapter is found, none can be asked for, and nothing
//! fails later.

use std::fmt::Display;

use tracing_subscriber::layer::Identity;

use super::error::DeviceError;
use super::failure::DeviceFailure;
use super::opened::ComputeDevice;
use super::report::AdapterReport;
use super::settings::{DeviceChoice, DeviceSettings};

/// Why `auto` takes the CPU.
pub(super) const WHY_CPU: &str =
    "this program was built without the feature 'gpu', for the CPU alone";

/// What keeps adapters from being found.
pub(super) fn missing() -> Option<String> {
    Some(WHY_CPU.to_owned())
}

/// None.
pub(super) fn adapters() -> Vec<AdapterReport> {
    Vec::new()
}

/// None, for the CPU.
///
/// # Errors
/// When another device is asked for.
pub(super) fn chosen(settings: DeviceSettings) -> Result<Option<AdapterReport>, DeviceError> {
    match settings.choice {
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(None),
        asked => Err(DeviceError::NotBuilt { asked }),
    }
}

/// None, for the CPU.
///
/// # Errors
/// When another device is asked for.
pub(super) fn open(settings: DeviceSettings) -> Result<Option<ComputeDevice>, DeviceError> {
    chosen(settings).map(|_| None)
}

/// Nothing: what can't be read is told where it is read.
pub fn heed(_: &impl Display) {}

/// Nothing is looked for in the log.
pub(super) fn heed_errors() -> Identity {
    Identity::new()
}

/// Never.
pub(crate) fn has_failed() -> bool {
    false
}

/// None.
pub(super) fn take_failure() -> Option<DeviceFailure> {
    None
}

/// Queues, of which there are none: each type has no value.
pub mod queue {
    use std::convert::Infallible;
    use std::time::Instant;

    use burn::tensor::Device;

    /// A device's queue.
    #[derive(Debug, Clone)]
    pub struct GpuQueue(Infallible);

    /// None.
    pub fn of(_: &Device) -> Option<GpuQueue> {
        None
    }

    impl GpuQueue {
        /// Bytes of the device's memory that are taken.
        pub fn memory_bytes(&self) -> Option<u64> {
            match self.0 {}
        }

        /// All that has been submitted up to now.
        pub fn submitted(&self) -> Submission {
            match self.0 {}
        }
    }

    /// A place in a queue.
    #[derive(Debug, Clone)]
    pub struct Submission(Infallible);

    impl Submission {
        /// Waits until all up to here has ended.
        ///
        /// # Errors
        /// Never.
        pub fn wait(&self) -> Result<(), Infallible> {
            match self.0 {}
        }
    }

    /// Timestamps of several places in a queue.
    #[derive(Debug)]
    pub struct Stamps(Infallible);

    impl Stamps {
        /// Room for so many of them.
        pub fn new(queue: &GpuQueue, _: u32) -> Option<Stamps> {
            match queue.0 {}
        }

        /// Has the time written.
        pub fn write(&mut self, _: &GpuQueue) {
            match self.0 {}
        }

        /// Asks for those that were written.
        pub fn ask(&mut self, _: &GpuQueue) {
            match self.0 {}
        }

        /// The ticks, once they are there.
        pub fn read(&mut self, _: &GpuQueue) -> Option<Vec<u64>> {
            match self.0 {}
        }
    }

    /// What turns ticks of a queue into times of the host.
    #[derive(Debug, Clone, Copy)]
    pub struct QueueClock(Infallible);

    impl QueueClock {
        /// Compares the clocks.
        pub fn of(queue: &GpuQueue) -> Option<QueueClock> {
            match queue.0 {}
        }

        /// The host's time at a tick.
        pub fn time(&self, _: u64) -> Instant {
            match self.0 {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cpu_can_be_asked_for_and_what_is_missing_is_told() {
        for cpu in ["auto", "cpu"] {
            let choice: DeviceChoice = cpu.parse().unwrap();
            assert!(open(choice.into()).unwrap().is_none());
        }
        for gpu in ["gpu:0", "gpu:2", "gpu:local-rank", "software", "software:1"] {
            let choice: DeviceChoice = gpu.parse().unwrap();
            let said = open(choice.into()).unwrap_err().to_string();
            let expected =
                format!("--device {gpu}: this program was built without the feature 'gpu'");
            assert!(said.starts_with(&expected), "{said}");
        }
    }
}
