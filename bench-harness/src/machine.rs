//! What numbers were measured on and with: processor, system, version and commit.
//!
//! It asks the system and `git` when it is called; what they don't say is called unknown.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// Processor, cores and system, as `AMD EPYC 9354, 2 cores, linux x86_64`.
pub fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {cores} cores, {} {}",
        processor().unwrap_or_else(|| "unknown processor".to_owned()),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

fn processor() -> Option<String> {
    match std::env::consts::OS {
        "linux" => {
            let text = fs::read_to_string("/proc/cpuinfo").ok()?;
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        }
        "macos" => output(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"])),
        // Windows gives family, model and stepping here; the name is in the registry alone.
        _ => std::env::var("PROCESSOR_IDENTIFIER").ok(),
    }
}

/// Version, and the commit where the program lies in its repository, with `+ changes` where files
/// that git knows differ from it; elsewhere what `MSPIPE_COMMIT` says (`scripts/pack-accept`).
pub fn program() -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |arguments: &[&str]| output(Command::new("git").args(arguments).current_dir(source));
    let version = env!("CARGO_PKG_VERSION");
    match git(&["rev-parse", "--short=10", "HEAD"]) {
        Some(commit) => {
            let clean = git(&["status", "--porcelain", "--untracked-files=no"])
                .is_some_and(|changes| changes.is_empty());
            let changed = if clean { "" } else { " + changes" };
            format!("mspipe {version}, commit {commit}{changed}")
        }
        None => {
            let packed = std::env::var("MSPIPE_COMMIT");
            let commit = packed.unwrap_or_else(|_| "unknown".to_owned());
            format!("mspipe {version}, commit {commit}")
        }
    }
}

/// What a command printed, trimmed, if it ended well.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_runs_on() {
        let machine = machine();
        assert!(machine.contains(" cores, "), "{machine}");
        assert!(machine.ends_with(std::env::consts::ARCH), "{machine}");
        assert!(program().starts_with("mspipe 0."), "{}", program());
    }
}
