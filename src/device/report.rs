//! What is told of an adapter.

use serde::Serialize;

use crate::kernels::choice::{AdapterClass, Kernels};

/// What the description of an adapter ends with that is no GPU: a processor runs its shaders, and times say nothing of any GPU.
pub const EMULATED: &str = ", EMULATED by a processor";

/// One adapter, as `mspipe devices` lists it.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterReport {
    /// What selects it: `gpu:N`, `software` or `software:N`.
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
    /// Whether what it keeps is in RAM.
    pub(crate) fn shares_ram(&self) -> bool {
        matches!(
            self.class,
            AdapterClass::Integrated | AdapterClass::Software
        )
    }
}
