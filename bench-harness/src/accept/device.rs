//! The part `device`: adapters, limits, driver, and what the opened device reaches.

use anyhow::Result;
use mspipe::device::{self, ComputeDevice, DeviceChoice};

use super::asked::Asked;
use super::found::{DeviceFacts, Findings};
use super::kernels::rates;

pub(super) fn run(asked: &Asked, findings: &mut Findings) -> Result<()> {
    let mut facts = DeviceFacts::default();
    let adapters = device::adapters();
    facts.adapters = adapters
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()?;
    let names: Vec<&str> = adapters
        .iter()
        .map(|adapter| adapter.name.as_str())
        .collect();
    findings.tell("adapters", format!("{}: {}", names.len(), names.join(", ")))?;
    let mut opened = None;
    let expected = format!("--device {} opens", asked.device.choice);
    findings.check("device", &expected, |_| {
        let device = device::open(asked.device).map_err(|error| error.to_string())?;
        let found = device.adapter.clone();
        opened = Some(device);
        Ok(found.into())
    })?;
    let Some(opened) = opened else {
        findings.report.device = Some(facts);
        return findings.keep();
    };
    let software = |adapter: &&device::AdapterReport| {
        !adapter.real && opened.adapter.starts_with(&adapter.name)
    };
    facts.emulated =
        asked.device.choice == DeviceChoice::Software || adapters.iter().any(|a| software(&a));
    facts.opened = Some(opened.adapter.clone());
    findings.report.device = Some(facts);
    reads_back(&opened, findings)?;
    measure(&opened, findings)
}

/// Whether numbers come back as they were uploaded.
fn reads_back(opened: &ComputeDevice, findings: &mut Findings) -> Result<()> {
    let name = "an upload of 4 MiB reads back";
    findings.check(name, "the same bits", |_| {
        device::on_device_thread(|| {
            let numbers: Vec<f32> = (0..1 << 20)
                .map(|i| f32::from_bits(0x3f80_0000 | i))
                .collect();
            let count = numbers.len();
            let tensor = mspipe::train::upload::floats(numbers.clone(), [count], &opened.device);
            let data = tensor
                .try_into_data()
                .map_err(|error| format!("{error:?}"))?;
            let back: Vec<f32> = data.try_to_vec().map_err(|error| format!("{error:?}"))?;
            let wrong = numbers
                .iter()
                .zip(&back)
                .filter(|(a, b)| a.to_bits() != b.to_bits());
            match (wrong.count(), back.len() == count) {
                (0, true) => Ok("the same bits".to_owned().into()),
                (wrong, _) => Err(format!(
                    "{wrong} of {count} numbers differ, {} came",
                    back.len()
                )),
            }
        })
        .map_err(|error| error.to_string())?
    })
}

fn measure(opened: &ComputeDevice, findings: &mut Findings) -> Result<()> {
    let name = "copy of 64 MiB and product of 19800 x 472 x 300";
    findings.measure(name, |report| {
        let rates = device::on_device_thread(|| rates(&opened.device))
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("{error:#}"))?;
        if let Some(facts) = &mut report.device {
            facts.rates = Some(rates);
        }
        Ok(format!(
            "{:.1} GB/s, {:.0} GFLOP/s, by {}",
            rates.copy_gb_per_s, rates.product_gflops, rates.clock
        ))
    })
}
