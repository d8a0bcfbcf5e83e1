//! GDELT 2.0 event files (`YYYYMMDDHHMMSS.export.CSV`) as one stream of interactions of actors.
//!
//! A row has 61 tab-separated columns and no header. Actors are the nodes, named
//! by their CAMEO code (`Actor1Code`, `Actor2Code`); rows without two of them are
//! dropped and counted. The time is that of the 15-minute file (`DATEADDED`), in
//! Unix seconds. Edge features are the CAMEO event codes (`EventCode`,
//! `EventBaseCode`, `EventRootCode`), node features the actor's country, known
//! group, ethnic, religion and type codes, both multi-hot and bit-packed. Their
//! columns are the codes that occur in the files, in ascending order, so two
//! streams have different columns; the names are kept in the store.
//!
//! Files are read twice, in the order of their names: once for the codes, once
//! for the events. Memory grows with the number of actors and codes only.
//! Source: <http://data.gdeltproject.org/documentation/GDELT-Event_Codebook-V2.0.pdf>.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{DataError, quoted};
use crate::fields::calendar::parse_compact;
use crate::fields::decimal::Decimal;
use crate::fields::lines::Lines;
use crate::fields::node_names::NodeNames;
use crate::fields::raw_event::{Described, EventSink, FeatureRow, NodeBits, Position, RawEvent};
use crate::files::packed::TextFile;
use crate::ram;

/// Columns of an event file.
pub(crate) const COLUMNS: usize = 61;
/// Each is a column of the features of every event or actor.
const MOST_CODES: usize = 1 << 14;
const ACTOR_CODES: [usize; 2] = [5, 15];
const EVENT_CODES: [usize; 3] = [26, 27, 28];
const DATE_ADDED: usize = 59;
/// Kinds of actor codes and their columns, counted from the actor's own code.
const ACTOR_KINDS: [(&str, &[usize]); 5] = [
    ("country", &[2]),
    ("group", &[3]),
    ("ethnic", &[4]),
    ("religion", &[5, 6]),
    ("type", &[7, 8, 9]),
];

/// What the first reading found.
#[derive(Default)]
struct Survey {
    actors: NodeNames,
    /// Columns of the node features, numbered in order of appearance.
    actor_codes: BTreeMap<String, u32>,
    /// Actor and number of the code.
    attached: BTreeSet<(u64, u32)>,
    event_codes: BTreeMap<String, u32>,
    rows: u64,
    without: [u64; 3],
}

/// Reads `files` into `sink`, one after another.
pub(crate) fn read(files: &[TextFile], sink: &mut dyn EventSink) -> Result<Described, DataError> {
    let mut survey = Survey::default();
    for file in files {
        each_row(file, |at, fields| {
            if survey.rows.is_multiple_of(1 << 12) {
                sink.check_stop()?;
            }
            survey.row(at, fields)
        })?;
    }
    let notes = survey.notes(files.len());
    let columns: BTreeMap<&str, usize> = (survey.event_codes.keys().enumerate())
        .map(|(column, code)| (code.as_str(), column))
        .collect();
    let width = columns.len();
    let mut bytes = vec![0u8; width.div_ceil(8)];
    for file in files {
        each_row(file, |at, fields| {
            let [Some(src), Some(dst)] = ACTOR_CODES.map(|column| actor(fields, column)) else {
                return Ok(());
            };
            bytes.fill(0);
            for code in EVENT_CODES.into_iter().filter_map(|c| text(fields[c])) {
                if let Some(&column) = columns.get(code) {
                    bytes[column / 8] |= 1 << (column % 8);
                }
            }
            sink.event(RawEvent {
                at,
                src: survey.actors.number(at, src)?,
                dst: survey.actors.number(at, dst)?,
                time: time(at, fields[DATE_ADDED])?,
                label: None,
                roll: None,
                edge_id: None,
                features: FeatureRow::Bits {
                    width,
                    bytes: &bytes,
                },
                titles: &[],
            })
        })?;
    }
    let edge_feature_names = survey
        .event_codes
        .keys()
        .map(|c| format!("event:{c}"))
        .collect();
    let actor_bits = survey.actor_bits().map_err(|problem| {
        let path = files.first().map_or(Path::new(""), |file| &file.shown);
        let (actors, codes) = (survey.actors.count(), survey.actor_codes.len());
        DataError::format(
            path,
            format!("{actors} actors with {codes} codes, for which {problem}"),
            "convert fewer files at a time, or on a machine with more RAM",
        )
    })?;
    let node_names = survey.actors.into_names();
    let row_bytes = actor_bits.names.len().div_ceil(8);
    Ok(Described {
        node_features: (row_bytes > 0).then_some(actor_bits),
        node_names: Some(node_names),
        edge_feature_names: Some(edge_feature_names),
        notes,
        ..Described::default()
    })
}

impl Survey {
    fn row(&mut self, at: Position<'_>, fields: &[&[u8]; COLUMNS]) -> Result<(), DataError> {
        self.rows += 1;
        time(at, fields[DATE_ADDED])?;
        match ACTOR_CODES.map(|column| actor(fields, column)) {
            [None, None] => self.without[2] += 1,
            [None, Some(_)] => self.without[0] += 1,
            [Some(_), None] => self.without[1] += 1,
            [Some(first), Some(second)] => {
                for (column, code) in [(ACTOR_CODES[0], first), (ACTOR_CODES[1], second)] {
                    let node = self.actors.number(at, code)?;
                    self.attach(at, node, &fields[column..column + 10])?;
                }
                for code in EVENT_CODES.into_iter().filter_map(|c| text(fields[c])) {
                    number(at, &mut self.event_codes, code)?;
                }
            }
        }
        Ok(())
    }

    fn attach(&mut self, at: Position<'_>, node: u64, fields: &[&[u8]]) -> Result<(), DataError> {
        for (kind, columns) in ACTOR_KINDS {
            for code in columns.iter().filter_map(|&c| text(fields[c])) {
                let code = number(at, &mut self.actor_codes, &format!("{kind}:{code}"))?;
                self.attached.insert((node, code));
            }
        }
        Ok(())
    }

    /// Rows of the actors in the order of their numbers, columns in the order of the codes.
    fn actor_bits(&self) -> Result<NodeBits, String> {
        let mut columns = vec![0; self.actor_codes.len()];
        for (column, &number) in self.actor_codes.values().enumerate() {
            columns[number as usize] = column;
        }
        let row_bytes = columns.len().div_ceil(8);
        let mut bytes = ram::filled(self.actors.count().saturating_mul(row_bytes), 0u8)?;
        for &(node, code) in &self.attached {
            let column = columns[code as usize];
            bytes[node as usize * row_bytes + column / 8] |= 1 << (column % 8);
        }
        Ok(NodeBits {
            names: self.actor_codes.keys().cloned().collect(),
            bytes,
        })
    }

    fn notes(&self, files: usize) -> Vec<String> {
        let dropped: u64 = self.without.iter().sum();
        vec![format!(
            "{} rows of {files} GDELT files read, {dropped} dropped because an interaction needs two actors: \
             {} have no first actor (Actor1Code is empty), {} no second (Actor2Code), {} neither",
            self.rows, self.without[0], self.without[1], self.without[2]
        )]
    }
}

/// The number of a code, a new one if it has none.
fn number(
    at: Position<'_>,
    codes: &mut BTreeMap<String, u32>,
    code: &str,
) -> Result<u32, DataError> {
    if let Some(&number) = codes.get(code) {
        return Ok(number);
    }
    if codes.len() == MOST_CODES {
        return Err(at.error(
            format!(
                "{} is code number {}",
                quoted(code.as_bytes()),
                MOST_CODES + 1
            ),
            format!("at most {MOST_CODES} codes; CAMEO has some hundreds: is this a GDELT file?"),
        ));
    }
    let number = codes.len() as u32;
    codes.insert(code.to_owned(), number);
    Ok(number)
}

fn each_row(
    file: &TextFile,
    mut row: impl FnMut(Position<'_>, &[&[u8]; COLUMNS]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut lines = Lines::open(file)?;
    while lines.advance()? {
        let at = lines.position();
        let mut fields = [&b""[..]; COLUMNS];
        let mut count = 0;
        for field in lines.tab_fields() {
            if let Some(place) = fields.get_mut(count) {
                *place = field.trim_ascii();
            }
            count += 1;
        }
        if count != COLUMNS {
            let expected = match count {
                57 | 58 => {
                    "61, as GDELT 2.0 has; this is GDELT 1.0, which has no 15-minute times and is not read"
                }
                _ => {
                    "61, as GDELT 2.0 event files have; a cut-off line means that the file is incomplete"
                }
            };
            return Err(at.error(format!("{count} tab-separated fields"), expected));
        }
        row(at, &fields)?;
    }
    Ok(())
}

fn time(at: Position<'_>, field: &[u8]) -> Result<Decimal, DataError> {
    parse_compact(field)
        .map(|seconds| Decimal {
            mantissa: seconds,
            scale: 0,
        })
        .ok_or_else(|| {
            at.error(
                format!("DATEADDED (column 60) is {}", quoted(field)),
                "YYYYMMDDHHMMSS, such as 20180326044500",
            )
        })
}

fn actor<'a>(fields: &[&'a [u8]; COLUMNS], column: usize) -> Option<&'a str> {
    text(fields[column])
}

/// A code, if there is one. Codes are ASCII; damaged bytes count as none.
fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field)
        .ok()
        .filter(|code| !code.is_empty())
}
