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

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

use multiversion::multiversion;
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

/// Pairs that are encoded together, side by side so that they fill whole vectors.
pub(super) const TOGETHER: usize = 32;

/// Events before a time, each of a node or a pair.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// How many there are.
    pub(super) count: u32,
    /// Ticks since the last one, exact before they became a float, and the decayed counts just
    /// after it; 0 where there is none.
    pub(super) age: f64,
    pub(super) decayed: [f32; SCALES],
}

/// The same of each of the pairs.
#[derive(Clone, Debug)]
pub(super) struct SeenTogether {
    count: [u32; TOGETHER],
    age: [f64; TOGETHER],
    decayed: [[f32; TOGETHER]; SCALES],
}

impl SeenTogether {
    const NONE: SeenTogether = SeenTogether {
        count: [0; TOGETHER],
        age: [0.0; TOGETHER],
        decayed: [[0.0; TOGETHER]; SCALES],
    };

    #[inline(always)]
    pub(super) fn set(&mut self, pair: usize, seen: &Seen) {
        self.count[pair] = seen.count;
        self.age[pair] = seen.age;
        for (decayed, of_pair) in self.decayed.iter_mut().zip(seen.decayed) {
            decayed[pair] = of_pair;
        }
    }
}

/// What statistics of some pairs at their times are made of.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Of the sources; pairs may share one.
    pub(super) source: SeenTogether,
    /// Which of these a pair has.
    pub(super) source_of: [u8; TOGETHER],
    /// Time since its last event and number of its events, encoded, by source.
    of_source: [[f32; TOGETHER]; 2],
    candidate: SeenTogether,
    /// Of the two with one another.
    met: SeenTogether,
    /// Whether the source's last event was with the candidate.
    last_partner: [bool; TOGETHER],
}

impl Facts {
    pub(super) const NONE: Facts = Facts {
        source: SeenTogether::NONE,
        source_of: [0; TOGETHER],
        of_source: [[0.0; TOGETHER]; 2],
        candidate: SeenTogether::NONE,
        met: SeenTogether::NONE,
        last_partner: [false; TOGETHER],
    };

    /// Those of a pair: of its candidate, and of the two with one another; whether the source's last
    /// event was with the candidate.
    #[inline(always)]
    pub(super) fn set(&mut self, pair: usize, candidate: &Seen, met: &Seen, last: bool) {
        self.candidate.set(pair, candidate);
        self.met.set(pair, met);
        self.last_partner[pair] = last;
    }

    #[inline(always)]
    fn source_of(&self, pair: usize) -> usize {
        usize::from(self.source_of[pair]) % TOGETHER
    }
}

/// Each statistic of all pairs that are encoded together.
pub(super) struct Columns([[f32; TOGETHER]; WIDTH]);

impl Columns {
    pub(super) const NONE: Columns = Columns([[0.0; TOGETHER]; WIDTH]);

    /// Writes those of a pair to its row.
    #[inline(always)]
    pub(super) fn write(&self, pair: usize, row: &mut [f32; WIDTH]) {
        for (value, column) in row.iter_mut().zip(&self.0) {
            *value = column[pair];
        }
    }
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

    /// Encodes what is of the sources alone.
    pub(super) fn encode_sources(&self, facts: &mut Facts) {
        encode_sources(self, facts);
    }

    /// The statistics of the first `pairs` pairs, whose sources are encoded.
    pub(super) fn encode(&self, facts: &Facts, pairs: usize, columns: &mut Columns) {
        // Two nodes that are drawn have mostly never met.
        match facts.met.count[..pairs].iter().any(|&count| count > 0) {
            true => encode::<true>(self, facts, columns),
            false => encode::<false>(self, facts, columns),
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn encode_sources(encoder: &Encoder, facts: &mut Facts) {
    let (source, never) = (&facts.source, encoder.encoding.never);
    facts.of_source = [
        column(|i| since(source, i, encoder.per_unit, never)),
        column(|i| ln_1p(f64::from(source.count[i]))),
    ];
}

/// `MET` says whether any of the pairs has met.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn encode<const MET: bool>(encoder: &Encoder, facts: &Facts, columns: &mut Columns) {
    let Facts {
        source,
        of_source: [since_source, source_events],
        candidate,
        met,
        last_partner,
        ..
    } = facts;
    let never = encoder.encoding.never;
    for ((place, statistic), out) in STATISTICS.into_iter().enumerate().zip(&mut columns.0) {
        let column = match statistic {
            Statistic::SinceMet if !MET => [never; TOGETHER],
            Statistic::Met
            | Statistic::Meetings
            | Statistic::ShareOfSource
            | Statistic::RecentMeetings(_)
                if !MET =>
            {
                [0.0; TOGETHER]
            }
            Statistic::Met => column(|i| truth(met.count[i] > 0)),
            Statistic::SinceMet => column(|i| since(met, i, encoder.per_unit, never)),
            Statistic::Meetings => column(|i| ln_1p(f64::from(met.count[i]))),
            Statistic::ShareOfSource => column(|i| {
                let of_source = source.count[facts.source_of(i)];
                met.count[i] as f32 / of_source.max(1) as f32
            }),
            Statistic::LastPartner => column(|i| truth(last_partner[i])),
            Statistic::SinceCandidate => column(|i| since(candidate, i, encoder.per_unit, never)),
            Statistic::CandidateEvents => column(|i| ln_1p(f64::from(candidate.count[i]))),
            Statistic::SinceSource => column(|i| since_source[facts.source_of(i)]),
            Statistic::SourceEvents => column(|i| source_events[facts.source_of(i)]),
            Statistic::RecentMeetings(scale) => {
                column(|i| recent(met, i, scale, encoder.per_scale[scale]))
            }
            Statistic::RecentCandidateEvents(scale) => {
                column(|i| recent(candidate, i, scale, encoder.per_scale[scale]))
            }
        };
        let (mean, per_deviation) = (encoder.encoding.mean[place], encoder.per_deviation[place]);
        for (out, value) in out.iter_mut().zip(column) {
            *out = (value - mean) * per_deviation;
        }
    }
}

/// A statistic of all pairs that are encoded together.
#[inline(always)]
fn column(of_pair: impl Fn(usize) -> f32) -> [f32; TOGETHER] {
    let mut column = [0.0; TOGETHER];
    for (i, value) in column.iter_mut().enumerate() {
        *value = of_pair(i);
    }
    column
}

#[inline(always)]
fn truth(is: bool) -> f32 {
    f32::from(u8::from(is))
}

#[inline(always)]
fn since(seen: &SeenTogether, pair: usize, per_unit: f64, never: f32) -> f32 {
    let since = ln_1p(seen.age[pair] * per_unit);
    if seen.count[pair] > 0 { since } else { never }
}

#[inline(always)]
fn recent(seen: &SeenTogether, pair: usize, scale: usize, per_scale: f64) -> f32 {
    let left = exp((-seen.age[pair] * per_scale) as f32);
    ln_1p(f64::from(seen.decayed[scale][pair] * left))
}

/// ln(1 + x) of 0 ≤ x < 2^52, rounded to a float from within 1e-10 of its size: the same on every
/// system, and many times as fast as its library's, since it vectorises; ranking needs ten a pair.
///
/// 1 + x = 2^e m with √½ ≤ m < √2, and ln m = 2 artanh s with s = (m - 1) / (m + 1).
#[inline(always)]
fn ln_1p(x: f64) -> f32 {
    let y = 1.0 + x;
    let exponent = y.to_bits().wrapping_sub(FRAC_1_SQRT_2.to_bits()) >> 52;
    let m = f64::from_bits(y.to_bits() - (exponent << 52));
    // Of small x nothing is lost in 1 + x.
    let small = exponent == 0;
    let above = if small { x } else { m - 1.0 };
    let below = if small { 2.0 + x } else { m + 1.0 };
    let s = above / below;
    let z = s * s;
    let series = [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0]
        .into_iter()
        .fold(0.0, |sum, n: f64| sum * z + n.recip());
    (2.0 * s * series + f64::from(exponent as i32) * LN_2) as f32
}

/// e^x of x ≤ 0, rounded to a float from within 1e-11 of its size; as [`ln_1p`].
///
/// x = n ln 2 + r with |r| ≤ ½ ln 2.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // A float is 0 long before.
    let x = f64::from(if x < -150.0 { -150.0 } else { x });
    // Adding 1.5 * 2^52 rounds to the nearest integer and leaves it in the low bits.
    let shifted = x * LOG2_E + 6_755_399_441_055_744.0;
    let r = x - (shifted - 6_755_399_441_055_744.0) * LN_2;
    let series = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
        .into_iter()
        .fold(1.0, |sum, n: f64| sum * r * n.recip() + 1.0);
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    (series * power) as f32
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

    #[test]
    fn the_exponential_is_that_of_the_library() {
        for step in 0..1_200_000 {
            let x = step as f32 * -1e-4;
            let (found, expected) = (exp(x), f64::from(x).exp() as f32);
            let last_bit = expected.to_bits().abs_diff(found.to_bits());
            assert!(last_bit <= 1, "{x}: {found:e} for {expected:e}");
        }
        assert_eq!([exp(0.0), exp(-0.0)], [1.0; 2]);
        assert_eq!([exp(f32::MIN), exp(f32::NEG_INFINITY)], [0.0; 2]);
    }
}
