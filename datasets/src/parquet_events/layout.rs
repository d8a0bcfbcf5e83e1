//! Which column of a Parquet file holds what.
//!
//! Decided from names and types alone, before any row is read. Two columns for
//! one role, or two sets of features, are refused: which one is meant is not
//! guessed.

use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use crate::column_names::{Role, feature_number, is_feature_list, names_of, role};
use crate::error::DataError;

/// Leaf columns by their positions in the schema.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) src: usize,
    pub(super) dst: usize,
    pub(super) time: usize,
    pub(super) label: Option<usize>,
    pub(super) roll: Option<usize>,
    pub(super) features: Features,
    /// True if a column of ids is text.
    pub(super) named: bool,
    feature_names: Vec<String>,
    unread: Vec<String>,
}

/// Where the features are.
#[derive(Debug)]
pub(super) enum Features {
    None,
    /// One column a feature.
    Columns {
        columns: Vec<usize>,
        bools: bool,
    },
    /// One column of lists of one length.
    List {
        column: [usize; 1],
        bools: bool,
    },
}

impl Features {
    pub(super) fn columns(&self) -> &[usize] {
        match self {
            Features::None => &[],
            Features::Columns { columns, .. } => columns,
            Features::List { column, .. } => column,
        }
    }
}

impl Layout {
    pub(super) fn of(path: &Path, schema: &SchemaDescriptor) -> Result<Layout, DataError> {
        let mut roles: Vec<(Role, usize)> = Vec::new();
        let mut numbered: Vec<(usize, usize)> = Vec::new();
        let mut lists = Vec::new();
        let mut unread = Vec::new();
        for (at, column) in schema.columns().iter().enumerate() {
            let root = column.path().parts().first().map_or("", String::as_str);
            let flat = column.max_rep_level() == 0 && column.path().parts().len() == 1;
            if let Some(role) = role(root).filter(|_| flat) {
                if let Some((_, other)) = roles.iter().find(|(known, _)| *known == role) {
                    return Err(two(
                        path,
                        &format!("the {}", title(role)),
                        &schema.column(*other),
                        column,
                    ));
                }
                check_type(path, role, column)?;
                roles.push((role, at));
            } else if let Some(number) = feature_number(root).filter(|_| flat && is_number(column))
            {
                if let Some((_, other)) = numbered.iter().find(|(known, _)| *known == number) {
                    return Err(two(
                        path,
                        &format!("feature {number}"),
                        &schema.column(*other),
                        column,
                    ));
                }
                numbered.push((number, at));
            } else if is_feature_list(root) && column.max_rep_level() == 1 && is_number(column) {
                lists.push(at);
            } else {
                unread.push(column.path().string());
            }
        }
        let found = |role: Role| roles.iter().find(|(r, _)| *r == role).map(|(_, at)| *at);
        let required = |role: Role| {
            found(role).ok_or_else(|| {
                let columns: Vec<String> = (schema.columns().iter().take(12))
                    .map(|c| c.path().string())
                    .collect();
                DataError::format(
                    path,
                    format!(
                        "a Parquet file without a column for the {} (its columns: {})",
                        title(role),
                        columns.join(", ")
                    ),
                    format!("call that column one of {}", names_of(role)),
                )
            })
        };
        numbered.sort_unstable();
        let all_bools = |columns: &[usize]| {
            columns
                .iter()
                .all(|&at| schema.column(at).physical_type() == Type::BOOLEAN)
        };
        let feature_names = (numbered
            .iter()
            .map(|(_, at)| schema.column(*at).path().string()))
        .collect();
        let columns: Vec<usize> = numbered.into_iter().map(|(_, at)| at).collect();
        let features = match (columns.as_slice(), lists.as_slice()) {
            ([], []) => Features::None,
            ([], [only]) => Features::List {
                column: [*only],
                bools: all_bools(&[*only]),
            },
            ([first, ..], [second, ..]) | ([], [first, second, ..]) => {
                return Err(two(
                    path,
                    "the features",
                    &schema.column(*first),
                    &schema.column(*second),
                ));
            }
            (_, []) => Features::Columns {
                bools: all_bools(&columns),
                columns,
            },
        };
        let (src, dst) = (required(Role::Source)?, required(Role::Destination)?);
        let text = |at: usize| schema.column(at).physical_type() == Type::BYTE_ARRAY;
        Ok(Layout {
            src,
            dst,
            time: required(Role::Time)?,
            label: found(Role::Label),
            roll: found(Role::Roll),
            features,
            named: text(src) || text(dst),
            feature_names,
            unread,
        })
    }

    /// What the columns of the features are called, if each has a column.
    pub(super) fn feature_names(&self) -> Option<Vec<String>> {
        (!self.feature_names.is_empty()).then(|| self.feature_names.clone())
    }

    pub(super) fn notes(&self) -> Vec<String> {
        if self.unread.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "columns that were left out: {} (features are called feature_0, feature_1, …)",
            self.unread.join(", ")
        )]
    }
}

fn title(role: Role) -> &'static str {
    match role {
        Role::Source => "source",
        Role::Destination => "destination",
        Role::Time => "time",
        Role::Label => "state label",
        Role::Roll => "split mark",
    }
}

fn two(path: &Path, what: &str, one: &ColumnDescriptor, other: &ColumnDescriptor) -> DataError {
    DataError::format(
        path,
        format!(
            "the columns '{}' and '{}' can both be {what}",
            one.path().string(),
            other.path().string()
        ),
        "rename or drop the one that is not meant",
    )
}

fn is_number(column: &ColumnDescriptor) -> bool {
    let plain = matches!(
        column.logical_type_ref(),
        None | Some(LogicalType::Integer(_))
    );
    let number = matches!(
        column.physical_type(),
        Type::BOOLEAN | Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE
    );
    number && plain && column.converted_type() != ConvertedType::DECIMAL
}

fn check_type(path: &Path, role: Role, column: &ColumnDescriptor) -> Result<(), DataError> {
    let (fits, expected) = match role {
        Role::Source | Role::Destination => (
            match column.physical_type() {
                Type::INT32 | Type::INT64 => is_number(column),
                Type::BYTE_ARRAY => true,
                _ => false,
            },
            "integers or text",
        ),
        Role::Time => (
            match column.physical_type() {
                Type::INT32 | Type::INT64 => {
                    is_number(column)
                        || matches!(
                            column.logical_type_ref(),
                            Some(LogicalType::Timestamp(_) | LogicalType::Date)
                        )
                }
                Type::FLOAT | Type::DOUBLE => true,
                _ => false,
            },
            "integers, floats, timestamps or dates",
        ),
        Role::Label | Role::Roll => (
            matches!(
                column.physical_type(),
                Type::INT32 | Type::INT64 | Type::BOOLEAN
            ) && is_number(column),
            "integers or booleans",
        ),
    };
    if fits {
        return Ok(());
    }
    let logical = column
        .logical_type_ref()
        .map_or(String::new(), |logical| format!(" ({logical:?})"));
    Err(DataError::format(
        path,
        format!(
            "the column '{}' for the {} is {}{logical}",
            column.path().string(),
            title(role),
            column.physical_type()
        ),
        format!("{expected} are expected: convert the column"),
    ))
}
