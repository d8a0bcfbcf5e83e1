//! Compute devices: which adapters there are, which one to use, and the one thread that
//! talks to burn.
//!
//! mspipe opens the adapter itself and hands it to burn, so the adapter that is listed
//! under a number is the one that runs. burn's streams belong to threads, so everything
//! that touches a tensor runs inside [`on_device_thread`].

mod error;
mod failure;
#[cfg(feature = "gpu")]
mod gpu;
mod limits;
#[cfg(not(feature = "gpu"))]
mod no_gpu;
mod opened;
mod report;
mod settings;

use std::io::IsTerminal as _;
use std::panic::{self, AssertUnwindSafe};

use burn::tensor::Tensor;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

#[cfg(not(feature = "gpu"))]
use no_gpu as gpu;
use opened::{CPU, cpu};

use crate::parallel;

pub use crate::kernels::choice::{AdapterClass, KernelChoice, Kernels};
pub use error::DeviceError;
pub use failure::DeviceFailure;
pub(crate) use gpu::has_failed;
#[cfg(feature = "gpu")]
pub use gpu::instance;
pub use gpu::{heed, queue};
pub use limits::LimitsChoice;
pub use opened::ComputeDevice;
pub use report::{AdapterReport, EMULATED};
pub use settings::{DeviceChoice, DeviceSettings};

/// Whether this program has what GPUs need: it was built with the feature `gpu`.
pub const BUILT_FOR_GPUS: bool = cfg!(feature = "gpu");

/// What keeps adapters from being found where this machine offers none, or not the one that is looked for, and what to do, if
/// that can be told.
pub fn unfound() -> Option<String> {
    gpu::missing()
}

/// Adapters of this machine with a report on each, in the order in which they are numbered: each card once,
/// discrete ones first, software last. None in a program without the feature `gpu`.
pub fn adapters() -> Vec<AdapterReport> {
    gpu::adapters()
}

/// What the user should know where `--device auto` took the CPU, and why it did.
pub fn auto_note(asked: DeviceChoice, opened: &ComputeDevice) -> Option<String> {
    let fell_back = asked == DeviceChoice::Auto && opened.backend == CPU;
    fell_back.then(|| format!("--device auto takes the CPU: {}", gpu::WHY_CPU))
}

/// Without a desktop session, Mesa's device-select layer prints an error for each instance
/// that is opened (it looks for a Wayland display). It only reorders adapters for desktops: off with it.
///
/// # Safety
/// It sets an environment variable: no other thread may run.
pub unsafe fn quiet_mesa() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: as the caller says.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Opens the device that `settings` ask for.
///
/// # Errors
/// When it is not there, lacks something, or the driver refuses it.
pub fn open(settings: impl Into<DeviceSettings>) -> Result<ComputeDevice, DeviceError> {
    Ok(gpu::open(settings.into())?.unwrap_or_else(cpu))
}

/// The adapter that [`open`] takes for `settings`, which stays closed; None for the CPU.
///
/// # Errors
/// When it is not there, or lacks limits that are asked for.
pub fn chosen(settings: DeviceSettings) -> Result<Option<AdapterReport>, DeviceError> {
    gpu::chosen(settings)
}

/// The numbers of a tensor, row-major.
///
/// # Errors
/// burn's words when the device does not hand them over: work that should have made them was not done. The cause is kept, so
/// that [`has_failed`] knows of it and [`on_device_thread`] ends with it and with what to do.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    let data = tensor.try_into_data().inspect_err(heed);
    let data = data.map_err(|error| format!("{error:?}"))?;
    data.try_into_vec().map_err(|error| format!("{error:?}"))
}

/// From now on warnings and errors of the log (or what `RUST_LOG` says) are written to `writer`, and errors
/// of the GPU runtime end the run whose device they are of. Called by a program's `main`; a second call, as of the
/// command in a process of Python's, changes nothing.
pub fn heed_log<W>(writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let shown = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let shown = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(shown);
    let errors = gpu::heed_errors();
    let _ = tracing_subscriber::registry()
        .with(shown)
        .with(errors)
        .try_init();
}

/// Runs `work` on the thread that owns burn, and returns its result.
///
/// The thread is a worker of rayon's pool: what `work` does in parallel starts on the spot,
/// where a thread outside the pool would be put to sleep and woken for each operation.
///
/// # Errors
/// When a device that is open failed meanwhile, whatever came of the work; when it panics, with the panic's
/// message.
pub fn on_device_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, DeviceError> {
    let (done, failure) = rayon::scope(|_| {
        let done = panic::catch_unwind(AssertUnwindSafe(|| parallel::without_looking(work)));
        (done, gpu::take_failure())
    });
    match failure {
        Some(failure) => Err(failure.into()),
        None => done.map_err(|panic| {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            DeviceError::Panicked(message.unwrap_or("it panicked").to_owned())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_the_device_thread_comes_back_as_an_error() {
        let error = on_device_thread(|| -> () { panic!("lost {}", 7) }).unwrap_err();
        assert_eq!(error.to_string(), "the device thread stopped: lost 7");
    }
}
