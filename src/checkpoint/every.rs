//! How often a run writes a checkpoint.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often a run writes a checkpoint, besides at the end of each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Every {
    /// `100`: after this many iterations of an epoch, and at each multiple.
    Iterations(usize),
    /// `90s`, `10m`, `2h`: when so much time has passed.
    Time(Duration),
    /// `epoch`: at the end of each epoch only.
    Epoch,
    /// `never`: not even then.
    Never,
}

impl Default for Every {
    /// Seldom enough to cost nothing, often enough not to lose much.
    fn default() -> Every {
        Every::Time(Duration::from_secs(600))
    }
}

impl Every {
    /// Whether a checkpoint is due when `trained` iterations of an epoch are trained, of which
    /// the run of the pipeline began at `first` and the last checkpoint was tried at `since`.
    pub(crate) fn is_due(self, first: usize, trained: usize, since: Instant) -> bool {
        match self {
            Every::Iterations(each) => trained / each.max(1) > first / each.max(1),
            Every::Time(time) => since.elapsed() >= time,
            Every::Epoch | Every::Never => false,
        }
    }
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Every, String> {
        let wrong = || {
            format!(
                "found '{text}', expected a number of iterations of at least 1, a time such as \
                 90s, 10m or 2h, epoch, or never"
            )
        };
        match text {
            "epoch" => return Ok(Every::Epoch),
            "never" => return Ok(Every::Never),
            _ => {}
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u32 = digits.parse().map_err(|_| wrong())?;
        let seconds = match &text[digits.len()..] {
            _ if number == 0 => return Err(wrong()),
            "" => return Ok(Every::Iterations(number as usize)),
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        Ok(Every::Time(Duration::from_secs(
            u64::from(number) * seconds,
        )))
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Every::Iterations(each) => write!(f, "{each}"),
            Every::Time(time) => match time.as_secs() {
                s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
                s if s % 60 == 0 => write!(f, "{}m", s / 60),
                s => write!(f, "{s}s"),
            },
            Every::Epoch => f.write_str("epoch"),
            Every::Never => f.write_str("never"),
        }
    }
}

impl TryFrom<String> for Every {
    type Error = String;

    fn try_from(text: String) -> Result<Every, String> {
        text.parse()
    }
}

impl From<Every> for String {
    fn from(every: Every) -> String {
        every.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["1", "250", "90s", "10m", "2h", "epoch", "never"] {
            let every: Every = text.parse().unwrap();
            assert_eq!(every.to_string(), text);
            let json = serde_json::to_string(&every).unwrap();
            assert_eq!(serde_json::from_str::<Every>(&json).unwrap(), every);
        }
        assert_eq!(Every::default().to_string(), "10m");
        for wrong in [
            "",
            "0",
            "0m",
            "-1",
            "1.5",
            "10ms",
            "m",
            "always",
            "99999999999",
            "3é",
        ] {
            let error = wrong.parse::<Every>().unwrap_err();
            assert!(
                error.starts_with(&format!("found '{wrong}', expected")),
                "{error}"
            );
        }
    }

    #[test]
    fn iterations_are_due_at_multiples() {
        let now = Instant::now();
        let every = Every::Iterations(10);
        let due = |first| (first + 1..45).find(|&trained| every.is_due(first, trained, now));
        assert_eq!(due(0), Some(10));
        assert_eq!(due(10), Some(20));
        // A pause may come a little late.
        assert_eq!(due(12), Some(20));
        assert_eq!(due(40), None);
        assert!(!Every::Epoch.is_due(0, 1000, now));
        assert!(!Every::default().is_due(0, 1000, now));
        assert!(Every::Time(Duration::ZERO).is_due(0, 1, now));
    }
}
