//! The leak auditor: does a score know more than it may?
//!
//! What is audited is a [`Subject`]: streams go in, scores and what a run keeps come out. The
//! auditor knows neither models nor devices. It changes the stream where a score must not see it and
//! compares bits; it counts by itself, from the stream alone, how many past events each root must
//! have been given; and it compares what is kept with and without an evaluation of the test part.
//! That it would notice anything is a check of its own: changes of the past must change scores.
//!
//! The rule that is checked: the score of an event at time t may depend on its own two nodes and t,
//! on events before t, and on nothing else: not on its own features and label, not on other events
//! of time t, not on what else is in its batch. (An event of an *earlier batch* is in memory even
//! where it has the same time, as in TGN and TGL: batches are cut by position.)
//!
//! The score of a *label* may depend on more, the labels and features of the training part and, where events
//! are classified, the event's own features; but never on its own label or on what comes later.
//!
//! It can't find what is outside this rule, such as features that were computed from the future
//! before they came into the file; see `docs/audit.md`.

mod changes;
mod counts;
mod labels;
mod report;
mod scores;
pub mod stream;
mod subject;

pub use report::{Check, CheckRecord, Finding, Report};
pub use stream::AuditStream;
pub(crate) use subject::Recording;
pub use subject::{Answers, Kept, LabelScores, Sampled, ScoredBatch, Sight, Subject};

/// Runs all checks; `probes` is at how many events the stream is changed, `progress` is told which
/// check begins.
///
/// # Errors
/// When the subject fails.
pub fn run<S: Subject>(
    subject: &mut S,
    stream: &AuditStream,
    probes: usize,
    mut progress: impl FnMut(Check),
) -> Result<Report, S::Error> {
    let sight = subject.sight();
    progress(Check::Past);
    let base = subject.scores(stream)?;
    let mut checks = vec![scores::of_the_past(subject, stream, &base)?];
    let probes = scores::probes(stream.events(), sight.batch_size, probes);
    for check in [
        Check::Future,
        Check::EqualTime,
        Check::OwnFeatures,
        Check::Repeats,
    ] {
        progress(check);
        checks.push(scores::around(subject, stream, &base, &probes, check)?);
    }
    progress(Check::NeighborCounts);
    checks.push(counts::of_neighbors(&base, stream, sight));
    progress(Check::Training);
    checks.push(scores::of_training(subject, stream, sight.batch_size)?);
    progress(Check::TestTrace);
    checks.push(scores::of_testing(subject, stream)?);
    progress(Check::Answers);
    checks.push(scores::of_answers(subject, stream, &probes)?);
    if let Some(base) = subject.label_scores(stream)? {
        progress(Check::Labels);
        checks.push(labels::of_labels(subject, stream, &base)?);
    }
    Ok(Report { checks })
}
