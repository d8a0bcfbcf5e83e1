//! Tells a file's format from its content, or says what the content looks like.
//!
//! Looks at the first 64 KiB of text only. Never guesses: what is not certain, or
//! fits two formats, is an error that names the possibilities and how to choose
//! (`--format`).

use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::column_names::{Role, role};
use crate::decimal::Decimal;
use crate::error::{DataError, quoted};
use crate::gdelt;
use crate::packed::{TextFile, is_damage};

/// A layout of event files that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `user_id,item_id,timestamp,state_label,features…`, see <https://snap.stanford.edu/jodie/>.
    JodieCsv,
    /// `src dst time` separated by white space, as SNAP's temporal networks.
    SnapText,
    /// TGL's folder with `edges.csv`, or a csv file with columns `src,dst,time`.
    TglCsv,
    /// DyGLib's and TGN's `ml_NAME.csv` with `u,i,ts`, alone or with its `.npy` files.
    DgbCsv,
    /// TGB's edge list: a csv file with a header, `time,src,dst` and features.
    TgbCsv,
    /// A Parquet file with columns for source, destination and time.
    Parquet,
    /// Raw GDELT 2.0 event files: one, or a folder or zip archive of many.
    Gdelt,
}

impl Format {
    /// Every format, in the order in which they are documented.
    pub const ALL: [Format; 7] = [
        Format::JodieCsv,
        Format::SnapText,
        Format::TglCsv,
        Format::DgbCsv,
        Format::TgbCsv,
        Format::Parquet,
        Format::Gdelt,
    ];

    /// The name that [`FromStr`] accepts: `jodie`, `snap`, `tgl`, `dgb`, `tgb`, `parquet` or `gdelt`.
    pub fn name(self) -> &'static str {
        match self {
            Format::JodieCsv => "jodie",
            Format::SnapText => "snap",
            Format::TglCsv => "tgl",
            Format::DgbCsv => "dgb",
            Format::TgbCsv => "tgb",
            Format::Parquet => "parquet",
            Format::Gdelt => "gdelt",
        }
    }
}

impl FromStr for Format {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Format, DataError> {
        Format::ALL.into_iter().find(|f| f.name() == text).ok_or_else(|| {
            let names = Format::ALL.map(Format::name).join(", ");
            DataError::Option(format!("format `{text}` is not known; there are {names} (see `mspipe data import --help`)"))
        })
    }
}

const READABLE: &str = "readable are JODIE csv (`user_id,item_id,timestamp,state_label,…`), SNAP text (`src dst time`), \
                        TGL csv (a header with `src,dst,time`), DyGLib csv (`,u,i,ts,label,idx`), TGB csv (`time,src,dst,…`), Parquet \
                        and raw GDELT; if it is one of these, say which with --format jodie|snap|tgl|dgb|tgb|parquet|gdelt";
const HEAD_BYTES: u64 = 1 << 16;

/// The format of events whose text starts with `head`; `path` is for messages.
pub(crate) fn detect(path: &Path, head: &[u8]) -> Result<Format, DataError> {
    let unknown = |found: String, remedy: &str| DataError::format(path, found, remedy);
    let Some(raw_line) = head
        .split(|&b| b == b'\n')
        .find(|l| !l.trim_ascii().is_empty() && !l.starts_with(b"#"))
    else {
        return Err(unknown("no line holds an event".to_owned(), READABLE));
    };
    let line = raw_line.trim_ascii();
    let tabs = raw_line.split(|&b| b == b'\t').count();
    if tabs == gdelt::COLUMNS {
        return Ok(Format::Gdelt);
    }
    if matches!(tabs, 57 | 58) {
        return Err(unknown(
            format!("{tabs} fields separated by tabs, as GDELT 1.0 has"),
            "GDELT 2.0 event files have 61 and are read; take those (http://data.gdeltproject.org/gdeltv2/)",
        ));
    }
    let names: Vec<&[u8]> = line.split(|&b| b == b',').map(<[u8]>::trim_ascii).collect();
    let looks_numeric = Decimal::is_number;
    if let Some(format) = from_header(path, &names)? {
        return Ok(format);
    }
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
    Err(unknown(
        format!(
            "the first line {} belongs to no format that is known here",
            quoted(line)
        ),
        READABLE,
    ))
}

/// The format that the header of a csv file belongs to, if it is one.
fn from_header(path: &Path, names: &[&[u8]]) -> Result<Option<Format>, DataError> {
    let has = |wanted: &[&[u8]]| wanted.iter().all(|name| names.contains(name));
    let role_of = |name: &[u8]| std::str::from_utf8(name).ok().and_then(role);
    let starts_with_time = names
        .first()
        .is_some_and(|name| role_of(name) == Some(Role::Time));
    let named_otherwise = [Role::Time, Role::Source, Role::Destination]
        .iter()
        .all(|wanted| names.iter().any(|name| role_of(name) == Some(*wanted)));
    let tgl = has(&[b"src", b"dst", b"time"]) && !starts_with_time;
    let mut fits = Vec::new();
    if names.starts_with(&[b"user_id", b"item_id", b"timestamp"]) {
        fits.push(Format::JodieCsv);
    }
    if tgl {
        fits.push(Format::TglCsv);
    }
    if has(&[b"u", b"i", b"ts"]) {
        fits.push(Format::DgbCsv);
    }
    if names.len() >= 3 && (starts_with_time || (fits.is_empty() && named_otherwise)) {
        fits.push(Format::TgbCsv);
    }
    match fits.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        [one, other, ..] => Err(DataError::format(
            path,
            format!(
                "the header {} fits two formats, {} and {}",
                quoted(&names.join(&b","[..])),
                one.name(),
                other.name()
            ),
            format!(
                "choose with --format {} or --format {}",
                one.name(),
                other.name()
            ),
        )),
    }
}

/// The start of a text file; refuses what is not text, whatever format was asked for.
pub(crate) fn text_head(file: &TextFile) -> Result<Vec<u8>, DataError> {
    let mut head = Vec::new();
    let read = file.open()?.take(HEAD_BYTES).read_to_end(&mut head);
    match read {
        Ok(_) => {}
        // Damage behind the first lines is the reader's to report, with its place.
        Err(error) if file.is_packed() && is_damage(&error) && !head.is_empty() => {}
        Err(error) => return Err(file.unreadable(error, 0)),
    }
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
        [0x1f, 0x8b, ..] | [b'P', b'K', 3, 4, ..] => (
            "compressed twice",
            "decompress it once; gzip and zip are read directly",
        ),
        [b'P', b'A', b'R', b'1', ..] => (
            "a compressed Parquet file",
            "decompress it; Parquet has its own compression",
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
    Err(DataError::format(&file.shown, found, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input_file::InputFile;
    use crate::packed::Unpacking;

    fn detected(content: &[u8]) -> Result<Format, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        let file = InputFile::on_disk(&path);
        let file = TextFile::one(&file, Unpacking::default()).map_err(|e| e.to_string())?;
        text_head(&file)
            .and_then(|head| detect(&path, &head))
            .map_err(|e| e.to_string())
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
        assert_eq!(
            detected(b",u,i,ts,label,idx\n0,1,7048,0.0,0,1\n"),
            Ok(Format::DgbCsv)
        );
        assert_eq!(detected(b"day,src,dst,callsign\n"), Ok(Format::TgbCsv));
        assert_eq!(
            detected(b"timestamp,user_id,token_address,value\n"),
            Ok(Format::TgbCsv)
        );
        assert_eq!(detected(b"source,target,ts,weight\n"), Ok(Format::TgbCsv));
        assert_eq!(
            detected(("1".to_owned() + &"\t".repeat(60)).as_bytes()),
            Ok(Format::Gdelt)
        );
        assert_eq!(detected(b"\xEF\xBB\xBFsrc,dst,time\n"), Ok(Format::TglCsv));
        assert_eq!(
            detected(b"# FromNodeId ToNodeId Time\n\n1 2 1082040961\n"),
            Ok(Format::SnapText)
        );
        assert_eq!(detected(b"1\t2\t1082040961\n"), Ok(Format::SnapText));
        // Ids have all 64 bits.
        assert_eq!(
            detected(b"9223372036854775808 18446744073709551615 1.5\n"),
            Ok(Format::SnapText)
        );
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
        refused(b"\x1f\x8b\x08", "cut off at their beginning");
        refused(b"PAR1....", "a compressed Parquet file");
        refused(b"  <!DOCTYPE html>", "download probably failed");
        refused(b"abc\0def\n", "binary");
        refused(b"1,2,3.0,0\n", "--format jodie");
        refused(b"1 2\n", "no times");
        refused(b"1 2 3 4\n", "4 numbers");
        refused(
            b"src,dst,time,u,i,ts\n",
            "fits two formats, tgl and dgb; choose with --format tgl or --format dgb",
        );
        refused(
            "1\t".repeat(57).as_bytes(),
            "58 fields separated by tabs, as GDELT 1.0",
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
