//! Opens a run's stream and resolves its settings against it.

use std::sync::Arc;

use mspipe_datasets::{DataError, EventLog, OpenOptions, Split, Stop};

use super::error::SessionError;
use super::initial;
use super::protocol::Rules;
use super::stream::{InitialWeights, OpenStream};
use crate::checkpoint::Loaded;
use crate::config::{MitigationName, RunConfig, Switch, TimeEncodingName};
use crate::features::{FeatureScale, FeatureSource, Features, is_used};
use crate::model::{ModelConfig, ModelNeeds};
use crate::sampling::pair_history::WIDTH;
use crate::train::error::TrainError;

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// With the weights that the settings name, or none.
    Fresh,
    /// From a checkpoint, which has weights of its own: those of `--init` are history.
    Resumed {
        /// Its epoch and iteration.
        place: (usize, usize),
    },
}

impl Begin {
    /// Of a run that is resumed from a checkpoint, or at the start where there is none yet.
    pub(super) fn from(loaded: Option<&Loaded>) -> Begin {
        match loaded {
            Some(loaded) => Begin::Resumed {
                place: loaded.place(),
            },
            None => Begin::Fresh,
        }
    }
}

/// Writes down whether the events of a batch see one another; says so where the weights that a run
/// begins with were trained by the other rule.
fn settle_visibility(config: &mut RunConfig) -> Option<String> {
    let hide_batch = config.protocol.hides_batch();
    config.protocol.hide_batch = Some(hide_batch);
    let settings = config.start.init.as_ref()?.join("config.json");
    // A weights file says nothing of it.
    let trained = RunConfig::read(&settings).ok()?.protocol.hide_batch?;
    config.start.hide_batch_of_init = Some(trained);
    (trained != hide_batch).then(|| {
        format!(
            "the weights were trained with events of a batch {} one another; here they are {} one \
             another (--hide-batch {hide_batch})",
            seen(trained),
            seen(hide_batch)
        )
    })
}

/// How events of a batch stand to one another.
fn seen(hide_batch: Switch) -> &'static str {
    match hide_batch {
        Switch::On => "hidden from",
        Switch::Off => "visible to",
    }
}

impl OpenStream {
    /// Checks the settings and opens their weights and their stream; nothing but its store's map is
    /// made.
    pub(super) fn open(
        config: RunConfig,
        begin: Begin,
        stop: &Stop,
    ) -> Result<OpenStream, SessionError> {
        config.validate()?;
        let weights = match begin {
            Begin::Fresh => InitialWeights::open(&config)?,
            Begin::Resumed { .. } => None,
        };
        let options = OpenOptions {
            stop: stop.clone(),
            ..config.stream_options()
        };
        let log = EventLog::open(&config.source.data, &options)?;
        // One that came with the last event of a conversion.
        stop.check().map_err(DataError::from)?;
        OpenStream::of(config, Arc::new(log), weights)
    }

    /// Resolves the settings against a stream and weights that are open.
    pub(super) fn of(
        mut config: RunConfig,
        log: Arc<EventLog>,
        weights: Option<Arc<InitialWeights>>,
    ) -> Result<OpenStream, SessionError> {
        config.check_values()?;
        let events = config
            .stream
            .limit_events
            .map_or(log.events(), |limit| limit.min(log.events()));
        let split = if events < log.events() {
            log.split_of(events)
        } else {
            log.split()
        };
        for (part, range) in [
            ("training", &split.train),
            ("validation", &split.val),
            ("test", &split.test),
        ] {
            if range.is_empty() {
                return Err(SessionError::TooSmall {
                    name: log.name().to_owned(),
                    events,
                    part,
                });
            }
        }
        config.check_rows(split.train.len().max(split.test.len()).max(split.val.len()))?;
        config.check_warmup(split.train.len().div_ceil(config.training.batch_events()))?;
        let [_, node_width] = Features::widths(
            &log,
            config.stream.edge_features,
            config.stream.node_features,
        );
        let mut fitted = initial::fit(&mut config, node_width, weights.as_deref());
        fitted.extend(settle_scale(&mut config, &log, &split));
        let [edge_width, node_width] = Features::widths(
            &log,
            config.stream.edge_features,
            config.stream.node_features,
        );
        let model = ModelConfig {
            name: config.model.name,
            width: config.model.width,
            time_width: config.model.time_width,
            edge_width,
            node_width,
            layers: config.model.layers,
            heads: config.model.heads,
            mail_slots: config.model.mail_slots,
            train_time_encoding: config.model.time_encoding == TimeEncodingName::Trained,
            dropout: config.model.dropout,
            attention_dropout: config.model.attention_dropout,
            pair_history: match config.pair_history() {
                Switch::On => WIDTH,
                Switch::Off => 0,
            },
        };
        let needs = needs(&config, &model)?;
        let rules = Rules::of(&config, needs);
        config.model.time_delta = Some(rules.time_delta);
        fitted.extend(settle_visibility(&mut config));
        Ok(OpenStream {
            config,
            log,
            events,
            split,
            model,
            needs,
            rules,
            weights,
            fitted,
        })
    }
}

/// What a model needs of the pipeline, with the mail that a node keeps to catch up on.
fn needs(config: &RunConfig, model: &ModelConfig) -> Result<ModelNeeds, TrainError> {
    let mut needs = model.needs();
    if config.pipeline.mitigation == MitigationName::CatchUp && !needs.attends_to_mail {
        let pipeline = &config.pipeline;
        needs.mail_slots = pipeline.schedule.most_staleness(pipeline.memory)?;
    }
    Ok(needs)
}

/// Settles what edge features are standardised by, which a run that the settings are of has settled
/// already; or says that they had better be.
fn settle_scale(config: &mut RunConfig, log: &EventLog, split: &Split) -> Option<String> {
    /// Beyond this in size (see `data check`) features overwhelm all else.
    const LARGE: f32 = 1e6;
    /// Events that are looked at.
    const LOOKED_AT: usize = 10_000;

    let stream = &mut config.stream;
    let table = log.edge_features().filter(|table| is_used(table));
    let standardized = stream.edge_features == FeatureSource::Standardized;
    let settled = stream.edge_scale.take();
    if standardized && table.is_none() {
        let note = "--edge-features standardize has no effect: the stream has no edge features";
        return Some(note.to_owned());
    }
    let table = table.filter(|_| stream.edge_features.of_stream())?;
    if standardized {
        let fits = settled.filter(|scale| scale.width() == table.width());
        stream.edge_scale =
            Some(fits.unwrap_or_else(|| FeatureScale::of(table, split.train.clone())));
        return None;
    }
    let mut row = vec![0.0; table.width()];
    let mut largest = 0.0_f32;
    for event in split.train.clone().take(LOOKED_AT) {
        table.row_into(event, &mut row);
        largest = row
            .iter()
            .fold(largest, |most, value| most.max(value.abs()));
    }
    (largest > LARGE).then(|| {
        format!(
            "edge features are up to {largest:e} in size, beside which a model sees nothing else: \
             --edge-features standardize scales each column"
        )
    })
}
