//! What numbers were measured on and with: processor, system, version and commit.
//!
//! It asks the system when it is called; what that does not say is called unknown. The commit is that of the
//! build (`build.rs`).

use std::fs;
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

/// Version and commit that the program was built from, with `+ changes` where files that git knows differed from
/// it then.
pub fn program() -> String {
    format!(
        "mspipe {}, commit {}",
        env!("CARGO_PKG_VERSION"),
        env!("MSPIPE_COMMIT")
    )
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

    /// The tests are built from the sources that lie here.
    #[test]
    fn names_the_commit_that_it_was_built_from() {
        let git = |arguments: &[&str]| output(Command::new("git").args(arguments));
        let top = git(&["rev-parse", "--show-toplevel"]);
        let top = top.and_then(|top| fs::canonicalize(top).ok());
        let ours = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).ok();
        let expected = match git(&["rev-parse", "--short=10", "HEAD"]) {
            Some(commit) if top == ours => commit,
            _ => "unknown".to_owned(),
        };
        let program = program();
        let (_, commit) = program.split_once(", commit ").unwrap();
        assert_eq!(commit.trim_end_matches(" + changes"), expected);
    }
}
