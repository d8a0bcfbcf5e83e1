//! EdgeBank on the events, negatives and candidates of an evaluation.

use super::{BankMetrics, EdgeBankMetrics, EvalError, Evaluator, Pool, part_of};
use crate::eval::edgebank::{Bank, EdgeBank};
use crate::eval::{self, BatchScores, Rank, RankMetrics};
use crate::sampling::SplitPart;
use crate::train::error::StageError;

impl Evaluator {
    /// Both EdgeBanks on the same events, negatives and candidates.
    ///
    /// # Errors
    /// When negatives can't be drawn.
    pub fn edgebank(&self) -> Result<EdgeBankMetrics, EvalError> {
        let train = part_of(self.sampling(), self.split.train.clone());
        let mut bank = EdgeBank::after(train);
        let [own, other] = &self.pools;
        let val = self.over(&mut bank, SplitPart::Validation, own)?;
        let test = |pool| self.over(&mut bank.clone(), SplitPart::Test, pool);
        let (test_own, test_other) = (test(own)?, test(other)?);
        let past = match &self.past {
            Some([historical, inductive]) => Some([test(historical)?, test(inductive)?]),
            None => None,
        };
        let [unlimited, window] = [0, 1].map(|bank: usize| BankMetrics {
            val_ap: val[bank].0,
            test_ap: test_own[bank].0,
            test_other_pool_ap: test_other[bank].0,
            test_historical_ap: past.map(|[historical, _]| historical[bank].0),
            test_inductive_ap: past.map(|[_, inductive]| inductive[bank].0),
            val_mrr: val[bank].1.map(|ranking| ranking.mrr),
            test_mrr: test_own[bank].1.map(|ranking| ranking.mrr),
            val_hits: val[bank].1.map(|ranking| ranking.hits),
            test_hits: test_own[bank].1.map(|ranking| ranking.hits),
        });
        Ok(EdgeBankMetrics { unlimited, window })
    }

    /// Pooled AP and ranking of each EdgeBank over a part; the bank continues.
    fn over(
        &self,
        bank: &mut EdgeBank,
        part: SplitPart,
        pool: &Pool,
    ) -> Result<[(f64, Option<RankMetrics>); 2], EvalError> {
        let banks = [Bank::Unlimited, Bank::Window];
        let pass = self.pass_with(&pool.1, part, 0);
        let mut scores: [Vec<BatchScores>; 2] = Default::default();
        let mut ranks: [Vec<Rank>; 2] = Default::default();
        let mut batches = Vec::with_capacity(pass.iterations());
        for iteration in 0..pass.iterations() {
            self.stop.check()?;
            let batch = pass.batch(iteration).map_err(StageError::from)?;
            for (of, scores) in banks.into_iter().zip(&mut scores) {
                let score = |src: &[_], dst: &[_]| -> Vec<f32> {
                    let pairs = src.iter().zip(dst);
                    pairs.map(|(&s, &d)| bank.score(of, s, d)).collect()
                };
                scores.push(BatchScores {
                    positive: score(&batch.src, &batch.dst),
                    negative: score(batch.negative_sources(), &batch.neg),
                });
            }
            if let Some(candidates) = self.candidates_of(pool) {
                let (key, stream) = (pass.negative_key(), pass.sampling.columns());
                for (i, event) in batch.events.clone().enumerate() {
                    let others = candidates
                        .of(key, event, stream)
                        .map_err(StageError::from)?;
                    let (src, dst) = (batch.src[i], batch.dst[i]);
                    for (of, ranks) in banks.into_iter().zip(&mut ranks) {
                        let of_others: Vec<f32> =
                            others.iter().map(|&d| bank.score(of, src, d)).collect();
                        ranks.push(Rank::of(bank.score(of, src, dst), &of_others)?);
                    }
                }
            }
            bank.insert(batch.columns());
            batches.push(batch);
        }
        let ranking = ranks.map(|ranks| RankMetrics::of(&self.known, &batches, &ranks));
        Ok([
            (eval::pooled_ap(&scores[0])?, ranking[0]),
            (eval::pooled_ap(&scores[1])?, ranking[1]),
        ])
    }
}
