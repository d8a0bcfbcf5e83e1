//! Lines and points over a horizontal axis of numbers.

use super::canvas::{Anchor, Canvas, Key, LEFT, RIGHT, fill, stroke, text_width};
use super::scale::Scale;
use super::{Size, figure, short};
use crate::report::Figure;

/// How the points of a series are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Join {
    /// By straight lines.
    #[default]
    Straight,
    /// Each holds until the next one. Series lie a little beside one another, so that those which
    /// are the same are all seen.
    Step,
    /// Not at all.
    Apart,
}

/// A point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis.
    pub y: f64,
    /// Drawn as a line up and down from it.
    pub deviation: Option<f64>,
}

/// Points that belong together.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// What they are.
    pub name: String,
    /// Number of their colour.
    pub color: usize,
    /// From left to right, where they are joined.
    pub points: Vec<Point>,
}

/// A chart of lines or points.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// Above the chart.
    pub title: String,
    /// What the horizontal axis shows.
    pub x_name: String,
    /// What the vertical axis shows.
    pub y_name: String,
    /// What is drawn.
    pub series: Vec<Series>,
    /// How points are joined.
    pub join: Join,
    /// Whether the horizontal axis is logarithmic, with its texts at the points themselves.
    pub at_points: bool,
    /// Whether only whole numbers stand beside each axis, the horizontal one first.
    pub whole: (bool, bool),
    /// Whether the vertical axis begins at 0.
    pub from_zero: bool,
    /// How large it is.
    pub size: Size,
}

/// What its marks look like where no page has styles for them.
const STYLE: &str = "\
svg { font: 12px sans-serif; } text { fill: #1c2330; } .title { font-size: 14px; font-weight: 600; }
.soft { fill: #5b6576; } .ground { fill: #fff; } .grid { stroke: #dfe3e9; } .axis { stroke: #5b6576; }
path { fill: none; stroke-width: 2; stroke-linejoin: round; } circle, polygon { stroke: #fff; }
.f0 { fill: #596273; } .f1 { fill: #2868b8; } .f2 { fill: #1f8a5b; } .f3 { fill: #7a9a0e; }
.f4 { fill: #c98a00; } .f5 { fill: #d0511c; } .f6 { fill: #6b46d6; } .f7 { fill: #c02b6a; }
.f8 { fill: #0c8391; } .f9 { fill: #85592f; } .l0 { stroke: #596273; } .l1 { stroke: #2868b8; }
.l2 { stroke: #1f8a5b; } .l3 { stroke: #7a9a0e; } .l4 { stroke: #c98a00; } .l5 { stroke: #d0511c; }
.l6 { stroke: #6b46d6; } .l7 { stroke: #c02b6a; } .l8 { stroke: #0c8391; } .l9 { stroke: #85592f; }
.d1 { stroke-dasharray: 7 4; } .d2 { stroke-dasharray: 2 3; } .d3 { stroke-dasharray: 11 3 2 3; }
";

impl Lines {
    /// The chart with what else there is to say of it, which may be nothing.
    pub fn figure(&self, caption: &str) -> Figure {
        figure(&self.title, self.size, self.svg(), caption)
    }

    /// The chart as an SVG document of its own, dark on a light ground.
    pub fn document(&self) -> String {
        let (canvas, height) = self.drawn();
        canvas.document(height, STYLE)
    }

    /// The chart as an SVG element.
    pub(crate) fn svg(&self) -> String {
        let (canvas, height) = self.drawn();
        canvas.finish(height)
    }

    /// What is drawn, and how high it is.
    fn drawn(&self) -> (Canvas, f64) {
        let width = self.size.width();
        let mut canvas = Canvas::new(&self.title, width);
        let names: Vec<_> = self
            .series
            .iter()
            .map(|s| Key {
                name: s.name.clone(),
                class: fill(s.color),
                shape: (self.join != Join::Step).then_some(s.color),
                line: (self.join == Join::Straight).then(|| stroke(s.color)),
            })
            .collect();
        let top = canvas.legend(&names) + 30.0;
        let bottom = top + 216.0;
        let points = || self.series.iter().flat_map(finite);
        let xs: Vec<f64> = points().map(|point| point.x).collect();
        let ys: Vec<f64> = points()
            .flat_map(|point| {
                let deviation = point.deviation.unwrap_or(0.0);
                [point.y - deviation, point.y + deviation]
            })
            .collect();
        let x = Scale::over(&xs, false, self.at_points, (LEFT, width - RIGHT));
        let y = Scale::over(&ys, self.from_zero, false, (bottom, top));

        let ticks = y.placed(y.ticks(5, self.whole.1));
        canvas.vertical_axis(&ticks, &self.y_name, top);
        let ticks = if self.at_points {
            distinct(&xs)
        } else {
            x.ticks(8, self.whole.0)
        };
        canvas.horizontal_axis(&apart(x.placed(ticks)), &self.x_name, LEFT, bottom);
        if xs.is_empty() {
            let middle = ((LEFT + width) / 2.0, (top + bottom) / 2.0);
            canvas.text(middle, Anchor::Middle, "soft", "nothing was measured");
        }
        let middle = self.series.len().saturating_sub(1) as f64 / 2.0;
        for (nth, series) in self.series.iter().enumerate() {
            let places: Vec<(f64, f64)> = finite(series).map(|p| (x.at(p.x), y.at(p.y))).collect();
            match self.join {
                Join::Straight => canvas.path(&places, &stroke(series.color)),
                Join::Step => {
                    let aside = 3.0 * (nth as f64 - middle);
                    let beside = places.iter().map(|(x, y)| (x + aside, y - aside));
                    let line = steps(&beside.collect::<Vec<_>>());
                    canvas.path(&line, &stroke(series.color));
                }
                Join::Apart => {}
            }
            // Many points would hide their line.
            let radius = match (self.join, places.len()) {
                (Join::Apart, _) => 5.5,
                (Join::Straight, ..=40) => 3.5,
                _ => continue,
            };
            for (point, place) in finite(series).zip(&places) {
                self.mark(&mut canvas, series, point, *place, &y, radius);
            }
        }
        (canvas, bottom + 46.0)
    }

    fn mark(
        &self,
        canvas: &mut Canvas,
        series: &Series,
        point: &Point,
        place: (f64, f64),
        y: &Scale,
        radius: f64,
    ) {
        let mut says = format!(
            "{}\n{}: {}\n{}: {}",
            series.name,
            self.x_name,
            short(point.x),
            self.y_name,
            short(point.y)
        );
        if let Some(deviation) = point.deviation {
            says += &format!(" ± {}", short(deviation));
            let (low, high) = (y.at(point.y - deviation), y.at(point.y + deviation));
            let class = format!("error {}", stroke(series.color));
            canvas.line((place.0, low), (place.0, high), &class);
        }
        canvas.point(place, radius, series.color, &says);
    }
}

/// The ticks but for those whose texts would run into the one before.
fn apart(ticks: Vec<(f64, String)>) -> Vec<(f64, String)> {
    let mut shown: Vec<(f64, String)> = Vec::new();
    for (place, text) in ticks {
        let half = text_width(&text) / 2.0;
        let free = |(before, other): &(f64, String)| {
            before + text_width(other) / 2.0 + text_width("0") <= place - half
        };
        if shown.last().is_none_or(free) {
            shown.push((place, text));
        }
    }
    shown
}

fn finite(series: &Series) -> impl Iterator<Item = &Point> {
    let is = |point: &&Point| point.x.is_finite() && point.y.is_finite();
    series.points.iter().filter(is)
}

/// Each value once, with its text.
fn distinct(values: &[f64]) -> Vec<(f64, String)> {
    let mut all = values.to_vec();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all.into_iter()
        .map(|value| (value, format!("{value}")))
        .collect()
}

fn steps(places: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = Vec::with_capacity(2 * places.len());
    for &(x, y) in places {
        if let Some(&(_, before)) = all.last() {
            all.push((x, before));
        }
        all.push((x, y));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(join: Join, ys: &[f64]) -> String {
        let point = |(x, y): (usize, &f64)| Point {
            x: x as f64,
            y: *y,
            deviation: Some(0.1),
        };
        let series = |color| Series {
            name: format!("series {color}"),
            color,
            points: ys.iter().enumerate().map(point).collect(),
        };
        let lines = Lines {
            title: "AP < 1".to_owned(),
            x_name: "epoch".to_owned(),
            y_name: "AP".to_owned(),
            series: vec![series(0), series(11)],
            join,
            ..Lines::default()
        };
        lines.svg()
    }

    #[test]
    fn every_point_is_drawn_and_says_its_value() {
        let svg = chart(Join::Straight, &[0.5, 0.75, f64::NAN]);
        // Two and one in the legend, of either series.
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(svg.matches("<polygon").count(), 3);
        assert_eq!(svg.matches("<path").count(), 4);
        assert!(
            svg.contains("<title>series 0\nepoch: 1.00\nAP: 0.750 ± 0.100</title>"),
            "{svg}"
        );
        // The eleventh colour is the first one again, with a dashed line.
        assert!(svg.contains("class=\"l1 d1\"") && svg.contains("AP &lt; 1"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn steps_hold_until_the_next_one() {
        assert_eq!(
            steps(&[(0.0, 1.0), (5.0, 2.0)]),
            [(0.0, 1.0), (5.0, 1.0), (5.0, 2.0)]
        );
        assert!(!chart(Join::Apart, &[1.0, 2.0]).contains("<path"));
        assert!(chart(Join::Step, &[]).contains("nothing was measured"));
    }
}
