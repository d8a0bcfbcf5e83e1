//! `mspipe train --task node`: progress and results of node classification.

use std::io;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use mspipe::config::RunConfig;
use mspipe::device::ComputeDevice;
use mspipe::eval::EQUAL_SCORES;
use mspipe::run_folder::{MetricsLog, NodeSummary, RunFolder, RunFolderError};
use mspipe::session::{self, Session};
use mspipe::train::node_classification::{Balance, LabelCounts, NodeEpoch, NodeEvent, NodeMetrics};
use mspipe::{console, interrupt};

use super::super::report;

/// Classifies nodes and prints.
pub(super) fn run(config: RunConfig, json: bool) -> anyhow::Result<()> {
    let (summary, folder) =
        session::classify_nodes(config, &interrupt::stop(), |session, device, folder| {
            let mut progress = Progress::begin(session, device, folder, json)?;
            Ok(move |event: NodeEvent<'_>| progress.see(event))
        })?;
    if json {
        return Ok(console::json(&summary)?);
    }
    print_summary(&summary, &folder);
    Ok(())
}

/// Progress bar and metrics of a classification.
struct Progress {
    bar: ProgressBar,
    log: MetricsLog,
    json: bool,
}

impl Progress {
    fn begin(
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
        json: bool,
    ) -> Result<Progress, RunFolderError> {
        if !json {
            console::news(report::head(session, device));
            console::news(format!("run       {}", folder.path().display()));
        } else {
            report::say_notes(&session.notes);
        }
        Ok(Progress {
            bar: ProgressBar::hidden(),
            log: folder.metrics()?,
            json,
        })
    }
}

impl Progress {
    /// Shows what happens, and writes down the epochs.
    fn see(&mut self, event: NodeEvent<'_>) -> io::Result<()> {
        match event {
            NodeEvent::EmbeddingBegins { labels, events } => self.embedding_begins(labels, events),
            NodeEvent::Embedded(events) => self.bar.set_position(events as u64),
            NodeEvent::EpochDone { epoch, record } => return self.epoch_done(epoch, record),
        }
        Ok(())
    }

    fn embedding_begins(&mut self, labels: &LabelCounts, events: usize) {
        if !self.json {
            console::news(format!("labels    {}", counts(labels)));
        }
        self.bar = ProgressBar::new(events as u64);
        let template = "embedding {wide_bar} {percent:>3} % {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    fn epoch_done(&mut self, epoch: usize, record: &NodeEpoch) -> io::Result<()> {
        self.bar.finish_and_clear();
        if !self.json {
            console::news(format!(
                "epoch {epoch:<3} loss {:.4}  val AUC {:.4} AP {:.4}",
                record.train_loss, record.val.auc, record.val.ap
            ));
        }
        self.log.epoch(epoch, record)
    }
}

/// `217 positive labels: 150 / 40 / 27 …`
fn counts(labels: &LabelCounts) -> String {
    let LabelCounts { train, val, test } = labels;
    format!(
        "{} positive labels: {} / {} / {} among {} / {} / {} events of training / validation / \
         test",
        train.positives + val.positives + test.positives,
        train.positives,
        val.positives,
        test.positives,
        HumanCount(train.events as u64),
        HumanCount(val.events as u64),
        HumanCount(test.events as u64)
    )
}

fn print_summary(summary: &NodeSummary, folder: &RunFolder) {
    let record = &summary.record;
    let line = |part: &str, metrics: &NodeMetrics, positives: usize| {
        console::news(format!(
            "{part:<9} AUC {:.4} (chance 0.5)  AP {:.4} (chance {:.4})  {positives} positive labels",
            metrics.auc, metrics.ap, metrics.positive_rate
        ));
    };
    line("val", &record.val, record.labels.val.positives);
    line("test", &record.test, record.labels.test.positives);
    if record.val.equal_scores || record.test.equal_scores {
        console::note(format!("warning: {EQUAL_SCORES}"));
    }
    let balance = match summary.balance {
        Balance::All => "all training labels",
        Balance::Sampled => "all positive labels and as many negative ones, redrawn",
    };
    console::news(format!(
        "          classifier of epoch {} (best validation AUC); an epoch goes over {balance}",
        record.best_epoch
    ));
    if summary.setting.data.synthetic {
        console::news(report::SYNTHETIC);
    }
    console::news(format!(
        "written   {}",
        folder.path().join("summary.json").display()
    ));
}
