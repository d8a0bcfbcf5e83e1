//! What the user asks of a device: which one, which kernels, which limits.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::limits::LimitsChoice;
use crate::kernels::choice::KernelChoice;

/// How a device is chosen and opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub struct DeviceSettings {
    /// Device: auto, cpu, gpu, gpu:N, gpu:local-rank (the one with the number that a process of --ranks mpi
    /// has on its machine), software or software:N
    #[arg(
        id = "device",
        long = "device",
        value_name = "DEVICE",
        default_value = "auto",
        help_heading = "Run"
    )]
    pub choice: DeviceChoice,

    /// Kernels to run: auto (those for the adapter's class), gpu or software
    #[arg(
        long,
        default_value = "auto",
        hide_short_help = true,
        help_heading = "Run"
    )]
    pub kernels: KernelChoice,

    /// Limits to ask of the adapter: adapter (all that it offers), webgpu (what WebGPU guarantees), or
    /// alignment:N (all but slices of buffers, which begin at multiples of N bytes)
    #[arg(
        long,
        default_value = "adapter",
        hide_short_help = true,
        help_heading = "Run"
    )]
    pub limits: LimitsChoice,
}

/// The device with the kernels of its class and all that it offers.
impl From<DeviceChoice> for DeviceSettings {
    fn from(choice: DeviceChoice) -> DeviceSettings {
        DeviceSettings {
            choice,
            ..DeviceSettings::default()
        }
    }
}

/// What the user asked for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first real GPU, or the CPU backend where there is none.
    #[default]
    Auto,
    /// burn's CPU backend.
    Cpu,
    /// The real GPU of this number, in the order of `mspipe devices`.
    Gpu(usize),
    /// That with the number that a process of an MPI job has on its machine.
    GpuOfRank,
    /// The software adapter (llvmpipe, SwiftShader, WARP) of this number, in the order of `mspipe devices`, for tests.
    Software(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "gpu" => Ok(DeviceChoice::Gpu(0)),
            "gpu:local-rank" => Ok(DeviceChoice::GpuOfRank),
            "software" => Ok(DeviceChoice::Software(0)),
            _ => numbered(text).ok_or_else(|| {
                format!(
                    "found '{text}', expected auto, cpu, gpu, gpu:N, gpu:local-rank, software or software:N"
                )
            }),
        }
    }
}

/// A choice with a number, `gpu:1` or `software:1`.
fn numbered(text: &str) -> Option<DeviceChoice> {
    let (class, number) = text.split_once(':')?;
    let number = number.parse().ok()?;
    match class {
        "gpu" => Some(DeviceChoice::Gpu(number)),
        "software" => Some(DeviceChoice::Software(number)),
        _ => None,
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Gpu(number) => write!(f, "gpu:{number}"),
            DeviceChoice::GpuOfRank => f.write_str("gpu:local-rank"),
            // As most machines have one, and as it is written in runs.
            DeviceChoice::Software(0) => f.write_str("software"),
            DeviceChoice::Software(number) => write!(f, "software:{number}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> String {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back_as_they_print() {
        for text in [
            "auto",
            "cpu",
            "gpu:0",
            "gpu:3",
            "gpu:local-rank",
            "software",
            "software:1",
        ] {
            let choice: DeviceChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("gpu".parse(), Ok(DeviceChoice::Gpu(0)));
        assert_eq!("software:0".parse(), Ok(DeviceChoice::Software(0)));
        let error = "gpu:x".parse::<DeviceChoice>().unwrap_err();
        assert_eq!(
            error,
            "found 'gpu:x', expected auto, cpu, gpu, gpu:N, gpu:local-rank, software or software:N"
        );
    }
}
