//! The parts of a report that are of a classification of labels.

use serde_json::Value;

use super::chart::{Lines, Point, Series, thousands};
use super::values::{four, number, text_of};
use super::{Block, Section, Table};

/// Classes whose curves are drawn: those with most labels.
const CURVES: usize = 8;

/// Classes whose confusion is shown; a larger matrix is in `summary.json` alone.
const CONFUSED: usize = 24;

/// What is said of the classification before its sections.
pub(super) fn facts(summary: &Value) -> Vec<(&'static str, String)> {
    let balance = match summary["balance"].as_str() {
        Some("sample") => "as many labels of each class as of the rarest",
        Some("weights") => "rare classes weigh more (inverse frequency in the training part)",
        _ => "each label weighs the same",
    };
    let what = match summary["task"].as_str() {
        Some("edge") => "labels of events, from both nodes' embeddings and the event's features",
        _ => "state labels, from the source's embedding",
    };
    let parts = ["train", "val", "test"].map(|part| &summary["labels"][part]);
    let three = |name: &str| parts.map(|part| thousands(number(&part[name]))).join(" / ");
    let mut facts = vec![
        ("task", what.to_owned()),
        ("embeddings by", text_of(&summary["init"])),
        (
            "labels",
            format!("{} of training / validation / test", three("events")),
        ),
        ("balance", balance.to_owned()),
    ];
    if parts.iter().any(|part| part["missing"] != 0) {
        facts.insert(
            3,
            (
                "without a label",
                format!("{} events, left out", three("missing")),
            ),
        );
    }
    facts
}

/// The sections of its page.
pub(super) fn sections(summary: &Value) -> Vec<Section> {
    let section = |title: &str, blocks| Section {
        title: title.to_owned(),
        blocks,
    };
    vec![
        section("Accuracy", accuracy(summary)),
        section(
            "Classes of the test part",
            classes(&summary["test_classes"]),
        ),
        section("Course of the run", course(summary)),
    ]
}

/// The measure of validation that chooses the best epoch, as a summary or the line of an epoch says it: its name,
/// and where metrics have it.
pub(crate) fn measure(says: &Value) -> (&'static str, &'static str) {
    let several = match says["monitor"].as_str() {
        Some(monitor) => monitor == "val-f1-micro",
        // Of runs that didn't say it yet: of several classes none is the positive one.
        None => says["val"].is_object() && says["val"]["positive_rate"].is_null(),
    };
    match several {
        true => ("F1-micro", "/f1_micro"),
        false => ("AUC", "/auc"),
    }
}

/// Whether there are more than two classes.
fn has_several_classes(summary: &Value) -> bool {
    let classes = summary["labels"]["classes"].as_array();
    classes.is_some_and(|classes| classes.len() > 2)
}

fn accuracy(summary: &Value) -> Vec<Block> {
    let several = has_several_classes(summary);
    let mut measures = vec![
        ("AUC", "auc"),
        ("AP", "ap"),
        ("AP of chance", "positive_rate"),
        ("accuracy, F1-micro", "f1_micro"),
        ("F1-macro", "f1_macro"),
    ];
    // Chance is another for each class.
    measures.retain(|(_, field)| !(several && *field == "positive_rate"));
    let columns: Vec<&str> = measures.iter().map(|(name, _)| *name).collect();
    let mut table = Table::new(
        "Classifier of the best epoch",
        &["part"],
        &[&columns[..], &["labels"]].concat(),
    );
    for (part, name) in [("val", "validation"), ("test", "test")] {
        let metrics = &summary[part];
        let mut row = vec![name.to_owned()];
        row.extend(measures.iter().map(|(_, field)| four(&metrics[*field])));
        row.push(text_of(&summary["labels"][part]["events"]));
        table.rows.push(row);
    }
    let (chosen, _) = measure(summary);
    let means = match several {
        true => " AUC and AP are means over the classes, each against the rest.",
        false => "",
    };
    let best = format!(
        "Best epoch: {} (by the {chosen} of validation). An AUC of 0.5 is chance.{means}",
        text_of(&summary["best_epoch"])
    );
    vec![Block::Table(table), Block::Text(best)]
}

fn classes(of: &Value) -> Vec<Block> {
    let rows = of["classes"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(
        "Each class of the test part. Precision: share of it among what was predicted as it; recall: share of \
         its events that were",
        &["class"],
        &["labels", "predicted", "precision", "recall", "F1", "AP"],
    );
    for class in rows {
        table.rows.push(vec![
            text_of(&class["label"]),
            text_of(&class["support"]),
            text_of(&class["predicted"]),
            four(&class["precision"]),
            four(&class["recall"]),
            four(&class["f1"]),
            four(&class["ap"]),
        ]);
    }
    let mut blocks = curves(of, rows);
    blocks.push(Block::Table(table));
    blocks.extend(confusion(of, rows));
    blocks
}

/// Precision over recall.
fn curves(of: &Value, classes: &[Value]) -> Vec<Block> {
    let support = |label: &Value| {
        let class = classes.iter().find(|class| class["label"] == *label);
        class
            .and_then(|class| class["support"].as_u64())
            .unwrap_or(0)
    };
    let mut curves: Vec<&Value> = of["curves"].as_array().into_iter().flatten().collect();
    curves.sort_by_key(|curve| std::cmp::Reverse(support(&curve["label"])));
    let all = curves.len();
    curves.truncate(CURVES);
    let point = |point: &Value| Point {
        x: number(&point[0]),
        y: number(&point[1]),
        deviation: None,
    };
    let series = |(nth, curve): (usize, &&Value)| Series {
        name: format!("class {}", text_of(&curve["label"])),
        color: nth + 1,
        points: curve["points"]
            .as_array()
            .into_iter()
            .flatten()
            .map(point)
            .collect(),
    };
    let series: Vec<Series> = curves.iter().enumerate().map(series).collect();
    if series.iter().all(|series| series.points.len() < 2) {
        return Vec::new();
    }
    let chart = Lines {
        title: "Precision and recall".to_owned(),
        x_name: "recall".to_owned(),
        y_name: "precision".to_owned(),
        series,
        from_zero: true,
        ..Lines::default()
    };
    let says = match all > CURVES {
        true => format!("One point per threshold; the {CURVES} classes with most labels."),
        false => "One point per threshold, from strict on the left to lax on the right.".to_owned(),
    };
    vec![Block::Figures(vec![chart.figure(&says)])]
}

/// Which class was taken for which.
fn confusion(of: &Value, classes: &[Value]) -> Option<Block> {
    let rows = of["confusion"].as_array()?;
    if rows.len() > CONFUSED {
        let text = format!(
            "The confusion matrix of {} classes is in summary.json (test_classes, confusion).",
            rows.len()
        );
        return Some(Block::Text(text));
    }
    let names: Vec<String> = classes
        .iter()
        .map(|class| text_of(&class["label"]))
        .collect();
    let columns: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut table = Table::new(
        "Confusion: events of each class (a row), by the class that was predicted (a column)",
        &["is \\ predicted"],
        &columns,
    );
    for (name, row) in names.iter().zip(rows) {
        let counts = row.as_array().into_iter().flatten().map(text_of);
        table
            .rows
            .push(std::iter::once(name.clone()).chain(counts).collect());
    }
    Some(Block::Table(table))
}

fn course(summary: &Value) -> Vec<Block> {
    let epochs = summary["epochs"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(
        "Epochs of the classifier",
        &[],
        &[
            "epoch",
            "loss",
            "validation AUC",
            "validation AP",
            "F1-micro",
            "F1-macro",
        ],
    );
    for (nth, epoch) in epochs.iter().enumerate() {
        let val = &epoch["val"];
        let mut row = vec![(nth + 1).to_string(), four(&epoch["train_loss"])];
        row.extend(["auc", "ap", "f1_micro", "f1_macro"].map(|name| four(&val[name])));
        table.rows.push(row);
    }
    let line = |title: &str, y_name: &str, color, of: &dyn Fn(&Value) -> f64| {
        let point = |(nth, epoch): (usize, &Value)| Point {
            x: (nth + 1) as f64,
            y: of(epoch),
            deviation: None,
        };
        Lines {
            title: title.to_owned(),
            x_name: "epoch".to_owned(),
            y_name: y_name.to_owned(),
            series: vec![Series {
                name: y_name.to_owned(),
                color,
                points: epochs.iter().enumerate().map(point).collect(),
            }],
            whole: (true, false),
            ..Lines::default()
        }
    };
    let mut blocks = Vec::new();
    // One point is no curve; the table has it.
    if epochs.len() > 1 {
        let loss = line("Training loss", "loss", 1, &|epoch| {
            number(&epoch["train_loss"])
        });
        let (name, at) = measure(summary);
        let chosen = line(&format!("Validation {name}"), name, 2, &|epoch| {
            epoch["val"].pointer(at).map_or(f64::NAN, number)
        });
        blocks.push(Block::Figures(vec![loss.figure(""), chosen.figure("")]));
    }
    blocks.push(Block::Table(table));
    blocks
}
