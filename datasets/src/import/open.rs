//! From a name to an open event log, converting at most once.
//!
//! A source is, in this order: `synthetic:…`, the name of a data set with a
//! manifest, `-` for standard input, a store's folder, a folder of TGL, DyGLib or GDELT, a file. (A file called like a data
//! set is reached as `./wikipedia`.) Files are converted into the cache under a
//! key made of the options (how columns are read too), the readers' version and what tells a
//! file from others and from itself with another content (see `InputFile::identity`), so that
//! a changed file is converted again. A store of the cache that is damaged or of an earlier version
//! is made again, with a note. Other conversions are not removed ([`crate::store::cache`]
//! lists and removes them); the cache folder can be deleted at any time.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::arrays::ArrayFile;
use crate::error::DataError;
use crate::files::checksum::hex;
use crate::files::input_file::STDIN;
use crate::files::scratch;
use crate::formats::format::Format;
use crate::import::options::OpenOptions;
use crate::import::source::RawSource;
use crate::manifest::Manifest;
use crate::schema::reading::Reading;
use crate::store::{self, STORE_EXTENSION};
use crate::stream::event_log::EventLog;
use crate::synthetic::SyntheticSpec;
use crate::whole_file;

/// Counts changes of what readers make of a file, so that older conversions are not used.
const READERS: u32 = 4;

/// What a name stands for.
pub(crate) enum Source {
    Store(PathBuf),
    Raw(Box<RawSource>),
    Synthetic(SyntheticSpec),
}

impl Source {
    /// Finds what `spec` names. What can be read only once is copied to where its store will be:
    /// `target`, or the cache.
    pub(crate) fn find(
        spec: &str,
        options: &OpenOptions,
        target: Option<&Path>,
    ) -> Result<Source, DataError> {
        let room = || match target {
            Some(target) => Ok(whole_file::parent(target).to_path_buf()),
            None => options.cache_folder(),
        };
        if spec.starts_with("synthetic:") {
            options.refuse_raw_options(spec, "generated")?;
            return Ok(Source::Synthetic(spec.parse()?));
        }
        if let Some(manifest) = Manifest::find(spec) {
            return manifest_source(manifest, options, &room()?);
        }
        let path = Path::new(spec);
        if spec == STDIN {
            let raw = RawSource::locate("stdin", path, options, &room()?)?;
            return Ok(Source::Raw(Box::new(raw)));
        }
        if store::is_store(path) {
            let mut options = options.clone();
            let reading = &mut options.reading;
            // It may be said how it was read: a run on a table in memory says so of its store.
            if !reading.is_default() && *reading == store::describe(path)?.reading {
                *reading = Reading::default();
            }
            options.refuse_raw_options(spec, "a converted store, which was not read so")?;
            return Ok(Source::Store(path.to_path_buf()));
        }
        if path.exists() {
            let name = path
                .file_stem()
                .unwrap_or(path.as_os_str())
                .to_string_lossy();
            let raw = RawSource::locate(&name, path, options, &room()?)?;
            return Ok(Source::Raw(Box::new(raw)));
        }
        Err(DataError::source(spec, unknown_name(spec)))
    }
}

/// A data set is its event file, or its folder where the layout is a folder.
fn manifest_source(
    manifest: &Manifest,
    options: &OpenOptions,
    room: &Path,
) -> Result<Source, DataError> {
    let data_folder = options.data_folder()?;
    let file = manifest.local_file(&data_folder);
    if !file.is_file() {
        let stand_in = match SyntheticSpec::names().any(|known| known == manifest.name) {
            true => format!(", or try synthetic:{}, which needs no file", manifest.name),
            false => String::new(),
        };
        return Err(DataError::source(
            &manifest.name,
            format!(
                "the data set is not here; expected {}: run `mspipe data fetch {}`, put the file there by hand, \
                 or set MSPIPE_DATA_DIR to the folder that holds {}{stand_in}",
                file.display(),
                manifest.name,
                Path::new(&manifest.name)
                    .join(file.file_name().unwrap_or_default())
                    .display()
            ),
        ));
    }
    let path = if manifest.format == Format::TglCsv.name() {
        manifest.folder(&data_folder)
    } else {
        file
    };
    let mut options = options.clone();
    if manifest.format == Format::TgbCsv.name() {
        // Its columns are known by their places.
        options.format = options.format.or(Some(Format::TgbCsv));
    }
    let raw = RawSource::locate(&manifest.name, &path, &options, room)?;
    Ok(Source::Raw(Box::new(raw)))
}

fn unknown_name(spec: &str) -> String {
    let mut names: Vec<String> = Manifest::all().iter().map(|m| m.name.clone()).collect();
    names.extend(SyntheticSpec::names().map(|name| format!("synthetic:{name}")));
    let lower = spec.to_lowercase();
    let mut near: Vec<(f64, &String)> = names
        .iter()
        .map(|name| (strsim::jaro_winkler(&lower, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let near: Vec<&str> = near.iter().take(3).map(|(_, name)| name.as_str()).collect();
    let looks_like_path = spec.contains(['/', '\\']) || Path::new(spec).extension().is_some();
    match (looks_like_path, near.is_empty()) {
        (true, _) => "there is no such file or folder; check the path, which counts from the current folder (a run \
                       that is used from another folder takes --data PATH)"
            .to_owned(),
        (false, false) => format!(
            "neither a file nor a known data set; did you mean {}?",
            near.join(" or ")
        ),
        (false, true) => format!(
            "neither a file nor a known data set; known are {}",
            names.join(", ")
        ),
    }
}

impl EventLog {
    /// Opens a stream: a file, a store folder, a folder of files, a data set's name (`wikipedia`), or
    /// `synthetic:NAME[:scale=X][:seed=N]`.
    ///
    /// Files are converted into the cache once (progress on stderr if it takes over a second on a
    /// terminal); afterwards opening is a memory map.
    ///
    /// # Errors
    /// Any [`DataError`]; the message says what to do.
    pub fn open(spec: &str, options: &OpenOptions) -> Result<EventLog, DataError> {
        let mut log = match Source::find(spec, options, None)? {
            Source::Store(path) => store::open(&path)?,
            Source::Raw(raw) => return open_raw(&raw, options),
            Source::Synthetic(synthetic) => {
                let target = options.cache_folder()?.join(synthetic.folder_name());
                cached(&target, || synthetic.generate(&target, &options.stop))?
            }
        };
        log.split_rule = options.split;
        Ok(log)
    }
}

/// The store of the cache that is made from `raw`.
pub(crate) fn open_raw(raw: &RawSource, options: &OpenOptions) -> Result<EventLog, DataError> {
    let target = cached_place(raw, options)?;
    let mut log = cached(&target, || Ok(raw.convert(options.defects(), &target)?.log))?;
    log.split_rule = options.split;
    Ok(log)
}

/// The store of the cache at `target`, which `make` makes if it is not there, damaged, or of an
/// earlier version.
fn cached(
    target: &Path,
    make: impl FnOnce() -> Result<EventLog, DataError>,
) -> Result<EventLog, DataError> {
    let mut notes: Vec<String> = scratch::sweep(whole_file::parent(target))
        .into_iter()
        .collect();
    let found = store::is_store(target).then(|| store::open(target));
    let mut log = match found {
        Some(Ok(log)) => log,
        Some(Err(error)) if error.is_of_store() => {
            scratch::remove(target)?;
            notes.push(format!(
                "{error} (as it is of the cache, that was done now)"
            ));
            made(target, make)?
        }
        Some(Err(error)) => return Err(error),
        None => made(target, make)?,
    };
    log.notes.splice(0..0, notes);
    Ok(log)
}

/// What `make` makes at `target`, or what another program made there meanwhile: two that begin at once
/// with the same stream convert it both, and one is first.
fn made(
    target: &Path,
    make: impl FnOnce() -> Result<EventLog, DataError>,
) -> Result<EventLog, DataError> {
    match make() {
        Err(error) if error.is_of_store() && store::is_store(target) => store::open(target),
        made => made,
    }
}

/// Converts a source into a store at `to`, which must not exist.
pub(crate) fn convert_to(
    spec: &str,
    options: &OpenOptions,
    to: &Path,
) -> Result<EventLog, DataError> {
    let swept = scratch::sweep(whole_file::parent(to));
    let mut log = match Source::find(spec, options, Some(to))? {
        Source::Store(path) => {
            return Err(DataError::store(
                &path,
                "is a converted store already; use it directly, or copy the folder",
            ));
        }
        Source::Raw(raw) => raw.convert(options.defects(), to)?.log,
        Source::Synthetic(synthetic) => synthetic.generate(to, &options.stop)?,
    };
    log.notes.splice(0..0, swept);
    Ok(log)
}

/// Of a name as much as leaves room for the rest of a file's name, 255 bytes in all.
const NAME_BYTES: usize = 120;

/// Where the conversion of these very files with these options is kept.
fn cached_place(raw: &RawSource, options: &OpenOptions) -> Result<PathBuf, DataError> {
    let array =
        |array: &Option<ArrayFile>| array.as_ref().and_then(ArrayFile::name).map(str::to_owned);
    let mut key = Sha256::new();
    key.update(format!(
        "{READERS} {} {} {:?} {} {:?} {:?} {} {} {:?}\n",
        store::VERSION,
        raw.name,
        raw.format,
        options.sort,
        array(&raw.edge_features),
        array(&raw.node_features),
        raw.edge_features.is_some(),
        raw.node_features.is_some(),
        raw.reading,
    ));
    for file in raw.files() {
        key.update(file.identity()? + "\n");
    }
    let key = hex(&key.finalize()[..8]);
    let mut plain = String::new();
    for c in raw.name.chars() {
        let c = if c.is_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '-'
        };
        if plain.len() + c.len_utf8() > NAME_BYTES {
            break;
        }
        plain.push(c);
    }
    Ok(options
        .cache_folder()?
        .join(format!("{plain}-{key}.{STORE_EXTENSION}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::Stop;

    #[test]
    fn of_two_that_convert_a_stream_at_once_the_second_opens_what_the_first_has_made() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("mooc.mspipe");
        let stream: SyntheticSpec = "synthetic:mooc:scale=0.001".parse().unwrap();
        let make = || stream.generate(&target, &Stop::default());
        let mut first = String::new();
        let second = cached(&target, || {
            first = make().unwrap().hash().to_owned();
            make()
        });
        assert_eq!(second.unwrap().hash(), first);
        assert!(make().unwrap_err().to_string().contains("already exists"));
    }
}
