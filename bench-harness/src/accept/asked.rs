//! What `accept` is asked to do.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mspipe::config::name_of;
use mspipe::device::{DeviceChoice, DeviceSettings, KernelChoice, LimitsChoice};
use serde::{Deserialize, Serialize};

/// What to accept.
#[derive(Debug, Clone, Args)]
pub struct AcceptConfig {
    /// Device to use: gpu:N or software:N as 'mspipe devices' lists them (gpu, software: the first), or auto, the first GPU
    #[arg(long, default_value_t = DeviceChoice::Gpu(0), value_parser = device)]
    pub device: DeviceChoice,

    /// Kernels to run: auto (those for the adapter's class), gpu or software
    #[arg(long, default_value_t = KernelChoice::Auto, hide_short_help = true)]
    pub kernels: KernelChoice,

    /// Limits to ask of the adapter: adapter, webgpu or alignment:N
    #[arg(long, default_value_t = LimitsChoice::Adapter, hide_short_help = true)]
    pub limits: LimitsChoice,

    /// Folder for accept.json and accept.html
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,

    /// Leave the checks of whole runs out and measure less: under 2 minutes on a GPU, not 10
    #[arg(long)]
    pub quick: bool,

    /// Parts to run, as device,checks; may be given several times; without it all of them
    #[arg(long, value_name = "PART", value_enum, value_delimiter = ',')]
    pub part: Vec<Part>,

    /// Replace accept.json and accept.html
    #[arg(long)]
    pub force: bool,

    /// Run one part in this process, for as long as standard input is open, and write what it finds to this file
    #[arg(long, value_name = "FILE", hide = true)]
    pub into: Option<PathBuf>,
}

/// A device; what is said of a wrong one names those that can be accepted.
fn device(text: &str) -> Result<DeviceChoice, String> {
    let device: Result<DeviceChoice, String> = text.parse();
    device.map_err(|_| {
        format!(
            "found '{text}', expected gpu, gpu:N, software or software:N, or auto for the first GPU"
        )
    })
}

/// A part of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the table above has them")]
pub enum Part {
    Device,
    Checks,
    Parity,
    Kernels,
    Speed,
    Schedules,
    Profile,
}

impl Part {
    /// All of them, in the order in which they run.
    pub const ALL: [Part; 7] = [
        Part::Device,
        Part::Checks,
        Part::Parity,
        Part::Kernels,
        Part::Speed,
        Part::Schedules,
        Part::Profile,
    ];

    /// As the command line has it.
    pub fn name(self) -> String {
        name_of(&self)
    }

    /// Seconds that its measurements may take, all together: under 10 minutes with the checks,
    /// which take what they take, or under 2.
    fn seconds(self, quick: bool) -> f64 {
        match (self, quick) {
            (Part::Kernels, false) => 40.0,
            (Part::Kernels, true) => 8.0,
            (Part::Speed, false) => 120.0,
            (Part::Speed, true) => 15.0,
            (Part::Schedules, false) => 140.0,
            (Part::Schedules, true) => 20.0,
            (Part::Profile, false) => 20.0,
            (Part::Profile, true) => 6.0,
            (Part::Device | Part::Checks | Part::Parity, _) => 0.0,
        }
    }
}

/// What a part is run with.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The device.
    pub device: DeviceSettings,
    /// Whether to do less.
    pub quick: bool,
    /// Seconds that measurements may take.
    pub seconds: f64,
}

impl AcceptConfig {
    /// What a part is run with.
    pub fn asked(&self, part: Part) -> Asked {
        Asked {
            device: DeviceSettings {
                choice: self.device,
                kernels: self.kernels,
                limits: self.limits,
            },
            quick: self.quick,
            seconds: part.seconds(self.quick),
        }
    }

    /// The options that choose the device, its kernels and its limits, where they say more than the default.
    pub(super) fn of_device(&self) -> String {
        let mut text = format!("--device {}", self.device);
        if self.kernels != KernelChoice::Auto {
            text += &format!(" --kernels {}", self.kernels);
        }
        if self.limits != LimitsChoice::Adapter {
            text += &format!(" --limits {}", self.limits);
        }
        text
    }

    /// The part that this process is for, and where what it finds goes, if it is a part's.
    pub fn child(&self) -> Option<(Part, Option<PathBuf>)> {
        let part = self.part.first()?;
        self.into.clone().map(|file| (*part, Some(file)))
    }
}
