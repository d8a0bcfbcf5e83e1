//! Metrics of labels: one score per event where there are two classes, one per class where there are more.
//!
//! Two classes: AP and AUC of the scores, the class above a score of 0 is predicted. More: the class with
//! the highest score is predicted (of equal ones the first), and AP and AUC are means over the classes of
//! each against the rest, by the softmax of the scores. All are those of scikit-learn: `macro` averages over
//! classes that occur or are predicted, AP and AUC over classes that occur.

use serde::{Deserialize, Serialize};

use super::metrics::{self, MetricError};

/// Points of a precision-recall curve that are kept.
const CURVE_POINTS: usize = 101;

/// Scores of labelled events.
#[derive(Debug, Clone)]
pub(crate) struct ClassScores<'a> {
    /// The label of each class, ascending.
    pub(crate) classes: &'a [i32],
    /// The class of each event.
    pub(crate) class: Vec<u32>,
    /// `[events]` where there are two classes, else `[events, classes]`.
    pub(crate) scores: Vec<f32>,
}

/// What the scores of a part are worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelMetrics {
    /// Area under the ROC curve; 0.5 is chance. The mean over the classes, where there are more than two.
    pub auc: f64,
    /// Average precision; `positive_rate` is chance. The mean over the classes, where there are more than
    /// two.
    pub ap: f64,
    /// Share of positive labels; none where there are more than two classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive_rate: Option<f64>,
    /// Share of events whose class is predicted; the same as `f1_micro`, since each event has one class.
    pub accuracy: f64,
    /// F1 over all events together.
    pub f1_micro: f64,
    /// Mean of the classes' F1.
    pub f1_macro: f64,
    /// Whether all scores are one number: see [`EQUAL_SCORES`](crate::eval::EQUAL_SCORES).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub equal_scores: bool,
}

/// A class of a part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Its label.
    pub label: i32,
    /// Share of it among the events that were predicted as it; 0 where there are none.
    pub precision: f64,
    /// Share of its events that were predicted as it; 0 where there are none.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Its events.
    pub support: usize,
    /// Events that were predicted as it.
    pub predicted: usize,
    /// Average precision of its score against the rest; none where all events are of it, or none is.
    pub ap: Option<f64>,
}

/// A precision-recall curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The label of the class that it is of.
    pub label: i32,
    /// Recall and precision at some of the thresholds, from high to low.
    pub points: Vec<[f64; 2]>,
}

/// All that is told of the classes of a part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassTable {
    /// The classes, by label.
    pub classes: Vec<ClassMetrics>,
    /// Events of each class (a row) that were predicted as each class.
    pub confusion: Vec<Vec<usize>>,
    /// Precision-recall curves: of the positive label where there are two classes, else of each.
    pub curves: Vec<Curve>,
}

impl ClassScores<'_> {
    fn binary(&self) -> bool {
        self.classes.len() == 2
    }

    /// The scores of an event.
    fn of(&self, event: usize) -> &[f32] {
        let each = if self.binary() { 1 } else { self.classes.len() };
        &self.scores[event * each..][..each]
    }

    /// The class that is predicted for an event.
    fn predicted(&self, event: usize) -> usize {
        match self.of(event) {
            [score] => usize::from(*score > 0.0),
            scores => (1..scores.len()).fold(0, |best, class| match scores[class] > scores[best] {
                true => class,
                false => best,
            }),
        }
    }

    /// Events of each class that were predicted as each.
    fn confusion(&self) -> Vec<Vec<usize>> {
        let mut confusion = vec![vec![0; self.classes.len()]; self.classes.len()];
        for (event, &class) in self.class.iter().enumerate() {
            confusion[class as usize][self.predicted(event)] += 1;
        }
        confusion
    }

    /// How much each event is of `class`.
    fn of_class(&self, class: usize) -> Vec<f32> {
        let event = |event| match self.of(event) {
            [score] if class == 1 => *score,
            [score] => -score,
            scores => {
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let power = |score: f32| f64::from(score - most).exp();
                let all: f64 = scores.iter().map(|&score| power(score)).sum();
                (power(scores[class]) / all) as f32
            }
        };
        (0..self.class.len()).map(event).collect()
    }

    /// The scores of the events of `class`, and those of all others.
    fn against_the_rest(&self, class: usize) -> [Vec<f32>; 2] {
        let (mut of, mut rest) = (Vec::new(), Vec::new());
        for (score, &own) in self.of_class(class).into_iter().zip(&self.class) {
            match own as usize == class {
                true => of.push(score),
                false => rest.push(score),
            }
        }
        [of, rest]
    }

    /// The classes that AP and AUC are of: the positive one of two, else those that occur.
    fn ranked(&self) -> impl Iterator<Item = (usize, [Vec<f32>; 2])> + '_ {
        let from = usize::from(self.binary());
        (from..self.classes.len())
            .map(|class| (class, self.against_the_rest(class)))
            .filter(|(_, [of, rest])| self.binary() || !(of.is_empty() || rest.is_empty()))
    }

    /// What they are worth.
    ///
    /// # Errors
    /// Events of one class alone, scores that are not finite.
    pub(crate) fn metrics(&self) -> Result<LabelMetrics, MetricError> {
        let (mut auc, mut ap, mut ranked, mut equal) = (0.0, 0.0, 0, true);
        let mut positive_rate = None;
        for (_, [of, rest]) in self.ranked() {
            auc += metrics::roc_auc(&of, &rest)?;
            ap += metrics::average_precision(&of, &rest)?;
            ranked += 1;
            equal &= super::all_equal(&of, &rest);
            if self.binary() {
                positive_rate = Some(of.len() as f64 / self.class.len() as f64);
            }
        }
        if ranked == 0 {
            return Err(MetricError::Empty {
                positives: self.class.len(),
                negatives: 0,
            });
        }
        let classes = class_metrics(self.classes, &self.confusion());
        let seen: Vec<f64> = (classes.iter())
            .filter(|class| class.support + class.predicted > 0)
            .map(|class| class.f1)
            .collect();
        let right = (0..self.class.len())
            .filter(|&event| self.predicted(event) == self.class[event] as usize)
            .count();
        let accuracy = right as f64 / self.class.len() as f64;
        Ok(LabelMetrics {
            auc: auc / f64::from(ranked),
            ap: ap / f64::from(ranked),
            positive_rate,
            accuracy,
            f1_micro: accuracy,
            f1_macro: seen.iter().sum::<f64>() / seen.len() as f64,
            equal_scores: equal,
        })
    }

    /// All that there is to tell of the classes.
    ///
    /// # Errors
    /// As [`ClassScores::metrics`].
    pub(crate) fn table(&self) -> Result<ClassTable, MetricError> {
        let confusion = self.confusion();
        let mut classes = class_metrics(self.classes, &confusion);
        let mut curves = Vec::new();
        for (class, metrics) in classes.iter_mut().enumerate() {
            let [of, rest] = self.against_the_rest(class);
            if of.is_empty() || rest.is_empty() {
                continue;
            }
            metrics.ap = Some(metrics::average_precision(&of, &rest)?);
            if class == 0 && self.binary() {
                continue;
            }
            let points = metrics::precision_recall(&of, &rest)?;
            curves.push(Curve {
                label: metrics.label,
                points: thinned(points),
            });
        }
        Ok(ClassTable {
            classes,
            confusion,
            curves,
        })
    }
}

/// Of each class, without its AP.
fn class_metrics(labels: &[i32], confusion: &[Vec<usize>]) -> Vec<ClassMetrics> {
    let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
    let metrics = |(class, &label): (usize, &i32)| {
        let right = confusion[class][class];
        let support = confusion[class].iter().sum();
        let predicted = confusion.iter().map(|row| row[class]).sum();
        ClassMetrics {
            label,
            precision: share(right, predicted),
            recall: share(right, support),
            f1: share(2 * right, support + predicted),
            support,
            predicted,
            ap: None,
        }
    };
    labels.iter().enumerate().map(metrics).collect()
}

/// At most [`CURVE_POINTS`] of them, the last one among these, evenly by recall.
fn thinned(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    if points.len() <= CURVE_POINTS {
        return points;
    }
    let mut kept: Vec<[f64; 2]> = Vec::with_capacity(CURVE_POINTS);
    let step = 1.0 / (CURVE_POINTS - 1) as f64;
    let last = points.len() - 1;
    for (at, point) in points.into_iter().enumerate() {
        if point[0] >= kept.len() as f64 * step || at == last {
            kept.push(point);
        }
    }
    kept.truncate(CURVE_POINTS);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By scikit-learn 1.9.1:
    ///
    /// ```python
    /// y = np.array([0, 0, 1, 2, 2, 1]); s = np.array([[2,0,0],[0,1,0],[0,3,1],[0,0,1],[1,0,0],[0,2,1]])
    /// p = scipy.special.softmax(s, 1); q = s.argmax(1)
    /// roc_auc_score(y, p, multi_class="ovr"), average_precision_score(np.eye(3)[y], p)
    /// f1_score(y, q, average="macro"), accuracy_score(y, q), confusion_matrix(y, q)
    /// ```
    #[test]
    fn several_classes_equal_scikit_learn() {
        let scores = ClassScores {
            classes: &[3, 5, 9],
            class: vec![0, 0, 1, 2, 2, 1],
            scores: [
                [2., 0., 0.],
                [0., 1., 0.],
                [0., 3., 1.],
                [0., 0., 1.],
                [1., 0., 0.],
                [0., 2., 1.],
            ]
            .concat(),
        };
        let metrics = scores.metrics().unwrap();
        assert!((metrics.auc - 0.875).abs() < 1e-12, "{}", metrics.auc);
        assert!(
            (metrics.ap - 0.8333333333333334).abs() < 1e-12,
            "{}",
            metrics.ap
        );
        assert!(
            (metrics.f1_macro - 0.6555555555555556).abs() < 1e-12,
            "{}",
            metrics.f1_macro
        );
        assert_eq!(metrics.accuracy, 4.0 / 6.0);
        assert_eq!(metrics.positive_rate, None);
        let table = scores.table().unwrap();
        assert_eq!(table.confusion, [[1, 1, 0], [0, 2, 0], [1, 0, 1]]);
        let five = table.classes[1];
        assert_eq!((five.label, five.support, five.predicted), (5, 2, 3));
        assert_eq!((five.precision, five.recall), (2.0 / 3.0, 1.0));
        assert_eq!(table.curves.len(), 3);
        assert_eq!(table.curves[1].points[..2], [[0.5, 1.0], [1.0, 1.0]]);
    }

    #[test]
    fn two_classes_have_one_score() {
        let scores = ClassScores {
            classes: &[0, 1],
            class: vec![0, 1, 0, 1],
            scores: vec![-1.0, 2.0, 0.5, -0.5],
        };
        let metrics = scores.metrics().unwrap();
        assert_eq!((metrics.auc, metrics.positive_rate), (0.75, Some(0.5)));
        assert_eq!((metrics.accuracy, metrics.f1_macro), (0.5, 0.5));
        let table = scores.table().unwrap();
        assert_eq!(table.confusion, [[1, 1], [1, 1]]);
        let labels: Vec<i32> = table.curves.iter().map(|curve| curve.label).collect();
        assert_eq!(labels, [1]);
        let one_class = ClassScores {
            class: vec![1; 4],
            ..scores
        };
        assert!(one_class.metrics().is_err());
    }

    #[test]
    fn curves_are_thinned_evenly() {
        let points: Vec<[f64; 2]> = (1..=5000).map(|at| [f64::from(at) / 5000.0, 0.5]).collect();
        let kept = thinned(points.clone());
        assert_eq!(kept.len(), CURVE_POINTS);
        assert_eq!(kept[100][0], 1.0);
        assert!((kept[50][0] - 0.5).abs() < 1e-3);
        assert_eq!(thinned(points[..7].to_vec()), points[..7]);
    }
}
