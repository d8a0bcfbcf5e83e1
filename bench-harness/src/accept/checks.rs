//! The part `checks`: what the GPU tests check, on this device.

use anyhow::Result;
use mspipe::console;
use mspipe::device::DeviceChoice;
use mspipe_checks::{Check, Group, Measured};

use super::asked::Asked;
use super::found::{Findings, Found};

/// Groups that `--quick` leaves out: they train and score whole runs.
const LONG: [&str; 3] = ["row_independence", "pair_scores", "schedules"];

/// Groups of what only a GPU does.
const LAUNCHES: [&str; 1] = ["gpu::launches"];

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    mspipe_checks::set_device(asked.device);
    let mut groups = mspipe_checks::all();
    let mut without = |names: &[&str], why: &str| {
        let left_out = names.iter().map(|name| format!("{name}, {why}"));
        findings.report.left_out.extend(left_out);
        groups.retain(|group| !names.contains(&group.name.as_str()));
    };
    if asked.quick {
        without(&LONG, "by --quick");
    }
    if asked.device.choice == DeviceChoice::Cpu {
        without(&LAUNCHES, "which the CPU device has none of");
    }
    of_groups(&groups, findings)
}

/// Runs all checks of some groups, whatever comes of each.
///
/// # Errors
/// When the findings can't be written.
pub fn of_groups(groups: &[Group], findings: &mut Findings) -> Result<()> {
    let all: usize = groups.iter().map(|group| group.checks.len()).sum();
    let names = groups.iter().flat_map(|group| {
        let name = move |check: &Check| format!("{}::{}", group.name, check.name);
        group.checks.iter().map(name)
    });
    findings.plan(names)?;
    let mut done = 0;
    for group in groups {
        for check in &group.checks {
            done += 1;
            let name = format!("{}::{}", group.name, check.name);
            console::note(format!("  [{done}/{all}] {name}"));
            findings.check(&name, group.expected, |_| found(check))?;
        }
    }
    Ok(())
}

fn found(check: &Check) -> Result<Found, String> {
    let measured = check.run()?;
    // What comes closest to its limit; where nothing may differ, nothing does.
    let used = |of: &Measured| match of.allowed {
        0.0 => 0.0,
        allowed => of.error / allowed,
    };
    let worst = measured.iter().max_by(|a, b| used(a).total_cmp(&used(b)));
    Ok(match worst {
        None => "as expected".to_owned().into(),
        Some(worst) => Found {
            text: format!(
                "off by {:.1e} at most ({}), {} results",
                worst.error,
                worst.what,
                measured.len()
            ),
            expected: Some(format!("at most {:.0e}", worst.allowed)),
        },
    })
}
