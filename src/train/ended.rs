//! When training ends, and why it did.
//!
//! All that decides but the time lies in the results of the epochs that have ended, so that a
//! resumed run ends where one that was never interrupted does.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::eval::Monitor;

/// When training ends: at whatever comes first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EndRule {
    /// Passes over the training part.
    pub epochs: usize,
    /// What says which epoch is better.
    pub monitor: Monitor,
    /// Epochs in a row that may pass without a better one; 0 for any number.
    pub patience: usize,
    /// Time for all of it, evaluations included.
    pub max_time: Option<Duration>,
}

/// Why training ended, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "lowercase")]
pub enum Ended {
    /// All epochs were trained.
    Epochs {
        /// So many.
        epoch: usize,
    },
    /// No epoch was better any more.
    Patience {
        /// The last epoch, from 1.
        epoch: usize,
        /// Epochs since the best one.
        patience: usize,
    },
    /// Its time was over.
    Time {
        /// Epoch under way, from 1.
        epoch: usize,
        /// Its iterations that were trained; none where it ended between epochs.
        iteration: usize,
    },
}

impl EndRule {
    /// Whether training is over after `epoch` whole epochs, the best of which was number `best`
    /// (from 1), if `time_is_up` says whether its time is.
    pub(super) fn after(&self, epoch: usize, best: usize, time_is_up: bool) -> Option<Ended> {
        let patience = self.patience;
        if epoch >= self.epochs {
            Some(Ended::Epochs { epoch })
        } else if patience > 0 && epoch - best >= patience {
            Some(Ended::Patience { epoch, patience })
        } else if time_is_up {
            let (epoch, iteration) = (epoch + 1, 0);
            Some(Ended::Time { epoch, iteration })
        } else {
            None
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Epochs { epoch } => write!(f, "after epoch {epoch}, the last (--epochs)"),
            Ended::Patience { epoch, patience } => write!(
                f,
                "after epoch {epoch}: none of the last {patience} was better (--patience)"
            ),
            Ended::Time {
                epoch,
                iteration: 0,
            } => write!(f, "after epoch {}: its time is up (--max-time)", epoch - 1),
            Ended::Time { epoch, iteration } => write!(
                f,
                "in epoch {epoch}, after {iteration} iterations: its time is up (--max-time)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a run ends whose epochs are worth `values`, and its best epoch.
    fn end(values: &[f64], patience: usize) -> (Ended, usize) {
        let rule = EndRule {
            epochs: values.len(),
            monitor: Monitor::ValAp,
            patience,
            max_time: None,
        };
        let (mut best, mut most) = (0, f64::NEG_INFINITY);
        for (epoch, &value) in (1..).zip(values) {
            if value > most {
                (best, most) = (epoch, value);
            }
            if let Some(ended) = rule.after(epoch, best, false) {
                return (ended, best);
            }
        }
        panic!("all epochs are over")
    }

    #[test]
    fn patience_counts_epochs_since_the_best() {
        let values = [0.5, 0.7, 0.6, 0.7, 0.69, 0.8, 0.1];
        let (epochs, patience) = (Ended::Epochs { epoch: 7 }, 2);
        // An equal epoch is not better.
        assert_eq!(end(&values, 2), (Ended::Patience { epoch: 4, patience }, 2));
        let patience = 3;
        assert_eq!(end(&values, 3), (Ended::Patience { epoch: 5, patience }, 2));
        assert_eq!(end(&values, 4), (epochs, 6));
        assert_eq!(end(&values, 0), (epochs, 6));
        let patience = 1;
        assert_eq!(end(&values, 1), (Ended::Patience { epoch: 3, patience }, 2));
        // The last epoch is the last whatever it is worth.
        assert_eq!(end(&values[..3], 1), (Ended::Epochs { epoch: 3 }, 2));
    }

    #[test]
    fn time_ends_a_run_that_nothing_else_ends() {
        let rule = EndRule {
            epochs: 3,
            monitor: Monitor::ValAp,
            patience: 1,
            max_time: Some(Duration::ZERO),
        };
        let (epoch, iteration) = (2, 0);
        assert_eq!(
            rule.after(1, 1, true),
            Some(Ended::Time { epoch, iteration })
        );
        let (epoch, patience) = (2, 1);
        assert_eq!(
            rule.after(2, 1, true),
            Some(Ended::Patience { epoch, patience })
        );
        assert_eq!(rule.after(3, 1, true), Some(Ended::Epochs { epoch: 3 }));
    }
}
