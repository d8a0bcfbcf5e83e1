//! What an audit found, check by check.

use std::fmt;

use serde::Serialize;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Changes of the past change scores: the audit is not blind.
    Past,
    /// Later events, their times, labels and features are unknown to a score.
    Future,
    /// Other events of the query's time are unknown to a score.
    EqualTime,
    /// An event's own features and label are unknown to its score.
    OwnFeatures,
    /// Repeats of a node within a batch change nothing for its other occurrences.
    Repeats,
    /// Every root, of positives and negatives alike, is given what it may see.
    NeighborCounts,
    /// Later events are unknown to the losses of a training run.
    Training,
    /// An evaluation of the test part leaves no trace in what is kept.
    TestTrace,
    /// What is asked of a trained model knows nothing of the future and leaves no trace.
    Answers,
    /// What a classifier says of an event knows neither its label nor later events.
    Labels,
}

impl Check {
    /// Its name, as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Check::Past => "past",
            Check::Future => "future",
            Check::EqualTime => "equal-time",
            Check::OwnFeatures => "own-features",
            Check::Repeats => "repeats",
            Check::NeighborCounts => "neighbor-counts",
            Check::Training => "training",
            Check::TestTrace => "test-trace",
            Check::Answers => "answers",
            Check::Labels => "labels",
        }
    }

    /// What must hold.
    pub fn rule(self) -> &'static str {
        match self {
            Check::Past => "changed past events change later scores (else the audit is blind)",
            Check::Future => "changed later events leave scores as they are",
            Check::EqualTime => "changed other events of the same time leave a score as it is",
            Check::OwnFeatures => "changed features and label of an event leave its score as it is",
            Check::Repeats => "repeats of its nodes later in the batch leave a score as it is",
            Check::NeighborCounts => "each root gets the past events that it may see, and as many",
            Check::Training => "changed later events leave the losses before them as they are",
            Check::TestTrace => "weights and memory that are kept do not depend on a test",
            Check::Labels => "a class's score knows neither the event's own label nor later events",
            Check::Answers => "score and update know no later event, and asking leaves no trace",
        }
    }

    /// What it means where it does not hold.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Check::Past => {
                "scores do not depend on the past at all, so that this audit shows nothing (a very narrow \
                 model may score all pairs alike); use more events (--limit-events), a larger --width, or \
                 the weights of a run"
            }
            Check::Future => "a score depends on the future: later events affect it",
            Check::EqualTime => {
                "a score sees an event of its own time; past means strictly before the query"
            }
            Check::OwnFeatures => {
                "a score reads what is only known once the event has happened: its label or \
                 features are leaked to the prediction of the event itself"
            }
            Check::Repeats => {
                "what a node is given depends on where else it occurs in the batch; each root must \
                 be sampled on its own, and see no event of a batch that is hidden"
            }
            Check::NeighborCounts => {
                "roots are not sampled by one rule; a model can tell positives from negatives by \
                 the number of their past events, or sees events that it must not"
            }
            Check::Training => "training sees events that come later in the stream",
            Check::TestTrace => {
                "what is saved has seen the test part: a later evaluation or run that continues \
                 from it is contaminated"
            }
            Check::Labels => {
                "the classifier sees the label that it is to tell, or what comes later; or it sees \
                 no labels at all, so that the check shows nothing"
            }
            Check::Answers => {
                "an answer depends on what comes later, or a question changes what later ones are told"
            }
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One violation of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The event whose score, or whose root, is concerned; none where it is no single one.
    pub event: Option<usize>,
    /// What was changed or asked for, and what happened.
    pub found: String,
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckRecord {
    /// Which one.
    pub check: Check,
    /// Numbers (scores, losses, roots, saved values) that were compared.
    pub compared: usize,
    /// Why nothing was compared, if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Violations in all.
    pub violations: usize,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// Findings of a check that are kept; the rest is counted.
const SHOWN: usize = 3;

impl CheckRecord {
    /// Begins a check.
    pub(super) fn new(check: Check) -> CheckRecord {
        CheckRecord {
            check,
            compared: 0,
            skipped: None,
            violations: 0,
            findings: Vec::new(),
        }
    }

    /// The same, with why it was not made.
    pub(super) fn skipped(check: Check, why: &str) -> CheckRecord {
        CheckRecord {
            skipped: Some(why.to_owned()),
            ..CheckRecord::new(check)
        }
    }

    /// Takes down a violation.
    pub(super) fn add(&mut self, event: impl Into<Option<usize>>, found: impl FnOnce() -> String) {
        self.violations += 1;
        if self.findings.len() < SHOWN {
            self.findings.push(Finding {
                event: event.into(),
                found: found(),
            });
        }
    }
}

/// All checks of an audit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// In the order in which they were made.
    pub checks: Vec<CheckRecord>,
}

impl Report {
    /// Whether no rule was violated.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.violations == 0)
    }

    /// The checks with a violation.
    pub fn failed(&self) -> Vec<Check> {
        let failed = self.checks.iter().filter(|check| check.violations > 0);
        failed.map(|record| record.check).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:16} {:>9}  {:8} rule", "check", "compared", "result")?;
        for record in &self.checks {
            let result = match (&record.skipped, record.violations) {
                (Some(_), _) => "skipped",
                (None, 0) => "ok",
                (None, _) => "FINDING",
            };
            let (check, compared) = (record.check, record.compared);
            writeln!(f, "{check:16} {compared:>9}  {result:8} {}", check.rule())?;
            if let Some(why) = &record.skipped {
                writeln!(f, "{:37}{why}", "")?;
            }
        }
        for record in self.checks.iter().filter(|record| record.violations > 0) {
            let many = if record.violations == 1 { "" } else { "s" };
            writeln!(
                f,
                "\n{}: {} violation{many}",
                record.check, record.violations
            )?;
            for finding in &record.findings {
                match finding.event {
                    Some(event) => writeln!(f, "  event {event}: {}", finding.found)?,
                    None => writeln!(f, "  {}", finding.found)?,
                }
            }
            writeln!(f, "  meaning: {}", record.check.meaning())?;
        }
        Ok(())
    }
}
