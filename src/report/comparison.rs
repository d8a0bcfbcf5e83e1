//! The page of several runs: what each is worth, how their settings differ, and their curves over one
//! another.

use super::chart::{DISTINCT, Lines, Point, Series, apart, thousands};
use super::run::thinned;
use super::{Block, Document, Figure, Section, Table};
use crate::numbers;

/// Runs whose numbers are of one kind.
#[derive(Debug, Clone, Default)]
pub struct GroupOfPage {
    /// What they do.
    pub title: String,
    /// The runs.
    pub runs: Vec<RunOfPage>,
    /// The settings in which they differ.
    pub differing: Vec<String>,
    /// What keeps their numbers from being compared.
    pub incomparable: Vec<String>,
    /// The name of the run that was chosen by validation, if one was: the test is of that one alone.
    pub chosen: Option<String>,
    /// What each of their losses is of.
    pub losses_of: &'static str,
}

/// A run as the page shows it.
#[derive(Debug, Clone, Default)]
pub struct RunOfPage {
    /// What it is called.
    pub name: String,
    /// How far it is.
    pub state: String,
    /// Whether its stream was generated.
    pub is_synthetic: bool,
    /// Whether its times are of an adapter or a bus that was emulated.
    pub is_emulated: bool,
    /// The settings that differ, in one order for all runs.
    pub settings: Vec<String>,
    /// The measure that chooses its best epoch.
    pub measure: String,
    /// That measure after each epoch.
    pub validations: Vec<f64>,
    /// The loss of each iteration, or of each epoch: [`GroupOfPage::losses_of`].
    pub losses: Vec<f64>,
    /// Why it gave nothing.
    pub failed: Option<String>,
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

/// The page of runs; those of one group alone are compared.
pub fn document(title: &str, groups: &[GroupOfPage]) -> Document {
    let mut lead = Vec::new();
    let any = |is: fn(&RunOfPage) -> bool| groups.iter().flat_map(|group| &group.runs).any(is);
    if any(|run| run.is_synthetic) {
        let text = "A stream of these runs is SYNTHETIC: generated, not observed. Its numbers say nothing \
                    about the real data set.";
        lead.push(Block::Note(text.to_owned()));
    }
    if any(|run| run.is_emulated) {
        let text = "The GPU or the bus of the runs that are marked so is EMULATED: their events/s are not those of real \
                    hardware, and can't be compared with those of other runs.";
        lead.push(Block::Note(text.to_owned()));
    }
    let mut sections = Vec::new();
    for group in groups {
        let title = |title: &str| match groups.len() {
            1 => title.to_owned(),
            _ => format!("{}: {title}", group.title),
        };
        let mut blocks: Vec<Block> = notes(group).into_iter().map(Block::Note).collect();
        blocks.extend([Block::Table(results(group))]);
        blocks.extend(failed(&group.runs));
        let mut section = |title: String, blocks| sections.push(Section { title, blocks });
        section(title("Results"), blocks);
        if !group.differing.is_empty() {
            let table = settings(&group.runs, &group.differing);
            section(title("Settings that differ"), vec![Block::Table(table)]);
        }
        let charts = charts(group);
        if !charts.is_empty() {
            section(title("Course of the runs"), vec![Block::Figures(charts)]);
        }
    }
    Document {
        title: title.to_owned(),
        lead,
        sections,
    }
}

/// What has to be known of the numbers.
fn notes(group: &GroupOfPage) -> Vec<String> {
    let mut notes = Vec::new();
    let chosen = group.chosen.as_ref();
    let chosen = chosen.and_then(|name| group.runs.iter().find(|run| run.name == *name));
    let mut incomparable: Vec<&str> = group.incomparable.iter().map(String::as_str).collect();
    if let Some(run) = chosen {
        let by = run.best.map_or_else(String::new, |(epoch, value)| {
            format!(" ({} {} in epoch {epoch})", run.measure, four(Some(value)))
        });
        notes.push(format!(
            "Chosen: `{}`, by validation{by}. The test is shown of that run alone: choosing by it, or looking at all \
             of them, would make it a second validation.",
            run.name
        ));
        // Whoever tries batch sizes wants to compare them.
        let before = incomparable.len();
        incomparable.retain(|name| *name != "batch_size");
        if incomparable.len() < before {
            notes.push(
                "An evaluation follows the events batch by batch, so that part of what batch_size changes is the \
                 measurement."
                    .to_owned(),
            );
        }
    }
    if !incomparable.is_empty() {
        notes.push(format!(
            "These runs are measured differently ({}): their numbers can't be compared.",
            incomparable.join(", ")
        ));
    }
    notes
}

/// Why runs gave nothing.
fn failed(runs: &[RunOfPage]) -> Option<Block> {
    let all = runs
        .iter()
        .filter_map(|run| Some((run.name.clone(), run.failed.clone()?)));
    let all: Vec<(String, String)> = all.collect();
    (!all.is_empty()).then_some(Block::Facts(all))
}

fn four(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), numbers::four)
}

/// Events per second, and whether they are of emulated hardware.
fn speed(run: &RunOfPage) -> String {
    let number = run.events_per_s.map(thousands);
    match (number, run.is_emulated) {
        (None, _) => "-".to_owned(),
        (Some(number), false) => number,
        (Some(number), true) => format!("{number} EMULATED"),
    }
}

/// What each run is worth: what is looked for first stands first, where a narrow screen shows it.
fn results(group: &GroupOfPage) -> Table {
    let runs = &group.runs;
    let is_all = |measure: &str| runs.iter().all(|run| run.measure == measure);
    let one = runs.first().filter(|run| is_all(&run.measure));
    let caption = match one {
        Some(run) => format!(
            "The epoch whose {} is best on validation, and its test",
            run.measure
        ),
        None => {
            "The epoch that is best on validation, by the measure that chooses it, and its test"
                .to_owned()
        }
    };
    type Cell<'a> = Box<dyn Fn(&RunOfPage) -> String + 'a>;
    let dash = || "-".to_owned();
    let mut columns: Vec<(&str, bool, Cell<'_>)> =
        vec![("run", false, Box::new(|run| run.name.clone()))];
    if one.is_none() {
        columns.push(("measure", false, Box::new(|run| run.measure.clone())));
    }
    columns.extend([
        (
            "validation",
            true,
            Box::new(|run: &RunOfPage| four(run.best.map(|(_, value)| value))) as Cell<'_>,
        ),
        ("test", true, Box::new(|run| four(run.test))),
        (
            "best epoch",
            true,
            Box::new(move |run| run.best.map_or_else(dash, |(epoch, _)| epoch.to_string())),
        ),
    ]);
    if !is_all("AP") {
        columns.push(("test AP", true, Box::new(|run| four(run.test_ap))));
    }
    if !is_all("AUC") {
        columns.push(("test AUC", true, Box::new(|run| four(run.test_auc))));
    }
    let state = |run: &RunOfPage| match group.chosen.as_ref() == Some(&run.name) {
        true => format!("chosen; {}", run.state),
        false => run.state.clone(),
    };
    columns.extend([
        ("events/s", true, Box::new(speed) as Cell<'_>),
        ("state", false, Box::new(state)),
    ]);
    let names = columns
        .iter()
        .map(|(name, is_number, _)| ((*name).to_owned(), *is_number));
    Table {
        caption,
        columns: names.collect(),
        rows: runs
            .iter()
            .map(|run| columns.iter().map(|(_, _, cell)| cell(run)).collect())
            .collect(),
    }
}

fn settings(runs: &[RunOfPage], differing: &[String]) -> Table {
    let caption = "All other settings are the same, have no effect here, or change no number; - is none, or without effect";
    let mut table = Table::new(caption, &["run"], &[]);
    for (nth, name) in differing.iter().enumerate() {
        let is_number = |run: &RunOfPage| {
            let text = &run.settings[nth];
            text == "-" || text.parse::<f64>().is_ok()
        };
        table
            .columns
            .push((name.clone(), runs.iter().all(is_number)));
    }
    for run in runs {
        let mut row = vec![run.name.clone()];
        row.extend(run.settings.iter().cloned());
        table.rows.push(row);
    }
    table
}

/// The curves that have more than one point: a chart of each measure that chooses epochs, and one of the
/// losses.
fn charts(group: &GroupOfPage) -> Vec<Figure> {
    let runs = &group.runs;
    let series = |points: &dyn Fn(&RunOfPage) -> Vec<Point>| -> Vec<Series> {
        let all = runs.iter().enumerate().map(|(nth, run)| Series {
            name: run.name.clone(),
            color: apart(nth),
            points: points(run),
        });
        all.filter(|series| series.points.len() > 1).collect()
    };
    let chart = |title: &str, x_name: &str, y_name: &str, series| Lines {
        title: title.to_owned(),
        x_name: x_name.to_owned(),
        y_name: y_name.to_owned(),
        series,
        whole: (true, false),
        ..Lines::default()
    };
    let mut measures: Vec<&str> = runs.iter().map(|run| run.measure.as_str()).collect();
    measures.sort_unstable();
    measures.dedup();
    let validation = measures.into_iter().map(|measure| {
        let of_measure = |run: &RunOfPage| match run.measure == measure {
            true => by_epoch(&run.validations),
            false => Vec::new(),
        };
        chart("Validation", "epoch", measure, series(&of_measure))
    });
    let losses = |run: &RunOfPage| match group.losses_of {
        "epoch" => by_epoch(&run.losses),
        _ => thinned(&run.losses),
    };
    let loss = chart("Training loss", group.losses_of, "loss", series(&losses));
    let failed = runs.iter().any(|run| run.failed.is_some());
    let says = |series: &[Series]| {
        // A curve alone has no legend.
        let alone = match series {
            [one] if runs.len() > 1 => Some(format!("Of `{}` alone.", one.name)),
            _ => None,
        };
        let says = [
            alone,
            (series.len() > DISTINCT)
                .then(|| format!("Colours and dashes repeat after {DISTINCT} runs.")),
            failed.then(|| "Runs that gave nothing have no curve.".to_owned()),
        ];
        says.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    validation
        .chain([loss])
        .filter(|chart| !chart.series.is_empty())
        .map(|chart| chart.figure(&says(&chart.series)))
        .collect()
}

/// A point per epoch.
fn by_epoch(values: &[f64]) -> Vec<Point> {
    let point = |(nth, y): (usize, &f64)| Point {
        x: (nth + 1) as f64,
        y: *y,
        deviation: None,
    };
    values.iter().enumerate().map(point).collect()
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

    fn group(runs: &[RunOfPage], differing: &[&str]) -> GroupOfPage {
        GroupOfPage {
            title: "Link prediction".to_owned(),
            runs: runs.to_vec(),
            differing: differing.iter().map(|&name| name.to_owned()).collect(),
            losses_of: "iteration",
            ..GroupOfPage::default()
        }
    }

    #[test]
    fn the_chosen_run_is_marked_and_batch_sizes_are_compared() {
        let runs = [run("a", &[0.5, 0.75]), run("bc", &[0.25, 0.5])];
        let of = |incomparable: &[&str]| GroupOfPage {
            chosen: Some("bc".to_owned()),
            incomparable: incomparable.iter().map(|&name| name.to_owned()).collect(),
            ..group(&runs, &["width"])
        };
        let page = document("Two", &[of(&["batch_size"])]).to_html();
        assert!(page.contains("Chosen: <code>bc</code>, by validation (AP 0.5000 in epoch 1)"));
        assert!(page.contains("part of what batch_size changes"));
        assert!(!page.contains("can't be compared"));
        assert_eq!(page.matches("<td>chosen; ").count(), 1);
        let page = document("Two", &[of(&["stream", "batch_size"])]).to_html();
        assert!(page.contains("(stream): their numbers can't be compared"));
    }

    #[test]
    fn emulated_speeds_are_marked() {
        let fast = |is_emulated| RunOfPage {
            events_per_s: Some(2312.0),
            is_emulated,
            ..run("a", &[0.5])
        };
        let page = |runs: &[RunOfPage]| document("Two", &[group(runs, &[])]).to_html();
        let marked = page(&[fast(false), fast(true)]);
        assert!(marked.contains("marked so is"), "{marked}");
        assert_eq!(marked.matches("2,312").count(), 2);
        assert_eq!(marked.matches("2,312 ").count(), 1);
        assert!(!page(&[fast(false)]).contains("EMULATED"));
    }

    #[test]
    fn a_curve_alone_says_whose_it_is() {
        let mut runs = [run("a", &[0.5, 0.75]), run("bc", &[])];
        runs[1].losses = Vec::new();
        let page = document("Two", &[group(&runs, &[])]).to_html();
        assert_eq!(
            page.matches("Of <code>a</code> alone.").count(),
            2,
            "{page}"
        );
    }

    #[test]
    fn curves_lie_over_one_another() {
        let runs = [run("a", &[0.5, 0.75]), run("bc", &[0.25, 0.5])];
        let page = document("Two", &[group(&runs, &["width"])]).to_html();
        // A line a run in each of the two charts, and each in its legend.
        assert_eq!(page.matches("<path").count(), 8, "{page}");
        assert!(
            page.contains("<td>bc</td><td class=\"number\">2</td>"),
            "{page}"
        );
        assert!(!page.contains("can't be compared"));
    }

    #[test]
    fn measures_and_tasks_are_apart() {
        let mut runs = [run("a", &[0.5, 0.75]), run("b", &[0.25, 0.5])];
        runs[1].measure = "MRR".to_owned();
        let labels = GroupOfPage {
            title: "Labels of events".to_owned(),
            losses_of: "epoch",
            ..group(&[run("c", &[0.5, 0.5])], &[])
        };
        let page = document("Three", &[group(&runs, &[]), labels]).to_html();
        // A chart of AP, one of MRR and one of losses; two of the labels.
        assert_eq!(page.matches("<svg").count(), 5);
        assert!(page.contains("Labels of events: Results") && page.contains(">epoch<"));
    }

    #[test]
    fn no_two_of_many_curves_look_alike() {
        let runs: Vec<RunOfPage> = (0..DISTINCT)
            .map(|nth| run(&nth.to_string(), &[0.5, 0.75]))
            .collect();
        let page = document("Many", &[group(&runs, &[])]).to_html();
        let lines = page.split("<path").skip(1);
        let class = |line: &str| {
            line.split("class=\"")
                .nth(1)
                .map(|of| of[..of.find('"').unwrap_or(0)].to_owned())
        };
        let mut classes: Vec<_> = lines.map(|line| class(line).unwrap()).collect();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), DISTINCT);
        assert!(DISTINCT >= 36 && !page.contains("repeat after"));
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let mut one = run("a", &[0.5]);
        one.losses = vec![0.7];
        let of = GroupOfPage {
            incomparable: vec!["protocol".to_owned()],
            ..group(&[one], &[])
        };
        let page = document("One", &[of]).to_html();
        assert!(!page.contains("<svg") && !page.contains("Settings that differ"));
        assert!(page.contains("(protocol): their numbers can't be compared"));
    }
}
