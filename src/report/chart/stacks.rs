//! Horizontal stacks that show how a whole is made up of the pipeline's stages.

use super::canvas::{Anchor, Canvas, Key, RIGHT, text_width};
use super::{Size, figure, short};
use crate::report::Figure;

/// Height of a row, and of its stack.
const ROW: f64 = 30.0;
const STACK: f64 = 20.0;

/// A chart of stacks, each as long as its parts' share of its whole.
#[derive(Debug, Clone, Default)]
pub struct Stacks {
    /// Above the chart.
    pub title: String,
    /// Names of the parts, up to five.
    pub parts: Vec<String>,
    /// A name with the size of each part.
    pub rows: Vec<(String, Vec<f64>)>,
    /// Unit of the sizes.
    pub unit: String,
    /// How large it is.
    pub size: Size,
}

impl Stacks {
    /// The chart with what else there is to say of it, which may be nothing.
    pub fn figure(&self, caption: &str) -> Figure {
        figure(&self.title, self.size, self.svg(), caption)
    }

    /// The chart as an SVG element.
    pub(crate) fn svg(&self) -> String {
        let width = self.size.width();
        let mut canvas = Canvas::new(&self.title, width);
        let class = |nth: usize| format!("stage{nth}");
        let names: Vec<_> = self
            .parts
            .iter()
            .enumerate()
            .map(|(nth, name)| Key {
                name: name.clone(),
                class: class(nth),
                shape: None,
                line: None,
            })
            .collect();
        let top = canvas.legend(&names) + 6.0;
        let names = self.rows.iter().map(|(name, _)| text_width(name));
        let left = names.fold(60.0, f64::max) + 16.0;
        let total_width = 96.0;
        let full = width - RIGHT - left - total_width;
        for (nth, (name, sizes)) in self.rows.iter().enumerate() {
            let y = top + ROW * nth as f64;
            let baseline = y + STACK / 2.0 + 4.0;
            canvas.text((left - 8.0, baseline), Anchor::End, "", name);
            let whole: f64 = sizes.iter().sum();
            if whole.is_nan() || whole <= 0.0 {
                continue;
            }
            let mut x = left;
            for (part, size) in sizes.iter().enumerate() {
                let long = full * size / whole;
                let percent = format!("{:.0} %", 100.0 * size / whole);
                let label = self.parts.get(part).map_or("", String::as_str);
                let says = format!("{name}\n{label}: {} {}, {percent}", short(*size), self.unit);
                canvas.rect((x, y), (long, STACK), &class(part), &says);
                if long > text_width(&percent) + 4.0 {
                    let middle = (x + long / 2.0, baseline);
                    canvas.text(middle, Anchor::Middle, "on-stage", &percent);
                }
                x += long;
            }
            let total = format!("{} {}", short(whole), self.unit);
            canvas.text((x + 8.0, baseline), Anchor::Start, "soft", &total);
        }
        canvas.finish(top + ROW * self.rows.len() as f64 + 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_shares_of_their_whole() {
        let stacks = Stacks {
            title: "stages".to_owned(),
            parts: vec!["sample".to_owned(), "train".to_owned()],
            rows: vec![
                ("tgn".to_owned(), vec![1.0, 3.0]),
                ("none".to_owned(), vec![0.0, 0.0]),
            ],
            unit: "ms".to_owned(),
            ..Stacks::default()
        };
        let svg = stacks.svg();
        assert!(svg.contains("train: 3.00 ms, 75 %"), "{svg}");
        assert!(svg.contains(">4.00 ms<") && svg.contains(">25 %<"));
        assert!(!svg.contains("NaN"));
    }
}
