//! How much memory an adapter has.
//!
//! WebGPU does not tell, and wgpu has no call for it. Through wgpu's Vulkan layer the driver can be asked;
//! with DX12 and Metal it stays unknown.

/// Bytes of the heaps that the driver calls the device's own, where it can be asked.
#[cfg(any(target_os = "linux", target_os = "windows"))]
pub(super) fn device_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT` of the Vulkan specification.
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the adapter lives as long as `adapter`, which is borrowed, and nothing of it is destroyed.
    let vulkan = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = vulkan.shared_instance().raw_instance();
    // SAFETY: both are of one instance, which is alive; the call only reads.
    let memory =
        unsafe { instance.get_physical_device_memory_properties(vulkan.raw_physical_device()) };
    let heaps = memory
        .memory_heaps
        .iter()
        .take(memory.memory_heap_count as usize);
    let own = heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0);
    own.map(|heap| heap.size).max()
}

/// Not asked here.
#[cfg(not(any(target_os = "linux", target_os = "windows")))]
pub(super) fn device_bytes(_: &wgpu::Adapter) -> Option<u64> {
    None
}
