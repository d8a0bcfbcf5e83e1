//! A bus between host and device: what a transfer over it takes.
//!
//! Invariants: a bandwidth is a whole number of bytes per second, at least one; what is printed
//! reads back as the same link. It does not know what else uses the bus: the timing model lets
//! `fetch_features` and `fetch_memory` take turns ([`super::profile`]).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bandwidth and latency of a bus or a network; reads `12GB/s,20us` and `10Gbit/s,30us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Link {
    bytes_per_s: u64,
    latency: Duration,
}

impl Link {
    /// Time of one transfer.
    pub fn time(&self, bytes: u64) -> Duration {
        self.latency + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64)
    }
}

/// Why a quantity can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("found '{found}', expected {expected}")]
pub struct QuantityError {
    found: String,
    expected: &'static str,
}

impl QuantityError {
    pub(super) fn new(found: &str, expected: &'static str) -> QuantityError {
        QuantityError {
            found: found.to_owned(),
            expected,
        }
    }
}

/// Splits `12.5GB` into number and unit.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let at = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let number: f64 = text[..at].parse().ok()?;
    number.is_finite().then_some((number, text[at..].trim()))
}

/// Reads a time: `10` (milliseconds), `10ms`, `200us`, `50ns`, `1.5s`.
///
/// # Errors
/// When the text is something else, or over a day.
pub(crate) fn parse_time(text: &str) -> Result<Duration, QuantityError> {
    const DAY_S: f64 = 86_400.0;
    let wrong = || QuantityError::new(text, "a time such as 10, 10ms, 200us or 1.5s");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "" | "ms" => number * 1e-3,
        "us" | "µs" => number * 1e-6,
        "ns" => number * 1e-9,
        "s" => number,
        _ => return Err(wrong()),
    };
    if seconds > DAY_S {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads a size: `4096`, `512KB`, `12MiB`, `1.5GB`.
///
/// # Errors
/// When the text is something else, or over 1,024 GiB.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    // Over the slowest link it takes an age that a `Duration` can still add up.
    const MOST_BYTES: f64 = 1024.0 * 1024.0 * 1024.0 * 1024.0;
    let wrong = || {
        let expected = "a size such as 4096, 512KB, 12MiB or 1.5GB, up to 1024GiB";
        QuantityError::new(text, expected)
    };
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let bytes = number * scale(unit).ok_or_else(wrong)?;
    if bytes > MOST_BYTES {
        return Err(wrong());
    }
    Ok(bytes as u64)
}

fn scale(unit: &str) -> Option<f64> {
    Some(match unit {
        "" | "B" => 1.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    })
}

/// Bytes of a unit of bits, by which networks are sold.
fn bits(unit: &str) -> Option<f64> {
    Some(match unit {
        "Kbit" | "kbit" => 1e3 / 8.0,
        "Mbit" => 1e6 / 8.0,
        "Gbit" => 1e9 / 8.0,
        _ => return None,
    })
}

impl FromStr for Link {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Link, QuantityError> {
        let wrong = || {
            QuantityError::new(
                text,
                "bandwidth and latency such as 12GB/s,20us, 800MB/s,0us or 10Gbit/s,30us",
            )
        };
        let (bandwidth, latency) = text.split_once(',').ok_or_else(wrong)?;
        let (number, unit) = number_and_unit(bandwidth).ok_or_else(wrong)?;
        let unit = unit.strip_suffix("/s").ok_or_else(wrong)?;
        let scale = scale(unit).or_else(|| bits(unit)).ok_or_else(wrong)?;
        let bytes_per_s = (number * scale).round();
        // Slower than 1 byte a second is a typing error, and would overflow a `Duration`.
        if bytes_per_s < 1.0 {
            return Err(wrong());
        }
        Ok(Link {
            bytes_per_s: bytes_per_s as u64,
            latency: parse_time(latency)?,
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gigabytes = self.bytes_per_s as f64 / 1e9;
        write!(f, "{gigabytes} GB/s, {:?}", self.latency)
    }
}

impl TryFrom<String> for Link {
    type Error = QuantityError;

    fn try_from(text: String) -> Result<Link, QuantityError> {
        text.parse()
    }
}

impl From<Link> for String {
    fn from(link: Link) -> String {
        link.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_takes_latency_and_bytes() {
        let link: Link = "12GB/s,20us".parse().unwrap();
        assert_eq!(link.time(0), Duration::from_micros(20));
        assert_eq!(link.time(36_000_000), Duration::from_micros(3_020));
        assert_eq!(link.to_string(), "12 GB/s, 20µs");
    }

    #[test]
    fn what_is_printed_reads_back() {
        for text in [
            "12GB/s,20us",
            "800MB/s,0us",
            "1.3GiB/s,1.5ms",
            "333B/s,700ns",
        ] {
            let link: Link = text.parse().unwrap();
            assert_eq!(link.to_string().parse(), Ok(link), "{text}");
            let json = serde_json::to_string(&link).unwrap();
            assert_eq!(serde_json::from_str::<Link>(&json).unwrap(), link);
        }
        assert!(serde_json::from_str::<Link>("\"fast\"").is_err());
    }

    #[test]
    fn units() {
        assert_eq!(parse_time("3").unwrap(), Duration::from_millis(3));
        assert_eq!(parse_time("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_bytes("12MiB").unwrap(), 12 << 20);
        for wrong in ["", "x", "3h", "-3", "1e30s", "90000s"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_bytes("1024GiB").unwrap(), 1 << 40);
        for wrong in ["", "x", "1025GiB", "99999999999999999999999GiB", "-1"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        let network: Link = "10Gbit/s,30us".parse().unwrap();
        assert_eq!(network, "1.25GB/s,30us".parse().unwrap());
        for wrong in ["12GB/s", "0GB/s,1us", "12GB,1us", "12,1us", "10Gb/s,1us"] {
            assert!(wrong.parse::<Link>().is_err(), "{wrong}");
        }
    }
}
