//! Numbers as a person gives them to an option, and as a person reads them.
//!
//! The only place that reads the number of an option: what is none is refused with what was expected, never with
//! the words of Rust's parsers. It knows no option; which numbers a setting may have is `config`'s matter.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use clap::builder::ValueParser;
use clap::{Arg, value_parser};
use indicatif::HumanCount;

/// From this size on a number is written by its power of ten.
const LARGE: f64 = 1e15;

/// The same where digits after the point are written too.
const LARGE_FIXED: f64 = 1e6;

/// Reads whole numbers of a range, for `value_parser`. A range that ends at `u64::MAX` has no end to a person.
pub fn whole<T: TryFrom<u64> + 'static>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    read_whole(range.clone(), range)
}

/// Reads whole numbers, for `value_parser`; those out of `range` are for somebody else to refuse, with the reason.
pub fn any_whole<T: TryFrom<u64> + 'static>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    read_whole(0..=u64::MAX, range)
}

/// Reads numbers, for `value_parser`.
///
/// # Errors
/// What is none.
pub fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    let expected = || "expected a number, such as 0.1 or 1e-3".to_owned();
    text.parse().map_err(|_| expected())
}

/// An option whose numbers are read here, if it has numbers that the standard library would read; `range` as for
/// [`any_whole`].
pub fn read_here(option: Arg, range: Option<RangeInclusive<u64>>) -> Arg {
    let range = range.unwrap_or(0..=u64::MAX);
    let own = option.get_value_parser().type_id();
    let is = |parser: ValueParser| parser.type_id() == own;
    match () {
        () if is(value_parser!(usize).into()) => option.value_parser(any_whole::<usize>(range)),
        () if is(value_parser!(u64).into()) => option.value_parser(any_whole::<u64>(range)),
        () if is(value_parser!(NonZeroUsize).into()) => {
            let least = 1.max(*range.start());
            let read = read_whole::<usize>(1..=u64::MAX, least..=*range.end());
            option.value_parser(move |text: &str| {
                let number = read(text)?;
                NonZeroUsize::new(number).ok_or_else(|| "expected a number above 0".to_owned())
            })
        }
        () if is(value_parser!(f64).into()) => option.value_parser(number::<f64>),
        () if is(value_parser!(f32).into()) => option.value_parser(number::<f32>),
        () => option,
    }
}

/// Reads whole numbers of `range`; who gives none is told of `said`.
fn read_whole<T: TryFrom<u64> + 'static>(
    range: RangeInclusive<u64>,
    said: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text: &str| {
        let number = text
            .parse::<u64>()
            .ok()
            .filter(|number| range.contains(number));
        let own = number.and_then(|number| T::try_from(number).ok());
        own.ok_or_else(|| format!("expected {}", whole_of(&said)))
    }
}

/// `a whole number from 1 to 1,000`.
pub fn whole_of(range: &RangeInclusive<u64>) -> String {
    let (least, most) = (HumanCount(*range.start()), HumanCount(*range.end()));
    match *range.end() {
        u64::MAX => format!("a whole number from {least} on"),
        _ => format!("a whole number from {least} to {most}"),
    }
}

/// A number with the fewest digits that tell it from all others: `0.001`, `1e30`.
pub fn shortest(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (1e-5..LARGE).contains(&size) => value.to_string(),
        _ => format!("{value:e}"),
    }
}

/// A number with four digits after the point, or by its power of ten where it is large: `0.9123`, `1.000e30`.
pub fn four(value: f64) -> String {
    match value.abs() < LARGE_FIXED || !value.is_finite() {
        true => format!("{value:.4}"),
        false => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    /// What is said of a value.
    fn refused(option: Arg, value: &str) -> String {
        let command = Command::new("test").no_binary_name(true);
        let word = format!("--n={value}");
        let error = command.arg(option).try_get_matches_from([word]);
        error.unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_number_is_told_what_was_expected() {
        let option = |parser: ValueParser| Arg::new("n").long("n").value_parser(parser);
        for value in ["three", "", "1.5", "99999999999999999999", "-1", "1e3"] {
            for parser in [
                value_parser!(usize).into(),
                value_parser!(u64).into(),
                value_parser!(NonZeroUsize).into(),
            ] {
                let said = refused(read_here(option(parser), Some(1..=1000)), value);
                assert!(
                    said.contains("expected a whole number from 1 to 1,000"),
                    "{said}"
                );
            }
        }
        for parser in [value_parser!(f32).into(), value_parser!(f64).into()] {
            let said = refused(read_here(option(parser), None), "much");
            assert!(
                said.contains("invalid value 'much'")
                    && said.contains("expected a number, such as 0.1"),
                "{said}"
            );
        }
        let said = refused(read_here(option(value_parser!(u64).into()), None), "x");
        assert!(said.contains("expected a whole number from 0 on"), "{said}");
    }

    #[test]
    fn a_range_that_is_its_own_is_kept() {
        let read = whole::<u16>(2..=4096);
        assert_eq!((read("2"), read("4096")), (Ok(2), Ok(4096)));
        for wrong in ["1", "4097", "70000", "x"] {
            let said = read(wrong).unwrap_err();
            assert_eq!(said, "expected a whole number from 2 to 4,096");
        }
        // Others refuse what is out of the range of a setting, with the reason.
        let option = Arg::new("n").long("n").value_parser(value_parser!(usize));
        let command = Command::new("test").no_binary_name(true);
        let command = command.arg(read_here(option, Some(1..=3)));
        assert!(command.try_get_matches_from(["--n=7"]).is_ok());
    }

    #[test]
    fn numbers_are_written_as_a_person_would() {
        for (value, text) in [
            (0.001, "0.001"),
            (1e-5, "0.00001"),
            (1e-7, "1e-7"),
            (1e30, "1e30"),
            (-2.5, "-2.5"),
            (0.0, "0"),
            (600.0, "600"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shortest(value), text);
        }
        assert_eq!(four(0.91234), "0.9123");
        assert_eq!(four(1e30), "1.000e30");
        assert_eq!(four(f64::NAN), "NaN");
    }
}
