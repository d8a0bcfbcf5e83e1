//! How much memory there is, and a refusal of what would not fit.

use indicatif::HumanBytes;

/// Less than this is not worth a look.
const SMALL: u64 = 1 << 26;

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

/// The most RAM that this process has had at once, with the pages of files that it mapped and read;
/// `None` where the system does not tell (all but Linux).
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// What is wrong with taking `bytes` more, if they are not there.
pub(crate) fn room_for(bytes: u64) -> Result<(), String> {
    if bytes < SMALL {
        return Ok(());
    }
    let available = available_bytes();
    if bytes <= available {
        return Ok(());
    }
    Err(format!(
        "{} more of RAM needed and {} available",
        HumanBytes(bytes),
        HumanBytes(available)
    ))
}

/// `count` values of `fill`, or what is wrong with that many.
pub(crate) fn filled<T: Clone>(count: usize, fill: T) -> Result<Vec<T>, String> {
    let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
    room_for(bytes)?;
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .map_err(|_| format!("{} of RAM can't be had", HumanBytes(bytes)))?;
    values.resize(count, fill);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_stays_when_memory_is_given_back() {
        const BYTES: usize = 96 << 20;
        let before = peak_bytes().unwrap();
        let taken = std::hint::black_box(vec![1u8; BYTES]);
        assert!(taken.iter().all(|byte| *byte == 1));
        drop(taken);
        let after = peak_bytes().unwrap();
        assert!(
            after >= before && after >= BYTES as u64,
            "{before}, {after}"
        );
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        assert_eq!(filled(3, 7u8), Ok(vec![7; 3]));
        let much = filled(usize::MAX / 16, 0u64).unwrap_err();
        assert!(much.contains("more of RAM needed and"), "{much}");
        assert!(available_bytes() > 0);
    }
}
