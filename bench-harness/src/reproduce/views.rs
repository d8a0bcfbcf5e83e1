//! How the outcomes of an experiment are shown: tables and charts for each kind of question.

mod arms;
mod chosen;
mod course;
mod frontier;
mod gradients;
mod speed;
mod stages;
mod sweep;

use mspipe::report::Block;

use super::experiment::Experiment;
use super::recipe::View;

/// What `view` shows of an experiment with at least one outcome.
pub(super) fn show(view: &View, experiment: &Experiment) -> Vec<Block> {
    match view {
        View::Speed => speed::speed(experiment),
        View::TradeOff => speed::trade_off(experiment),
        View::Stages => stages::stages(experiment),
        View::Timeline => course::timeline(experiment),
        View::KOverTime => course::k_over_time(experiment),
        View::Convergence => course::convergence(experiment),
        View::Gradients => gradients::gradients(experiment),
        View::Ages => course::ages(experiment),
        View::Sweep(setting) => sweep::sweep(experiment, setting),
        View::Chosen(setting) => chosen::chosen(experiment, setting),
        View::Arms => arms::arms(experiment),
        View::InFlight => arms::in_flight(experiment),
        View::Frontier => frontier::frontier(experiment),
    }
}

/// What `view` shows, in words; `None` where tables and charts say it better.
pub(super) fn seen(view: &View, experiment: &Experiment) -> Option<String> {
    match view {
        View::Speed => speed::speed_seen(experiment),
        View::Stages => Some(stages::stages_seen(experiment)),
        View::KOverTime => course::k_seen(experiment),
        View::Convergence => course::convergence_seen(experiment),
        View::Arms => arms::arms_seen(experiment),
        View::InFlight => Some(arms::in_flight_seen(experiment)),
        View::Frontier => frontier::frontier_seen(experiment),
        View::Gradients => gradients::gradients_seen(experiment),
        View::Chosen(setting) => chosen::chosen_seen(experiment, setting),
        View::TradeOff | View::Timeline | View::Sweep(_) | View::Ages => None,
    }
}
