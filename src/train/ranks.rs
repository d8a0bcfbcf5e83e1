//! What a rank gives to the others in training, and gets from them.
//!
//! Three things travel: once an iteration gradients and loss, as one buffer; once an iteration the updated
//! rows of the nodes that the batch writes, and beside them which rows were read, for the ledger; and what has to be agreed on, since it depends on time: whether to
//! stop, whether a checkpoint is due. Mail, times and negatives never do, each rank makes them itself.
//!
//! Invariant: numbers are added in the order of the ranks, on the host.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::error::StageError;
use super::flat;
use super::joint::{Senders, Share};
use super::reads::{OwnRead, WholeRead};
use super::upload::read;
use crate::batch::EventBatch;
use crate::eval::{BatchScores, Rank};
use crate::memory::MemoryError;
use crate::model::LinkModel;
use crate::pipeline::ledger::Exchanged;
use crate::pipeline::trace::{ExchangeSpan, Given, RankTrace};
use crate::ranks::{Channel, Exchange, RankError};

/// A rank of a run that has several.
#[derive(Clone)]
pub struct Ranks {
    exchange: Arc<dyn Exchange>,
    exchanged: Arc<Mutex<PerIteration>>,
    reads: Arc<Mutex<Reads>>,
}

/// What iterations have read.
#[derive(Default)]
struct Reads {
    /// Of this rank, those whose rows are not exchanged yet.
    own: VecDeque<OwnRead>,
    /// Of all ranks, where it is written down.
    whole: Vec<WholeRead>,
}

/// What each iteration has exchanged since it was asked for last.
#[derive(Default)]
struct PerIteration {
    gradients: Vec<OneExchange>,
    rows: Vec<OneExchange>,
}

/// What was given at once, and when.
struct OneExchange {
    bytes: u64,
    begin: Instant,
    time: Duration,
}

impl OneExchange {
    /// Of what began then and has just ended.
    fn since(begin: Instant, bytes: u64) -> OneExchange {
        OneExchange {
            bytes,
            begin,
            time: begin.elapsed(),
        }
    }

    fn us(&self) -> u64 {
        self.time.as_micros() as u64
    }
}

impl Ranks {
    /// The rank that `exchange` connects to others; none if it is alone.
    pub fn of(exchange: Arc<dyn Exchange>) -> Option<Ranks> {
        (exchange.size() > 1).then(|| Ranks {
            exchange,
            exchanged: Arc::default(),
            reads: Arc::default(),
        })
    }

    /// What the iterations from `first` on have exchanged since it was asked for last; spans of those below `traced`,
    /// on the clock that shows `now`.
    pub(super) fn take_exchanged(
        &self,
        (first, traced): (usize, usize),
        now: Duration,
    ) -> (Vec<Exchanged>, Vec<ExchangeSpan>) {
        let all = std::mem::take(&mut *self.exchanged());
        let both = all.gradients.iter().zip(&all.rows);
        let lines = both.map(|(gradients, rows)| Exchanged {
            gradient_bytes: gradients.bytes,
            gradient_us: gradients.us(),
            row_bytes: rows.bytes,
            row_us: rows.us(),
        });
        let spans = |given, of: &[OneExchange]| -> Vec<ExchangeSpan> {
            let numbered = (first..traced).zip(of);
            let span = |(iteration, exchange): (usize, &OneExchange)| {
                let begin = now.saturating_sub(exchange.begin.elapsed());
                ExchangeSpan {
                    given,
                    iteration,
                    begin,
                    end: begin + exchange.time,
                    bytes: exchange.bytes,
                }
            };
            numbered.map(span).collect()
        };
        let gradients = spans(Given::Gradients, &all.gradients);
        let rows = spans(Given::Rows, &all.rows);
        (lines.collect(), [gradients, rows].concat())
    }

    /// Forgets what was exchanged: what an evaluation has is in no ledger.
    pub(super) fn forget_exchanged(&self) {
        *self.exchanged() = PerIteration::default();
        *self.reads() = Reads::default();
    }

    /// What this rank reads in the next iteration whose rows are exchanged.
    pub(super) fn note_read(&self, own: OwnRead) {
        self.reads().own.push_back(own);
    }

    /// What all ranks have read in the iterations since it was asked for last; nothing on a rank that writes no
    /// ledger.
    pub(super) fn take_reads(&self) -> Vec<WholeRead> {
        std::mem::take(&mut self.reads().whole)
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the other ranks did, from rank 1 on, of which this one did `own`.
    ///
    /// # Errors
    /// When a rank has ended.
    pub(super) fn traces(&self, own: &RankTrace) -> Result<Vec<RankTrace>, RankError> {
        let own = match self.records() {
            // Whoever writes them down has its own.
            true => Vec::new(),
            false => serde_json::to_vec(own).unwrap_or_default(),
        };
        let all = self.exchange.all_gather(Channel::Steps, own)?;
        let read = |bytes: &Vec<u8>| serde_json::from_slice(bytes).unwrap_or_default();
        Ok(match self.records() {
            true => all.iter().skip(1).map(read).collect(),
            false => Vec::new(),
        })
    }

    fn exchanged(&self) -> MutexGuard<'_, PerIteration> {
        self.exchanged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Its part of each batch.
    pub(super) fn share(&self) -> Share {
        Share {
            rank: self.exchange.rank(),
            ranks: self.exchange.size(),
        }
    }

    /// Whether it writes down what the run gives.
    pub fn records(&self) -> bool {
        self.exchange.rank() == 0
    }

    /// Whether any rank says so, of each of these.
    ///
    /// # Errors
    /// When a rank has ended.
    pub(super) fn any<const N: usize>(&self, own: [bool; N]) -> Result<[bool; N], RankError> {
        Ok(self.most(own.map(u8::from))?.map(|says| says != 0))
    }

    /// The largest that any rank has, of each of these.
    ///
    /// # Errors
    /// When a rank has ended.
    pub(super) fn most<const N: usize>(&self, own: [u8; N]) -> Result<[u8; N], RankError> {
        let all = self.exchange.all_gather(Channel::Steps, own.to_vec())?;
        let of_each = |nth| {
            all.iter()
                .filter_map(move |of: &Vec<u8>| of.get(nth).copied())
        };
        Ok(std::array::from_fn(|nth| {
            of_each(nth).max().unwrap_or(own[nth])
        }))
    }

    /// The rows of an update, `[rows, width]`, of which this rank has `own`, in the order of the rows. What each
    /// rank has read in the iteration goes with them.
    ///
    /// # Errors
    /// When a rank has ended, or sent another number of rows.
    pub(super) fn rows(
        &self,
        mut own: Vec<f32>,
        senders: &Senders,
        width: usize,
    ) -> Result<Vec<f32>, RankError> {
        let (rank, ranks) = (self.exchange.rank(), self.exchange.size());
        let mut counts = vec![0; ranks];
        senders.0.iter().for_each(|&sender| counts[sender] += 1);
        // Of none that are its own, one was read.
        own.truncate(counts[rank] * width);
        let mut bytes = bytemuck::cast_slice(&own).to_vec();
        // An evaluation has no ledger.
        let read = self.reads().own.pop_front();
        let noted = read.is_some();
        bytes.extend(read.map_or_else(Vec::new, |read| read.to_bytes()));
        let (begin, given) = (Instant::now(), bytes.len() as u64);
        let all = self.exchange.all_gather(Channel::Rows, bytes)?;
        let made = OneExchange::since(begin, given);
        self.exchanged().rows.push(made);
        let (mut next, mut reads) = (Vec::new(), Vec::new());
        for (rank, (bytes, count)) in all.iter().zip(counts).enumerate() {
            let (found, expected) = (bytes.len(), 4 * count * width);
            let Some((rows, read)) = bytes.split_at_checked(expected) else {
                return Err(RankError::Uneven {
                    rank,
                    found,
                    expected,
                });
            };
            next.push(rows.chunks_exact(4 * width));
            reads.push(read);
        }
        if noted && self.records() {
            let whole = WholeRead::of(reads.into_iter().map(OwnRead::from_bytes));
            self.reads().whole.push(whole);
        }
        let rows = senders.0.iter().filter_map(|&sender| next[sender].next());
        let numbers = rows.flat_map(|row| row.as_chunks().0);
        Ok(numbers.map(|&bytes| f32::from_ne_bytes(bytes)).collect())
    }

    /// The scores of consecutive batches, of which `own` has those of this rank's events, with the ranks of
    /// the events where they are ranked; `whole` is what a whole batch has.
    ///
    /// # Errors
    /// When a rank has ended, or gave another number of scores.
    pub(super) fn scores(
        &self,
        batches: &[EventBatch],
        whole: usize,
        (own, ranked): (Vec<BatchScores>, Option<Vec<Rank>>),
    ) -> Result<(Vec<BatchScores>, Option<Vec<Rank>>), RankError> {
        let share = self.share();
        let shares = |batch: &EventBatch| share.all(batch.events.len(), whole);
        let mut bytes = Vec::new();
        for (batch, scores) in batches.iter().zip(&own) {
            let events = shares(batch).nth(share.rank).unwrap_or_default().len();
            // One that counts nothing may be before them.
            bytes.extend_from_slice(bytemuck::cast_slice(&scores.positive[..events]));
            bytes.extend_from_slice(bytemuck::cast_slice(&scores.negative[..events]));
        }
        for rank in ranked.iter().flatten() {
            bytes.extend(rank.reciprocal.to_ne_bytes());
            bytes.extend((rank.candidates as u64).to_ne_bytes());
        }
        let all = self.exchange.all_gather(Channel::Steps, bytes)?;
        let each = 8 + if ranked.is_some() { 16 } else { 0 };
        for (rank, bytes) in all.iter().enumerate() {
            let events = |batch| shares(batch).nth(rank).unwrap_or_default().len();
            let (found, expected) = (
                bytes.len(),
                each * batches.iter().map(events).sum::<usize>(),
            );
            if found != expected {
                return Err(RankError::Uneven {
                    rank,
                    found,
                    expected,
                });
            }
        }
        let mut rest: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        let of_batch = |batch: &EventBatch| {
            let mut scores = BatchScores::default();
            for (rest, events) in rest.iter_mut().zip(shares(batch)) {
                scores
                    .positive
                    .extend(taken(rest, events.len(), f32::from_ne_bytes));
                scores
                    .negative
                    .extend(taken(rest, events.len(), f32::from_ne_bytes));
            }
            scores
        };
        let scores = batches.iter().map(of_batch).collect();
        let of_event = |bytes: [u8; 16]| {
            let (halves, _) = bytes.as_chunks();
            Rank {
                reciprocal: f64::from_ne_bytes(halves[0]),
                candidates: u64::from_ne_bytes(halves[1]) as usize,
            }
        };
        let of_batch = |batch: &EventBatch| {
            let shares = rest.iter_mut().zip(shares(batch));
            let ranks = shares.flat_map(|(rest, events)| taken(rest, events.len(), of_event));
            ranks.collect::<Vec<Rank>>()
        };
        let ranks = ranked.map(|_| batches.iter().flat_map(of_batch).collect());
        Ok((scores, ranks))
    }

    /// Loss and gradients of a batch: the sums of what all ranks have, each with the `weight` of its
    /// events.
    ///
    /// # Errors
    /// When a rank has ended, or the device does not hand them over.
    pub(super) fn sum(
        &self,
        model: &LinkModel,
        (loss, gradients): (Tensor<1>, GradientsParams),
        weight: f32,
    ) -> Result<(Tensor<1>, GradientsParams), StageError> {
        let device = loss.device();
        let (mut parts, present) = flat::gradients(model, &gradients);
        parts.push(loss);
        let unreadable = |error| MemoryError::Device(format!("{error}"));
        let mut numbers = read(Tensor::cat(parts, 0)).map_err(unreadable)?;
        numbers.iter_mut().for_each(|number| *number *= weight);
        let loss = numbers.len() - 1;
        numbers.extend(present.into_iter().map(f32::from));
        let (begin, given) = (Instant::now(), 4 * numbers.len() as u64);
        self.exchange.sum(Channel::Steps, &mut numbers)?;
        let made = OneExchange::since(begin, given);
        self.exchanged().gradients.push(made);
        let mut summed = Summed {
            numbers: &numbers[..loss],
            present: &numbers[loss + 1..],
            device: &device,
            gradients: GradientsParams::new(),
        };
        model.visit(&mut summed);
        let loss = Tensor::from_data(TensorData::new(vec![numbers[loss]], [1]), &device);
        Ok((loss, summed.gradients))
    }
}

/// The first `count` of what `rest` begins with.
fn taken<const N: usize, T>(rest: &mut &[u8], count: usize, read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (first, others) = rest.split_at(count * N);
    *rest = others;
    first
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| read(bytes))
        .collect()
}

/// Puts gradients back, in the order in which they were taken; none for a parameter that has none on any rank.
struct Summed<'a> {
    numbers: &'a [f32],
    present: &'a [f32],
    device: &'a Device,
    gradients: GradientsParams,
}

impl ModuleVisitor for Summed<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.shape();
        let (own, rest) = self.numbers.split_at(shape.num_elements());
        let ranks = self.present[0];
        (self.numbers, self.present) = (rest, &self.present[1..]);
        if ranks > 0.0 {
            let data = TensorData::new(own.to_vec(), shape);
            let gradient = Tensor::<D>::from_data(data, self.device);
            self.gradients.register(param.id, gradient);
        }
    }
}
