//! Compute devices: which adapters there are, which one to use, and the one thread that
//! talks to burn.
//!
//! mspipe opens the adapter itself and hands it to burn, so the adapter that is listed
//! under a number is the one that runs. burn's streams belong to threads, so everything
//! that touches a tensor runs inside [`on_device_thread`].

mod adapters;
mod failure;
mod heaps;
mod limits;
mod loader;
pub mod queue;
mod settings;

use std::panic::{self, AssertUnwindSafe};

use burn::tensor::Device;
use burn::tensor::wgpu::WgpuSetup;
use serde::Serialize;
use thiserror::Error;

use crate::kernels::choice;
use crate::kernels::wgsl::MAX_STORAGE_BUFFERS;
use failure::Watch;

pub use crate::kernels::choice::{AdapterClass, KernelChoice, Kernels};
pub(crate) use failure::has_failed;
pub use failure::{DeviceFailure, heed, heed_log};
pub use limits::LimitsChoice;
pub use settings::{DeviceChoice, DeviceSettings};

/// Why a device can't be used.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// No launcher says which of a machine's processes this is.
    #[error(
        "--device gpu:local-rank: none of {} is set; start the ranks with mpirun or srun, or give gpu:N",
        LOCAL_RANK.join(", ")
    )]
    NoLocalRank,
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
    /// The device failed while it worked.
    #[error(transparent)]
    Failed(#[from] DeviceFailure),
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
    /// What it is.
    pub class: AdapterClass,
    /// Whether it is a real GPU.
    pub real: bool,
    /// The kernels that it runs.
    pub kernels: Kernels,
    /// Memory of its own (RAM on an integrated or software adapter), in bytes, where the driver tells it.
    pub memory_bytes: Option<u64>,
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

impl AdapterReport {
    /// Of a software adapter, or of a GPU that has no number yet.
    fn new(adapter: &wgpu::Adapter) -> AdapterReport {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let class = AdapterClass::from(info.device_type);
        let driver = format!("{} {}", info.driver, info.driver_info);
        AdapterReport {
            device: "software".to_owned(),
            name: info.name,
            api: info.backend.to_string(),
            driver: driver.trim().to_owned(),
            class,
            real: class != AdapterClass::Software,
            kernels: KernelChoice::Auto.on(class),
            memory_bytes: heaps::device_bytes(adapter),
            binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            unfit: unfit(adapter),
            auto: false,
        }
    }

    /// Whether what it keeps is in RAM.
    pub(crate) fn shares_ram(&self) -> bool {
        matches!(
            self.class,
            AdapterClass::Integrated | AdapterClass::Software
        )
    }

    fn set_limits(&mut self, limits: &wgpu::Limits) {
        self.binding_bytes = limits.max_storage_buffer_binding_size;
        self.buffer_bytes = limits.max_buffer_size;
        self.storage_buffers = limits.max_storage_buffers_per_shader_stage;
        self.workgroup_bytes = limits.max_compute_workgroup_storage_size;
    }

    /// The error that it can't run mspipe.
    fn unfit(&self, reason: String) -> DeviceError {
        DeviceError::Unfit {
            adapter: self.name.clone(),
            reason,
        }
    }

    /// What results belong to: name, API and driver, and what was asked for that changes results.
    fn described(&self, settings: DeviceSettings) -> String {
        let mut text = format!("{} ({}, {})", self.name, self.api, self.driver);
        if self.kernels != KernelChoice::Auto.on(self.class) {
            text += &format!(", kernels of --kernels {}", settings.kernels);
        }
        if settings.limits != LimitsChoice::Adapter {
            text += &format!(", limits of --limits {}", settings.limits);
        }
        text
    }
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
    /// The kernels that it runs; none on the CPU.
    pub kernels: Option<Kernels>,
    /// Largest number of bytes in one table; none on the CPU.
    pub table_bytes: Option<u64>,
    /// What burn works on; none on the CPU.
    wgpu: Option<wgpu::Device>,
}

impl ComputeDevice {
    /// Takes the device away from burn, as a driver does that resets it: for tests of what follows.
    pub fn lose(&self) {
        if let Some(device) = &self.wgpu {
            device.destroy();
        }
    }
}

/// What is missing where this machine offers no adapter, and how to get it, if that can be told.
pub fn missing_loader() -> Option<&'static str> {
    loader::missing()
}

/// Adapters of this machine with a report on each, in the order in which they are numbered: each card once,
/// discrete ones first, software last.
pub fn adapters() -> Vec<AdapterReport> {
    probe().into_iter().map(|(_, report)| report).collect()
}

fn probe() -> Vec<(wgpu::Adapter, AdapterReport)> {
    let found = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::PRIMARY));
    let infos: Vec<_> = found.iter().map(wgpu::Adapter::get_info).collect();
    let order = adapters::offered(&infos, |at| unfit(&found[at]).is_none());
    let mut found: Vec<Option<wgpu::Adapter>> = found.into_iter().map(Some).collect();
    let (mut gpus, mut auto_taken) = (0, false);
    order
        .into_iter()
        .filter_map(|at| found[at].take())
        .map(|adapter| {
            let mut report = AdapterReport::new(&adapter);
            if report.real {
                report.device = format!("gpu:{gpus}");
                gpus += 1;
            }
            report.auto = report.real && report.unfit.is_none() && !auto_taken;
            auto_taken |= report.auto;
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

/// Opens the device that `settings` ask for.
///
/// # Errors
/// When it is not there, lacks something, or the driver refuses it.
pub fn open(settings: impl Into<DeviceSettings>) -> Result<ComputeDevice, DeviceError> {
    let settings = settings.into();
    match select(settings)? {
        None => Ok(cpu()),
        Some(found) => found.open(settings),
    }
}

/// The adapter that [`open`] takes for `settings`, which stays closed; None for the CPU.
///
/// # Errors
/// When it is not there, or lacks limits that are asked for.
pub(crate) fn chosen(settings: DeviceSettings) -> Result<Option<AdapterReport>, DeviceError> {
    Ok(select(settings)?.map(|found| found.report))
}

/// An adapter that is to be opened.
struct Selected {
    adapter: wgpu::Adapter,
    /// With the kernels that it is to run and the limits that are asked of it.
    report: AdapterReport,
    limits: wgpu::Limits,
}

impl Selected {
    fn new(
        (adapter, mut report): (wgpu::Adapter, AdapterReport),
        settings: DeviceSettings,
    ) -> Result<Selected, DeviceError> {
        let limits = settings
            .limits
            .of(&adapter.limits())
            .map_err(|reason| report.unfit(reason))?;
        report.kernels = settings.kernels.on(report.class);
        report.set_limits(&limits);
        Ok(Selected {
            adapter,
            report,
            limits,
        })
    }
}

/// The adapter for `settings`, None for the CPU.
fn select(settings: DeviceSettings) -> Result<Option<Selected>, DeviceError> {
    let Some(found) = find(settings.choice)? else {
        return Ok(None);
    };
    Selected::new(found, settings).map(Some)
}

/// Where launchers of MPI jobs say which of a machine's processes one is: Open MPI, MPICH and Intel, Slurm.
const LOCAL_RANK: [&str; 3] = [
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "SLURM_LOCALID",
];

/// Which of the processes on this machine this is, from 0.
fn local_rank() -> Option<usize> {
    let mut said = LOCAL_RANK
        .iter()
        .filter_map(|name| std::env::var(name).ok());
    said.find_map(|number| number.parse().ok())
}

/// The adapter for `choice`, None for the CPU.
fn find(choice: DeviceChoice) -> Result<Option<(wgpu::Adapter, AdapterReport)>, DeviceError> {
    let choice = match choice {
        DeviceChoice::Cpu => return Ok(None),
        DeviceChoice::GpuOfRank => DeviceChoice::Gpu(local_rank().ok_or(DeviceError::NoLocalRank)?),
        choice => choice,
    };
    let found = probe();
    let names = match found.as_slice() {
        [] => match loader::missing() {
            None => "this machine offers no adapter".to_owned(),
            Some(missing) => format!("this machine offers no adapter: {missing}"),
        },
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
        DeviceChoice::Cpu | DeviceChoice::GpuOfRank => Ok(None),
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
        kernels: None,
        table_bytes: None,
        wgpu: None,
    }
}

impl Selected {
    fn open(self, settings: DeviceSettings) -> Result<ComputeDevice, DeviceError> {
        let Selected {
            adapter,
            report,
            limits,
        } = self;
        if let Some(reason) = &report.unfit {
            return Err(report.unfit(reason.clone()));
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
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        }))
        .map_err(|error| refused(error.to_string()))?;
        let backend = adapter.get_info().backend;
        let gpu_queue = queue::GpuQueue::new(device.clone(), queue.clone(), backend);
        let setup = WgpuSetup {
            instance: instance(),
            adapter,
            device: device.clone(),
            queue,
            backend,
        };
        let opened = Device::wgpu_options()
            .setup(setup)
            .init()
            .map_err(|error| refused(error.to_string()))?;
        let most = report.binding_bytes.min(report.buffer_bytes);
        let watch = Watch::new(&report.name, report.memory_bytes, most);
        failure::add(&opened, &device, watch);
        choice::settle(&opened, report.kernels);
        gpu_queue.register(&opened);
        Ok(ComputeDevice {
            device: opened,
            backend: "wgpu",
            adapter: report.described(settings),
            kernels: Some(report.kernels),
            table_bytes: Some(most),
            wgpu: Some(device),
        })
    }
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
        let done = panic::catch_unwind(AssertUnwindSafe(work));
        (done, failure::take())
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
