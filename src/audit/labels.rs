//! Does the score of a label know the label, or what comes later?

use super::report::{Check, CheckRecord};
use super::{AuditStream, LabelScores, Subject};

/// Events around which the stream is changed, at most.
const PROBES: usize = 5;

/// Changes own labels and later events, and labels that are trained on, which must be seen.
pub(super) fn of_labels<S: Subject>(
    subject: &mut S,
    stream: &AuditStream,
    base: &LabelScores,
) -> Result<CheckRecord, S::Error> {
    let mut record = CheckRecord::new(Check::Labels);
    let Some(first) = base.events.first().map(|(event, _)| *event) else {
        let why = "no event after the training part has a label; use more events";
        return Ok(CheckRecord::skipped(Check::Labels, why));
    };
    let mut compare = |changed: &AuditStream, concerned: &dyn Fn(usize) -> bool, change: &str| {
        let after = subject.label_scores(changed)?.unwrap_or_default();
        must_be_equal(&mut record, [base, &after], concerned, change);
        Ok(())
    };
    for probe in probes(base) {
        let mut changed = stream.clone();
        changed.change_labels([probe]);
        compare(
            &changed,
            &|_| true,
            &format!("the label of event {probe} was changed"),
        )?;
        if !base.reads_own_features {
            let mut changed = stream.clone();
            changed.change_features([probe]);
            let change = format!("features and label of event {probe} were changed");
            compare(&changed, &|event| event <= probe, &change)?;
        }
        let time = stream.time[probe];
        let (changed, later) = stream.with_changes_after(probe);
        let change = format!("all events after event {probe} (time {time}) were changed");
        compare(&changed, &|event| event < later.start, &change)?;
    }
    let mut changed = stream.clone();
    changed.change_labels(0..first);
    let after = subject.label_scores(&changed)?.unwrap_or_default();
    let mut differs = CheckRecord::new(Check::Labels);
    must_be_equal(&mut differs, [base, &after], &|_| true, "");
    record.compared += differs.compared;
    if differs.violations == 0 {
        record.add(None, || {
            format!(
                "the labels of events 0 to {} were changed, and none of {} later scores changed: the \
                 classifier learns nothing of labels",
                first - 1,
                differs.compared
            )
        });
    }
    Ok(record)
}

/// Events to change the stream around, spread over those that were scored.
fn probes(base: &LabelScores) -> Vec<usize> {
    let scored = base.events.len();
    let at = |i: usize| base.events[scored * i / (PROBES + 1)].0;
    let mut probes: Vec<usize> = (1..=PROBES).map(at).collect();
    probes.dedup();
    probes
}

/// Compares the scores of the events that are `concerned`, which must be the same.
fn must_be_equal(
    record: &mut CheckRecord,
    [before, after]: [&LabelScores; 2],
    concerned: &dyn Fn(usize) -> bool,
    change: &str,
) {
    let bits = |scores: &[f32]| -> Vec<u32> { scores.iter().map(|s| s.to_bits()).collect() };
    for (event, was) in before.events.iter().filter(|(event, _)| concerned(*event)) {
        record.compared += was.len();
        let is = after.events.iter().find(|(other, _)| other == event);
        if is.is_none_or(|(_, is)| bits(is) != bits(was)) {
            record.add(*event, || {
                let is = is.map(|(_, is)| is);
                format!("its label's scores went from {was:?} to {is:?} when {change}")
            });
        }
    }
}
