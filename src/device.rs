//! Compute devices: which adapters there are, which one to use, and the one thread that
//! talks to burn.
//!
//! mspipe opens the adapter itself and hands it to burn, so the adapter that is listed
//! under a number is the one that runs. burn's streams belong to threads, so everything
//! that touches a tensor runs inside [`on_device_thread`].

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::str::FromStr;

use burn::tensor::Device;
use burn::tensor::wgpu::WgpuSetup;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::kernels::wgsl::MAX_STORAGE_BUFFERS;

/// What the user asked for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first real GPU, or the CPU backend where there is none.
    #[default]
    Auto,
    /// burn's CPU backend.
    Cpu,
    /// The real GPU of this number, in the order of `mspipe devices`.
    Gpu(usize),
    /// A software adapter (llvmpipe, SwiftShader, WARP), for tests.
    Software,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "gpu" => Ok(DeviceChoice::Gpu(0)),
            "software" => Ok(DeviceChoice::Software),
            _ => text
                .strip_prefix("gpu:")
                .and_then(|number| number.parse().ok())
                .map(DeviceChoice::Gpu)
                .ok_or_else(|| {
                    format!("found '{text}', expected auto, cpu, gpu, gpu:N or software")
                }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Gpu(number) => write!(f, "gpu:{number}"),
            DeviceChoice::Software => f.write_str("software"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> String {
        choice.to_string()
    }
}

/// Why a device can't be used.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// No real GPU under this number.
    #[error(
        "no GPU {number}: {found}; 'mspipe devices' lists what there is, '--device cpu' needs no GPU"
    )]
    NoGpu {
        /// The number asked for.
        number: usize,
        /// What is there.
        found: String,
    },
    /// No software adapter.
    #[error(
        "no software adapter: {found}; on Debian and Ubuntu 'apt-get install mesa-vulkan-drivers' brings llvmpipe, Windows has WARP"
    )]
    NoSoftware {
        /// What is there.
        found: String,
    },
    /// The adapter lacks something.
    #[error(
        "{adapter} can't run mspipe: {reason}; try '--device cpu' or another adapter of 'mspipe devices'"
    )]
    Unfit {
        /// Its name.
        adapter: String,
        /// What it lacks.
        reason: String,
    },
    /// The driver refused to open it.
    #[error("{adapter} could not be opened: {reason}; try '--device cpu'")]
    Refused {
        /// Its name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// The device thread panicked.
    #[error("the device thread stopped: {0}")]
    Panicked(String),
}

/// One adapter, as `mspipe devices` lists it.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterReport {
    /// What selects it: `gpu:N` or `software`.
    pub device: String,
    /// The driver's name for it.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, ….
    pub api: String,
    /// Driver and its version.
    pub driver: String,
    /// Whether it is a real GPU.
    pub real: bool,
    /// Largest buffer that a shader can bind, in bytes.
    pub binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Storage buffers that a shader can bind.
    pub storage_buffers: u32,
    /// Shared memory of a workgroup, in bytes.
    pub workgroup_bytes: u32,
    /// Why mspipe can't use it, if so.
    pub unfit: Option<String>,
    /// Whether `--device auto` takes it.
    pub auto: bool,
}

/// An opened device.
#[derive(Debug, Clone)]
pub struct ComputeDevice {
    /// burn's device, without autodiff.
    pub device: Device,
    /// `cpu` or `wgpu`.
    pub backend: &'static str,
    /// Name of the adapter, driver and API, or what the CPU backend runs on.
    pub adapter: String,
    /// Largest number of bytes in one table; none on the CPU.
    pub table_bytes: Option<u64>,
}

/// Adapters of this machine with a report on each, real GPUs first.
pub fn adapters() -> Vec<AdapterReport> {
    probe().into_iter().map(|(_, report)| report).collect()
}

fn probe() -> Vec<(wgpu::Adapter, AdapterReport)> {
    let instance = instance();
    let mut found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    found.sort_by_key(|adapter| software(&adapter.get_info()));
    let (mut gpus, mut auto_taken) = (0, false);
    found
        .into_iter()
        .map(|adapter| {
            let (info, limits) = (adapter.get_info(), adapter.limits());
            let real = !software(&info);
            let unfit = unfit(&adapter);
            let device = if real {
                gpus += 1;
                format!("gpu:{}", gpus - 1)
            } else {
                "software".to_owned()
            };
            let auto = real && unfit.is_none() && !auto_taken;
            auto_taken |= auto;
            let report = AdapterReport {
                device,
                name: info.name,
                api: info.backend.to_string(),
                driver: format!("{} {}", info.driver, info.driver_info)
                    .trim()
                    .to_owned(),
                real,
                binding_bytes: limits.max_storage_buffer_binding_size,
                buffer_bytes: limits.max_buffer_size,
                storage_buffers: limits.max_storage_buffers_per_shader_stage,
                workgroup_bytes: limits.max_compute_workgroup_storage_size,
                unfit,
                auto,
            };
            (adapter, report)
        })
        .collect()
}

/// This machine's graphics interfaces. `WGPU_VALIDATION=1 WGPU_DEBUG=1` has them check every call and
/// log what is wrong with it: by the Khronos validation layer, or Direct3D's debug layer, where there
/// is one.
pub fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        flags: wgpu::InstanceFlags::from_env_or_default(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

fn software(info: &wgpu::AdapterInfo) -> bool {
    info.device_type == wgpu::DeviceType::Cpu
}

/// What the kernels need and this adapter lacks.
fn unfit(adapter: &wgpu::Adapter) -> Option<String> {
    let limits = adapter.limits();
    let needs: [(&str, u64, u64); 3] = [
        (
            "storage buffers per shader",
            u64::from(limits.max_storage_buffers_per_shader_stage),
            u64::from(MAX_STORAGE_BUFFERS),
        ),
        (
            "invocations per workgroup",
            u64::from(limits.max_compute_invocations_per_workgroup),
            128,
        ),
        (
            "bytes of workgroup memory",
            u64::from(limits.max_compute_workgroup_storage_size),
            16_384,
        ),
    ];
    needs
        .iter()
        .find(|(_, has, needs)| has < needs)
        .map(|(what, has, needs)| format!("it offers {has} {what}, {needs} are needed"))
}

/// Opens the device that `choice` asks for.
///
/// # Errors
/// When it is not there, lacks something, or the driver refuses it.
pub fn open(choice: DeviceChoice) -> Result<ComputeDevice, DeviceError> {
    match select(choice)? {
        None => Ok(cpu()),
        Some((adapter, report)) => open_adapter(adapter, &report),
    }
}

/// The adapter that [`open`] takes for `choice`, which stays closed; None for the CPU.
///
/// # Errors
/// When it is not there.
pub(crate) fn chosen(choice: DeviceChoice) -> Result<Option<AdapterReport>, DeviceError> {
    Ok(select(choice)?.map(|(_, report)| report))
}

/// The adapter for `choice`, None for the CPU.
fn select(choice: DeviceChoice) -> Result<Option<(wgpu::Adapter, AdapterReport)>, DeviceError> {
    if choice == DeviceChoice::Cpu {
        return Ok(None);
    }
    let found = probe();
    let names = match found.as_slice() {
        [] => "this machine offers no adapter".to_owned(),
        some => {
            let names = some.iter().map(|(_, report)| {
                let kind = if report.real { "GPU" } else { "software" };
                format!("{} ({kind})", report.name)
            });
            format!(
                "this machine offers {}",
                names.collect::<Vec<_>>().join(", ")
            )
        }
    };
    let mut found = found.into_iter();
    match choice {
        DeviceChoice::Cpu => Ok(None),
        DeviceChoice::Auto => Ok(found.find(|(_, report)| report.auto)),
        DeviceChoice::Gpu(number) => found
            .filter(|(_, report)| report.real)
            .nth(number)
            .map(Some)
            .ok_or(DeviceError::NoGpu {
                number,
                found: names,
            }),
        DeviceChoice::Software => found
            .find(|(_, report)| !report.real)
            .map(Some)
            .ok_or(DeviceError::NoSoftware { found: names }),
    }
}

fn cpu() -> ComputeDevice {
    ComputeDevice {
        device: Device::flex(),
        backend: "cpu",
        adapter: format!(
            "burn flex on {}, {} threads",
            std::env::consts::ARCH,
            rayon::current_num_threads()
        ),
        table_bytes: None,
    }
}

fn open_adapter(
    adapter: wgpu::Adapter,
    report: &AdapterReport,
) -> Result<ComputeDevice, DeviceError> {
    if let Some(reason) = &report.unfit {
        return Err(DeviceError::Unfit {
            adapter: report.name.clone(),
            reason: reason.clone(),
        });
    }
    let refused = |reason: String| DeviceError::Refused {
        adapter: report.name.clone(),
        reason,
    };
    // All features but experimental ones; mappable buffers slow real GPUs down.
    let features = adapter
        .features()
        .difference(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS)
        .difference(wgpu::Features::all_experimental_mask());
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("mspipe"),
        required_features: features,
        required_limits: adapter.limits(),
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    }))
    .map_err(|error| refused(error.to_string()))?;
    let backend = adapter.get_info().backend;
    let setup = WgpuSetup {
        instance: instance(),
        adapter,
        device,
        queue,
        backend,
    };
    let device = Device::wgpu_options()
        .setup(setup)
        .init()
        .map_err(|error| refused(error.to_string()))?;
    Ok(ComputeDevice {
        device,
        backend: "wgpu",
        adapter: format!("{} ({}, {})", report.name, report.api, report.driver),
        table_bytes: Some(report.binding_bytes.min(report.buffer_bytes)),
    })
}

/// Runs `work` on the thread that owns burn, and returns its result.
///
/// The thread is a worker of rayon's pool: what `work` does in parallel starts on the spot,
/// where a thread outside the pool would be put to sleep and woken for each operation.
///
/// # Errors
/// When it panics, with the panic's message.
pub fn on_device_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, DeviceError> {
    panic::catch_unwind(AssertUnwindSafe(|| rayon::scope(|_| work()))).map_err(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        DeviceError::Panicked(message.unwrap_or("it panicked").to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back_as_they_print() {
        for text in ["auto", "cpu", "gpu:0", "gpu:3", "software"] {
            let choice: DeviceChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("gpu".parse(), Ok(DeviceChoice::Gpu(0)));
        let error = "gpu:x".parse::<DeviceChoice>().unwrap_err();
        assert_eq!(
            error,
            "found 'gpu:x', expected auto, cpu, gpu, gpu:N or software"
        );
    }

    #[test]
    fn a_panic_on_the_device_thread_comes_back_as_an_error() {
        let error = on_device_thread(|| -> () { panic!("lost {}", 7) }).unwrap_err();
        assert_eq!(error.to_string(), "the device thread stopped: lost 7");
    }
}
