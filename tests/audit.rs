//! The leak auditor: it passes this program, and finds each fault that is built into it here.

use std::sync::Arc;

use burn::tensor::Device;
use clap::Parser;
use mspipe::audit::{
    self, Answers, AuditStream, Check, Kept, LabelScores, Report, ScoredBatch, Sight, Subject,
};
use mspipe::config::RunConfig;
use mspipe::graph::{EventId, NodeId, Queries, Tcsr, Timestamp};
use mspipe::sampling::{NeighborSampler, Neighbors, Recent, SampleKey};
use mspipe::session::SessionError;
use mspipe::session::audited::{self, Program};
use mspipe::train::histories::Limits;
use mspipe_datasets::Stop;
use mspipe_datasets::{MAX_TIME, NO_LABEL};

use crate::on_device;
use crate::operations::draws;

/// The program's options.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: RunConfig,
}

const FANOUT: usize = 4;

/// A small model on the first events of a generated stream.
fn setting(options: &str) -> (RunConfig, AuditStream) {
    const SMALL: &str = "mspipe --data synthetic:wikipedia:scale=0.01 --limit-events 600 \
                         --batch-size 50 --width 16 --time-width 8 --fanout 4 --mail-slots 3 \
                         --edge-features random:4";
    let all = format!("{SMALL} {options}");
    let mut config = Options::try_parse_from(all.split_whitespace())
        .unwrap()
        .config;
    let stream = audited::stream_of(&mut config, &mspipe_datasets::Stop::default()).unwrap();
    (config, stream)
}

fn audit(options: &str) -> Report {
    let (config, stream) = setting(options);
    on_device(|device| audit_on(config, &stream, device))
}

fn audit_on(config: RunConfig, stream: &AuditStream, device: &Device) -> Report {
    run(Program::new(config, stream, device).unwrap(), stream)
}

fn run<S: Subject<Error = SessionError>>(mut subject: S, stream: &AuditStream) -> Report {
    audit::run(&mut subject, stream, 3, |_| ()).unwrap()
}

/// What the report says of a check that failed.
fn finding(report: &Report, check: Check) -> &str {
    let record = report.checks.iter().find(|record| record.check == check);
    &record.unwrap().findings[0].found
}

#[test]
fn every_model_passes() {
    for options in [
        "--model tgn",
        "--model tgn --layers 2 --sampler uniform",
        "--model tgn --time-delta query --memory host --schedule staleness:2",
        "--model jodie --protocol tgb",
        "--model apan --protocol dyglib",
        "--model tgn --protocol tgb",
        "--model tgn --protocol tgl",
    ] {
        let report = audit(options);
        assert!(report.passed(), "{options}:\n{report}");
        for record in &report.checks {
            let unsampled = options.contains("jodie") && record.check == Check::NeighborCounts;
            assert_eq!(record.skipped.is_some(), unsampled, "{options}: {record:?}");
            assert!(unsampled || record.compared > 0, "{options}: {record:?}");
        }
    }
}

/// `count` events of 40 sources with `destinations` destinations, two at a time, `apart` ticks
/// from the next two.
fn events(count: usize, destinations: usize, apart: Timestamp) -> AuditStream {
    let nodes = 41 + destinations;
    AuditStream {
        name: "made".to_owned(),
        nodes,
        ticks_per_unit: 1,
        src: (0..count).map(|i| NodeId((i * i % 41) as u32)).collect(),
        dst: (0..count)
            .map(|i| NodeId((41 + i * 7 % destinations) as u32))
            .collect(),
        time: (0..count).map(|i| (i / 2) as Timestamp * apart).collect(),
        labels: vec![0; count],
        edge: draws(3, count * 4),
        edge_width: 4,
        node: None,
        synthetic: false,
        notes: Vec::new(),
    }
}

/// Audits `stream` with a small model, in batches of 50 events.
fn audit_of(stream: &AuditStream, options: &str) -> Report {
    on_device(|device| audit_on(setting(options).0, stream, device))
}

#[test]
fn few_destinations_pass() {
    for model in ["tgn", "jodie", "apan"] {
        for destinations in [1, 2, 3] {
            let stream = events(600, destinations, 10);
            let report = audit_of(&stream, &format!("--model {model}"));
            assert!(
                report.passed(),
                "{model}, {destinations} destinations:\n{report}"
            );
        }
    }
}

/// Labels are no part of a score: where they alone can be changed, there is nothing to change.
#[test]
fn a_stream_of_one_pair_without_features_is_no_finding() {
    let mut stream = events(12, 1, 10);
    stream.src.fill(NodeId(0));
    (stream.edge, stream.edge_width) = (Vec::new(), 0);
    let report = audit_of(&stream, "--model jodie");
    assert!(report.passed(), "{report}");
}

/// Events of one time in several batches: the later ones have the earlier ones in memory.
#[test]
fn ties_across_batches_pass() {
    for options in ["--model jodie", "--model tgn"] {
        let mut stream = events(300, 5, 10);
        stream.time = (0..300).map(|i| i / 100).collect();
        let report = audit_of(&stream, options);
        assert!(report.passed(), "{options}:\n{report}");
    }
}

/// Some are shorter than a batch, where only past events that are sampled tell of the past.
#[test]
fn short_streams_pass() {
    let some: &[usize] = &[60, 99, 101];
    for (model, counts) in [("tgn", &[20, 49, 60][..]), ("jodie", some), ("apan", some)] {
        for &count in counts {
            let report = audit_of(&events(count, 5, 10), &format!("--model {model}"));
            assert!(report.passed(), "{model}, {count} events:\n{report}");
        }
    }
}

#[test]
fn batches_of_short_streams_are_small() {
    for (events, batch_size) in [(2000, 100), (600, 60), (30, 3), (5, 1)] {
        let options =
            format!("mspipe --data synthetic:wikipedia:scale=0.02 --limit-events {events}");
        let options = Options::try_parse_from(options.split_whitespace());
        let mut config = options.unwrap().config;
        audited::stream_of(&mut config, &Stop::default()).unwrap();
        assert_eq!(config.training.batch_size, batch_size, "{events} events");
    }
}

/// The largest times that there are, which the changes of an audit would leave.
#[test]
fn the_latest_times_pass() {
    let mut stream = events(200, 5, MAX_TIME / 100);
    stream.time[199] = MAX_TIME;
    let report = audit_of(&stream, "--model jodie");
    assert!(report.passed(), "{report}");
}

/// Sees events of the query's own time, and those up to `late` ticks later.
struct Late {
    late: Timestamp,
}

impl NeighborSampler for Late {
    fn sample(
        &self,
        graph: &Tcsr,
        roots: Queries<'_>,
        hidden_from: Option<EventId>,
        key: SampleKey,
    ) -> Neighbors {
        let time: Vec<Timestamp> = roots.time.iter().map(|time| time + 1 + self.late).collect();
        let roots = Queries {
            time: &time,
            ..roots
        };
        Recent { fanout: FANOUT }.sample(graph, roots, hidden_from, key)
    }
}

fn audit_with_sampler(options: &str, sampler: impl NeighborSampler + 'static) -> Report {
    on_device(|device| {
        let (config, stream) = setting(options);
        let program = Program::new(config, &stream, device).unwrap();
        run(program.with_sampler(Arc::new(sampler)), &stream)
    })
}

#[test]
fn a_sampler_that_sees_its_own_time_is_found() {
    let report = audit_with_sampler("--model tgn", Late { late: 0 });
    let failed = report.failed();
    for check in [Check::EqualTime, Check::OwnFeatures, Check::NeighborCounts] {
        assert!(failed.contains(&check), "{check} in\n{report}");
    }
    // It does not see beyond.
    assert!(!failed.contains(&Check::Future), "{report}");
    let found = finding(&report, Check::OwnFeatures);
    assert!(found.starts_with("its own score went from "), "{found}");
    assert!(found.contains("features and label of event "), "{found}");
    let found = finding(&report, Check::NeighborCounts);
    assert!(
        found.contains("which it must not see") || found.contains("may be given"),
        "{found}"
    );
}

#[test]
fn a_sampler_that_sees_the_future_is_found() {
    let hour = 3600;
    for report in [
        audit_with_sampler("--model tgn", Late { late: 24 * hour }),
        audit_with_sampler("--model apan", Late { late: 1000 * hour }),
    ] {
        let failed = report.failed();
        for check in [Check::Future, Check::NeighborCounts, Check::Training] {
            assert!(failed.contains(&check), "{check} in\n{report}");
        }
        let found = finding(&report, Check::Future);
        assert!(found.contains("when all events after event "), "{found}");
        assert!(
            report.to_string().contains("a score depends on the future"),
            "{report}"
        );
    }
}

fn audit_with_limits(options: &str, limits: Limits) -> Report {
    on_device(|device| {
        let (config, stream) = setting(&format!("--pair-history on {options}"));
        let program = Program::new(config, &stream, device).unwrap();
        run(program.with_history_limits(limits), &stream)
    })
}

/// Of a model that samples nothing else, so that nothing but a pair's history can be found.
#[test]
fn pair_histories_that_see_what_they_must_not_are_found() {
    let sound = audit_with_limits("--model jodie", |time, hidden_from| (time, hidden_from));
    assert!(sound.passed(), "{sound}");

    let own_time = audit_with_limits("--model jodie", |time, hidden| (time + 1, hidden));
    assert_eq!(own_time.failed(), [Check::EqualTime], "{own_time}");

    let future = audit_with_limits("--model jodie", |time, hidden| (time + 86_400, hidden));
    for check in [Check::Future, Check::Training] {
        assert!(future.failed().contains(&check), "{check} in\n{future}");
    }
    // Earlier events of a batch that is hidden.
    let options = "--model jodie --protocol tgb";
    let sound = audit_with_limits(options, |time, hidden_from| (time, hidden_from));
    assert!(sound.passed(), "{sound}");
    let batch = audit_with_limits(options, |time, _| (time, None));
    assert_eq!(batch.failed(), [Check::Repeats], "{batch}");
    let found = finding(&batch, Check::Repeats);
    assert!(found.contains("and so did events "), "{found}");
}

/// Gives the last third of a batch's roots, its negatives, half as many past events.
struct Unfair;

impl NeighborSampler for Unfair {
    fn sample(
        &self,
        graph: &Tcsr,
        roots: Queries<'_>,
        hidden_from: Option<EventId>,
        key: SampleKey,
    ) -> Neighbors {
        let mut neighbors = Recent { fanout: FANOUT }.sample(graph, roots, hidden_from, key);
        let negatives = roots.node.len() / 3 * 2;
        for len in &mut neighbors.len[negatives..] {
            *len = (*len).min(FANOUT as u32 / 2);
        }
        neighbors
    }
}

#[test]
fn negatives_with_fewer_past_events_are_found() {
    let report = audit_with_sampler("--model tgn", Unfair);
    assert_eq!(report.failed(), [Check::NeighborCounts], "{report}");
    let found = finding(&report, Check::NeighborCounts);
    assert!(found.starts_with("its negative (node "), "{found}");
    assert!(found.contains("was given 2 past events"), "{found}");
    assert!(
        report
            .to_string()
            .contains("can tell positives from negatives"),
        "{report}"
    );
}

/// A program with a fault that others have.
struct Faulty<'a> {
    program: Program<'a>,
    fault: Fault<'a>,
}

enum Fault<'a> {
    /// Keeps the memory that an evaluation of the test part leaves, as programs do that test on the live
    /// memory before they save it.
    SavesLate(&'a Device),
    /// Puts the label of each event among its features, as files have it that were made carelessly.
    TellsLabels,
    /// Answers with the memory of all that it was asked before, as servers do that take a question for an
    /// event.
    RemembersQuestions,
}

impl Subject for Faulty<'_> {
    type Error = SessionError;

    fn scores(&mut self, stream: &AuditStream) -> Result<Vec<ScoredBatch>, SessionError> {
        self.program.scores(stream)
    }

    fn losses(&mut self, stream: &AuditStream) -> Result<Vec<f32>, SessionError> {
        self.program.losses(stream)
    }

    fn kept(&mut self, stream: &AuditStream, tested: bool) -> Result<Kept, SessionError> {
        let Fault::SavesLate(device) = self.fault else {
            return self.program.kept(stream, tested);
        };
        let session = self.program.session(stream)?;
        let mut training = session.training(device)?;
        let (_, model) = training.run(&mut |_| Ok(()))?;
        if tested {
            let evaluator = training.evaluator.clone();
            evaluator.test(&model, &mut training.memory)?;
        }
        audited::kept(&model, &training.memory)
    }

    fn answers(
        &mut self,
        stream: &AuditStream,
        asked: bool,
    ) -> Result<Option<Answers>, SessionError> {
        let mut answers = self.program.answers(stream, asked)?;
        if let (Fault::RemembersQuestions, true) = (&self.fault, asked) {
            answers.as_mut().unwrap().kept.0[0].1[3] ^= 1;
        }
        Ok(answers)
    }

    fn label_scores(&mut self, stream: &AuditStream) -> Result<Option<LabelScores>, SessionError> {
        let Fault::TellsLabels = self.fault else {
            return self.program.label_scores(stream);
        };
        let mut told = stream.clone();
        for (event, label) in stream.labels.iter().enumerate() {
            told.edge[event * told.edge_width] += *label as f32;
        }
        self.program.label_scores(&told)
    }

    fn sight(&self) -> Sight {
        self.program.sight()
    }
}

/// What the audit says of a program with a fault.
fn faulty(config: RunConfig, stream: &AuditStream, device: &Device, fault: Fault<'_>) -> Report {
    let program = Program::new(config, stream, device).unwrap();
    run(Faulty { program, fault }, stream)
}

#[test]
fn memory_that_is_saved_after_the_test_is_found() {
    let report = on_device(|device| {
        let (config, stream) = setting("--model tgn --epochs 1");
        faulty(config, &stream, device, Fault::SavesLate(device))
    });
    assert_eq!(report.failed(), [Check::TestTrace], "{report}");
    let found = finding(&report, Check::TestTrace);
    assert!(found.contains("what is kept as `memory` differ"), "{found}");
    assert!(
        report.to_string().contains("has seen the test part"),
        "{report}"
    );
}

/// A small model on a stream whose events have one of three labels, or none.
fn labelled(options: &str) -> (RunConfig, AuditStream) {
    let (config, mut stream) = setting(options);
    for (event, label) in stream.labels.iter_mut().enumerate() {
        *label = match event * event % 7 {
            4 => NO_LABEL,
            other => other as i32,
        };
    }
    (config, stream)
}

#[test]
fn labels_of_nodes_and_of_events_pass() {
    for task in ["node", "edge --balance weights", "edge --model jodie"] {
        let (config, stream) = labelled(&format!("--epochs 1 --task {task}"));
        let report = on_device(|device| audit_on(config, &stream, device));
        assert!(report.passed(), "{task}:\n{report}");
        let labels = report.checks.last().unwrap();
        assert_eq!(labels.check, Check::Labels);
        assert!(
            labels.compared > 1000 && labels.skipped.is_none(),
            "{labels:?}"
        );
    }
}

#[test]
fn labels_among_the_features_are_found() {
    let (config, mut stream) = labelled("--epochs 1 --task edge");
    stream
        .labels
        .iter_mut()
        .for_each(|label| *label = (*label).max(0));
    let report = on_device(|device| faulty(config, &stream, device, Fault::TellsLabels));
    assert_eq!(report.failed(), [Check::Labels], "{report}");
    let found = finding(&report, Check::Labels);
    assert!(found.contains("when the label of event "), "{found}");
}

#[test]
fn a_question_that_leaves_a_trace_is_found() {
    let report = on_device(|device| {
        let (config, stream) = setting("--model tgn --epochs 1");
        faulty(config, &stream, device, Fault::RemembersQuestions)
    });
    assert_eq!(report.failed(), [Check::Answers], "{report}");
    let found = finding(&report, Check::Answers);
    assert!(
        found.contains("`memory` differ when it was asked, the first at 3"),
        "{found}"
    );
}

/// A pair is asked for when its own event is observed already, as the others of its batch are.
#[test]
fn answers_that_see_their_own_event_are_found() {
    let report = audit_with_sampler("--model tgn", Late { late: 0 });
    assert!(report.failed().contains(&Check::Answers), "{report}");
    let found = finding(&report, Check::Answers);
    assert!(found.contains("features and label of event "), "{found}");
}

/// Scores nothing but chance: no check but the first can tell.
struct Constant(Sight);

impl Subject for Constant {
    type Error = SessionError;

    fn scores(&mut self, stream: &AuditStream) -> Result<Vec<ScoredBatch>, SessionError> {
        let events = stream.events();
        Ok(vec![ScoredBatch {
            events: 0..events,
            positive: vec![0.5; events],
            negative: vec![0.5; events],
            ..ScoredBatch::default()
        }])
    }

    fn losses(&mut self, _stream: &AuditStream) -> Result<Vec<f32>, SessionError> {
        Ok(vec![0.7; 8])
    }

    fn kept(&mut self, _stream: &AuditStream, _tested: bool) -> Result<Kept, SessionError> {
        Ok(Kept::default())
    }

    fn answers(&mut self, _: &AuditStream, _: bool) -> Result<Option<Answers>, SessionError> {
        Ok(None)
    }

    fn sight(&self) -> Sight {
        self.0
    }
}

#[test]
fn an_audit_that_could_find_nothing_says_so() {
    let (_, stream) = setting("");
    let sight = Sight {
        fanout: FANOUT,
        both_directions: true,
        hide_batch: false,
        batch_size: 50,
    };
    let report = run(Constant(sight), &stream);
    assert_eq!(report.failed(), [Check::Past], "{report}");
    let found = finding(&report, Check::Past);
    assert!(
        found.contains("none of 600 later scores changed"),
        "{found}"
    );
}

/// A node's past is known by its ids, so that the fixtures above see what they claim to.
#[test]
fn the_faulty_samplers_differ_from_the_sound_one() {
    let nodes = [0, 1, 0].map(NodeId);
    let graph = Tcsr::build(
        2,
        &[NodeId(0); 4],
        &[NodeId(1); 4],
        &[10, 20, 30, 40],
        mspipe::graph::Directions::Both,
    )
    .unwrap();
    let roots = Queries {
        node: &nodes,
        time: &[20; 3],
    };
    let key = SampleKey {
        seed: 0,
        epoch: 0,
        event: 0,
        request: 0,
    };
    let len = |sampler: &dyn NeighborSampler| sampler.sample(&graph, roots, None, key).len;
    assert_eq!(len(&Recent { fanout: FANOUT }), [1, 1, 1]);
    assert_eq!(len(&Late { late: 0 }), [2, 2, 2]);
    assert_eq!(len(&Late { late: 10 }), [3, 3, 3]);
    let roots = Queries {
        time: &[99; 3],
        ..roots
    };
    assert_eq!(Unfair.sample(&graph, roots, None, key).len, [4, 4, 2]);
}
