//! GPUs, in programs with the feature `gpu`: the adapters of this machine, opening one, its queue beside burn, and what
//! goes wrong on it later. `no_gpu.rs` has the same names for programs without.

mod adapters;
mod heaps;
mod limits;
mod loader;
mod log;
pub mod queue;
mod watch;

use burn::tensor::Device;
use burn::tensor::wgpu::WgpuSetup;

use super::error::{DeviceError, LOCAL_RANK};
use super::limits::LimitsChoice;
use super::opened::ComputeDevice;
use super::report::{AdapterReport, EMULATED};
use super::settings::{DeviceChoice, DeviceSettings};
use crate::kernels::choice::{AdapterClass, KernelChoice};
use crate::kernels::gpu::settled;
use crate::kernels::gpu::wgsl::MAX_STORAGE_BUFFERS;
use watch::Watch;

pub use log::heed;
pub(super) use log::heed_errors;
pub(crate) use watch::has_failed;
pub(super) use watch::take as take_failure;

/// Launches that cubecl gathers before it encodes and submits them unasked: few enough that a device that has
/// nothing to do waits for half of an iteration of TGN at most, and twice as many as cubecl would have.
const TASKS: usize = 64;

/// Why `auto` takes the CPU.
pub(super) const WHY_CPU: &str =
    "no GPU was found that can run mspipe ('mspipe devices' lists what there is)";

/// What keeps adapters from being found, and what to do, if that can be told.
pub(super) fn missing() -> Option<String> {
    loader::missing()
}

impl AdapterReport {
    /// Of an adapter that has no number yet.
    fn new(adapter: &wgpu::Adapter) -> AdapterReport {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let class = adapters::class(info.device_type);
        let driver = format!("{} {}", info.driver, info.driver_info);
        AdapterReport {
            device: String::new(),
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
        if !self.real {
            text += EMULATED;
        }
        text
    }
}

impl ComputeDevice {
    /// Takes the device away from burn, as a driver does that resets it: for tests of what follows.
    pub fn lose(&self) {
        if let Some(queue) = queue::of(&self.device) {
            queue.lose();
        }
    }
}

/// Adapters of this machine with a report on each, in the order in which they are numbered: each card once,
/// discrete ones first, software last.
pub(super) fn adapters() -> Vec<AdapterReport> {
    probe().into_iter().map(|(_, report)| report).collect()
}

fn probe() -> Vec<(wgpu::Adapter, AdapterReport)> {
    let found = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::PRIMARY));
    let infos: Vec<_> = found.iter().map(wgpu::Adapter::get_info).collect();
    let order = adapters::offered(&infos, |at| unfit(&found[at]).is_none());
    let mut found: Vec<Option<wgpu::Adapter>> = found.into_iter().map(Some).collect();
    let (mut gpus, mut software, mut auto_taken) = (0, 0, false);
    order
        .into_iter()
        .filter_map(|at| found[at].take())
        .map(|adapter| {
            let mut report = AdapterReport::new(&adapter);
            let (choice, next): (fn(usize) -> DeviceChoice, _) = match report.real {
                true => (DeviceChoice::Gpu, &mut gpus),
                false => (DeviceChoice::Software, &mut software),
            };
            report.device = choice(*next).to_string();
            *next += 1;
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

/// The adapter for `settings`, opened; None for the CPU.
///
/// # Errors
/// When it is not there, lacks something, or the driver refuses it.
pub(super) fn open(settings: DeviceSettings) -> Result<Option<ComputeDevice>, DeviceError> {
    let selected = select(settings)?;
    selected.map(|found| found.open(settings)).transpose()
}

/// The same, which stays closed.
///
/// # Errors
/// When it is not there, or lacks limits that are asked for.
pub(super) fn chosen(settings: DeviceSettings) -> Result<Option<AdapterReport>, DeviceError> {
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
        let limits = limits::wanted(settings.limits, &adapter.limits()).map_err(|reason| {
            DeviceError::Limits {
                adapter: report.name.clone(),
                reason,
            }
        })?;
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
    let mut found = probe();
    let nth = |real: bool, number: usize| {
        let mut those = (0..found.len()).filter(|&at| found[at].1.real == real);
        those.nth(number)
    };
    let at = match choice {
        DeviceChoice::Cpu | DeviceChoice::GpuOfRank => None,
        DeviceChoice::Auto => found.iter().position(|(_, report)| report.auto),
        DeviceChoice::Gpu(number) => Some(nth(true, number).ok_or_else(|| DeviceError::NoGpu {
            number,
            found: offered(&found),
        })?),
        DeviceChoice::Software(number) => {
            Some(nth(false, number).ok_or_else(|| DeviceError::NoSoftware {
                number,
                found: offered(&found),
            })?)
        }
    };
    Ok(at.map(|at| found.swap_remove(at)))
}

/// What this machine offers in place of what was asked for, and what keeps more from being found.
fn offered(found: &[(wgpu::Adapter, AdapterReport)]) -> String {
    let names = found.iter().map(|(_, report)| {
        let kind = if report.real { "GPU" } else { "software" };
        format!("{} ({kind})", report.name)
    });
    let names = match found.is_empty() {
        true => "no adapter".to_owned(),
        false => names.collect::<Vec<_>>().join(", "),
    };
    let left_out = loader::missing().map_or_else(String::new, |missing| format!(": {missing}"));
    format!("this machine offers {names}{left_out}")
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
            .tasks_max(TASKS)
            .setup(setup)
            .init()
            .map_err(|error| refused(error.to_string()))?;
        let most = report.binding_bytes.min(report.buffer_bytes);
        let watch = Watch::new(&report.name, report.memory_bytes, most);
        watch::add(&opened, &device, watch);
        settled::settle(&opened, report.kernels);
        gpu_queue.register(&opened);
        Ok(ComputeDevice {
            device: opened,
            backend: "wgpu",
            adapter: report.described(settings),
            kernels: Some(report.kernels),
            table_bytes: Some(most),
        })
    }
}
