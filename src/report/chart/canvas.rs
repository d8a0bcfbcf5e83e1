//! An SVG element in the making: marks with classes, title, legend and axes.

use std::fmt::Write as _;

use super::super::{escape, marked};
use super::{COLORS, DASHES};

/// Shapes of points by the number of their colour: corners around a point, for a radius of 1. The
/// first one is round.
#[rustfmt::skip]
const SHAPES: [&[(f64, f64)]; COLORS] = [
    &[],
    &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    &[(0.0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
    &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
    &[(0.0, 1.2), (1.15, -0.9), (-1.15, -0.9)],
    &[
        (-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4),
        (0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4),
    ],
    &[
        (0.0, -1.5), (0.38, -0.46), (1.43, -0.46), (0.6, 0.19), (0.88, 1.21), (0.0, 0.6),
        (-0.88, 1.21), (-0.6, 0.19), (-1.43, -0.46), (-0.38, -0.46),
    ],
    &[
        (-1.1, -0.6), (-0.6, -1.1), (0.0, -0.5), (0.6, -1.1), (1.1, -0.6), (0.5, 0.0),
        (1.1, 0.6), (0.6, 1.1), (0.0, 0.5), (-0.6, 1.1), (-1.1, 0.6), (-0.5, 0.0),
    ],
    &[(-1.2, 0.0), (0.9, -1.15), (0.9, 1.15)],
    &[(1.2, 0.0), (-0.9, -1.15), (-0.9, 1.15)],
];

/// Room for the numbers beside the vertical axis, and right of the chart.
pub(super) const LEFT: f64 = 68.0;
pub(super) const RIGHT: f64 = 18.0;

/// What a legend says of a series.
pub(super) struct Key {
    pub(super) name: String,
    /// The class of its fill.
    pub(super) class: String,
    /// The colour whose shape its points have; a square otherwise.
    pub(super) shape: Option<usize>,
    /// The class of the line that joins its points, if one does.
    pub(super) line: Option<String>,
}

/// How long the line of a series is in a legend, and what it is longer than a point.
const SAMPLE: f64 = 34.0;
const BEFORE: f64 = SAMPLE - 12.0;

pub(super) struct Canvas {
    marks: String,
    title: String,
    width: f64,
}

/// Where a text is written from.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    pub(super) fn new(title: &str, width: f64) -> Canvas {
        let mut canvas = Canvas {
            marks: String::new(),
            title: title.to_owned(),
            width,
        };
        canvas.text((8.0, 18.0), Anchor::Start, "title", title);
        canvas
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = marked(&escape(text), "<tspan class=\"warning\">", "</tspan>");
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            self.marks,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        );
    }

    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        let _ = writeln!(
            self.marks,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    /// A rectangle from its corner; `says` is shown when it is pointed at.
    pub(super) fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), class: &str, says: &str) {
        let says = escape(says);
        let _ = writeln!(
            self.marks,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" class=\"{class}\"><title>{says}</title></rect>"
        );
    }

    /// A point in the shape and colour of a series.
    pub(super) fn point(&mut self, (x, y): (f64, f64), radius: f64, color: usize, says: &str) {
        let (says, class) = (escape(says), fill(color));
        let corners = SHAPES[color % COLORS];
        let _ = if corners.is_empty() {
            writeln!(
                self.marks,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" class=\"{class}\"><title>{says}</title></circle>"
            )
        } else {
            let places: Vec<String> = corners
                .iter()
                .map(|(dx, dy)| format!("{:.1},{:.1}", x + dx * radius, y + dy * radius))
                .collect();
            writeln!(
                self.marks,
                "<polygon points=\"{}\" class=\"{class}\"><title>{says}</title></polygon>",
                places.join(" ")
            )
        };
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let mut d = String::new();
        for (nth, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if nth == 0 { "M" } else { "L" });
        }
        let _ = writeln!(self.marks, "<path d=\"{d}\" class=\"{class}\"/>");
    }

    /// Names of series with how they look, in as many lines as they need; returns the place below
    /// them.
    pub(super) fn legend(&mut self, keys: &[Key]) -> f64 {
        let (mut x, mut y) = (8.0, 38.0);
        if keys.len() < 2 {
            return 28.0;
        }
        for Key {
            name,
            class,
            shape,
            line,
        } in keys
        {
            let before = line.as_ref().map_or(0.0, |_| BEFORE);
            let width = before + 18.0 + text_width(name) + 14.0;
            if x + width > self.width && x > 8.0 {
                (x, y) = (8.0, y + 18.0);
            }
            let next = x + width;
            if let Some(class) = line {
                self.path(&[(x, y - 3.5), (x + SAMPLE, y - 3.5)], class);
            }
            x += before / 2.0;
            match shape {
                Some(color) => self.point((x + 6.0, y - 3.5), 5.0, *color, name),
                None => self.rect((x, y - 9.0), (11.0, 11.0), class, name),
            }
            let beside = (x + before / 2.0 + 16.0, y + 1.0);
            self.text(beside, Anchor::Start, "", name);
            x = next;
        }
        y + 12.0
    }

    /// Lines across the chart at `ticks` with their texts on the left, and the axis' name.
    pub(super) fn vertical_axis(&mut self, ticks: &[(f64, String)], name: &str, top: f64) {
        for (y, text) in ticks {
            self.line((LEFT, *y), (self.width - RIGHT, *y), "grid");
            self.text((LEFT - 8.0, y + 4.0), Anchor::End, "soft", text);
        }
        self.text((8.0, top - 14.0), Anchor::Start, "soft", name);
    }

    /// The line below the chart with texts under `ticks`, and the axis' name below them.
    pub(super) fn horizontal_axis(
        &mut self,
        ticks: &[(f64, String)],
        name: &str,
        left: f64,
        y: f64,
    ) {
        self.line((left, y), (self.width - RIGHT, y), "axis");
        for (x, text) in ticks {
            self.line((*x, y), (*x, y + 4.0), "axis");
            // The last one must not be cut off.
            let at = x.min(self.width - 3.0 - text_width(text) / 2.0);
            self.text((at, y + 18.0), Anchor::Middle, "soft", text);
        }
        let middle = (left + self.width - RIGHT) / 2.0;
        self.text((middle, y + 36.0), Anchor::Middle, "soft", name);
    }

    /// The element of a page that has the styles.
    pub(super) fn finish(self, height: f64) -> String {
        self.element(height, "", "")
    }

    /// The same as a document of its own.
    pub(super) fn document(self, height: f64, style: &str) -> String {
        let Canvas { width, .. } = self;
        let ground = format!(
            "<style>\n{style}</style>\n<rect width=\"{width}\" height=\"{height:.0}\" class=\"ground\"/>\n"
        );
        self.element(height, " xmlns=\"http://www.w3.org/2000/svg\"", &ground)
    }

    fn element(self, height: f64, attributes: &str, ground: &str) -> String {
        format!(
            "<svg{attributes} class=\"chart\" width=\"{}\" viewBox=\"0 0 {} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{ground}{}</svg>",
            self.width,
            self.width,
            escape(&self.title),
            self.marks
        )
    }
}

/// The class of a series' fill.
pub(super) fn fill(color: usize) -> String {
    format!("f{}", color % COLORS)
}

/// The classes of a series' line: its colour, and its dashes if it has any.
pub(super) fn stroke(color: usize) -> String {
    match (color / COLORS) % DASHES {
        0 => format!("l{}", color % COLORS),
        dashes => format!("l{} d{dashes}", color % COLORS),
    }
}

/// Width of a text 12 high in a wide font; others take less.
pub(super) fn text_width(text: &str) -> f64 {
    let of = |character: char| match character {
        'f' | 'i' | 'j' | 'l' | 'r' | 't' | ' ' | '.' | ',' | ':' | ';' | '\'' | '(' | ')'
        | '-' => 4.4,
        'm' | 'w' | 'M' | 'W' | '%' | '+' | '=' => 10.4,
        'A'..='Z' => 8.2,
        _ => 7.3,
    };
    text.chars().map(of).sum()
}
