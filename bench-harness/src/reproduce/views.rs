//! How the outcomes of an experiment are shown: tables and charts for each kind of question.

mod arms;
mod course;
mod speed;
mod sweep;

use mspipe::report::{Block, Figure};

use super::experiment::{Experiment, Outcome};
use super::recipe::View;

/// What `view` shows of an experiment with at least one outcome.
pub(super) fn show(view: &View, experiment: &Experiment) -> Vec<Block> {
    match view {
        View::Speed => speed::speed(experiment),
        View::TradeOff => speed::trade_off(experiment),
        View::Stages => speed::stages(experiment),
        View::Timeline => course::timeline(experiment),
        View::KOverTime => course::k_over_time(experiment),
        View::Convergence => course::convergence(experiment),
        View::Ages => course::ages(experiment),
        View::Sweep(setting) => sweep::sweep(experiment, setting),
        View::Arms => arms::arms(experiment),
        View::InFlight => arms::in_flight(experiment),
    }
}

/// What outcomes belong to: their stream and variant.
fn of_series(outcome: &Outcome) -> String {
    match outcome.variant.as_str() {
        "" => outcome.stream.clone(),
        variant => format!("{}, {variant}", outcome.stream),
    }
}

/// What `view` shows, in words; `None` where tables and charts say it better.
pub(super) fn seen(view: &View, experiment: &Experiment) -> Option<String> {
    match view {
        View::Speed => speed::speed_seen(experiment),
        View::Stages => Some(speed::stages_seen(experiment)),
        View::KOverTime => course::k_seen(experiment),
        View::Convergence => course::convergence_seen(experiment),
        View::Arms => arms::arms_seen(experiment),
        View::InFlight => Some(arms::in_flight_seen(experiment)),
        View::TradeOff | View::Timeline | View::Sweep(_) | View::Ages => None,
    }
}

/// The smallest and the largest of `values`, in words.
pub(super) fn from_to(values: &[f64], text: impl Fn(f64) -> String) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match (text(least), text(most)) {
        (least, most) if least == most => least,
        (least, most) => format!("{least} to {most}"),
    }
}

/// How many of these outcomes are of generated streams, in words.
pub(super) fn of_them_synthetic<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    match outcomes.filter(|o| o.cells[0].context.synthetic).count() {
        0 => String::new(),
        count => format!(" ({count} of them SYNTHETIC)"),
    }
}

/// A difference of AP; `same` where there is none, not in the last bit.
pub(super) fn ap_difference(difference: f64) -> String {
    match difference {
        0.0 => "same".to_owned(),
        other => format!("{other:+.4}"),
    }
}

/// Colours of the arms that several recipes have, so that each has the same one everywhere.
const ARMS: [&str; 10] = [
    "sequential",
    "prefetch",
    "staleness:2",
    "staleness:3",
    "staleness:5",
    "staleness:10",
    "mspipe",
    "mspipe + mitigation",
    "exact-overlap",
    "auto",
];

/// Number of the colour of an arm by its name; `number` for any other.
fn color_of(name: &str, number: usize) -> usize {
    let known = ARMS.iter().position(|arm| *arm == name);
    known.unwrap_or(number)
}

/// `, EMULATED link …` where there was one.
fn emulated_note(experiment: &Experiment) -> String {
    let label = experiment.emulated();
    label.map_or_else(String::new, |label| format!(", {label}"))
}

/// Figures of which some are shown and the others opened under a title of `others`.
fn shown_and_folded(shown: Vec<Figure>, folded: Vec<Figure>, others: &str) -> Vec<Block> {
    let mut blocks = vec![Block::Figures(shown)];
    if !folded.is_empty() {
        let title = format!("{others}: {} charts", folded.len());
        blocks.push(Block::Folded(title, vec![Block::Figures(folded)]));
    }
    blocks
}

fn half(title: &str, svg: String, caption: String) -> Figure {
    Figure {
        title: title.to_owned(),
        caption,
        svg,
        wide: false,
    }
}

fn wide(title: &str, svg: String, caption: String) -> Figure {
    Figure {
        title: title.to_owned(),
        caption,
        svg,
        wide: true,
    }
}

/// `-` where there is nothing.
fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}
