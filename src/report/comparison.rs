//! The page of several runs: what each is worth, how their settings differ, and their curves over one
//! another.

use super::chart::{COLORS, Lines, Point, Series, thousands};
use super::run::thinned;
use super::{Block, Document, Figure, Section, Table};

/// A run as the page shows it.
#[derive(Debug, Clone, Default)]
pub struct RunOfPage {
    /// What it is called.
    pub name: String,
    /// How far it is.
    pub state: String,
    /// Whether its stream was generated.
    pub is_synthetic: bool,
    /// The settings that differ, in one order for all runs.
    pub settings: Vec<String>,
    /// The measure that chooses its best epoch.
    pub measure: String,
    /// That measure after each epoch.
    pub validations: Vec<f64>,
    /// The loss of each iteration.
    pub losses: Vec<f64>,
    /// The best epoch, from 1, and the measure of its validation.
    pub best: Option<(usize, f64)>,
    /// The measure of the test.
    pub test: Option<f64>,
    /// AP of the test.
    pub test_ap: Option<f64>,
    /// AUC of the test.
    pub test_auc: Option<f64>,
    /// Training events per second.
    pub events_per_s: Option<f64>,
}

/// The page of `runs`, whose settings differ in `differing`; `incomparable` are what keeps their numbers
/// from being compared.
pub fn document(
    title: &str,
    runs: &[RunOfPage],
    differing: &[String],
    incomparable: &[String],
) -> Document {
    let mut lead = Vec::new();
    if runs.iter().any(|run| run.is_synthetic) {
        let text = "A stream of these runs is SYNTHETIC: generated, not observed. Its numbers say nothing \
                    about the real data set.";
        lead.push(Block::Note(text.to_owned()));
    }
    if !incomparable.is_empty() {
        lead.push(Block::Note(format!(
            "These runs are measured differently ({}): their numbers can't be compared.",
            incomparable.join(", ")
        )));
    }
    let mut sections = vec![Section {
        title: "Results".to_owned(),
        blocks: vec![Block::Table(results(runs))],
    }];
    if !differing.is_empty() {
        sections.push(Section {
            title: "Settings that differ".to_owned(),
            blocks: vec![Block::Table(settings(runs, differing))],
        });
    }
    let charts = charts(runs);
    if !charts.is_empty() {
        sections.push(Section {
            title: "Course of the runs".to_owned(),
            blocks: vec![Block::Figures(charts)],
        });
    }
    Document {
        title: title.to_owned(),
        lead,
        sections,
    }
}

fn four(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

fn results(runs: &[RunOfPage]) -> Table {
    let mut table = Table::new(
        "The epoch that is best on validation, by the measure that chooses it, and its test",
        &["run", "state", "measure"],
        &[
            "best epoch",
            "validation",
            "test",
            "test AP",
            "test AUC",
            "events/s",
        ],
    );
    for run in runs {
        let (epoch, value) = run.best.unzip();
        table.rows.push(vec![
            run.name.clone(),
            run.state.clone(),
            run.measure.clone(),
            epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
            four(value),
            four(run.test),
            four(run.test_ap),
            four(run.test_auc),
            run.events_per_s.map_or_else(|| "-".to_owned(), thousands),
        ]);
    }
    table
}

fn settings(runs: &[RunOfPage], differing: &[String]) -> Table {
    let names: Vec<&str> = differing.iter().map(String::as_str).collect();
    let mut table = Table::new(
        "All other settings are the same, but for folders and what changes no number",
        &[&["run"], &names[..]].concat(),
        &[],
    );
    for run in runs {
        let mut row = vec![run.name.clone()];
        row.extend(run.settings.iter().cloned());
        table.rows.push(row);
    }
    table
}

/// The curves that have more than one point.
fn charts(runs: &[RunOfPage]) -> Vec<Figure> {
    let series = |points: &dyn Fn(&RunOfPage) -> Vec<Point>| -> Vec<Series> {
        let all = runs.iter().enumerate().map(|(nth, run)| Series {
            name: run.name.clone(),
            // The first colour is a grey.
            color: 1 + nth % (COLORS - 1),
            points: points(run),
        });
        all.filter(|series| series.points.len() > 1).collect()
    };
    let by_epoch = |run: &RunOfPage| {
        let all = run.validations.iter().enumerate();
        let point = |(nth, y): (usize, &f64)| Point {
            x: (nth + 1) as f64,
            y: *y,
            deviation: None,
        };
        all.map(point).collect()
    };
    let mut measures: Vec<&str> = runs.iter().map(|run| run.measure.as_str()).collect();
    measures.dedup();
    let measure = measures.join(", ");
    let chart = |title: &str, x_name: &str, y_name: &str, series| Lines {
        title: title.to_owned(),
        x_name: x_name.to_owned(),
        y_name: y_name.to_owned(),
        series,
        whole: (true, false),
        ..Lines::default()
    };
    let validation = chart("Validation", "epoch", &measure, series(&by_epoch));
    let loss = chart(
        "Training loss",
        "iteration",
        "loss",
        series(&|run: &RunOfPage| thinned(&run.losses)),
    );
    let says = |runs: usize| match runs {
        1.. if runs >= COLORS => "Colours repeat after nine runs.",
        _ => "",
    };
    [validation, loss]
        .into_iter()
        .filter(|chart| !chart.series.is_empty())
        .map(|chart| chart.figure(says(chart.series.len())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, validations: &[f64]) -> RunOfPage {
        RunOfPage {
            name: name.to_owned(),
            settings: vec![name.len().to_string()],
            measure: "AP".to_owned(),
            validations: validations.to_vec(),
            losses: vec![0.7, 0.6, 0.5],
            best: Some((1, 0.5)),
            ..RunOfPage::default()
        }
    }

    #[test]
    fn curves_lie_over_one_another() {
        let runs = [run("a", &[0.5, 0.75]), run("bc", &[0.25, 0.5])];
        let page = document("Two", &runs, &["width".to_owned()], &[]).to_html();
        // A line a run in each of the two charts.
        assert_eq!(page.matches("<path").count(), 4, "{page}");
        assert!(page.contains("<td>bc</td><td>2</td>"), "{page}");
        assert!(!page.contains("can't be compared"));
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let mut one = run("a", &[0.5]);
        one.losses = vec![0.7];
        let page = document("One", &[one], &[], &["protocol".to_owned()]).to_html();
        assert!(!page.contains("<svg") && !page.contains("Settings that differ"));
        assert!(page.contains("(protocol): their numbers can't be compared"));
    }
}
