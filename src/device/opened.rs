//! A device that is open.

use burn::tensor::Device;

use crate::kernels::choice::Kernels;

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
}

/// Name of the CPU backend.
pub(super) const CPU: &str = "cpu";

/// The CPU device: there is nothing to open.
pub(super) fn cpu() -> ComputeDevice {
    let threads = match rayon::current_num_threads() {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    ComputeDevice {
        device: Device::flex(),
        backend: CPU,
        adapter: format!("burn flex on {}, {threads}", std::env::consts::ARCH),
        kernels: None,
        table_bytes: None,
    }
}
