//! Dates of the proleptic Gregorian calendar as Unix seconds, in UTC.
//!
//! Only what event files write: `YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS` (or with a
//! `T`) and GDELT's `YYYYMMDDHHMMSS`. Time zones, fractions and leap seconds are
//! refused rather than guessed.

/// `YYYY-MM-DD`, with or without `HH:MM:SS`, as Unix seconds.
pub(crate) fn parse_date(text: &[u8]) -> Option<i64> {
    let (date, clock) = match text.len() {
        10 => (text, &b"00:00:00"[..]),
        19 if matches!(text[10], b' ' | b'T') => (&text[..10], &text[11..]),
        _ => return None,
    };
    if (date[4], date[7], clock[2], clock[5]) != (b'-', b'-', b':', b':') {
        return None;
    }
    unix_seconds(
        [&date[..4], &date[5..7], &date[8..]],
        [&clock[..2], &clock[3..5], &clock[6..]],
    )
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

fn unix_seconds(date: [&[u8]; 3], clock: [&[u8]; 3]) -> Option<i64> {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0i64, |value, byte| {
            byte.is_ascii_digit()
                .then(|| value * 10 + i64::from(byte - b'0'))
        })
    };
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

    #[test]
    fn known_moments() {
        assert_eq!(parse_date(b"1970-01-01"), Some(0));
        assert_eq!(parse_date(b"1969-12-31 23:59:59"), Some(-1));
        // date -u -d '2000-02-29 12:00:00' +%s
        assert_eq!(parse_date(b"2000-02-29T12:00:00"), Some(951_825_600));
        // date -u -d '2018-03-26 04:45:00' +%s
        assert_eq!(parse_compact(b"20180326044500"), Some(1_522_039_500));
        for wrong in [
            "2019-02-29",
            "2019-00-01",
            "2019-13-01",
            "2019-1-01",
            "2019-01-01 24:00:00",
            "2019/01/01",
            "2019-01-01 10:00",
            "",
        ] {
            assert_eq!(parse_date(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse_compact(b"2018032604450x"), None);
    }
}
