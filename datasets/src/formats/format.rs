//! The layouts of event files that can be read, and their names.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// A layout of event files that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Format {
    /// `user_id,item_id,timestamp,state_label,features…`, see <https://snap.stanford.edu/jodie/>.
    JodieCsv,
    /// `src dst time` separated by white space, as SNAP's temporal networks; KONECT's too.
    SnapText,
    /// TGL's folder with `edges.csv`, or a csv file with columns `src,dst,time`.
    TglCsv,
    /// DyGLib's and TGN's `ml_NAME.csv` with `u,i,ts`, alone or with its `.npy` files.
    DgbCsv,
    /// TGB's edge list: a csv file with a header, `time,src,dst` and features.
    TgbCsv,
    /// TGB-Seq's `NAME.csv` with `src,dst,time,split`.
    TgbSeqCsv,
    /// A Parquet file with columns for source, destination and time.
    Parquet,
    /// Raw GDELT 2.0 event files: one, or a folder or zip archive of many.
    Gdelt,
    /// Any other table of text, with commas, semicolons, tabs or white space.
    Table,
}

impl Format {
    /// Every format, in the order in which they are documented.
    pub const ALL: [Format; 9] = [
        Format::JodieCsv,
        Format::SnapText,
        Format::TglCsv,
        Format::DgbCsv,
        Format::TgbCsv,
        Format::TgbSeqCsv,
        Format::Parquet,
        Format::Gdelt,
        Format::Table,
    ];

    /// The name that [`FromStr`] accepts: `jodie`, `snap`, `tgl`, `dgb`, `tgb`, `tgb-seq`,
    /// `parquet`, `gdelt` or `csv`.
    pub fn name(self) -> &'static str {
        match self {
            Format::JodieCsv => "jodie",
            Format::SnapText => "snap",
            Format::TglCsv => "tgl",
            Format::DgbCsv => "dgb",
            Format::TgbCsv => "tgb",
            Format::TgbSeqCsv => "tgb-seq",
            Format::Parquet => "parquet",
            Format::Gdelt => "gdelt",
            Format::Table => "csv",
        }
    }
}

impl FromStr for Format {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Format, DataError> {
        Format::ALL
            .into_iter()
            .find(|f| f.name() == text)
            .ok_or_else(|| {
                let names = Format::ALL.map(Format::name).join(", ");
                DataError::Option(format!(
                    "expected one of {names} (see `mspipe data import --help`)"
                ))
            })
    }
}

impl TryFrom<String> for Format {
    type Error = DataError;

    fn try_from(text: String) -> Result<Format, DataError> {
        text.parse()
    }
}

impl From<Format> for String {
    fn from(format: Format) -> String {
        format.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.name().parse::<Format>().unwrap(), format);
        }
        let error = "xls".parse::<Format>().unwrap_err().to_string();
        assert!(error.starts_with("expected one of jodie, snap"), "{error}");
    }
}
