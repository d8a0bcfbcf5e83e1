//! The device's queue: nothing stays unsubmitted when a stage ends, a read-back waits for its own
//! submission, and iterations are measured in the order in which the queue works.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use burn::tensor::{Device, Tensor, Transaction};
use mspipe::device::queue::{self, GpuQueue, QueueClock, Stamps};
use mspipe::pipeline::step::{Lane, Step};
use mspipe::pipeline::trace::{Record, Span};
use mspipe::profiler;
use mspipe::session::Session;
use mspipe::train::observer::TrainEvent;

use super::device_thread;
use crate::schedules::config;

const ITERATIONS: u64 = 8;

/// What a run left unsubmitted after each of its iterations, and how often it submitted on purpose.
struct Submitted {
    pending: Vec<u64>,
    submissions: u64,
    launches: u64,
    record: Record,
}

fn train(options: &str) -> Submitted {
    let config = config("tgn", "280", options);
    device_thread::run(move |device| {
        let session = Session::open(config).unwrap();
        let mut training = session.training(device).unwrap();
        let mut pending = Vec::new();
        let mut whole = Record::default();
        let mut counted = None;
        let mut observe = |event: TrainEvent<'_>| {
            match event {
                TrainEvent::EpochBegins { .. } => {
                    drop(profiler::take());
                    profiler::set_recording(true);
                }
                TrainEvent::Iteration { .. } => pending.push(profiler::pending()),
                TrainEvent::EpochRecorded(record) => {
                    profiler::set_recording(false);
                    counted = Some(profiler::take());
                    whole = record.clone();
                }
                _ => {}
            }
            Ok(())
        };
        training.run(&mut observe).unwrap();
        let counted = counted.unwrap();
        Submitted {
            pending,
            submissions: counted.submissions,
            launches: counted.launches,
            record: whole,
        }
    })
}

/// Counted, not timed: a flush that is missing leaves launches behind, or makes one submission less.
#[test]
fn nothing_stays_unsubmitted_when_a_stage_ends() {
    for (options, an_iteration) in [
        // The upload, the read-back, and the rest of training behind it.
        ("--schedule exact-overlap --memory host", 3),
        // The upload, and the read-back at the end of training.
        ("--schedule staleness:2 --memory host", 2),
    ] {
        let run = train(options);
        assert_eq!(run.pending, [0; ITERATIONS as usize], "{options}");
        assert!(
            run.launches > 10 * ITERATIONS,
            "{options}: {}",
            run.launches
        );
        let submissions = an_iteration * ITERATIONS;
        assert_eq!(run.submissions, submissions, "{options}");
    }
    // One for all stages of an iteration, which follow each other without waiting.
    let run = train("--schedule prefetch --memory device");
    assert_eq!(run.submissions, ITERATIONS);
}

/// A product that keeps a software adapter busy for a while.
fn busy(device: &Device) -> Tensor<2> {
    let factor = Tensor::<2>::ones([256, 256], device);
    (0..20).fold(factor.clone(), |product, _| {
        product.matmul(factor.clone()) / 256.0
    })
}

#[test]
fn a_read_back_is_there_when_its_own_submission_has_ended() {
    device_thread::run(|device| {
        let opened = queue::of(device).expect("a wgpu device has a queue");
        let rows = Tensor::<2>::ones([100, 3], device) * 2.0;
        let mut reading = Box::pin(Transaction::default().register(rows).execute_async());
        let mut context = Context::from_waker(Waker::noop());
        let first = reading.as_mut().poll(&mut context);
        let own = opened.submitted();
        // Another iteration's work, which it must not wait for.
        let later = busy(device);
        device.flush().unwrap();
        own.wait().unwrap();
        let data = match first {
            Poll::Ready(data) => data,
            Poll::Pending => match reading.as_mut().poll(&mut context) {
                Poll::Ready(data) => data,
                Poll::Pending => panic!("the copy is not mapped after its submission has ended"),
            },
        };
        let rows: Vec<f32> = data.unwrap().remove(0).try_into_vec().unwrap();
        assert_eq!(rows, [2.0; 300]);
        let sum = later.sum().into_scalar::<f32>();
        assert!((sum - 65536.0).abs() < 1.0, "{sum}");
    });
}

/// Ticks before and after `work`.
fn stamped(queue: &GpuQueue, device: &Device, work: impl FnOnce()) -> Option<[u64; 2]> {
    let mut stamps = Stamps::new(queue, 2)?;
    stamps.write(queue);
    work();
    device.flush().unwrap();
    stamps.write(queue);
    // There is no room for a third.
    stamps.write(queue);
    stamps.ask(queue);
    queue.submitted().wait().unwrap();
    let ticks = stamps
        .read(queue)
        .expect("they are there once their submission has ended");
    Some([ticks[0], ticks[1]])
}

#[test]
fn timestamps_are_in_the_order_of_the_work_and_on_the_hosts_clock() {
    device_thread::run(|device| {
        let opened = queue::of(device).unwrap();
        let Some(clock) = QueueClock::of(&opened) else {
            println!("not run: the adapter writes no timestamps");
            assert!(!opened.has_timestamps());
            return;
        };
        let before = Instant::now();
        let [begin, end] = stamped(&opened, device, || drop(busy(device))).unwrap();
        let after = Instant::now();
        assert!(begin < end);
        let (begin, end) = (clock.time(begin), clock.time(end));
        assert!(
            before <= begin + clock.within,
            "it begins after it was submitted"
        );
        assert!(
            end <= after + clock.within,
            "it ends before it was waited for"
        );
    });
}

/// The lanes of a run, and that each step of an iteration is on both of its.
#[test]
fn a_run_has_the_lanes_of_the_queue_in_its_record() {
    for (options, steps) in [
        (
            "--schedule exact-overlap --memory host",
            &[Step::Upload, Step::Begin, Step::ReadBack, Step::Finish][..],
        ),
        (
            "--schedule prefetch --memory device",
            &[Step::Gather, Step::Train, Step::Apply],
        ),
    ] {
        let record = train(options).record;
        assert!(record.queue.iterations > 0, "{options}");
        assert!(!record.queue.encode.is_zero(), "{options}");
        let of = |lanes: &[Lane]| -> Vec<&Span> {
            let spans = record.spans.iter();
            spans.filter(|span| lanes.contains(&span.lane)).collect()
        };
        let mut queue = of(&[Lane::Gpu, Lane::Bus]);
        assert_eq!(
            queue.len() as u64,
            record.queue.iterations * steps.len() as u64
        );
        queue.sort_by_key(|span| (span.iteration, span.begin, span.end));
        for (span, step) in queue.iter().zip(steps.iter().cycle()) {
            assert_eq!(span.step, *step, "{options}: {span:?}");
        }
        for pair in queue.windows(2) {
            assert!(pair[0].end <= pair[1].begin, "{pair:?}");
        }
        for span in &queue {
            let thread = of(&[Lane::Device]);
            let same = |of: &&&Span| of.iteration == span.iteration && of.step == span.step;
            let thread = thread.iter().find(same).unwrap();
            assert!(thread.begin <= span.begin, "{thread:?} {span:?}");
        }
    }
}

/// What a tensor takes is among what is taken of the device's memory, where its driver tells.
#[test]
fn memory_that_is_taken_is_told() {
    const ROWS: usize = 8192;
    let taken = device_thread::run(|device| {
        let queue = queue::of(device).unwrap();
        let rows = Tensor::<2>::ones([ROWS, 1024], device);
        assert_eq!(rows.clone().slice([0..1, 0..1]).into_scalar::<f32>(), 1.0);
        let taken = queue.memory_bytes();
        drop(rows);
        taken
    });
    if let Some(taken) = taken {
        assert!(taken >= 4 * 1024 * ROWS as u64, "{taken} bytes");
    }
}
