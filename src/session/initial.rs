//! The weights that a run begins with, and how its own are described.

use std::path::{Path, PathBuf};

use super::error::SessionError;
use crate::config::{RunConfig, Switch, TimeEncodingName};
use crate::features::FeatureSource;
use crate::model::tgl_weights;
use crate::model::{LinkModel, ModelConfig, ModelName};
use crate::run_folder::Dataset;
use crate::sampling::pair_history::Encoding;
use crate::train::histories;
use crate::weights::{self, ModelDescription, WeightFile};

/// What a weights file of this run says of its model.
pub(super) fn description(
    config: &RunConfig,
    model: &ModelConfig,
    data: &Dataset,
) -> ModelDescription {
    let time_encoding = match config.model.time_encoding {
        TimeEncodingName::Trained => "trained",
        TimeEncodingName::Fixed => "fixed",
    };
    ModelDescription {
        model: config.model.name.to_string(),
        width: model.width,
        time_width: model.time_width,
        edge_width: model.edge_width,
        node_width: model.node_width,
        layers: model.layers,
        heads: model.heads,
        time_encoding: time_encoding.to_owned(),
        pair_history: model.pair_history,
        stream: Some(data.hash.clone()),
    }
}

/// Fits the settings to the weights that the run begins with, and says what a user would not guess.
/// Weights that can't be read are an error later, when they are needed.
pub(super) fn fit(config: &mut RunConfig, node_width: usize) -> Vec<String> {
    let weights = config
        .start
        .init
        .as_deref()
        .and_then(|init| weights::open(&weights_file(init).ok()?).ok());
    let mut notes = fit_pair_history(config, weights.as_ref());
    if let Some(weights) = weights.as_ref().filter(|w| !w.prefix.is_empty()) {
        notes.push(weights::prefix_note(&weights.prefix));
    }
    if config.model.name == ModelName::Apan && node_width > 0 {
        match weights.as_ref().is_none_or(reads_node_features) {
            true => notes.push(format!(
                "apan adds the {node_width} node features to its embeddings; TGL's APAN reads none \
                 (--node-features zero matches that)"
            )),
            false => {
                config.stream.node_features = FeatureSource::Zero;
                notes.push(format!(
                    "the {node_width} node features are not used: these weights of apan have no map for \
                     them (TGL's APAN reads none)"
                ));
            }
        }
    }
    notes
}

/// Settles whether the model reads pair histories: by the settings, the weights or the protocol.
fn fit_pair_history(config: &mut RunConfig, weights: Option<&WeightFile>) -> Vec<String> {
    let mut notes = Vec::new();
    if let (None, Some(weights)) = (config.model.pair_history, weights) {
        let known = weights.tensors.contains_key(tgl_weights::PAIR_HISTORY);
        let now = if known { Switch::On } else { Switch::Off };
        if now != config.default_pair_history() {
            let note = match now {
                Switch::On => "pair history is on: these weights were trained with it",
                Switch::Off => "pair history is off: these weights know none (TGL's never do)",
            };
            notes.push(note.to_owned());
        }
        config.model.pair_history = Some(now);
    }
    config.model.pair_history = Some(config.pair_history());
    notes
}

/// Whether weights of APAN are of a model that reads node features: TGL's never does, ours says so
/// or has the map.
fn reads_node_features(weights: &WeightFile) -> bool {
    match &weights.model {
        Some(model) => model.node_width > 0,
        None => weights
            .tensors
            .keys()
            .any(|name| name.contains("node_feat_map") || name.contains("node_feat_proj")),
    }
}

/// `model` with the weights of `init`, a run's folder or a weights file.
///
/// # Errors
/// When it can't be read, is of another model, or names or shapes differ; when the run also
/// brought the settings' stream, and that is not what it was trained on any more.
pub(super) fn load(
    model: LinkModel,
    init: &Path,
    config: &RunConfig,
    expected: &ModelDescription,
) -> Result<LinkModel, SessionError> {
    let path = weights_file(init)?;
    let WeightFile {
        mut tensors,
        model: found,
        ..
    } = weights::open(&path)?;
    // They are the stream's side of the model, see `encoding`.
    let _constants = histories::take_constants(&mut tensors);
    // Shapes don't tell models apart in each case, and never the number of heads.
    if let Some(found) = found {
        let same = found.model == expected.model && found.heads == expected.heads;
        if !same {
            let say = |of: &ModelDescription| format!("{} with {} heads", of.model, of.heads);
            return Err(SessionError::OtherModel {
                path,
                found: say(&found),
                expected: say(expected),
            });
        }
        if let Some(now) = &expected.stream {
            check_stream(&path, found.stream, now, config)?;
        }
    }
    tgl_weights::load(model, &tensors).map_err(|misfit| SessionError::Misfit { path, misfit })
}

/// Whether the stream that the settings took from the run of `init`, if they did, is what its weights
/// were trained on: `now` is its SHA-256.
///
/// # Errors
/// When it has changed since; when the weights can't be read.
pub(super) fn same_stream(init: &Path, now: &str, config: &RunConfig) -> Result<(), SessionError> {
    let path = weights_file(init)?;
    let trained_on = weights::open(&path)?.model.and_then(|model| model.stream);
    check_stream(&path, trained_on, now, config)
}

fn check_stream(
    path: &Path,
    trained_on: Option<String>,
    now: &str,
    config: &RunConfig,
) -> Result<(), SessionError> {
    match trained_on {
        Some(found) if config.start.data_of_init && found != now => {
            Err(SessionError::OtherStream {
                path: path.to_owned(),
                found,
                expected: now.to_owned(),
                data: config.source.data.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// The encoding of pair histories that belongs to the weights of `init`, if there is one and the
/// model reads them. Weights that can't be read are an error later.
///
/// # Errors
/// When it is not one.
pub(super) fn encoding(config: &RunConfig) -> Result<Option<Encoding>, SessionError> {
    let path = config.start.init.as_deref().map(weights_file).transpose();
    let Ok(Some(path)) = path else {
        return Ok(None);
    };
    match weights::open(&path) {
        Ok(mut weights) => histories::take_constants(&mut weights.tensors)
            .map_err(|reason| SessionError::Encoding { path, reason }),
        Err(_) => Ok(None),
    }
}

/// The weights file that `init` is or holds.
fn weights_file(init: &Path) -> Result<PathBuf, SessionError> {
    if !init.is_dir() {
        return Ok(init.to_owned());
    }
    let file = init.join(weights::FILE_NAME);
    if file.exists() {
        Ok(file)
    } else {
        Err(SessionError::NoWeights {
            run: init.to_owned(),
        })
    }
}
