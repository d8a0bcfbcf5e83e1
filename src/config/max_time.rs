//! How long training may take.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Every;

/// A time such as `90s`, `10m` or `2h`, as `--checkpoint-every` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MaxTime(pub Duration);

impl FromStr for MaxTime {
    type Err = String;

    fn from_str(text: &str) -> Result<MaxTime, String> {
        match text.parse() {
            Ok(Every::Time(time)) => Ok(MaxTime(time)),
            _ => Err(format!(
                "found '{text}', expected a time such as 90s, 10m or 2h"
            )),
        }
    }
}

impl fmt::Display for MaxTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Every::Time(self.0).fmt(f)
    }
}

impl TryFrom<String> for MaxTime {
    type Error = String;

    fn try_from(text: String) -> Result<MaxTime, String> {
        text.parse()
    }
}

impl From<MaxTime> for String {
    fn from(time: MaxTime) -> String {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_are_times() {
        for text in ["90s", "10m", "2h"] {
            let time: MaxTime = text.parse().unwrap();
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<MaxTime>(&json).unwrap(), time);
        }
        for wrong in ["", "0s", "10", "epoch", "never", "1d"] {
            let error = wrong.parse::<MaxTime>().unwrap_err();
            assert!(
                error.starts_with(&format!("found '{wrong}', expected a time")),
                "{error}"
            );
        }
    }
}
