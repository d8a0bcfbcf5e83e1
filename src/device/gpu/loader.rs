//! Whether drivers can be found: without the library that does it, or where a variable sends it elsewhere, a machine has no
//! adapter, whatever cards it has, and wgpu does not say why.

/// What keeps drivers from being found and what to do, if something does.
#[cfg(target_os = "linux")]
pub(super) fn missing() -> Option<String> {
    use nix::libc;

    // SAFETY: the name ends with a NUL; initialisers of a Vulkan loader have no requirements, and the
    // handle stays open, as wgpu's own does.
    let loader = unsafe { libc::dlopen(c"libvulkan.so.1".as_ptr(), libc::RTLD_NOW) };
    if loader.is_null() {
        let text = "the Vulkan loader, libvulkan.so.1, can't be loaded (Debian and Ubuntu: apt-get install libvulkan1; \
                    Fedora: dnf install vulkan-loader), and without it no driver is found";
        return Some(text.to_owned());
    }
    let names = [
        "VK_DRIVER_FILES",
        "VK_ICD_FILENAMES",
        "VK_LOADER_DRIVERS_SELECT",
        "VK_LOADER_DRIVERS_DISABLE",
    ];
    let set = names.into_iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        Some(format!("{name}={}", value.display()))
    });
    let set: Vec<String> = set.collect();
    (!set.is_empty()).then(|| {
        format!(
            "{} is set, and by it the Vulkan loader leaves drivers out",
            set.join(", ")
        )
    })
}

/// Part of the system.
#[cfg(not(target_os = "linux"))]
pub(super) fn missing() -> Option<String> {
    None
}
