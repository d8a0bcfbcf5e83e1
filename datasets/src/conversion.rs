//! Converts files of events and features into a store.
//!
//! Finds what belongs to a source (TGL folders bring their labels and features
//! along), runs its reader into an [`Intake`], adds separate feature files and
//! finishes the store. Nothing is left behind when it fails.

use std::path::{Path, PathBuf};

use crate::detect::{Format, detect, text_head};
use crate::error::DataError;
use crate::event_log::{EventLog, IdSpaces};
use crate::features::FeatureType;
use crate::intake::{Defects, Ids, Intake, Observed, copy_rows};
use crate::npy::NpyReader;
use crate::open::OpenOptions;
use crate::progress::Progress;
use crate::store::{FeatureShape, StoreWriter, Stream};
use crate::{jodie_csv, snap_text, tgl_csv};

/// Files that make up one stream.
#[derive(Debug, Clone)]
pub(crate) struct RawSource {
    pub(crate) name: String,
    /// The path as it was given.
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) events: PathBuf,
    pub(crate) labels: Option<PathBuf>,
    pub(crate) edge_features: Option<PathBuf>,
    pub(crate) node_features: Option<PathBuf>,
}

/// A store made from files.
pub(crate) struct Converted {
    pub(crate) log: EventLog,
    pub(crate) observed: Observed,
    /// What a user should know about the conversion.
    pub(crate) notes: Vec<String>,
}

impl RawSource {
    /// Works out the format and the files of `path` (a file, or a TGL folder).
    pub(crate) fn locate(
        name: &str,
        path: &Path,
        options: &OpenOptions,
    ) -> Result<RawSource, DataError> {
        let mut source = RawSource {
            name: name.to_owned(),
            path: path.to_path_buf(),
            format: Format::TglCsv,
            events: path.to_path_buf(),
            labels: None,
            edge_features: options.edge_features.clone(),
            node_features: options.node_features.clone(),
        };
        if path.is_dir() {
            source.adopt_folder(path, options)?;
        } else {
            text_head(path)?;
            source.format = options.format.map_or_else(|| detect(path), Ok)?;
        }
        Ok(source)
    }

    fn adopt_folder(&mut self, folder: &Path, options: &OpenOptions) -> Result<(), DataError> {
        self.events = folder.join("edges.csv");
        if !self.events.is_file() {
            return Err(DataError::Format {
                path: folder.to_path_buf(),
                found: "a folder with neither meta.json (a store of mspipe) nor edges.csv (TGL's layout)".to_owned(),
                remedy: "name the event file itself".to_owned(),
            });
        }
        if let Some(other) = options.format.filter(|&f| f != Format::TglCsv) {
            return Err(DataError::Option(format!(
                "{}: a folder is read as TGL's layout, not as {}; name the event file itself",
                folder.display(),
                other.name()
            )));
        }
        self.labels = Some(folder.join("labels.csv")).filter(|path| path.is_file());
        for (table, given) in [
            ("edge_features", &mut self.edge_features),
            ("node_features", &mut self.node_features),
        ] {
            if given.is_some() {
                continue;
            }
            *given = Some(folder.join(format!("{table}.npy"))).filter(|path| path.is_file());
            let torch = folder.join(format!("{table}.pt"));
            if given.is_none() && torch.is_file() {
                return Err(DataError::Format {
                    path: torch,
                    found: "a PyTorch file, which is not read".to_owned(),
                    remedy: format!(
                        "convert it once: python -c \"import torch, numpy; numpy.save('{table}.npy', torch.load('{table}.pt').numpy())\", \
                         or move it out of the folder to read the stream without these features"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Every file that the store depends on.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [
            Some(&self.events),
            self.labels.as_ref(),
            self.edge_features.as_ref(),
            self.node_features.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
    }

    /// Reads everything into a new store at `target`.
    pub(crate) fn convert(&self, defects: Defects, target: &Path) -> Result<Converted, DataError> {
        let parent = target
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(DataError::io("create the folder", parent))?;
        let staging = tempfile::Builder::new()
            .prefix(".staging-")
            .tempdir_in(parent)
            .map_err(DataError::io("create a temporary folder in", parent))?;
        let mut edge_features = self
            .edge_features
            .as_deref()
            .map(NpyReader::open)
            .transpose()?;
        let mut node_features = self
            .node_features
            .as_deref()
            .map(NpyReader::open)
            .transpose()?;
        let mut notes = Vec::new();

        let ids = match (&node_features, self.format) {
            (_, Format::JodieCsv) => Ids::Two,
            (Some(table), _) => Ids::Rows(table.rows()),
            (None, _) => Ids::One,
        };
        let mut intake = Intake::new(
            &self.events,
            defects,
            ids,
            edge_features.is_some(),
            staging.path(),
        )?;
        match self.format {
            Format::JodieCsv => jodie_csv::read(&self.events, &mut intake)?,
            Format::SnapText => snap_text::read(&self.events, &mut intake)?,
            Format::TglCsv => {
                tgl_csv::read(&self.events, self.usable_labels(&mut notes)?, &mut intake)?
            }
        }
        let mut taken = intake.finish(target)?;
        if defects == Defects::Sort && taken.observed.unsorted > 0 {
            notes.push(format!(
                "events that came after a later one: {}; all events were sorted by time",
                taken.observed.unsorted
            ));
        }

        if let Some(table) = &mut edge_features {
            let order = taken.order.as_deref();
            self.add_edge_features(
                table,
                staging.path(),
                &mut taken.writer,
                order,
                defects,
                &mut taken.observed,
            )?;
        }
        if let Some(table) = &mut node_features {
            check_node_rows(
                table,
                &taken.id_spaces,
                taken.nodes,
                self.node_features.as_deref().unwrap_or(&self.path),
            )?;
            let mut file = taken.writer.node_features(shape(table))?;
            let path = self.node_features.as_deref().unwrap_or(&self.path);
            copy_npy(table, path, defects, &mut taken.observed, |bytes| {
                file.write_rows(bytes)
            })?;
            file.close()?;
        }
        let log = taken.writer.finish(Stream {
            name: self.name.clone(),
            origin: self.path.display().to_string(),
            synthetic: false,
            nodes: taken.nodes,
            ticks_per_unit: taken.ticks_per_unit,
            id_spaces: taken.id_spaces,
        })?;
        Ok(Converted {
            log,
            observed: taken.observed,
            notes,
        })
    }

    fn usable_labels(&self, notes: &mut Vec<String>) -> Result<Option<&Path>, DataError> {
        let Some(labels) = self.labels.as_deref() else {
            return Ok(None);
        };
        match tgl_csv::labels_fit(&self.events, labels)? {
            Ok(()) => Ok(Some(labels)),
            Err(why) => {
                notes.push(format!("{} was left out: {why}", labels.display()));
                Ok(None)
            }
        }
    }

    fn add_edge_features(
        &self,
        table: &mut NpyReader,
        staging: &Path,
        writer: &mut StoreWriter,
        order: Option<&[u32]>,
        defects: Defects,
        observed: &mut Observed,
    ) -> Result<(), DataError> {
        let path = self.edge_features.as_deref().unwrap_or(&self.path);
        if table.rows() != writer.count() {
            return Err(DataError::npy(
                path,
                format!(
                    "{} rows found, {} expected, one for each event of {}; give the features of this very file",
                    table.rows(),
                    writer.count(),
                    self.events.display()
                ),
            ));
        }
        let rows = table.rows();
        let mut file = writer.edge_features(shape(table))?;
        if order.is_none() {
            copy_npy(table, path, defects, observed, |bytes| {
                file.write_rows(bytes)
            })?;
            return file.close().map(drop);
        }
        let staged = staging.join("separate-features");
        let mut out = std::fs::File::create(&staged).map_err(DataError::io("create", &staged))?;
        copy_npy(table, path, defects, observed, |bytes| {
            std::io::Write::write_all(&mut out, bytes).map_err(DataError::io("write", &staged))
        })?;
        drop(out);
        copy_rows(&staged, rows, file, order)
    }
}

fn shape(table: &NpyReader) -> FeatureShape {
    FeatureShape {
        feature_type: table.feature_type(),
        width: table.width(),
    }
}

/// Node features of a stream with two id spaces belong to users, then items.
fn check_node_rows(
    table: &NpyReader,
    id_spaces: &IdSpaces,
    nodes: usize,
    path: &Path,
) -> Result<(), DataError> {
    if table.rows() == nodes {
        return Ok(());
    }
    let whose = match id_spaces {
        IdSpaces::Two { sources } => format!(
            "{sources} users, then {} items, each in ascending order of their ids",
            nodes - sources
        ),
        IdSpaces::One => "one for each node".to_owned(),
    };
    Err(DataError::npy(
        path,
        format!("{} rows found, {nodes} expected: {whose}", table.rows()),
    ))
}

/// Passes all rows on as stored bytes, looking for values that are not finite.
fn copy_npy(
    table: &mut NpyReader,
    path: &Path,
    defects: Defects,
    observed: &mut Observed,
    mut write: impl FnMut(&[u8]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let width = table.width();
    let row_bytes = shape(table).row_bytes().max(1);
    let piece_rows = (1 << 22) / row_bytes + 1;
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let mut progress =
        Progress::bytes(format!("reading {name}"), (table.rows() * row_bytes) as u64);
    let mut bytes = Vec::new();
    let mut first_row = 0;
    loop {
        bytes.clear();
        let rows = table.read_rows(piece_rows, &mut bytes)?;
        if rows == 0 {
            return Ok(());
        }
        for at in not_finite(table.feature_type(), &bytes) {
            let problem = format!(
                "row {}, column {} is not finite (NaN or infinite, or too large for f32); correct the value",
                first_row + at / width,
                at % width
            );
            if defects != Defects::Record {
                return Err(DataError::npy(path, problem));
            }
            observed.not_finite += 1;
            observed
                .first_not_finite
                .get_or_insert_with(|| format!("{}: {problem}", path.display()));
        }
        write(&bytes)?;
        progress.advance(bytes.len() as u64);
        first_row += rows;
    }
}

/// Positions of values that are not finite: all exponent bits set.
fn not_finite(feature_type: FeatureType, bytes: &[u8]) -> Vec<usize> {
    let positions =
        |bad: &dyn Fn(usize) -> bool, count: usize| (0..count).filter(|&i| bad(i)).collect();
    match feature_type {
        FeatureType::Bits => Vec::new(),
        FeatureType::F32 => {
            let values = bytes.as_chunks::<4>().0;
            positions(
                &|i| !f32::from_le_bytes(values[i]).is_finite(),
                values.len(),
            )
        }
        FeatureType::F16 => {
            let values = bytes.as_chunks::<2>().0;
            positions(
                &|i| !half::f16::from_le_bytes(values[i]).is_finite(),
                values.len(),
            )
        }
    }
}
