//! Where edge and node features are kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::pipeline::link::parse_bytes;

/// Where tables of features lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FeaturePlace {
    /// On a GPU, as many rows as its memory has room for, else in RAM.
    #[default]
    Auto,
    /// In the device's memory: a batch says which rows it wants.
    Device,
    /// As many rows as fit into so many bytes of the device's memory: those that were wanted last.
    Part(u64),
    /// In RAM: a batch's rows are gathered there and cross the bus.
    Host,
}

impl FromStr for FeaturePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| parse_bytes(text).map_err(|error| error.to_string());
        match text {
            "auto" => Ok(FeaturePlace::Auto),
            "device" => Ok(FeaturePlace::Device),
            "host" => Ok(FeaturePlace::Host),
            _ => match text.strip_prefix("device:").map(size) {
                Some(bytes) => Ok(FeaturePlace::Part(bytes?)),
                None => Err(format!(
                    "found '{text}', expected host, device, device:SIZE (such as device:2GiB) or auto"
                )),
            },
        }
    }
}

impl TryFrom<String> for FeaturePlace {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<FeaturePlace> for String {
    fn from(place: FeaturePlace) -> String {
        place.to_string()
    }
}

impl fmt::Display for FeaturePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeaturePlace::Auto => f.write_str("auto"),
            FeaturePlace::Device => f.write_str("device"),
            FeaturePlace::Host => f.write_str("host"),
            FeaturePlace::Part(bytes) => {
                // Of the units that say it exactly, the largest.
                let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
                let whole = |(_, unit): &(&str, u64)| *bytes > 0 && bytes % unit == 0;
                let (unit, of) = units.into_iter().find(whole).unwrap_or(("", 1));
                write!(f, "device:{}{unit}", bytes / of)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for (text, printed) in [
            ("auto", "auto"),
            ("device", "device"),
            ("host", "host"),
            ("device:2GiB", "device:2GiB"),
            ("device:1.5GiB", "device:1536MiB"),
            ("device:100MB", "device:100000000"),
            ("device:4096", "device:4KiB"),
            ("device:0", "device:0"),
        ] {
            let place: FeaturePlace = text.parse().unwrap();
            assert_eq!(place.to_string(), printed);
            assert_eq!(printed.parse(), Ok(place));
        }
        for (wrong, expected) in [
            (
                "gpu",
                "expected host, device, device:SIZE (such as device:2GiB) or auto",
            ),
            ("device:", "expected a size such as 4096, 512KB, 12MiB"),
            ("device:much", "found 'much'"),
        ] {
            let said = wrong.parse::<FeaturePlace>().unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }
}
