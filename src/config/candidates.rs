//! Whom a destination is ranked among: a number to draw, or files.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What stands before the number of candidates of which half are historical.
const HALF_HISTORICAL: &str = "half-historical:";

/// Where the candidates of `--protocol tgb` come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CandidateSource {
    /// So many distinct destinations per event, drawn from the seed of evaluation.
    Drawn(usize),
    /// So many, up to half of them among those that the source has in the training part.
    HalfHistorical(usize),
    /// Recorded lists, in one file or several.
    Files(Vec<PathBuf>),
}

impl FromStr for CandidateSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let half = text.strip_prefix(HALF_HISTORICAL);
        match (half.unwrap_or(text).parse(), half) {
            (Ok(0), _) => {
                return Err("found 0, expected at least 1 candidate per event".to_owned());
            }
            (Ok(count), None) => return Ok(CandidateSource::Drawn(count)),
            (Ok(count), Some(_)) => return Ok(CandidateSource::HalfHistorical(count)),
            (Err(_), Some(_)) => {
                return Err(format!("found '{text}', expected {HALF_HISTORICAL}N"));
            }
            (Err(_), None) => {}
        }
        let files: Vec<PathBuf> = text.split(',').map(|file| file.trim().into()).collect();
        if files.iter().any(|file| file.as_os_str().is_empty()) {
            return Err(format!(
                "found '{text}', expected a number, {HALF_HISTORICAL}N, or files with a comma between \
                 them"
            ));
        }
        Ok(CandidateSource::Files(files))
    }
}

impl TryFrom<String> for CandidateSource {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CandidateSource> for String {
    fn from(source: CandidateSource) -> String {
        source.to_string()
    }
}

impl fmt::Display for CandidateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CandidateSource::Drawn(count) => write!(f, "{count}"),
            CandidateSource::HalfHistorical(count) => write!(f, "{HALF_HISTORICAL}{count}"),
            CandidateSource::Files(files) => {
                let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
                f.write_str(&files.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_files() {
        assert_eq!("100".parse(), Ok(CandidateSource::Drawn(100)));
        let files = CandidateSource::Files(vec!["val.npy".into(), "test.npy".into()]);
        assert_eq!("val.npy, test.npy".parse(), Ok(files.clone()));
        assert_eq!(files.to_string(), "val.npy,test.npy");
        let half = CandidateSource::HalfHistorical(20);
        assert_eq!("half-historical:20".parse(), Ok(half.clone()));
        assert_eq!(half.to_string(), "half-historical:20");
        for bad in ["0", "", "a.npy,", "half-historical:", "half-historical:0"] {
            let error = bad.parse::<CandidateSource>().unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
