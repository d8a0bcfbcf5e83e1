//! Tables over Arrow's C stream interface: polars, pyarrow, DuckDB, pandas and others have it.
//!
//! Columns are copied out as they come, batch by batch; nothing of the producer's is kept. What a reader of
//! Parquet takes is taken; dictionaries are decoded. By hand: arrow-rs (arrow-array 60.1) refuses the columns without a
//! value that polars exports, can't say which column has a type that it does not know, and is four crates, 50 s of rustc.
//! Source: <https://arrow.apache.org/docs/format/CStreamInterface.html>.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::slice;

use half::f16;
use mspipe_datasets::{MomentUnit, TableColumn, TableValues};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::error::raised;

/// What a column is, or a stream gives next.
#[repr(C)]
struct ArrowSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut ArrowSchema,
    dictionary: *mut ArrowSchema,
    release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    private_data: *mut c_void,
}

/// Values of a column.
#[repr(C)]
struct ArrowArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *const *const c_void,
    children: *mut *mut ArrowArray,
    dictionary: *mut ArrowArray,
    release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    private_data: *mut c_void,
}

/// Batches of one schema.
#[repr(C)]
struct ArrowArrayStream {
    get_schema: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut ArrowArrayStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut ArrowArrayStream)>,
    private_data: *mut c_void,
}

impl Drop for ArrowSchema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it is released once, as the interface has it.
            unsafe { release(self) }
        }
    }
}

impl Drop for ArrowArray {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as above.
            unsafe { release(self) }
        }
    }
}

/// A stream on its way to another thread's lock: Arrow's structures may move between threads.
struct Stream(*mut ArrowArrayStream);

// SAFETY: the interface's structures have no thread of their own; this one is used by one at a time.
unsafe impl Send for Stream {}

/// All columns of `table`, which messages call `name`; of those that `may_read` says no to one without values stands in
/// for a type that can't be read.
pub(crate) fn read(
    name: &str,
    table: &Bound<'_, PyAny>,
    may_read: impl Fn(&str) -> bool + Send,
) -> PyResult<Vec<TableColumn>> {
    let capsule = table.call_method0("__arrow_c_stream__")?;
    let capsule = capsule.cast::<PyCapsule>().map_err(|_| {
        raised(format!(
            "{name}: __arrow_c_stream__ gives no capsule; expected Arrow's C stream"
        ))
    })?;
    let stream = capsule.pointer_checked(Some(c"arrow_array_stream"))?;
    let stream = Stream(stream.as_ptr().cast());
    let columns = table.py().detach(move || {
        let stream = stream;
        // SAFETY: the capsule has a stream that nobody else has taken yet, and releases it after this.
        unsafe { all(stream.0, may_read) }
    });
    columns.map_err(|reason| raised(format!("{name}: {reason}")))
}

/// Reads a stream to its end.
unsafe fn all(
    stream: *mut ArrowArrayStream,
    may_read: impl Fn(&str) -> bool,
) -> Result<Vec<TableColumn>, String> {
    // SAFETY: all pointers are of the stream's producer, who keeps the interface's rules.
    unsafe {
        let get_last_error = (*stream).get_last_error;
        let failed = |code: c_int| match get_last_error {
            Some(last) if !last(stream).is_null() => {
                CStr::from_ptr(last(stream)).to_string_lossy().into_owned()
            }
            _ => format!("Arrow's stream ends with the error {code}"),
        };
        let callbacks = ((*stream).get_schema, (*stream).get_next);
        let (Some(get_schema), Some(get_next)) = callbacks else {
            return Err("its Arrow stream was read before".to_owned());
        };
        let mut schema: ArrowSchema = std::mem::zeroed();
        match get_schema(stream, &mut schema) {
            0 => {}
            code => return Err(failed(code)),
        }
        if text(schema.format) != "+s" {
            return Err("it is no table but one column; give a table with names".to_owned());
        }
        let mut columns: Vec<Column> = children(schema.children, schema.n_children)
            .map(|schema| Column::of(schema, &may_read))
            .collect::<Result<_, _>>()?;
        loop {
            let mut batch: ArrowArray = std::mem::zeroed();
            match get_next(stream, &mut batch) {
                0 if batch.release.is_none() => break,
                0 => {}
                code => return Err(failed(code)),
            }
            let rows = Rows {
                first: batch.offset as usize,
                count: batch.length as usize,
            };
            let arrays = children(batch.children, batch.n_children);
            let kinds = children(schema.children, schema.n_children);
            for ((column, array), kind) in columns.iter_mut().zip(arrays).zip(kinds) {
                column.append(kind, array, rows)?;
            }
        }
        Ok(columns.into_iter().map(Column::finish).collect())
    }
}

/// Rows of an array, counted from its own first.
#[derive(Clone, Copy)]
struct Rows {
    first: usize,
    count: usize,
}

unsafe fn text<'a>(pointer: *const c_char) -> &'a str {
    match pointer.is_null() {
        true => "",
        // SAFETY: a string of the producer's, which lives as long as its structure.
        false => unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or(""),
    }
}

/// What an array of pointers points to.
unsafe fn children<'a, T: 'a>(pointers: *mut *mut T, count: i64) -> impl Iterator<Item = &'a T> {
    let pointers = match count {
        1.. => unsafe { slice::from_raw_parts(pointers, count as usize) },
        _ => &[],
    };
    // SAFETY: each points to a structure that lives as long as its parent.
    pointers.iter().map(|&child| unsafe { &*child })
}

impl ArrowArray {
    /// All of them.
    fn rows(&self) -> Rows {
        Rows {
            first: 0,
            count: self.length as usize,
        }
    }

    /// Buffer `at` from the row that the array begins with on.
    unsafe fn buffer<T>(&self, at: usize, first: usize, count: usize) -> &[T] {
        // SAFETY: the producer's buffers have `offset + length` values.
        unsafe {
            let pointer = (*self.buffers.add(at)).cast::<T>();
            match pointer.is_null() || count == 0 {
                true => &[],
                false => slice::from_raw_parts(pointer.add(first), count),
            }
        }
    }

    /// Bit `at` of buffer 0 or 1.
    unsafe fn bit(&self, buffer: usize, at: usize) -> bool {
        // SAFETY: as above, a bit for each value.
        unsafe {
            let bytes = (*self.buffers.add(buffer)).cast::<u8>();
            (*bytes.add(at / 8) >> (at % 8)) & 1 == 1
        }
    }

    /// Whether each of the rows has a value; nothing if all have one.
    unsafe fn present(&self, rows: Rows) -> Option<Vec<bool>> {
        // SAFETY: the first buffer of an array that has buffers is that of the bits, or null.
        unsafe {
            if self.null_count == 0 || self.n_buffers == 0 || (*self.buffers).is_null() {
                return None;
            }
            let first = self.offset as usize + rows.first;
            Some(
                (first..first + rows.count)
                    .map(|at| self.bit(0, at))
                    .collect(),
            )
        }
    }

    /// Fixed-size values of the rows.
    unsafe fn values<T>(&self, rows: Rows) -> &[T] {
        // SAFETY: the second buffer has them.
        unsafe { self.buffer(1, self.offset as usize + rows.first, rows.count) }
    }

    /// Where the rows begin and end, by the offsets of 32 or 64 bits in the second buffer.
    unsafe fn bounds(&self, rows: Rows, long: bool) -> Result<Vec<usize>, Wrong> {
        if rows.count == 0 {
            return Ok(vec![0]);
        }
        let (first, count) = (self.offset as usize + rows.first, rows.count + 1);
        // SAFETY: there is one offset more than values.
        let bounds: Vec<i64> = unsafe {
            match long {
                true => self.buffer(1, first, count).to_vec(),
                false => (self.buffer::<i32>(1, first, count).iter())
                    .map(|&at| at.into())
                    .collect(),
            }
        };
        let wrong = (bounds.windows(2)).position(|ends| ends[0] < 0 || ends[1] < ends[0]);
        match wrong {
            Some(row) => Err((row, "it ends before it begins".to_owned())),
            None => Ok(bounds.into_iter().map(|at| at as usize).collect()),
        }
    }
}

/// A column so far.
struct Column {
    name: String,
    values: TableValues,
    present: Vec<bool>,
    /// Some row has no value.
    gaps: bool,
    may_read: bool,
    /// Nobody may read it, and it can't be read.
    unread: bool,
}

impl Column {
    unsafe fn of(schema: &ArrowSchema, may_read: impl Fn(&str) -> bool) -> Result<Column, String> {
        // SAFETY: of the producer.
        let (name, values) = unsafe { (text(schema.name).to_owned(), empty(schema)) };
        let may_read = may_read(&name);
        let unread = values.is_err() && !may_read;
        let values = match values {
            Err(_) if unread => TableValues::Floats(Vec::new()),
            values => values.map_err(|reason| format!("the column '{name}' {reason}"))?,
        };
        Ok(Column {
            name,
            values,
            present: Vec::new(),
            gaps: unread,
            may_read,
            unread,
        })
    }

    unsafe fn append(
        &mut self,
        schema: &ArrowSchema,
        array: &ArrowArray,
        rows: Rows,
    ) -> Result<(), String> {
        let so_far = self.present.len();
        // SAFETY: of the producer.
        unsafe {
            let added = match self.unread {
                true => Ok(None),
                false => append(&mut self.values, schema, array, rows),
            };
            if self.unread || added.is_err() && !self.may_read {
                self.unread = true;
                self.gaps = true;
                self.values = TableValues::Floats(vec![f32::NAN; so_far + rows.count]);
                self.present = vec![false; so_far + rows.count];
                return Ok(());
            }
            let present = added.map_err(|(row, reason)| {
                let row = so_far + row;
                format!("the column '{}', row {row}: {reason}", self.name)
            })?;
            match present {
                Some(present) => {
                    self.gaps |= present.contains(&false);
                    self.present.extend(present);
                }
                None => self.present.resize(so_far + rows.count, true),
            }
        }
        Ok(())
    }

    fn finish(self) -> TableColumn {
        // A row of numbers says itself which of them are missing.
        let gaps = self.gaps && !matches!(self.values, TableValues::Rows { .. });
        TableColumn {
            name: self.name,
            values: self.values,
            present: gaps.then_some(self.present),
        }
    }
}

/// Whether each of the rows has a value, which may be missing in a dictionary too; nothing if all have one.
unsafe fn present(
    schema: &ArrowSchema,
    array: &ArrowArray,
    rows: Rows,
) -> Result<Option<Vec<bool>>, Wrong> {
    // SAFETY: of the producer; an array of keys has a dictionary.
    unsafe {
        let format = text(schema.format);
        if format == "n" {
            return Ok(Some(vec![false; rows.count]));
        }
        let own = array.present(rows);
        let Some(dictionary) = schema.dictionary.as_ref() else {
            return Ok(own);
        };
        let all = &*array.dictionary;
        let Some(values) = present(dictionary, all, all.rows())? else {
            return Ok(own);
        };
        let keys = keys(format, array, rows, values.len())?.into_iter();
        Ok(Some(
            keys.map(|key| key.is_some_and(|key| values[key])).collect(),
        ))
    }
}

/// Values of the schema's type, none yet.
unsafe fn empty(schema: &ArrowSchema) -> Result<TableValues, String> {
    // SAFETY: of the producer.
    unsafe {
        refuse_extension(schema)?;
        if let Some(dictionary) = schema.dictionary.as_ref() {
            return match empty(dictionary)? {
                values @ (TableValues::Texts(_)
                | TableValues::Integers(_)
                | TableValues::Unsigned(_)) => Ok(values),
                _ => Err(
                    "is a dictionary (a category) of other values than text and whole numbers; decode it"
                        .to_owned(),
                ),
            };
        }
        let format = text(schema.format);
        Ok(match format {
            "b" => TableValues::Bools(Vec::new()),
            "c" | "s" | "i" | "l" => TableValues::Integers(Vec::new()),
            "C" | "S" | "I" | "L" => TableValues::Unsigned(Vec::new()),
            "n" | "e" | "f" => TableValues::Floats(Vec::new()),
            "g" => TableValues::Doubles(Vec::new()),
            "u" | "U" | "vu" => TableValues::Texts(Vec::new()),
            "tdD" => TableValues::Dates(Vec::new()),
            _ if format.starts_with("ts") || format == "tdm" => TableValues::Moments {
                values: Vec::new(),
                unit: match format.as_bytes()[2] {
                    b'n' => MomentUnit::Nanoseconds,
                    b'u' => MomentUnit::Microseconds,
                    _ => MomentUnit::Milliseconds,
                },
            },
            _ if format.starts_with("d:") => TableValues::Decimals {
                values: Vec::new(),
                scale: scale(format)?,
            },
            "+l" | "+L" => of_lists(schema, 0)?,
            _ if format.starts_with("+w:") => {
                of_lists(schema, format[3..].parse().map_err(|_| unknown(format))?)?
            }
            _ => return Err(unknown(format)),
        })
    }
}

/// Rows of a type of lists, none yet.
unsafe fn of_lists(schema: &ArrowSchema, width: usize) -> Result<TableValues, String> {
    // SAFETY: of the producer; a list has one child.
    unsafe {
        let within = children(schema.children, schema.n_children).next();
        let within = within.ok_or_else(|| unknown(text(schema.format)))?;
        refuse_extension(within)?;
        let of = within.dictionary.as_ref().unwrap_or(within);
        refuse_extension(of)?;
        let format = text(of.format);
        if !NUMBERS.contains(&format) {
            let name = match format.starts_with("d:") {
                true => "decimals",
                false => name_of(format),
            };
            return Err(format!(
                "has lists of {name} (Arrow's type '{format}'); expected lists of numbers or truth values: convert it, \
                 or leave it out"
            ));
        }
        Ok(TableValues::Rows {
            width,
            values: Vec::new(),
        })
    }
}

/// The formats of numbers and truth values, and of a column without values.
const NUMBERS: [&str; 13] = [
    "n", "b", "c", "C", "s", "S", "i", "I", "l", "L", "e", "f", "g",
];

/// Extension types whose values are those of their storage.
const KNOWN: [&str; 3] = ["arrow.bool8", "arrow.fixed_shape_tensor", "arrow.json"];

/// Refuses a type of which it is not known what its values stand for.
unsafe fn refuse_extension(schema: &ArrowSchema) -> Result<(), String> {
    // SAFETY: of the producer.
    match unsafe { extension(schema.metadata) } {
        Some(name) if !KNOWN.contains(&name.as_str()) => Err(format!(
            "is of the extension type '{name}', and what its values stand for is not known here: convert it, or leave \
             it out"
        )),
        _ => Ok(()),
    }
}

/// The name of a column's extension type, if it has one. Metadata is a count and as many keys and values, each behind
/// its length.
unsafe fn extension(metadata: *const c_char) -> Option<String> {
    if metadata.is_null() {
        return None;
    }
    let mut at = metadata.cast::<u8>();
    // SAFETY: of the producer, whose lengths are those of what follows.
    unsafe {
        for _ in 0..length(&mut at) {
            let (key, value) = (bytes(&mut at), bytes(&mut at));
            if key == b"ARROW:extension:name" {
                return Some(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    None
}

/// The number at a place of metadata, which moves behind it.
unsafe fn length(at: &mut *const u8) -> usize {
    // SAFETY: as above.
    unsafe {
        let number = at.cast::<i32>().read_unaligned();
        *at = at.add(size_of::<i32>());
        usize::try_from(number).unwrap_or(0)
    }
}

/// The bytes behind their length at a place of metadata, which moves behind them.
unsafe fn bytes<'a>(at: &mut *const u8) -> &'a [u8] {
    // SAFETY: as above.
    unsafe {
        let length = length(at);
        let bytes = slice::from_raw_parts(*at, length);
        *at = at.add(length);
        bytes
    }
}

fn unknown(format: &str) -> String {
    let name = name_of(format);
    format!(
        "is {name} (Arrow's type '{format}'); expected numbers, truth values, text, moments, dates or lists of \
         numbers: convert it, or leave it out"
    )
}

/// What values of a type are called, of those that are not taken; text where a list's are looked at.
fn name_of(format: &str) -> &'static str {
    match format {
        "z" | "Z" | "vz" => "binary",
        "u" | "U" | "vu" => "text",
        "+s" => "structures",
        "+m" => "maps",
        "+r" => "run-end encoded",
        "+l" | "+L" | "+vl" | "+vL" => "lists",
        "tdD" | "tdm" => "dates",
        _ if format.starts_with("+w:") => "lists",
        _ if format.starts_with("w:") => "binary of a fixed length",
        _ if format.starts_with("d:") => {
            "decimals of another size than 128 bits, or of a negative scale"
        }
        _ if format.starts_with("ts") => "moments",
        _ if format.starts_with("tt") => "times of day",
        _ if format.starts_with("tD") => "durations",
        _ if format.starts_with("ti") => "calendar intervals",
        _ if format.starts_with("+u") => "of several types (a union)",
        _ => "of another type",
    }
}

/// The scale of `d:precision,scale`, of a decimal of 128 bits.
fn scale(format: &str) -> Result<u8, String> {
    let parts: Vec<&str> = format[2..].split(',').collect();
    match parts.as_slice() {
        [_, scale] | [_, scale, "128"] => scale.parse().map_err(|_| unknown(format)),
        _ => Err(unknown(format)),
    }
}

/// A row, from 0, and what is wrong in it.
type Wrong = (usize, String);

/// Adds the rows of an array to the values so far, and tells which of them have one, as [`present`] does.
unsafe fn append(
    to: &mut TableValues,
    schema: &ArrowSchema,
    array: &ArrowArray,
    rows: Rows,
) -> Result<Option<Vec<bool>>, Wrong> {
    // SAFETY: of the producer; buffers are those of the format.
    unsafe {
        let found = present(schema, array, rows)?;
        let present = found.as_deref();
        if let Some(dictionary) = schema.dictionary.as_ref() {
            decode(to, (schema, dictionary), array, rows)?;
            return Ok(found);
        }
        let format = text(schema.format);
        match to {
            TableValues::Bools(to) => {
                let first = array.offset as usize + rows.first;
                to.extend((first..first + rows.count).map(|at| array.bit(1, at)));
            }
            TableValues::Integers(to) => to.extend(integers(format, array, rows)),
            TableValues::Unsigned(to) => match format {
                "L" => to.extend_from_slice(array.values(rows)),
                _ => to.extend(
                    integers(format, array, rows)
                        .into_iter()
                        .map(|value| value as u64),
                ),
            },
            TableValues::Floats(to) => floats(to, format, array, rows)?,
            TableValues::Doubles(to) => to.extend_from_slice(array.values(rows)),
            TableValues::Decimals { values, .. } => {
                // Buffers begin at multiples of 8 bytes, which is not enough for an i128.
                let bytes = array.values::<[u8; 16]>(rows).iter();
                values.extend(bytes.map(|bytes| i128::from_ne_bytes(*bytes)));
            }
            TableValues::Dates(to) => to.extend_from_slice(array.values(rows)),
            TableValues::Moments { values, .. } => {
                let found: &[i64] = array.values(rows);
                let factor = if format.starts_with("tss") { 1000 } else { 1 };
                for (row, value) in found.iter().enumerate() {
                    let there = present.is_none_or(|present| present[row]);
                    let value = value.checked_mul(factor).or((!there).then_some(0));
                    let value = value.ok_or_else(|| (row, "the moment is too large".to_owned()))?;
                    values.push(value);
                }
            }
            TableValues::Texts(to) => texts(to, format, array, rows, present)?,
            TableValues::Rows { width, values } => {
                lists((width, values), schema, array, rows, present)?;
            }
        }
        Ok(found)
    }
}

/// Whole numbers of any size but unsigned ones of 64 bits.
unsafe fn integers(format: &str, array: &ArrowArray, rows: Rows) -> Vec<i64> {
    // SAFETY: the format says how large they are.
    unsafe {
        match format {
            "c" => array
                .values::<i8>(rows)
                .iter()
                .map(|&value| value.into())
                .collect(),
            "C" => array
                .values::<u8>(rows)
                .iter()
                .map(|&value| value.into())
                .collect(),
            "s" => array
                .values::<i16>(rows)
                .iter()
                .map(|&value| value.into())
                .collect(),
            "S" => array
                .values::<u16>(rows)
                .iter()
                .map(|&value| value.into())
                .collect(),
            "i" => array
                .values::<i32>(rows)
                .iter()
                .map(|&value| value.into())
                .collect(),
            "I" => array
                .values::<u32>(rows)
                .iter()
                .map(|&value| value.into())
                .collect(),
            _ => array.values::<i64>(rows).to_vec(),
        }
    }
}

/// Numbers of any type as floats.
unsafe fn floats(
    to: &mut Vec<f32>,
    format: &str,
    array: &ArrowArray,
    rows: Rows,
) -> Result<(), Wrong> {
    // SAFETY: as above.
    unsafe {
        match format {
            "n" => to.resize(to.len() + rows.count, f32::NAN),
            "e" => {
                let halves = array.values::<u16>(rows).iter();
                to.extend(halves.map(|&bits| f16::from_bits(bits).to_f32()));
            }
            "f" => to.extend_from_slice(array.values(rows)),
            "g" => to.extend(array.values::<f64>(rows).iter().map(|&value| value as f32)),
            "L" => to.extend(array.values::<u64>(rows).iter().map(|&value| value as f32)),
            "b" => {
                let first = array.offset as usize + rows.first;
                to.extend((first..first + rows.count).map(|at| f32::from(array.bit(1, at))));
            }
            "c" | "C" | "s" | "S" | "i" | "I" | "l" => {
                to.extend(
                    integers(format, array, rows)
                        .into_iter()
                        .map(|value| value as f32),
                );
            }
            _ => return Err((0, unknown(format))),
        }
    }
    Ok(())
}

/// Text with offsets, or of views.
unsafe fn texts(
    to: &mut Vec<String>,
    format: &str,
    array: &ArrowArray,
    rows: Rows,
    present: Option<&[bool]>,
) -> Result<(), Wrong> {
    /// Bytes that a view has in itself.
    const INLINE: usize = 12;
    // SAFETY: the format says where the bytes are.
    unsafe {
        let bytes =
            |buffer: usize, first: usize, count: usize| array.buffer::<u8>(buffer, first, count);
        let mut add = |row: usize, bytes: &[u8]| {
            let there = present.is_none_or(|present| present[row]);
            let text = std::str::from_utf8(if there { bytes } else { &[] });
            let text = text.map_err(|_| (row, "the text is not UTF-8".to_owned()))?;
            to.push(text.to_owned());
            Ok::<(), Wrong>(())
        };
        if format != "vu" {
            let bounds = array.bounds(rows, format == "U")?;
            for (row, ends) in bounds.windows(2).enumerate() {
                add(row, bytes(2, ends[0], ends[1] - ends[0]))?;
            }
            return Ok(());
        }
        for (row, view) in array.values::<[u8; 16]>(rows).iter().enumerate() {
            let number = |at: usize| {
                let bytes = [view[at], view[at + 1], view[at + 2], view[at + 3]];
                u32::from_ne_bytes(bytes) as usize
            };
            let there = present.is_none_or(|present| present[row]);
            match number(0) {
                _ if !there => add(row, &[])?,
                length @ ..=INLINE => add(row, &view[4..4 + length])?,
                length => add(row, bytes(2 + number(8), number(12), length))?,
            }
        }
    }
    Ok(())
}

/// Lists of numbers, all of one length.
unsafe fn lists(
    (width, to): (&mut usize, &mut Vec<f32>),
    schema: &ArrowSchema,
    array: &ArrowArray,
    rows: Rows,
    present: Option<&[bool]>,
) -> Result<(), Wrong> {
    if let Some(row) = present.and_then(|present| present.iter().position(|there| !there)) {
        let found = "null, expected a list in every row; fill in or drop the row";
        return Err((row, found.to_owned()));
    }
    // SAFETY: a list has one child.
    unsafe {
        let format = text(schema.format);
        let child = children(schema.children, schema.n_children).next();
        let values = children(array.children, array.n_children).next();
        let (Some(child), Some(values)) = (child, values) else {
            return Err((0, unknown(format)));
        };
        let bounds = match format.starts_with("+w:") {
            true => {
                let first = array.offset as usize + rows.first;
                (first..=first + rows.count).map(|at| at * *width).collect()
            }
            false => array.bounds(rows, format == "+L")?,
        };
        for (row, ends) in bounds.windows(2).enumerate() {
            let length = ends[1] - ends[0];
            if *width == 0 && length > 0 {
                *width = length;
            }
            if length != *width || length == 0 {
                let expected = match *width {
                    0 => "one number or more".to_owned(),
                    width => format!("{width}, as in the rows before"),
                };
                return Err((
                    row,
                    format!("a list of {length} values, expected {expected}"),
                ));
            }
        }
        let within = Rows {
            first: bounds[0],
            count: bounds[bounds.len() - 1] - bounds[0],
        };
        let before = to.len();
        let in_row = |(at, reason): Wrong| (at / *width, reason);
        match child.dictionary.as_ref() {
            None => floats(to, text(child.format), values, within)?,
            Some(dictionary) => {
                let (all, mut numbers) = (&*values.dictionary, Vec::new());
                floats(&mut numbers, text(dictionary.format), all, all.rows())?;
                let keys = keys(text(child.format), values, within, numbers.len());
                let keys = keys.map_err(in_row)?.into_iter();
                to.extend(keys.map(|key| key.map_or(f32::NAN, |key| numbers[key])));
            }
        }
        if let Some(there) = self::present(child, values, within).map_err(in_row)? {
            let missing = to[before..]
                .iter_mut()
                .zip(there)
                .filter(|(_, there)| !there);
            missing.for_each(|(value, _)| *value = f32::NAN);
        }
    }
    Ok(())
}

/// Where the rows' values stand in a dictionary of `count` values; nothing of a row without one.
unsafe fn keys(
    format: &str,
    array: &ArrowArray,
    rows: Rows,
    count: usize,
) -> Result<Vec<Option<usize>>, Wrong> {
    // SAFETY: the format says how large they are.
    let (keys, there) = unsafe {
        let keys: Vec<usize> = match format {
            "L" => (array.values::<u64>(rows).iter())
                .map(|&key| key as usize)
                .collect(),
            _ => (integers(format, array, rows).into_iter())
                .map(|key| key as usize)
                .collect(),
        };
        (keys, array.present(rows))
    };
    let within = |(row, key): (usize, usize)| match there.as_ref().is_none_or(|there| there[row]) {
        false => Ok(None),
        true if key < count => Ok(Some(key)),
        true => Err((
            row,
            format!("the category {key} of {count}; the table is damaged"),
        )),
    };
    keys.into_iter().enumerate().map(within).collect()
}

/// Adds what stands at the keys.
fn at_keys<T: Clone + Default>(to: &mut Vec<T>, keys: Vec<Option<usize>>, values: &[T]) {
    let value = |key: Option<usize>| key.map(|key| values[key].clone()).unwrap_or_default();
    to.extend(keys.into_iter().map(value));
}

/// Values that stand in a dictionary.
unsafe fn decode(
    to: &mut TableValues,
    (schema, dictionary): (&ArrowSchema, &ArrowSchema),
    array: &ArrowArray,
    rows: Rows,
) -> Result<(), Wrong> {
    // SAFETY: of the producer; an array of keys has a dictionary.
    unsafe {
        let all = &*array.dictionary;
        let mut values = empty(dictionary).map_err(|reason| (0, reason))?;
        append(&mut values, dictionary, all, all.rows())?;
        let keys = keys(text(schema.format), array, rows, all.rows().count)?;
        match (to, values) {
            (TableValues::Texts(to), TableValues::Texts(values)) => at_keys(to, keys, &values),
            (TableValues::Integers(to), TableValues::Integers(values)) => {
                at_keys(to, keys, &values)
            }
            (TableValues::Unsigned(to), TableValues::Unsigned(values)) => {
                at_keys(to, keys, &values)
            }
            _ => unreachable!("`empty` takes no dictionary of other values"),
        }
    }
    Ok(())
}
