//! EdgeBanks on the events, negatives and candidates of an evaluation.

use rayon::prelude::*;

use super::{BankMetrics, DyglibBanks, EdgeBankMetrics, EvalError, Evaluator, Pool, part_of};
use crate::eval::edgebank::{Bank, EdgeBank};
use crate::eval::{self, BatchScores, Rank, RankMetrics};
use crate::sampling::SplitPart;
use crate::train::error::StageError;

/// Those of every protocol, then DyGLib's.
const BANKS: [Bank; 5] = [
    Bank::Unlimited,
    Bank::Window,
    Bank::RecentEvents,
    Bank::RepeatInterval,
    Bank::RepeatThreshold,
];

/// Pooled AP of a bank, and its ranking where the protocol ranks.
type Worth = (f64, Option<RankMetrics>);

impl Evaluator {
    /// The EdgeBanks on the same events, negatives and candidates; DyGLib's too where pairs of the
    /// past are negatives. On the test, and on the `validation` part too if that is asked for.
    ///
    /// # Errors
    /// When negatives can't be drawn; a stop.
    pub fn edgebank(&self, validation: bool) -> Result<EdgeBankMetrics, EvalError> {
        let train = part_of(self.sampling(), self.split.train.clone());
        let (mut bank, banks) = match self.past {
            Some(_) => (EdgeBank::with_repeats_after(train), &BANKS[..]),
            None => (EdgeBank::after(train), &BANKS[..2]),
        };
        let [own, other] = &self.pools;
        let val = match validation {
            true => Some(self.over(&mut bank, banks, SplitPart::Validation, own)?),
            false => {
                bank.insert(part_of(self.sampling(), self.split.val.clone()));
                None
            }
        };
        let test = |pool| self.over(&mut bank.clone(), banks, SplitPart::Test, pool);
        let (test_own, test_other) = (test(own)?, test(other)?);
        let past = match &self.past {
            Some([historical, inductive]) => Some([test(historical)?, test(inductive)?]),
            None => None,
        };
        let metrics = |bank: usize| {
            let past = past.as_ref();
            let val = val.as_ref().map(|val| val[bank]);
            BankMetrics {
                val_ap: val.map(|(ap, _)| ap),
                test_ap: test_own[bank].0,
                test_other_pool_ap: test_other[bank].0,
                test_historical_ap: past.map(|[historical, _]| historical[bank].0),
                test_inductive_ap: past.map(|[_, inductive]| inductive[bank].0),
                val_mrr: val.and_then(|(_, ranking)| Some(ranking?.mrr)),
                test_mrr: test_own[bank].1.map(|ranking| ranking.mrr),
                val_hits: val.and_then(|(_, ranking)| Some(ranking?.hits)),
                test_hits: test_own[bank].1.map(|ranking| ranking.hits),
            }
        };
        Ok(EdgeBankMetrics {
            unlimited: metrics(0),
            window: metrics(1),
            dyglib: self.past.is_some().then(|| DyglibBanks {
                recent_events: metrics(2),
                repeat_interval: metrics(3),
                repeat_threshold: metrics(4),
            }),
        })
    }

    /// What each of `banks` is worth over a part; the bank continues.
    fn over(
        &self,
        bank: &mut EdgeBank,
        banks: &[Bank],
        part: SplitPart,
        pool: &Pool,
    ) -> Result<Vec<Worth>, EvalError> {
        let pass = self.pass_with(&pool.1, part, 0);
        let mut scores: Vec<Vec<BatchScores>> = vec![Vec::new(); banks.len()];
        let mut ranks: Vec<Vec<Rank>> = vec![Vec::new(); banks.len()];
        let mut batches = Vec::with_capacity(pass.iterations());
        for iteration in 0..pass.iterations() {
            self.stop.check()?;
            let batch = pass.batch(iteration).map_err(StageError::from)?;
            for (&of, scores) in banks.iter().zip(&mut scores) {
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
                let (bank, events) = (&*bank, batch.events.clone().into_par_iter());
                let rank = |event: usize| {
                    let others = candidates
                        .of(key, event, stream)
                        .map_err(StageError::from)?;
                    let i = event - batch.events.start;
                    let (src, dst) = (batch.src[i], batch.dst[i]);
                    let rank = |&of: &Bank| {
                        let of_others: Vec<f32> =
                            others.iter().map(|&d| bank.score(of, src, d)).collect();
                        Ok(Rank::of(bank.score(of, src, dst), &of_others)?)
                    };
                    banks.iter().map(rank).collect()
                };
                let of_events: Result<Vec<Vec<Rank>>, EvalError> = events.map(rank).collect();
                for of_event in of_events? {
                    for (ranks, rank) in ranks.iter_mut().zip(of_event) {
                        ranks.push(rank);
                    }
                }
            }
            bank.insert(batch.columns());
            batches.push(batch);
        }
        let of_banks = scores.iter().zip(&ranks);
        of_banks
            .map(|(scores, ranks)| {
                // A batch is scored before the bank knows it, whatever models see of it.
                let ranking = RankMetrics::of(&self.known, &batches, ranks, true);
                Ok((eval::pooled_ap(scores)?, ranking))
            })
            .collect()
    }
}
