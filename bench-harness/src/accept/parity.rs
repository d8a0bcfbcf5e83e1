//! The part `parity`: three models train a drawn stream on this device and on the CPU device, from
//! the same weights, and every number is compared.

use anyhow::Result;
use mspipe::console;
use mspipe::device::DeviceChoice;

use super::asked::Asked;
use super::found::Findings;
use crate::parity::{Comparison, Quantity, Report, record, replay};
use crate::recording::drawn::drawn;

/// Seed of the first weights.
const SEED: u64 = 7;

/// Largest error of how far a parameter moved. Adam divides a gradient by its own size, so that after
/// these few steps what rounding did to a small gradient is in the change undiminished; a wrong step is off
/// by far more.
const CHANGES: f64 = 2e-2;

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    let [batches, batch] = if asked.quick { [3, 200] } else { [6, 600] };
    let models = ["tgn", "jodie", "apan"];
    let trains = |model: &str| format!("{model}: trains");
    let planned = models.iter().flat_map(|model| {
        let compared = Quantity::ALL.map(|quantity| name(model, quantity));
        [trains(model)].into_iter().chain(compared)
    });
    // Without an end of the training there is nothing to compare: then these did not run.
    findings.plan(planned.collect::<Vec<_>>())?;
    for model in models {
        console::note(format!("  {model}, {batches} batches of {batch} events"));
        let mut comparisons = Vec::new();
        findings.check(&trains(model), "no error", |_| {
            let report =
                trained_twice(model, batches, batch, asked).map_err(|e| format!("{e:#}"))?;
            comparisons = report.comparisons;
            Ok(format!("{batches} batches of {batch} events").into())
        })?;
        for row in comparisons {
            compared(model, row, findings)?;
        }
    }
    Ok(())
}

/// Trains on the CPU device, and then on the one that is asked for.
fn trained_twice(model: &str, batches: usize, batch: usize, asked: &Asked) -> Result<Report> {
    let drawn = drawn(model, batches, batch)?;
    let recording = record(drawn, SEED, DeviceChoice::Cpu.into())?;
    replay(&recording, asked.device)
}

fn name(model: &str, quantity: Quantity) -> String {
    format!("{model}: {quantity}")
}

fn compared(model: &str, row: Comparison, findings: &mut Findings) -> Result<()> {
    let name = name(model, row.quantity);
    let (tolerance, passed) = match row.quantity {
        Quantity::ParameterChanges => (CHANGES, row.relative <= CHANGES),
        _ => (row.tolerance, row.passed),
    };
    let expected = match tolerance {
        0.0 => "the same numbers".to_owned(),
        tolerance => format!("at most {tolerance:.0e}"),
    };
    let found = format!(
        "off by {:.1e} at most ({}), {} numbers",
        row.relative, row.worst, row.numbers
    );
    findings.check(&name, &expected, |_| match passed {
        true => Ok(found.into()),
        false => Err(found),
    })
}
