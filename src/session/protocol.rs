//! What a protocol fixes, together with what the model needs and what the user chose.

use std::sync::Arc;

use mspipe_datasets::candidates::{read_candidates, recorded_candidates};
use mspipe_datasets::{DataError, EventLog};

use crate::batch::{LayoutRule, MailOrder, MailRule, TimeDelta};
use crate::config::{CandidateSource, MitigationName, Protocol, RunConfig};
use crate::eval::Monitor;
use crate::graph::{Directions, NodeId, Timestamp};
use crate::memory::MemoryWrite;
use crate::memory::node_times::NodeTimesRule;
use crate::model::ModelNeeds;
use crate::sampling::candidates::{ListedCandidates, SourceHistory};
use crate::sampling::{Candidates, NegativeError, NegativePool};

/// Candidates of an event of `--protocol tgb`, unless others are asked for.
const CANDIDATES: usize = 100;

/// Whom destinations are ranked among, if the protocol of `config` ranks; `destinations` are those
/// of the stream `log`, whose first `train` events are trained on.
pub(super) fn candidates(
    config: &RunConfig,
    log: &EventLog,
    destinations: &NegativePool,
    train: usize,
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
        CandidateSource::HalfHistorical(count) => match destinations {
            NegativePool::Destinations(pool) => {
                let src = bytemuck::cast_slice(&log.src()[..train]);
                let dst = bytemuck::cast_slice(&log.dst()[..train]);
                Some(Candidates::HalfHistorical {
                    pool: pool[..].into(),
                    count,
                    history: Arc::new(SourceHistory::of(log.nodes(), src, dst)),
                })
            }
            _ => None,
        },
    })
}

/// The measure that chooses the epoch.
pub(super) fn monitor(config: &RunConfig) -> Monitor {
    let given = config.training.monitor;
    given.unwrap_or_else(|| config.protocol.name.monitor())
}

/// Pools that negatives are drawn from.
pub(super) struct Pools {
    /// In evaluation.
    pub(super) own: NegativePool,
    /// In training, if elsewhere.
    pub(super) train: Option<NegativePool>,
    /// The one of destinations and all nodes that the protocol does not use.
    pub(super) other: NegativePool,
}

impl Pools {
    /// Those of `protocol` on the first `events` events of `log`, of which the first `train` ones are
    /// trained on.
    pub(super) fn of(
        protocol: Protocol,
        log: &EventLog,
        events: usize,
        train: usize,
    ) -> Result<Pools, NegativeError> {
        let src: &[NodeId] = bytemuck::cast_slice(&log.src()[..events]);
        let dst: &[NodeId] = bytemuck::cast_slice(&log.dst()[..events]);
        let destinations = NegativePool::destinations(dst)?;
        let all_nodes = if events < log.events() {
            // What only later events have does not occur.
            NegativePool::end_points(src, dst)?
        } else {
            NegativePool::AllNodes {
                nodes: log.nodes() as u32,
            }
        };
        let (own, other) = match protocol {
            Protocol::Tgl | Protocol::Mspipe => (all_nodes, destinations),
            Protocol::Default | Protocol::Tgb | Protocol::Dyglib => (destinations, all_nodes),
        };
        let train = match protocol {
            Protocol::Dyglib => Some(NegativePool::destinations(&dst[..train])?),
            Protocol::Mspipe => Some(NegativePool::end_points(&src[..train], &dst[..train])?),
            Protocol::Default | Protocol::Tgl | Protocol::Tgb => None,
        };
        Ok(Pools { own, train, other })
    }

    /// The destinations.
    pub(super) fn destinations(&self) -> &NegativePool {
        match &self.own {
            NegativePool::Destinations(_) => &self.own,
            _ => &self.other,
        }
    }
}

/// The rules that a run's numbers are measured under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Which endpoints see an event as their past.
    pub(super) directions: Directions,
    /// Whether the events of a batch are hidden from one another.
    pub(super) hide_batch: bool,
    /// Whether time counts from the stream's first event, not from 0.
    from_first_event: bool,
    pub(super) time_delta: TimeDelta,
    write: MemoryWrite,
    mail_rule: MailRule,
    catch_up: bool,
    needs: ModelNeeds,
}

impl Rules {
    /// Rules of `config` for a model that needs `needs`.
    pub(super) fn of(config: &RunConfig, needs: ModelNeeds) -> Rules {
        // MSPipe's code is built on TGL's.
        let tgl = matches!(config.protocol.name, Protocol::Tgl | Protocol::Mspipe);
        Rules {
            directions: if tgl {
                Directions::SourceOnly
            } else {
                Directions::Both
            },
            hide_batch: config.protocol.hides_batch().is_on(),
            from_first_event: !tgl,
            time_delta: config.time_delta(),
            write: config.model.memory_write,
            mail_rule: MailRule {
                aggregation: config.model.mail_aggregation,
                order: if tgl {
                    MailOrder::Row
                } else {
                    MailOrder::Event
                },
                to_neighbors: needs.mail_to_neighbors,
            },
            catch_up: config.pipeline.mitigation == MitigationName::CatchUp,
            needs,
        }
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
            catch_up: self.catch_up,
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

#[cfg(test)]
mod tests {
    use mspipe_datasets::EventLog;

    use super::*;

    /// 800 users, 10 items, 1,575 events.
    fn log() -> EventLog {
        EventLog::open("synthetic:wikipedia:scale=0.01", &Default::default()).unwrap()
    }

    fn nodes(pool: &NegativePool) -> Vec<u32> {
        match pool {
            NegativePool::Destinations(nodes) | NegativePool::EndPoints(nodes) => {
                nodes.iter().map(|node| node.0).collect()
            }
            NegativePool::AllNodes { nodes } => (0..*nodes).collect(),
            _ => {
                unreachable!("a protocol has neither recorded negatives nor pairs as its own pool")
            }
        }
    }

    /// By a plain definition: each node that a column of the events has.
    fn occurring(columns: &[&[u32]], events: usize) -> Vec<u32> {
        let mut all: Vec<u32> = columns.iter().flat_map(|c| c[..events].to_vec()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn negatives_come_from_where_the_protocol_says() {
        let log = log();
        let (all, train) = (log.events(), log.split().train.end);
        let (src, dst) = (log.src(), log.dst());
        let everyone: Vec<u32> = (0..log.nodes() as u32).collect();
        for (protocol, own, trained, other) in [
            (Protocol::Default, occurring(&[dst], all), None, &everyone),
            (Protocol::Tgb, occurring(&[dst], all), None, &everyone),
            (
                Protocol::Dyglib,
                occurring(&[dst], all),
                Some(occurring(&[dst], train)),
                &everyone,
            ),
            (
                Protocol::Tgl,
                everyone.clone(),
                None,
                &occurring(&[dst], all),
            ),
            (
                Protocol::Mspipe,
                everyone.clone(),
                Some(occurring(&[src, dst], train)),
                &occurring(&[dst], all),
            ),
        ] {
            let pools = Pools::of(protocol, &log, all, train).unwrap();
            assert_eq!(nodes(&pools.own), own, "{protocol:?}");
            assert_eq!(pools.train.as_ref().map(nodes), trained, "{protocol:?}");
            assert_eq!(&nodes(&pools.other), other, "{protocol:?}");
            assert_eq!(nodes(pools.destinations()), occurring(&[dst], all));
        }
        assert!(occurring(&[src, dst], train).len() < log.nodes());
    }

    #[test]
    fn of_the_first_events_only_nodes_that_occur_are_drawn() {
        let log = log();
        let (src, dst) = (log.src(), log.dst());
        for protocol in [Protocol::Tgl, Protocol::Mspipe] {
            let pools = Pools::of(protocol, &log, 300, 200).unwrap();
            assert_eq!(nodes(&pools.own), occurring(&[src, dst], 300));
            assert_eq!(nodes(&pools.other), occurring(&[dst], 300));
        }
        let pools = Pools::of(Protocol::Default, &log, 300, 200).unwrap();
        assert_eq!(nodes(&pools.other), occurring(&[src, dst], 300));
        assert!(nodes(&pools.other).len() < log.nodes());
    }
}
