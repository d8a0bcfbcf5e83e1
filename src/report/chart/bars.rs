//! Bars from zero, in groups.

use super::canvas::{Anchor, Canvas, Key, LEFT, RIGHT, fill, text_width};
use super::scale::Scale;
use super::{Size, figure, short};
use crate::report::Figure;

/// A chart of bars.
#[derive(Debug, Clone, Default)]
pub struct Bars {
    /// Above the chart.
    pub title: String,
    /// What the horizontal axis shows.
    pub x_name: String,
    /// What the vertical axis shows.
    pub y_name: String,
    /// Names of the groups; words that don't fit go into further lines.
    pub groups: Vec<String>,
    /// Names of the bars of a group, with the numbers of their colours.
    pub series: Vec<(String, usize)>,
    /// A value a group and series; without one there is no bar.
    pub values: Vec<Vec<Option<f64>>>,
    /// Digits after the point of the values; as many as a reader needs, if none.
    pub decimals: Option<usize>,
    /// A line across, to compare with.
    pub reference: Option<f64>,
    /// How large it is.
    pub size: Size,
}

impl Bars {
    /// The chart with what else there is to say of it, which may be nothing.
    pub fn figure(&self, caption: &str) -> Figure {
        figure(&self.title, self.size, self.svg(), caption)
    }

    /// The chart as an SVG element.
    pub(crate) fn svg(&self) -> String {
        let width = self.size.width();
        let mut canvas = Canvas::new(&self.title, width);
        let names: Vec<_> = self
            .series
            .iter()
            .map(|(name, color)| Key {
                name: name.clone(),
                class: fill(*color),
                shape: None,
                line: None,
            })
            .collect();
        let top = canvas.legend(&names) + 30.0;
        let bottom = top + 200.0;
        let all = self
            .values
            .iter()
            .flatten()
            .flatten()
            .chain(&self.reference);
        let values: Vec<f64> = all.copied().filter(|value| value.is_finite()).collect();
        let y = Scale::over(&values, true, false, (bottom, top));
        let ticks = y.placed(y.ticks(5, false));
        canvas.vertical_axis(&ticks, &self.y_name, top);

        let group = (width - RIGHT - LEFT) / self.groups.len().max(1) as f64;
        let bar = (group * 0.84 / self.series.len().max(1) as f64).min(64.0);
        let widest = values.iter().map(|value| text_width(&self.written(*value)));
        // No values where one would run into the next bar's.
        let with_values = widest.fold(0.0, f64::max) <= bar;
        // Room for values below bars.
        let negative = values.iter().any(|value| *value < 0.0);
        let below_bars = if negative && with_values { 12.0 } else { 0.0 };
        let mut labels = Vec::new();
        let mut lines = 1;
        for (nth, (name, values)) in self.groups.iter().zip(&self.values).enumerate() {
            let middle = LEFT + group * (nth as f64 + 0.5);
            let label = wrap(name, group - 4.0);
            lines = lines.max(label.len());
            for (line, text) in label.iter().enumerate() {
                let place = (middle, bottom + below_bars + 18.0 + 15.0 * line as f64);
                canvas.text(place, Anchor::Middle, "soft", text);
            }
            let left = middle - bar * self.series.len() as f64 / 2.0;
            labels.extend(self.group(&mut canvas, (name, values), &y, (left, bar)));
        }
        canvas.line((LEFT, y.at(0.0)), (width - RIGHT, y.at(0.0)), "axis");
        if let Some(reference) = self.reference {
            let at = y.at(reference);
            canvas.line((LEFT, at), (width - RIGHT, at), "reference");
        }
        for (place, text) in labels.iter().filter(|_| with_values) {
            canvas.text(*place, Anchor::Middle, "value", text);
        }
        let below = bottom + below_bars + 18.0 + 15.0 * lines as f64;
        let middle = (LEFT + width - RIGHT) / 2.0;
        canvas.text((middle, below + 4.0), Anchor::Middle, "soft", &self.x_name);
        canvas.finish(below + if self.x_name.is_empty() { 0.0 } else { 14.0 })
    }

    fn written(&self, value: f64) -> String {
        match self.decimals {
            Some(digits) if value != 0.0 => format!("{value:.digits$}"),
            _ => short(value),
        }
    }

    /// Draws the bars of a group, from `left` on and `bar` wide each; returns their values with the
    /// places beyond their ends.
    fn group(
        &self,
        canvas: &mut Canvas,
        (name, values): (&str, &[Option<f64>]),
        y: &Scale,
        (left, bar): (f64, f64),
    ) -> Vec<((f64, f64), String)> {
        let mut labels = Vec::new();
        for (at, ((series, color), value)) in self.series.iter().zip(values).enumerate() {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                continue;
            };
            let (x, from, to) = (left + bar * at as f64, y.at(0.0), y.at(value));
            let written = self.written(value);
            let says = format!("{name}\n{series}: {written}");
            let corner = (x + bar * 0.06, from.min(to));
            let size = (bar * 0.88, (from - to).abs());
            canvas.rect(corner, size, &fill(*color), &says);
            let beyond = if value < 0.0 { to + 13.0 } else { to - 4.0 };
            labels.push(((x + bar / 2.0, beyond), written));
        }
        labels
    }
}

/// Words in lines that are no wider than `width`, where words allow it; `k = 1` is one word.
fn wrap(text: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let text = text.replace(" = ", "\u{a0}=\u{a0}");
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if text_width(line) + text_width(word) + text_width(" ") <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_zero_and_say_their_value() {
        let bars = Bars {
            title: "speed-up".to_owned(),
            y_name: "times sequential".to_owned(),
            groups: vec!["wikipedia".to_owned(), "reddit SYNTHETIC".to_owned()],
            series: vec![("prefetch".to_owned(), 1), ("mspipe".to_owned(), 6)],
            values: vec![vec![Some(1.1), Some(1.5)], vec![None, Some(f64::NAN)]],
            reference: Some(1.0),
            ..Bars::default()
        };
        let svg = bars.svg();
        // Two bars, and a legend of two.
        assert_eq!(svg.matches("<rect").count(), 4);
        assert!(
            svg.contains("<title>wikipedia\nmspipe: 1.50</title>"),
            "{svg}"
        );
        assert!(svg.contains("class=\"reference\"") && !svg.contains("NaN"));
        let taller = svg.matches("class=\"f6\"><title>wikipedia").count();
        assert_eq!(taller, 1);
        // Values are written where they have room, with the digits asked for.
        assert!(svg.contains("class=\"value\">1.50<"), "{svg}");
        let three = Bars {
            decimals: Some(3),
            ..bars
        };
        assert!(three.svg().contains("class=\"value\">1.500<"));
    }

    #[test]
    fn long_names_go_into_several_lines() {
        assert_eq!(wrap("reddit SYNTHETIC", 90.0), ["reddit", "SYNTHETIC"]);
        assert_eq!(wrap("reddit SYNTHETIC", 200.0), ["reddit SYNTHETIC"]);
        assert_eq!(wrap("early, k = 1", 50.0), ["early,", "k\u{a0}=\u{a0}1"]);
    }
}
