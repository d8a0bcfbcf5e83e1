//! Columns that Python hands over: arrays as buffers, text as lists.

use mspipe_datasets::{MomentUnit, TableColumn, TableValues};
use pyo3::buffer::{Element, PyBuffer};
use pyo3::prelude::*;

use super::error::raised;

/// A column by its name, what its values are, the values, and the numbers of a row (`rows`).
pub(crate) type Given<'py> = (String, String, Bound<'py, PyAny>, usize);

/// NumPy's moment that is none (NaT).
const NO_MOMENT: i64 = i64::MIN;

/// A contiguous buffer as it is.
pub(crate) fn numbers<T: Element>(values: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
    PyBuffer::<T>::get(values)?.to_vec(values.py())
}

/// The column that `given` is.
pub(crate) fn column(given: &Given<'_>) -> PyResult<TableColumn> {
    let (name, kind, values, width) = given;
    let mut present = None;
    let values = match kind.as_str() {
        "bool" => {
            let bytes: Vec<u8> = numbers(values)?;
            TableValues::Bools(bytes.into_iter().map(|byte| byte != 0).collect())
        }
        "int" => TableValues::Integers(numbers(values)?),
        "uint" => TableValues::Unsigned(numbers(values)?),
        "float" => TableValues::Floats(numbers(values)?),
        "double" => TableValues::Doubles(numbers(values)?),
        "rows" => TableValues::Rows {
            width: *width,
            values: numbers(values)?,
        },
        "ms" | "us" | "ns" => {
            let values: Vec<i64> = numbers(values)?;
            if values.contains(&NO_MOMENT) {
                present = Some(values.iter().map(|&value| value != NO_MOMENT).collect());
            }
            let unit = match kind.as_str() {
                "ms" => MomentUnit::Milliseconds,
                "us" => MomentUnit::Microseconds,
                _ => MomentUnit::Nanoseconds,
            };
            TableValues::Moments { values, unit }
        }
        "text" => {
            let texts: Vec<Option<String>> = values.extract()?;
            if texts.iter().any(Option::is_none) {
                present = Some(texts.iter().map(Option::is_some).collect());
            }
            TableValues::Texts(texts.into_iter().map(Option::unwrap_or_default).collect())
        }
        other => {
            return Err(raised(format!(
                "the column '{name}' is of the kind {other}"
            )));
        }
    };
    Ok(TableColumn {
        name: name.clone(),
        values,
        present,
    })
}
