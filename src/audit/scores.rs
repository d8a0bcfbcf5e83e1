//! Checks that compare what a subject gives on two streams.

use std::ops::Range;

use super::report::{Check, CheckRecord};
use super::{AuditStream, Kept, ScoredBatch, Subject};

const RANK: &str = "its reciprocal rank";

/// Scores of one event, under their names.
type Named = (&'static str, f64);

/// All scores of a batch's events, each with its event.
fn scores_of(batch: &ScoredBatch) -> impl Iterator<Item = (usize, Named)> + '_ {
    let first = batch.events.start;
    let named = move |name: &'static str, values: Vec<f64>| {
        (first..)
            .zip(values)
            .map(move |(event, value)| (event, (name, value)))
    };
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
    named("its own score", wide(&batch.positive))
        .chain(named("its negative's score", wide(&batch.negative)))
        .chain(named(RANK, batch.rank.clone()))
}

/// Compares the scores of the events that `concerned` names, which must be the same.
fn must_be_equal(
    record: &mut CheckRecord,
    [before, after]: [&[ScoredBatch]; 2],
    concerned: impl Fn(usize) -> bool,
    change: &str,
) {
    let (before, after) = (
        before.iter().flat_map(scores_of),
        after.iter().flat_map(scores_of),
    );
    // A rank among drawn candidates leaves out the source's other destinations of the same time.
    let ranked = record.check != Check::EqualTime;
    for ((event, (name, was)), (_, (_, is))) in before.zip(after) {
        if concerned(event) && (ranked || name != RANK) {
            record.compared += 1;
            // f32 and f64 embed exactly, so that equal bits stay equal bits.
            if was.to_bits() != is.to_bits() {
                record.add(event, || {
                    let (was, is) = (shown(was), shown(is));
                    format!("{name} went from {was} to {is} when {change}")
                });
            }
        }
    }
}

/// A score as it was given: an f32 in as many digits as it has.
fn shown(score: f64) -> String {
    let short = score as f32;
    if f64::from(short) == score {
        short.to_string()
    } else {
        score.to_string()
    }
}

/// Events to change the stream around: spread over it, each with neighbours in its own batch.
pub(super) fn probes(events: usize, batch_size: usize, count: usize) -> Vec<usize> {
    let mut probes: Vec<usize> = (1..=count)
        .map(|i| events * i / (count + 1))
        .map(|event| {
            let place = event % batch_size;
            let inner = place.clamp(1, batch_size.saturating_sub(3).max(1));
            (event - place + inner).min(events.saturating_sub(2))
        })
        .collect();
    probes.dedup();
    probes
}

/// Changing the first half must change scores of the second.
pub(super) fn of_the_past<S: Subject>(
    subject: &mut S,
    stream: &AuditStream,
    base: &[ScoredBatch],
) -> Result<CheckRecord, S::Error> {
    let mut record = CheckRecord::new(Check::Past);
    let half = stream.events() / 2;
    let mut changed = stream.clone();
    changed.change_endpoints(0..half);
    changed.change_features(0..half);
    // No score is made of labels.
    changed.labels.clone_from(&stream.labels);
    if changed == *stream {
        let why = "all events of the first half are the same, so there is nothing to change";
        return Ok(CheckRecord::skipped(Check::Past, why));
    }
    let after = subject.scores(&changed)?;
    let mut differs = CheckRecord::new(Check::Past);
    must_be_equal(&mut differs, [base, &after], |event| event >= half, "");
    record.compared = differs.compared;
    if differs.violations == 0 {
        record.add(None, || {
            format!(
                "events 0 to {} were changed, and none of {} later scores changed",
                half.saturating_sub(1),
                differs.compared
            )
        });
    }
    Ok(record)
}

/// The events of `event`'s batch.
fn batch_of(event: usize, batches: &[ScoredBatch]) -> Range<usize> {
    batches
        .iter()
        .map(|batch| batch.events.clone())
        .find(|events| events.contains(&event))
        .unwrap_or(event..event + 1)
}

/// Changes the stream around each probe, in the way of `check`.
pub(super) fn around<S: Subject>(
    subject: &mut S,
    stream: &AuditStream,
    base: &[ScoredBatch],
    probes: &[usize],
    check: Check,
) -> Result<CheckRecord, S::Error> {
    let mut record = CheckRecord::new(check);
    if check == Check::OwnFeatures && stream.edge_width == 0 {
        let why = "the stream has no edge features; give --edge-features random:8 to check them";
        return Ok(CheckRecord::skipped(check, why));
    }
    for &probe in probes {
        let (time, end) = (stream.time[probe], stream.events());
        let batch = batch_of(probe, base);
        let later = stream.later_than(time)..end;
        let mut changed = stream.clone();
        match check {
            Check::Future => {
                let (changed, later) = stream.with_changes_after(probe);
                let change = format!("all events after event {probe} (time {time}) were changed");
                let after = subject.scores(&changed)?;
                let known = |event| event < later.start;
                must_be_equal(&mut record, [base, &after], known, &change);
            }
            Check::EqualTime => {
                // Few streams have ties wherever one looks, so that they are made first.
                let mut tied = stream.clone();
                let close = probe.saturating_sub(1)..(probe + 3).min(end);
                let others: Vec<usize> = close
                    .filter(|other| *other != probe && batch.contains(other))
                    .collect();
                for &other in &others {
                    tied.time[other] = time;
                }
                let mut changed = tied.clone();
                changed.repeat(probe, others.iter().copied());
                changed.change_features(others.iter().copied());
                let change = format!(
                    "events {others:?}, moved to the same time {time}, became other events"
                );
                let both = [&subject.scores(&tied)?[..], &subject.scores(&changed)?];
                must_be_equal(&mut record, both, |event| event == probe, &change);
            }
            Check::OwnFeatures => {
                changed.change_features([probe]);
                let change = format!("features and label of event {probe} were changed");
                let after = subject.scores(&changed)?;
                // Later batches have the probe in memory, those of its own time too.
                let known = |event| event < later.start.min(batch.end);
                must_be_equal(&mut record, [base, &after], known, &change);
            }
            _ => {
                let in_batch = later.start..later.end.min(batch.end);
                // Where a batch is hidden, its earlier events change nothing for the probe either.
                let earlier = stream.time.partition_point(|&other| other < time);
                let before = match subject.sight().hide_batch {
                    true => batch.start..earlier.max(batch.start),
                    false => batch.start..batch.start,
                };
                changed.repeat(probe, in_batch.clone().chain(before.clone()));
                let mut change =
                    format!("events {in_batch:?} of its batch became repeats of {probe}");
                if !before.is_empty() {
                    change.push_str(&format!(", and so did events {before:?} before it"));
                }
                let after = subject.scores(&changed)?;
                let known = |event| event < later.start && !before.contains(&event);
                must_be_equal(&mut record, [base, &after], known, &change);
            }
        }
    }
    Ok(record)
}

/// Changing the events after the middle of a run must leave the losses before them as they are.
pub(super) fn of_training<S: Subject>(
    subject: &mut S,
    stream: &AuditStream,
    batch_size: usize,
) -> Result<CheckRecord, S::Error> {
    let mut record = CheckRecord::new(Check::Training);
    let before = subject.losses(stream)?;
    if before.len() < 2 {
        let why = format!("{} iterations are trained; use more events", before.len());
        return Ok(CheckRecord::skipped(Check::Training, &why));
    }
    // In the middle of the iterations, so that what is changed is trained on too.
    let last = before.len() / 2 * batch_size - 1;
    let (changed, later) = stream.with_changes_after(last);
    let after = subject.losses(&changed)?;
    let whole = later.start / batch_size;
    for (iteration, (was, is)) in before.iter().zip(&after).take(whole).enumerate() {
        record.compared += 1;
        if was.to_bits() != is.to_bits() {
            record.add(None, || {
                format!(
                    "the loss of iteration {iteration} (events up to {}) went from {was} to {is} \
                     when events {} and later were changed",
                    (iteration + 1) * batch_size - 1,
                    later.start
                )
            });
        }
    }
    Ok(record)
}

/// Testing must leave what is kept as it is.
pub(super) fn of_testing<S: Subject>(
    subject: &mut S,
    stream: &AuditStream,
) -> Result<CheckRecord, S::Error> {
    let mut record = CheckRecord::new(Check::TestTrace);
    let (without, with) = (subject.kept(stream, false)?, subject.kept(stream, true)?);
    must_be_kept(
        &mut record,
        [&without, &with],
        "the test part was evaluated",
    );
    Ok(record)
}

/// What is asked must know nothing of later events nor of the pair's own, and leave no trace.
pub(super) fn of_answers<S: Subject>(
    subject: &mut S,
    stream: &AuditStream,
    probes: &[usize],
) -> Result<CheckRecord, S::Error> {
    let mut record = CheckRecord::new(Check::Answers);
    let Some(base) = subject.answers(stream, true)? else {
        let why = "nobody can ask: with --memory-write read each question would write memory";
        return Ok(CheckRecord::skipped(Check::Answers, why));
    };
    let mut compare = |changed: &AuditStream, end: usize, change: &str| {
        if let Some(after) = subject.answers(changed, true)? {
            let both = [&base.batches[..], &after.batches];
            must_be_equal(&mut record, both, |event| event < end, change);
        }
        Ok(())
    };
    for &probe in probes {
        let time = stream.time[probe];
        let (changed, later) = stream.with_changes_after(probe);
        let change = format!("all events after event {probe} (time {time}) were changed");
        compare(&changed, later.start, &change)?;
        let mut changed = stream.clone();
        changed.change_features([probe]);
        let change = format!("features and label of event {probe} were changed");
        compare(
            &changed,
            later.start.min(batch_of(probe, &base.batches).end),
            &change,
        )?;
    }
    if let Some(silent) = subject.answers(stream, false)? {
        must_be_kept(&mut record, [&silent.kept, &base.kept], "it was asked");
    }
    Ok(record)
}

/// Compares what is kept, which must be the same.
fn must_be_kept(record: &mut CheckRecord, [without, with]: [&Kept; 2], when: &str) {
    for ((name, was), (other, is)) in without.0.iter().zip(&with.0) {
        record.compared += was.len();
        let differing: Vec<usize> = (0..was.len().max(is.len()))
            .filter(|&i| was.get(i) != is.get(i))
            .collect();
        if let (Some(first), false) = (differing.first(), name != other) {
            record.add(None, || {
                format!(
                    "{} of {} values of what is kept as `{name}` differ when {when}, the first at \
                     {first}",
                    differing.len(),
                    was.len()
                )
            });
        } else if name != other {
            record.add(None, || {
                format!("`{name}` is kept as `{other}` when {when}")
            });
        }
    }
    if without.0.len() != with.0.len() {
        let (was, is) = (without.0.len(), with.0.len());
        record.add(None, || {
            format!("{is} things are kept when {when}, {was} otherwise")
        });
    }
}
