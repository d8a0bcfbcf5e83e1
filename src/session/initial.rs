//! The weights that a run begins with, and how its own are described.

use std::sync::Arc;

use burn::tensor::Device;

use super::error::SessionError;
use super::stream::InitialWeights;
use crate::config::{MitigationName, RunConfig, Switch, TimeEncodingName};
use crate::features::FeatureSource;
use crate::model::init::Initializer;
use crate::model::tgl_weights;
use crate::model::{LinkModel, ModelConfig, ModelName};
use crate::run_folder;
use crate::train::histories;
use crate::weights::{self, ModelDescription, WeightFile};

impl InitialWeights {
    /// Those that the settings name, if they name any: a file, or what a run has written.
    ///
    /// # Errors
    /// When they can't be read, or the run has none.
    pub(super) fn open(config: &RunConfig) -> Result<Option<Arc<InitialWeights>>, SessionError> {
        let Some(init) = &config.start.init else {
            return Ok(None);
        };
        let path = run_folder::weights_of(init)?;
        let mut file = weights::open(&path)?;
        // The stream's side of the model.
        let encoding = match histories::take_constants(&mut file.tensors) {
            Ok(encoding) => encoding,
            Err(reason) => return Err(SessionError::Encoding { path, reason }),
        };
        Ok(Some(Arc::new(InitialWeights {
            path,
            file,
            encoding,
        })))
    }

    /// Whether the stream that the settings took from the run of these weights, if they did, is what
    /// they were trained on: `now` is its SHA-256, `edge_width` the width of its edge features.
    ///
    /// # Errors
    /// When it has changed since; when they were trained while its label was a feature.
    pub(super) fn check_stream(
        &self,
        (now, edge_width): (&str, usize),
        config: &RunConfig,
    ) -> Result<(), SessionError> {
        self.check_label(edge_width, config)?;
        let trained_on = self
            .file
            .model
            .as_ref()
            .and_then(|model| model.stream.as_ref());
        match trained_on {
            Some(found) if config.start.data_of_init && found != now => {
                Err(SessionError::OtherStream {
                    path: self.path.clone(),
                    found: found.clone(),
                    expected: now.to_owned(),
                    data: config.source.data.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Refuses an encoder that was trained while the label of `config` was a feature: widths and content of the
    /// stream differ then, and neither would tell the user why.
    fn check_label(&self, edge_width: usize, config: &RunConfig) -> Result<(), SessionError> {
        let label = config.stream.reading.columns.label();
        let of_init = config.start.columns_of_init.as_ref();
        let is_new = of_init.is_none_or(|columns| columns.label() != label);
        let found = self.file.model.as_ref().map(|model| model.edge_width);
        match (label, found) {
            (Some(label), Some(found)) if is_new && found > edge_width => {
                Err(SessionError::LabelAmongFeatures {
                    path: self.path.clone(),
                    label: label.to_owned(),
                    found,
                    expected: edge_width,
                    data: config.source.data.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// What a weights file of this run on the stream with this SHA-256 says of its model.
pub(super) fn description(
    config: &RunConfig,
    model: &ModelConfig,
    stream: &str,
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
        stream: Some(stream.to_owned()),
    }
}

/// Fits the settings to the weights that the run begins with, and says what a user would not guess.
pub(super) fn fit(
    config: &mut RunConfig,
    node_width: usize,
    weights: Option<&InitialWeights>,
) -> Vec<String> {
    let weights = weights.map(|weights| &weights.file);
    let mut notes = fit_pair_history(config, weights);
    if let Some(weights) = weights.filter(|w| !w.prefix.is_empty()) {
        notes.push(weights::prefix_note(&weights.prefix));
    }
    if config.model.name == ModelName::Apan && node_width > 0 {
        match weights.is_none_or(reads_node_features) {
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

/// The model that a run with these settings begins with, on `device`: with `weights`, where there are
/// some, else as its seed draws it. `stream` is the SHA-256 of the run's stream.
///
/// # Errors
/// When the weights are of another model, or names or shapes differ; when the run that they are of
/// also brought the settings' stream, and that is not what it was trained on any more.
pub(super) fn model(
    config: &RunConfig,
    model: &ModelConfig,
    stream: &str,
    weights: Option<&InitialWeights>,
    device: &Device,
) -> Result<LinkModel, SessionError> {
    let drawn = LinkModel::new(model, &mut Initializer::new(config.training.seed, device));
    let pipeline = &config.pipeline;
    let drawn = match pipeline.mitigation {
        MitigationName::Pres => drawn.with_pres(pipeline.mitigation_keep, pipeline.coherence),
        _ => drawn,
    };
    let Some(weights) = weights else {
        return Ok(drawn);
    };
    let path = || weights.path.clone();
    // Shapes don't tell models apart in each case, and never the number of heads.
    if let Some(found) = &weights.file.model {
        let expected = description(config, model, stream);
        if (&found.model, found.heads) != (&expected.model, expected.heads) {
            let say = |of: &ModelDescription| format!("{} with {} heads", of.model, of.heads);
            return Err(SessionError::OtherModel {
                path: path(),
                found: say(found),
                expected: say(&expected),
            });
        }
    }
    weights.check_stream((stream, model.edge_width), config)?;
    let loaded = tgl_weights::load(drawn, &weights.file.tensors);
    loaded.map_err(|misfit| SessionError::Misfit {
        path: path(),
        misfit,
    })
}
