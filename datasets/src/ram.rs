//! How much memory there is.

/// Bytes of RAM that this process may still take: what the machine has available, and what its
/// control group allows.
pub fn available_bytes() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let machine = system.available_memory();
    system
        .cgroup_limits()
        .map_or(machine, |group| machine.min(group.free_memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_is_available() {
        assert!(available_bytes() > 0);
    }
}
