//! From numbers to places on a chart, and the round numbers beside an axis.

use std::ops::Range;

/// A range of numbers along an axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
    /// Place of `from` and of `to`.
    place: (f64, f64),
}

impl Scale {
    /// From the smallest to the largest of `values` and a little beyond, `zero` included if
    /// so asked.
    pub(super) fn over(values: &[f64], zero: bool, logarithmic: bool, place: (f64, f64)) -> Scale {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut from, mut to) = if least > most {
            (0.0, 1.0)
        } else {
            (least, most)
        };
        if zero {
            (from, to) = (from.min(0.0), to.max(0.0));
        }
        let logarithmic = logarithmic && from > 0.0;
        if logarithmic {
            return Scale {
                from: from / 1.15,
                to: to * 1.15,
                logarithmic,
                place,
            };
        }
        if (from, to) == (0.0, 0.0) {
            // Nothing but zero: any range will do, and the ticks of this one are short.
            to = 1.0;
        }
        let span = if to > from { to - from } else { to.abs() * 0.1 };
        from -= if from == 0.0 { 0.0 } else { span * 0.06 };
        to += span * 0.08;
        Scale {
            from,
            to,
            logarithmic,
            place,
        }
    }

    /// Exactly this range.
    pub(super) fn from_to(range: Range<f64>, place: (f64, f64)) -> Scale {
        Scale {
            from: range.start,
            to: range.end,
            logarithmic: false,
            place,
        }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.place.0 + share * (self.place.1 - self.place.0)
    }

    /// Numbers with their texts at their places.
    pub(super) fn placed(&self, numbers: Vec<(f64, String)>) -> Vec<(f64, String)> {
        let place = |(value, text)| (self.at(value), text);
        numbers.into_iter().map(place).collect()
    }

    /// About `count` round numbers of the range, with their texts; none between whole ones where
    /// there is nothing in between.
    pub(super) fn ticks(&self, count: usize, whole: bool) -> Vec<(f64, String)> {
        let raw = (self.to - self.from) / count.max(1) as f64;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step >= raw * 0.999)
            .unwrap_or(10.0 * power)
            .max(if whole { 1.0 } else { 0.0 });
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last)
            .map(|nth| {
                let value = nth as f64 * step;
                let text = if step >= 1.0 {
                    super::thousands(value)
                } else {
                    format!("{value:.decimals$}")
                };
                (value, text)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let ticks = |from, to, count, whole| -> Vec<String> {
            Scale::from_to(from..to, (0.0, 1.0))
                .ticks(count, whole)
                .into_iter()
                .map(|(_, text)| text)
                .collect()
        };
        let texts = |from, to, count| ticks(from, to, count, false);
        assert_eq!(texts(0.0, 2.1, 5), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(texts(0.913, 0.947, 4), ["0.92", "0.93", "0.94"]);
        assert_eq!(texts(0.0, 21_000.0, 3), ["0", "10,000", "20,000"]);
        assert_eq!(texts(-1.0, 1.0, 2), ["-1", "0", "1"]);
        assert_eq!(texts(11_400.0, 12_600.0, 3), ["11,500", "12,000", "12,500"]);
        assert_eq!(ticks(0.0, 2.1, 5, true), ["0", "1", "2"]);
    }

    #[test]
    fn a_scale_has_room_around_what_it_shows() {
        let scale = Scale::over(&[1.0, 3.0], false, false, (100.0, 0.0));
        assert!(scale.at(3.0) > 0.0 && scale.at(1.0) < 100.0);
        let from_zero = Scale::over(&[2.0], true, false, (100.0, 0.0));
        assert_eq!(from_zero.at(0.0), 100.0);
        let log = Scale::over(&[10.0, 1000.0], false, true, (0.0, 100.0));
        assert!((log.at(100.0) - 50.0).abs() < 1e-9);
        let nothing = Scale::over(&[0.0, 0.0], true, false, (100.0, 0.0)).ticks(5, false);
        let texts: Vec<&str> = nothing.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["0.0", "0.5", "1.0"]);
        // One number alone, or none, has a range too.
        assert!(
            Scale::over(&[0.5], false, false, (0.0, 1.0))
                .at(0.5)
                .is_finite()
        );
        assert!(
            Scale::over(&[], false, false, (0.0, 1.0))
                .at(0.5)
                .is_finite()
        );
    }
}
