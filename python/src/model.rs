//! What is asked of a trained model, on [`mspipe::Predictor`].

#![allow(
    clippy::result_large_err,
    reason = "an error ends a call of Python's: what it weighs on the way costs nothing"
)]

use std::ffi::CString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use mspipe::{
    DeviceChoice, Late, LoadOptions, MaxJump, NodeKey, Pair, PredictError, Predictor, Side,
};
use mspipe_datasets::Stop;
use mspipe_datasets::whole_file::Existing;
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyList};
use serde::Serialize;

use super::columns::numbers;
use super::dataset::{Dataset, Like};
use super::error::raised;
use super::training::other_threads;
use super::work::quiet;

/// Ids: whether they are text, and a list of text or a buffer of `uint64`.
type Ids<'py> = (bool, Bound<'py, PyAny>);

/// Times: how they are written (`int`, `double`, `ns`, `text`), and a buffer or a list.
type Times<'py> = (String, Bound<'py, PyAny>);

/// A trained model with the memory that its events left.
#[pyclass(frozen, module = "mspipe._native")]
pub(crate) struct Model {
    predictor: Mutex<Predictor>,
}

/// Ids as the library has them.
fn keys(ids: &Ids<'_>) -> PyResult<Vec<NodeKey>> {
    let (text, values) = ids;
    if *text {
        let names: Vec<String> = values.extract()?;
        return Ok(names.into_iter().map(NodeKey::Text).collect());
    }
    let numbers: Vec<u64> = numbers(values)?;
    Ok(numbers.into_iter().map(NodeKey::Number).collect())
}

/// Ids for Python: a list of text, or the bytes of `uint64`.
fn given_back<'py>(py: Python<'py>, keys: &[NodeKey]) -> PyResult<Bound<'py, PyAny>> {
    let number = |key: &NodeKey| match key {
        NodeKey::Number(number) => Some(*number),
        NodeKey::Text(_) => None,
    };
    let numbers: Option<Vec<u64>> = keys.iter().map(number).collect();
    if let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) {
        let bytes = numbers.iter().flat_map(|number| number.to_ne_bytes());
        return Ok(PyByteArray::new(py, &bytes.collect::<Vec<u8>>()).into_any());
    }
    let texts = keys.iter().map(ToString::to_string);
    Ok(PyList::new(py, texts.collect::<Vec<String>>())?.into_any())
}

/// The bytes of floats, for an array of Python's.
fn bytes<'py>(py: Python<'py>, values: &[f32]) -> Bound<'py, PyByteArray> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect();
    PyByteArray::new(py, &bytes)
}

/// A setting's word.
fn word(setting: impl Serialize) -> String {
    let word = serde_json::to_value(setting).ok();
    let word = word.as_ref().and_then(serde_json::Value::as_str);
    word.unwrap_or_default().to_owned()
}

fn side(name: &str) -> PyResult<Side> {
    match name {
        "source" => Ok(Side::Source),
        "destination" => Ok(Side::Destination),
        _ => Err(raised(format!(
            "side: found '{name}', expected source or destination"
        ))),
    }
}

/// A moment of Unix nanoseconds in ticks, where it is one.
fn ticks_of_moment(nanoseconds: i64, ticks_per_unit: i64) -> Result<i64, String> {
    const SECOND: i128 = 1_000_000_000;
    let exact = i128::from(nanoseconds) * i128::from(ticks_per_unit);
    let ticks = (exact % SECOND == 0).then(|| i64::try_from(exact / SECOND).ok());
    ticks.flatten().ok_or_else(|| {
        format!("the moment {nanoseconds} ns is finer than the stream's times; round it")
    })
}

impl Model {
    /// Does `work` with the predictor, which a signal ends.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Predictor) -> Result<T, PredictError> + Send,
    ) -> PyResult<T> {
        let stop = Stop::default();
        quiet(py, &stop, || {
            let mut predictor = self
                .predictor
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            predictor.stop_at(stop.clone());
            work(&mut predictor)
        })
    }

    /// What the predictor says of itself.
    fn says<T: Send>(&self, py: Python<'_>, what: impl FnOnce(&Predictor) -> T + Send) -> T {
        py.detach(|| {
            let predictor = self
                .predictor
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            what(&predictor)
        })
    }

    /// `count` times in ticks, if any are given; one stands for all.
    fn ticks(
        &self,
        py: Python<'_>,
        times: Option<&Times<'_>>,
        count: usize,
    ) -> PyResult<Option<Vec<i64>>> {
        let Some((kind, values)) = times else {
            return Ok(None);
        };
        let unit = self.says(py, Predictor::ticks_per_unit);
        let text = |text: &str| {
            let found = self.says(py, |predictor| predictor.ticks(text));
            found.map_err(|expected| raised(format!("the time {text}: expected {expected}")))
        };
        let ticks: Vec<i64> = match kind.as_str() {
            "int" => numbers::<i64>(values)?
                .into_iter()
                .map(|time| {
                    let ticks = time.checked_mul(unit);
                    ticks.ok_or_else(|| raised(format!("the time {time} is too large")))
                })
                .collect::<PyResult<_>>()?,
            "double" => numbers::<f64>(values)?
                .into_iter()
                .map(|time| match time.fract() == 0.0 {
                    // From 2^53 on the shortest text is another number.
                    true => text(&format!("{time:.0}")),
                    false => text(&time.to_string()),
                })
                .collect::<PyResult<_>>()?,
            "ns" => numbers::<i64>(values)?
                .into_iter()
                .map(|time| ticks_of_moment(time, unit).map_err(raised))
                .collect::<PyResult<_>>()?,
            _ => values
                .extract::<Vec<String>>()?
                .iter()
                .map(|time| text(time))
                .collect::<PyResult<_>>()?,
        };
        let latest = ticks.iter().max().copied();
        let far = |latest| self.says(py, |predictor| predictor.far_ahead(latest));
        if let Some(note) = latest.and_then(far) {
            warn(py, note)?;
        }
        match ticks.as_slice() {
            [one] => Ok(Some(vec![*one; count])),
            _ if ticks.len() == count => Ok(Some(ticks)),
            _ => {
                let each = match count {
                    1 => String::new(),
                    count => format!(" for all, or {count}"),
                };
                let found = ticks.len();
                Err(raised(format!(
                    "time: found {found} times, expected one{each}"
                )))
            }
        }
    }
}

fn warn(py: Python<'_>, note: String) -> PyResult<()> {
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(note)?, 2)
}

/// When a question is asked that names no time: asked for under the same lock as the answer, since another thread may
/// have memory follow events between the two.
fn just_after(predictor: &Predictor) -> i64 {
    predictor.last().map_or(0, |last| last.saturating_add(1))
}

#[pymethods]
impl Model {
    /// Of a run's folder or of a state.
    #[staticmethod]
    #[pyo3(signature = (path, data=None, device=None, threads=None, replay=false))]
    fn load(
        py: Python<'_>,
        path: PathBuf,
        data: Option<String>,
        device: Option<String>,
        threads: Option<usize>,
        replay: bool,
    ) -> PyResult<Model> {
        let device: Option<DeviceChoice> = device
            .map(|device| {
                device
                    .parse::<DeviceChoice>()
                    .map_err(|error| raised(format!("device: {error}")))
            })
            .transpose()?;
        let stop = Stop::default();
        let options = LoadOptions {
            device: device.map(Into::into),
            data,
            threads,
            replay,
            stop: stop.clone(),
            ..LoadOptions::default()
        };
        let predictor = quiet(py, &stop, || Predictor::load_with(&path, &options))?;
        if let Some(note) = other_threads(threads) {
            warn(py, note)?;
        }
        Ok(Model {
            predictor: Mutex::new(predictor),
        })
    }

    /// Logits, scores, and for each pair whether source and destination have had an event.
    #[allow(clippy::type_complexity, reason = "three arrays of one call")]
    fn score<'py>(
        &self,
        py: Python<'py>,
        src: Ids<'py>,
        dst: Ids<'py>,
        time: Option<Times<'py>>,
    ) -> PyResult<(
        Bound<'py, PyByteArray>,
        Bound<'py, PyByteArray>,
        Bound<'py, PyByteArray>,
    )> {
        let (src, dst) = (keys(&src)?, keys(&dst)?);
        if src.len() != dst.len() {
            let (src, dst) = (src.len(), dst.len());
            return Err(raised(format!(
                "{src} sources and {dst} destinations are given"
            )));
        }
        let times = self.ticks(py, time.as_ref(), src.len())?;
        let scores = self.with(py, |predictor| {
            let times = times.unwrap_or_else(|| vec![just_after(predictor); src.len()]);
            let pairs: Vec<Pair> = (src.into_iter().zip(dst).zip(times))
                .map(|((src, dst), time)| Pair { src, dst, time })
                .collect();
            predictor.score(&pairs)
        })?;
        let logits: Vec<f32> = scores.iter().map(|score| score.logit).collect();
        let known: Vec<u8> = scores
            .iter()
            .flat_map(|score| score.known.map(u8::from))
            .collect();
        let scores: Vec<f32> = scores.iter().map(|score| score.score).collect();
        Ok((
            bytes(py, &logits),
            bytes(py, &scores),
            PyByteArray::new(py, &known),
        ))
    }

    /// For each source: how many destinations there are, and these with logits and scores, one after the
    /// other.
    #[allow(clippy::type_complexity, reason = "the columns of one table")]
    fn top_k<'py>(
        &self,
        py: Python<'py>,
        sources: Ids<'py>,
        k: usize,
        time: Option<Times<'py>>,
        exclude_seen: bool,
    ) -> PyResult<(
        Vec<usize>,
        Bound<'py, PyAny>,
        Bound<'py, PyByteArray>,
        Bound<'py, PyByteArray>,
    )> {
        let sources = keys(&sources)?;
        let times = self.ticks(py, time.as_ref(), sources.len())?;
        let best = self.with(py, |predictor| {
            let times = times.unwrap_or_else(|| vec![just_after(predictor); sources.len()]);
            let asked = sources.iter().zip(times);
            let best = asked.map(|(source, time)| predictor.top_k(source, time, k, exclude_seen));
            best.collect::<Result<Vec<_>, _>>()
        })?;
        let counts = best.iter().map(Vec::len).collect();
        let all: Vec<_> = best.into_iter().flatten().collect();
        let [logits, scores] = [
            all.iter().map(|ranked| ranked.logit).collect::<Vec<f32>>(),
            all.iter().map(|ranked| ranked.score).collect(),
        ];
        let nodes: Vec<NodeKey> = all.into_iter().map(|ranked| ranked.node).collect();
        Ok((
            counts,
            given_back(py, &nodes)?,
            bytes(py, &logits),
            bytes(py, &scores),
        ))
    }

    /// Embeddings, `[nodes, width]`.
    fn embed<'py>(
        &self,
        py: Python<'py>,
        nodes: Ids<'py>,
        of: &str,
        time: Option<Times<'py>>,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        let (nodes, of) = (keys(&nodes)?, side(of)?);
        let times = self.ticks(py, time.as_ref(), 1)?;
        let rows = self.with(py, |predictor| {
            let time = times.map_or_else(|| just_after(predictor), |times| times[0]);
            predictor.embed(&nodes, of, time)
        })?;
        Ok(bytes(py, &rows))
    }

    /// Ids of all nodes; where there are two kinds, whether each is a destination.
    fn nodes<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Option<Vec<bool>>)> {
        let nodes: Vec<(NodeKey, Option<Side>)> =
            self.says(py, |predictor| predictor.nodes().collect());
        let is_destination =
            |(_, side): &(NodeKey, Option<Side>)| side.map(|side| side == Side::Destination);
        let destinations = nodes.iter().map(is_destination).collect();
        let keys: Vec<NodeKey> = nodes.into_iter().map(|(key, _)| key).collect();
        Ok((given_back(py, &keys)?, destinations))
    }

    /// How the stream of its run was read.
    fn like(&self, py: Python<'_>) -> Like {
        Like(self.says(py, Predictor::like))
    }

    /// What whoever gives events to be followed should know of their features.
    fn note(&self, py: Python<'_>, events: &Dataset) -> PyResult<Option<String>> {
        self.with(py, |predictor| predictor.feature_note(&events.log))
    }

    /// Has memory follow the events of a stream, none of which is further ahead than `max_jump`; returns how
    /// many, how many late ones were moved and left out, and how many nodes are new.
    fn update(
        &self,
        py: Python<'_>,
        events: &Dataset,
        accept_late: bool,
        max_jump: &str,
    ) -> PyResult<[usize; 4]> {
        let late = match accept_late {
            true => Late::Accept,
            false => Late::Refuse,
        };
        let log = &events.log;
        let most = MaxJump::from(max_jump);
        let updated = self.with(py, |predictor| {
            predictor.check_ahead(log, &most)?;
            predictor.update_from(log, late)
        })?;
        Ok([
            updated.events,
            updated.moved,
            updated.refused,
            updated.new_nodes,
        ])
    }

    /// Writes its state.
    fn save(&self, py: Python<'_>, path: PathBuf, contained: bool, force: bool) -> PyResult<()> {
        let existing = Existing::forced(force);
        self.with(py, |predictor| predictor.save(&path, contained, existing))
    }

    /// The settings with which events are read as those of its stream.
    fn reading(&self, py: Python<'_>) -> Vec<(&'static str, String)> {
        self.says(py, |predictor| {
            let of_run = &predictor.config().stream.reading;
            let ids = if predictor.ids_are_text() {
                "text"
            } else {
                "number"
            };
            let kinds = if predictor.has_two_kinds() {
                "yes"
            } else {
                "no"
            };
            vec![
                ("ids", ids.to_owned()),
                ("bipartite", kinds.to_owned()),
                ("time_unit", word(of_run.time_unit)),
                ("missing", word(of_run.missing)),
            ]
        })
    }

    #[getter]
    fn ids_are_text(&self, py: Python<'_>) -> bool {
        self.says(py, Predictor::ids_are_text)
    }

    #[getter]
    fn width(&self, py: Python<'_>) -> usize {
        self.says(py, Predictor::width)
    }

    #[getter]
    fn events(&self, py: Python<'_>) -> usize {
        self.says(py, Predictor::events)
    }

    #[getter]
    fn node_count(&self, py: Python<'_>) -> usize {
        self.says(py, Predictor::node_count)
    }

    /// The last event's time as the stream's file writes it.
    #[getter]
    fn last(&self, py: Python<'_>) -> Option<String> {
        self.says(py, |predictor| {
            predictor.last().map(|last| predictor.time_text(last))
        })
    }

    /// Model, stream and device.
    fn describe(&self, py: Python<'_>) -> [String; 3] {
        self.says(py, |predictor| {
            let model = predictor.config().model.name.to_string();
            [
                model,
                predictor.data().name.clone(),
                predictor.device().adapter.clone(),
            ]
        })
    }
}
