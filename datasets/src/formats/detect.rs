//! Tells a file's format from its content, or says what the content looks like.
//!
//! Looks at the first 64 KiB of text only. Whatever is a table is read by one schema, so that a
//! layout matters only where it has rules of its own; where two could be meant, nothing is
//! guessed: the error names the possibilities and how to choose.

use std::io::Read;
use std::path::Path;

use crate::error::{DataError, quoted};
use crate::fields::decimal::Decimal;
use crate::files::lfs;
use crate::files::packed::{TextFile, is_damage, is_packed};
use crate::formats::format::Format;
use crate::formats::gdelt;
use crate::formats::table::Dialect;
use crate::schema::names::{Role, plain, role};
use crate::schema::reading::Reading;

const READABLE: &str = "readable are tables of text with source, destination and time (commas, semicolons, tabs or white space; with \
                        a header, or `src dst time`), Parquet and raw GDELT; docs/your-data.md shows them";
const HEAD_BYTES: u64 = 1 << 16;

/// The format of events whose text starts with `head`; `path` is for messages.
pub(crate) fn detect(path: &Path, head: &[u8], reading: &Reading) -> Result<Format, DataError> {
    let unknown = |found: String, remedy: &str| Err(DataError::format(path, found, remedy));
    let lines = || {
        head.split(|&b| b == b'\n')
            .filter(|l| !l.trim_ascii().is_empty())
    };
    let tabs = lines()
        .next()
        .map_or(0, |line| line.split(|&b| b == b'\t').count());
    if tabs == gdelt::COLUMNS {
        return Ok(Format::Gdelt);
    }
    if matches!(tabs, 57 | 58) {
        return unknown(
            format!("{tabs} fields separated by tabs, as GDELT 1.0 has"),
            "GDELT 2.0 event files have 61 and are read; take those (http://data.gdeltproject.org/gdeltv2/)",
        );
    }
    let Some((dialect, line)) = Dialect::of(head, reading) else {
        return unknown("no line holds an event".to_owned(), READABLE);
    };
    let fields = dialect.fields(line);
    match (dialect.header, fields.len()) {
        (_, 0..=2) => {
            let found = format!(
                "the first line {} has no three columns",
                quoted(line.trim_ascii())
            );
            unknown(found, READABLE)
        }
        (true, _) => {
            let starts = |names: &[&str]| {
                fields
                    .iter()
                    .map(|f| plain(f))
                    .take(names.len())
                    .eq(names.iter().map(|n| plain(n)))
            };
            // Two columns for one role are the schema's to refuse.
            let once = [Role::Source, Role::Destination, Role::Time].map(|wanted| {
                let named = fields.iter().filter(|field| role(field) == Some(wanted));
                named.count() == 1
            });
            let has = |name: &str| fields.iter().any(|field| plain(field) == name);
            Ok(match once == [true; 3] {
                true if starts(&["user_id", "item_id", "timestamp"]) => Format::JodieCsv,
                true if ["u", "i", "ts"].into_iter().all(has) => Format::DgbCsv,
                _ => Format::Table,
            })
        }
        (false, 3) => Ok(Format::Table),
        (false, 4) if dialect.konect.is_some() => Ok(Format::Table),
        (false, _) if reading.no_header || reading.columns != Default::default() => {
            Ok(Format::Table)
        }
        (false, count) => {
            let numbers = fields
                .iter()
                .filter(|f| Decimal::is_number(f.as_bytes()))
                .count();
            unknown(
                format!(
                    "the first line {} has {count} fields, {numbers} of them numbers, and no header, so the meaning of the columns is not known",
                    quoted(line.trim_ascii())
                ),
                "--no-header reads columns 1, 2 and 3 as source, destination and time and the others as features; \
                 --columns src=1,dst=2,time=4 says otherwise; --format jodie if they are user,item,time,label,features…",
            )
        }
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
    if head.is_empty() && file.file.is_copy() {
        return Err(DataError::format(
            &file.shown,
            "nothing came",
            "look at what the command before the pipe says: it wrote no byte",
        ));
    }
    if let Some((found, remedy)) = no_text(&head) {
        return Err(DataError::format(&file.shown, found, remedy));
    }
    Ok(head)
}

/// What bytes are that are no text, and what to do about them.
fn no_text(head: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match head {
        [] => (
            "the file is empty",
            "if it was downloaded, delete it and download it again",
        ),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => (
            "a NumPy array, not events",
            "give the event file, and this one with --edge-feature-file or --node-feature-file",
        ),
        text if is_packed(text) => (
            "compressed twice",
            "decompress it once; gzip, bzip2, xz, Zstandard and zip are read directly",
        ),
        [b'7', b'z', 0xbc, 0xaf, ..] => (
            "a 7z archive",
            "unpack it with 7z x; gzip, bzip2, xz, Zstandard and zip are read directly",
        ),
        [b'P', b'A', b'R', b'1', ..] => (
            "a compressed Parquet file",
            "decompress it; Parquet has its own compression",
        ),
        _ if lfs::is_pointer(head) => (lfs::FOUND, lfs::REMEDY),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => (
            "UTF-16 text, as Windows' PowerShell and Excel write it",
            "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW (in PowerShell: Out-File -Encoding utf8)",
        ),
        _ if head.get(257..262) == Some(b"ustar") => (
            "a tar archive",
            "unpack it with tar -xf and name the event file",
        ),
        text if text.trim_ascii_start().first() == Some(&b'<') => (
            "a web page or XML, not data",
            "the download probably failed: delete it and download it again",
        ),
        text if text.contains(&0) => ("binary, not text", READABLE),
        text if text.contains(&b'\r') && !text.contains(&b'\n') => (
            "text whose lines end with \\r alone, as on old Macs",
            "convert it: tr '\\r' '\\n' < FILE > NEW",
        ),
        text if text.len() as u64 >= HEAD_BYTES - 3 && !text.contains(&b'\n') => {
            ("no line ends within the first 64 KiB", READABLE)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::input_file::InputFile;
    use crate::files::packed::Unpacking;

    fn detected(content: &[u8]) -> Result<Format, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        let file = InputFile::on_disk(&path);
        let file = TextFile::one(&file, Unpacking::default()).map_err(|e| e.to_string())?;
        text_head(&file)
            .and_then(|head| detect(&path, &head, &Reading::default()))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn knows_the_formats() {
        assert_eq!(detected(b"user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n0,0,0.0,0,0.0,0.0\n"), Ok(Format::JodieCsv));
        assert_eq!(
            detected(b",u,i,ts,label,idx\n0,1,7048,0.0,0,1\n"),
            Ok(Format::DgbCsv)
        );
        assert_eq!(
            detected(("1".to_owned() + &"\t".repeat(60)).as_bytes()),
            Ok(Format::Gdelt)
        );
        for table in [
            &b",src,dst,time,int_roll,ext_roll\n0,1,2,0.0,0,0\n"[..],
            b"timestamp,user_id,token_address,value\n",
            b"\xEF\xBB\xBFsrc;dst;time\n",
            b"# FromNodeId ToNodeId Time\n\n1 2 1082040961\n",
            b"1\t2\t1082040961\n",
            b"% bip\n1 2 1 1082040961\n",
            // Ids have all 64 bits.
            b"9223372036854775808 18446744073709551615 18446744073709551615\n",
        ] {
            assert_eq!(detected(table), Ok(Format::Table));
        }
    }

    #[test]
    fn says_what_else_it_is() {
        let refused = |content: &[u8], words: &str| {
            let message = detected(content).unwrap_err();
            assert!(message.contains(words), "{message}");
        };
        refused(b"", "the file is empty");
        refused(b"# only a comment\n", "no line holds an event");
        refused(b"\x93NUMPY\x01\0", "--edge-feature-file");
        refused(b"\x1f\x8b\x08", "cut off at their beginning");
        refused(b"PAR1....", "a compressed Parquet file");
        refused(b"  <!DOCTYPE html>", "download probably failed");
        refused(b"abc\0def\n", "binary");
        refused(b"1,2,3.0,0\n", "--format jodie");
        refused(b"1 2\n", "no three columns");
        refused(b"1 2 3 4\n", "4 fields, 4 of them numbers, and no header");
        refused(b"1 2 3 4\n", "--columns src=1,dst=2,time=4");
        for start in [&b"BZh91AY&SY"[..], b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"] {
            refused(start, "cut off at their beginning");
        }
        refused(b"7z\xbc\xaf\x27\x1c", "a 7z archive");
        refused(b"\xff\xfes\0r\0", "UTF-16 text");
        refused(b"\xfe\xff\0s\0r", "iconv -f UTF-16");
        refused(b"1 2 3\r4 5 6\r", "lines end with \\r alone");
        refused(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n",
            "a Git LFS pointer",
        );
        refused(&[&[b'a'; 257][..], b"ustar\0"].concat(), "a tar archive");
        refused(
            "1\t".repeat(57).as_bytes(),
            "58 fields separated by tabs, as GDELT 1.0",
        );
        refused(b"hello world\n", "no three columns");
        refused(&vec![b'7'; 1 << 17], "64 KiB");
    }
}
