//! Dates of the proleptic Gregorian calendar as Unix seconds.
//!
//! What event files write: ISO 8601 (`2019-01-31`, with `T` or a space then `12:30`, `12:30:00`
//! or `12:30:00.25`, then nothing, `Z` or an offset such as `+01:00`), also with slashes, and
//! GDELT's `YYYYMMDDHHMMSS`. What has no zone is UTC. Dates that begin with the day or the month
//! and leap seconds are refused rather than guessed.

use crate::fields::decimal::{Decimal, MAX_SCALE};

/// An ISO 8601 date, with or without a time of day, as Unix seconds.
pub(crate) fn parse_date(text: &[u8]) -> Option<Decimal> {
    let (date, rest) = text.split_at_checked(10)?;
    let separator = date[4];
    if !matches!(separator, b'-' | b'/') || date[7] != separator {
        return None;
    }
    let date = [&date[..4], &date[5..7], &date[8..]];
    let Some((b' ' | b'T' | b't', clock)) = rest.split_first() else {
        return rest
            .is_empty()
            .then(|| unix_seconds(date, [b"00"; 3]))?
            .map(whole);
    };
    let (clock, offset) = zone(clock)?;
    let (clock, fraction) = match clock.iter().position(|byte| matches!(byte, b'.' | b',')) {
        Some(at) if clock.len() > at + 1 => (&clock[..at], &clock[at + 1..]),
        Some(_) => return None,
        None => (clock, &b""[..]),
    };
    let seconds = match clock {
        [h1, h2, b':', m1, m2] if fraction.is_empty() => {
            unix_seconds(date, [&[*h1, *h2], &[*m1, *m2], b"00"])?
        }
        [h1, h2, b':', m1, m2, b':', s1, s2] => {
            unix_seconds(date, [&[*h1, *h2], &[*m1, *m2], &[*s1, *s2]])?
        }
        _ => return None,
    };
    with_fraction(seconds - offset, fraction)
}

fn whole(seconds: i64) -> Decimal {
    Decimal {
        mantissa: seconds,
        scale: 0,
    }
}

/// The seconds with the digits of their fraction, nine at most that are not trailing zeros.
fn with_fraction(seconds: i64, fraction: &[u8]) -> Option<Decimal> {
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = fraction
        .iter()
        .rev()
        .take_while(|&&digit| digit == b'0')
        .count();
    let digits = &fraction[..fraction.len() - zeros];
    let scale = u8::try_from(digits.len())
        .ok()
        .filter(|&s| s <= MAX_SCALE)?;
    let part = digits
        .iter()
        .fold(0i64, |part, digit| part * 10 + i64::from(digit - b'0'));
    let mantissa = seconds
        .checked_mul(10i64.pow(u32::from(scale)))?
        .checked_add(part)?;
    Some(Decimal { mantissa, scale })
}

/// The time of day without its zone, and the zone's distance from UTC in seconds.
fn zone(clock: &[u8]) -> Option<(&[u8], i64)> {
    if let Some(clock) = clock.strip_suffix(b"Z").or(clock.strip_suffix(b"z")) {
        return Some((clock, 0));
    }
    if let Some(clock) = clock.strip_suffix(b" UTC") {
        return Some((clock, 0));
    }
    let Some(at) = clock.iter().position(|byte| matches!(byte, b'+' | b'-')) else {
        return Some((clock, 0));
    };
    let (hours, minutes) = match &clock[at + 1..] {
        [h1, h2] => ([*h1, *h2], *b"00"),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => ([*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (number(&hours)?, number(&minutes)?);
    if hours > 18 || minutes > 59 {
        return None;
    }
    let sign = if clock[at] == b'-' { -1 } else { 1 };
    Some((&clock[..at], sign * (hours * 3_600 + minutes * 60)))
}

/// `YYYYMMDDHHMMSS` as Unix seconds.
pub(crate) fn parse_compact(text: &[u8]) -> Option<i64> {
    if text.len() != 14 {
        return None;
    }
    unix_seconds(
        [&text[..4], &text[4..6], &text[6..8]],
        [&text[8..10], &text[10..12], &text[12..]],
    )
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + i64::from(byte - b'0'))
    })
}

fn unix_seconds(date: [&[u8]; 3], clock: [&[u8]; 3]) -> Option<i64> {
    let [year, month, day] = [number(date[0])?, number(date[1])?, number(date[2])?];
    let [hour, minute, second] = [number(clock[0])?, number(clock[1])?, number(clock[2])?];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let in_month = *days.get(usize::try_from(month - 1).ok()?)? + i64::from(leap && month == 2);
    if !(1..=in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970, counting years from March so that the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let total = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(total * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<String> {
        parse_date(text.as_bytes()).map(|time| time.to_string())
    }

    #[test]
    fn known_moments() {
        // date -u -d '2000-02-29 12:00:00' +%s, and so on.
        for (text, expected) in [
            ("1970-01-01", "0"),
            ("1969-12-31 23:59:59", "-1"),
            ("1969-12-31 23:59:59.75", "-0.25"),
            ("2000-02-29T12:00:00", "951825600"),
            ("2021-11-01T00:00:21Z", "1635724821"),
            ("2021-11-01 00:00:21 UTC", "1635724821"),
            ("2021-11-01 00:00:21+00:00", "1635724821"),
            ("2021-11-01 00:00:21+01:00", "1635721221"),
            ("2021-11-01T00:00:21-0330", "1635737421"),
            ("2021-11-01 00:00:21.250", "1635724821.25"),
            ("2021-11-01 00:00:21.011463+00", "1635724821.011463"),
            ("2021-11-01 00:01", "1635724860"),
            ("2021/11/01 00:00:21", "1635724821"),
        ] {
            assert_eq!(seconds(text).as_deref(), Some(expected), "{text}");
        }
        // date -u -d '2018-03-26 04:45:00' +%s
        assert_eq!(parse_compact(b"20180326044500"), Some(1_522_039_500));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for wrong in [
            "2019-02-29",
            "2019-00-01",
            "2019-13-01",
            "2019-1-01",
            "2019-01-01 24:00:00",
            "2019-01-01T",
            "2019-01-01 10:00:00.",
            "2019-01-01 10:00:00.x",
            "2019-01-01 10:00:00.0123456789",
            "2019-01-01 10:00:00+1",
            "2019-01-01 10:00:00+19:00",
            "2019-01/01",
            "11/01/2021 00:00:21",
            "01.11.2021",
            "",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        assert_eq!(parse_compact(b"2018032604450x"), None);
    }
}
