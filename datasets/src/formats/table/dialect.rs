//! What stands between the fields of a table, and whether its first line names them.
//!
//! Told from the first line that is no comment, never from values further down. A line with a
//! number or a date in it is no header, unless it names source, destination and time.

use crate::fields::calendar::parse_date;
use crate::fields::decimal::Decimal;
use crate::schema::names::{Role, plain, role};
use crate::schema::reading::Reading;

/// What stands between fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    Comma,
    Semicolon,
    Tab,
    /// Any white space, as much as there is.
    Space,
}

impl Separator {
    pub(crate) fn byte(self) -> Option<u8> {
        match self {
            Separator::Comma => Some(b','),
            Separator::Semicolon => Some(b';'),
            Separator::Tab => Some(b'\t'),
            Separator::Space => None,
        }
    }
}

/// How a file writes its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) separator: Separator,
    pub(crate) header: bool,
    /// KONECT's first line, and whether it says that nodes are of two kinds.
    pub(crate) konect: Option<bool>,
    /// Whether text behind a closing quote is refused, and not a part of the field.
    pub(crate) strict_quotes: bool,
}

impl Dialect {
    /// Whether lines with `#` are comments below the first event too: where there is no header,
    /// ids that begin so are not expected.
    pub(crate) fn comments_anywhere(self) -> bool {
        !self.header
    }

    /// That of a file which begins with a header.
    pub(crate) fn header_of(separator: Separator) -> Dialect {
        Dialect {
            separator,
            header: true,
            konect: None,
            strict_quotes: false,
        }
    }

    /// That of a table of pairs, which needs no more than two columns: a single semicolon separates them.
    pub(crate) fn of_pairs(head: &[u8], reading: &Reading) -> Option<Dialect> {
        let (dialect, line) = Dialect::of(head, reading)?;
        let single = Dialect::header_of(Separator::Semicolon);
        let dialect = match dialect.separator {
            Separator::Space if outside_quotes(line)[1] == 1 => Dialect {
                header: !reading.no_header && is_header(&single.fields(line), reading),
                ..single
            },
            _ => dialect,
        };
        Some(Dialect {
            strict_quotes: true,
            ..dialect
        })
    }

    /// That of a table of nodes, which needs no more than one column: white space is a part of names.
    /// `is_header` says whether the names in the first line can be those of its columns.
    pub(crate) fn of_nodes(
        head: &[u8],
        reading: &Reading,
        is_header: impl Fn(&[String]) -> bool,
    ) -> Option<Dialect> {
        let (mut dialect, line) = Dialect::of(head, reading)?;
        if dialect.separator == Separator::Space {
            dialect.separator = Separator::Tab;
            let names = Dialect::header_of(Separator::Semicolon).fields(line);
            if names.len() > 1 && is_header(&names) {
                dialect.separator = Separator::Semicolon;
            }
        }
        dialect.header = dialect.header && is_header(&dialect.fields(line));
        dialect.strict_quotes = true;
        Some(dialect)
    }

    /// Tells from the beginning of a text; returns the line too. None if there is
    /// none.
    pub(crate) fn of<'h>(head: &'h [u8], reading: &Reading) -> Option<(Dialect, &'h [u8])> {
        let lines = || {
            head.split(|&b| b == b'\n')
                .filter(|l| !l.trim_ascii().is_empty())
        };
        let line = lines().find(|line| !is_comment(line.trim_ascii()))?;
        let separator = separator(line);
        let names = Dialect::header_of(separator).fields(line);
        let header = !reading.is_without_header() && is_header(&names, reading);
        let dialect = Dialect {
            separator: match separator {
                // Numbers with tabs between them often have spaces too, further down.
                Separator::Tab if !header && names.iter().all(|name| is_value(name)) => {
                    Separator::Space
                }
                separator => separator,
            },
            header,
            konect: lines().next().and_then(konect),
            strict_quotes: false,
        };
        Some((dialect, line))
    }

    /// The fields of a line, for a look at the file's first one.
    pub(crate) fn fields(self, line: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(line);
        let unquoted = |field: &str| field.trim().trim_matches('"').to_owned();
        let fields: Vec<String> = match self.separator.byte() {
            Some(b'\t') => (text.trim_end_matches(['\r', '\n']).split('\t'))
                .map(unquoted)
                .collect(),
            Some(byte) => text.trim().split(char::from(byte)).map(unquoted).collect(),
            None => text.split_ascii_whitespace().map(unquoted).collect(),
        };
        fields
    }
}

/// Whether a line without white space around it is a comment.
pub(crate) fn is_comment(line: &[u8]) -> bool {
    matches!(line, [b'#' | b'%', ..] | [b'/', b'/', ..])
}

/// `% bip weighted` is KONECT's: sym, asym or bip.
fn konect(line: &[u8]) -> Option<bool> {
    let mut words = line
        .strip_prefix(b"%")?
        .trim_ascii()
        .split(u8::is_ascii_whitespace);
    match words.next()? {
        b"bip" => Some(true),
        b"sym" | b"asym" => Some(false),
        _ => None,
    }
}

/// What separates the fields of a line.
fn separator(line: &[u8]) -> Separator {
    let [tabs, semicolons, commas] = outside_quotes(line);
    if tabs > 0 {
        Separator::Tab
    } else if semicolons > 1 && semicolons >= commas {
        Separator::Semicolon
    } else if commas > 0 {
        Separator::Comma
    } else {
        Separator::Space
    }
}

/// Tabs, semicolons and commas of a line that are not within quotes.
fn outside_quotes(line: &[u8]) -> [usize; 3] {
    let mut outside = true;
    let mut found = [0; 3];
    for byte in line.trim_ascii() {
        match byte {
            b'"' => outside = !outside,
            b'\t' if outside => found[0] += 1,
            b';' if outside => found[1] += 1,
            b',' if outside => found[2] += 1,
            _ => {}
        }
    }
    found
}

fn is_value(field: &str) -> bool {
    let field = field.as_bytes();
    Decimal::is_number(field) || parse_date(field).is_some()
}

fn is_header(names: &[String], reading: &Reading) -> bool {
    if !names.iter().any(|name| is_value(name)) {
        return true;
    }
    let choices = [
        Some(&reading.columns),
        reading.like.as_ref().map(|like| &like.columns),
    ];
    choices.into_iter().flatten().any(|choice| {
        let chosen = [
            (Role::Source, &choice.src),
            (Role::Destination, &choice.dst),
            (Role::Time, &choice.time),
        ];
        chosen.into_iter().all(|(wanted, chosen)| {
            names.iter().any(|name| match chosen {
                Some(chosen) => plain(name) == plain(chosen) && !is_value(name),
                None => role(name) == Some(wanted),
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &str) -> (Separator, bool, Option<bool>) {
        let (dialect, _) = Dialect::of(head.as_bytes(), &Reading::default()).unwrap();
        (dialect.separator, dialect.header, dialect.konect)
    }

    #[test]
    fn pairs_may_have_a_single_semicolon() {
        let of = |line: &str| {
            let dialect = Dialect::of_pairs(line.as_bytes(), &Reading::default()).unwrap();
            (dialect.separator, dialect.header)
        };
        assert_eq!(of("src;dst\n"), (Separator::Semicolon, true));
        assert_eq!(of("\"a b\";\"c\"\n"), (Separator::Semicolon, true));
        assert_eq!(of("3;4\n"), (Separator::Semicolon, false));
        assert_eq!(of("\"a;b\" c\n"), (Separator::Space, true));
        assert_eq!(of("src;x,dst\n"), (Separator::Comma, true));
    }

    #[test]
    fn told_from_the_first_line() {
        use Separator::{Comma, Semicolon, Space, Tab};
        for (head, expected) in [
            ("src,dst,time\n0,1,2\n", (Comma, true, None)),
            ("# a, comment\n\n1,2,3.5\n", (Comma, false, None)),
            ("source;target;time;w\n1;2;3;0,5\n", (Semicolon, true, None)),
            ("1;2;3;0,5\n", (Semicolon, false, None)),
            ("SOURCE\tTARGET\tTS\n", (Tab, true, None)),
            ("a\tb c\t21\n", (Tab, false, None)),
            ("1\t2\t3\n", (Space, false, None)),
            ("src dst time\n", (Space, true, None)),
            ("\"\",\"a,b\",\"dst\"\n", (Comma, true, None)),
            (
                "% bip weighted\n% 1 2\n1 2 3 4\n",
                (Space, false, Some(true)),
            ),
            ("% asym\n1\t2\t3\t4\n", (Space, false, Some(false))),
            ("% directed\n1,2,3\n", (Comma, false, None)),
            ("// note\n1 2 3\n", (Space, false, None)),
            // pandas calls columns 0, 1, …
            ("src,dst,time,0,1\n", (Comma, true, None)),
            ("alice,bob,2021-11-01\n", (Comma, false, None)),
        ] {
            assert_eq!(of(head), expected, "{head}");
        }
        assert!(Dialect::of(b"# x\n\n", &Reading::default()).is_none());
        let no_header = Reading {
            no_header: true,
            ..Reading::default()
        };
        assert!(!Dialect::of(b"a,b,c\n", &no_header).unwrap().0.header);
        let chosen = Reading {
            columns: "src=a,dst=b,time=c".parse().unwrap(),
            ..Reading::default()
        };
        assert!(Dialect::of(b"a,b,c,0\n", &chosen).unwrap().0.header);
    }
}
