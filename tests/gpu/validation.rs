//! The Khronos validation layer checks every call of every test and reports through wgpu's log, which
//! [`device_thread`] turns into failures. Here: that such a report arrives at all.

use super::device_thread;

/// Whether `scripts/test` asked for the layer. wgpu goes on silently where it is not installed.
fn asked_for() -> bool {
    ["WGPU_VALIDATION", "WGPU_DEBUG"]
        .into_iter()
        .all(|name| std::env::var_os(name).is_some_and(|value| value != "0"))
}

/// Asks a driver for a buffer of no bytes and no use, which Vulkan forbids.
#[cfg(target_os = "linux")]
fn forbidden_call() {
    use wgpu::hal::api::Vulkan;
    let adapters = mspipe::device::instance().enumerate_adapters(wgpu::Backends::VULKAN);
    let adapter = pollster::block_on(adapters).into_iter().next().unwrap();
    let request = adapter.request_device(&wgpu::DeviceDescriptor::default());
    let (device, _queue) = pollster::block_on(request).unwrap();
    // SAFETY: the layer reports the call; drivers make a handle or an error of it, and the handle is
    // destroyed before the device is.
    unsafe {
        let device = device.as_hal::<Vulkan>().unwrap();
        let device = device.raw_device();
        if let Ok(buffer) = device.create_buffer(&Default::default(), None) {
            device.destroy_buffer(buffer, None);
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_forbidden_call_is_reported() {
    if !asked_for() {
        device_thread::say("not run: validation (WGPU_VALIDATION=1 WGPU_DEBUG=1 asks for it)");
        return;
    }
    let reported = device_thread::run(|_| {
        forbidden_call();
        device_thread::take_warnings()
    });
    let report = reported.join("\n");
    assert!(
        report.contains("VUID-VkBufferCreateInfo"),
        "the Khronos validation layer said nothing of a buffer of no bytes: is it installed \
         (Debian's vulkan-validationlayers)? It said: {report:?}"
    );
}
