//! Times as exact decimals: never through a binary floating-point number.
//!
//! A time is `mantissa / 10^scale`, normalised so that `scale` is the smallest
//! that represents it (`36.0` and `36` are the same). A whole column is then
//! expressed in ticks of `10^-k`, with k the largest scale that occurs.
//! Accepts a sign, digits, a fraction and an exponent (`1.5e-3`); refuses
//! everything else, more than nine decimals, and what does not fit 64 bits.

use std::fmt;

/// The finest resolution: nine decimals, a nanosecond where the unit is a second.
pub(crate) const MAX_SCALE: u8 = 9;

/// `mantissa / 10^scale`, exactly; `scale` is minimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) mantissa: i64,
    pub(crate) scale: u8,
}

/// A time that was a binary number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Float {
    pub(crate) time: Decimal,
    /// Whether what arithmetic had left behind its ninth decimal was taken off.
    pub(crate) rounded: bool,
}

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    NotANumber,
    TooFine,
    TooLarge,
}

impl DecimalError {
    /// The words after "expected".
    pub(crate) fn expected(self) -> &'static str {
        match self {
            DecimalError::NotANumber => "a decimal number such as 36, 36.5 or 1.5e3",
            DecimalError::TooFine => {
                "at most nine decimals; round the times, or use a smaller unit"
            }
            DecimalError::TooLarge => {
                "a time that fits 64 bits; use a later origin or a larger unit"
            }
        }
    }
}

impl Decimal {
    /// Parses `[+-]digits[.digits][e[+-]digits]`; a digit is needed on at least one side of the point.
    pub(crate) fn parse(text: &[u8]) -> Result<Decimal, DecimalError> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let mut mantissa: i128 = 0;
        let mut digits = 0usize;
        let mut scale: i32 = 0;
        let mut seen_point = false;
        let mut exponent = 0i32;
        // Zeros that may prove to be trailing; they count only once another digit follows.
        let mut pending_zeros = 0u32;
        for (at, &byte) in rest.iter().enumerate() {
            match byte {
                b'0' => {
                    digits += 1;
                    pending_zeros = pending_zeros.saturating_add(1);
                    scale += i32::from(seen_point);
                }
                b'1'..=b'9' => {
                    digits += 1;
                    scale += i32::from(seen_point);
                    if mantissa != 0 {
                        mantissa = shift(mantissa, pending_zeros).ok_or(DecimalError::TooLarge)?;
                    }
                    pending_zeros = 0;
                    mantissa =
                        shift(mantissa, 1).ok_or(DecimalError::TooLarge)? + i128::from(byte - b'0');
                }
                b'.' if !seen_point => seen_point = true,
                b'e' | b'E' if digits > 0 => {
                    exponent = parse_exponent(&rest[at + 1..])?;
                    break;
                }
                _ => return Err(DecimalError::NotANumber),
            }
        }
        if digits == 0 {
            return Err(DecimalError::NotANumber);
        }
        if mantissa == 0 {
            return Ok(Decimal {
                mantissa: 0,
                scale: 0,
            });
        }
        // value = mantissa * 10^(pending_zeros - scale + exponent)
        let power = i64::from(pending_zeros) - i64::from(scale) + i64::from(exponent);
        let (mantissa, scale) = if power >= 0 {
            let zeros = u32::try_from(power).map_err(|_| DecimalError::TooLarge)?;
            (shift(mantissa, zeros).ok_or(DecimalError::TooLarge)?, 0)
        } else {
            // The last digit of mantissa is not zero, so the scale cannot be reduced.
            let scale = u8::try_from(-power)
                .ok()
                .filter(|&s| s <= MAX_SCALE)
                .ok_or(DecimalError::TooFine)?;
            (mantissa, scale)
        };
        let mantissa = if negative { -mantissa } else { mantissa };
        Ok(Decimal {
            mantissa: i64::try_from(mantissa).map_err(|_| DecimalError::TooLarge)?,
            scale,
        })
    }

    /// Whether a text is a number at all, of whatever size and resolution.
    pub(crate) fn is_number(text: &[u8]) -> bool {
        Decimal::parse(text) != Err(DecimalError::NotANumber)
    }

    /// A binary number as a decimal: a whole `value` as it is, another one as `text`, the shortest decimal
    /// that stands for it. Where that has more than nine decimals, arithmetic may have left them
    /// (0.1 + 0.2 is 0.30000000000000004): the value is
    /// rounded to nine if that changes it by no more than such noise, a part in 10^12.
    pub(crate) fn of_float(text: &str, value: f64) -> Result<Float, DecimalError> {
        const NOISE: f64 = 1e-12;
        let rounded = false;
        if let Some(whole) = whole_number(value) {
            let time = Decimal::of_ticks(whole, 0);
            return Ok(Float { time, rounded });
        }
        match Decimal::parse(text.as_bytes()) {
            Ok(time) => Ok(Float { time, rounded }),
            Err(DecimalError::TooFine) => {
                let text = format!("{value:.*}", usize::from(MAX_SCALE));
                let change = text
                    .parse::<f64>()
                    .map_or(f64::MAX, |rounded| (rounded - value).abs());
                match change <= NOISE * value.abs() {
                    true => Decimal::parse(text.as_bytes()).map(|time| Float {
                        time,
                        rounded: true,
                    }),
                    false => Err(DecimalError::TooFine),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// `ticks / 10^scale`.
    pub(crate) fn of_ticks(ticks: i64, scale: u8) -> Decimal {
        let (mut mantissa, mut scale) = (ticks, scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Decimal { mantissa, scale }
    }

    /// The value in ticks of `10^-scale`, or None when it does not fit (or would be rounded).
    pub(crate) fn ticks(self, scale: u8) -> Option<i64> {
        let factor = 10i64.checked_pow(u32::from(scale.checked_sub(self.scale)?))?;
        self.mantissa.checked_mul(factor)
    }

    /// True if this time is strictly earlier than `other`.
    pub(crate) fn precedes(self, other: Decimal) -> bool {
        let scale = self.scale.max(other.scale);
        let wide = |d: Decimal| i128::from(d.mantissa) * 10i128.pow(u32::from(scale - d.scale));
        wide(self) < wide(other)
    }

    /// The value as an integer, if it is one.
    pub(crate) fn integer(self) -> Option<i64> {
        (self.scale == 0).then_some(self.mantissa)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.mantissa);
        }
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let power = 10u64.pow(u32::from(self.scale));
        let magnitude = self.mantissa.unsigned_abs();
        write!(
            f,
            "{sign}{}.{:0width$}",
            magnitude / power,
            magnitude % power,
            width = usize::from(self.scale)
        )
    }
}

/// The whole number that a float is, if it is one within 64 bits: from 2^53 on its shortest decimal is another one.
pub(crate) fn whole_number(value: f64) -> Option<i64> {
    let is_whole = value.fract() == 0.0 && value.abs() < 2f64.powi(63);
    is_whole.then_some(value as i64)
}

/// `value * 10^zeros`, if it stays far below the i128 limit (and so certainly above the i64 limit).
fn shift(value: i128, zeros: u32) -> Option<i128> {
    let shifted = value.checked_mul(10i128.checked_pow(zeros)?)?;
    (shifted < 1i128 << 120).then_some(shifted)
}

fn parse_exponent(text: &[u8]) -> Result<i32, DecimalError> {
    let text = std::str::from_utf8(text).map_err(|_| DecimalError::NotANumber)?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    // Far outside what any time can use; the caller then reports TooLarge or TooFine.
    let magnitude = digits.parse::<i32>().unwrap_or(1_000_000).min(1_000_000);
    Ok(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<(i64, u8), DecimalError> {
        Decimal::parse(text.as_bytes()).map(|d| (d.mantissa, d.scale))
    }

    #[test]
    fn normalises() {
        assert_eq!(parsed("0.0"), Ok((0, 0)));
        assert_eq!(parsed("36"), Ok((36, 0)));
        assert_eq!(parsed("36.0"), Ok((36, 0)));
        assert_eq!(parsed("36.50"), Ok((365, 1)));
        assert_eq!(parsed("-0.25"), Ok((-25, 2)));
        assert_eq!(parsed("1.5e3"), Ok((1500, 0)));
        assert_eq!(parsed("1.5E-3"), Ok((15, 4)));
        assert_eq!(parsed("2678373"), Ok((2_678_373, 0)));
        assert_eq!(parsed("1005000.00"), Ok((1_005_000, 0)));
        assert_eq!(parsed(".5"), Ok((5, 1)));
        assert_eq!(parsed("5."), Ok((5, 0)));
        assert_eq!(parsed("0.000000001"), Ok((1, 9)));
        assert_eq!(parsed("-9223372036854775808"), Ok((i64::MIN, 0)));
        // 2^53 + 1 is the first integer that a double cannot hold.
        assert_eq!(parsed("9007199254740993"), Ok((9_007_199_254_740_993, 0)));
    }

    #[test]
    fn refuses() {
        for text in [
            "", "-", ".", "e5", "1e", "1e+", "1.2.3", "0x10", "nan", "inf", "1 ", " 1", "1_000",
            "--1",
        ] {
            assert_eq!(parsed(text), Err(DecimalError::NotANumber), "{text:?}");
        }
        assert_eq!(parsed("0.0000000001"), Err(DecimalError::TooFine));
        assert_eq!(parsed("9223372036854775808"), Err(DecimalError::TooLarge));
        assert_eq!(parsed("1e19"), Err(DecimalError::TooLarge));
        assert_eq!(parsed("1e999999999999"), Err(DecimalError::TooLarge));
        assert_eq!(parsed("1e-999999999999"), Err(DecimalError::TooFine));
        assert_eq!(parsed(&"9".repeat(200)), Err(DecimalError::TooLarge));
        assert_eq!(
            parsed(&format!("0.{}1", "0".repeat(200))),
            Err(DecimalError::TooFine)
        );
        assert_eq!(parsed(&"0".repeat(200)), Ok((0, 0)));
    }

    #[test]
    fn what_arithmetic_leaves_behind_is_rounded_away_and_nothing_else() {
        let of = |value: f64| {
            Decimal::of_float(&value.to_string(), value).map(|float| float.time.to_string())
        };
        assert_eq!(of(0.1 + 0.2).as_deref(), Ok("0.3"));
        assert_eq!(of(-(0.1 + 0.2)).as_deref(), Ok("-0.3"));
        let sum: f64 = std::iter::repeat_n(0.1, 1000).sum();
        assert_eq!(sum.to_string(), "99.9999999999986");
        assert_eq!(of(sum).as_deref(), Ok("100"));
        assert_eq!(of(1e-9).as_deref(), Ok("0.000000001"));
        assert_eq!(of(0.123456789012), Err(DecimalError::TooFine));
        assert_eq!(of(1e-12), Err(DecimalError::TooFine));
        assert_eq!(of(f64::NAN), Err(DecimalError::NotANumber));
        // Its shortest decimal is 1152921504606847200.
        assert_eq!(
            of((1u64 << 60) as f64 + 256.0).as_deref(),
            Ok("1152921504606847232")
        );
        assert_eq!(of(-0.0).as_deref(), Ok("0"));
        assert_eq!(of(1e300), Err(DecimalError::TooLarge));
        let rounded = |value: f64| {
            Decimal::of_float(&value.to_string(), value)
                .unwrap()
                .rounded
        };
        assert!(rounded(0.1 + 0.2) && !rounded(0.3));
    }

    #[test]
    fn ticks_and_order() {
        let d = |t: &str| Decimal::parse(t.as_bytes()).unwrap();
        assert_eq!(d("1.5").ticks(3), Some(1500));
        assert_eq!(d("1.5").ticks(0), None);
        assert_eq!(Decimal::of_ticks(1_500, 3), d("1.5"));
        assert_eq!(Decimal::of_ticks(0, 9), d("0"));
        assert_eq!(d("9223372036854775807").ticks(1), None);
        assert!(d("1.25").precedes(d("1.3")));
        assert!(!d("1.30").precedes(d("1.3")));
        assert!(d("-2").precedes(d("-1.999999999")));
        assert_eq!(d("-1.05").to_string(), "-1.05");
    }

    proptest! {
        #[test]
        fn display_parses_back(mantissa in any::<i64>(), scale in 0u8..=9) {
            let text = Decimal { mantissa, scale }.to_string();
            let back = Decimal::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(back.ticks(scale), Some(mantissa));
        }

        #[test]
        fn never_panics(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Decimal::parse(&text);
        }
    }
}
