//! What a predictor answers against what an evaluation computes, bit by bit, on the CPU device.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use clap::Parser;
use mspipe::config::RunConfig;
use mspipe::memory::MemoryStore;
use mspipe::sampling::SplitPart;
use mspipe::session::Session;
use mspipe::{EventLog, FeatureTable, Late, LoadOptions, NewEvent, NodeKey, Pair, Predictor, Side};
use mspipe_datasets::IdSpaces;
use mspipe_datasets::whole_file::Existing;
use tempfile::TempDir;

use crate::on_device;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: RunConfig,
}

const SMALL: &str = "mspipe --data synthetic:wikipedia:scale=0.01 --device cpu --limit-events 700 \
                     --batch-size 60 --width 16 --time-width 8 --fanout 4 --mail-slots 3 --epochs 2";

fn config(options: &str) -> RunConfig {
    let all = format!("{SMALL} {options}");
    Options::try_parse_from(all.split_whitespace())
        .unwrap()
        .config
}

/// A run with these options, and its folder.
fn trained(options: &str) -> (TempDir, RunConfig) {
    let place = TempDir::new().unwrap();
    let mut config = config(options);
    config.output.out = Some(place.path().join("run"));
    let log = stream(&config);
    mspipe::train_on(&log, config.clone(), |_| Ok(())).unwrap();
    (place, config)
}

fn stream(config: &RunConfig) -> Arc<EventLog> {
    Arc::new(EventLog::open(&config.source.data, &Default::default()).unwrap())
}

/// A batch of an evaluation: its pairs, those of its events and then those of its negatives, and
/// their scores. Where the ends of events are nodes of two kinds, a pair with a source at both ends has
/// no name, and is left out.
struct Evaluated {
    events: std::ops::Range<usize>,
    pairs: Vec<Pair>,
    logits: Vec<f32>,
}

/// The test part of the run in `run`, evaluated on memory that was replayed.
fn evaluated(run: &Path, config: &RunConfig) -> Vec<Evaluated> {
    let mut config = config.clone();
    config.output.out = None;
    config.start.init = Some(run.to_owned());
    let session = Session::open(config).unwrap();
    on_device(|device| {
        let training = session.training(device).unwrap();
        let (evaluator, mut memory) = (&training.evaluator, training.memory.clone());
        let model = training.trainer.model().valid();
        memory.reset();
        for part in [SplitPart::Train, SplitPart::Validation] {
            evaluator.replay(&model, &mut memory, part).unwrap();
        }
        let test = evaluator.split.test.clone();
        let scored = evaluator.scores_of(&model, &mut memory, test).unwrap();
        let log = stream(session.config());
        let key = |node: u32| key_of(&log, node);
        let IdSpaces::Two { sources } = log.id_spaces() else {
            panic!("the generated stream has users and pages");
        };
        let batches = scored.batches.into_iter().zip(scored.scores);
        batches
            .map(|(batch, scores)| {
                let both = [(&batch.src, &batch.dst), (&batch.src, &batch.neg)];
                let pairs = both.iter().flat_map(|(src, dst)| {
                    let ends = src.iter().zip(*dst).zip(&batch.time);
                    ends.map(|((src, dst), &time)| Pair {
                        src: key(src.0),
                        dst: key(dst.0),
                        time,
                    })
                });
                let dst = batch.dst.iter().chain(&batch.neg);
                let named = dst.map(|node| node.index() >= sources);
                let logits = [scores.positive, scores.negative].concat();
                let asked = pairs.zip(logits).zip(named).filter(|(_, named)| *named);
                let (pairs, logits) = asked.map(|(asked, _)| asked).unzip();
                Evaluated {
                    events: batch.events.clone(),
                    pairs,
                    logits,
                }
            })
            .collect()
    })
}

fn key_of(log: &EventLog, node: u32) -> NodeKey {
    let ids = log.original_ids();
    ids.map_or(u64::from(node), |ids| ids[node as usize]).into()
}

/// The events `events` of the stream as new ones.
fn events(log: &EventLog, events: std::ops::Range<usize>) -> Vec<NewEvent> {
    events
        .map(|event| {
            let mut features = vec![0.0; log.edge_features().map_or(0, FeatureTable::width)];
            if let Some(table) = log.edge_features() {
                table.row_into(event, &mut features);
            }
            NewEvent {
                src: key_of(log, log.src()[event]),
                dst: key_of(log, log.dst()[event]),
                time: log.time()[event],
                features,
            }
        })
        .collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

fn logits(predictor: &Predictor, pairs: &[Pair]) -> Vec<f32> {
    let scores = predictor.score(pairs).unwrap();
    scores.iter().map(|score| score.logit).collect()
}

/// Asks and follows in turns what was evaluated; returns how many scores were compared.
fn follows(predictor: &mut Predictor, log: &EventLog, batches: &[Evaluated], what: &str) -> usize {
    let mut compared = 0;
    for batch in batches {
        let new = events(log, batch.events.clone());
        predictor.observe(&new, Late::Refuse).unwrap();
        let found = logits(predictor, &batch.pairs);
        assert_eq!(
            bits(&found),
            bits(&batch.logits),
            "{what}: {:?}",
            batch.events
        );
        compared += found.len();
        // Alone, in another order: no score depends on what else is asked for.
        let last = batch.pairs.len() - 1;
        let alone = logits(predictor, &batch.pairs[last..]);
        assert_eq!(bits(&alone), bits(&batch.logits[last..]), "{what}");
        predictor.follow().unwrap();
    }
    compared
}

fn before_test() -> LoadOptions {
    LoadOptions {
        before_test: true,
        ..LoadOptions::default()
    }
}

/// Models with what decides on which way a score is computed.
const RUNS: [&str; 10] = [
    "--model tgn",
    "--model tgn --hide-batch on",
    "--model tgn --pair-history off --layers 2 --edge-features random:5",
    "--model tgn --pair-history off --sampler uniform --hide-batch on --node-features random:3",
    "--model tgn --protocol tgl --edge-features standardize",
    "--model jodie",
    "--model apan",
    "--model apan --hide-batch on --mail-aggregation mean --memory host",
    "--model tgn --schedule staleness:3 --mitigation catch-up",
    "--model jodie --schedule staleness:3 --mitigation pres",
];

#[test]
fn scores_are_those_of_an_evaluation() {
    for options in RUNS {
        let (place, config) = trained(options);
        let run = place.path().join("run");
        let (log, batches) = (stream(&config), evaluated(&run, &config));
        let mut replayed = Predictor::load_with(&run, &before_test()).unwrap();
        assert_eq!(replayed.events(), batches[0].events.start);

        // Two states before the test, one that needs the stream and one that does not.
        let backed = place.path().join("backed.safetensors");
        let contained = place.path().join("contained.safetensors");
        replayed.save(&backed, false, Existing::Keep).unwrap();
        replayed.save(&contained, true, Existing::Keep).unwrap();
        let compared = follows(
            &mut replayed,
            &log,
            &batches,
            &format!("{options}, replayed"),
        );
        // With negatives from all nodes, as TGL has them, few can be named.
        let least = if options.contains("tgl") { 106 } else { 210 };
        assert!((least..=210).contains(&compared), "{options}: {compared}");
        for state in [&backed, &contained] {
            let mut loaded = Predictor::load(state).unwrap();
            follows(
                &mut loaded,
                &log,
                &batches,
                &format!("{options}, {state:?}"),
            );
            ends_as_the_run(&loaded, &run, options);
        }
        ends_as_the_run(&replayed, &run, options);
    }
}

/// A predictor that has followed the test part says what the state of the ended run says.
fn ends_as_the_run(followed: &Predictor, run: &Path, options: &str) {
    let ended = Predictor::load(run).unwrap();
    let now = ended.last().unwrap() + 1000;
    assert_eq!(followed.last(), ended.last());
    let nodes: Vec<NodeKey> = ended
        .nodes()
        .filter(|(_, side)| side.is_none_or(|side| side == Side::Source))
        .map(|(key, _)| key)
        .collect();
    let embedded = |predictor: &Predictor| predictor.embed(&nodes, Side::Source, now).unwrap();
    assert_eq!(
        bits(&embedded(followed)),
        bits(&embedded(&ended)),
        "{options}"
    );
    for source in &nodes[..5] {
        let best = |predictor: &Predictor| predictor.top_k(source, now, 7, false).unwrap();
        assert_eq!(best(followed), best(&ended), "{options}");
        // The same numbers pair by pair.
        let ranked = best(&ended);
        let pairs: Vec<Pair> = ranked
            .iter()
            .map(|ranked| Pair {
                src: source.clone(),
                dst: ranked.node.clone(),
                time: now,
            })
            .collect();
        let of_pairs = logits(&ended, &pairs);
        let of_ranked: Vec<f32> = ranked.iter().map(|ranked| ranked.logit).collect();
        assert_eq!(bits(&of_pairs), bits(&of_ranked), "{options}");
        assert!(of_ranked.is_sorted_by(|a, b| a >= b));
    }
    let replayed = LoadOptions {
        replay: true,
        ..LoadOptions::default()
    };
    let replayed = Predictor::load_with(run, &replayed).unwrap();
    assert_eq!(
        bits(&embedded(&replayed)),
        bits(&embedded(&ended)),
        "{options}"
    );
}

/// Features of events that nothing can ask for are let go of: a state that followed a long stream has
/// those of the last events of each node, and answers as before it was written.
#[test]
fn features_of_old_events_are_let_go_of() {
    let (place, config) = trained("--model tgn --pair-history off --layers 2");
    let run = place.path().join("run");
    let log = stream(&config);
    let width = log.edge_features().map_or(0, FeatureTable::width);
    assert!(width > 0);
    let mut predictor = Predictor::load(&run).unwrap();
    let first = predictor.last().unwrap();
    let known = events(&log, 0..700);
    let state = place.path().join("state.safetensors");
    let mut sizes = Vec::new();
    for round in 0..3 {
        for part in 0..10 {
            let new: Vec<NewEvent> = (0..1000)
                .map(|event| {
                    let nth = (round * 10 + part) * 1000 + event;
                    let like = &known[nth * 31 % 700];
                    NewEvent {
                        time: first + nth as i64,
                        ..like.clone()
                    }
                })
                .collect();
            predictor.update(&new, Late::Refuse).unwrap();
        }
        predictor.save(&state, true, Existing::Replace).unwrap();
        sizes.push(std::fs::metadata(&state).unwrap().len());
        let loaded = Predictor::load(&state).unwrap();
        let now = predictor.last().unwrap() + 1;
        let pairs: Vec<Pair> = known
            .iter()
            .map(|event| Pair {
                src: event.src.clone(),
                dst: event.dst.clone(),
                time: now,
            })
            .collect();
        let found = logits(&predictor, &pairs);
        assert_eq!(bits(&found), bits(&logits(&loaded, &pairs)), "{round}");
    }
    // Ends and times of 10,000 events, and not their features.
    let events = 16 * 10_000;
    assert!(
        sizes[2] - sizes[1] < 2 * events && events * 4 < 10_000 * 4 * width as u64,
        "{sizes:?}"
    );
}
