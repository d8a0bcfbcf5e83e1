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

fn half(svg: String, caption: String) -> Figure {
    Figure {
        caption,
        svg,
        wide: false,
    }
}

fn wide(svg: String, caption: String) -> Figure {
    Figure {
        caption,
        svg,
        wide: true,
    }
}

/// `-` where there is nothing.
fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}
