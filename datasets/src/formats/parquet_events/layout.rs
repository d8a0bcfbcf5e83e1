//! Which column of a Parquet file holds what, and as what type.
//!
//! Decided from names and types alone, before any row is read: names by the schema that all
//! tables have, types here.

use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use crate::error::DataError;
use crate::schema::reading::{IdKind, Missing, Reading};
use crate::schema::{self, Header, Schema};

/// Leaf columns by their positions in the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) schema: Schema,
    /// State labels, unless they proved to be none.
    pub(super) label: Option<usize>,
    pub(super) features: Vec<usize>,
    /// Features are all truth values.
    pub(super) bools: bool,
    /// Whether ids are names.
    pub(super) text_ids: bool,
    /// Which column makes names of the other one's numbers, if one does.
    pub(super) mixed_ids: Option<String>,
    /// Columns that are not read, and why.
    pub(super) left_out: Vec<String>,
}

/// What the values of a column are to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// Integers, floats and decimals.
    Number,
    /// Timestamps and dates.
    Moment,
    Text,
    Other,
}

impl Kind {
    pub(super) fn of(column: &ColumnDescriptor) -> Kind {
        let logical = column.logical_type_ref();
        if is_decimal(column) {
            return Kind::Number;
        }
        match (column.physical_type(), logical) {
            (_, Some(LogicalType::Unknown)) => Kind::Other,
            (Type::BOOLEAN, _) => Kind::Bool,
            (Type::INT96, _) => Kind::Moment,
            (_, Some(LogicalType::Timestamp(_) | LogicalType::Date)) => Kind::Moment,
            (Type::INT32 | Type::INT64, None | Some(LogicalType::Integer(_))) => Kind::Number,
            (Type::FLOAT | Type::DOUBLE, _) => Kind::Number,
            (Type::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16)) => Kind::Number,
            (Type::BYTE_ARRAY, _) => Kind::Text,
            (Type::FIXED_LEN_BYTE_ARRAY, None | Some(LogicalType::Uuid)) => Kind::Text,
            _ => Kind::Other,
        }
    }
}

pub(super) fn is_decimal(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::Decimal(_)))
        || column.converted_type() == ConvertedType::DECIMAL
}

impl Layout {
    pub(super) fn of(
        path: &Path,
        columns: &SchemaDescriptor,
        reading: &Reading,
        separate_features: bool,
    ) -> Result<Layout, DataError> {
        let header = Header {
            names: columns
                .columns()
                .iter()
                .map(|column| name(column))
                .collect(),
            named: true,
            row_names: false,
        };
        let schema = Schema::of(path, &header, schema::Layout::default(), reading)?;
        let mut left_out: Vec<String> = (schema.left_out.iter())
            .map(|(at, why)| format!("{} ({why})", schema.title(*at)))
            .collect();
        for (role, at) in [
            ("source", schema.src),
            ("destination", schema.dst),
            ("time", schema.time),
        ]
        .into_iter()
        .chain(schema.split.map(|at| ("split mark", at)))
        {
            check_type(path, role, &columns.column(at))?;
        }
        let label = label(path, columns, &schema, &mut left_out)?;
        let mut features = Vec::new();
        for &at in &schema.candidates {
            let column = columns.column(at);
            let number = matches!(Kind::of(&column), Kind::Bool | Kind::Number);
            if separate_features {
                left_out.push(format!(
                    "{} (the features come from a file of their own)",
                    schema.title(at)
                ));
            } else if number && column.max_rep_level() <= 1 {
                features.push(at);
            } else if schema.must_hold_numbers(at) {
                return Err(DataError::format(
                    path,
                    format!("the column {} is {}", schema.title(at), type_of(&column)),
                    "features are numbers, truth values or lists of them: convert it, or leave it out of features=",
                ));
            } else {
                left_out.push(format!(
                    "{} ({}, no numbers)",
                    schema.title(at),
                    type_of(&column)
                ));
            }
        }
        let features = schema.in_order(features);
        let is = |at: usize, kind: Kind| Kind::of(&columns.column(at)) == kind;
        Ok(Layout {
            label,
            bools: !features.is_empty()
                && reading.missing != Missing::Mean
                && features.iter().all(|&at| is(at, Kind::Bool)),
            features,
            mixed_ids: (reading.ids == IdKind::Auto)
                .then(|| mixed_ids(&schema, |at| is(at, Kind::Text)))
                .flatten(),
            text_ids: match reading.ids {
                IdKind::Auto => is(schema.src, Kind::Text) || is(schema.dst, Kind::Text),
                IdKind::Number => false,
                IdKind::Text => true,
            },
            left_out,
            schema,
        })
    }
}

/// What is to be known where one column of ids is text and the other is not.
fn mixed_ids(schema: &Schema, is_text: impl Fn(usize) -> bool) -> Option<String> {
    let (text, other) = match [schema.src, schema.dst].map(is_text) {
        [true, false] => (schema.src, schema.dst),
        [false, true] => (schema.dst, schema.src),
        _ => return None,
    };
    Some(format!(
        "ids are read as text, because of {}: the numbers of {} are names",
        schema.title(text),
        schema.title(other)
    ))
}

/// The column of the state labels, if its type can hold them.
fn label(
    path: &Path,
    columns: &SchemaDescriptor,
    schema: &Schema,
    left_out: &mut Vec<String>,
) -> Result<Option<usize>, DataError> {
    let Some(at) = schema.label else {
        return Ok(None);
    };
    let column = columns.column(at);
    if flat(&column) && matches!(Kind::of(&column), Kind::Bool | Kind::Number) {
        return Ok(Some(at));
    }
    let (title, found) = (schema.title(at), type_of(&column));
    if schema.chosen_label {
        let found = format!("the column {title} for the state label is {found}");
        let remedy = "whole numbers are expected: convert the column";
        return Err(DataError::format(path, found, remedy));
    }
    left_out.push(format!(
        "{title} (labels are whole numbers such as 0 and 1, and it is {found}; link prediction needs none)"
    ));
    Ok(None)
}

/// A column's name: that of its root, or its path where it is a field of a structure.
pub(super) fn name(column: &ColumnDescriptor) -> String {
    match column.max_rep_level() {
        0 => column.path().string(),
        _ => column.path().parts().first().cloned().unwrap_or_default(),
    }
}

fn flat(column: &ColumnDescriptor) -> bool {
    column.max_rep_level() == 0
}

fn type_of(column: &ColumnDescriptor) -> String {
    let lists = if flat(column) { "" } else { "lists of " };
    match Kind::of(column) {
        Kind::Bool => format!("{lists}truth values"),
        Kind::Number => format!("{lists}numbers"),
        Kind::Moment => format!("{lists}times"),
        Kind::Text => format!("{lists}text"),
        Kind::Other => {
            let logical = (column.logical_type_ref())
                .map_or(String::new(), |logical| format!(" ({logical:?})"));
            format!("{lists}{}{logical}", column.physical_type())
        }
    }
}

pub(super) fn check_type(
    path: &Path,
    role: &str,
    column: &ColumnDescriptor,
) -> Result<(), DataError> {
    let kind = Kind::of(column);
    let (fits, expected) = match role {
        "time" => (
            matches!(kind, Kind::Number | Kind::Moment | Kind::Text),
            "numbers, timestamps, dates or text of these",
        ),
        "split mark" => (
            matches!(kind, Kind::Number | Kind::Bool | Kind::Text),
            "0, 1 and 2, or train, val and test",
        ),
        _ => (
            matches!(kind, Kind::Number | Kind::Text),
            "integers or text",
        ),
    };
    if fits && flat(column) {
        return Ok(());
    }
    Err(DataError::format(
        path,
        format!(
            "the column '{}' for the {role} is {}",
            column.path().string(),
            type_of(column)
        ),
        format!("{expected} are expected: convert the column"),
    ))
}
