//! What happened in a pipeline: one row per stage and, if it was measured, per lane of the device's queue;
//! one bar per step with its iteration in it, and from each write of memory the line to the fetch that sees no later one.
//!
//! Invariant: the SVG is a document of its own, dark on a light ground by its own styles, so that it
//! can be read wherever it is put. They are weaker than those of a page, which it follows where it
//! is part of one. It does not choose what to draw: give it the records and the iterations that fit.

use std::ops::Range;
use std::time::Duration;

use thiserror::Error;

use super::canvas::{Anchor, Canvas, Key, RIGHT, fill, stroke, text_width};
use super::scale::Scale;
use super::{Size, short};
use crate::pipeline::Stage;
use crate::pipeline::step::{Lane, Step};
use crate::pipeline::trace::{Record, Span};

/// There is nothing to draw.
#[derive(Debug, Error)]
#[error("cannot draw the chart: there are no spans of the iterations {} to {}", .0.start, .0.end)]
pub struct TimelineError(Range<usize>);

/// What to draw.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Above the chart.
    pub title: String,
    /// Iterations whose bars are drawn.
    pub iterations: Range<usize>,
}

/// What its marks look like where no page has styles for them.
const STYLE: &str = "\
svg { font: 12px sans-serif; } text { fill: #1e1e1e; } .title { font-size: 14px; font-weight: 600; }
.ground { fill: #fff; } .grid { stroke: #e1e1e1; } .axis { stroke: #1e1e1e; } .wait { fill: #fac8c3; }
.f0 { fill: #6e6e6e; } .l0 { stroke: #6e6e6e; } [class^=stage] { stroke: #1e1e1e; }
.stage0 { fill: #fdcd8c; } .stage1 { fill: #b2df8a; } .stage2 { fill: #a6cee3; }
.stage3 { fill: #cab2d6; } .stage4 { fill: #ffed96; } .odd { filter: brightness(0.88); }
";

/// Room for the names of the stages; height of a row and of its bars.
const LEFT: f64 = 116.0;
const ROW: f64 = 50.0;
const BAR: f64 = 36.0;

/// Number of the colour of the lines between writes and fetches; its points are round.
const SEEN: usize = 0;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Timeline {
    /// The chart as an SVG document.
    ///
    /// # Errors
    /// When there is no span of these iterations.
    pub fn svg(&self, record: &Record) -> Result<String, TimelineError> {
        let window = window(record, &self.iterations)
            .ok_or_else(|| TimelineError(self.iterations.clone()))?;
        let in_window = |span: &&Span| span.begin < window.end && span.end > window.start;
        let spans: Vec<&Span> = record.spans.iter().filter(in_window).collect();
        let width = Size::Wide.width();
        let mut canvas = Canvas::new(&self.title, width);
        let top = canvas.legend(&legend()) + 10.0;
        let queued = spans.iter().any(|span| queue_row(span.lane).is_some());
        let queue_rows = if queued { &QUEUE[..] } else { &[] };
        let rows = Stage::ALL.len() + queue_rows.len();
        let bottom = top + ROW * rows as f64;
        let x = Scale::from_to(ms(window.start)..ms(window.end), (LEFT, width - RIGHT));
        let ticks = x.placed(x.ticks(12, false));
        for (at, _) in &ticks {
            canvas.line((*at, top), (*at, bottom), "grid");
        }
        for stage in Stage::ALL {
            let baseline = top + ROW * (stage as usize as f64 + 0.5) + 4.0;
            canvas.text((LEFT - 8.0, baseline), Anchor::End, "", stage.name());
        }
        for lane in queue_rows {
            let row = queue_row(*lane).unwrap_or_default();
            let baseline = top + ROW * (row as f64 + 0.5) + 4.0;
            canvas.text((LEFT - 8.0, baseline), Anchor::End, "", lane.name());
        }
        let mut drawing = Drawing {
            canvas,
            x,
            window,
            top,
        };
        drawing.waits(record);
        let steps = spans.iter().filter(|span| span.begin < span.end);
        steps.for_each(|span| drawing.step(span));
        drawing.seen(record, &spans);
        let mut canvas = drawing.canvas;
        canvas.line((LEFT, top), (LEFT, bottom), "axis");
        canvas.horizontal_axis(&ticks, "time, ms", LEFT, bottom);
        Ok(canvas.document(bottom + 44.0, STYLE))
    }
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

/// The lanes of a device's queue, which have rows below those of the stages.
const QUEUE: [Lane; 2] = [Lane::Gpu, Lane::Bus];

fn queue_row(lane: Lane) -> Option<usize> {
    let at = QUEUE.iter().position(|of_queue| *of_queue == lane)?;
    Some(Stage::ALL.len() + at)
}

fn legend() -> Vec<Key> {
    let key = |name: &str, class: String| Key {
        name: name.to_owned(),
        class,
        shape: None,
        line: None,
    };
    let stages = Stage::ALL.map(|stage| key(stage.name(), class(stage)));
    let others = [
        key("the device waits", "wait".to_owned()),
        key("last update that a fetch sees", fill(SEEN)),
    ];
    stages.into_iter().chain(others).collect()
}

fn class(stage: Stage) -> String {
    format!("stage{}", stage as usize)
}

/// The chart's rows in the making.
struct Drawing {
    canvas: Canvas,
    x: Scale,
    window: Range<Duration>,
    top: f64,
}

impl Drawing {
    /// Place of a time, no further than the chart's edges.
    fn at(&self, time: Duration) -> f64 {
        self.x
            .at(ms(time.clamp(self.window.start, self.window.end)))
    }

    /// Top of the bars of a stage; the first stage is above the others.
    fn bar(&self, stage: Stage) -> f64 {
        self.bar_of_row(stage as usize)
    }

    fn bar_of_row(&self, row: usize) -> f64 {
        self.top + ROW * row as f64 + (ROW - BAR) / 2.0
    }

    /// What the device waits between two of its spans: its queue in a row of its own, or its thread in
    /// the row of `train`.
    fn waits(&mut self, record: &Record) {
        for (lane, gap, _) in record.waits() {
            if gap.start >= self.window.end || gap.end <= self.window.start {
                continue;
            }
            let (left, right) = (self.at(gap.start), self.at(gap.end));
            let says = format!("the device waits\n{} ms", short(ms(gap.end - gap.start)));
            let row = queue_row(lane).unwrap_or(Stage::Train as usize);
            let corner = (left, self.bar_of_row(row));
            self.canvas.rect(corner, (right - left, BAR), "wait", &says);
        }
    }

    fn step(&mut self, span: &Span) {
        let stage = span.step.stage();
        let row = queue_row(span.lane).unwrap_or(stage as usize);
        let (left, right, top) = (self.at(span.begin), self.at(span.end), self.bar_of_row(row));
        // Every other iteration is darker, so that neighbours can be told apart.
        let odd = if span.iteration % 2 == 1 { " odd" } else { "" };
        let time = short(ms(span.end - span.begin));
        let says = format!("{stage}, iteration {}\n{time} ms", span.iteration);
        let size = (right - left, BAR);
        let class = class(stage) + odd;
        self.canvas.rect((left, top), size, &class, &says);
        let number = span.iteration.to_string();
        if right - left > text_width(&number) {
            let middle = ((left + right) / 2.0, top + BAR / 2.0 + 4.0);
            self.canvas
                .text(middle, Anchor::Middle, "on-stage", &number);
        }
    }

    /// From the end of the last update that a fetch sees to the fetch.
    fn seen(&mut self, record: &Record, spans: &[&Span]) {
        let first = record.ledger.first().map_or(0, |line| line.iteration);
        for line in record.ledger.iter().filter(|line| line.version > first) {
            let find = |step: Step, iteration: usize| {
                let is = |span: &&&Span| {
                    let of_thread = queue_row(span.lane).is_none();
                    of_thread && span.step == step && span.iteration == iteration
                };
                spans.iter().find(is)
            };
            let written = find(Step::Apply, line.version - 1);
            let Some((read, wrote)) = find(Step::Gather, line.iteration).zip(written) else {
                continue;
            };
            let from = (self.at(wrote.end), self.bar(Stage::UpdateMemory));
            let to = (self.at(read.begin), self.bar(Stage::FetchMemory) + BAR);
            self.canvas.line(from, to, &stroke(SEEN));
            let says = format!(
                "iteration {} reads what {} wrote",
                read.iteration, wrote.iteration
            );
            self.canvas.point(to, 3.0, SEEN, &says);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::profile::Residency;
    use crate::pipeline::schedule::Schedule;
    use crate::pipeline::scheduler::Scheduler;
    use crate::what_if::simulator::simulate;

    fn drawn(schedule: Schedule, iterations: Range<usize>) -> Result<String, TimelineError> {
        let profile = "sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=9";
        let mut scheduler = Scheduler::new(schedule, Residency::Host).unwrap();
        let record = simulate(&profile.parse().unwrap(), &mut scheduler, 2, 60).unwrap();
        let timeline = Timeline {
            title: "staleness:2".to_owned(),
            iterations,
        };
        timeline.svg(&record)
    }

    #[test]
    fn a_chart_has_all_stages_and_iterations() {
        let chart = drawn(Schedule::Staleness(2), 20..28).unwrap();
        for stage in Stage::ALL {
            // A label of the axis and one of the legend.
            assert!(chart.matches(stage.name()).count() >= 2, "{stage}");
        }
        for text in [">20<", ">27<", "time, ms", "staleness:2", "class=\"l0\""] {
            assert!(chart.contains(text), "{text}");
        }
        assert!(drawn(Schedule::Staleness(2), 70..80).is_err());
    }

    #[test]
    fn a_device_with_a_queue_has_rows_for_it() {
        let profile =
            "sample=1,fetch_features=1,fetch_memory=1,train=5,update_memory=1,encode=2,up=1";
        let mut scheduler = Scheduler::new(Schedule::Staleness(2), Residency::Host).unwrap();
        let record = simulate(&profile.parse().unwrap(), &mut scheduler, 2, 60).unwrap();
        let timeline = Timeline {
            title: String::new(),
            iterations: 20..28,
        };
        let chart = timeline.svg(&record).unwrap();
        assert!(
            chart.contains(">gpu<") && chart.contains(">bus<"),
            "{chart}"
        );
        assert!(!drawn(Schedule::Mspipe, 20..28).unwrap().contains(">gpu<"));
    }

    #[test]
    fn every_class_has_a_style_in_the_document_and_on_the_page() {
        let chart = drawn(Schedule::Mspipe, 0..40).unwrap();
        let page = include_str!("../page.css");
        let mut found = 0;
        for attribute in chart.split("class=\"").skip(2) {
            let names = attribute.split('"').next().unwrap().split(' ');
            for name in names.filter(|name| !name.is_empty()) {
                assert!(page.contains(&format!(".chart .{name} ")), "{name}");
                // Text is dark everywhere else.
                let of_a_page = ["soft", "on-stage"].contains(&name);
                assert!(of_a_page || STYLE.contains(&format!(".{name} ")), "{name}");
                found += 1;
            }
        }
        assert!(found > 100, "{found}");
    }
}
