//! Arms against the first one, and what they hold in memory.

use mspipe::report::chart::{Bars, Size, thousands};
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome, distinct, find_arm};
use super::super::wording::{ap_difference, from_to};
use crate::schedules::or_dash;

/// A table for each stream and variant, and bars of what each arm changes.
pub(super) fn arms(experiment: &Experiment) -> Vec<Block> {
    let first = experiment.first_arm();
    let link = experiment.emulated_note();
    let all = experiment.series();
    let bars = |title: String, y_name: String, value: fn(&Outcome, &[&Outcome]) -> Option<f64>| {
        let of_arm = |arm: usize| {
            let of = |series: &Vec<&Outcome>| value(find_arm(series, arm)?, series);
            all.iter().map(of).collect()
        };
        Bars {
            title,
            y_name,
            groups: experiment.arm_names(),
            series: all
                .iter()
                .map(|series| series[0].title())
                .zip(1..)
                .collect(),
            values: (0..experiment.recipe.arms.len()).map(of_arm).collect(),
            size: Size::Wide,
            ..Bars::default()
        }
    };
    let speed = Bars {
        reference: Some(1.0),
        decimals: Some(2),
        ..bars(
            format!("Speed-up over '{first}'{link}"),
            format!("training events per second, times those of '{first}'"),
            |outcome, _| outcome.row.speed_up,
        )
    };
    let accuracy = Bars {
        decimals: Some(3),
        ..bars(
            format!("Test AP minus that of '{first}'{link}"),
            "difference in test AP".to_owned(),
            |outcome, series| Some(outcome.ap_over(find_arm(series, 0)?)),
        )
    };
    let figures = vec![
        speed.figure(""),
        accuracy.figure("0: the same AP, to the last bit."),
    ];
    let tables = all.iter().map(|series| Block::Table(table(first, series)));
    [Block::Figures(figures)]
        .into_iter()
        .chain(tables)
        .collect()
}

/// The arms of one stream and variant.
fn table(first: &str, series: &[&Outcome]) -> Table {
    let mut table = Table::new(
        &format!("{}; differences are from '{first}'", series[0].title()),
        &["arm"],
        &[
            "events/s",
            "speed-up",
            "k",
            "stall",
            "test AP",
            "AP difference",
        ],
    );
    let base = find_arm(series, 0);
    let row = |outcome: &&Outcome| {
        let row = &outcome.row;
        let difference = base.map(|base| ap_difference(outcome.ap_over(base)));
        vec![
            outcome.labelled_arm(),
            thousands(row.events_per_s),
            row.speed_up_text(),
            row.k_text(),
            row.stall_text(),
            row.test_ap.to_string(),
            or_dash(difference),
        ]
    };
    table.rows = series.iter().map(row).collect();
    table
}

/// Which arms have the AP of the first one.
pub(super) fn arms_seen(experiment: &Experiment) -> Option<String> {
    let arms = &experiment.recipe.arms;
    let all = experiment.series();
    let same = |arm: &usize| {
        all.iter().all(|series| {
            let pair = find_arm(series, 0).zip(find_arm(series, *arm));
            pair.is_some_and(|(base, outcome)| outcome.ap_over(base) == 0.0)
        })
    };
    let names: Vec<String> = (1..arms.len())
        .filter(same)
        .map(|arm| format!("'{}'", arms[arm].0))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "the same test AP as '{}', to the last bit, is that of {}",
            experiment.first_arm(),
            names.join(", ")
        )
    })
}

/// Megabytes under way at once, at most.
fn megabytes(outcome: &Outcome) -> f64 {
    let bytes = outcome.cells.iter().map(|cell| cell.in_flight.bytes);
    bytes.max().unwrap_or(0) as f64 / 1e6
}

/// The range of the megabytes under way.
pub(super) fn in_flight_seen(experiment: &Experiment) -> String {
    let all: Vec<f64> = experiment.outcomes.iter().map(megabytes).collect();
    let range = from_to(&all, |megabytes| format!("{megabytes:.1}"));
    format!("the iterations in flight hold at most {range} MB")
}

/// Bytes and iterations under way at once, at most, and as many bytes per iteration.
pub(super) fn in_flight(experiment: &Experiment) -> Vec<Block> {
    let mut table = Table::new(
        "In flight at once, at most: from the beginning of an iteration's first step to the end of \
         its last one; bytes are those of its features, memory rows, mail and updated rows. One \
         iteration alone is what sequential holds",
        &["stream", "setting", "arm"],
        &["iterations", "MB", "MB of one iteration"],
    );
    for outcome in &experiment.outcomes {
        let most = outcome.cells.iter().map(|cell| cell.in_flight);
        let iterations = most.clone().map(|most| most.iterations).max();
        let largest = most.map(|most| most.largest).max().unwrap_or(0);
        let mut row = outcome.names();
        row.extend([
            iterations.unwrap_or(0).to_string(),
            format!("{:.2}", megabytes(outcome)),
            format!("{:.2}", largest as f64 / 1e6),
        ]);
        table.rows.push(row);
    }
    let titles = distinct(experiment.outcomes.iter().map(Outcome::title));
    let of_arm = |arm: usize| {
        let of = |title: &String| {
            let is = |o: &&Outcome| o.arm_number == arm && o.title() == *title;
            experiment.outcomes.iter().find(is).map(megabytes)
        };
        titles.iter().map(of).collect()
    };
    let bars = Bars {
        title: "Memory held by the iterations in flight".to_owned(),
        y_name: "MB".to_owned(),
        groups: experiment.arm_names(),
        series: titles.iter().cloned().zip(1..).collect(),
        values: (0..experiment.recipe.arms.len()).map(of_arm).collect(),
        size: Size::Wide,
        ..Bars::default()
    };
    let caption = "In addition to node memory and mailboxes, which every schedule needs.";
    vec![
        Block::Figures(vec![bars.figure(caption)]),
        Block::Table(table),
    ]
}
