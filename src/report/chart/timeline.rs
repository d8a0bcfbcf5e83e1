//! Draws what happened as a chart: one row a stage, one bar a step, the iteration in each bar,
//! and from each write the arrow to the reads that see no later one.
//!
//! Invariant: text is dark on a light ground, so the SVG can be read wherever it is put; a page
//! of [`crate::report`] follows its reader's setting by these colours (its styles name each).
//! It does not choose what to draw: give it the records and the iterations that fit.

use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use thiserror::Error;

use crate::pipeline::Stage;
use crate::pipeline::flow::{Lane, Step};
use crate::pipeline::trace::{Record, Span};

/// Why a chart can't be drawn.
#[derive(Debug, Error)]
#[error("cannot draw the chart: {0}")]
pub struct TimelineError(String);

impl TimelineError {
    fn new(error: impl Display) -> TimelineError {
        TimelineError(error.to_string())
    }
}

/// What to draw.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Above the chart.
    pub title: String,
    /// Iterations whose bars are drawn.
    pub iterations: Range<usize>,
    /// Whether to draw which update each fetch of memory sees last.
    pub arrows: bool,
}

const SIZE: (u32, u32) = (1280, 420);
const INK: RGBColor = RGBColor(30, 30, 30);
const BUBBLE: RGBColor = RGBColor(250, 200, 195);
const ARROW: RGBColor = RGBColor(110, 110, 110);
/// Fill of each stage, light enough for dark text.
const FILL: [RGBColor; 5] = [
    RGBColor(253, 205, 140),
    RGBColor(178, 223, 138),
    RGBColor(166, 206, 227),
    RGBColor(202, 178, 214),
    RGBColor(255, 237, 150),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Middle of a stage's row; the first stage is on top.
fn row(stage: Stage) -> f64 {
    4.0 - stage as usize as f64
}

/// The chart as an SVG document.
///
/// # Errors
/// When there is no span of these iterations.
pub fn svg(record: &Record, timeline: &Timeline) -> Result<String, TimelineError> {
    let Some(window) = window(record, &timeline.iterations) else {
        let Range { start, end } = timeline.iterations;
        let message = format!("there are no spans of the iterations {start} to {end}");
        return Err(TimelineError(message));
    };
    let in_window = |span: &&Span| span.begin < window.end && span.end > window.start;
    let spans: Vec<&Span> = record.spans.iter().filter(in_window).collect();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let time = ms(window.start)..ms(window.end);
        draw(&area, record, timeline, &spans, time).map_err(TimelineError::new)?;
        area.present().map_err(TimelineError::new)?;
    }
    Ok(text)
}

/// From the first iteration's training to the end of the last one's; from the very beginning
/// if that is the run's first iteration.
fn window(record: &Record, iterations: &Range<usize>) -> Option<Range<Duration>> {
    let trains =
        |span: &&Span| span.step.stage() == Stage::Train && iterations.contains(&span.iteration);
    let mut trained = record.spans.iter().filter(trains);
    let first = trained.next()?;
    let end = trained.next_back().unwrap_or(first).end;
    let earliest = record.spans.iter().map(|span| span.begin).min()?;
    let is_first = record
        .ledger
        .first()
        .is_some_and(|line| line.iteration == first.iteration);
    let begin = if is_first { earliest } else { first.begin };
    (begin < end).then_some(begin..end)
}

fn draw(
    area: &Area<'_>,
    record: &Record,
    timeline: &Timeline,
    spans: &[&Span],
    time: Range<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let ink = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .caption(&timeline.title, ink(20))
        .margin(12)
        .margin_right(28)
        .margin_bottom(44)
        .x_label_area_size(46)
        .y_label_area_size(130)
        .build_cartesian_2d(time.clone(), -0.6..4.6)?;
    let stage_of = |y: &f64| {
        let stage = Stage::ALL.into_iter().find(|stage| row(*stage) == *y);
        stage.map_or_else(String::new, |stage| stage.to_string())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(RGBColor(225, 225, 225))
        .x_labels(12)
        .y_labels(6)
        .x_desc("time, ms")
        .x_label_formatter(&|ms| format!("{}", (ms * 1000.0).round() / 1000.0))
        .label_style(ink(15))
        .axis_desc_style(ink(15))
        .y_label_formatter(&stage_of)
        .draw()?;
    draw_bubbles(&mut chart, spans)?;
    let per_pixel = (time.end - time.start) / f64::from(SIZE.0 - 182);
    for span in spans.iter().filter(|span| span.begin < span.end) {
        let (left, right) = (ms(span.begin).max(time.start), ms(span.end).min(time.end));
        let y = row(span.step.stage());
        let corners = [(left, y - 0.36), (right, y + 0.36)];
        let fill = FILL[span.step.stage() as usize];
        // Every other iteration is darker, so that neighbours can be told apart.
        let fill = if span.iteration % 2 == 0 {
            fill
        } else {
            RGBColor(darker(fill.0), darker(fill.1), darker(fill.2))
        };
        chart.draw_series([
            Rectangle::new(corners, fill.filled()),
            Rectangle::new(corners, INK.stroke_width(1)),
        ])?;
        let number = span.iteration.to_string();
        if (right - left) / per_pixel > 6.5 * number.len() as f64 {
            let style = ink(12).pos(Pos::new(HPos::Center, VPos::Center));
            chart.draw_series([Text::new(number, ((left + right) / 2.0, y), style)])?;
        }
    }
    if timeline.arrows {
        draw_arrows(&mut chart, record, spans)?;
    }
    draw_legend(area, timeline.arrows)
}

fn darker(channel: u8) -> u8 {
    (u16::from(channel) * 7 / 8) as u8
}

/// What the device thread waits between two of its spans, in the row of `train`.
fn draw_bubbles(
    chart: &mut Chart<'_, '_>,
    spans: &[&Span],
) -> Result<(), Box<dyn std::error::Error>> {
    let device: Vec<_> = spans.iter().filter(|s| s.lane == Lane::Device).collect();
    for pair in device.windows(2) {
        let (left, right, y) = (ms(pair[0].end), ms(pair[1].begin), row(Stage::Train));
        if left < right {
            let corners = [(left, y - 0.36), (right, y + 0.36)];
            chart.draw_series([Rectangle::new(corners, BUBBLE.filled())])?;
        }
    }
    Ok(())
}

/// From the end of the last update that a fetch sees to the fetch.
fn draw_arrows(
    chart: &mut Chart<'_, '_>,
    record: &Record,
    spans: &[&Span],
) -> Result<(), Box<dyn std::error::Error>> {
    let first = record.ledger.first().map_or(0, |line| line.iteration);
    for line in &record.ledger {
        let read = |span: &&&Span| span.step == Step::Gather && span.iteration == line.iteration;
        let wrote = |span: &&&Span| span.step == Step::Apply && span.iteration + 1 == line.version;
        let (Some(read), Some(wrote)) = (spans.iter().find(read), spans.iter().find(wrote)) else {
            continue;
        };
        if line.version <= first {
            continue;
        }
        let from = (ms(wrote.end), row(Stage::UpdateMemory) + 0.36);
        let to = (ms(read.begin), row(Stage::FetchMemory) - 0.36);
        chart.draw_series([PathElement::new([from, to], ARROW.mix(0.8).stroke_width(1))])?;
        chart.draw_series([Circle::new(to, 3, ARROW.filled())])?;
    }
    Ok(())
}

fn draw_legend(area: &Area<'_>, arrows: bool) -> Result<(), Box<dyn std::error::Error>> {
    let y = SIZE.1 as i32 - 24;
    let style = ("sans-serif", 14).into_font().color(&INK);
    let mut entries: Vec<(RGBColor, String)> = Stage::ALL
        .into_iter()
        .map(|stage| (FILL[stage as usize], stage.to_string()))
        .collect();
    entries.push((BUBBLE, "the device waits".to_owned()));
    if arrows {
        entries.push((ARROW, "last update that a fetch sees".to_owned()));
    }
    let mut x = 60;
    for (color, text) in entries {
        let corners = [(x, y - 7), (x + 14, y + 7)];
        area.draw(&Rectangle::new(corners, color.filled()))?;
        area.draw(&Rectangle::new(corners, INK.stroke_width(1)))?;
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        let width = 8 * text.len() as i32;
        area.draw(&Text::new(text, (x + 20, y), style))?;
        x += 20 + width + 16;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::profile::Residency;
    use crate::pipeline::schedule::Schedule;
    use crate::pipeline::scheduler::Scheduler;
    use crate::pipeline::simulator::simulate;

    #[test]
    fn a_chart_has_all_stages_and_iterations() {
        let profile = "sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2";
        let mut scheduler = Scheduler::new(Schedule::Staleness(2), Residency::Host).unwrap();
        let record = simulate(&profile.parse().unwrap(), &mut scheduler, 2, 40).unwrap();
        let mut timeline = Timeline {
            title: "staleness:2".to_owned(),
            iterations: 20..28,
            arrows: true,
        };
        let chart = svg(&record, &timeline).unwrap();
        for stage in Stage::ALL {
            // A label of the axis and one of the legend.
            assert!(chart.matches(stage.name()).count() >= 2, "{stage}");
        }
        for text in ["\n20\n", "\n27\n", "time, ms", "staleness:2"] {
            assert!(chart.contains(text), "{text}");
        }
        timeline.iterations = 50..60;
        assert!(svg(&record, &timeline).is_err());
    }
}
