//! A data folder with the manifest of one small data set, and messages made comparable.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mspipe_datasets::Stop;
use mspipe_datasets::fetch::{FetchError, FetchOptions, FetchReport, fetch};
use mspipe_datasets::manifest::Manifest;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::server::Server;

/// A data folder and the manifest of one file `small/s.txt` in it.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) url: String,
    fields: String,
    figures: Vec<(&'static str, i64)>,
    pub(crate) stop: Stop,
}

impl Place {
    pub(crate) fn new(url: &str) -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
            url: url.to_owned(),
            fields: String::new(),
            figures: vec![],
            stop: Stop::default(),
        }
    }

    pub(crate) fn at(server: &Server) -> Place {
        Place::new(&server.url())
    }

    pub(crate) fn with(mut self, fields: &str) -> Place {
        self.fields = format!("{fields}, ");
        self
    }

    /// With a figure that was counted in a real file.
    pub(crate) fn counted(mut self, name: &'static str, value: i64) -> Place {
        self.figures.push((name, value));
        self
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let mut fields = self.fields.clone();
        for key in ["size", "sha256"] {
            if !fields.contains(key) {
                fields += &format!("{key} = \"unknown\", ");
            }
        }
        let known = |name: &str| self.figures.iter().find(|(known, _)| *known == name);
        let figure = |name: &str| match known(name) {
            Some((_, value)) => {
                format!("{{ value = {value}, source = 'counted', verified = true }}")
            }
            None => r#"{ value = "unknown", source = "", verified = false }"#.to_owned(),
        };
        let statistics: String =
            "events nodes sources destinations edge_feature_width node_feature_width \
                                  positive_labels first_time last_time"
                .split(' ')
                .map(|name| format!("{name} = {}\n", figure(name)))
                .collect();
        let text = format!(
            "name = 'small'\ntitle = ''\nformat = 'snap'\nsplit = ''\nlicence = ''\nknown_defects = []\n\
             files = [{{ {fields}url = '{}', file = 's.txt' }}]\n\
             citation = {{ paper = '', venue = '', year = 2000 }}\n[statistics]\n{statistics}",
            self.url
        );
        Manifest::parse(&text, "small.toml").unwrap()
    }

    pub(crate) fn fetch(&self) -> Result<FetchReport, FetchError> {
        let mut options = FetchOptions::new(self.dir.path());
        options.retries = 2;
        options.backoff = Duration::from_millis(1);
        options.max_backoff = Duration::from_millis(4);
        options.read_timeout = Duration::from_millis(200);
        options.cache_dir = Some(self.dir.path().join("cache"));
        options.stop = self.stop.clone();
        fetch(&self.manifest(), &options)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("small").join(name)
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Visible files of the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.dir.path().join("small")) else {
            return vec![];
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    pub(crate) fn leave_part(&self, bytes: &[u8], state: &str) {
        fs::create_dir_all(self.dir.path().join("small")).unwrap();
        fs::write(self.path("s.txt.part"), bytes).unwrap();
        fs::write(self.path("s.txt.part.json"), state).unwrap();
    }

    pub(crate) fn leave_valid_part(&self, bytes: &[u8], total: usize) {
        let url = &self.url;
        let state = format!(
            r#"{{"url": "{url}", "etag": "\"v1\"", "last_modified": null, "total": {total}}}"#
        );
        self.leave_part(bytes, &state);
    }

    /// The message with this run's address and folder replaced.
    pub(crate) fn message(&self, error: &FetchError) -> String {
        shown(error.to_string(), &self.url, self.dir.path())
    }

    pub(crate) fn report(&self, report: &FetchReport) -> String {
        shown(report.to_string(), &self.url, self.dir.path())
    }
}

pub(crate) fn shown(text: String, url: &str, dir: &Path) -> String {
    let folder = dir.display().to_string();
    text.replace(url, "URL")
        .replace(&folder, "DATA")
        .replace('\\', "/")
}

/// Events of 10 bytes each, in the layout of SNAP.
pub(crate) fn content(len: usize) -> Vec<u8> {
    events(len, "1 2")
}

/// The same with another pair of nodes.
pub(crate) fn events(len: usize, pair: &str) -> Vec<u8> {
    (0..len / 10)
        .flat_map(|event| format!("{pair} {}\n", 10_000 + event).into_bytes())
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
