//! `mspipe._native`: what the Python package `mspipe` calls of the library.
//!
//! Plain values go in and out: settings as names and texts, columns as buffers, answers as bytes and JSON. What
//! people see (classes, keywords, NumPy) is Python, in `python/mspipe`. Work runs without Python's lock, on a
//! thread of its own ([`work`]), so that a signal or a callback can end it.

mod arrow;
mod checks;
mod columns;
mod dataset;
mod error;
mod model;
mod training;
mod work;

use std::ffi::OsString;
use std::process::ExitCode;

use pyo3::prelude::*;

/// As the program's (`src/main.rs`); a library that Python loads has none by itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// The program with the words of a command line, the program's name first; returns its exit code.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    let code = py.detach(|| mspipe::cli::program(words));
    // It does not say its number.
    let is = |number: &u8| ExitCode::from(*number) == code;
    (0..=u8::MAX).find(is).unwrap_or(1)
}

/// The JSON schema of all settings.
#[pyfunction]
fn schema() -> String {
    mspipe::config::schema().to_string()
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // An iteration takes again what the one before has freed: a second is longer than any, and a process
    // that lives for days gives back what it no longer takes (see `src/main.rs`).
    // SAFETY: sets a number of the allocator; no other thread runs anything of this library yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 1000) };
    mspipe::device::heed_log(mspipe::console::Stderr::default);
    module.add("Error", module.py().get_type::<error::Error>())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<dataset::Dataset>()?;
    module.add_class::<dataset::Like>()?;
    module.add_class::<model::Model>()?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(schema, module)?)?;
    module.add_function(wrap_pyfunction!(error::in_keywords, module)?)?;
    module.add_function(wrap_pyfunction!(dataset::may_read, module)?)?;
    module.add_function(wrap_pyfunction!(training::check, module)?)?;
    module.add_function(wrap_pyfunction!(training::fit, module)?)?;
    module.add_function(wrap_pyfunction!(training::resume, module)?)?;
    module.add_function(wrap_pyfunction!(training::report, module)?)?;
    module.add_function(wrap_pyfunction!(checks::evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(checks::audit, module)?)?;
    module.add_function(wrap_pyfunction!(checks::answer, module)?)?;
    Ok(())
}
