//! Finds the files that make up a stream.
//!
//! A source is a file (also packed), or a folder in the layout of TGL
//! (`edges.csv`), DyGLib and TGN (`ml_NAME.csv`) or GDELT (`*.export.CSV`).
//! Folders bring their labels and features along. Where two layouts or two
//! feature files fit equally, nothing is guessed: the error names both.

use std::io;
use std::path::{Path, PathBuf};

use crate::arrays::ArrayFile;
use crate::error::DataError;
use crate::files::input_file::{InputFile, STDIN};
use crate::files::packed::{self, TextFile, Unpacking, is_torch_pickle, is_zip, without_packing};
use crate::formats::detect::{detect, text_head};
use crate::formats::format::Format;
use crate::import::options::{EDGE_FEATURE_FILE, NODE_FEATURE_FILE, OpenOptions};
use crate::schema::reading::Reading;
use crate::stop::Stop;

/// Files that make up one stream.
#[derive(Debug, Clone)]
pub(crate) struct RawSource {
    pub(crate) name: String,
    /// The path as it was given.
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    /// One file; of GDELT and Parquet any number, in the order of their names.
    pub(crate) events: Vec<TextFile>,
    pub(crate) labels: Option<TextFile>,
    pub(crate) edge_features: Option<ArrayFile>,
    pub(crate) node_features: Option<ArrayFile>,
    pub(crate) reading: Reading,
    /// Ends a conversion early.
    pub(crate) stop: Stop,
}

/// How the files of a source are opened.
struct Opener<'a> {
    options: &'a OpenOptions,
    /// Where copies go of what can be read only once.
    room: &'a Path,
}

impl Opener<'_> {
    fn file(&self, path: &Path) -> Result<InputFile, DataError> {
        InputFile::of(path, self.room, &self.options.stop)
    }

    fn unpacking(&self) -> Unpacking {
        self.options
            .unpack_ratio
            .map_or(Unpacking::default(), |ratio| Unpacking { ratio })
    }

    fn one(&self, file: &InputFile) -> Result<TextFile, DataError> {
        TextFile::one(file, self.unpacking())
    }

    fn all(&self, file: &InputFile) -> Result<Vec<TextFile>, DataError> {
        TextFile::all(file, self.unpacking())
    }

    /// The array that an option names, if it names one.
    fn array(&self, option: &str, path: &Option<PathBuf>) -> Result<Option<ArrayFile>, DataError> {
        let of = |path| match ArrayFile::of(path, self.room, &self.options.stop) {
            Err(DataError::Io { path, error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Err(DataError::array(
                    &path,
                    format!(
                        "there is no such file; check the path, which counts from the current folder (a run \
                         whose file was moved, or that is used from another folder, takes {option} FILE)"
                    ),
                ))
            }
            array => array,
        };
        path.as_deref().map(of).transpose()
    }
}

impl RawSource {
    /// Works out the format and the files of `path`. What can be read only once is copied into a
    /// temporary folder in `room`.
    pub(crate) fn locate(
        name: &str,
        path: &Path,
        options: &OpenOptions,
        room: &Path,
    ) -> Result<RawSource, DataError> {
        let given = [
            Some(path),
            options.edge_features.as_deref(),
            options.node_features.as_deref(),
        ];
        if given
            .into_iter()
            .flatten()
            .filter(|path| *path == Path::new(STDIN))
            .count()
            > 1
        {
            return Err(DataError::Option(
                "`-` stands twice for standard input, which gives its bytes once: name all files but one".to_owned(),
            ));
        }
        let opener = Opener { options, room };
        let (format, events) = if path.is_dir() && path != Path::new(STDIN) {
            opener.folder_events(path)?
        } else {
            opener.file_events(path)?
        };
        let mut source = RawSource {
            name: name.to_owned(),
            path: match path == Path::new(STDIN) {
                true => PathBuf::from("stdin"),
                false => path.to_path_buf(),
            },
            format,
            events,
            labels: None,
            edge_features: opener.array(EDGE_FEATURE_FILE, &options.edge_features)?,
            node_features: opener.array(NODE_FEATURE_FILE, &options.node_features)?,
            reading: options.reading.clone(),
            stop: options.stop.clone(),
        };
        match format {
            Format::TglCsv if path.is_dir() => source.adopt_tgl_folder(&opener)?,
            Format::DgbCsv => source.adopt_dgb_features(),
            Format::Parquet if options.reading.no_header => {
                return Err(DataError::Option(
                    "--no-header: columns of Parquet files have names; leave it out".to_owned(),
                ));
            }
            Format::Gdelt => {
                if let Some(option) = options.reading.given() {
                    return Err(DataError::Option(format!(
                        "{option}: {}: columns of raw GDELT files are fixed; leave it out",
                        path.display()
                    )));
                }
                for (given, option) in [
                    (&source.edge_features, EDGE_FEATURE_FILE),
                    (&source.node_features, NODE_FEATURE_FILE),
                ] {
                    if given.is_some() {
                        return Err(DataError::Option(format!(
                            "{option}: raw GDELT files bring their own features, and rows are dropped, so that positions mean nothing; leave it out"
                        )));
                    }
                }
            }
            _ => {}
        }
        Ok(source)
    }

    /// A table that lies in memory, written to the Parquet file `file`.
    pub(crate) fn of_table(
        name: &str,
        file: &InputFile,
        options: &OpenOptions,
    ) -> Result<RawSource, DataError> {
        if options.format.is_some() || options.reading.no_header {
            return Err(DataError::Option(format!(
                "--format and --no-header are for files; {name} has columns with names, leave them out"
            )));
        }
        let room = options.cache_folder()?;
        let opener = Opener {
            options,
            room: &room,
        };
        Ok(RawSource {
            name: name.to_owned(),
            path: PathBuf::from(name),
            format: Format::Parquet,
            events: opener.all(file)?,
            labels: None,
            edge_features: opener.array(EDGE_FEATURE_FILE, &options.edge_features)?,
            node_features: opener.array(NODE_FEATURE_FILE, &options.node_features)?,
            reading: options.reading.clone(),
            stop: options.stop.clone(),
        })
    }

    /// The first event file: what messages about the whole stream name.
    pub(crate) fn event_path(&self) -> &Path {
        self.events.first().map_or(&self.path, |text| &text.shown)
    }

    fn adopt_tgl_folder(&mut self, opener: &Opener<'_>) -> Result<(), DataError> {
        self.labels = opener.text_in(&self.path, "labels.csv")?;
        for (table, option, given) in [
            ("edge_features", EDGE_FEATURE_FILE, &mut self.edge_features),
            ("node_features", NODE_FEATURE_FILE, &mut self.node_features),
        ] {
            if given.is_some() {
                continue;
            }
            let mut there: Vec<PathBuf> = ["npy", "npz", "pt"]
                .iter()
                .map(|ending| self.path.join(format!("{table}.{ending}")))
                .filter(|path| path.is_file())
                .collect();
            if there.len() > 1 {
                return Err(DataError::format(
                    &self.path,
                    format!("both {} and {}", there[0].display(), there[1].display()),
                    format!(
                        "say which one is meant with {option} FILE, or move one out of the folder"
                    ),
                ));
            }
            *given = there.pop().map(|path| ArrayFile::on_disk(&path));
        }
        Ok(())
    }

    /// `ml_NAME.npy` and `ml_NAME_node.npy` beside `ml_NAME.csv`.
    fn adopt_dgb_features(&mut self) {
        let Some(events) = self.events.first() else {
            return;
        };
        let name = events.file_name();
        let stem = name.strip_suffix(".csv").unwrap_or(&name);
        for (suffix, given) in [
            ("", &mut self.edge_features),
            ("_node", &mut self.node_features),
        ] {
            let beside = events
                .file
                .shown()
                .with_file_name(format!("{stem}{suffix}.npy"));
            if given.is_none() && beside.is_file() {
                *given = Some(ArrayFile::on_disk(&beside));
            }
        }
    }

    /// Every file that the store depends on.
    pub(crate) fn files(&self) -> Vec<&InputFile> {
        let features = [&self.edge_features, &self.node_features];
        let mut files: Vec<&InputFile> = (self.events.iter().chain(&self.labels))
            .map(|text| &text.file)
            .chain(features.into_iter().flatten().map(|array| &array.file))
            .collect();
        // Texts of one archive stand side by side.
        files.dedup_by_key(|file| file.shown());
        files
    }

    /// What all files are like at the moment; another answer means that one was changed.
    pub(crate) fn state(&self) -> Result<Vec<(PathBuf, String)>, DataError> {
        let state = |file: &InputFile| Ok((file.shown().to_path_buf(), file.state()?));
        self.files().into_iter().map(state).collect()
    }
}

impl Opener<'_> {
    /// Format and event files of a file.
    fn file_events(&self, path: &Path) -> Result<(Format, Vec<TextFile>), DataError> {
        let format = self.options.format;
        let file = self.file(path)?;
        let start = packed::magic(&file)?;
        if start.starts_with(b"PAR1") {
            if let Some(other) = format.filter(|&format| format != Format::Parquet) {
                return Err(DataError::Option(format!(
                    "--format {}: {} is a Parquet file; leave the option out",
                    other.name(),
                    path.display()
                )));
            }
            return Ok((Format::Parquet, self.all(&file)?));
        }
        if is_zip(&start) {
            let entries = packed::entries(&file)?;
            let array = |name: &str| name.ends_with(".npy") || is_torch_pickle(name);
            if entries.iter().any(|entry| array(&entry.name)) {
                return Err(DataError::format(
                    path,
                    "arrays (.npz or PyTorch's .pt), not events",
                    "give the event file, and this one with --edge-feature-file or --node-feature-file",
                ));
            }
        }
        let all = self.all(&file)?;
        let many = !all.is_empty() && all.iter().all(|text| is_gdelt_name(&text.file_name()));
        let events = match many || format == Some(Format::Gdelt) {
            true => all,
            false => vec![self.one(&file)?],
        };
        let head = events
            .first()
            .map(text_head)
            .transpose()?
            .unwrap_or_default();
        let format = format.map_or_else(|| detect(path, &head, &self.options.reading), Ok)?;
        Ok((format, events))
    }

    /// Layout and event files of a folder.
    fn folder_events(&self, folder: &Path) -> Result<(Format, Vec<TextFile>), DataError> {
        let format = self.options.format;
        let mut names = Vec::new();
        let list = std::fs::read_dir(folder).map_err(DataError::io("list the folder", folder))?;
        for entry in list {
            let entry = entry.map_err(DataError::io("list the folder", folder))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        let dgb: Vec<&String> = names
            .iter()
            .filter(|name| name.starts_with("ml_") && without_packing(name).ends_with(".csv"))
            .collect();
        let gdelt: Vec<&String> = (names.iter().filter(|name| is_gdelt_name(name))).collect();
        let parts: Vec<&String> = (names.iter())
            .filter(|name| {
                name.to_ascii_lowercase().ends_with(".parquet") && !name.starts_with(['.', '_'])
            })
            .collect();
        let edges = self.text_in(folder, "edges.csv")?;
        let fits = [
            (Format::TglCsv, edges.is_some(), "edges.csv, TGL's layout"),
            (
                Format::DgbCsv,
                !dgb.is_empty(),
                "ml_*.csv, DyGLib's and TGN's layout",
            ),
            (
                Format::Gdelt,
                !gdelt.is_empty(),
                "*.export.CSV, raw GDELT files",
            ),
            (
                Format::Parquet,
                !parts.is_empty(),
                "*.parquet, the parts of one stream",
            ),
        ];
        let layout = only_layout(folder, format, &fits)?;
        let events = match layout {
            Format::DgbCsv => {
                if let [one, other, ..] = dgb.as_slice() {
                    return Err(DataError::format(
                        folder,
                        format!("both {one} and {other}"),
                        "name the event file itself; its features are found beside it",
                    ));
                }
                dgb.first()
                    .map(|name| self.one(&self.file(&folder.join(name))?))
                    .transpose()?
                    .into_iter()
                    .collect()
            }
            Format::Gdelt => self.gdelt_files(folder, &gdelt)?,
            // In the order of their names, which is sorted already.
            Format::Parquet => (parts.iter())
                .map(|name| self.one(&self.file(&folder.join(name))?))
                .collect::<Result<_, _>>()?,
            _ => edges.into_iter().collect(),
        };
        Ok((layout, events))
    }

    /// All event files of a folder, each plain or packed, in the order of their names.
    fn gdelt_files(&self, folder: &Path, names: &[&String]) -> Result<Vec<TextFile>, DataError> {
        let mut files = Vec::new();
        for name in names {
            files.extend(self.all(&self.file(&folder.join(name))?)?);
        }
        files.sort_by_key(TextFile::file_name);
        if let Some(twice) =
            (files.windows(2)).find(|pair| pair[0].file_name() == pair[1].file_name())
        {
            return Err(DataError::format(
                folder,
                format!(
                    "{} and {} are the same file",
                    twice[0].shown.display(),
                    twice[1].shown.display()
                ),
                "remove one of them, or its events would count twice",
            ));
        }
        Ok(files)
    }

    /// A text of this name in a folder, plain or packed.
    fn text_in(&self, folder: &Path, name: &str) -> Result<Option<TextFile>, DataError> {
        ["", ".gz", ".bz2", ".xz", ".zst", ".zip"]
            .iter()
            .map(|ending| folder.join(format!("{name}{ending}")))
            .find(|path| path.is_file())
            .map(|path| self.one(&InputFile::on_disk(&path)))
            .transpose()
    }
}

/// The one layout that fits, of layouts with whether their files are there and what these are.
fn only_layout(
    folder: &Path,
    format: Option<Format>,
    fits: &[(Format, bool, &str)],
) -> Result<Format, DataError> {
    let found: Vec<(Format, &str)> = fits
        .iter()
        .filter(|(layout, there, _)| *there && format.is_none_or(|format| format == *layout))
        .map(|(layout, _, what)| (*layout, *what))
        .collect();
    match found.as_slice() {
        [(layout, _)] => Ok(*layout),
        [] => Err(no_layout(folder, format)),
        [(one, first), (other, second), ..] => Err(DataError::format(
            folder,
            format!("two layouts fit: {first}, and {second}"),
            format!(
                "choose with --format {} or --format {}",
                one.name(),
                other.name()
            ),
        )),
    }
}

fn no_layout(folder: &Path, format: Option<Format>) -> DataError {
    if let Some(format) = format {
        return DataError::Option(format!(
            "--format {}: the folder {} has no such files; a folder is read as tgl (edges.csv), dgb (ml_*.csv), gdelt (*.export.CSV) or parquet (*.parquet), \
             for anything else name the event file itself",
            format.name(),
            folder.display()
        ));
    }
    DataError::format(
        folder,
        "a folder with neither meta.json (a store of mspipe) nor edges.csv (TGL's layout), ml_*.csv (DyGLib's), *.export.CSV (GDELT's) or *.parquet (parts of one stream)",
        "name the event file itself",
    )
}

fn is_gdelt_name(name: &str) -> bool {
    without_packing(&name.to_ascii_lowercase()).ends_with(".export.csv")
}
