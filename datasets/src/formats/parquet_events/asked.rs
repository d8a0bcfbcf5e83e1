//! A Parquet table of what is asked for: pairs, or nodes.

use parquet::file::reader::FileReader;

use super::cursor::{Cursor, Id};
use super::layout::{check_type, name};
use super::{cursor, each_batch, open, row_group};
use crate::asked::{AskedRow, NodeKey, end};
use crate::error::{DataError, Place};
use crate::fields::raw_event::Position;
use crate::files::input_file::InputFile;
use crate::schema::reading::TimeUnit;
use crate::schema::{AskedColumns, Header};

/// Passes the rows of `file` to `sink`; `columns` tells its columns from the header. Ids are made text
/// or numbers.
pub(crate) fn read_asked(
    file: &InputFile,
    columns: impl Fn(&Header) -> Result<AskedColumns, DataError>,
    text: bool,
    unit: TimeUnit,
    mut sink: impl FnMut(Position<'_>, AskedRow) -> Result<(), DataError>,
) -> Result<AskedColumns, DataError> {
    let path = file.shown();
    let reader = open(file)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let header = Header {
        names: schema.columns().iter().map(|column| name(column)).collect(),
        named: true,
        row_names: false,
    };
    let columns = columns(&header)?;
    let roles = [("source", Some(columns.src)), ("destination", columns.dst)];
    let more = [("time", columns.time), ("side", columns.side)];
    for (role, at) in roles.into_iter().chain(more) {
        if let Some(at) = at {
            check_type(path, role, &schema.column(at))?;
        }
    }
    for group in 0..reader.metadata().num_row_groups() {
        let (group, rows) = row_group(file, &reader, group)?;
        let open = |column: usize| cursor(path, group, &*rows, column);
        let mut src = open(columns.src)?;
        let mut dst = columns.dst.map(open).transpose()?;
        let mut time = columns.time.map(open).transpose()?;
        let mut side = columns.side.map(open).transpose()?;
        each_batch(&*rows, |first, batch| {
            let all = [&mut src].into_iter().chain(&mut dst);
            let all = all.chain(&mut time).chain(&mut side);
            for cursor in all {
                cursor.fill(first, batch)?;
            }
            for row in 0..batch {
                let place = Place::Row {
                    group,
                    row: first + row as u64,
                };
                let time = time.as_ref().map(|cursor| cursor.time(row, unit));
                let dst = dst.as_ref().map(|cursor| key(cursor, row, text));
                let at = Position { path, place };
                let end = side.as_ref().map(|cursor| match cursor.id(row)? {
                    Id::Text(text) => end(at, text.as_bytes()),
                    Id::Number(number) => end(at, number.to_string().as_bytes()),
                });
                let row = AskedRow {
                    keys: [Some(key(&src, row, text)?), dst.transpose()?],
                    time: time.transpose()?.map(|(time, _)| time),
                    end: end.transpose()?,
                };
                sink(at, row)?;
            }
            Ok(())
        })?;
    }
    Ok(columns)
}

fn key(cursor: &Cursor<'_>, row: usize, text: bool) -> Result<NodeKey, DataError> {
    Ok(match (cursor.id(row)?, text) {
        (Id::Number(number), false) => NodeKey::Number(number),
        (Id::Number(number), true) => NodeKey::Text(number.to_string()),
        (Id::Text(name), true) => NodeKey::Text(name.to_owned()),
        (Id::Text(name), false) => NodeKey::Number(cursor.number_of(row, name)?),
    })
}
