//! A stream as one table that any reader understands (`mspipe data export`).
//!
//! | column | content |
//! |---|---|
//! | `src`, `dst`, `time`, or `user_id`, `item_id`, `timestamp` where ids are two spaces | ids or names as the stream's own file had them; exact times |
//! | `label`, `ext_roll` | state label, split mark, if the stream has them |
//! | one for each edge feature | by its name, else `feature_0`, … |
//!
//! Read back, the table is the same stream (the same hash), but for what [`Exported::notes`]
//! names.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::fields::decimal::Decimal;
use crate::stream::event_log::{EventLog, NO_LABEL};
use crate::stream::features::FeatureType;
use crate::whole_file::{self, Existing, WholeFile, WholeFileError};

use columns::{Columns, scale};

mod columns;
pub(crate) mod parquet_table;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub path: PathBuf,
    /// Events in it.
    pub events: usize,
    /// What the file does not hold of the stream, and how it must be read.
    pub notes: Vec<String>,
}

/// Writes `log` to `to`, which ends in `.csv` or `.parquet` and is replaced only with `replace`.
///
/// # Errors
/// Another ending, a file that exists, a folder that can't be written.
pub fn export(log: &EventLog, to: &Path, replace: bool) -> Result<Exported, DataError> {
    let ending = to.extension().map(|ending| ending.to_ascii_lowercase());
    let parquet = match ending.as_ref().and_then(|ending| ending.to_str()) {
        Some("csv") => false,
        Some("parquet") => true,
        _ => {
            return Err(DataError::Option(format!(
                "--to {}: the extension selects the format; .csv and .parquet are known",
                to.display()
            )));
        }
    };
    let existing = Existing::forced(replace);
    whole_file::check(to, existing).map_err(unwritten)?;
    let columns = Columns::of(log)?;
    let mut file = WholeFile::create(to, existing).map_err(unwritten)?;
    match parquet {
        true => parquet_table::write(&columns, &mut file, to)?,
        false => write_csv(&columns, &mut file).map_err(DataError::io("write", to))?,
    }
    file.commit().map_err(unwritten)?;
    Ok(Exported {
        path: to.to_path_buf(),
        events: log.events(),
        notes: columns.notes(),
    })
}

fn unwritten(error: WholeFileError) -> DataError {
    match error {
        WholeFileError::Write { path, error } => DataError::io("write", &path)(error),
        other => DataError::Option(other.to_string()),
    }
}

fn write_csv(columns: &Columns<'_>, to: &mut WholeFile) -> std::io::Result<()> {
    let log = columns.log;
    let mut header: Vec<String> = columns.titles.map(str::to_owned).to_vec();
    header.extend(log.labels().map(|_| "label".to_owned()));
    header.extend(log.roll().map(|_| "ext_roll".to_owned()));
    header.extend(columns.features.iter().map(|name| field(name)));
    writeln!(to, "{}", header.join(","))?;
    let mut row = vec![0.0; columns.features.len()];
    let bools = log.edge_features().map(|t| t.feature_type()) == Some(FeatureType::Bits);
    for event in 0..log.events() {
        for node in [log.src()[event], log.dst()[event]] {
            match &columns.names {
                Some(names) => write!(to, "{},", field(&names[node as usize]))?,
                None => write!(to, "{},", columns.id(node))?,
            }
        }
        write!(to, "{}", Decimal::of_ticks(log.time()[event], scale(log)))?;
        if let Some(labels) = log.labels() {
            match labels[event] {
                NO_LABEL => write!(to, ",")?,
                label => write!(to, ",{label}")?,
            }
        }
        if let Some(roll) = log.roll() {
            write!(to, ",{}", roll[event])?;
        }
        if let Some(table) = log.edge_features() {
            table.row_into(event, &mut row);
            for value in &row {
                match bools {
                    true => write!(to, ",{}", *value != 0.0)?,
                    false => write!(to, ",{value}")?,
                }
            }
        }
        writeln!(to)?;
    }
    Ok(())
}

/// A field, in quotes where RFC 4180 wants them.
pub(crate) fn field(text: &str) -> String {
    let plain = !text.contains(['"', ',', '\n', '\r']) && text.trim() == text;
    match plain {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}
