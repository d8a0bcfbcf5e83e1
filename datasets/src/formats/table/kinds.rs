//! What the values of each column are: told from the whole column, not from its first row.
//!
//! The beginning of a file tells first. If a value further down does not fit, the whole file is
//! looked through and read again; so most files are read once, and no row is special.

use crate::error::{DataError, quoted};
use crate::fields::raw_event::{Position, parse_bool};
use crate::schema::Schema;
use crate::schema::reading::{IdKind, Missing, Reading};
use crate::stop::Stop;
use crate::stream::event_log::NO_LABEL;

use super::Table;

/// Rows and fields that are looked at before the file is read.
const FIRST_ROWS: u64 = 2_000;
const FIRST_FIELDS: u64 = 200_000;

/// A value that says what its column is not.
#[derive(Debug, Clone)]
struct Odd {
    value: String,
    place: String,
}

/// What was seen in a column.
#[derive(Debug, Clone, Default)]
struct Seen {
    numbers: u64,
    bools: u64,
    missing: u64,
    sum: f64,
    odd: Option<Odd>,
}

/// What was seen in a table.
#[derive(Debug)]
pub(super) struct Survey {
    /// Whether every row was seen.
    pub(super) complete: bool,
    rows: u64,
    /// Ids that are plain numbers.
    numbers: u64,
    no_number: Option<Odd>,
    no_label: Option<Odd>,
    candidates: Vec<Seen>,
}

/// A column of features.
#[derive(Debug, Clone, Copy)]
pub(super) struct Feature {
    pub(super) column: usize,
    /// What stands for a missing value; NaN where that is refused.
    pub(super) fill: f32,
}

/// How columns are read.
#[derive(Debug, Clone)]
pub(super) struct Kinds {
    pub(super) text_ids: bool,
    pub(super) label: bool,
    pub(super) features: Vec<Feature>,
    /// Features are all true or false.
    pub(super) bools: bool,
    pub(super) notes: Vec<String>,
}

impl Survey {
    /// Looks through a table until `whole` ends the work, or at its beginning.
    pub(super) fn of(
        table: &mut Table<'_>,
        schema: &Schema,
        whole: Option<&Stop>,
    ) -> Result<Survey, DataError> {
        let mut survey = Survey {
            complete: true,
            rows: 0,
            numbers: 0,
            no_number: None,
            no_label: None,
            candidates: vec![Seen::default(); schema.candidates.len()],
        };
        let fields = schema.candidates.len() as u64 + 4;
        while table.next()? {
            survey.row(table, schema);
            survey.rows += 1;
            let enough = survey.rows == FIRST_ROWS || survey.rows * fields > FIRST_FIELDS;
            match whole {
                Some(stop) => stop.check()?,
                None if enough => {
                    survey.complete = false;
                    break;
                }
                None => {}
            }
        }
        Ok(survey)
    }

    fn row(&mut self, table: &Table<'_>, schema: &Schema) {
        let at = table.position();
        for column in [schema.src, schema.dst] {
            let id = table.field(column);
            match plain_id(id) {
                Some(_) => self.numbers += 1,
                None => note(&mut self.no_number, at, id),
            }
        }
        if let Some(label) = schema.label.map(|column| table.field(column))
            && parse_label(at, label).is_none()
        {
            note(&mut self.no_label, at, label);
        }
        for (seen, &column) in self.candidates.iter_mut().zip(&schema.candidates) {
            let field = table.field(column);
            match parse_feature(field, table.decimal_commas()) {
                _ if is_missing(field) => seen.missing += 1,
                Some(value) => {
                    seen.numbers += 1;
                    seen.sum += f64::from(value);
                }
                None => match parse_bool(field) {
                    Some(value) => {
                        seen.bools += 1;
                        seen.sum += f64::from(u8::from(value));
                    }
                    None => note(&mut seen.odd, at, field),
                },
            }
        }
    }

    /// How to read a table of which this was seen.
    pub(super) fn kinds(&self, schema: &Schema, reading: &Reading) -> Kinds {
        let text_ids = match reading.ids {
            IdKind::Auto => self.no_number.is_some(),
            IdKind::Number => false,
            IdKind::Text => true,
        };
        let mut notes = Vec::new();
        if let (Some(odd), IdKind::Auto, true) = (&self.no_number, reading.ids, self.numbers > 0) {
            let digits = odd.value.bytes().all(|b| b.is_ascii_digit());
            let why = match (digits, odd.value.starts_with('0')) {
                (true, true) => " (--ids number reads it without its zeros)",
                (true, false) => " (numbers end at 2^64 - 1)",
                (false, _) => "",
            };
            notes.push(format!(
                "ids are read as text, because of `{}` on {}{why}",
                odd.value, odd.place,
            ));
        }
        let mut out: Vec<String> = (schema.left_out.iter())
            .map(|(column, why)| format!("{} ({why})", schema.title(*column)))
            .collect();
        let features = self.features(schema, reading, &mut out);
        let label = match (&self.no_label, schema.label) {
            (Some(odd), Some(column)) if !schema.chosen_label => {
                let value = match odd.value.is_empty() {
                    true => "none".to_owned(),
                    false => format!("`{}`", odd.value),
                };
                out.push(format!(
                    "{} (labels are whole numbers such as 0 and 1, and {} has {value}; link prediction needs none)",
                    schema.title(column),
                    odd.place,
                ));
                false
            }
            (_, label) => label.is_some(),
        };
        if !out.is_empty() {
            notes.push(format!("columns that are left out: {}", out.join(", ")));
        }
        let all_bools = |(seen, at): (&Seen, &usize)| {
            let feature = features.iter().any(|feature| feature.column == *at);
            !feature || (seen.bools > 0 && seen.numbers == 0 && seen.missing == 0)
        };
        Kinds {
            text_ids,
            label,
            bools: !features.is_empty()
                && self
                    .candidates
                    .iter()
                    .zip(&schema.candidates)
                    .all(all_bools),
            features,
            notes,
        }
    }

    fn features(&self, schema: &Schema, reading: &Reading, out: &mut Vec<String>) -> Vec<Feature> {
        let mut features: Vec<Feature> = Vec::new();
        for (seen, &column) in self.candidates.iter().zip(&schema.candidates) {
            let present = seen.numbers + seen.bools;
            match &seen.odd {
                Some(odd) if !schema.must_hold_numbers(column) => {
                    let others = match present {
                        0 => String::new(),
                        some => format!(", though {some} others are"),
                    };
                    out.push(format!(
                        "{} (`{}` on {} is no number{others})",
                        schema.title(column),
                        odd.value,
                        odd.place
                    ));
                }
                None if present == 0
                    && self.complete
                    && self.rows > 0
                    && !schema.expected.contains(&column) =>
                {
                    out.push(format!("{} (no value in any event)", schema.title(column)));
                }
                _ => features.push(Feature {
                    column,
                    fill: match reading.missing {
                        Missing::Error => f32::NAN,
                        Missing::Zero => 0.0,
                        Missing::Mean => (seen.sum / present as f64) as f32,
                    },
                }),
            }
        }
        let order = schema.in_order(features.iter().map(|feature| feature.column).collect());
        let place = |feature: &Feature| order.iter().position(|at| *at == feature.column);
        features.sort_by_cached_key(place);
        features
    }
}

fn note(odd: &mut Option<Odd>, at: Position<'_>, field: &[u8]) {
    odd.get_or_insert_with(|| {
        let quoted = quoted(field);
        Odd {
            value: quoted.trim_matches('`').to_owned(),
            place: at.place.to_string(),
        }
    });
}

/// A number from 0 to 2^64 - 1 as it is written plainly: without leading zeros, and at most
/// zeros behind a point, as where a library made floats of ids.
pub(crate) fn plain_id(field: &[u8]) -> Option<u64> {
    match field {
        [b'0', b'0'..=b'9', ..] => None,
        _ => any_id(field),
    }
}

/// As [`plain_id`], with leading zeros.
pub(crate) fn any_id(field: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (at, byte) in field.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
            }
            b'.' if at > 0 => {
                let zeros = &field[at + 1..];
                let none = !zeros.is_empty() && zeros.iter().all(|&zero| zero == b'0');
                return none.then_some(value);
            }
            _ => return None,
        }
    }
    (!field.is_empty()).then_some(value)
}

/// A whole number of 32 bits, or a truth value; [`NO_LABEL`] where there is no value.
pub(super) fn parse_label(at: Position<'_>, field: &[u8]) -> Option<i32> {
    if is_missing(field) {
        return Some(NO_LABEL);
    }
    (at.integer(field, "", "").ok()).or_else(|| parse_bool(field).map(i32::from))
}

/// A number; that of `0,5` where commas are decimal.
pub(super) fn parse_feature(field: &[u8], decimal_commas: bool) -> Option<f32> {
    let text = std::str::from_utf8(field).ok()?;
    text.parse().ok().or_else(|| {
        (decimal_commas && !text.contains('.') && text.matches(',').count() == 1)
            .then(|| text.replacen(',', ".", 1).parse().ok())
            .flatten()
    })
}

/// Whether a field says that there is no value.
pub(super) fn is_missing(field: &[u8]) -> bool {
    const WORDS: [&[u8]; 7] = [b"na", b"n/a", b"nan", b"null", b"none", b"<na>", b"\\n"];
    field.is_empty()
        || (field.len() <= 4 && WORDS.iter().any(|word| field.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_numbers() {
        for (field, plain, any) in [
            ("7", Some(7), Some(7)),
            ("0", Some(0), Some(0)),
            ("007", None, Some(7)),
            ("5.0", Some(5), Some(5)),
            ("5.", None, None),
            ("5.10", None, None),
            ("-1", None, None),
            ("", None, None),
            (".0", None, None),
            ("18446744073709551615", Some(u64::MAX), Some(u64::MAX)),
            ("18446744073709551616", None, None),
            ("0xbeef", None, None),
        ] {
            let found = (plain_id(field.as_bytes()), any_id(field.as_bytes()));
            assert_eq!(found, (plain, any), "{field}");
        }
    }

    #[test]
    fn values_that_are_none() {
        for word in ["", "NA", "n/a", "NaN", "nan", "NULL", "None", "<NA>", "\\N"] {
            assert!(is_missing(word.as_bytes()), "{word}");
        }
        for word in ["0", "nano", "inf", "-", "none of them"] {
            assert!(!is_missing(word.as_bytes()), "{word}");
        }
        assert_eq!(parse_feature(b"0,36", true), Some(0.36));
        assert_eq!(parse_feature(b"0,36", false), None);
        assert_eq!(parse_feature(b"1,234,5", true), None);
    }
}
