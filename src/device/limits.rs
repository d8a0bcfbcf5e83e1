//! The limits that a device is asked for.
//!
//! An adapter offers more than WebGPU guarantees, and drivers differ. Asked for less, a device
//! refuses what others would not have: so a machine with one adapter tests for those with others.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Largest alignment of a slice that an adapter may ask for (WebGPU's default).
const MOST_ALIGNMENT: u32 = 256;

/// What the user asked for with `--limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LimitsChoice {
    /// All that the adapter offers.
    #[default]
    Adapter,
    /// WebGPU's defaults: 8 storage buffers in a shader, 128 MiB bound at once, slices at multiples of
    /// 256 bytes.
    WebGpu,
    /// All that the adapter offers, but slices of a buffer begin at multiples of this many bytes: 64 on
    /// some cards of NVIDIA and AMD, 256 with DX12, 16 or less elsewhere.
    Alignment(u32),
}

impl FromStr for LimitsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let aligned = |bytes: &u32| bytes.is_power_of_two() && (4..=MOST_ALIGNMENT).contains(bytes);
        match text {
            "adapter" => Ok(LimitsChoice::Adapter),
            "webgpu" => Ok(LimitsChoice::WebGpu),
            _ => text
                .strip_prefix("alignment:")
                .and_then(|bytes| bytes.parse().ok())
                .filter(aligned)
                .map(LimitsChoice::Alignment)
                .ok_or_else(|| {
                    format!(
                        "found '{text}', expected adapter, webgpu, or alignment:N with N a power of \
                         two from 4 to {MOST_ALIGNMENT}"
                    )
                }),
        }
    }
}

impl fmt::Display for LimitsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitsChoice::Adapter => f.write_str("adapter"),
            LimitsChoice::WebGpu => f.write_str("webgpu"),
            LimitsChoice::Alignment(bytes) => write!(f, "alignment:{bytes}"),
        }
    }
}

impl TryFrom<String> for LimitsChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LimitsChoice> for String {
    fn from(choice: LimitsChoice) -> String {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_as_they_print() {
        for text in ["adapter", "webgpu", "alignment:4", "alignment:256"] {
            let choice: LimitsChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
        for text in [
            "",
            "alignment:",
            "alignment:48",
            "alignment:2",
            "alignment:512",
        ] {
            assert!(text.parse::<LimitsChoice>().is_err(), "{text}");
        }
    }
}
