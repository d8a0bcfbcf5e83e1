//! Columns that Python hands over: arrays as buffers, text as lists.

use mspipe_datasets::{MomentUnit, TableColumn, TableValues};
use pyo3::buffer::{Element, PyBuffer};
use pyo3::prelude::*;

use super::error::raised;

/// A column by its name, what its values are, the values, the numbers of a row (`rows`) or the scale
/// (`decimal`), and, if some rows have no value, a truth value for each.
pub(crate) type Given<'py> = (
    String,
    String,
    Bound<'py, PyAny>,
    usize,
    Option<Bound<'py, PyAny>>,
);

/// A contiguous buffer as it is.
pub(crate) fn numbers<T: Element>(values: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
    PyBuffer::<T>::get(values)?.to_vec(values.py())
}

/// Truth values of one byte each.
fn truths(values: &Bound<'_, PyAny>) -> PyResult<Vec<bool>> {
    let bytes: Vec<u8> = numbers(values)?;
    Ok(bytes.into_iter().map(|byte| byte != 0).collect())
}

/// The column that `given` is.
pub(crate) fn column(given: &Given<'_>) -> PyResult<TableColumn> {
    let (name, kind, values, width, present) = given;
    let values = match kind.as_str() {
        "bool" => TableValues::Bools(truths(values)?),
        "int" => TableValues::Integers(numbers(values)?),
        "uint" => TableValues::Unsigned(numbers(values)?),
        "float" => TableValues::Floats(numbers(values)?),
        "double" => TableValues::Doubles(numbers(values)?),
        "rows" => TableValues::Rows {
            width: *width,
            values: numbers(values)?,
        },
        "decimal" => TableValues::Decimals {
            values: values.extract()?,
            scale: u8::try_from(*width).map_err(raised)?,
        },
        "ms" | "us" | "ns" => TableValues::Moments {
            values: numbers(values)?,
            unit: match kind.as_str() {
                "ms" => MomentUnit::Milliseconds,
                "us" => MomentUnit::Microseconds,
                _ => MomentUnit::Nanoseconds,
            },
        },
        "text" => TableValues::Texts(values.extract()?),
        other => {
            return Err(raised(format!(
                "the column '{name}' is of the kind {other}"
            )));
        }
    };
    Ok(TableColumn {
        name: name.clone(),
        values,
        present: present.as_ref().map(truths).transpose()?,
    })
}
