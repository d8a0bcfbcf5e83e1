//! Metrics of link prediction: average precision, area under the ROC curve, reciprocal rank.
//!
//! Average precision and AUC are those of scikit-learn's `average_precision_score` and
//! `roc_auc_score`: equal scores form one threshold, so the order of the inputs does not matter.
//! Given the scores of a whole split they are *pooled*. [`batch_mean`] is the mean over batches that
//! TGN, TGL, DyGLib and MSPipe publish: every batch weighs the same, a short last one too, and it
//! depends on the batch size. The two are different metrics and are reported beside each other.
//!
//! Scores are compared as they are (logits or probabilities; logits saturate later). Infinite and
//! NaN scores are refused, since any rank of theirs would hide a diverged model. Counts are exact
//! integers, sums are f64.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a metric has no value.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MetricError {
    /// One of the classes is empty.
    #[error("metric: {positives} positive and {negatives} negative scores; both must be present")]
    Empty {
        /// Number of positive scores.
        positives: usize,
        /// Number of negative scores.
        negatives: usize,
    },
    /// A score that has no rank.
    #[error(
        "metric: the score of {class} {index} is {score}; scores must be finite \
         (the model has diverged: try a smaller learning rate)"
    )]
    NotFinite {
        /// `positive` or `negative`.
        class: &'static str,
        /// Its index in that class.
        index: usize,
        /// The score.
        score: f32,
    },
    /// No batch to take the mean of.
    #[error("metric: the mean over batches needs at least one batch")]
    NoBatch,
}

/// Average precision: the precision at each distinct score, weighted by the recall gained there.
///
/// # Errors
/// An empty class, a score that is not finite.
pub fn average_precision(positive: &[f32], negative: &[f32]) -> Result<f64, MetricError> {
    let mut found = Tied::default();
    let mut sum = 0.0;
    for tied in descending(positive, negative)? {
        found.positives += tied.positives;
        found.negatives += tied.negatives;
        let precision = found.positives as f64 / (found.positives + found.negatives) as f64;
        sum += tied.positives as f64 * precision;
    }
    Ok(sum / positive.len() as f64)
}

/// Area under the ROC curve: how often a positive scores above a negative, where a tie counts half.
///
/// # Errors
/// An empty class, a score that is not finite.
pub fn roc_auc(positive: &[f32], negative: &[f32]) -> Result<f64, MetricError> {
    let mut positives_above = 0;
    let mut twice_won: u128 = 0;
    for tied in descending(positive, negative)? {
        twice_won += u128::from(2 * positives_above + tied.positives) * u128::from(tied.negatives);
        positives_above += tied.positives;
    }
    let pairs = positive.len() as f64 * negative.len() as f64;
    Ok(twice_won as f64 / 2.0 / pairs)
}

/// Recall and precision at each distinct score, from high to low: what [`average_precision`] goes over.
///
/// # Errors
/// An empty class, a score that is not finite.
pub(crate) fn precision_recall(
    positive: &[f32],
    negative: &[f32],
) -> Result<Vec<[f64; 2]>, MetricError> {
    let mut found = Tied::default();
    let mut point = |tied: Tied| {
        found.positives += tied.positives;
        found.negatives += tied.negatives;
        let right = found.positives as f64;
        let precision = right / (found.positives + found.negatives) as f64;
        [right / positive.len() as f64, precision]
    };
    let tied = descending(positive, negative)?;
    Ok(tied.into_iter().map(&mut point).collect())
}

/// Where an event's destination stands among its candidates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rank {
    /// 1 over the rank, which counts from 1.
    pub reciprocal: f64,
    /// How many candidates it was ranked among.
    pub candidates: usize,
}

impl Rank {
    /// The positive's rank among its negatives, as in TGB: the mean of the rank that a tie gives at
    /// best and at worst. The optimistic rank alone would put a constant scorer first.
    ///
    /// # Errors
    /// No negative, a score that is not finite.
    pub fn of(positive: f32, negative: &[f32]) -> Result<Rank, MetricError> {
        check(&[positive], negative)?;
        let above = negative.iter().filter(|&&score| score > positive).count();
        let not_below = negative.iter().filter(|&&score| score >= positive).count();
        Ok(Rank {
            reciprocal: 1.0 / (0.5 * (above + not_below) as f64 + 1.0),
            candidates: negative.len(),
        })
    }

    /// Whether it is `k` or better.
    fn hits(&self, k: u32) -> bool {
        // Ranks are halves of integers, whose reciprocals are as far from each other.
        self.reciprocal >= 1.0 / f64::from(k)
    }
}

/// Shares of events whose destination is among the first: hits@k, with TGB's convention for ties, by
/// which a rank that is not whole is no hit of the k below it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hits {
    /// Ranked first.
    #[serde(rename = "hits@1")]
    pub at_1: f64,
    /// Among the first three.
    #[serde(rename = "hits@3")]
    pub at_3: f64,
    /// Among the first ten.
    #[serde(rename = "hits@10")]
    pub at_10: f64,
}

impl Hits {
    /// Of these ranks; none without a rank.
    pub(crate) fn of<'a>(ranks: impl ExactSizeIterator<Item = &'a Rank> + Clone) -> Option<Hits> {
        let events = ranks.len();
        let share = |k| ranks.clone().filter(|rank| rank.hits(k)).count() as f64 / events as f64;
        (events > 0).then(|| Hits {
            at_1: share(1),
            at_3: share(3),
            at_10: share(10),
        })
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hits { at_1, at_3, at_10 } = self;
        write!(f, "hits@1 {at_1:.4} hits@3 {at_3:.4} hits@10 {at_10:.4}")
    }
}

/// Scores of one batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchScores {
    /// Of its events.
    pub positive: Vec<f32>,
    /// Of their negatives.
    pub negative: Vec<f32>,
}

/// Mean of `metric` over batches, each batch weighing the same.
///
/// # Errors
/// No batch, or what `metric` refuses.
pub(crate) fn batch_mean(
    metric: impl Fn(&[f32], &[f32]) -> Result<f64, MetricError>,
    batches: &[BatchScores],
) -> Result<f64, MetricError> {
    if batches.is_empty() {
        return Err(MetricError::NoBatch);
    }
    let mut sum = 0.0;
    for batch in batches {
        sum += metric(&batch.positive, &batch.negative)?;
    }
    Ok(sum / batches.len() as f64)
}

/// How many of each class share one score.
#[derive(Clone, Copy, Default)]
struct Tied {
    positives: u64,
    negatives: u64,
}

/// The distinct scores, highest first.
fn descending(positive: &[f32], negative: &[f32]) -> Result<Vec<Tied>, MetricError> {
    check(positive, negative)?;
    let mut scores: Vec<(f32, bool)> = (positive.iter().map(|&score| (score, true)))
        .chain(negative.iter().map(|&score| (score, false)))
        .collect();
    scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    // `==` rather than the order's equality: the two zeros are one score.
    let groups = scores.chunk_by(|a, b| a.0 == b.0);
    Ok(groups
        .map(|tied| {
            let positives = tied.iter().filter(|(_, positive)| *positive).count() as u64;
            Tied {
                positives,
                negatives: tied.len() as u64 - positives,
            }
        })
        .collect())
}

fn check(positive: &[f32], negative: &[f32]) -> Result<(), MetricError> {
    if positive.is_empty() || negative.is_empty() {
        let (positives, negatives) = (positive.len(), negative.len());
        return Err(MetricError::Empty {
            positives,
            negatives,
        });
    }
    for (class, scores) in [("positive", positive), ("negative", negative)] {
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(MetricError::NotFinite {
                class,
                index,
                score: scores[index],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ranks by the evaluators of TGB (py-tgb 2.3.0) and TGB-Seq (tgb-seq 0.1.2), which agree:
    ///
    /// ```python
    /// rng = np.random.default_rng(7)
    /// pos = rng.integers(-4, 5, 8).astype(np.float32) / 4
    /// neg = rng.integers(-4, 5, (8, 6)).astype(np.float32) / 4
    /// tgb_seq.LinkPred.evaluator.Evaluator().eval(pos, neg)
    /// [evaluate.Evaluator(name)._eval_hits_and_mrr(pos[k:k+1], neg[k:k+1], "numpy", 10)["mrr"] for k in range(8)]
    /// ```
    #[test]
    fn ranks_are_those_of_tgb_and_tgb_seq() {
        let positive = [1.0, 0.25, 0.5, 1.0, 0.25, 0.5, 0.75, -0.5];
        let negative = [
            [-1.0, -0.5, -0.5, 0.75, 1.0, -1.0],
            [0.0, 0.75, -0.75, 0.75, -0.75, 0.0],
            [0.75, -0.5, -0.25, -0.5, 0.5, -0.5],
            [1.0, 0.0, 0.0, 0.0, 0.25, 0.0],
            [0.0, 1.0, 0.75, 0.75, 0.5, 0.25],
            [-0.25, 1.0, 0.0, -0.75, 0.75, -0.75],
            [0.75, 0.25, -0.75, -1.0, 0.0, -1.0],
            [-0.75, 0.0, 1.0, 0.0, 0.75, 1.0],
        ];
        let theirs: [f32; 8] = [
            0.6666667, 0.33333334, 0.4, 0.6666667, 0.18181819, 0.33333334, 0.6666667, 0.16666667,
        ];
        for ((&positive, negative), theirs) in positive.iter().zip(&negative).zip(theirs) {
            assert_eq!(
                Rank::of(positive, negative).unwrap().reciprocal as f32,
                theirs
            );
        }
    }

    /// By hand: ranks 1, 1.5, 3, 3.5 and 11 of a score of 0.
    #[test]
    fn hits_are_ranks_within_the_first_k() {
        let ranks: Vec<Rank> = [(0, 0), (0, 1), (2, 0), (2, 1), (10, 0)]
            .map(|(above, equal)| {
                let mut others = vec![-1.0];
                others.resize(1 + above, 1.0);
                others.resize(1 + above + equal, 0.0);
                Rank::of(0.0, &others).unwrap()
            })
            .to_vec();
        let hits = Hits::of(ranks.iter()).unwrap();
        let expected = Hits {
            at_1: 0.2,
            at_3: 0.6,
            at_10: 0.8,
        };
        assert_eq!(hits, expected);
        assert_eq!(Hits::of([].iter()), None);
        for rank in 1..2000u32 {
            let reciprocal = |rank: f64| Rank {
                reciprocal: 1.0 / rank,
                candidates: 2000,
            };
            assert!(reciprocal(f64::from(rank)).hits(rank));
            assert!(!reciprocal(f64::from(rank) + 0.5).hits(rank));
        }
    }

    /// Scores with their average precision and AUC by scikit-learn 1.9.1:
    ///
    /// ```python
    /// pos, neg = np.float32(pos), np.float32(neg)
    /// y, s = np.r_[np.ones(len(pos)), np.zeros(len(neg))], np.r_[pos, neg]
    /// average_precision_score(y, s), roc_auc_score(y, s)
    /// ```
    fn assert_scikit_learn(positive: &[f32], negative: &[f32], precision: f64, auc: f64) {
        let got = average_precision(positive, negative).unwrap();
        assert!(
            (got - precision).abs() < 1e-15,
            "AP {got}, expected {precision}"
        );
        let got = roc_auc(positive, negative).unwrap();
        assert!((got - auc).abs() < 1e-15, "AUC {got}, expected {auc}");
    }

    #[test]
    fn equals_scikit_learn() {
        let distinct = [2.5, -0.5, 1.0, 0.25];
        let negative = [0.5, -1.5, 1.5, -2.0, 0.75];
        assert_scikit_learn(&distinct, &negative, 0.6845238095238095, 0.65);
        // Perfect, then inverted.
        assert_scikit_learn(&[3.0, 4.0], &[1.0, 2.0], 1.0, 1.0);
        assert_scikit_learn(&[1.0, 2.0], &[3.0, 4.0, 5.0], 0.325, 0.0);
    }

    #[test]
    fn ties_equal_scikit_learn() {
        assert_scikit_learn(
            &[1.0, 1.0, 0.0, 2.0],
            &[1.0, 0.0, 0.0, -1.0, 2.0],
            0.55,
            0.675,
        );
        // A constant scorer: the share of positives, and one half.
        assert_scikit_learn(&[0.5; 3], &[0.5; 5], 0.375, 0.5);
        // The two zeros tie, neighbouring floats do not.
        assert_scikit_learn(&[0.0, -0.0], &[-0.0, -1.0], 0.6666666666666666, 0.75);
        let (positive, negative) = ([1.0000001, 1.0], [1.0, 0.99999994]);
        assert_scikit_learn(&positive, &negative, 0.8333333333333333, 0.875);
        let (positive, negative) = MANY_TIES;
        assert_scikit_learn(&positive, &negative, 0.5276364757622364, 0.6597916666666667);
    }

    /// `r = np.random.RandomState(7); pos, neg = r.randint(0, 8, 40) + 2, r.randint(0, 10, 60)`
    #[rustfmt::skip]
    const MANY_TIES: ([f32; 40], [f32; 60]) = (
        [9., 6., 3., 8., 5., 5., 9., 9., 6., 3., 8., 9., 2., 3., 8., 4., 4., 2., 9., 8.,
         6., 2., 9., 9., 6., 2., 5., 9., 4., 8., 5., 6., 6., 9., 7., 2., 2., 9., 7., 2.],
        [0., 2., 8., 9., 6., 4., 9., 7., 3., 3., 8., 3., 0., 1., 0., 0., 6., 7., 7., 9.,
         3., 0., 7., 7., 7., 0., 5., 4., 3., 1., 3., 1., 3., 4., 3., 1., 9., 5., 9., 1.,
         2., 3., 2., 2., 5., 7., 3., 0., 9., 9., 3., 4., 5., 3., 0., 4., 8., 6., 7., 2.],
    );

    /// By hand: ranks + - + give AP (1/1 + 2/3) / 2 and AUC 1/2.
    #[test]
    fn hand_computed() {
        assert_eq!(
            average_precision(&[3.0, 1.0], &[2.0]).unwrap(),
            (1.0 + 2.0 / 3.0) / 2.0
        );
        assert_eq!(roc_auc(&[3.0, 1.0], &[2.0]).unwrap(), 0.5);
    }

    #[test]
    fn a_constant_scorer_ranks_in_the_middle() {
        let reciprocal =
            |positive, negative: &[f32]| Rank::of(positive, negative).unwrap().reciprocal;
        assert_eq!(reciprocal(0.5, &[0.5; 9]), 1.0 / 5.5);
        assert_eq!(reciprocal(2.0, &[0.5; 9]), 1.0);
        assert_eq!(reciprocal(1.0, &[3.0, 2.0, 0.0]), 1.0 / 3.0);
    }

    fn batch(positive: &[f32], negative: &[f32]) -> BatchScores {
        BatchScores {
            positive: positive.to_vec(),
            negative: negative.to_vec(),
        }
    }

    #[test]
    fn a_short_batch_weighs_as_much_as_a_full_one() {
        let batches = [batch(&[3.0, 4.0], &[1.0, 2.0]), batch(&[0.0], &[1.0])];
        assert_eq!(batch_mean(roc_auc, &batches).unwrap(), 0.5);
        assert_eq!(batch_mean(roc_auc, &[]), Err(MetricError::NoBatch));
    }

    #[test]
    fn what_has_no_rank_is_refused() {
        let error = average_precision(&[1.0], &[0.0, f32::NAN]).unwrap_err();
        assert!(
            error.to_string().contains("the score of negative 1 is NaN"),
            "{error}"
        );
        assert!(roc_auc(&[f32::INFINITY], &[0.0]).is_err());
        assert!(Rank::of(f32::NAN, &[0.0]).is_err());
        let empty = MetricError::Empty {
            positives: 0,
            negatives: 1,
        };
        assert_eq!(average_precision(&[], &[0.0]), Err(empty.clone()));
        assert_eq!(
            batch_mean(average_precision, &[batch(&[], &[0.0])]),
            Err(empty)
        );
    }

    /// Few distinct values, so that ties abound.
    fn scores() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec((-4..4i8).prop_map(|score| f32::from(score) / 2.0), 1..40)
    }

    proptest! {
        #[test]
        fn auc_counts_pairs(positive in scores(), negative in scores()) {
            let mut won = 0.0;
            for p in &positive {
                for n in &negative {
                    won += if p > n { 1.0 } else if p == n { 0.5 } else { 0.0 };
                }
            }
            let pairs = (positive.len() * negative.len()) as f64;
            prop_assert!((roc_auc(&positive, &negative).unwrap() - won / pairs).abs() < 1e-12);
        }

        /// Each positive contributes the precision among everything not below it.
        #[test]
        fn precision_is_averaged_over_positives(positive in scores(), negative in scores()) {
            let reached = |scores: &[f32], threshold| {
                scores.iter().filter(|&&score| score >= threshold).count() as f64
            };
            let sum: f64 = positive
                .iter()
                .map(|&p| {
                    let (hits, misses) = (reached(&positive, p), reached(&negative, p));
                    hits / (hits + misses)
                })
                .sum();
            let expected = sum / positive.len() as f64;
            let got = average_precision(&positive, &negative).unwrap();
            prop_assert!((got - expected).abs() < 1e-12, "{} {}", got, expected);
        }
    }
}
