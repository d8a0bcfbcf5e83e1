//! What a grid notes of a run: losses, staleness, ages, probes, what was under way.
//!
//! It writes the ledger as `mspipe train` does, and draws a timeline of the last epoch.

use std::io;

use mspipe::pipeline::ledger;
use mspipe::pipeline::probe::Probe;
use mspipe::pipeline::trace::{Record, Span};
use mspipe::run_folder::{JsonLines, RunFolder, RunFolderError};
use mspipe::train::observer::TrainEvent;

use crate::cell::{InFlight, KChange};

/// Points of the loss curve an epoch.
pub(super) const CURVE_POINTS: usize = 10;

pub(super) struct Observed {
    folder: RunFolder,
    ledger: JsonLines,
    title: String,
    losses: Vec<f32>,
    pub(super) loss_curve: Vec<f64>,
    pub(super) k_changes: Vec<KChange>,
    pub(super) ages: Vec<u64>,
    pub(super) in_flight: InFlight,
    pub(super) probes: Vec<Probe>,
    iterations: usize,
    corrected: Option<usize>,
}

impl Observed {
    /// Of a run that writes into `folder`; its timeline is called `title`.
    pub(super) fn new(folder: &RunFolder, title: String) -> Result<Observed, RunFolderError> {
        Ok(Observed {
            folder: folder.clone(),
            ledger: folder.ledger()?,
            title,
            losses: Vec::new(),
            loss_curve: Vec::new(),
            k_changes: Vec::new(),
            ages: Vec::new(),
            in_flight: InFlight::default(),
            probes: Vec::new(),
            iterations: 0,
            corrected: None,
        })
    }

    /// Memory rows corrected in an iteration, the mean; none without a mitigation.
    pub(super) fn corrected_rows(&self) -> Option<f64> {
        self.corrected
            .map(|rows| rows as f64 / self.iterations as f64)
    }
}

impl Observed {
    /// Notes what happens.
    pub(super) fn see(&mut self, event: TrainEvent<'_>) -> io::Result<()> {
        match event {
            TrainEvent::EpochBegins { .. } => self.losses.clear(),
            TrainEvent::Losses { losses, .. } => self.losses.extend_from_slice(losses),
            TrainEvent::Probed { probes, .. } => self.probes.extend_from_slice(probes),
            TrainEvent::EpochRecorded(record) => return self.note(record),
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, record: &Record) -> io::Result<()> {
        for line in &record.ledger {
            let iteration = self.iterations + line.iteration;
            if self.k_changes.last().is_none_or(|last| last.k != line.k) {
                self.k_changes.push(KChange {
                    iteration,
                    k: line.k,
                });
            }
            if let Some(rows) = line.corrected {
                *self.corrected.get_or_insert(0) += rows;
            }
            let buckets = line.ages.as_ref().map_or(&[][..], |ages| ages.buckets());
            if self.ages.len() < buckets.len() {
                self.ages.resize(buckets.len(), 0);
            }
            for (all, rows) in self.ages.iter_mut().zip(buckets) {
                *all += rows;
            }
        }
        self.iterations += record.ledger.len();
        self.loss_curve.extend(tenths(&self.losses));
        let now = in_flight(&record.spans);
        self.in_flight.iterations = self.in_flight.iterations.max(now.iterations);
        self.in_flight.bytes = self.in_flight.bytes.max(now.bytes);
        self.in_flight.largest = self.in_flight.largest.max(now.largest);
        self.folder.write_timeline(record, &self.title)?;
        let mut lines = Vec::new();
        ledger::write(&record.ledger, &mut lines)?;
        self.ledger.write(&lines)
    }
}

/// Means of consecutive tenths; fewer where there are fewer than ten.
fn tenths(losses: &[f32]) -> Vec<f64> {
    let points = CURVE_POINTS.min(losses.len());
    (0..points)
        .map(|point| {
            let part = &losses[point * losses.len() / points..(point + 1) * losses.len() / points];
            part.iter().map(|&loss| f64::from(loss)).sum::<f64>() / part.len() as f64
        })
        .collect()
}

/// What is under way at once, at most: an iteration is, with all bytes that it moves, from the
/// beginning of its first step to the end of its last one.
fn in_flight(spans: &[Span]) -> InFlight {
    let mut iterations: Vec<(std::time::Duration, std::time::Duration, u64)> = Vec::new();
    for span in spans {
        if iterations.len() <= span.iteration {
            let none = (std::time::Duration::MAX, std::time::Duration::ZERO, 0);
            iterations.resize(span.iteration + 1, none);
        }
        let (begin, end, bytes) = &mut iterations[span.iteration];
        *begin = span.begin.min(*begin);
        *end = span.end.max(*end);
        *bytes += span.bytes;
    }
    let mut most = InFlight {
        largest: iterations
            .iter()
            .map(|(.., bytes)| *bytes)
            .max()
            .unwrap_or(0),
        ..InFlight::default()
    };
    for &(now, ..) in iterations.iter().filter(|(begin, end, _)| begin < end) {
        let under_way = iterations
            .iter()
            .filter(|(begin, end, _)| *begin <= now && now < *end);
        let (count, bytes) = under_way.fold((0, 0), |(count, all), (_, _, bytes)| {
            (count + 1, all + bytes)
        });
        most.iterations = most.iterations.max(count);
        most.bytes = most.bytes.max(bytes);
    }
    most
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mspipe::pipeline::step::{Lane, Step};

    use super::*;

    #[test]
    fn a_curve_has_ten_points_or_one_an_iteration() {
        let losses: Vec<f32> = (0..20).map(|loss| loss as f32).collect();
        let curve = tenths(&losses);
        assert_eq!(curve.len(), CURVE_POINTS);
        assert_eq!((curve[0], curve[9]), (0.5, 18.5));
        assert_eq!(tenths(&losses[..3]), [0.0, 1.0, 2.0]);
        assert!(tenths(&[]).is_empty());
    }

    #[test]
    fn what_is_under_way_at_once_is_counted() {
        let span = |iteration, begin, end, bytes| Span {
            lane: Lane::Device,
            step: Step::Train,
            iteration,
            begin: Duration::from_millis(begin),
            end: Duration::from_millis(end),
            bytes,
        };
        let apart = in_flight(&[span(0, 0, 5, 10), span(1, 5, 9, 20)]);
        assert_eq!((apart.iterations, apart.bytes), (1, 20));
        let spans = [
            span(0, 0, 2, 10),
            span(1, 1, 3, 20),
            span(0, 4, 5, 1),
            span(2, 4, 6, 5),
        ];
        let most = in_flight(&spans);
        assert_eq!((most.iterations, most.bytes, most.largest), (2, 31, 20));
        assert_eq!(in_flight(&[]), InFlight::default());
    }
}
