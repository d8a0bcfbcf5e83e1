//! `mspipe devices`: the adapters of this machine and what `--device` takes.
//!
//! Probes only; nothing is opened but the CPU device, which has nothing to open.

use std::fmt::Write as _;

use clap::Args;
use mspipe::console;
use mspipe::device::{self, AdapterReport, DeviceChoice, Kernels};
use serde::Serialize;

use super::table;

/// Arguments of `mspipe devices`.
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Print JSON; sizes are in bytes
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct DeviceList {
    /// Value of `--device` that `auto` stands for here.
    auto: String,
    adapters: Vec<AdapterReport>,
    /// Whether the program has what GPUs need; says nothing of this machine.
    built_for_gpus: bool,
    /// What the CPU device runs on.
    cpu: String,
    /// What keeps adapters from being found where there is no real one, if that can be told.
    missing: Option<String>,
}

/// What there is.
pub(super) fn list() -> anyhow::Result<DeviceList> {
    let adapters = device::adapters();
    // Of software alone: a GPU's driver may be what is left out.
    let none = adapters.iter().all(|adapter| !adapter.real);
    let missing = none.then(device::unfound).flatten();
    Ok(DeviceList {
        auto: adapters
            .iter()
            .find(|adapter| adapter.auto)
            .map_or("cpu", |adapter| &adapter.device)
            .to_owned(),
        adapters,
        built_for_gpus: device::BUILT_FOR_GPUS,
        cpu: device::open(DeviceChoice::Cpu)?.adapter,
        missing,
    })
}

/// Lists the devices.
pub(crate) fn run(args: DevicesArgs) -> anyhow::Result<()> {
    let list = list()?;
    if args.json {
        Ok(console::json(&list)?)
    } else {
        Ok(console::product(table(&list))?)
    }
}

const CPU_ALONE: &str = "\
This program was built without the feature 'gpu': it runs on the CPU alone, whatever this machine has.
'cargo build --release' makes one that uses GPUs.
";

const NO_ADAPTER: &str = "\
No adapter is reachable through Vulkan, Metal or DX12: training runs on the CPU.
If this machine has a GPU, install its driver (Debian and Ubuntu: mesa-vulkan-drivers for AMD
and Intel, NVIDIA's own for NVIDIA) and, in a container, pass the GPU through. Where an error of
an interface stands above, a driver is installed and did not start.
";

const ONLY_SOFTWARE: &str = "\
No real GPU, only software adapters: these are for tests, and slower than the CPU device.
";

fn table(list: &DeviceList) -> String {
    let mut rows = vec![
        [
            "device", "auto", "adapter", "class", "api", "kernels", "binding", "buffer", "driver",
        ]
        .map(str::to_owned),
    ];
    rows.extend(list.adapters.iter().map(|adapter| {
        [
            adapter.device.clone(),
            mark(adapter.auto),
            adapter.name.clone(),
            adapter.class.to_string(),
            adapter.api.clone(),
            adapter.kernels.made_for.to_owned(),
            mebibytes(adapter.binding_bytes),
            mebibytes(adapter.buffer_bytes),
            adapter.driver.clone(),
        ]
    }));
    let [none, host] = ["-", "RAM"].map(str::to_owned);
    rows.push([
        "cpu".to_owned(),
        mark(list.auto == "cpu"),
        list.cpu.clone(),
        none.clone(),
        none.clone(),
        none.clone(),
        host.clone(),
        host,
        none,
    ]);

    // Sizes stand right.
    let mut text = table::table(&rows, |column| matches!(column, 6 | 7));
    text.push('\n');
    for adapter in &list.adapters {
        if let Some(reason) = &adapter.unfit {
            let (device, name) = (&adapter.device, &adapter.name);
            let _ = writeln!(text, "{device} ({name}) can't run mspipe: {reason}.");
        }
    }
    if !list.built_for_gpus {
        text += CPU_ALONE;
    } else if !list.adapters.iter().any(|adapter| adapter.real) {
        text += match list.adapters.is_empty() {
            true => NO_ADAPTER,
            false => ONLY_SOFTWARE,
        };
        if let Some(missing) = &list.missing {
            let _ = writeln!(text, "Here {missing}.");
        }
    }
    let mut kernels: Vec<Kernels> = list.adapters.iter().map(|of| of.kernels).collect();
    kernels.dedup();
    for kernels in kernels {
        let _ = writeln!(text, "kernels {kernels}.");
    }
    let _ = writeln!(
        text,
        "--device auto takes {}. binding: largest buffer that a shader binds.",
        list.auto
    );
    text
}

fn mark(auto: bool) -> String {
    if auto { "*" } else { "" }.to_owned()
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use mspipe::device::{AdapterClass, KernelChoice};

    use super::*;

    fn adapter(device: &str, unfit: Option<&str>, auto: bool) -> AdapterReport {
        let class = match device {
            "software" => AdapterClass::Software,
            _ => AdapterClass::Discrete,
        };
        AdapterReport {
            class,
            kernels: KernelChoice::Auto.on(class),
            device: device.to_owned(),
            name: format!("Adapter {device}"),
            api: "vulkan".to_owned(),
            driver: "driver 1.2".to_owned(),
            real: device != "software",
            memory_bytes: None,
            binding_bytes: 128 << 20,
            buffer_bytes: 2048 << 20,
            storage_buffers: 32,
            workgroup_bytes: 32 << 10,
            unfit: unfit.map(str::to_owned),
            auto,
        }
    }

    fn list(adapters: Vec<AdapterReport>, auto: &str) -> DeviceList {
        DeviceList {
            built_for_gpus: true,
            auto: auto.to_owned(),
            adapters,
            cpu: "burn flex on x86_64, 2 threads".to_owned(),
            missing: None,
        }
    }

    #[test]
    fn the_table_lines_up_and_says_what_auto_takes() {
        let adapters = vec![
            adapter(
                "gpu:0",
                Some("it offers 8 storage buffers per shader, 9 are needed"),
                false,
            ),
            adapter("gpu:1", None, true),
            adapter("software", None, false),
        ];
        assert_eq!(
            table(&list(adapters, "gpu:1")),
            "\
device    auto  adapter                         class     api     kernels   binding    buffer  driver
gpu:0           Adapter gpu:0                   discrete  vulkan  gpu       128 MiB  2048 MiB  driver 1.2
gpu:1     *     Adapter gpu:1                   discrete  vulkan  gpu       128 MiB  2048 MiB  driver 1.2
software        Adapter software                software  vulkan  software  128 MiB  2048 MiB  driver 1.2
cpu             burn flex on x86_64, 2 threads  -         -       -             RAM       RAM  -

gpu:0 (Adapter gpu:0) can't run mspipe: it offers 8 storage buffers per shader, 9 are needed.
kernels gpu: products by workgroups, up to 128 invocations to a row, 32 to a dot product, loops unrolled.
kernels software: products by invocations, up to 8 invocations to a row, 8 to a dot product, loops rolled.
--device auto takes gpu:1. binding: largest buffer that a shader binds.
"
        );
    }

    #[test]
    fn without_a_gpu_it_says_what_that_means() {
        let text = table(&list(Vec::new(), "cpu"));
        assert!(text.contains(NO_ADAPTER), "{text}");
        assert!(text.contains("--device auto takes cpu."), "{text}");
        let mut built_without = list(Vec::new(), "cpu");
        built_without.built_for_gpus = false;
        let text = table(&built_without);
        assert!(
            text.contains(CPU_ALONE) && !text.contains(NO_ADAPTER),
            "{text}"
        );
        assert!(text.contains("--device auto takes cpu."), "{text}");
        let text = table(&list(vec![adapter("software", None, false)], "cpu"));
        assert!(text.contains(ONLY_SOFTWARE), "{text}");
    }
}
