//! Charts as SVG elements for a page with the styles of [`super`].
//!
//! Every colour is a class of the page's styles, so that a chart is legible on light and dark
//! ground; every bar and point says its value when pointed at. That is why no crate draws them:
//! with `plotters`, colours are fixed and marks say nothing. Points have a shape for each colour,
//! for readers who can't tell the colours apart.
//!
//! Invariant: the same data give the same text. Numbers that are not finite are left out.

mod bars;
mod canvas;
mod lines;
mod scale;
mod stacks;
mod timeline;

pub use bars::Bars;
pub use lines::{Join, Lines, Point, Series};
pub use stacks::Stacks;
pub use timeline::{Timeline, TimelineError};

/// Colours of series that the page has, of which the first is a grey. A series with a higher number has the
/// colour of its number modulo this, and the line is dashed.
const COLORS: usize = 10;

/// Lines that the page has: unbroken, and dashed in several ways.
const DASHES: usize = 4;

/// Series that no two look alike of, by their numbers from [`apart`].
pub(crate) const DISTINCT: usize = (COLORS - 1) * DASHES;

/// The number of the colour of the `nth` of many series, from 0.
pub(crate) fn apart(nth: usize) -> usize {
    let nth = nth % DISTINCT;
    1 + nth % (COLORS - 1) + COLORS * (nth / (COLORS - 1))
}

use super::Figure;

/// How much room a chart has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Size {
    /// Half of the page's width.
    #[default]
    Half,
    /// All of it.
    Wide,
}

impl Size {
    /// Width in the chart's units, whose text is 12 high: that of the page's figures in pixels, so that
    /// all charts have one scale.
    fn width(self) -> f64 {
        match self {
            Size::Half => 526.0,
            Size::Wide => 1100.0,
        }
    }
}

/// A chart as part of a page.
fn figure(title: &str, size: Size, svg: String, caption: &str) -> Figure {
    Figure {
        title: title.to_owned(),
        caption: caption.to_owned(),
        svg,
        wide: size == Size::Wide,
    }
}

/// From this size on the digits of a number say less than its power of ten.
const HUGE: f64 = 1e9;

/// A number with as many digits as a reader needs.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= HUGE => format!("{value:.1e}"),
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

/// A whole number with its thousands apart: `19,056`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let text = [
            0.0,
            0.91234,
            1.5,
            12.34,
            123.4,
            19_056.4,
            -1_234_567.0,
            1e-4,
            1e30,
        ]
        .map(short);
        let expected = [
            "0",
            "0.912",
            "1.50",
            "12.3",
            "123",
            "19,056",
            "-1,234,567",
            "1.0e-4",
            "1.0e30",
        ];
        assert_eq!(text, expected);
    }
}
