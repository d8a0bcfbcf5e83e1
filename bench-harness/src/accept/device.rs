//! The part `device`: adapters, limits, driver, and what the opened device reaches.

use anyhow::Result;
use mspipe::console;
use mspipe::device::{self, AdapterReport, ComputeDevice, DeviceChoice, DeviceError};
use mspipe::report::chart::short;

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
        let device = device::open(asked.device).map_err(|error| {
            facts.missing = missing(&error, &adapters);
            error.to_string()
        })?;
        let found = device.adapter.clone();
        opened = Some(device);
        Ok(found.into())
    })?;
    let Some(opened) = opened else {
        findings.report.device = Some(facts);
        return findings.keep();
    };
    let ran = device::chosen(asked.device)?;
    facts.emulated = ran.as_ref().is_some_and(|adapter| !adapter.real);
    if ran.is_none() {
        facts.missing = Some(no_shader(asked.device.choice, &adapters));
        findings.report.device = Some(facts);
        return findings.keep();
    }
    facts.name = ran.as_ref().map(|adapter| adapter.name.clone());
    facts.ran = ran.map(serde_json::to_value).transpose()?;
    facts.opened = Some(opened.adapter.clone());
    findings.report.device = Some(facts);
    reads_back(&opened, findings)?;
    measure(&opened, findings)
}

/// Why there is nothing to check and what to do, where the device is not there at all; one that is there and
/// does not work is what a report is for.
fn missing(error: &DeviceError, adapters: &[AdapterReport]) -> Option<String> {
    let number = match error {
        DeviceError::NoGpu { number, .. } => number,
        DeviceError::NotBuilt { .. }
        | DeviceError::NoLocalRank
        | DeviceError::NoSoftware { .. }
        | DeviceError::Limits { .. } => {
            return Some(error.to_string());
        }
        _ => return None,
    };
    let (gpus, software) = (named(adapters, true), named(adapters, false));
    let asked = format!("--device gpu:{number}");
    if !gpus.is_empty() {
        return Some(format!("{asked}: there is no such GPU; {gpus}"));
    }
    Some(none(&asked, &software))
}

/// Why nothing is checked on the CPU device: it runs no shader, and what is said of launches does not hold for it.
fn no_shader(asked: DeviceChoice, adapters: &[AdapterReport]) -> String {
    match asked {
        DeviceChoice::Auto => none("--device auto", &named(adapters, false)),
        asked => format!(
            "--device {asked}: the CPU device runs no shader, so there is nothing to accept; give gpu:N or software"
        ),
    }
}

/// There is no GPU; `software` are adapters that emulate one.
fn none(asked: &str, software: &str) -> String {
    let mut text = format!("{asked}: no GPU is reachable through Vulkan, Metal or DX12");
    if let Some(unfound) = device::unfound() {
        text += &format!(": {unfound}");
    }
    text += &format!(". {DRIVER}");
    if !software.is_empty() {
        text += &format!(". Without one, {software}, a processor that emulates a GPU");
    }
    text
}

/// What is there of real GPUs, or of software adapters, and how it is asked for.
fn named(adapters: &[AdapterReport], real: bool) -> String {
    let those = adapters.iter().filter(|adapter| adapter.real == real);
    let names: Vec<String> = those
        .map(|adapter| format!("'--device {}' takes {}", adapter.device, adapter.name))
        .collect();
    names.join(", ")
}

/// What to do where there is a GPU and no adapter.
const DRIVER: &str = "If this machine has a GPU, install its driver (Debian and Ubuntu: mesa-vulkan-drivers for AMD and \
                      Intel, NVIDIA's own for NVIDIA) and, in a container, pass the GPU through";

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
    console::note(format!("  {name}"));
    findings.measure(name, |report| {
        let rates = device::on_device_thread(|| rates(&opened.device))
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("{error:#}"))?;
        if let Some(facts) = &mut report.device {
            facts.rates = Some(rates);
        }
        Ok(format!(
            "{} GB/s, {} GFLOP/s ({} by burn's product), by {}; uploads {} GB/s, {} µs a launch",
            short(rates.copy_gb_per_s),
            short(rates.own_product_gflops),
            short(rates.product_gflops),
            rates.clock,
            short(rates.upload_gb_per_s),
            short(rates.launch_us)
        ))
    })
}
