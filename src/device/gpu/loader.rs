//! Whether the library is there through which drivers are found: without it a machine has no adapter,
//! whatever cards it has, and wgpu does not say why.

/// What is missing and how to get it, if something is.
#[cfg(target_os = "linux")]
pub(super) fn missing() -> Option<&'static str> {
    use nix::libc;

    // SAFETY: the name ends with a NUL; initialisers of a Vulkan loader have no requirements, and the
    // handle stays open, as wgpu's own does.
    let loader = unsafe { libc::dlopen(c"libvulkan.so.1".as_ptr(), libc::RTLD_NOW) };
    loader.is_null().then_some(
        "the Vulkan loader, libvulkan.so.1, can't be loaded (Debian and Ubuntu: apt-get install libvulkan1; \
         Fedora: dnf install vulkan-loader), and without it no driver is found",
    )
}

/// Part of the system.
#[cfg(not(target_os = "linux"))]
pub(super) fn missing() -> Option<&'static str> {
    None
}
