//! Statistics as numbers of about one size, whatever the stream's unit of time.
//!
//! A count n becomes ln(1 + n), a time Δt becomes ln(1 + Δt / unit), a share stays what it is;
//! then each is standardised: less its mean, over its deviation. Where the two never met, or a node
//! has no event yet, the time is as long as the training part; the statistics beside it tell the
//! two cases apart.
//!
//! The unit and the scales of decay are quantiles of the times between consecutive meetings of the
//! same pair (10 % for the unit; 75, 90 and 99 %, which is nearly an hour, a day and a week on
//! Wikipedia). Mean and deviation are those over training events and one negative for each, a
//! uniform destination of the training part. The unit and the scales are of a node's events where no
//! pair meets twice. Nothing later is looked at.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

use rayon::prelude::*;

use super::index::Met;
use super::statistic::{SCALES, STATISTICS, Statistic, WIDTH};
use crate::graph::{EventColumns, Timestamp};

/// Quantiles of the times between meetings, in per cent: of the unit, and of the scales.
const UNIT_PERCENT: usize = 10;
const SCALE_PERCENT: [usize; SCALES] = [75, 90, 99];

/// Times between meetings that quantiles are taken of, at most.
const GAPS: usize = 1 << 22;

/// Training events that moments are taken of, at most; each with one negative.
pub(super) const SAMPLED_EVENTS: usize = 1 << 18;

/// Rows of one part of a sum over them.
const ROWS_PER_SUM: usize = 1 << 12;

/// Bytes that choosing an encoding takes for a while.
pub(super) fn most_bytes(events: u64) -> u64 {
    let gaps = 8 * (2 * events).min(GAPS as u64);
    let rows = 8 * WIDTH as u64 * events.min(SAMPLED_EVENTS as u64);
    // Destinations, to draw negatives from.
    gaps.max(4 * events + rows)
}

/// The part of a stream that an encoding is made from, and how it is trained on.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// Nodes of the stream.
    pub nodes: usize,
    /// The whole stream.
    pub stream: EventColumns<'a>,
    /// Events of the training part, which is the first: those before this one.
    pub events: usize,
    /// Ticks in the stream's unit of time.
    pub ticks_per_unit: i64,
    /// Events of a batch, if they are hidden from one another.
    pub hidden_batch: Option<usize>,
}

/// How statistics become numbers; see the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// In the stream's unit of time: the unit of times, and the scales over which counts decay.
    unit: f32,
    scales: [f32; SCALES],
    /// What a time that there is not is encoded as.
    never: f32,
    mean: [f32; WIDTH],
    deviation: [f32; WIDTH],
}

/// The numbers of an encoding, as files keep them: names without a prefix.
pub type EncodingArrays = [(&'static str, Vec<f32>); 3];

impl Encoding {
    /// Its numbers: unit, scales and the time of never as `times`, `mean`, `deviation`.
    pub fn arrays(&self) -> EncodingArrays {
        let [hour, day, week] = self.scales;
        [
            ("times", vec![self.unit, hour, day, week, self.never]),
            ("mean", self.mean.to_vec()),
            ("deviation", self.deviation.to_vec()),
        ]
    }

    /// Of such numbers; `None` where their count is another or one is out of range.
    pub fn of_arrays(arrays: &EncodingArrays) -> Option<Encoding> {
        let [(_, times), (_, mean), (_, deviation)] = arrays;
        let &[unit, hour, day, week, never] = times.as_slice() else {
            return None;
        };
        let encoding = Encoding {
            unit,
            scales: [hour, day, week],
            never,
            mean: mean.as_slice().try_into().ok()?,
            deviation: deviation.as_slice().try_into().ok()?,
        };
        let positive = |numbers: &[f32]| numbers.iter().all(|&n| n > 0.0 && n.is_finite());
        let finite = |numbers: &[f32]| numbers.iter().all(|n| n.is_finite());
        let fits = positive(&times[..1 + SCALES])
            && positive(deviation)
            && finite(&[never])
            && finite(mean);
        fits.then_some(encoding)
    }

    /// Scales and unit from the gaps between meetings; nothing is standardised.
    pub(super) fn of_gaps(met: &Met, training: &Training<'_>) -> Encoding {
        let time = training.stream.time;
        let part = &time[..training.events];
        let span = part.last().zip(part.first()).map_or(0, |(b, a)| b - a);
        let mut gaps = met.gaps(time, training.events, GAPS);
        gaps.sort_unstable();
        let in_units =
            |ticks: Timestamp| (ticks.max(1) as f64 / training.ticks_per_unit as f64) as f32;
        let quantile = |percent: usize| {
            let place = gaps.len().saturating_sub(1) * percent / 100;
            in_units(gaps.get(place).copied().unwrap_or(span))
        };
        let unit = quantile(UNIT_PERCENT);
        Encoding {
            unit,
            scales: SCALE_PERCENT.map(quantile),
            never: (in_units(span) / unit).ln_1p(),
            mean: [0.0; WIDTH],
            deviation: [1.0; WIDTH],
        }
    }
}

/// Events of a node or a pair before a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) count: u32,
    /// Ticks since the last one, if there is one, and the decayed counts just after it.
    pub(super) last: Option<(f64, [f32; SCALES])>,
}

/// What statistics of a pair at a time are made of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) source: Seen,
    pub(super) candidate: Seen,
    /// Of the two with one another.
    pub(super) met: Seen,
    /// Whether the source's last event was with the candidate.
    pub(super) last_partner: bool,
}

/// An encoding on a stream of known resolution.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) encoding: Encoding,
    /// In ticks.
    pub(super) scales: [f64; SCALES],
    /// Per tick: of the unit, and of the scales.
    per_unit: f64,
    per_scale: [f64; SCALES],
    /// What a number less its mean is multiplied by.
    per_deviation: [f32; WIDTH],
}

impl Encoder {
    pub(super) fn new(encoding: Encoding, ticks_per_unit: i64) -> Encoder {
        let ticks = |units: f32| f64::from(units) * ticks_per_unit as f64;
        let scales = encoding.scales.map(ticks);
        Encoder {
            scales,
            per_unit: ticks(encoding.unit).recip(),
            per_scale: scales.map(f64::recip),
            per_deviation: encoding.deviation.map(f32::recip),
            encoding,
        }
    }

    /// The statistic at `place` of [`STATISTICS`](super::STATISTICS).
    #[inline]
    pub(super) fn encode(&self, place: usize, facts: &Facts) -> f32 {
        let count = |n: u32| ln_1p(f64::from(n));
        let truth = |is: bool| f32::from(u8::from(is));
        let since = |seen: &Seen| match seen.last {
            Some((age, _)) => ln_1p(age * self.per_unit),
            None => self.encoding.never,
        };
        let recent = |seen: &Seen, scale: usize| match seen.last {
            Some((age, decayed)) => {
                let left = ((-age * self.per_scale[scale]) as f32).exp();
                ln_1p(f64::from(decayed[scale] * left))
            }
            None => 0.0,
        };
        let Facts {
            source,
            candidate,
            met,
            last_partner,
        } = facts;
        let value = match STATISTICS[place] {
            Statistic::Met => truth(met.count > 0),
            Statistic::SinceMet => since(met),
            Statistic::Meetings => count(met.count),
            Statistic::ShareOfSource => met.count as f32 / source.count.max(1) as f32,
            Statistic::LastPartner => truth(*last_partner),
            Statistic::SinceCandidate => since(candidate),
            Statistic::CandidateEvents => count(candidate.count),
            Statistic::SinceSource => since(source),
            Statistic::SourceEvents => count(source.count),
            Statistic::RecentMeetings(scale) => recent(met, scale),
            Statistic::RecentCandidateEvents(scale) => recent(candidate, scale),
        };
        (value - self.encoding.mean[place]) * self.per_deviation[place]
    }
}

/// ln(1 + x) of 0 ≤ x < 2^52, rounded to a float from within 1e-10 of its size: the same on every
/// system, and several times as fast as its library's, of which ranking would need ten a pair.
///
/// 1 + x = 2^e m with √½ ≤ m < √2, and ln m = 2 artanh s with s = (m - 1) / (m + 1).
#[inline]
fn ln_1p(x: f64) -> f32 {
    let y = 1.0 + x;
    let exponent = (y.to_bits().wrapping_sub(FRAC_1_SQRT_2.to_bits()) >> 52) as u32;
    let s = match exponent {
        // Of small x nothing is lost in 1 + x.
        0 => x / (2.0 + x),
        _ => {
            let m = f64::from_bits(y.to_bits() - (u64::from(exponent) << 52));
            (m - 1.0) / (m + 1.0)
        }
    };
    let z = s * s;
    let series = [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0]
        .into_iter()
        .fold(0.0, |sum, n: f64| sum * z + n.recip());
    (2.0 * s * series + f64::from(exponent) * LN_2) as f32
}

impl Encoding {
    /// Standardised by the mean and the deviation of these rows, `[rows, WIDTH]`, of numbers that
    /// are not.
    pub(super) fn standardised(self, rows: &[f32]) -> Encoding {
        let count = (rows.len() / WIDTH).max(1) as f64;
        let sums = |of: &(dyn Fn(usize, f32) -> f64 + Sync)| {
            // In parts of one size and in their order, so that threads don't matter.
            let parts = rows.par_chunks(ROWS_PER_SUM * WIDTH).map(|rows| {
                let mut sums = [0.0; WIDTH];
                for row in rows.chunks_exact(WIDTH) {
                    for (place, (sum, &value)) in sums.iter_mut().zip(row).enumerate() {
                        *sum += of(place, value);
                    }
                }
                sums
            });
            let mut total = [0.0; WIDTH];
            for part in parts.collect::<Vec<_>>() {
                total.iter_mut().zip(part).for_each(|(t, part)| *t += part);
            }
            total.map(|sum| sum / count)
        };
        let mean = sums(&|_, value| f64::from(value)).map(|mean| mean as f32);
        let squared = |place: usize, value: f32| f64::from(value - mean[place]).powi(2);
        let deviation = sums(&squared).map(|variance| match variance.sqrt() as f32 {
            // A statistic that never changes stays 0.
            deviation if deviation > 1e-6 => deviation,
            _ => 1.0,
        });
        Encoding {
            mean,
            deviation,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        let mut x: f64 = 1e-30;
        while x < 4e15 {
            for near in [x, (x as f32).round().into(), (x + 0.5).sqrt()] {
                let expected = f64::ln_1p(near);
                let found = f64::from(ln_1p(near));
                assert!(
                    (found - expected).abs() <= expected * f64::from(f32::EPSILON),
                    "{near:e}: {found} for {expected}"
                );
            }
            x *= 1.0037;
        }
        assert_eq!(ln_1p(0.0), 0.0);
    }
}
