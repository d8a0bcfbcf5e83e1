//! Speed-up, accuracy against speed, and where an iteration's time goes.

use mspipe::pipeline::Stage;
use mspipe::report::chart::{Bars, Join, Lines, Point, Series, Size, Stacks, thousands};
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome, distinct};
use super::{half, of_series, or_dash, wide};
use crate::cell::Cell;

/// Bars of the speed-up for each variant, tables of speed-up and AP, and one of everything.
pub(super) fn speed(experiment: &Experiment) -> Vec<Block> {
    let arms = arms(experiment);
    let streams = experiment.streams();
    let first = &experiment.recipe.arms[0].0;
    let mut figures = Vec::new();
    for variant in distinct(experiment.outcomes.iter().map(|o| o.variant.as_str())) {
        let value = |stream: &&str| -> Vec<Option<f64>> {
            let find = |(_, arm): &(String, usize)| {
                experiment
                    .outcomes
                    .iter()
                    .find(|o| o.stream == *stream && o.variant == variant && o.color == *arm)
                    .and_then(|outcome| outcome.row.speed_up)
            };
            arms.iter().map(find).collect()
        };
        let title = match variant {
            "" => "Speed-up".to_owned(),
            variant => format!("Speed-up: {variant}"),
        };
        let bars = Bars {
            title,
            y_name: format!("times {first}"),
            groups: streams.iter().map(|stream| (*stream).to_owned()).collect(),
            series: arms.clone(),
            values: streams.iter().map(value).collect(),
            reference: Some(1.0),
            size: Size::Wide,
            ..Bars::default()
        };
        let caption = format!(
            "Training events a second over those of {first}{}.",
            emulated_note(experiment)
        );
        figures.push(wide(bars.svg(), caption));
    }
    vec![
        Block::Figures(figures),
        Block::Table(by_arm(
            experiment,
            "Speed-up over the first arm",
            |outcome| or_dash(outcome.row.speed_up.map(|factor| format!("{factor:.2}"))),
        )),
        Block::Table(by_arm(
            experiment,
            "Pooled AP of the test part, mean ± standard deviation over seeds",
            |outcome| outcome.row.test_ap.to_string(),
        )),
        Block::Folded(
            "All numbers".to_owned(),
            vec![Block::Table(everything(experiment))],
        ),
    ]
}

fn emulated_note(experiment: &Experiment) -> String {
    let label = experiment
        .outcomes
        .iter()
        .find_map(|o| o.row.emulated.clone());
    label.map_or_else(String::new, |label| format!(", {label}"))
}

fn arms(experiment: &Experiment) -> Vec<(String, usize)> {
    let arms = experiment.recipe.arms.iter().enumerate();
    arms.map(|(color, (name, _))| (name.clone(), color))
        .collect()
}

/// A row a stream and variant, a column an arm.
fn by_arm(experiment: &Experiment, caption: &str, text: impl Fn(&Outcome) -> String) -> Table {
    let arms = arms(experiment);
    let names: Vec<&str> = arms.iter().map(|(name, _)| name.as_str()).collect();
    let mut table = Table::new(caption, &["stream", "setting"], &names);
    for series in experiment.series() {
        let cell = |(_, arm): &(String, usize)| {
            or_dash(
                series
                    .iter()
                    .find(|o| o.color == *arm)
                    .map(|outcome| text(outcome)),
            )
        };
        let mut row = vec![series[0].stream.clone(), series[0].variant.clone()];
        row.extend(arms.iter().map(cell));
        table.rows.push(row);
    }
    table
}

/// Every number of the table that `mspipe-bench schedules` prints.
fn everything(experiment: &Experiment) -> Table {
    let mut table = Table::new(
        "events/s: median over epochs but the first, and over seeds; / G: divided by the GFLOP/s of \
         a matrix product at that time; k: the most frequent staleness; stall: share of training \
         time that the device thread waited for its input",
        &["stream", "setting", "arm"],
        &[
            "events/s",
            "/ G",
            "speed-up",
            "k",
            "stall",
            "in train",
            "test AP",
            "AP, other negatives",
            "EdgeBank",
        ],
    );
    for outcome in &experiment.outcomes {
        let row = &outcome.row;
        let percent = |share: f64| format!("{share:.1} %");
        let arm = match &row.emulated {
            Some(label) => format!("{} ({label})", outcome.arm),
            None => outcome.arm.clone(),
        };
        table.rows.push(vec![
            outcome.stream.clone(),
            outcome.variant.clone(),
            arm,
            thousands(row.events_per_s),
            format!("{:.1}", row.ratio),
            or_dash(row.speed_up.map(|factor| format!("{factor:.2}"))),
            format!("{} ({:.0} %)", row.k, row.k_percent),
            or_dash(row.stall_percent.map(percent)),
            percent(row.train_percent),
            row.test_ap.to_string(),
            outcome.test_ap_other_pool.to_string(),
            format!("{:.4}", outcome.edgebank_ap),
        ]);
    }
    table
}

/// A chart of points for each stream and variant. Where memory lies changes no AP, so that one
/// place is enough.
pub(super) fn trade_off(experiment: &Experiment) -> Vec<Block> {
    let mut figures = Vec::new();
    for series in experiment.series() {
        let in_ram = |series: &[&Outcome]| series[0].variant.contains("memory host");
        let other = series[0].variant.contains("memory device");
        if other && experiment.series().iter().any(|series| in_ram(series)) {
            continue;
        }
        let point = |outcome: &&Outcome| Series {
            name: outcome.arm.clone(),
            color: outcome.color,
            points: vec![Point {
                x: outcome.row.events_per_s,
                y: outcome.row.test_ap.mean,
                deviation: outcome.row.test_ap.deviation,
            }],
        };
        let chart = Lines {
            title: of_series(series[0]),
            x_name: "training events a second".to_owned(),
            y_name: "test AP".to_owned(),
            series: series.iter().map(point).collect(),
            join: Join::Apart,
            ..Lines::default()
        };
        let caption = format!(
            "Test AP against speed. EdgeBank, which learns nothing: {:.3}.",
            series[0].edgebank_ap
        );
        figures.push(half(chart.svg(), caption));
    }
    vec![Block::Figures(figures)]
}

/// Milliseconds of an iteration in each stage.
fn stage_ms(cells: &[Cell]) -> Vec<f64> {
    let iterations: usize = cells
        .iter()
        .flat_map(|c| &c.staleness)
        .map(|(_, count)| count)
        .sum();
    let ms = |stage: Stage| {
        let seconds: f64 = cells.iter().map(|cell| cell.seconds_in(stage)).sum();
        1e3 * seconds / iterations.max(1) as f64
    };
    Stage::ALL.map(ms).to_vec()
}

/// Stacks of the stages, one chart a model, and a table of their times.
pub(super) fn stages(experiment: &Experiment) -> Vec<Block> {
    let names = Stage::ALL.map(Stage::name);
    let parts = names.map(str::to_owned).to_vec();
    let mut table = Table::new(
        "Milliseconds of an iteration in each stage, mean over the training",
        &["stream", "setting", "arm"],
        &[&names[..], &["sum"]].concat(),
    );
    for outcome in &experiment.outcomes {
        let ms = stage_ms(&outcome.cells);
        let mut row = vec![
            outcome.stream.clone(),
            outcome.variant.clone(),
            outcome.arm.clone(),
        ];
        row.extend(
            ms.iter()
                .chain([&ms.iter().sum()])
                .map(|ms| format!("{ms:.2}")),
        );
        table.rows.push(row);
    }
    let model = |outcome: &Outcome| outcome.cells[0].config.model.to_string();
    let mut figures = Vec::new();
    for name in distinct(experiment.outcomes.iter().map(model)) {
        let of_model = experiment
            .outcomes
            .iter()
            .filter(|outcome| model(outcome) == name);
        let row = |outcome: &Outcome| {
            let place = outcome.variant.trim_start_matches(&format!("{name}, "));
            (
                format!("{}, {place}", outcome.stream),
                stage_ms(&outcome.cells),
            )
        };
        let stacks = Stacks {
            title: format!("Stages of an iteration: {name}"),
            parts: parts.clone(),
            rows: of_model.map(row).collect(),
            unit: "ms".to_owned(),
            size: Size::Wide,
        };
        let caption = "One stage after the other; the whole on the right.".to_owned();
        figures.push(wide(stacks.svg(), caption));
    }
    vec![Block::Figures(figures), Block::Table(table)]
}
