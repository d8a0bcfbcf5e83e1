//! Where the tables of node memory lie, on which it depends who reads and writes them.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Where the tables of node memory lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Residency {
    /// In the device's memory: reading and writing them are work of the device.
    #[value(help = "In the device's memory")]
    Device,
    /// In RAM: reading and writing them are transfers that can overlap training.
    #[value(
        help = "In RAM: for tables that the device can't hold; reading and writing overlap training"
    )]
    Host,
}
