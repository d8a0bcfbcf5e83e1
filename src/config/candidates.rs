//! Whom a destination is ranked among: a number to draw, or files.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the candidates of `--protocol tgb` come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CandidateSource {
    /// So many distinct destinations per event, drawn from the run's seed.
    Drawn(usize),
    /// Recorded lists, in one file or several.
    Files(Vec<PathBuf>),
}

impl FromStr for CandidateSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse() {
            return match count {
                0 => Err("found 0, expected at least 1 candidate per event".to_owned()),
                count => Ok(CandidateSource::Drawn(count)),
            };
        }
        let files: Vec<PathBuf> = text.split(',').map(|file| file.trim().into()).collect();
        if files.iter().any(|file| file.as_os_str().is_empty()) {
            return Err(format!(
                "found '{text}', expected a number, or files with a comma between them"
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
        for bad in ["0", "", "a.npy,"] {
            let error = bad.parse::<CandidateSource>().unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
