//! Tells a file's format from its content, or says what the content looks like.
//!
//! Looks at the first 64 KiB only. Never guesses: what is not certain is an
//! error that names the possibilities and how to choose (`--format`).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::error::{DataError, quoted};

/// A layout of event files that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `user_id,item_id,timestamp,state_label,features…`, see <https://snap.stanford.edu/jodie/>.
    JodieCsv,
    /// `src dst time` separated by white space, as SNAP's temporal networks.
    SnapText,
    /// TGL's folder with `edges.csv`, or a csv file with columns `src,dst,time`.
    TglCsv,
}

impl Format {
    /// Every format, in the order in which they are documented.
    pub const ALL: [Format; 3] = [Format::JodieCsv, Format::SnapText, Format::TglCsv];

    /// The name that [`FromStr`] accepts: `jodie`, `snap` or `tgl`.
    pub fn name(self) -> &'static str {
        match self {
            Format::JodieCsv => "jodie",
            Format::SnapText => "snap",
            Format::TglCsv => "tgl",
        }
    }
}

impl FromStr for Format {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Format, DataError> {
        Format::ALL.into_iter().find(|f| f.name() == text).ok_or_else(|| {
            DataError::Option(format!("format `{text}` is not known; jodie, snap and tgl are (see `mspipe data import --help`)"))
        })
    }
}

const READABLE: &str = "readable are JODIE csv (`user_id,item_id,timestamp,state_label,…`), SNAP text (`src dst time`) \
                        and TGL csv (a header with `src,dst,time`); if it is one of these, say which with --format jodie|snap|tgl";
const HEAD_BYTES: u64 = 1 << 16;

/// The format of the events in `path` (a file).
pub(crate) fn detect(path: &Path) -> Result<Format, DataError> {
    let head = text_head(path)?;
    let unknown = |found: String, remedy: &str| DataError::Format {
        path: path.to_path_buf(),
        found,
        remedy: remedy.to_owned(),
    };
    let Some(line) = head
        .split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|l| !l.is_empty() && !l.starts_with(b"#"))
    else {
        return Err(unknown("no line holds an event".to_owned(), READABLE));
    };
    let names: Vec<&[u8]> = line.split(|&b| b == b',').map(<[u8]>::trim_ascii).collect();
    let has = |wanted: &[&[u8]]| wanted.iter().all(|name| names.contains(name));
    if names.starts_with(&[b"user_id", b"item_id", b"timestamp"]) {
        return Ok(Format::JodieCsv);
    }
    if has(&[b"src", b"dst", b"time"]) {
        return Ok(Format::TglCsv);
    }
    if has(&[b"u", b"i", b"ts"]) {
        return Err(unknown(
            format!(
                "the header {} is that of DyGLib's and TGN's ml_*.csv, which is not read directly",
                quoted(line)
            ),
            "rename its columns u,i,ts to src,dst,time, then read it as TGL csv (and give the features with --edge-features ml_NAME.npy without their first row)",
        ));
    }
    let looks_numeric = |field: &[u8]| crate::decimal::Decimal::parse(field).is_ok();
    if names.len() >= 3 && names.iter().all(|f| looks_numeric(f)) {
        return Err(unknown(
            format!(
                "the first line {} is comma-separated numbers without a header, so the meaning of the columns is not known",
                quoted(line)
            ),
            "give --format jodie if they are user,item,time,label,features…; else put a header `src,dst,time` on top",
        ));
    }
    let words: Vec<&[u8]> = line
        .split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty())
        .collect();
    if words.iter().all(|w| looks_numeric(w)) {
        return match words.len() {
            3 => Ok(Format::SnapText),
            2 => Err(unknown(
                format!(
                    "the first line {} has two numbers, so the events have no times",
                    quoted(line)
                ),
                READABLE,
            )),
            n => Err(unknown(
                format!(
                    "the first line {} has {n} numbers separated by white space",
                    quoted(line)
                ),
                "SNAP text has three, `src dst time`: keep only these columns",
            )),
        };
    }
    if line.split(|&b| b == b'\t').count() >= 58 {
        return Err(unknown(
            "it looks like a raw GDELT 2.0 event file".to_owned(),
            "these are not read; TGL's preparation of GDELT is (`mspipe data fetch gdelt`)",
        ));
    }
    Err(unknown(
        format!(
            "the first line {} belongs to no format that is known here",
            quoted(line)
        ),
        READABLE,
    ))
}

/// The start of a text file; refuses what is not text, whatever format was asked for.
pub(crate) fn text_head(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut head = Vec::new();
    File::open(path)
        .map_err(DataError::io("open", path))?
        .take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(DataError::io("read", path))?;
    if head.starts_with(b"\xEF\xBB\xBF") {
        head.drain(..3);
    }
    let (found, remedy) = match head.as_slice() {
        [] => (
            "the file is empty",
            "if it was downloaded, delete it and download it again",
        ),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => (
            "a NumPy array, not events",
            "give the event file, and this one with --edge-features or --node-features",
        ),
        [0x1f, 0x8b, ..] => ("compressed with gzip", "decompress it first: gzip -d FILE"),
        [b'P', b'A', b'R', b'1', ..] => (
            "a Parquet file, which is not read",
            "convert it to csv with the columns src,dst,time",
        ),
        [b'P', b'K', 3, 4, ..] => (
            "a zip archive (.zip, .npz or PyTorch's .pt)",
            "unpack it; features are read as .npy: numpy.save(\"features.npy\", array)",
        ),
        text if text.trim_ascii_start().first() == Some(&b'<') => (
            "a web page or XML, not data",
            "the download probably failed: delete it and download it again",
        ),
        text if text.contains(&0) => ("binary, not text", READABLE),
        text if text.len() as u64 >= HEAD_BYTES - 3 && !text.contains(&b'\n') => {
            ("no line ends within the first 64 KiB", READABLE)
        }
        _ => return Ok(head),
    };
    Err(DataError::Format {
        path: path.to_path_buf(),
        found: found.to_owned(),
        remedy: remedy.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(content: &[u8]) -> Result<Format, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        detect(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn knows_the_formats() {
        assert_eq!(detected(b"user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n0,0,0.0,0,0.0,0.0\n"), Ok(Format::JodieCsv));
        assert_eq!(
            detected(b",src,dst,time,int_roll,ext_roll\n0,1,2,0.0,0,0\n"),
            Ok(Format::TglCsv)
        );
        assert_eq!(
            detected(b"src,dst,time\r\n1,8228,0.0\r\n"),
            Ok(Format::TglCsv)
        );
        assert_eq!(detected(b"\xEF\xBB\xBFsrc,dst,time\n"), Ok(Format::TglCsv));
        assert_eq!(
            detected(b"# FromNodeId ToNodeId Time\n\n1 2 1082040961\n"),
            Ok(Format::SnapText)
        );
        assert_eq!(detected(b"1\t2\t1082040961\n"), Ok(Format::SnapText));
    }

    #[test]
    fn says_what_else_it_is() {
        let refused = |content: &[u8], words: &str| {
            let message = detected(content).unwrap_err();
            assert!(message.contains(words), "{message}");
        };
        refused(b"", "the file is empty");
        refused(b"# only a comment\n", "no line holds an event");
        refused(b"\x93NUMPY\x01\0", "--edge-features");
        refused(b"\x1f\x8b\x08", "gzip -d");
        refused(b"PAR1....", "Parquet");
        refused(b"  <!DOCTYPE html>", "download probably failed");
        refused(b"abc\0def\n", "binary");
        refused(b"1,2,3.0,0\n", "--format jodie");
        refused(b"1 2\n", "no times");
        refused(b"1 2 3 4\n", "4 numbers");
        refused(
            b",u,i,ts,label,idx\n0,1,7048,0.0,0,1\n",
            "rename its columns",
        );
        refused(b"hello world\n", "belongs to no format");
        refused(&vec![b'7'; 1 << 17], "64 KiB");
    }

    #[test]
    fn names_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.name().parse::<Format>().unwrap(), format);
        }
        assert!(
            "csv"
                .parse::<Format>()
                .unwrap_err()
                .to_string()
                .contains("`csv` is not known")
        );
    }
}
