//! One column of a row group, decoded a batch of rows at a time.
//!
//! A row may have no value (null); rows of lists have one length throughout the row group.

use std::cell::Cell;
use std::path::Path;

use parquet::basic::{LogicalType, Repetition, TimeUnit};
use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::guard::{damaged, guarded};
use super::layout::is_decimal;
use super::values::{Values, is_unsigned};
use crate::error::{DataError, quoted};
use crate::fields::calendar::parse_date;
use crate::fields::decimal::{Decimal, DecimalError, MAX_SCALE, whole_number};
use crate::formats::table::{ANOTHER_DATE, NUMBER_OR_DATE, any_id, in_seconds};
use crate::schema::reading::{Reading, TimeUnit as Unit};
use crate::stream::event_log::NO_LABEL;

/// A column at a batch of rows.
pub(super) struct Cursor<'a> {
    path: &'a Path,
    /// None of a table in memory.
    group: Option<u32>,
    descriptor: ColumnDescPtr,
    reader: ColumnReader,
    first_row: u64,
    /// Values in a row; 1 unless the column holds lists.
    width: Option<usize>,
    values: Values,
    /// Times so far that were rounded.
    rounded: Cell<u64>,
    /// Where the value of each slot is (a row, or an element of a list), if some have none.
    slots: Option<Vec<Option<usize>>>,
}

/// An id as the column has it.
pub(super) enum Id<'a> {
    Number(u64),
    Text(&'a str),
}

impl<'a> Cursor<'a> {
    pub(super) fn new(
        path: &'a Path,
        group: Option<u32>,
        descriptor: ColumnDescPtr,
        reader: ColumnReader,
    ) -> Cursor<'a> {
        Cursor {
            path,
            group,
            width: (descriptor.max_rep_level() == 0).then_some(1),
            descriptor,
            reader,
            first_row: 0,
            values: Values::Bools(Vec::new()),
            rounded: Cell::new(0),
            slots: None,
        }
    }

    /// Whether its rows are lists.
    pub(super) fn is_list(&self) -> bool {
        self.descriptor.max_rep_level() > 0
    }

    /// Times that had more decimals than count, as arithmetic leaves them, and were rounded.
    pub(super) fn rounded_times(&self) -> u64 {
        self.rounded.get()
    }

    /// Decodes the `count` rows from `first_row` on, which are the next ones.
    pub(super) fn fill(&mut self, first_row: u64, count: usize) -> Result<(), DataError> {
        self.first_row = first_row;
        let (mut def, mut rep) = (Vec::new(), Vec::new());
        let records = guarded(|| self.decode(count, &mut def, &mut rep))
            .map_err(|error| damaged(self.path, self.group, &error))?;
        if records != count {
            return Err(self.error(
                records,
                "the column ends here",
                format!(
                    "{} rows in the row group; the file is damaged",
                    first_row + count as u64
                ),
            ));
        }
        self.find_nulls(&def, &rep)?;
        self.check_lists(&rep, count)
    }

    /// Finds the slots without a value. A list that is missing as a whole is an error.
    fn find_nulls(&mut self, def: &[i16], rep: &[i16]) -> Result<(), DataError> {
        self.slots = None;
        let most = self.descriptor.max_def_level();
        if def.iter().all(|&level| level == most) {
            return Ok(());
        }
        let lists = self.descriptor.max_rep_level() > 0;
        let optional =
            self.descriptor.self_type().get_basic_info().repetition() == Repetition::OPTIONAL;
        let element = most - i16::from(optional);
        if let Some(at) = def.iter().position(|&level| lists && level < element) {
            let row = rep[..=at].iter().filter(|&&level| level == 0).count() - 1;
            return Err(self.error(
                row,
                "null or an empty list",
                "a list in every row; fill in or drop the row",
            ));
        }
        let mut next = 0;
        let slot = |&level: &i16| {
            (level == most).then(|| {
                next += 1;
                next - 1
            })
        };
        self.slots = Some(def.iter().map(slot).collect());
        Ok(())
    }

    /// Rows of lists must have one length.
    fn check_lists(&mut self, rep: &[i16], count: usize) -> Result<(), DataError> {
        if self.descriptor.max_rep_level() == 0 {
            return Ok(());
        }
        let starts = (rep.iter().enumerate()).filter(|(_, level)| **level == 0);
        let starts: Vec<usize> = starts.map(|(at, _)| at).chain([rep.len()]).collect();
        if starts.len() != count + 1 {
            return Err(self.error(
                0,
                "lists that do not fit the rows",
                "one list per row; the file is damaged",
            ));
        }
        for (row, ends) in starts.windows(2).enumerate() {
            let length = ends[1] - ends[0];
            let width = *self.width.get_or_insert(length);
            if length != width {
                return Err(self.error(
                    row,
                    format!("a list of {length} values"),
                    format!("{width}, as in the rows before"),
                ));
            }
        }
        Ok(())
    }

    fn decode(
        &mut self,
        count: usize,
        def: &mut Vec<i16>,
        rep: &mut Vec<i16>,
    ) -> Result<usize, ParquetError> {
        let (records, values) =
            Values::decode(&mut self.reader, &self.descriptor, count, def, rep)?;
        self.values = values;
        Ok(records)
    }

    /// Position of a slot's value.
    fn at(&self, slot: usize) -> Option<usize> {
        match &self.slots {
            None => Some(slot),
            Some(slots) => slots[slot],
        }
    }

    /// The feature values of a row, NaN where there is none.
    pub(super) fn floats(&self, row: usize) -> impl Iterator<Item = f32> {
        let width = self.width.unwrap_or(0);
        (row * width..(row + 1) * width)
            .map(|slot| self.at(slot).map_or(f32::NAN, |at| self.float(at)))
    }

    fn float(&self, at: usize) -> f32 {
        let scale = self.scale();
        let power = 10f64.powi(scale);
        match &self.values {
            Values::Bools(values) => f32::from(values[at]),
            Values::Integers(values) if scale == 0 && is_unsigned(&self.descriptor) => {
                values[at] as u64 as f32
            }
            Values::Integers(values) if scale == 0 => values[at] as f32,
            Values::Integers(values) => (values[at] as f64 / power) as f32,
            Values::Wide(values) => (values[at] as f64 / power) as f32,
            Values::Floats(values) => values[at],
            Values::Doubles(values) => values[at] as f32,
            Values::Moments(_) | Values::Texts(_) => f32::NAN,
        }
    }

    /// Decimals of a decimal type, else 0.
    fn scale(&self) -> i32 {
        if is_decimal(&self.descriptor) {
            self.descriptor.type_scale()
        } else {
            0
        }
    }

    /// The value of a row that must have one.
    fn required(&self, row: usize, what: &str) -> Result<usize, DataError> {
        self.at(row).ok_or_else(|| {
            self.error(
                row,
                "null",
                format!("{what} in every row; fill in or drop the row"),
            )
        })
    }

    pub(super) fn id(&self, row: usize) -> Result<Id<'_>, DataError> {
        let at = self.required(row, "an id")?;
        match &self.values {
            Values::Texts(values) => (std::str::from_utf8(values[at].data()).ok())
                .filter(|text| !text.is_empty())
                .map(Id::Text)
                .ok_or_else(|| {
                    self.error(
                        row,
                        format!("the id is {}", quoted(values[at].data())),
                        "the name of a node, in UTF-8",
                    )
                }),
            Values::Integers(values) if self.scale() == 0 && is_unsigned(&self.descriptor) => {
                Ok(Id::Number(values[at] as u64))
            }
            _ if self.may_be_rounded(at) => Err(self.error(
                row,
                format!("the id is {}", self.shown(at)),
                "a whole number that its float tells from the next one; write ids as whole numbers or text",
            )),
            _ => {
                let number = match &self.values {
                    Values::Wide(values) => self.whole(values[at]),
                    _ => self.decimal(at).ok().and_then(Decimal::integer).map(i128::from),
                };
                let number = number.and_then(|number| u64::try_from(number).ok());
                number.map(Id::Number).ok_or_else(|| {
                    self.error(
                        row,
                        format!("the id is {}", self.shown(at)),
                        "a whole number that is not negative",
                    )
                })
            }
        }
    }

    /// The whole number that a decimal stands for, if it is one.
    fn whole(&self, value: i128) -> Option<i128> {
        let power = 10i128.checked_pow(u32::try_from(self.scale()).ok()?)?;
        (value % power == 0).then_some(value / power)
    }

    /// Whether the value is a float so large that it may stand for several whole numbers.
    fn may_be_rounded(&self, at: usize) -> bool {
        match &self.values {
            Values::Floats(values) => values[at] >= 2f32.powi(f32::MANTISSA_DIGITS as i32),
            Values::Doubles(values) => values[at] >= 2f64.powi(f64::MANTISSA_DIGITS as i32),
            _ => false,
        }
    }

    /// A number that text stands for.
    pub(super) fn number_of(&self, row: usize, text: &str) -> Result<u64, DataError> {
        any_id(text.as_bytes()).ok_or_else(|| {
            self.error(
                row,
                format!("the id is {}", quoted(text.as_bytes())),
                "a whole number, as --ids number says",
            )
        })
    }

    /// The time of a row, of the first one's kind: `dates` is whether times are dates, which that decides.
    pub(super) fn event_time(
        &self,
        row: usize,
        reading: &Reading,
        dates: &mut Option<bool>,
    ) -> Result<Decimal, DataError> {
        let (time, is_date) = self.time(row, reading.time_unit)?;
        let dates = *dates.get_or_insert(is_date);
        if dates && reading.has_no_dates() {
            let found = "the time is a date or a timestamp";
            return Err(self.error(row, found, "a number, as --time-unit says; leave it out"));
        }
        if dates == is_date {
            return Ok(time);
        }
        let found = format!("the time is {}", self.shown(self.required(row, "a time")?));
        let expected = if dates { ANOTHER_DATE } else { NUMBER_OR_DATE };
        Err(self.error(row, found, expected))
    }

    /// The time of a row, and whether it is a date or a timestamp; `unit` is that of a number.
    pub(super) fn time(&self, row: usize, unit: Unit) -> Result<(Decimal, bool), DataError> {
        let at = self.required(row, "a time")?;
        let date = self.date(at);
        let is_date = date.is_some();
        let number = || self.number(at).and_then(|time| in_seconds(time, unit));
        let time = date.unwrap_or_else(number).map_err(|error| {
            let found = format!("the time is {}", self.shown(at));
            let expected = match (&self.values, error) {
                (Values::Texts(_), DecimalError::NotANumber) => NUMBER_OR_DATE,
                (_, error) => error.expected(),
            };
            self.error(row, found, expected)
        })?;
        Ok((time, is_date))
    }

    /// The time, in Unix seconds, if it is a date or a timestamp and no number.
    fn date(&self, at: usize) -> Option<Result<Decimal, DecimalError>> {
        match &self.values {
            Values::Texts(values) => parse_date(values[at].data()).map(Ok),
            Values::Moments(_) => Some(self.decimal(at)),
            _ => self.moment_scale().map(|_| self.decimal(at)),
        }
    }

    /// The time that is a number, without what arithmetic has left behind the ninth decimal of a float.
    fn number(&self, at: usize) -> Result<Decimal, DecimalError> {
        let float = match &self.values {
            Values::Texts(values) => return Decimal::parse(values[at].data()),
            Values::Floats(values) => Decimal::of_float(&values[at].to_string(), values[at].into()),
            Values::Doubles(values) => Decimal::of_float(&values[at].to_string(), values[at]),
            _ => return self.decimal(at),
        }?;
        self.rounded
            .set(self.rounded.get() + u64::from(float.rounded));
        Ok(float.time)
    }

    /// Whether the column counts in a unit of its own: the decimals of a second.
    fn moment_scale(&self) -> Option<u8> {
        match self.descriptor.logical_type_ref() {
            Some(LogicalType::Date) => Some(0),
            Some(LogicalType::Timestamp(kind)) => Some(match kind.unit {
                TimeUnit::MILLIS => 3,
                TimeUnit::MICROS => 6,
                TimeUnit::NANOS => 9,
            }),
            _ => None,
        }
    }

    /// The value as an exact decimal; of moments, Unix seconds.
    fn decimal(&self, at: usize) -> Result<Decimal, DecimalError> {
        let too_large = |_| DecimalError::TooLarge;
        match &self.values {
            Values::Integers(values) => {
                if self.descriptor.logical_type_ref() == Some(&LogicalType::Date) {
                    let seconds = values[at]
                        .checked_mul(86_400)
                        .ok_or(DecimalError::TooLarge)?;
                    return Ok(Decimal::of_ticks(seconds, 0));
                }
                if values[at] < 0 && is_unsigned(&self.descriptor) {
                    return Err(DecimalError::TooLarge);
                }
                let scale = match self.moment_scale() {
                    Some(scale) => scale,
                    None => u8::try_from(self.scale()).map_err(|_| DecimalError::TooFine)?,
                };
                fine(Decimal::of_ticks(values[at], scale))
            }
            Values::Wide(values) => {
                let (mut value, mut scale) = (values[at], self.scale());
                while scale > 0 && value % 10 == 0 {
                    (value, scale) = (value / 10, scale - 1);
                }
                let scale = u8::try_from(scale).map_err(|_| DecimalError::TooFine)?;
                fine(Decimal::of_ticks(
                    i64::try_from(value).map_err(too_large)?,
                    scale,
                ))
            }
            Values::Moments(values) => {
                let &[low, high, day] = values[at].data() else {
                    return Err(DecimalError::NotANumber);
                };
                let of_day = i128::from(high) << 32 | i128::from(low);
                // Day 2,440,588 of the Julian calendar is 1 January 1970.
                let nanoseconds = (i128::from(day) - 2_440_588) * 86_400_000_000_000 + of_day;
                let (seconds, rest) = (
                    nanoseconds.div_euclid(1_000_000_000),
                    nanoseconds.rem_euclid(1_000_000_000),
                );
                if rest == 0 {
                    return Ok(Decimal::of_ticks(
                        i64::try_from(seconds).map_err(too_large)?,
                        0,
                    ));
                }
                Ok(Decimal::of_ticks(
                    i64::try_from(nanoseconds).map_err(too_large)?,
                    MAX_SCALE,
                ))
            }
            Values::Floats(values) => Decimal::parse(values[at].to_string().as_bytes()),
            Values::Doubles(values) => Decimal::parse(values[at].to_string().as_bytes()),
            Values::Bools(_) | Values::Texts(_) => Err(DecimalError::NotANumber),
        }
    }

    /// A value for a message.
    fn shown(&self, at: usize) -> String {
        match &self.values {
            Values::Integers(values) if is_unsigned(&self.descriptor) => {
                (values[at] as u64).to_string()
            }
            Values::Integers(values) => with_point(&values[at].to_string(), self.scale()),
            Values::Wide(values) => with_point(&values[at].to_string(), self.scale()),
            Values::Texts(values) => quoted(values[at].data()),
            Values::Doubles(values) => match whole_number(values[at]) {
                Some(whole) => whole.to_string(),
                None => values[at].to_string(),
            },
            _ => self.float(at).to_string(),
        }
    }

    /// A whole number of 32 bits, or a truth value; [`NO_LABEL`] if the row has no value, None if it
    /// has another one.
    pub(super) fn label(&self, row: usize) -> Option<i32> {
        let Some(at) = self.at(row) else {
            return Some(NO_LABEL);
        };
        // What a data frame makes of whole numbers with gaps.
        if let Values::Floats(_) | Values::Doubles(_) = &self.values
            && self.float(at).is_nan()
        {
            return Some(NO_LABEL);
        }
        if let Values::Bools(values) = &self.values {
            return Some(i32::from(values[at]));
        }
        i32::try_from(self.decimal(at).ok()?.integer()?).ok()
    }

    /// What a row that is no label has.
    pub(super) fn no_label(&self, row: usize) -> String {
        self.at(row).map_or("null".to_owned(), |at| self.shown(at))
    }

    /// A mark of the split.
    pub(super) fn mark(&self, row: usize) -> Result<u8, DataError> {
        let at = self.required(row, "a mark of the split")?;
        let number = match &self.values {
            Values::Texts(values) => {
                return crate::fields::raw_event::parse_mark(values[at].data())
                    .ok_or_else(|| self.no_mark(row, at));
            }
            Values::Bools(values) => Some(i64::from(values[at])),
            _ => self.decimal(at).ok().and_then(Decimal::integer),
        };
        (number.and_then(|number| u8::try_from(number).ok()))
            .filter(|mark| *mark <= 2)
            .ok_or_else(|| self.no_mark(row, at))
    }

    fn no_mark(&self, row: usize, at: usize) -> DataError {
        let found = format!("the mark is {}", self.shown(at));
        self.error(row, found, "0 (train), 1 (validation) or 2 (test)")
    }

    /// An error about a row of the batch.
    pub(super) fn error(
        &self,
        row: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> DataError {
        DataError::Cell {
            path: self.path.to_path_buf(),
            column: self.descriptor.path().string(),
            group: self.group,
            row: self.first_row + row as u64,
            found: found.into(),
            expected: expected.into(),
        }
    }
}

/// The digits of a decimal with its point.
fn with_point(digits: &str, scale: i32) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale == 0 {
        return digits.to_owned();
    }
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

fn fine(time: Decimal) -> Result<Decimal, DecimalError> {
    match time.scale > MAX_SCALE {
        true => Err(DecimalError::TooFine),
        false => Ok(time),
    }
}
