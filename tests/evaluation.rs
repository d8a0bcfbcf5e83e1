//! Passes with fixed weights: pools of negatives and candidates from one memory; metrics against
//! recorded and hand-computed values.

use std::cmp::Ordering;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mspipe::batch::{LayoutRule, MailAggregation, MailOrder, MailRule, TimeDelta};
use mspipe::eval::edgebank::{Bank, EdgeBank};
use mspipe::eval::{LinkMetrics, Monitor, Negatives, Rank, metrics};
use mspipe::features::{FeatureSource, Features};
use mspipe::graph::{Directions, EventColumns, NodeId, Tcsr};
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::node_times::{NodeTimes, NodeTimesRule};
use mspipe::memory::{MemoryStore, MemoryWrite};
use mspipe::model::init::Initializer;
use mspipe::model::{LinkModel, ModelConfig, ModelName};
use mspipe::sampling::candidates::ListedCandidates;
use mspipe::sampling::{Candidates, NegativePool, Recent, SplitPart};
use mspipe::train::evaluation::{Evaluator, Scored};
use mspipe::train::histories::Histories;
use mspipe::train::pass::Sampling;
use mspipe_datasets::EventLog;
use serde_json::Value;

use super::on_device;

const MODEL: ModelConfig = ModelConfig {
    name: ModelName::Tgn,
    width: 8,
    time_width: 8,
    edge_width: 4,
    node_width: 0,
    layers: 1,
    heads: 2,
    mail_slots: 1,
    train_time_encoding: true,
    dropout: 0.1,
    attention_dropout: 0.1,
    pair_history: 0,
};

/// A small generated stream whose memory is written whenever it is read, by negatives too,
/// so that every trace of an evaluation shows.
struct Fixture {
    evaluator: Evaluator,
    model: LinkModel,
    memory: DeviceMemory,
}

impl Fixture {
    fn new(first: Negatives, device: &Device) -> Fixture {
        let log = Arc::new(
            EventLog::open("synthetic:wikipedia:scale=0.01", &Default::default()).unwrap(),
        );
        let src: &[NodeId] = bytemuck::cast_slice(log.src());
        let dst: &[NodeId] = bytemuck::cast_slice(log.dst());
        let graph = Tcsr::build(log.nodes(), src, dst, log.time(), Directions::Both).unwrap();
        let clock = NodeTimesRule {
            time_delta: TimeDelta::Message,
            write: MemoryWrite::Read,
            mail_slots: 1,
            catch_up: false,
            ticks_per_unit: log.ticks_per_unit(),
            origin: 0,
            first: 0,
        };
        let mut pools = [
            NegativePool::destinations(dst).unwrap(),
            NegativePool::AllNodes {
                nodes: log.nodes() as u32,
            },
        ];
        if first == Negatives::AllNodes {
            pools.reverse();
        }
        let [own, other] = pools;
        let (nodes, split) = (log.nodes(), log.split());
        let sampling = Arc::new(Sampling {
            features: Features::new(&log, FeatureSource::Random(4), FeatureSource::Zero, 1),
            graph: Arc::new(graph),
            sampler: Arc::new(Recent { fanout: 4 }),
            hide_batch: false,
            negatives: own,
            train_negatives: None,
            layout: LayoutRule {
                layers: 1,
                time_delta: TimeDelta::Message,
                mail_rule: MailRule {
                    aggregation: MailAggregation::Last,
                    order: MailOrder::Event,
                    to_neighbors: false,
                },
                attends_to_mail: false,
                ticks_per_unit: log.ticks_per_unit(),
            },
            batch_size: 50,
            seed: 1,
            histories: Arc::new(Histories::new(split.train.end, false)),
            eval_seed: 1,
            scratch: Default::default(),
            log: log.into(),
        });
        let clock = NodeTimes::new(nodes, clock);
        let width = MODEL.width;
        Fixture {
            evaluator: Evaluator::new(sampling, other, split, device.clone()),
            model: LinkModel::new(&MODEL, &mut Initializer::new(1, device)),
            memory: DeviceMemory::new(nodes, width, MODEL.mail_width(), clock, device),
        }
    }
}

fn bits(tensor: Tensor<2>) -> Vec<u32> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

fn trace(memory: &DeviceMemory) -> (Vec<u32>, Vec<u32>, Vec<i64>, u64) {
    let (rows, mails) = memory.tables();
    let times = memory.node_times().last_update().to_vec();
    (bits(rows), bits(mails), times, memory.version())
}

#[test]
fn a_test_with_two_pools_leaves_the_memory_of_one() {
    on_device(|device| {
        let Fixture {
            evaluator,
            model,
            mut memory,
        } = Fixture::new(Negatives::Destinations, device);
        evaluator
            .replay(&model, &mut memory, SplitPart::Train)
            .unwrap();
        let replayed = trace(&memory);
        assert!(replayed.0.iter().any(|bits| *bits != 0));
        let val = evaluator.validate(&model, &mut memory).unwrap();
        assert_eq!(val.negatives, Negatives::Destinations);

        let mut once = memory.clone();
        let alone = evaluator.test_own_pool(&model, &mut once).unwrap();
        let test = evaluator.test(&model, &mut memory).unwrap();
        assert_eq!(trace(&memory), trace(&once));
        assert_ne!(trace(&memory), replayed);
        assert_eq!(test.own_pool, alone);
        assert_eq!(test.other_pool.negatives, Negatives::AllNodes);
        assert_ne!(test.other_pool.ap, alone.ap);
    });
}

/// Which pool comes first decides whose memory continues, and changes no number.
#[test]
fn the_second_pool_is_measured_as_if_it_were_the_first() {
    on_device(|device| {
        let measure = |first| {
            let fixture = Fixture::new(first, device);
            let (evaluator, model) = (&fixture.evaluator, &fixture.model);
            // Memory before the first event: the same for both.
            let test = evaluator.test(model, &mut fixture.memory.clone()).unwrap();
            (test, evaluator.edgebank(true).unwrap())
        };
        let (a, bank_a) = measure(Negatives::Destinations);
        let (b, bank_b) = measure(Negatives::AllNodes);
        assert_eq!(a.own_pool, b.other_pool);
        assert_eq!(a.other_pool, b.own_pool);
        assert_eq!(
            bank_a.unlimited.test_ap,
            bank_b.unlimited.test_other_pool_ap
        );
        assert_eq!(bank_a.window.test_other_pool_ap, bank_b.window.test_ap);
    });
}

/// Arrays and scikit-learn's values of them, written by the script beside the file.
#[test]
fn average_precision_and_auc_are_scikit_learns() {
    let recorded = include_str!("evaluation/scikit_learn.json");
    let cases: Vec<Value> = serde_json::from_str(recorded).unwrap();
    assert_eq!(cases.len(), 8);
    for case in &cases {
        let scores = |class: &str| -> Vec<f32> {
            let values = case[class].as_array().unwrap();
            values.iter().map(|x| x.as_f64().unwrap() as f32).collect()
        };
        let (positive, negative) = (scores("positive"), scores("negative"));
        for (name, value) in [
            (
                "average_precision",
                metrics::average_precision(&positive, &negative),
            ),
            ("roc_auc", metrics::roc_auc(&positive, &negative)),
        ] {
            let (value, expected) = (value.unwrap(), case[name].as_f64().unwrap());
            // Both add the same terms; scikit-learn in another order.
            assert!(
                (value - expected).abs() < 1e-14,
                "{}: {name} {value}, scikit-learn {expected}",
                case["name"]
            );
        }
    }
}

/// Scores of the test part, with what is ranked and with which negatives.
fn scored(evaluator: Evaluator, fixture: &Fixture) -> (Scored, LinkMetrics) {
    let mut memory = fixture.memory.clone();
    let test = evaluator.split.test.clone();
    let scored = evaluator
        .scores_of(&fixture.model, &mut memory, test)
        .unwrap();
    let mut memory = fixture.memory.clone();
    let metrics = evaluator
        .test_own_pool(&fixture.model, &mut memory)
        .unwrap();
    (scored, metrics)
}

/// With one candidate per event, which is its negative, the rank is 1 or 2: the one that the
/// scores of the batch itself give. So candidates are scored bit for bit like roots.
#[test]
fn a_candidate_scores_what_it_scores_as_a_negative() {
    on_device(|device| {
        let fixture = Fixture::new(Negatives::Destinations, device);
        let evaluator = fixture.evaluator.clone();
        let (plain, _) = scored(evaluator.clone(), &fixture);
        let mut lists = Vec::new();
        for batch in &plain.batches {
            let negatives = batch.neg.iter().map(|&node| vec![node]);
            lists.extend(batch.events.clone().zip(negatives));
        }
        let listed = Candidates::Listed(Arc::new(ListedCandidates::new(lists)));
        let (ranked, metrics) = scored(evaluator.with_candidates(listed), &fixture);
        // Nothing else has changed: candidates leave no trace in the memory.
        assert_eq!(ranked.scores, plain.scores);
        let scores = plain.scores.into_iter();
        let (positive, negative): (Vec<_>, Vec<_>) =
            scores.map(|of| (of.positive, of.negative)).unzip();
        let (positive, negative) = (positive.concat(), negative.concat());
        assert_eq!(ranked.ranks.len(), positive.len());
        let mut sum = 0.0;
        for (i, rank) in ranked.ranks.iter().enumerate() {
            let expected = match positive[i].partial_cmp(&negative[i]).unwrap() {
                Ordering::Greater => 1.0,
                Ordering::Equal => 1.0 / 1.5,
                Ordering::Less => 0.5,
            };
            assert_eq!(
                (rank.reciprocal, rank.candidates),
                (expected, 1),
                "event {i}"
            );
            sum += rank.reciprocal;
        }
        let ranking = metrics.ranking.unwrap();
        assert_eq!(ranking.mrr, sum / positive.len() as f64);
        assert_eq!(ranking.candidates, 1.0);
        assert!(!ranking.batch_hidden);
        let measures = [
            (Monitor::ValAp, metrics.ap),
            (Monitor::ValApBatchMean, metrics.ap_batch_mean),
            (Monitor::ValMrr, ranking.mrr),
            (Monitor::ValAuc, metrics.auc),
        ];
        for (monitor, value) in measures {
            assert_eq!(monitor.of(&metrics), value);
        }
        assert_ne!(metrics.ap, metrics.ap_batch_mean);
    });
}

/// Pairs with sources of their own are scored from the same memory, and change nothing in it.
#[test]
fn pairs_of_the_past_are_harder_and_leave_no_trace() {
    on_device(|device| {
        let fixture = Fixture::new(Negatives::Destinations, device);
        let plain = fixture
            .evaluator
            .test(&fixture.model, &mut fixture.memory.clone())
            .unwrap();
        assert_eq!(plain.historical, None);
        let evaluator = fixture.evaluator.clone().with_past_pairs().unwrap();
        let mut memory = fixture.memory.clone();
        let test = evaluator.test(&fixture.model, &mut memory).unwrap();
        assert_eq!(test.own_pool, plain.own_pool);
        let mut once = fixture.memory.clone();
        fixture
            .evaluator
            .test_own_pool(&fixture.model, &mut once)
            .unwrap();
        assert_eq!(trace(&memory), trace(&once));
        let (historical, inductive) = (test.historical.unwrap(), test.inductive.unwrap());
        assert_eq!(historical.negatives, Negatives::Historical);
        assert_eq!(inductive.negatives, Negatives::Inductive);
        assert_ne!(historical.auc, inductive.auc);
        // A bank that remembers pairs is fooled by pairs that have happened.
        let bank = evaluator.edgebank(true).unwrap();
        let [unlimited, window] = [bank.unlimited, bank.window];
        assert!(
            unlimited.test_historical_ap.unwrap() < unlimited.test_ap - 0.1,
            "{bank:?}"
        );
        assert!(window.test_historical_ap.unwrap() > unlimited.test_historical_ap.unwrap());
    });
}

/// The stream repeats pairs and prefers some destinations: counting tells more of that than
/// remembering pairs does.
#[test]
fn the_counting_baseline_knows_more_than_edgebank() {
    on_device(|device| {
        let fixture = Fixture::new(Negatives::Destinations, device);
        let pool = fixture.evaluator.sampling().negatives.clone();
        let NegativePool::Destinations(destinations) = pool else {
            unreachable!("the fixture's own pool")
        };
        let candidates = Candidates::Drawn {
            pool: destinations[..].into(),
            count: 7,
        };
        let evaluator = fixture.evaluator.with_candidates(candidates);
        let evaluator = evaluator.with_past_pairs().unwrap();
        let counts = evaluator.counts(true).unwrap();
        let bank = evaluator.edgebank(true).unwrap().unlimited;
        let test = counts.test;
        assert!(
            counts.val.unwrap().ap > bank.val_ap.unwrap() + 0.01,
            "{counts:?} {bank:?}"
        );
        assert!(
            test.own_pool.ap > bank.test_ap + 0.01,
            "{counts:?} {bank:?}"
        );
        let ranking = test.own_pool.ranking.unwrap();
        assert_eq!(ranking.candidates, 7.0);
        assert!(
            ranking.mrr > bank.test_mrr.unwrap() + 0.01,
            "{counts:?} {bank:?}"
        );
        // Ranked with the protocol's own pool alone; the others are what they say.
        assert_eq!(test.other_pool.ranking, None);
        assert_eq!(test.other_pool.negatives, Negatives::AllNodes);
        assert!(test.historical.unwrap().ap < test.own_pool.ap);
        assert_eq!(test.inductive.unwrap().negatives, Negatives::Inductive);
        assert_eq!(evaluator.counts(true).unwrap(), counts);
    });
}

/// By hand, with ties: a stream of ten events of which seven train, one validates and two test.
///
/// ```text
/// time  0   10  20  30  40  50  100 | 110 | 111 120        window: 15 of 100
///      0>3 1>3 0>4 1>4 2>3 0>3  1>5 | 0>3 | 1>4 2>5
/// ```
#[test]
fn edgebanks_ranks_by_hand() {
    let nodes = |ids: &[u32]| -> Vec<NodeId> { ids.iter().copied().map(NodeId).collect() };
    let mut bank = EdgeBank::after(EventColumns {
        src: &nodes(&[0, 1, 0, 1, 2, 0, 1]),
        dst: &nodes(&[3, 3, 4, 4, 3, 3, 5]),
        time: &[0, 10, 20, 30, 40, 50, 100],
    });
    let rank = |bank: &EdgeBank, of: Bank, src: u32, dst: u32, others: &[u32]| {
        let score = |dst: u32| bank.score(of, NodeId(src), NodeId(dst));
        let others: Vec<f32> = others.iter().map(|&dst| score(dst)).collect();
        Rank::of(score(dst), &others).unwrap().reciprocal
    };
    // 0>3 among 4 and 5: unlimited knows 3 and 4, so that they tie for ranks 1 and 2; at time 100
    // the window knows neither, and all three tie.
    assert_eq!(rank(&bank, Bank::Unlimited, 0, 3, &[4, 5]), 1.0 / 1.5);
    assert_eq!(rank(&bank, Bank::Window, 0, 3, &[4, 5]), 1.0 / 2.0);
    bank.insert(EventColumns {
        src: &nodes(&[0]),
        dst: &nodes(&[3]),
        time: &[110],
    });
    // The window is 95..=110 now: it knows 0>3 and 1>5.
    assert_eq!(rank(&bank, Bank::Window, 0, 3, &[4, 5]), 1.0);
    // 1>4 among 3 and 5: unlimited knows all three; the window knows 5 alone, and 4 ties with 3.
    assert_eq!(rank(&bank, Bank::Unlimited, 1, 4, &[3, 5]), 1.0 / 2.0);
    assert_eq!(rank(&bank, Bank::Window, 1, 4, &[3, 5]), 1.0 / 2.5);
    // 2>5 among 3 and 4: unlimited knows 3 alone; the window knows none.
    assert_eq!(rank(&bank, Bank::Unlimited, 2, 5, &[3, 4]), 1.0 / 2.5);
    assert_eq!(rank(&bank, Bank::Window, 2, 5, &[3, 4]), 1.0 / 2.0);
}
