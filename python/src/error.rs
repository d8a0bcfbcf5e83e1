//! The exception of the package.

use std::fmt::Display;

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    mspipe,
    Error,
    PyException,
    "What was found, what was expected, and what to do: the message that the command prints."
);

/// An exception with the message of `error`.
pub(crate) fn raised(error: impl Display) -> PyErr {
    Error::new_err(error.to_string())
}
