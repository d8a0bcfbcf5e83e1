//! Manifests: what is known of each supported data set, where its files lie, and what to verify after reading it.
//!
//! Invariants: a figure that is not known is `unknown`, never a guess; every statistic names its source, and is
//! `verified` only if a real file was counted. The first file of a manifest is its event stream. File names are
//! plain names, so that a manifest can't reach outside the data folder.
//!
//! It does not touch the network ([`crate::fetch`]) and does not read streams.
//!
//! Source of the format: `datasets/manifests/*.toml`, one file per data set, embedded in the program.

mod unknown;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The manifests in the order in which `mspipe data list` shows them: the paper's five first.
const EMBEDDED: [(&str, &str); 14] = [
    (
        "wikipedia.toml",
        include_str!("../manifests/wikipedia.toml"),
    ),
    ("reddit.toml", include_str!("../manifests/reddit.toml")),
    ("mooc.toml", include_str!("../manifests/mooc.toml")),
    ("lastfm.toml", include_str!("../manifests/lastfm.toml")),
    ("gdelt.toml", include_str!("../manifests/gdelt.toml")),
    (
        "collegemsg.toml",
        include_str!("../manifests/collegemsg.toml"),
    ),
    (
        "tgbl-wiki.toml",
        include_str!("../manifests/tgbl-wiki.toml"),
    ),
    (
        "tgbl-wiki-v1.toml",
        include_str!("../manifests/tgbl-wiki-v1.toml"),
    ),
    (
        "tgbl-review.toml",
        include_str!("../manifests/tgbl-review.toml"),
    ),
    (
        "tgbl-review-v1.toml",
        include_str!("../manifests/tgbl-review-v1.toml"),
    ),
    (
        "tgbl-coin.toml",
        include_str!("../manifests/tgbl-coin.toml"),
    ),
    (
        "tgbl-coin-v1.toml",
        include_str!("../manifests/tgbl-coin-v1.toml"),
    ),
    (
        "tgbl-comment.toml",
        include_str!("../manifests/tgbl-comment.toml"),
    ),
    (
        "tgbl-flight.toml",
        include_str!("../manifests/tgbl-flight.toml"),
    ),
];

static ALL: LazyLock<Vec<Manifest>> = LazyLock::new(|| {
    EMBEDDED
        .iter()
        // The texts are part of the program, and a test parses them all.
        .map(|(origin, text)| {
            Manifest::parse(text, origin).unwrap_or_else(|error| unreachable!("{error}"))
        })
        .collect()
});

/// A manifest that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or a key is missing, unknown or of the wrong type. The message names the line.
    #[error("{origin}: {message}")]
    Syntax {
        /// File name of the manifest.
        origin: String,
        /// What the TOML reader found, with line and column.
        message: String,
    },
    /// A field has a value that no data set can have.
    #[error("{origin}: {field} is {found:?}; expected {expected}; correct it in the manifest")]
    Field {
        /// File name of the manifest.
        origin: String,
        /// Which field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is allowed there.
        expected: &'static str,
    },
}

/// All that is known of one data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name on the command line and of the folder below the data folder.
    pub name: String,
    /// One line that says what the events are.
    pub title: String,
    /// File layout: `jodie`, `snap`, `tgl` or `tgb`.
    pub format: String,
    /// How the stream is divided into training, validation and test.
    pub split: String,
    /// The licence as its publisher states it, or `none stated`.
    pub licence: String,
    /// Which of the files holds the candidates that were recorded with the data set, if there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<String>,
    /// What is known to be wrong or surprising in the files.
    pub known_defects: Vec<String>,
    /// The files to download; the first one is the event stream.
    pub files: Vec<RemoteFile>,
    /// The publication to cite.
    pub citation: Citation,
    /// Figures to verify after reading.
    pub statistics: Statistics,
}

/// One file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteFile {
    /// `http` or `https` address.
    pub url: String,
    /// Name under `DATA/NAME/`; of the unpacked file if it is packed.
    pub file: String,
    /// How the bytes at the address are packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packing>,
    /// Bytes at the address, if published.
    #[serde(with = "unknown")]
    pub size: Option<u64>,
    /// Lower-case hex SHA-256 of the bytes at the address, if published.
    #[serde(with = "unknown")]
    pub sha256: Option<String>,
    /// Unverified remarks for people, such as a rounded size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// Compression of a published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// RFC 1952.
    Gzip,
}

/// The publication that a data set comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Citation {
    /// Authors and title.
    pub paper: String,
    /// Conference or journal.
    pub venue: String,
    /// Year of publication.
    pub year: u16,
}

/// Figures that a stream must have; the meaning of each is that of the same field of [`Measured`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is documented at the field of Measured with the same name"
)]
pub struct Statistics {
    pub events: Statistic,
    pub nodes: Statistic,
    pub sources: Statistic,
    pub destinations: Statistic,
    pub edge_feature_width: Statistic,
    pub node_feature_width: Statistic,
    pub positive_labels: Statistic,
    pub first_time: Statistic,
    pub last_time: Statistic,
}

/// One published or counted figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistic {
    /// The figure, if known exactly.
    #[serde(with = "unknown")]
    pub value: Option<i64>,
    /// Where it comes from, and its unit if it has one.
    pub source: String,
    /// Whether it was counted in a real file rather than read in a publication.
    pub verified: bool,
}

/// What was counted in a stream that has been read; `None` where nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Events of the stream.
    pub events: Option<i64>,
    /// Distinct nodes of all events.
    pub nodes: Option<i64>,
    /// Distinct source nodes.
    pub sources: Option<i64>,
    /// Distinct destination nodes.
    pub destinations: Option<i64>,
    /// Edge feature columns in the file, constant ones included; 0 if it has none.
    pub edge_feature_width: Option<i64>,
    /// Node feature columns; 0 if there are none.
    pub node_feature_width: Option<i64>,
    /// Events whose state label is 1.
    pub positive_labels: Option<i64>,
    /// Time of the first event in whole units of the file (seconds if not said otherwise), rounded down.
    pub first_time: Option<i64>,
    /// Time of the last event, in the same unit.
    pub last_time: Option<i64>,
}

/// A statistic that a stream does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Name of the statistic.
    pub statistic: &'static str,
    /// What the manifest says.
    pub expected: i64,
    /// What was counted.
    pub found: i64,
    /// Where the expected figure comes from.
    pub source: String,
    /// Whether the expected figure was counted in a real file.
    pub verified: bool,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch {
            statistic,
            expected,
            found,
            source,
            verified,
        } = self;
        let trust = if *verified {
            "counted in a real file"
        } else {
            "published, not counted by us"
        };
        write!(
            f,
            "{statistic}: found {found}, expected {expected} ({trust}: {source})"
        )
    }
}

impl Manifest {
    /// The built-in manifests.
    pub fn all() -> &'static [Manifest] {
        &ALL
    }

    /// The built-in manifest called `name`; upper and lower case are the same.
    pub fn find(name: &str) -> Option<&'static Manifest> {
        Self::all()
            .iter()
            .find(|manifest| manifest.name.eq_ignore_ascii_case(name))
    }

    /// Reads a manifest from TOML. `origin` is the file name for messages.
    ///
    /// # Errors
    /// [`ManifestError::Syntax`] if it is no manifest, [`ManifestError::Field`] if a value makes no sense.
    pub fn parse(text: &str, origin: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = toml::from_str(text).map_err(|error| ManifestError::Syntax {
            origin: origin.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        manifest.validate(origin)?;
        Ok(manifest)
    }

    fn validate(&self, origin: &str) -> Result<(), ManifestError> {
        let refuse = |field, found: &str, expected| {
            Err(ManifestError::Field {
                origin: origin.to_owned(),
                field,
                found: found.to_owned(),
                expected,
            })
        };
        if !is_plain_name(&self.name) {
            return refuse(
                "name",
                &self.name,
                "letters, digits, '-', '_' and '.', not starting with '.'",
            );
        }
        if !["jodie", "snap", "tgl", "tgb"].contains(&self.format.as_str()) {
            return refuse("format", &self.format, "jodie, snap, tgl or tgb");
        }
        if let Some(candidates) = &self.candidates
            && !self.files.iter().any(|file| file.file == *candidates)
        {
            return refuse("candidates", candidates, "one of the files");
        }
        if self.files.is_empty() {
            return refuse("files", "[]", "at least one file, the event stream first");
        }
        for (index, file) in self.files.iter().enumerate() {
            if !is_plain_name(&file.file)
                || self.files[..index]
                    .iter()
                    .any(|other| other.file == file.file)
            {
                return refuse(
                    "file",
                    &file.file,
                    "a plain file name that no other file of the data set has",
                );
            }
            if !["http://", "https://"]
                .iter()
                .any(|scheme| file.url.starts_with(scheme))
            {
                return refuse(
                    "url",
                    &file.url,
                    "an address that starts with http:// or https://",
                );
            }
            if let Some(digest) = &file.sha256
                && !(digest.len() == 64
                    && digest
                        .bytes()
                        .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
            {
                return refuse(
                    "sha256",
                    digest,
                    "64 lower-case hexadecimal digits, or \"unknown\"",
                );
            }
        }
        Ok(())
    }

    /// The folder of this data set: `data_dir/NAME`.
    pub fn folder(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(&self.name)
    }

    /// Where every file belongs: `data_dir/NAME/FILE`, the event stream first.
    pub fn local_files(&self, data_dir: &Path) -> Vec<PathBuf> {
        self.files
            .iter()
            .map(|file| self.folder(data_dir).join(&file.file))
            .collect()
    }

    /// Where the event stream belongs: `data_dir/NAME/FILE`, for instance `data/wikipedia/wikipedia.csv`.
    pub fn local_file(&self, data_dir: &Path) -> PathBuf {
        self.folder(data_dir).join(&self.files[0].file)
    }

    /// Compares what was counted in a stream with what the manifest says; unknown and uncounted figures agree.
    pub fn verify(&self, measured: &Measured) -> Vec<Mismatch> {
        self.figures(measured)
            .into_iter()
            .filter_map(|(statistic, figure, found)| {
                let (expected, found) = (figure.value?, found?);
                (expected != found).then(|| Mismatch {
                    statistic,
                    expected,
                    found,
                    source: figure.source.clone(),
                    verified: figure.verified,
                })
            })
            .collect()
    }

    /// Names of the figures that are both known and counted.
    pub(crate) fn comparable(&self, measured: &Measured) -> Vec<&'static str> {
        self.figures(measured)
            .into_iter()
            .filter(|(_, figure, found)| figure.value.is_some() && found.is_some())
            .map(|(statistic, ..)| statistic)
            .collect()
    }

    /// Each figure: its name, what is known of it, what was counted.
    fn figures(&self, measured: &Measured) -> [(&'static str, &Statistic, Option<i64>); 9] {
        let expected = &self.statistics;
        [
            ("events", &expected.events, measured.events),
            ("nodes", &expected.nodes, measured.nodes),
            ("sources", &expected.sources, measured.sources),
            (
                "destinations",
                &expected.destinations,
                measured.destinations,
            ),
            (
                "edge_feature_width",
                &expected.edge_feature_width,
                measured.edge_feature_width,
            ),
            (
                "node_feature_width",
                &expected.node_feature_width,
                measured.node_feature_width,
            ),
            (
                "positive_labels",
                &expected.positive_labels,
                measured.positive_labels,
            ),
            ("first_time", &expected.first_time, measured.first_time),
            ("last_time", &expected.last_time, measured.last_time),
        ]
    }
}

/// Names that are one path component on every system.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.ends_with('.')
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests;
