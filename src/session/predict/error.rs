//! Why a question has no answer, or an event can't be followed.

use std::path::PathBuf;

use mspipe_datasets::DataError;
use mspipe_datasets::whole_file::WholeFileError;
use thiserror::Error;

use super::super::SessionError;
use crate::checkpoint::{CheckpointError, Unfit};
use crate::config::ConfigError;
use crate::device::DeviceError;
use crate::graph::GraphError;
use crate::model::tgl_weights::WeightError;
use crate::run_folder::RunFolderError;
use crate::train::error::EvalError;

/// Why a question has no answer, or an event can't be followed.
#[derive(Debug, Error)]
pub enum PredictError {
    /// The run, its stream or its weights.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The run's settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The run's folder.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// The stream, or a file of events.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The stream's graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A computation.
    #[error(transparent)]
    Evaluation(#[from] EvalError),
    /// A state can't be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A state can't be written.
    #[error(transparent)]
    File(#[from] WholeFileError),
    /// A state of another version.
    #[error(
        "{}: is a state of version {found}, by {producer}, and this mspipe reads {expected}; give the folder \
         of its run, whose memory is rebuilt from its stream, or update the program",
        path.display()
    )]
    StateVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// Who wrote it.
        producer: String,
        /// The version that is read.
        expected: u32,
    },
    /// A file of another kind.
    #[error(
        "{}: {found}; give the folder of a run that mspipe train has written, or a state: \
         state.safetensors of such a run, or what mspipe update or mspipe export --self-contained \
         wrote",
        path.display()
    )]
    NoState {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Arrays that are not those of a state.
    #[error("{}: is no state that can be used: {error}; write it again", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Unfit,
    },
    /// Weights that are not those of the state's model.
    #[error("{}: its weights: {error}; write it again", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: WeightError,
    },
    /// The stream that a state stands on has more events now.
    #[error(
        "{}: stands on {data} as it was with {expected} events, and it has {found} now; to follow what is \
         new, put those events into a file of their own (mspipe update {} --events NEW --to STATE); \
         to train on: mspipe train --init RUN --data {data}",
        path.display(),
        path.display()
    )]
    Newer {
        /// The state.
        path: PathBuf,
        /// What its settings call the stream.
        data: String,
        /// Events of the stream now.
        found: usize,
        /// Events that it had.
        expected: usize,
    },
    /// The stream that a state stands on is another.
    #[error(
        "{}: stands on a stream with sha256\n  {expected}\nand {data} has\n  {found}\ngive the stream that \
         the run was trained on (--data), or a self-contained state, which needs none (mspipe export RUN \
         --self-contained, where that stream is)",
        path.display()
    )]
    OtherStream {
        /// The state.
        path: PathBuf,
        /// What was opened.
        data: String,
        /// Its SHA-256.
        found: String,
        /// That of the stream.
        expected: String,
    },
    /// The stream is the same, but for what its nodes or features are called.
    #[error(
        "{}: knows a {what} as {expected}, which is {found} in {data}; ids and features are called as in the stream that \
         the run was trained on: give that, or a stream with its names",
        path.display()
    )]
    OtherNames {
        /// The state.
        path: PathBuf,
        /// What was opened.
        data: String,
        /// A node or a feature.
        what: &'static str,
        /// The first of other names, in the stream.
        found: String,
        /// The same in the state.
        expected: String,
    },
    /// Memory that asking would change.
    #[error(
        "{}: was trained with --memory-write read, which writes the memory of whoever is asked for: no \
         question would leave it as it is; train with --memory-write event",
        path.display()
    )]
    WrittenByAsking {
        /// The run or state.
        path: PathBuf,
    },
    /// A state alone does not say how the run stood before.
    #[error(
        "{}: is the state of a run that has ended; how it stood before its test part is built from the \
         run's folder and its stream: give these",
        path.display()
    )]
    Ended {
        /// The state.
        path: PathBuf,
    },
    /// An id of another kind.
    #[error("{what}: the id {found:?}; expected {expected}")]
    Key {
        /// Which of what was given.
        what: String,
        /// The id.
        found: String,
        /// What ids are.
        expected: &'static str,
    },
    /// A question about the past.
    #[error(
        "{what}: time {asked} precedes {last}, the last event that memory has followed; what came \
         between is in it, so ask for {last} or later, and about a time before the events after it come"
    )]
    Past {
        /// Which of what was given.
        what: String,
        /// The time that was asked for.
        asked: String,
        /// The last event's time.
        last: String,
    },
    /// An event's features.
    #[error(
        "{what}: {found} edge features; expected {expected}{}, as the events that the model was trained on have",
        listed(names)
    )]
    Width {
        /// Which event.
        what: String,
        /// Its features.
        found: usize,
        /// Theirs.
        expected: usize,
        /// What these are called, if that is known.
        names: Vec<String>,
    },
    /// Features of other names.
    #[error(
        "the features are not those that the model was trained on{}: {}; columns of these names are expected, in any \
         order, and no other numbers (--columns ignore=COLUMN leaves one out)",
        listed(expected),
        unmatched(missing, surplus)
    )]
    Features {
        /// What those are called.
        expected: Vec<String>,
        /// Those of them that the events lack.
        missing: Vec<String>,
        /// What the events have beside.
        surplus: Vec<String>,
    },
    /// A time that is finer than ticks.
    #[error("{what}: the time is {found}; expected {expected}")]
    Finer {
        /// Which event.
        what: String,
        /// The time.
        found: String,
        /// What times are.
        expected: String,
    },
    /// A time after which all others would be late.
    #[error(
        "{what}: its time {time} is {ahead} after the event before it, and {most} is the most (--max-jump): what \
         comes then would be late; nothing was followed (times in milliseconds, of a stream in seconds: --time-unit ms)"
    )]
    TooFar {
        /// Which event.
        what: String,
        /// Its time.
        time: String,
        /// How far that is.
        ahead: String,
        /// How far it may be.
        most: String,
    },
    /// How far events may be ahead that is no time.
    #[error(
        "--max-jump {0}: expected a time in the stream's unit that is more than nothing, stream or off"
    )]
    MaxJump(String),
    /// A stream is named where none is read.
    #[error(
        "{}: is a self-contained state, which reads no stream, so that {data} is not looked at; leave --data out",
        path.display()
    )]
    DataNotRead {
        /// The state.
        path: PathBuf,
        /// What was named.
        data: String,
    },
    /// An event's features are no numbers.
    #[error("{what}: an edge feature is {found}; expected a finite number")]
    Feature {
        /// Which event.
        what: String,
        /// The feature.
        found: f32,
    },
    /// A time beyond what differences can be taken of.
    #[error("{what}: the time {found} ticks; expected one within 2^62 of 0")]
    Time {
        /// Which event.
        what: String,
        /// The time.
        found: i64,
    },
    /// More events than ids.
    #[error(
        "{found} events; at most {} are supported: train again on the newer part of the stream",
        i32::MAX
    )]
    TooMany {
        /// Events there would be.
        found: usize,
    },
    /// A score that is no number.
    #[error(
        "{what}: the score is {found}: weights or memory are no finite numbers (a run that diverged, or \
         features far beyond those that it was trained on)"
    )]
    NotFinite {
        /// Which pair.
        what: String,
        /// The score.
        found: f32,
    },
    /// An update that failed between two of its steps.
    #[error("memory is not as it should be since an update failed; load the state again")]
    Broken,
}

/// Names of features for a message, the first twelve.
fn names(all: &[String]) -> String {
    let shown = all.iter().take(12).map(|name| format!("`{name}`"));
    let more = (all.len() > 12).then(|| "…".to_owned());
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

fn listed(all: &[String]) -> String {
    match all.is_empty() {
        true => String::new(),
        false => format!(" ({})", names(all)),
    }
}

fn unmatched(missing: &[String], surplus: &[String]) -> String {
    match (missing.is_empty(), surplus.is_empty()) {
        (false, true) => format!("there is no {}", names(missing)),
        (true, _) => format!("{} was not among them", names(surplus)),
        (false, false) => format!(
            "there is no {}, and {} was not among them",
            names(missing),
            names(surplus)
        ),
    }
}
