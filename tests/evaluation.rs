//! Passes with fixed weights: two pools of negatives from one memory.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mspipe::batch::{DeliveryRule, LayoutRule, MailAggregation, MailOrder, TimeDelta};
use mspipe::eval::Negatives;
use mspipe::features::{FeatureSource, Features};
use mspipe::graph::{Directions, NodeId, Tcsr};
use mspipe::memory::clock::{ClockRule, NodeClock};
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::{MemoryStore, MemoryWrite};
use mspipe::model::init::Initializer;
use mspipe::model::tgn::Tgn;
use mspipe::model::{LinkModel, ModelConfig};
use mspipe::sampling::{NegativePool, Recent};
use mspipe::train::evaluation::Evaluator;
use mspipe::train::stages::Sampling;
use mspipe_datasets::EventLog;

use super::on_device;

const MODEL: ModelConfig = ModelConfig {
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
};

/// A small generated stream whose memory is written whenever it is read, by negatives too,
/// so that every trace of an evaluation shows.
struct Fixture {
    evaluator: Evaluator,
    model: LinkModel<Tgn>,
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
        let clock = ClockRule {
            time_delta: TimeDelta::Message,
            write: MemoryWrite::Read,
            mail_slots: 1,
            ticks_per_unit: log.ticks_per_unit(),
            origin: 0,
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
            layout: LayoutRule {
                layers: 1,
                time_delta: TimeDelta::Message,
                delivery: DeliveryRule {
                    aggregation: MailAggregation::Last,
                    order: MailOrder::Event,
                    to_neighbors: false,
                },
                ticks_per_unit: log.ticks_per_unit(),
            },
            batch_size: 50,
            seed: 1,
            scratch: Default::default(),
            log,
        });
        let clock = NodeClock::new(nodes, clock);
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
    let times = memory.clock().last_update().to_vec();
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
        evaluator.replay(&model, &mut memory).unwrap();
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

/// Which pool comes first decides whose memory goes on, and changes no number.
#[test]
fn the_second_pool_is_measured_as_if_it_were_the_first() {
    on_device(|device| {
        let measure = |first| {
            let fixture = Fixture::new(first, device);
            let (evaluator, model) = (&fixture.evaluator, &fixture.model);
            // Memory before the first event: the same for both.
            let test = evaluator.test(model, &mut fixture.memory.clone()).unwrap();
            (test, evaluator.edgebank().unwrap())
        };
        let (a, bank_a) = measure(Negatives::Destinations);
        let (b, bank_b) = measure(Negatives::AllNodes);
        assert_eq!(a.own_pool, b.other_pool);
        assert_eq!(a.other_pool, b.own_pool);
        assert_eq!(bank_a.unlimited.test_ap, bank_b.unlimited.test_other_pool_ap);
        assert_eq!(bank_a.window.test_other_pool_ap, bank_b.window.test_ap);
    });
}
