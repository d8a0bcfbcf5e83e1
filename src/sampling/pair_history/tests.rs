//! Every statistic against a scan of the stream by its definition; what encodings are fitted to; nothing
//! of the future, no thread and no other row matters.

use proptest::prelude::*;

use super::*;
use crate::graph::drawn_streams::{Stream, streams};

fn columns(stream: &Stream) -> EventColumns<'_> {
    EventColumns {
        src: &stream.src,
        dst: &stream.dst,
        time: &stream.time,
    }
}

fn training(nodes: usize, stream: &Stream, events: usize) -> Training<'_> {
    Training {
        nodes,
        stream: columns(stream),
        events,
        ticks_per_unit: 1,
        hidden_batch: None,
    }
}

/// Nothing is moved or scaled: what a statistic is by its definition.
fn plain(scales: [f32; SCALES]) -> Encoding {
    let [a, b, c] = scales;
    Encoding::of_arrays(&[
        ("times", vec![2.0, a, b, c, 7.5]),
        ("mean", vec![0.0; WIDTH]),
        ("deviation", vec![1.0; WIDTH]),
    ])
    .unwrap()
}

/// An event with these endpoints and this time, seen from a query.
struct Event {
    src: NodeId,
    dst: NodeId,
    age: f64,
}

/// The statistics by their definitions, from a scan of the stream in f64.
fn defined(
    stream: &Stream,
    [source, candidate]: [NodeId; 2],
    time: Timestamp,
    hidden_from: Option<EventId>,
    scales: [f32; SCALES],
) -> Vec<f64> {
    let past: Vec<Event> = (0..stream.time.len())
        .filter(|&event| stream.time[event] < time)
        .filter(|&event| hidden_from.is_none_or(|hidden| event < hidden.index()))
        .map(|event| Event {
            src: stream.src[event],
            dst: stream.dst[event],
            age: (time - stream.time[event]) as f64,
        })
        .collect();
    let with = |node: NodeId| -> Vec<&Event> {
        let takes_part = |event: &&Event| event.src == node || event.dst == node;
        past.iter().filter(takes_part).collect()
    };
    let between = |event: &&Event| {
        let ends = [event.src, event.dst];
        ends == [source, candidate] || ends == [candidate, source]
    };
    let met: Vec<&Event> = past.iter().filter(between).collect();
    let since = |events: &[&Event]| match events.last() {
        Some(last) => (last.age / 2.0).ln_1p(),
        None => 7.5,
    };
    let recent = |events: &[&Event], scale: usize| {
        let scale = f64::from(scales[scale]);
        let sum: f64 = events.iter().map(|event| (-event.age / scale).exp()).sum();
        sum.ln_1p()
    };
    let count = |events: &[&Event]| (events.len() as f64).ln_1p();
    let truth = |is: bool| f64::from(u8::from(is));
    STATISTICS
        .into_iter()
        .map(|statistic| match statistic {
            Statistic::Met => truth(!met.is_empty()),
            Statistic::SinceMet => since(&met),
            Statistic::Meetings => count(&met),
            Statistic::ShareOfSource => met.len() as f64 / with(source).len().max(1) as f64,
            Statistic::LastPartner => truth(with(source).last().is_some_and(between)),
            Statistic::SinceCandidate => since(&with(candidate)),
            Statistic::CandidateEvents => count(&with(candidate)),
            Statistic::SinceSource => since(&with(source)),
            Statistic::SourceEvents => count(&with(source)),
            Statistic::RecentMeetings(scale) => recent(&met, scale),
            Statistic::RecentCandidateEvents(scale) => recent(&with(candidate), scale),
        })
        .collect()
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

/// Every pair of nodes at every time, sorted by source and time as well as not.
fn all_pairs(nodes: usize, grouped: bool) -> (Vec<NodeId>, Vec<NodeId>, Vec<Timestamp>) {
    let nodes = nodes as u32;
    let mut all: Vec<(u32, i64, u32)> = (0..nodes)
        .flat_map(|a| (0..nodes).map(move |b| (a, b)))
        .flat_map(|(a, b)| (0..14).map(move |time| (a, time, b)))
        .collect();
    if grouped {
        all.sort_unstable();
    }
    let source = all.iter().map(|&(a, ..)| NodeId(a)).collect();
    let candidate = all.iter().map(|&(.., b)| NodeId(b)).collect();
    (source, candidate, all.iter().map(|&(_, t, _)| t).collect())
}

/// ```text
/// time      0    10    10    20    30
///          0>4   4>0   0>5   1>4   0>0
/// ```
#[test]
fn statistics_by_hand() {
    let stream = Stream::drawn("0>4@0 4>0@10 0>5@10 1>4@20 0>0@30");
    let scales = [10.0, 20.0, 40.0];
    let history = PairHistory::new(&training(6, &stream, 5), Some(plain(scales)));
    let row = |source, candidate, time, hidden: Option<u32>| -> Vec<f32> {
        let pairs = Pairs {
            source: &[NodeId(source)],
            candidate: &[NodeId(candidate)],
            time: &[time],
        };
        history.of_pairs(columns(&stream), pairs, hidden.map(EventId))
    };
    let [one, two, three, four] = [1.0, 2.0, 3.0, 4.0].map(f32::ln_1p);
    let [five, ten] = [5.0, 10.0].map(f32::ln_1p);
    let close = |got: &[f32], expected: [f32; 9]| {
        for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert!(
                (got - expected).abs() < 1e-6,
                "{place}: {got} for {expected}"
            );
        }
    };
    // 0 and 4 met twice, whoever was the source; the last event of 0 is with 5.
    let row_of_two = row(0, 4, 20, None);
    close(
        &row_of_two,
        [1.0, five, two, 2.0 / 3.0, 0.0, five, two, five, three],
    );
    let decayed = (-2.0f32).exp() + (-1.0f32).exp();
    assert!((row_of_two[9] - f32::ln_1p(decayed)).abs() < 1e-6);
    // Events of time 10 are not seen at time 10, nor those from event 1 on where they are hidden.
    let first = [1.0, five, one, 1.0, 1.0, five, one, five, one];
    close(&row(0, 4, 10, None), first);
    assert_eq!(row(0, 4, 10, Some(1)), row(0, 4, 10, None));
    close(
        &row(0, 4, 20, Some(1)),
        [1.0, ten, one, 1.0, 1.0, ten, one, ten, one],
    );
    // Nobody has met 3 or 2; an event with oneself counts once.
    close(
        &row(3, 2, 50, None),
        [0.0, 7.5, 0.0, 0.0, 0.0, 7.5, 0.0, 7.5, 0.0],
    );
    close(
        &row(0, 0, 40, None),
        [1.0, five, one, 0.25, 1.0, five, four, five, four],
    );
}

#[test]
fn scales_are_quantiles_of_the_training_part() {
    // Gaps of the pair 0, 1: 1 to 100 ticks; then a gap that is not of the training part.
    let times: Vec<i64> = (0..=100).map(|i| i * (i + 1) / 2).collect();
    let last = times[100];
    let mut text: Vec<String> = times.iter().map(|time| format!("0>1@{time}")).collect();
    text.push(format!("0>1@{}", last + 1_000_000));
    let stream = Stream::drawn(&text.join(" "));
    let encoding = |ticks_per_unit, text: &Stream, events| {
        let training = Training {
            ticks_per_unit,
            ..training(2, text, events)
        };
        PairHistory::new(&training, None).encoding().clone()
    };
    let [(_, times), ..] = encoding(1, &stream, 101).arrays();
    let never = (last as f32 / 10.0).ln_1p();
    assert_eq!(times, [10.0, 75.0, 90.0, 99.0, never]);
    // The values are the same in another resolution.
    let finer: Vec<String> = (stream.time.iter())
        .map(|time| format!("0>1@{}", time * 1000))
        .collect();
    let finer = encoding(1000, &Stream::drawn(&finer.join(" ")), 101);
    assert_eq!(finer, encoding(1, &stream, 101));
    // Pairs that never meet twice: times between events of a node.
    let [(_, times), ..] = encoding(1, &Stream::drawn("0>1@0 0>0@5 1>1@30"), 3).arrays();
    assert_eq!(times[..4], [5.0, 5.0, 5.0, 5.0]);
    // No gap, no training event at all.
    let [(_, times), ..] = encoding(1, &Stream::drawn("0>1@7 0>1@9"), 1).arrays();
    assert_eq!(times[..4], [1.0; 4]);
    assert!(times[4].is_finite());
    encoding(1, &Stream::drawn("0>1@7"), 0);
}

#[test]
fn arrays_of_another_shape_are_no_encoding() {
    let arrays = plain([1.0, 2.0, 3.0]).arrays();
    assert_eq!(Encoding::of_arrays(&arrays), Some(plain([1.0, 2.0, 3.0])));
    for (array, place, value) in [
        (0, 0, 0.0),
        (0, 4, f32::NAN),
        (1, 2, f32::INFINITY),
        (2, 1, -1.0),
    ] {
        let mut wrong = arrays.clone();
        wrong[array].1[place] = value;
        assert_eq!(Encoding::of_arrays(&wrong), None, "{array} {place}");
    }
    for array in 0..3 {
        let mut short = arrays.clone();
        short[array].1.pop();
        assert_eq!(Encoding::of_arrays(&short), None, "{array}");
    }
}

/// The two nodes of an event.
fn ends_of(stream: &Stream, event: usize) -> [NodeId; 2] {
    [stream.src[event], stream.dst[event]]
}

proptest! {
    #[test]
    fn statistics_follow_their_definition(
        (nodes, stream) in streams(6, 60),
        hidden in prop::option::of(0..60u32),
        grouped in any::<bool>(),
    ) {
        let scales = [0.7, 3.0, 20.0];
        let history = PairHistory::new(&training(nodes, &stream, 0), Some(plain(scales)));
        let (source, candidate, time) = all_pairs(nodes, grouped);
        let pairs = Pairs { source: &source, candidate: &candidate, time: &time };
        let hidden_from = hidden.map(EventId);
        let rows = history.of_pairs(columns(&stream), pairs, hidden_from);
        prop_assert_eq!(rows.len(), source.len() * WIDTH);
        for (pair, row) in rows.chunks(WIDTH).enumerate() {
            let both = [source[pair], candidate[pair]];
            let expected = defined(&stream, both, time[pair], hidden_from, scales);
            for (place, (&got, expected)) in row.iter().zip(expected).enumerate() {
                // The stored counts are f32, and so are logarithm and exponential.
                let difference = (f64::from(got) - expected).abs();
                prop_assert!(
                    difference < 1e-6 * (1.0 + expected.abs()),
                    "{:?} of {:?} at {}: {} for {}", STATISTICS[place], both, time[pair], got, expected
                );
            }
        }
    }

    /// Two candidates of each event are the same bits as pairs of their own, in any order.
    #[test]
    fn events_are_two_pairs_each((nodes, stream) in streams(9, 80), hidden in prop::option::of(0..80u32)) {
        let history = PairHistory::new(&training(nodes, &stream, stream.time.len() / 2), None);
        let (mut source, mut candidate, mut time) = all_pairs(nodes, false);
        let hidden_from = hidden.map(EventId);
        let of_pairs = |source: &[NodeId], candidate: &[NodeId], time: &[Timestamp]| {
            let pairs = Pairs { source, candidate, time };
            history.of_pairs(columns(&stream), pairs, hidden_from)
        };
        let second: Vec<NodeId> = source.iter().rev().copied().collect();
        let candidates = [&candidate[..], &second];
        let events = Events { source: &source, candidates, time: &time, first: None };
        let (both, _) = history.of_events(columns(&stream), events, hidden_from, || ());
        let first = of_pairs(&source, &candidate, &time);
        let of_second = of_pairs(&source, &second, &time);
        prop_assert_eq!(both, [first.clone(), of_second].concat());
        for column in [&mut source, &mut candidate] {
            column.reverse();
        }
        time.reverse();
        let backwards = of_pairs(&source, &candidate, &time);
        let rows = backwards.chunks(WIDTH).rev().flatten().copied();
        prop_assert_eq!(rows.collect::<Vec<f32>>(), first);
    }

    /// Rows of training events that were kept are those that are counted with each batch, whatever is
    /// hidden and also once the stream has grown.
    #[test]
    fn rows_that_are_kept_are_those_that_are_counted(
        (nodes, stream) in streams(9, 80),
        batch in 1..70usize,
        hide in any::<bool>(),
    ) {
        let training = Training {
            hidden_batch: hide.then_some(batch),
            ..training(nodes, &stream, stream.time.len() * 2 / 3)
        };
        let counted = PairHistory::new(&training, None);
        let mut kept = PairHistory::new(&training, None);
        kept.keep(&training);
        let (all, count) = (columns(&stream), stream.time.len());
        let same = |kept: &PairHistory, size: usize, hidden: bool| {
            let has_grown = !kept.tail.is_empty();
            (0..count).step_by(size).all(|first| {
                let within = first..count.min(first + size);
                let second: Vec<NodeId> =
                    within.clone().map(|event| stream.dst[(event * 5 + 3) % count]).collect();
                let events = Events {
                    source: &stream.src[within.clone()],
                    candidates: [&stream.dst[within.clone()], &second],
                    time: &stream.time[within.clone()],
                    first: Some(EventId(first as u32)),
                };
                let hidden_from = hidden.then_some(EventId(first as u32));
                let found = kept.known(all, &events, hidden_from).len() == within.len();
                let (same_rule, trained) = (size == batch && hidden == hide, within.end <= training.events);
                let bits = |history: &PairHistory| -> Vec<u32> {
                    let (rows, ()) = history.of_events(all, events, hidden_from, || ());
                    rows.into_iter().map(f32::to_bits).collect()
                };
                (found || has_grown || !(same_rule && trained)) && bits(&counted) == bits(kept)
            })
        };
        for hidden in [false, true] {
            prop_assert!(same(&kept, batch, hidden) && same(&kept, 7, hidden));
        }
        if let (Some(&last), ends) = (stream.time.last(), [NodeId(0), NodeId(1)]) {
            kept.append(all, EventId(count as u32), ends, last);
            prop_assert!(same(&kept, batch, hide));
        }
    }

    /// Candidates of one source at one time, more than are looked up together, are pairs of their own.
    #[test]
    fn many_candidates_are_a_pair_each((nodes, stream) in streams(9, 80), time in 0..14i64) {
        let history = PairHistory::new(&training(nodes, &stream, stream.time.len() / 2), None);
        let candidates: Vec<NodeId> = (0..150).map(|i| NodeId(i % nodes as u32)).collect();
        for source in (0..nodes as u32).map(NodeId) {
            let asked = |candidate: &[NodeId]| {
                let (source, time) = (vec![source; candidate.len()], vec![time; candidate.len()]);
                let pairs = Pairs { source: &source, candidate, time: &time };
                history.of_pairs(columns(&stream), pairs, None)
            };
            let each = candidates.iter().flat_map(|&candidate| asked(&[candidate]));
            prop_assert_eq!(asked(&candidates), each.collect::<Vec<f32>>());
        }
    }

    /// A stream that grew event by event gives the bits of one that was read whole.
    #[test]
    fn histories_that_grow_are_those_of_the_whole_stream(
        (nodes, stream) in streams(9, 80),
        at in 0..80usize,
    ) {
        let (events, scales) = (stream.time.len(), [1.5, 3.0, 40.0]);
        let at = at % (events + 1);
        let whole = PairHistory::new(&training(nodes, &stream, events), Some(plain(scales)));
        // Nodes that only later events have are not known when it is built.
        let ends = stream.src[..at].iter().chain(&stream.dst[..at]);
        let known = ends.map(|node| node.index() + 1).max().unwrap_or(0);
        let all = columns(&stream);
        let first = EventColumns {
            src: &all.src[..at],
            dst: &all.dst[..at],
            time: &all.time[..at],
        };
        let part = Training { stream: first, events: at, ..training(known, &stream, at) };
        let mut grown = PairHistory::new(&part, Some(plain(scales)));
        for event in at..events {
            grown.append(first, EventId(event as u32), ends_of(&stream, event), stream.time[event]);
        }
        let (source, candidate, time) = all_pairs(nodes, true);
        let pairs = Pairs { source: &source, candidate: &candidate, time: &time };
        for hidden_from in [None, Some(EventId(at as u32)), Some(EventId((at + 3) as u32))] {
            let bits = |history: &PairHistory| -> Vec<u32> {
                let rows = history.of_pairs(all, pairs, hidden_from);
                rows.into_iter().map(f32::to_bits).collect()
            };
            prop_assert_eq!(bits(&whole), bits(&grown));
        }
    }

    /// What nobody asks for any more is let go of while a stream is followed: later questions get the bits
    /// of the whole stream, also from what was saved.
    #[test]
    fn histories_that_were_settled_are_those_of_the_whole_stream(
        (nodes, stream) in streams(6, 80),
        at in 0..80usize,
        batch in 1..9usize,
    ) {
        let (events, scales) = (stream.time.len(), [1.5, 3.0, 40.0]);
        let at = at % (events + 1);
        let all = columns(&stream);
        let first = EventColumns { src: &all.src[..at], dst: &all.dst[..at], time: &all.time[..at] };
        let part = Training { stream: first, events: at, ..training(nodes, &stream, at) };
        let mut grown = PairHistory::new(&part, Some(plain(scales)));
        for start in (at..events).step_by(batch) {
            let end = (start + batch).min(events);
            for event in start..end {
                grown.append(first, EventId(event as u32), ends_of(&stream, event), stream.time[event]);
            }
            let last = stream.time[end - 1];
            grown.settle(EventId(end as u32), last);
            let mut read = PairHistory::new(&part, Some(plain(scales)));
            // The last events are those at the last time, at least.
            let newest = stream.time[..end].partition_point(|&time| time < last).max(at);
            read.restore(grown.newer(), newest, &stream.time[newest..end]);
            let upto = EventColumns { src: &all.src[..end], dst: &all.dst[..end], time: &all.time[..end] };
            let whole = Training { stream: upto, events: at, ..training(nodes, &stream, at) };
            let whole = PairHistory::new(&whole, Some(plain(scales)));
            let (source, candidate, _) = all_pairs(nodes, false);
            for later in [0, 1, 7] {
                let time = vec![last + later; source.len()];
                let pairs = Pairs { source: &source, candidate: &candidate, time: &time };
                let bits = |history: &PairHistory, stream| -> Vec<u32> {
                    let rows = history.of_pairs(stream, pairs, Some(EventId(end as u32)));
                    rows.into_iter().map(f32::to_bits).collect()
                };
                let expected = bits(&whole, upto);
                prop_assert_eq!(&expected, &bits(&grown, first));
                prop_assert_eq!(&expected, &bits(&read, first));
            }
        }
    }

    /// What a query at time t gives does not change with the events from t on, nor with those from
    /// `hidden_from` on; the encoding does not change with those after the training part.
    #[test]
    fn the_future_changes_nothing(
        (nodes, stream) in streams(6, 60),
        (_, other) in streams(6, 60),
        cut in 0..60usize,
        hide in any::<bool>(),
    ) {
        let nodes = nodes.max(6);
        let cut = cut.min(stream.time.len());
        let at = stream.time.get(cut).copied().unwrap_or(12);
        // Where a batch is hidden, events before the cut may share its time.
        let kept = if hide { cut } else { stream.time.partition_point(|&time| time < at) };
        let mut changed = stream.clone();
        changed.src.truncate(kept);
        changed.dst.truncate(kept);
        changed.time.truncate(kept);
        changed.src.extend(&other.src);
        changed.dst.extend(&other.dst);
        changed.time.extend(other.time.iter().map(|time| time + at));
        let (source, candidate, _) = all_pairs(nodes, false);
        let time = vec![at; source.len()];
        let pairs = Pairs { source: &source, candidate: &candidate, time: &time };
        let hidden_from = hide.then_some(EventId(cut as u32));
        let of = |stream: &Stream| {
            let history = PairHistory::new(&training(nodes, stream, kept), None);
            let rows = history.of_pairs(columns(stream), pairs, hidden_from);
            (history.encoding().clone(), rows)
        };
        prop_assert_eq!(of(&stream), of(&changed));
    }

    #[test]
    fn threads_do_not_matter((nodes, stream) in streams(9, 80), batch in 1..30usize) {
        let (source, candidate, time) = all_pairs(nodes, false);
        let pairs = Pairs { source: &source, candidate: &candidate, time: &time };
        let run = |threads| in_pool(threads, || {
            let training = Training {
                hidden_batch: Some(batch),
                ..training(nodes, &stream, stream.time.len() / 2)
            };
            let history = PairHistory::new(&training, None);
            let rows = history.of_pairs(columns(&stream), pairs, None);
            let bits = |rows: Vec<f32>| rows.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
            (history.encoding().clone(), bits(rows), bits(history.sample(&training)))
        });
        let one = run(1);
        prop_assert_eq!(&run(3), &one);
        prop_assert_eq!(&run(8), &one);
        // Standardised: the sample has mean 0, and deviation 1 where it has any.
        let sample = PairHistory::new(&training(nodes, &stream, stream.time.len()), None);
        let rows = sample.sample(&training(nodes, &stream, stream.time.len()));
        for place in 0..WIDTH {
            let column: Vec<f64> =
                rows.chunks(WIDTH).map(|row| f64::from(row[place])).collect();
            let mean = column.iter().sum::<f64>() / column.len().max(1) as f64;
            prop_assert!(mean.abs() < 1e-4, "{mean}");
            let square = column.iter().map(|x| x * x).sum::<f64>() / column.len().max(1) as f64;
            let constant = column.iter().all(|x| x.abs() < 1e-5);
            prop_assert!(constant || (square - 1.0).abs() < 1e-3, "{square}");
        }
    }
}
