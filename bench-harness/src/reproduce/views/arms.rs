//! Arms against the first one, and what they hold in memory.

use mspipe::report::chart::{Bars, Size, thousands};
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome, distinct};
use super::{ap_difference, emulated_note, from_to, of_series, or_dash, wide};

/// A table for each stream and variant, and bars of what each arm changes.
pub(super) fn arms(experiment: &Experiment) -> Vec<Block> {
    let first = &experiment.recipe.arms[0].0;
    let mut blocks = Vec::new();
    for series in experiment.series() {
        let base = series.iter().find(|outcome| outcome.color == 0);
        let mut table = Table::new(
            &format!("{}; differences are from '{first}'", of_series(series[0])),
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
        for outcome in &series {
            let row = &outcome.row;
            let label = row
                .emulated
                .as_ref()
                .map_or_else(String::new, |label| format!(" ({label})"));
            let difference = base.map(|base| difference(base, outcome));
            table.rows.push(vec![
                outcome.arm.clone() + &label,
                thousands(row.events_per_s),
                or_dash(row.speed_up.map(|factor| format!("{factor:.2}"))),
                format!("{} ({:.0} %)", row.k, row.k_percent),
                or_dash(row.stall_percent.map(|share| format!("{share:.1} %"))),
                row.test_ap.to_string(),
                or_dash(difference.map(ap_difference)),
            ]);
        }
        blocks.push(Block::Table(table));
    }
    let series = experiment.series();
    let names = series
        .iter()
        .enumerate()
        .map(|(nth, series)| (of_series(series[0]), nth + 1));
    let bars = |title: &str, y_name: &str, value: &dyn Fn(&Outcome, &[&Outcome]) -> Option<f64>| {
        let groups = experiment.recipe.arms.iter().map(|(name, _)| name.clone());
        let of_arm = |arm: usize| -> Vec<Option<f64>> {
            let of = |series: &Vec<&Outcome>| {
                let outcome = series.iter().find(|outcome| outcome.color == arm)?;
                value(outcome, series)
            };
            series.iter().map(of).collect()
        };
        Bars {
            title: title.to_owned(),
            y_name: y_name.to_owned(),
            groups: groups.collect(),
            series: names.clone().collect(),
            values: (0..experiment.recipe.arms.len()).map(of_arm).collect(),
            size: Size::Wide,
            ..Bars::default()
        }
    };
    let link = emulated_note(experiment);
    let mut speed = bars(
        &format!("Speed-up over '{first}'{link}"),
        &format!("training events a second, times those of '{first}'"),
        &|outcome, _| outcome.row.speed_up,
    );
    speed.reference = Some(1.0);
    speed.decimals = Some(2);
    let title = format!("Test AP minus that of '{first}'{link}");
    let mut accuracy = bars(&title, "difference in test AP", &|outcome, series| {
        let base = series.iter().find(|outcome| outcome.color == 0)?;
        Some(difference(base, outcome))
    });
    accuracy.decimals = Some(3);
    blocks.insert(
        0,
        Block::Figures(vec![
            wide(&speed.title, speed.svg(), String::new()),
            wide(
                &accuracy.title,
                accuracy.svg(),
                "0: the same AP, to the last bit.".to_owned(),
            ),
        ]),
    );
    blocks
}

/// Which arms have the AP of the first one.
pub(super) fn arms_seen(experiment: &Experiment) -> Option<String> {
    let arms = &experiment.recipe.arms;
    let series = experiment.series();
    let same = |arm: usize| {
        series.iter().all(|series| {
            let of = |number| series.iter().find(|outcome| outcome.color == number);
            let pair = of(0).zip(of(arm));
            pair.is_some_and(|(base, outcome)| difference(base, outcome) == 0.0)
        })
    };
    let names: Vec<String> = (1..arms.len())
        .filter(|arm| same(*arm))
        .map(|arm| format!("'{}'", arms[arm].0))
        .collect();
    let first = &arms[0].0;
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!("the same test AP as '{first}', to the last bit, is that of {names}")
    })
}

fn difference(base: &Outcome, outcome: &Outcome) -> f64 {
    outcome.row.test_ap.mean - base.row.test_ap.mean
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
    format!("the iterations under way hold {range} MB at most")
}

/// Bytes and iterations under way at once, at most, and as many bytes an iteration.
pub(super) fn in_flight(experiment: &Experiment) -> Vec<Block> {
    let mut table = Table::new(
        "Under way at once, at most: from the beginning of an iteration's first step to the end of \
         its last one; bytes are those of its features, memory rows, mails and updated rows. One \
         iteration alone is what sequential holds",
        &["stream", "setting", "arm"],
        &["iterations", "MB", "MB of one iteration"],
    );
    for outcome in &experiment.outcomes {
        let iterations = outcome
            .cells
            .iter()
            .map(|cell| cell.in_flight.iterations)
            .max();
        let largest = outcome
            .cells
            .iter()
            .map(|cell| cell.in_flight.largest)
            .max();
        let largest = largest.unwrap_or(0);
        table.rows.push(vec![
            outcome.stream.clone(),
            outcome.variant.clone(),
            outcome.arm.clone(),
            iterations.unwrap_or(0).to_string(),
            format!("{:.2}", megabytes(outcome)),
            format!("{:.2}", largest as f64 / 1e6),
        ]);
    }
    let variants = distinct(experiment.outcomes.iter().map(of_series));
    let value = |(arm, _): (usize, &(String, String))| -> Vec<Option<f64>> {
        let of = |variant: &String| {
            let is = |o: &&Outcome| o.color == arm && of_series(o) == *variant;
            experiment.outcomes.iter().find(is).map(megabytes)
        };
        variants.iter().map(of).collect()
    };
    let bars = Bars {
        title: "Memory that the iterations under way hold".to_owned(),
        y_name: "MB".to_owned(),
        groups: experiment
            .recipe
            .arms
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        series: variants.iter().cloned().zip(1..).collect(),
        values: experiment
            .recipe
            .arms
            .iter()
            .enumerate()
            .map(value)
            .collect(),
        size: Size::Wide,
        ..Bars::default()
    };
    let caption = "Beside node memory and mailboxes, which every schedule needs.".to_owned();
    vec![
        Block::Figures(vec![wide(&bars.title, bars.svg(), caption)]),
        Block::Table(table),
    ]
}
