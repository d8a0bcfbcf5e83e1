//! What a protocol fixes, together with what the model needs and what the user chose.

use std::sync::Arc;

use mspipe_datasets::candidates::{read_candidates, recorded_candidates};
use mspipe_datasets::{DataError, EventLog};

use crate::batch::{LayoutRule, MailOrder, MailRule, TimeDelta};
use crate::config::{CandidateSource, ConfigError, Protocol, RunConfig};
use crate::eval::Monitor;
use crate::graph::{Directions, NodeId, Timestamp};
use crate::memory::MemoryWrite;
use crate::memory::node_times::NodeTimesRule;
use crate::model::ModelNeeds;
use crate::sampling::candidates::ListedCandidates;
use crate::sampling::{Candidates, NegativePool};

/// Candidates of an event of `--protocol tgb`, unless others are asked for.
const CANDIDATES: usize = 100;

/// Whom destinations are ranked among, if the protocol of `config` ranks; `destinations` are those
/// of the stream `log`.
pub(super) fn candidates(
    config: &RunConfig,
    log: &EventLog,
    destinations: &NegativePool,
) -> Result<Option<Candidates>, DataError> {
    if config.protocol.name != Protocol::Tgb {
        return Ok(None);
    }
    let recorded = recorded_candidates(&config.source.data, &config.stream_options())?;
    let recorded = recorded.map(|file| CandidateSource::Files(vec![file]));
    let source = config.protocol.candidates.clone().or(recorded);
    Ok(match source.unwrap_or(CandidateSource::Drawn(CANDIDATES)) {
        CandidateSource::Files(files) => {
            let mut lists = Vec::new();
            for file in files {
                lists.extend(read_candidates(&file, log)?);
            }
            let nodes = |ids: Vec<u32>| ids.into_iter().map(NodeId).collect();
            let lists = lists
                .into_iter()
                .map(|(event, ids)| (event, nodes(ids)))
                .collect();
            Some(Candidates::Listed(Arc::new(ListedCandidates::new(lists))))
        }
        CandidateSource::Drawn(count) => match destinations {
            NegativePool::Destinations(pool) => Some(Candidates::Drawn {
                pool: pool[..].into(),
                count,
            }),
            _ => None,
        },
    })
}

/// The measure that chooses the epoch, unless another one is asked for: MRR where the protocol ranks,
/// else pooled AP.
pub(super) fn monitor(config: &RunConfig) -> Monitor {
    config
        .training
        .monitor
        .unwrap_or(match config.protocol.name {
            Protocol::Tgb => Monitor::ValMrr,
            Protocol::Default | Protocol::Tgl | Protocol::Dyglib => Monitor::ValAp,
        })
}

/// The rules that a run's numbers are measured under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Whether negatives come from all nodes, not from destinations alone.
    pub(super) all_nodes: bool,
    /// Which endpoints see an event as their past.
    pub(super) directions: Directions,
    /// Whether the events of a batch are hidden from one another.
    pub(super) hide_batch: bool,
    /// Whether time counts from the stream's first event, not from 0.
    from_first_event: bool,
    pub(super) time_delta: TimeDelta,
    write: MemoryWrite,
    mail_rule: MailRule,
    needs: ModelNeeds,
}

impl Rules {
    /// Rules of `config` for a model that needs `needs`.
    pub(super) fn of(config: &RunConfig, needs: ModelNeeds) -> Result<Rules, ConfigError> {
        let tgl = config.protocol.name == Protocol::Tgl;
        let time_delta = match config.model.time_delta {
            Some(time_delta) => time_delta,
            None if tgl => TimeDelta::Query,
            None => needs.time_delta,
        };
        let write = config.model.memory_write;
        if write == MemoryWrite::Read && time_delta == TimeDelta::Query {
            return Err(ConfigError::Range {
                option: "memory-write",
                found: "read with --time-delta query".to_owned(),
                expected: "--time-delta message, which has one row per node",
            });
        }
        if config.model.layers > 1 && needs.layers == 0 {
            return Err(ConfigError::Range {
                option: "layers",
                found: config.model.layers.to_string(),
                expected: "1 for this model, which has no attention layers",
            });
        }
        if needs.time_delta == TimeDelta::Query && time_delta == TimeDelta::Message {
            return Err(ConfigError::Range {
                option: "time-delta",
                found: "message".to_owned(),
                expected: "query: all that this model knows of a query is the age of its mail",
            });
        }
        Ok(Rules {
            all_nodes: tgl,
            directions: if tgl {
                Directions::SourceOnly
            } else {
                Directions::Both
            },
            hide_batch: config.protocol.name == Protocol::Tgb,
            from_first_event: !tgl,
            time_delta,
            write,
            mail_rule: MailRule {
                aggregation: config.model.mail_aggregation,
                order: if tgl {
                    MailOrder::Row
                } else {
                    MailOrder::Event
                },
                to_neighbors: needs.mail_to_neighbors,
            },
            needs,
        })
    }

    /// How batches are laid out.
    pub(super) fn layout(&self, ticks_per_unit: i64) -> LayoutRule {
        LayoutRule {
            layers: self.needs.layers,
            time_delta: self.time_delta,
            mail_rule: self.mail_rule,
            attends_to_mail: self.needs.attends_to_mail,
            ticks_per_unit,
        }
    }

    /// What the memory's clock measures on a stream that begins at `first`.
    pub(super) fn clock(&self, ticks_per_unit: i64, first: Timestamp) -> NodeTimesRule {
        NodeTimesRule {
            time_delta: self.time_delta,
            write: self.write,
            mail_slots: self.needs.mail_slots,
            ticks_per_unit,
            origin: if self.from_first_event { first } else { 0 },
            first,
        }
    }

    /// Whether a batch has one row for each of its nodes, whatever the times.
    pub(super) fn one_row_a_node(&self) -> bool {
        self.time_delta == TimeDelta::Message
    }
}
