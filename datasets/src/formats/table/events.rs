//! From the rows of a table to events.
//!
//! | layout | what is particular |
//! |---|---|
//! | JODIE, `user_id,item_id,timestamp,state_label,comma_separated_list_of_features` | users and items are two id spaces; the header's last name stands for all features; without a header the columns stand in this order. <https://snap.stanford.edu/jodie/> |
//! | SNAP, `src dst time` | no header, white space, comments with `#`. <https://snap.stanford.edu/data/CollegeMsg.html> |
//! | KONECT, `out.*` | no header, `%` comments; `src dst weight time`; `% bip` tells of two id spaces. <http://konect.cc> |
//! | TGL, `,src,dst,time,int_roll,ext_roll` | `ext_roll` marks the split, `labels.csv` may lie beside it. <https://github.com/amazon-science/tgl> |
//! | DyGLib and TGN, `,u,i,ts,label,idx` | one id space; `idx` is the row in `ml_NAME.npy`, whose row 0 is padding where `idx` starts at 1. <https://github.com/yule-BUAA/DyGLib> |
//! | TGB, `time,src,dst,…` | with `--format tgb` columns stand in this order where their names are not known. <https://github.com/shenyangHuang/TGB> |
//!
//! Everything else is one rule for all of them: see `schema` and `kinds`. Dates become Unix
//! seconds; ids of text are numbered in order of appearance.

use crate::error::{DataError, quoted};
use crate::fields::calendar::parse_date;
use crate::fields::decimal::{Decimal, DecimalError, MAX_SCALE};
use crate::fields::node_names::NodeNames;
use crate::fields::raw_event::{
    Described, EventSink, FeatureRow, Position, RawEvent, pack, parse_bool,
};
use crate::files::packed::TextFile;
use crate::formats::format::Format;
use crate::schema::reading::{IdKind, Missing, Reading, TimeUnit};
use crate::schema::{Layout, Schema};
use crate::stop::Stop;

use super::kinds::{
    Feature, Kinds, Survey, any_id, is_missing, parse_feature, parse_label, plain_id,
};
use super::labels::{LabelRows, moment};
use super::{Dialect, Separator, Table};

/// A table of events, and how it is read.
pub(crate) struct EventTable<'a> {
    file: &'a TextFile,
    dialect: Dialect,
    reading: &'a Reading,
    pub(crate) schema: Schema,
    survey: Survey,
    kinds: Kinds,
    /// The events' own numbers matter: rows of a file of features belong to them.
    numbered: bool,
}

/// What a reading came to.
pub(crate) enum Outcome {
    Read(Described),
    /// A value did not fit what was seen before it: see [`EventTable::look_through`].
    Again,
}

impl<'a> EventTable<'a> {
    /// Looks at the beginning of a file. With `separate_features`, those of the events are not
    /// read.
    pub(crate) fn of(
        file: &'a TextFile,
        head: &[u8],
        format: Format,
        reading: &'a Reading,
        separate_features: bool,
    ) -> Result<EventTable<'a>, DataError> {
        let empty = || {
            DataError::format(
                &file.shown,
                "it holds no events",
                "check that it is the right file and complete",
            )
        };
        let (dialect, _) = Dialect::of(head, reading).ok_or_else(empty)?;
        let mut table = Table::open(file, dialect)?;
        let layout = layout(format, dialect, &table, reading);
        let mut schema = Schema::of(&file.shown, table.header(), layout, reading)?;
        schema.chosen_features |= table.rest().is_some();
        if separate_features {
            let why = "the features come from a file of their own";
            // Their numbers tell their rows there.
            schema
                .left_out
                .retain(|(at, _)| Some(*at) != schema.event_id);
            let columns = std::mem::take(&mut schema.candidates);
            schema
                .left_out
                .extend(columns.into_iter().map(|at| (at, why.to_owned())));
        }
        let survey = Survey::of(&mut table, &schema, None)?;
        let kinds = survey.kinds(&schema, reading);
        Ok(EventTable {
            file,
            dialect,
            reading,
            schema,
            survey,
            kinds,
            numbered: separate_features,
        })
    }

    /// The table, before its first row.
    pub(crate) fn open(&self) -> Result<Table<'a>, DataError> {
        Table::open(self.file, self.dialect)
    }

    /// Looks through the whole file, after which its values fit.
    pub(crate) fn look_through(&mut self, stop: &Stop) -> Result<(), DataError> {
        if self.survey.complete {
            return Err(DataError::format(
                &self.file.shown,
                "it changed while it was read",
                "try again when nothing writes into it",
            ));
        }
        let mut table = Table::open(self.file, self.dialect)?;
        self.survey = Survey::of(&mut table, &self.schema, Some(stop))?;
        self.kinds = self.survey.kinds(&self.schema, self.reading);
        Ok(())
    }

    /// Whether `labels` has one row for each event, with its source and time; else why not.
    pub(crate) fn labels_fit(
        &self,
        labels: &TextFile,
        stop: &Stop,
    ) -> Result<Result<(), String>, DataError> {
        if let Some(column) = self.schema.label {
            let own = self.schema.title(column);
            return Ok(Err(format!(
                "the events have labels of their own, in {own}"
            )));
        }
        let mut table = self.open()?;
        let mut rows = match LabelRows::open(labels) {
            Ok(rows) => rows,
            Err(error @ DataError::Line { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        while table.next()? {
            stop.check()?;
            let at = table.position();
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => {
                    return Ok(Err(format!(
                        "it has no row for the event of {}, {}",
                        at.path.display(),
                        at.place
                    )));
                }
                Err(error @ DataError::Line { .. }) => return Ok(Err(error.to_string())),
                Err(error) => return Err(error),
            };
            let (src, time) = (self.schema.src, self.schema.time);
            if row.node.as_bytes() != table.field(src)
                || Some(row.time) != moment(table.field(time))
            {
                return Ok(Err(format!(
                    "its {} is about node {} at time {}, which is not the source and time of the event of {}, {}",
                    row.place,
                    row.node,
                    row.time,
                    at.path.display(),
                    at.place
                )));
            }
        }
        Ok(match rows.next() {
            Ok(None) => Ok(()),
            Ok(Some(row)) => Err(format!("its {} belongs to no event", row.place)),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Reads everything into `sink`, each event with its label from `labels`.
    pub(crate) fn read(
        &self,
        labels: Option<&TextFile>,
        sink: &mut dyn EventSink,
    ) -> Result<Outcome, DataError> {
        let mut table = Table::open(self.file, self.dialect)?;
        let mut labels = labels.map(LabelRows::open).transpose()?;
        let mut rows = Rows::of(self);
        let mut features = Vec::with_capacity(self.kinds.features.len());
        let titles: Vec<String> = (self.kinds.features.iter())
            .map(|feature| self.schema.title(feature.column))
            .collect();
        // Made once: a title is a text of its own.
        let split_title = (self.schema.split).map_or(String::new(), |at| self.schema.title(at));
        let mut bits = Vec::new();
        while table.next()? {
            let at = table.position();
            let Some((src, dst)) = rows.ids(&table)? else {
                return Ok(Outcome::Again);
            };
            if !rows.features(&table, &mut features)? {
                return Ok(Outcome::Again);
            }
            let label = match (&mut labels, self.schema.label) {
                (Some(labels), _) => labels.next()?.map(|row| row.label),
                (None, Some(column)) if self.kinds.label => {
                    let field = table.field(column);
                    match parse_label(at, field) {
                        None if self.schema.chosen_label => {
                            let found = format!("label is {}", quoted(field));
                            return Err(at.error(found, "a whole number, usually 0 or 1"));
                        }
                        None => return Ok(Outcome::Again),
                        label => label,
                    }
                }
                _ => None,
            };
            let mark = |column| at.mark(table.field(column), &split_title);
            sink.event(RawEvent {
                at,
                src,
                dst,
                time: rows.time(&table)?,
                label,
                roll: self.schema.split.map(mark).transpose()?,
                edge_id: rows.event_id(&table)?,
                features: match self.kinds.bools {
                    true => {
                        pack(&mut bits, features.iter().map(|&value| value != 0.0));
                        FeatureRow::Bits {
                            width: features.len(),
                            bytes: &bits,
                        }
                    }
                    false => FeatureRow::Floats(&features),
                },
                titles: &titles,
            })?;
        }
        Ok(rows.described())
    }
}

/// The layout's own rules.
fn layout(format: Format, dialect: Dialect, table: &Table<'_>, reading: &Reading) -> Layout {
    let columns = table.header().names.len();
    let index = usize::from(
        (table.header().names.first())
            .is_some_and(|name| dialect.header && crate::schema::names::is_index(name, true)),
    );
    let konect = dialect.konect.filter(|_| !dialect.header);
    match format {
        Format::JodieCsv => Layout {
            names: Some(["user_id", "item_id", "timestamp"]),
            positions: (!dialect.header).then_some([0, 1, 2]),
            label: Some(3),
            two_kinds: !dialect.header,
        },
        Format::TglCsv | Format::TgbSeqCsv => Layout {
            names: Some(["src", "dst", "time"]),
            ..Layout::default()
        },
        Format::DgbCsv => Layout {
            names: Some(["u", "i", "ts"]),
            ..Layout::default()
        },
        Format::TgbCsv => Layout {
            positions: Some([index + 1, index + 2, index]),
            ..Layout::default()
        },
        _ if konect.is_some() && columns == 4 => Layout {
            positions: Some([0, 1, 3]),
            two_kinds: konect == Some(true),
            ..Layout::default()
        },
        _ => Layout {
            positions: (!dialect.header && (columns == 3 || reading.is_without_header()))
                .then_some([0, 1, 2]),
            ..Layout::default()
        },
    }
}

/// What is kept from row to row.
struct Rows<'a> {
    of: &'a EventTable<'a>,
    sources: NodeNames,
    /// Used where destinations have ids of their own.
    destinations: NodeNames,
    /// Whether times are dates: as in the first event.
    dates: Option<bool>,
    first_time: Option<Decimal>,
    /// Number of the first event.
    base: Option<u64>,
    events: u64,
    /// Values that were missing, a count for each feature.
    missing: Vec<u64>,
}

impl<'a> Rows<'a> {
    fn of(of: &'a EventTable<'a>) -> Rows<'a> {
        Rows {
            of,
            sources: NodeNames::default(),
            destinations: NodeNames::default(),
            dates: None,
            first_time: None,
            base: None,
            events: 0,
            missing: vec![0; of.kinds.features.len()],
        }
    }

    /// Source and destination; None if one is no number where numbers were seen before.
    fn ids(&mut self, table: &Table<'_>) -> Result<Option<(u64, u64)>, DataError> {
        self.events += 1;
        let (at, schema) = (table.position(), &self.of.schema);
        let sides = [(schema.src, "the source"), (schema.dst, "the destination")];
        if self.of.kinds.text_ids {
            let [src, dst] = sides.map(|(column, what)| {
                let field = table.field(column);
                refuse_missing_id(at, field, what, self.of.reading)?;
                at.name(field, what)
            });
            let src = self.sources.number(at, src?)?;
            let names = match schema.two_spaces {
                true => &mut self.destinations,
                false => &mut self.sources,
            };
            return Ok(Some((src, names.number(at, dst?)?)));
        }
        let mut ids = [0; 2];
        for (id, (column, what)) in ids.iter_mut().zip(sides) {
            let field = table.field(column);
            let found = match self.of.reading.ids {
                IdKind::Number => any_id(field),
                _ => plain_id(field),
            };
            *id = match found {
                Some(id) => id,
                None if self.of.reading.ids == IdKind::Number || field.is_empty() => {
                    return Err(at.error(
                        format!("{what} is {}", quoted(field)),
                        match self.of.reading.like {
                            Some(_) => "a whole number from 0 to 2^64 - 1, as all ids of the model's stream are",
                            None => "a whole number from 0 to 2^64 - 1, written with digits only; or --ids text",
                        },
                    ));
                }
                None => return Ok(None),
            };
        }
        Ok(Some((ids[0], ids[1])))
    }

    /// The row's features; false if a value is no number where numbers were seen before.
    fn features(&mut self, table: &Table<'_>, row: &mut Vec<f32>) -> Result<bool, DataError> {
        row.clear();
        let commas = table.decimal_commas();
        for (position, &Feature { column, fill }) in self.of.kinds.features.iter().enumerate() {
            let field = table.field(column);
            let value = match parse_feature(field, commas) {
                Some(value) if !value.is_nan() => value,
                _ if is_missing(field) || parse_feature(field, commas).is_some() => {
                    self.missing[position] += 1;
                    if self.of.reading.missing == Missing::Mean && !self.of.survey.complete {
                        // The mean is that of all values.
                        return Ok(false);
                    }
                    fill
                }
                _ => match parse_bool(field) {
                    Some(value) => f32::from(u8::from(value)),
                    None if self.of.schema.must_hold_numbers(column) => {
                        return Err(table.position().error(
                            format!("{} is {}", self.of.schema.title(column), quoted(field)),
                            "a number, as it is among the features",
                        ));
                    }
                    None => return Ok(false),
                },
            };
            if self.of.kinds.bools && parse_bool(field).is_none() {
                return Ok(false);
            }
            row.push(value);
        }
        Ok(true)
    }

    fn time(&mut self, table: &Table<'_>) -> Result<Decimal, DataError> {
        let (at, field) = (table.position(), table.field(self.of.schema.time));
        let dates = *self
            .dates
            .get_or_insert_with(|| parse_date(field).is_some());
        if dates && self.of.reading.has_no_dates() {
            return Err(at.error(
                format!("time is {}", quoted(field)),
                "a number, as --time-unit says; leave it out for dates",
            ));
        }
        let time = match dates {
            true => parse_date(field)
                .ok_or_else(|| at.error(format!("time is {}", quoted(field)), ANOTHER_DATE))?,
            false => number_time(at, field, table.decimal_commas(), self.of.reading.time_unit)?,
        };
        self.first_time.get_or_insert(time);
        Ok(time)
    }

    /// The event's own number from 0 on, if it matters.
    fn event_id(&mut self, table: &Table<'_>) -> Result<Option<u64>, DataError> {
        let Some(column) = self.of.schema.event_id.filter(|_| self.of.numbered) else {
            return Ok(None);
        };
        let (at, field) = (table.position(), table.field(column));
        let what = || self.of.schema.title(column).trim_matches('`').to_owned();
        let number = any_id(field).ok_or_else(|| {
            at.error(
                format!("{} is {}", what(), quoted(field)),
                "the event's number, which identifies its row in the features",
            )
        })?;
        let base = *self.base.get_or_insert(number);
        if base > 1 {
            return Err(at.error(
                format!("{} of the first event is {base}", what()),
                "0 or 1; give the whole file, not a part of it",
            ));
        }
        number.checked_sub(base).map(Some).ok_or_else(|| {
            at.error(
                format!("{} is 0", what()),
                "numbers that continue those before",
            )
        })
    }

    /// What is known when all was read.
    fn described(self) -> Outcome {
        let EventTable {
            schema,
            kinds,
            survey,
            ..
        } = self.of;
        let unproven = |missing: &u64| *missing == self.events && self.events > 0;
        if self.missing.iter().any(unproven) && !survey.complete {
            return Outcome::Again;
        }
        let columns: Vec<usize> = kinds.features.iter().map(|f| f.column).collect();
        let name = |&column: &usize| schema.names[column].clone();
        let named = schema.named && columns.iter().all(|&at| !schema.names[at].is_empty());
        let mut notes = self.notes();
        notes.extend(kinds.notes.iter().cloned());
        let names = kinds.text_ids.then(|| {
            let mut names = self.sources.into_names();
            names.extend(self.destinations.into_names());
            names
        });
        Outcome::Read(Described {
            node_names: names,
            edge_feature_names: (named && !columns.is_empty())
                .then(|| columns.iter().map(name).collect()),
            padding_row: self.base == Some(1),
            notes,
            columns: Some(schema.as_choice(&columns, kinds.label)),
            ..Described::default()
        })
    }

    fn notes(&self) -> Vec<String> {
        let EventTable {
            schema,
            kinds,
            reading,
            dialect,
            ..
        } = self.of;
        let mut notes = Vec::new();
        if !schema.named && reading.columns == Default::default() {
            notes.push(format!(
                "there is no header: columns {}, {} and {} are source, destination and time",
                schema.src + 1,
                schema.dst + 1,
                schema.time + 1
            ));
        }
        if dialect.separator == Separator::Semicolon && self.events > 0 {
            notes.push("fields are separated by semicolons, so 0,5 is 0.5".to_owned());
        }
        notes.extend(missing_note(schema, kinds, &self.missing, reading));
        let time = self.first_time.filter(|_| self.dates == Some(false));
        // Whoever follows a stream has chosen its unit.
        let time = time.filter(|_| reading.like.is_none());
        notes.extend(time.and_then(|time| time_hint(time, reading.time_unit)));
        notes
    }
}

/// Refuses `NA`, `null` and their like as a node, unless ids were said to be text.
pub(crate) fn refuse_missing_id(
    at: Position<'_>,
    field: &[u8],
    what: &str,
    reading: &Reading,
) -> Result<(), DataError> {
    if field.is_empty() || reading.takes_missing_words() || !is_missing(field) {
        return Ok(());
    }
    Err(at.error(
        format!(
            "{what} is {}, which stands for a missing value",
            quoted(field)
        ),
        match reading.like {
            Some(_) => "a node: remove the line (only a stream that was read with --ids text has nodes of such names)",
            None => "a node in every event: remove the line; or --ids text, if a node is called so",
        },
    ))
}

fn missing_note(
    schema: &Schema,
    kinds: &Kinds,
    missing: &[u64],
    reading: &Reading,
) -> Option<String> {
    let total: u64 = missing.iter().sum();
    let columns: Vec<String> = (kinds.features.iter().zip(missing))
        .filter(|(_, count)| **count > 0)
        .map(|(feature, count)| format!("{count} in {}", schema.title(feature.column)))
        .take(12)
        .collect();
    let by = match reading.missing {
        Missing::Error => return None,
        Missing::Zero => "0",
        Missing::Mean => "the mean of their column",
    };
    (total > 0).then(|| {
        format!(
            "values of features that are missing: {total} ({}); each is {by}",
            columns.join(", ")
        )
    })
}

/// Times around today that look like fractions of a second since 1970.
pub(crate) fn time_hint(first: Decimal, unit: TimeUnit) -> Option<String> {
    let value = first.mantissa as f64 / 10f64.powi(i32::from(first.scale));
    // 1990 to 2100.
    let fits = |per_second: f64| (6.3e8..4.1e9).contains(&(value / per_second));
    let (name, unit_name) = match unit {
        TimeUnit::Auto if fits(1e3) => ("milliseconds", "ms"),
        TimeUnit::Auto if fits(1e6) => ("microseconds", "us"),
        TimeUnit::Auto if fits(1e9) => ("nanoseconds", "ns"),
        _ => return None,
    };
    Some(format!(
        "times look like {name} since 1970 (the first is {first}); --time-unit {unit_name} makes \
         seconds of them, with which time encodings work better and faster"
    ))
}

/// Times as floats of 32 or 64 bits, whose 24 and 53 binary digits tell few seconds and few nanoseconds since 1970
/// apart; `last` is in seconds if `unit` is known, and the float in the unit.
pub(crate) fn coarse_times(title: &str, last: Decimal, unit: TimeUnit, bits: u8) -> Option<String> {
    let in_unit = i32::from(last.scale) - i32::from(unit.decimals());
    let size = (last.mantissa as f64 / 10f64.powi(in_unit)).abs();
    let digits = match bits {
        32 => f32::MANTISSA_DIGITS,
        _ => f64::MANTISSA_DIGITS,
    };
    // The float's own exponent: a logarithm of 2^53 - 1 is rounded to 53.
    let exponent = (size.to_bits() >> (f64::MANTISSA_DIGITS - 1)) as i32 - (f64::MAX_EXP - 1);
    let step = 2f64.powi(exponent + 1 - digits as i32);
    (step > 1.0).then(|| {
        format!(
            "{title} holds floats of {bits} bits: near {size:.0} they are multiples of {step}, so that \
             events of different moments may have one time; write the times as whole numbers"
        )
    })
}

/// What a time is where the first one is a date.
pub(crate) const ANOTHER_DATE: &str =
    "a date such as 2019-01-31 or 2019-01-31 12:30:00, as in the first event";

/// What a time as text is.
pub(crate) const NUMBER_OR_DATE: &str = "a decimal number such as 36 or 36.5, or in all events a date that begins with \
     its year, such as 2019-01-31 or 2019-01-31T12:30:00Z";

/// A time that is a number, in seconds if its unit is known.
pub(crate) fn number_time(
    at: Position<'_>,
    field: &[u8],
    decimal_commas: bool,
    unit: TimeUnit,
) -> Result<Decimal, DataError> {
    let parsed = match Decimal::parse(field) {
        Err(DecimalError::NotANumber) if decimal_commas => {
            let text: Vec<u8> = field
                .iter()
                .map(|&b| if b == b',' { b'.' } else { b })
                .collect();
            Decimal::parse(&text)
        }
        parsed => parsed,
    };
    parsed
        .and_then(|time| in_seconds(time, unit))
        .map_err(|error| {
            let expected = match error {
                DecimalError::NotANumber => NUMBER_OR_DATE,
                other => other.expected(),
            };
            at.error(format!("time is {}", quoted(field)), expected)
        })
}

/// The time in seconds, if its unit is known.
pub(crate) fn in_seconds(time: Decimal, unit: TimeUnit) -> Result<Decimal, DecimalError> {
    let moved = Decimal::of_ticks(time.mantissa, time.scale + unit.decimals());
    match moved.scale > MAX_SCALE {
        true => Err(DecimalError::TooFine),
        false => Ok(moved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::input_file::InputFile;
    use crate::files::packed::Unpacking;
    use crate::formats::detect::text_head;

    /// Those that pass nothing on to an intake, which would look for a stop.
    #[test]
    fn every_pass_over_a_file_heeds_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            TextFile::one(&InputFile::on_disk(&path), Unpacking::default()).unwrap()
        };
        let row = |event: usize| format!("{event},1,2,{event}\n");
        let rows: String = (0..3_000).map(row).collect();
        let events = text("edges.csv", &format!(",src,dst,time\n{rows}"));
        let labels = text("labels.csv", ",node,time,label\n0,1,0,1\n");
        let (head, reading) = (text_head(&events).unwrap(), Reading::default());
        let mut table = EventTable::of(&events, &head, Format::TglCsv, &reading, false).unwrap();
        let stop = Stop::default();
        assert!(table.labels_fit(&labels, &stop).unwrap().is_err());
        stop.request();
        let stopped = |result| matches!(result, Err(DataError::Stopped(_)));
        assert!(stopped(table.labels_fit(&labels, &stop).map(drop)));
        assert!(stopped(table.look_through(&stop)));
    }
}
