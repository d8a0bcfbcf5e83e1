//! What `score`, `top-k`, `embed` and `update` share: the run that is asked, its stream, tables in and
//! out.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use mspipe::device::DeviceChoice;
use mspipe::numbers::whole;
use mspipe::session::predict::{LoadOptions, Predictor, Side};
use mspipe::{console, interrupt};
use mspipe_datasets::asked::{self, AskedOptions, Cells, ColumnKind, TableFormat, TableWriter};
use mspipe_datasets::reading::{ColumnChoice, TimeUnit};
use mspipe_datasets::whole_file::{self, Existing, WholeFile};
use mspipe_datasets::{Reading, reading};

/// What stands for standard input and output.
pub(super) const STANDARD: &str = "-";

/// What is asked, and where.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Folder of a run that has ended, or a state (state.safetensors of a run, what update or export
    /// --self-contained wrote)
    #[arg(value_name = "RUN|STATE", value_hint = ValueHint::AnyPath)]
    run: PathBuf,

    /// Where the run's stream is, if it was moved; a self-contained state needs none
    #[arg(long, value_name = "PATH|NAME", value_hint = ValueHint::AnyPath)]
    data: Option<String>,

    /// Device: auto, cpu, gpu, gpu:N, software or software:N [default: that of the run]
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceChoice>,

    /// Threads of the CPU, the device's and the sampler's [default: all cores]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1024))]
    threads: Option<usize>,
}

impl Asked {
    /// How it is loaded.
    pub(super) fn options(&self) -> LoadOptions {
        LoadOptions {
            device: self.device.map(Into::into),
            data: self.data.clone(),
            threads: self.threads,
            stop: interrupt::stop(),
            ..LoadOptions::default()
        }
    }

    /// The run's folder, or the state.
    #[cfg(feature = "serve")]
    pub(super) fn path(&self) -> &Path {
        &self.run
    }

    /// Loads it.
    pub(super) fn open(&self) -> anyhow::Result<Predictor> {
        Ok(Predictor::load_with(&self.run, &self.options())?)
    }
}

/// How a table that is read names its columns.
#[derive(Debug, Args)]
pub(super) struct NamedColumns {
    /// Which column holds what, by name or by number from 1 on: src=…,dst=…,time=… [default: as the run
    /// was trained, where columns have these names, else as names say]
    #[arg(long, value_name = "ROLE=COLUMN,…")]
    columns: Option<ColumnChoice>,

    /// The first line is a row and no header
    #[arg(long)]
    no_header: bool,
}

/// The same of a table with times.
#[derive(Debug, Args)]
pub(super) struct Columns {
    #[command(flatten)]
    named: NamedColumns,

    /// What times that are numbers count: s, ms, us or ns [default: as the run's stream]
    #[arg(long, value_name = "UNIT")]
    time_unit: Option<TimeUnit>,
}

impl NamedColumns {
    /// How a table of what is asked of `predictor` is read.
    fn reading(&self, predictor: &Predictor) -> Reading {
        let of_run = &predictor.config().stream.reading;
        Reading {
            columns: self.columns.clone().unwrap_or_default(),
            no_header: self.no_header,
            ids: match predictor.ids_are_text() {
                true => reading::IdKind::Text,
                false => reading::IdKind::Number,
            },
            bipartite: match predictor.has_two_kinds() {
                true => reading::Bipartite::Yes,
                false => reading::Bipartite::No,
            },
            time_unit: of_run.time_unit,
            missing: of_run.missing,
            like: Some(Box::new(predictor.like())),
        }
    }

    /// The same for nodes.
    pub(super) fn asked(&self, predictor: &Predictor) -> AskedOptions {
        asked(predictor, self.reading(predictor))
    }
}

impl Columns {
    fn reading(&self, predictor: &Predictor) -> Reading {
        let reading = self.named.reading(predictor);
        Reading {
            time_unit: self.time_unit.unwrap_or(reading.time_unit),
            ..reading
        }
    }

    /// How a table of events that `predictor` is to follow is read.
    pub(super) fn events(&self, predictor: &Predictor) -> Reading {
        let mut reading = self.reading(predictor);
        if let (Some(like), None) = (&mut reading.like, &self.named.columns) {
            like.no_header = predictor.config().stream.reading.no_header;
        }
        reading
    }

    /// The same for pairs.
    pub(super) fn asked(&self, predictor: &Predictor) -> AskedOptions {
        asked(predictor, self.reading(predictor))
    }
}

/// How tables of what is asked of `predictor` are read.
fn asked(predictor: &Predictor, reading: Reading) -> AskedOptions {
    AskedOptions {
        text_ids: predictor.ids_are_text(),
        ticks_per_unit: predictor.ticks_per_unit(),
        reading,
        stop: interrupt::stop(),
    }
}

/// Tells of a first line that was taken for the names of columns, if nodes are called so.
pub(super) fn note_header(predictor: &Predictor, rows: &asked::Asked) {
    let is_known = |name: &String| {
        let key = asked::key(name, predictor.ids_are_text());
        let known = |side| {
            key.as_ref()
                .is_some_and(|key| predictor.knows(key, side).unwrap_or(false))
        };
        known(Side::Source) || known(Side::Destination)
    };
    if !rows.header.is_empty() && rows.header.iter().all(is_known) {
        console::note(format!(
            "note: {}: the first line ({}) is taken for the names of columns, and there are nodes that are called so; \
             if it is a row: --no-header",
            rows.path.display(),
            rows.header.join(",")
        ));
    }
}

/// Tells of a time that is further after the last event than the stream is long.
pub(super) fn note_ahead(predictor: &Predictor, what: &str, time: i64) {
    if let Some(note) = predictor.far_ahead(time) {
        console::note(format!("note: {what}: {note}"));
    }
}

/// So many of `what`, whose plural ends with an s.
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// When is asked for: `at`, else just after the last event.
pub(super) fn when(predictor: &Predictor, at: Option<&str>) -> anyhow::Result<i64> {
    let Some(at) = at else {
        return Ok(now(predictor));
    };
    let time = time(predictor, "--at", at)?;
    note_ahead(predictor, &format!("--at {at}"), time);
    Ok(time)
}

/// The time that an option names, in ticks.
pub(super) fn time(predictor: &Predictor, option: &str, text: &str) -> anyhow::Result<i64> {
    match predictor.ticks(text) {
        Ok(ticks) => Ok(ticks),
        Err(expected) => bail!("{option} {text}: expected {expected}"),
    }
}

/// A time just after the last event, so that all events are in its past.
pub(super) fn now(predictor: &Predictor) -> i64 {
    predictor.last().map_or(0, |last| last.saturating_add(1))
}

/// The format of the table that `option` writes to the file `path`, by its ending; refused before
/// anything is computed if the ending is another one, or `existing` keeps what is there.
pub(super) fn table_format(
    option: &str,
    path: &Path,
    existing: Existing,
) -> anyhow::Result<TableFormat> {
    let Some(format) = TableFormat::of(path) else {
        bail!(
            "{option} {}: the extension selects the format; .csv and .parquet are known",
            path.display()
        );
    };
    whole_file::check(path, existing)?;
    Ok(format)
}

/// Where a table goes.
pub(super) struct Output {
    path: PathBuf,
    format: TableFormat,
    existing: Existing,
}

impl Output {
    /// `path` as [`table_format`] has it, or `-` for text on standard output. A file that exists is
    /// replaced only with `force`.
    pub(super) fn checked(option: &str, path: &Path, force: bool) -> anyhow::Result<Output> {
        let existing = Existing::forced(force);
        let format = match path == Path::new(STANDARD) {
            true => TableFormat::Csv,
            false => table_format(option, path, existing)?,
        };
        Ok(Output {
            path: path.to_owned(),
            format,
            existing,
        })
    }

    /// Writes a table, which appears when it is whole.
    pub(super) fn write(
        &self,
        columns: Vec<(String, ColumnKind)>,
        cells: &[Cells<'_>],
    ) -> anyhow::Result<()> {
        if self.path == Path::new(STANDARD) {
            let mut table = TableWriter::new(Vec::new(), self.format, columns)?;
            table.rows(cells)?;
            let text = table.finish()?;
            return Ok(console::product(String::from_utf8_lossy(&text))?);
        }
        let shown = || format!("{}: can't be written", self.path.display());
        let file = WholeFile::create(&self.path, self.existing)?;
        let mut table = TableWriter::new(file, self.format, columns).with_context(shown)?;
        table.rows(cells).with_context(shown)?;
        table.finish().with_context(shown)?.commit()?;
        Ok(())
    }

    /// Whether it is standard output.
    pub(super) fn is_standard(&self) -> bool {
        self.path == Path::new(STANDARD)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
