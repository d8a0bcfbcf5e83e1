//! What is computed and found without training.

use mspipe::config::Purpose;
use mspipe::session::{self, Measured, audited};
use mspipe::{RunConfig, SessionError, cli};
use mspipe_datasets::Stop;
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::dataset::Settings;
use super::error::{raised, refused};
use super::work::{Teller, detached, supervised};

/// What `work` gives, as JSON.
fn answered<T: Serialize + Send>(
    py: Python<'_>,
    tell: &Bound<'_, PyAny>,
    work: impl FnOnce(&Stop, Teller) -> Result<T, SessionError> + Send,
) -> PyResult<String> {
    let stop = Stop::default();
    let (result, exception) = supervised(py, &stop, Some(tell), |teller| work(&stop, teller))?;
    match exception {
        Some(exception) => Err(exception),
        None => serde_json::to_string(&result.map_err(raised)?).map_err(raised),
    }
}

/// Measures weights, as `mspipe eval`.
#[pyfunction]
pub(crate) fn evaluate(
    py: Python<'_>,
    settings: Settings,
    test_only: bool,
    tell: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let config = RunConfig::of_names(&settings, Purpose::Eval).map_err(refused)?;
    let measured = match test_only {
        true => Measured::Test,
        false => Measured::ValidationAndTest,
    };
    answered(py, tell, |stop, teller| {
        session::evaluate(config, measured, None, stop, |_session, _device| {
            move |part: &str| teller.tell("evaluating", json!(part))
        })
    })
}

/// Looks for scores that depend on what they must not see, as `mspipe audit`.
#[pyfunction]
pub(crate) fn audit(
    py: Python<'_>,
    settings: Settings,
    probes: u16,
    tell: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let config = RunConfig::of_names(&settings, Purpose::Audit).map_err(refused)?;
    answered(py, tell, |stop, teller| {
        audited::audit(config, probes.into(), stop, |_session, _device| {
            move |check| teller.tell("checking", json!(format!("{check}")))
        })
    })
}

/// What `mspipe devices` and `mspipe schedule simulate` answer to a command line.
#[pyfunction]
pub(crate) fn answer(py: Python<'_>, words: Vec<String>) -> PyResult<String> {
    let answer = detached(py, || cli::answer(&words))?;
    let answer = answer.map_err(|error| raised(format!("{error:#}")))?;
    Ok(answer.to_string())
}
