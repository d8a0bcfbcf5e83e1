//! The measure of the validation part that a run goes by.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{LabelMetrics, LinkMetrics};

/// The measure that chooses the epoch whose weights are tested, and that patience watches. Larger
/// is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Monitor {
    /// Average precision over all events and negatives
    ValAp,
    /// Mean of the batches' average precisions, as MSPipe's code chooses
    ValApBatchMean,
    /// Mean reciprocal rank among the candidates of --protocol tgb
    ValMrr,
    /// Area under the ROC curve
    ValAuc,
}

impl Monitor {
    /// Its value; NaN, which is never better, for an MRR where nothing was ranked.
    pub fn of(self, val: &LinkMetrics) -> f64 {
        match self {
            Monitor::ValAp => val.ap,
            Monitor::ValApBatchMean => val.ap_batch_mean,
            Monitor::ValMrr => val.ranking.map_or(f64::NAN, |ranking| ranking.mrr),
            Monitor::ValAuc => val.auc,
        }
    }
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Monitor::ValAp => "validation AP",
            Monitor::ValApBatchMean => "validation AP (batch mean)",
            Monitor::ValMrr => "validation MRR",
            Monitor::ValAuc => "validation AUC",
        })
    }
}

/// The measure that chooses the epoch of a classification of labels. Larger is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelMonitor {
    /// Area under the ROC curve, of two classes.
    ValAuc,
    /// F1 over all events, of more classes.
    ValF1Micro,
}

impl LabelMonitor {
    /// That of so many classes.
    pub(crate) fn of_classes(classes: usize) -> LabelMonitor {
        match classes {
            2 => LabelMonitor::ValAuc,
            _ => LabelMonitor::ValF1Micro,
        }
    }

    /// Its value.
    pub fn of(self, val: &LabelMetrics) -> f64 {
        match self {
            LabelMonitor::ValAuc => val.auc,
            LabelMonitor::ValF1Micro => val.f1_micro,
        }
    }
}

impl fmt::Display for LabelMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LabelMonitor::ValAuc => "validation AUC",
            LabelMonitor::ValF1Micro => "validation F1-micro",
        })
    }
}
