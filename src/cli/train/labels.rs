//! `mspipe train --task node` and `--task edge`: progress and results of a classification of labels.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::anyhow;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use mspipe::checkpoint::LAST;
use mspipe::config::{ConfigError, RunConfig};
use mspipe::device::ComputeDevice;
use mspipe::eval::{ClassMetrics, ClassTable, EQUAL_SCORES, LabelMetrics};
use mspipe::report::run as run_report;
use mspipe::run_folder::{ClassificationSummary, RunFolder};
use mspipe::session::{self, Session, SessionError};
use mspipe::train::classification::{
    Balance, ClassificationError, ClassificationEvent, ClassifierEpoch, LabelCount, LabelCounts,
};
use mspipe::{console, interrupt, numbers};

use super::super::report;
use super::progress::say_page;

/// Classes that are printed, those with most labels; the report and the summary have all.
const SHOWN_CLASSES: usize = 12;

/// Classifies labels and prints.
pub(super) fn run(config: RunConfig, json: bool) -> anyhow::Result<ExitCode> {
    let folder = OnceLock::new();
    let result = session::classify(config, &interrupt::stop(), |session, device, run| {
        folder.get_or_init(|| run.path().to_owned());
        let mut progress = Progress::begin(session, device, run, json);
        move |event: ClassificationEvent<'_>| progress.see(event)
    });
    end(result, folder.get(), json)
}

/// Continues with the classification in a folder.
pub(super) fn resume(
    run: &Path,
    change: impl FnOnce(&mut RunConfig) -> Result<(), ConfigError>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let stop = interrupt::stop();
    let result =
        session::resume_classification(run, change, &stop, |session, device, run, place| {
            let mut progress = Progress::begin(session, device, run, json);
            progress.say(&match place {
                Some(place) => format!("resumed   {place}"),
                None => "resumed   at the start: there is no checkpoint yet".to_owned(),
            });
            move |event: ClassificationEvent<'_>| progress.see(event)
        });
    end(result, Some(&run.to_owned()), json)
}

/// Prints what came out, or how to continue.
fn end(
    result: Result<(ClassificationSummary, RunFolder), SessionError>,
    run: Option<&PathBuf>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (summary, folder) = match result {
        Ok(ended) => ended,
        Err(SessionError::Classification(
            error @ (ClassificationError::Interrupted { .. } | ClassificationError::Observer(_)),
        )) => {
            let kept = run.filter(|run| run.join(LAST).exists());
            return Err(match kept {
                Some(run) => {
                    anyhow!(
                        "{error}\nresume with: mspipe train --resume {}",
                        run.display()
                    )
                }
                None => error.into(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let stop = interrupt::stop();
    let unfinished = stop.unfinished();
    let page = run_report::write(folder.path());
    drop(unfinished);
    match json {
        true => console::json(&summary)?,
        false => print_summary(&summary, &folder),
    }
    say_page(page, json);
    Ok(ExitCode::SUCCESS)
}

/// Progress bar of a classification.
struct Progress {
    bar: ProgressBar,
    json: bool,
}

impl Progress {
    fn begin(
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
        json: bool,
    ) -> Progress {
        if !json {
            console::news(report::head(session, device));
            console::news(format!("run       {}", folder.path().display()));
        } else {
            report::say_notes(&report::notes(session, device));
        }
        Progress {
            bar: ProgressBar::hidden(),
            json,
        }
    }

    fn say(&self, text: &str) {
        if !self.json {
            self.bar.suspend(|| console::news(text));
        }
    }

    /// Shows what happens.
    fn see(&mut self, event: ClassificationEvent<'_>) -> io::Result<()> {
        match event {
            ClassificationEvent::EmbeddingBegins { labels, events } => {
                self.say(&format!("labels    {}", counts(labels)));
                self.bar = ProgressBar::new(events as u64);
                let template = "embedding {wide_bar} {percent:>3} % {eta} left";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    self.bar.set_style(style);
                }
            }
            ClassificationEvent::Embedded(events) => self.bar.set_position(events as u64),
            ClassificationEvent::EpochDone { epoch, record, .. } => self.epoch_done(epoch, record),
            ClassificationEvent::Warning(message) => {
                let note = || console::note(format!("warning: {message}"));
                self.bar.suspend(note);
            }
            ClassificationEvent::Checkpoint { .. } => {}
        }
        Ok(())
    }

    fn epoch_done(&mut self, epoch: usize, record: &ClassifierEpoch) {
        self.bar.finish_and_clear();
        let val = &record.val;
        let more = match val.positive_rate {
            Some(_) => String::new(),
            None => format!(" F1-micro {:.4} F1-macro {:.4}", val.f1_micro, val.f1_macro),
        };
        self.say(&format!(
            "epoch {epoch:<3} loss {}  val AUC {:.4} AP {:.4}{more}",
            numbers::four(record.train_loss),
            val.auc,
            val.ap
        ));
    }
}

/// `217 positive labels: 150 / 40 / 27 …`
fn counts(labels: &LabelCounts) -> String {
    let LabelCounts {
        train, val, test, ..
    } = labels;
    let three = |of: fn(&LabelCount) -> usize| {
        let [train, val, test] = [train, val, test].map(|count| HumanCount(of(count) as u64));
        format!("{train} / {val} / {test}")
    };
    let positives = |count: &LabelCount| count.positives;
    let all: Option<usize> = [train, val, test].map(positives).into_iter().sum();
    let mut text = match all {
        Some(all) => {
            let parts = three(|count| count.positives.unwrap_or_default());
            format!("{all} positive labels: {parts} among ")
        }
        None => format!("{} classes: ", labels.classes.len()),
    };
    text += &three(|count| count.events);
    let missing = train.missing + val.missing + test.missing;
    text += match missing {
        0 => " events of training / validation / test",
        _ => " labelled events of training / validation / test",
    };
    if missing > 0 {
        let parts = three(|count| count.missing);
        text += &format!(
            "\n          {} events have no label ({parts}): they are neither trained on nor measured",
            HumanCount(missing as u64)
        );
    }
    text
}

fn print_summary(summary: &ClassificationSummary, folder: &RunFolder) {
    let record = &summary.record;
    let line = |part: &str, metrics: &LabelMetrics, count: &LabelCount| {
        let (ap, of) = match (metrics.positive_rate, count.positives) {
            (Some(rate), Some(positives)) => (
                format!(" (chance {rate:.4})"),
                format!("{positives} positive labels"),
            ),
            _ => (String::new(), format!("{} labels", count.events)),
        };
        console::news(format!(
            "{part:<9} AUC {:.4} (chance 0.5)  AP {:.4}{ap}  F1-micro {:.4}  F1-macro {:.4}  {of}",
            metrics.auc, metrics.ap, metrics.f1_micro, metrics.f1_macro
        ));
    };
    line("val", &record.val, &record.labels.val);
    line("test", &record.test, &record.labels.test);
    if record.val.equal_scores || record.test.equal_scores {
        console::note(format!("warning: {EQUAL_SCORES}"));
    }
    print_classes(&record.test_classes);
    let balance = match summary.balance {
        Balance::All => "an epoch goes over all training labels",
        Balance::Sampled => {
            "an epoch goes over all labels of the rarest class and as many of each other, redrawn"
        }
        Balance::Weights => {
            "an epoch goes over all training labels, weighed by how rare their class is"
        }
    };
    console::news(format!(
        "          classifier of epoch {} (best {}); {balance}",
        record.best_epoch, record.monitor
    ));
    if summary.setting.data.synthetic {
        console::news(report::SYNTHETIC);
    }
    console::news(format!(
        "written   {}",
        folder.path().join("summary.json").display()
    ));
}

/// The classes of the test part.
fn print_classes(table: &ClassTable) {
    let head = ["class", "labels", "precision", "recall", "F1", "predicted"];
    let mut rows = vec![head.map(str::to_owned)];
    let shown = most_frequent(table);
    rows.extend(shown.iter().map(|class| {
        [
            class.label.to_string(),
            class.support.to_string(),
            format!("{:.4}", class.precision),
            format!("{:.4}", class.recall),
            format!("{:.4}", class.f1),
            class.predicted.to_string(),
        ]
    }));
    let mut text = super::super::table::table(&rows, |column| column > 0);
    let more = table.classes.len() - shown.len();
    if more > 0 {
        text += &format!(
            "          and {more} less frequent classes, in report.html and summary.json\n"
        );
    }
    console::news(text.trim_end());
}

/// The classes that are printed, by label.
fn most_frequent(table: &ClassTable) -> Vec<&ClassMetrics> {
    let mut classes: Vec<&ClassMetrics> = table.classes.iter().collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.support));
    classes.truncate(SHOWN_CLASSES);
    classes.sort_by_key(|class| class.label);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_classes_the_most_frequent_are_printed() {
        let class = |label: i32| ClassMetrics {
            label,
            precision: 0.5,
            recall: 0.5,
            f1: 0.5,
            // The higher half is the more frequent one.
            support: if label >= 128 { 9 } else { 3 },
            predicted: 1,
            ap: None,
        };
        let table = ClassTable {
            classes: (0..256).map(class).collect(),
            confusion: Vec::new(),
            curves: Vec::new(),
        };
        let labels: Vec<i32> = most_frequent(&table).iter().map(|of| of.label).collect();
        assert_eq!(labels, (128..140).collect::<Vec<_>>());
    }
}
