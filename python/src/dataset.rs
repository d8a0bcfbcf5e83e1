//! Streams of events, as files or in memory.

use std::path::PathBuf;
use std::sync::Arc;

use mspipe::config::Purpose;
use mspipe::{EventLog, OpenOptions, RunConfig};
use mspipe_datasets::{Info, Stop, TableColumn, reading};
use pyo3::prelude::*;

use super::arrow;
use super::columns::{Given, column};
use super::error::{in_keywords, raised, refused};
use super::work::{detached, quiet};

/// Settings of a run by name.
pub(crate) type Settings = Vec<(String, String)>;

/// Settings that hold for a table's conversion too: how the stream is divided, and how it was read, so that events
/// which a model is to follow are read as those of its stream were.
const OF_CONVERTED: [&str; 7] = [
    "columns",
    "ids",
    "bipartite",
    "time_unit",
    "missing",
    "split",
    "split_at",
];

/// A stream that is open.
#[pyclass(frozen, module = "mspipe._native")]
pub(crate) struct Dataset {
    pub(crate) log: Arc<EventLog>,
    /// What has a run open it.
    #[pyo3(get)]
    settings: Settings,
}

/// How the stream of a run was read.
#[pyclass(frozen, module = "mspipe._native")]
pub(crate) struct Like(pub(crate) reading::Like);

/// How the settings have a stream opened, which may be a part of another one.
fn options(settings: &Settings, like: Option<&Like>, stop: &Stop) -> PyResult<OpenOptions> {
    let config = RunConfig::of_names(settings, Purpose::Train).map_err(refused)?;
    let mut options = OpenOptions {
        edge_features: config.source.edge_feature_file.clone(),
        node_features: config.source.node_feature_file.clone(),
        stop: stop.clone(),
        ..config.stream.reading.options()
    };
    options.reading.like = like.map(|like| Box::new(like.0.clone()));
    Ok(options)
}

/// Whether a table's column may be read with these settings.
#[pyfunction]
pub(crate) fn may_read(settings: Settings, column: &str) -> PyResult<bool> {
    let options = options(&settings, None, &Stop::default())?;
    Ok(options.reading.columns.may_read(column))
}

/// Does `work` with threads that end with it: those of the process are of the first run's number. Of a part of a
/// model's stream they are there already.
fn beside_runs<T: Send>(like: Option<&Like>, work: impl FnOnce() -> T + Send) -> T {
    if like.is_some() {
        return work();
    }
    match rayon::ThreadPoolBuilder::new().build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

impl Dataset {
    /// A table in memory. Its conversion lies in the cache, or in the folder `cache`.
    fn of_table(
        py: Python<'_>,
        name: &str,
        table: &[TableColumn],
        settings: Settings,
        cache: Option<PathBuf>,
        like: Option<&Like>,
    ) -> PyResult<Dataset> {
        let stop = Stop::default();
        let options = OpenOptions {
            cache_dir: cache,
            ..options(&settings, like, &stop)?
        };
        let log = quiet(py, &stop, || {
            beside_runs(like, || EventLog::open_table(name, table, &options))
        })?;
        let store = log.store().map(|store| store.display().to_string());
        let holds = |(name, _): &(String, String)| OF_CONVERTED.contains(&name.as_str());
        let data = ("data".to_owned(), store.unwrap_or_default());
        Ok(Dataset {
            log: Arc::new(log),
            settings: [data]
                .into_iter()
                .chain(settings.into_iter().filter(holds))
                .collect(),
        })
    }
}

#[pymethods]
impl Dataset {
    /// A file, a folder, a data set's name; `like`, here and below, says how the stream was read that it is a part of.
    #[staticmethod]
    #[pyo3(signature = (data, settings, like=None))]
    fn open(
        py: Python<'_>,
        data: String,
        settings: Settings,
        like: Option<&Bound<'_, Like>>,
    ) -> PyResult<Dataset> {
        let stop = Stop::default();
        let like = like.map(Bound::get);
        let options = options(&settings, like, &stop)?;
        let log = quiet(py, &stop, || {
            beside_runs(like, || EventLog::open(&data, &options))
        })?;
        let data = ("data".to_owned(), data);
        Ok(Dataset {
            log: Arc::new(log),
            settings: [data].into_iter().chain(settings).collect(),
        })
    }

    /// Columns.
    #[staticmethod]
    #[pyo3(signature = (name, columns, settings, cache=None, like=None))]
    fn of_columns(
        py: Python<'_>,
        name: &str,
        columns: Vec<Given<'_>>,
        settings: Settings,
        cache: Option<PathBuf>,
        like: Option<&Bound<'_, Like>>,
    ) -> PyResult<Dataset> {
        let table = columns.iter().map(column).collect::<PyResult<Vec<_>>>()?;
        Dataset::of_table(py, name, &table, settings, cache, like.map(Bound::get))
    }

    /// What has Arrow's C stream.
    #[staticmethod]
    #[pyo3(signature = (name, table, settings, cache=None, like=None))]
    fn of_arrow(
        py: Python<'_>,
        name: &str,
        table: &Bound<'_, PyAny>,
        settings: Settings,
        cache: Option<PathBuf>,
        like: Option<&Bound<'_, Like>>,
    ) -> PyResult<Dataset> {
        let columns = options(&settings, None, &Stop::default())?.reading.columns;
        let table = arrow::read(name, table, |name| columns.may_read(name))?;
        Dataset::of_table(py, name, &table, settings, cache, like.map(Bound::get))
    }

    #[getter]
    fn name(&self) -> &str {
        self.log.name()
    }

    #[getter]
    fn events(&self) -> usize {
        self.log.events()
    }

    #[getter]
    fn nodes(&self) -> usize {
        self.log.nodes()
    }

    #[getter]
    fn hash(&self) -> &str {
        self.log.hash()
    }

    #[getter]
    fn notes(&self) -> Vec<String> {
        (self.log.notes().iter())
            .map(|note| in_keywords(note))
            .collect()
    }

    /// Its figures as JSON.
    fn info(&self, py: Python<'_>) -> PyResult<String> {
        let log = self.log.clone();
        let info = move || serde_json::to_string(&Info::of(&log));
        detached(py, || beside_runs(None, info))?.map_err(raised)
    }
}
