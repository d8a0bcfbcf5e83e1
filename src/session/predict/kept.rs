//! Which past events sampling can still reach, so that no others need be kept.
//!
//! A query after the last event samples at most `fanout` events of a node, the newest before it. With
//! more layers each event's other end is asked for its own past before that event, and so on. Uniform
//! sampling may ask for any event. A model that samples nothing asks for none.

use crate::graph::tcsr::Places;
use crate::graph::{NodeId, Tcsr, Timestamp};

/// What queries can reach.
pub(super) struct Reached {
    /// Entries of the graph.
    pub(super) places: Places,
    /// Their events, ascending.
    pub(super) events: Vec<u32>,
}

/// What queries at `last` or later can reach in a graph of `nodes` nodes if they sample the newest `fanout`
/// events through `layers` layers.
pub(super) fn reached(
    graph: &Tcsr,
    [layers, fanout]: [usize; 2],
    nodes: usize,
    last: Timestamp,
) -> Reached {
    let mut reached = Reached {
        places: graph.no_places(),
        events: Vec::new(),
    };
    if layers == 0 {
        return reached;
    }
    let deep = layers > 1;
    let mut queries: Vec<(NodeId, Timestamp)> = Vec::new();
    for node in (0..nodes as u32).map(NodeId) {
        // Events at the very time of a query are not in its past, and are in that of a later one.
        let before = graph.past(node, last, None);
        let all = graph.past(node, Timestamp::MAX, None);
        let first = before.end - before.len().min(fanout);
        reached.add(graph, first..all.end, deep.then_some(&mut queries));
    }
    for _ in 1..layers {
        queries.sort_unstable();
        queries.dedup();
        let mut deeper = Vec::new();
        for (node, time) in queries {
            let past = graph.past(node, time, None);
            let first = past.end - past.len().min(fanout);
            reached.add(graph, first..past.end, Some(&mut deeper));
        }
        queries = deeper;
    }
    reached.events.sort_unstable();
    reached.events.dedup();
    reached
}

impl Reached {
    /// Adds the entries at `places`; what they lead to is added to `next`.
    fn add(
        &mut self,
        graph: &Tcsr,
        places: std::ops::Range<usize>,
        next: Option<&mut Vec<(NodeId, Timestamp)>>,
    ) {
        let seen = graph.slice(places.clone());
        for (place, event) in places.zip(seen.event) {
            if self.places.add(place) {
                self.events.push(event.0);
            }
        }
        if let Some(next) = next {
            next.extend(seen.neighbor.iter().copied().zip(seen.time.iter().copied()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use mspipe_datasets::whole_file::Existing;
    use mspipe_datasets::{EventLog, EventLogParts, FeatureTable};

    use crate::batch::TimeDelta;
    use crate::config::{RunConfig, Switch};
    use crate::device::DeviceChoice;
    use crate::model::ModelName;
    use crate::session::predict::{Late, NewEvent, Pair, Predictor, Side};

    const SOURCES: u64 = 30;
    const DESTINATIONS: u64 = 12;

    /// The ends of event `nth`, of a fixed set of nodes and pairs.
    fn ends(nth: u64) -> [u64; 2] {
        let drawn = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        [
            drawn % SOURCES,
            SOURCES + (drawn / SOURCES + drawn % SOURCES) % DESTINATIONS % 7,
        ]
    }

    fn features(nth: u64) -> Vec<f32> {
        vec![(nth % 17) as f32, (nth % 5) as f32 - 2.0, 0.25]
    }

    /// Some events are at the time of the one before them.
    fn event(nth: u64) -> NewEvent {
        let [src, dst] = ends(nth);
        NewEvent {
            src: src.into(),
            dst: dst.into(),
            time: (nth - nth % 3) as i64,
            features: features(nth),
        }
    }

    /// A small run on the first 300 events, in `folder`.
    fn trained(folder: &Path, model: ModelName, layers: usize) -> Arc<EventLog> {
        trained_with(folder, |config| {
            config.model.name = model;
            config.model.layers = layers;
        })
    }

    fn trained_with(folder: &Path, change: impl FnOnce(&mut RunConfig)) -> Arc<EventLog> {
        let events = 0..300;
        let table: Vec<f32> = events.clone().flat_map(features).collect();
        let log = Arc::new(
            EventLog::from_parts(EventLogParts {
                name: "drawn".to_owned(),
                nodes: (SOURCES + DESTINATIONS) as usize,
                src: events.clone().map(|nth| ends(nth)[0] as u32).collect(),
                dst: events.clone().map(|nth| ends(nth)[1] as u32).collect(),
                time: events.map(|nth| event(nth).time).collect(),
                edge_features: Some(FeatureTable::from_f32(300, 3, table).unwrap()),
                ..EventLogParts::default()
            })
            .unwrap(),
        );
        let mut config = RunConfig {
            device: DeviceChoice::Cpu.into(),
            ..RunConfig::default()
        };
        config.model.pair_history = Some(Switch::On);
        config.model.width = 8;
        config.model.fanout = 4;
        config.training.epochs = 1;
        config.training.batch_size = 50;
        config.output.out = Some(folder.join("run"));
        change(&mut config);
        crate::session::train_on(&log, config, |_| Ok(())).unwrap();
        log
    }

    fn bits(predictor: &Predictor, time: i64) -> Vec<u32> {
        let pairs: Vec<Pair> = (0..200)
            .map(|nth| {
                let [src, dst] = ends(nth * 7);
                Pair {
                    src: src.into(),
                    dst: dst.into(),
                    time: time + (nth % 2) as i64,
                }
            })
            .collect();
        let scores = predictor.score(&pairs).unwrap();
        scores.iter().map(|score| score.logit.to_bits()).collect()
    }

    /// What is let go of is asked for by nothing: the answers are those of a predictor that keeps all, also
    /// from a state that was saved and loaded in between.
    #[test]
    fn answers_are_those_of_a_predictor_that_keeps_all() {
        for (model, layers) in [
            (ModelName::Tgn, 1),
            (ModelName::Tgn, 2),
            (ModelName::Apan, 1),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let log = trained(folder.path(), model, layers);
            let run = folder.path().join("run");
            let mut letting_go = Predictor::load_on(&run, &log).unwrap();
            let mut keeping = Predictor::load_on(&run, &log).unwrap();
            keeping.keeps_all = true;
            for round in 0..8 {
                let first = 300 + round * 2000;
                let new: Vec<NewEvent> = (first..first + 2000).map(event).collect();
                for part in new.chunks(333) {
                    letting_go.update(part, Late::Refuse).unwrap();
                    keeping.update(part, Late::Refuse).unwrap();
                    let now = letting_go.last().unwrap();
                    assert_eq!(
                        bits(&letting_go, now),
                        bits(&keeping, now),
                        "{model} {layers}"
                    );
                }
                let now = letting_go.last().unwrap() + 1;
                for source in 0..5u64 {
                    let best = |of: &Predictor| of.top_k(&source.into(), now, 5, true).unwrap();
                    assert_eq!(best(&letting_go), best(&keeping));
                }
                let nodes: Vec<_> = (0..SOURCES).map(Into::into).collect();
                let rows = |of: &Predictor| of.embed(&nodes, Side::Source, now).unwrap();
                assert_eq!(rows(&letting_go), rows(&keeping));
                // Some 24,000 entries and rows came since: most were let go of.
                assert!(
                    round < 3 || 2 * letting_go.held() < keeping.held(),
                    "{model} {layers}"
                );
                if round % 4 == 3 {
                    let state = folder.path().join("state.safetensors");
                    letting_go
                        .save(&state, round == 3, Existing::Replace)
                        .unwrap();
                    letting_go = Predictor::load_on(&state, &log).unwrap();
                }
            }
        }
    }

    /// Rows that are made ready beforehand and again afterwards, and what is let go of in small steps with questions
    /// between them, change no answer; and following makes the rows of new nodes alone.
    #[test]
    fn answers_between_small_steps_are_those_of_whole_updates() {
        for (model, query) in [
            (ModelName::Tgn, false),
            (ModelName::Tgn, true),
            (ModelName::Jodie, false),
            (ModelName::Apan, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let log = trained_with(folder.path(), |config| {
                config.model.name = model;
                if query {
                    config.model.time_delta = Some(TimeDelta::Query);
                }
            });
            let run = folder.path().join("run");
            let mut stepping = Predictor::load_on(&run, &log).unwrap();
            let mut whole = Predictor::load_on(&run, &log).unwrap();
            whole.keeps_all = true;
            let (mut batches, mut unready, mut steps) = (0, 0, 0);
            for nth in 0..220 {
                let first = 300 + nth * 50;
                let mut new: Vec<NewEvent> = (first..first + 50).map(event).collect();
                // Each batch has one node that nobody has seen.
                new[7].src = (1000 + nth).into();
                whole.update(&new, Late::Refuse).unwrap();
                let before = stepping.last().unwrap();
                let answers = bits(&stepping, before);
                for part in new.chunks(20) {
                    stepping
                        .make_ready(&part.iter().collect::<Vec<_>>())
                        .unwrap();
                }
                assert_eq!(bits(&stepping, before), answers, "{model}");
                stepping.observe(&new, Late::Refuse).unwrap();
                batches += 1;
                let made = |of: &Predictor| of.updated.lock().unwrap().made();
                let made_before = made(&stepping);
                let mut changed = stepping.follow_batch().unwrap().unwrap();
                unready += made(&stepping) - made_before;
                assert!(stepping.follow_batch().unwrap().is_none());
                // Rows without query times and mail of others stay until the node's next event.
                let stay = model != ModelName::Apan && !query;
                assert_eq!(changed.0.is_empty(), !stay, "{model} {query}");
                if nth >= 200 {
                    while !stepping.make_again(&mut changed, 30).unwrap() {}
                    let made_before = made(&stepping);
                    bits(&stepping, stepping.last().unwrap());
                    // The first question makes those that batches changed before.
                    let found_all = made(&stepping) == made_before;
                    assert!(!stay || nth == 200 || found_all, "{model}");
                }
                let now = stepping.last().unwrap();
                if let Some(mut rest) = stepping.outlived() {
                    while !stepping.let_go(&mut rest, 50) {
                        steps += 1;
                        if steps % 31 == 0 {
                            assert_eq!(bits(&stepping, now), bits(&whole, now), "{model}");
                        }
                    }
                }
                if nth % 10 == 0 {
                    assert_eq!(bits(&stepping, now), bits(&whole, now), "{model} {query}");
                }
            }
            assert_eq!(unready, batches, "{model} {query}");
            assert!(steps > 100, "{steps}");
            assert!(2 * stepping.held() < whole.held());
        }
    }

    /// Five times as many events over the same nodes and pairs take no more bytes.
    #[test]
    fn bytes_grow_with_nodes_and_pairs_and_not_with_events() {
        for model in [ModelName::Tgn, ModelName::Jodie, ModelName::Apan] {
            let folder = tempfile::tempdir().unwrap();
            let log = trained(folder.path(), model, 1);
            let mut predictor = Predictor::load_on(folder.path().join("run"), &log).unwrap();
            let mut after = Vec::new();
            // By the first of them, room that was let go of is in use again.
            for end in [16_000, 80_000] {
                while predictor.events() < end {
                    let first = predictor.events() as u64;
                    let new: Vec<NewEvent> = (first..first + 500).map(event).collect();
                    predictor.update(&new, Late::Refuse).unwrap();
                }
                after.push(predictor.bytes());
            }
            for (few, many) in after[0].iter().zip(&after[1]) {
                // Lists of the last events that there were may have been longer by some.
                let room = 4096 + few.1 / 10;
                assert!(many.1 <= few.1 + room, "{model}: {few:?}, {many:?}");
            }
            let all: u64 = after[1].iter().map(|(_, bytes)| bytes).sum();
            assert!(
                all > 0
                    && after[1]
                        .iter()
                        .any(|(part, bytes)| *part == "graph" && *bytes > 0)
            );
        }
    }
}
