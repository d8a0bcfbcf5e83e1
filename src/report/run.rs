//! The report of one run, made from the files of its run folder.
//!
//! Invariant: it reads nothing but `summary.json`, `metrics.jsonl`, `ledger.jsonl` and
//! `timeline.svg`, so that it can be made again for any finished run; a file that is not there
//! takes its charts along, `summary.json` excepted.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use indicatif::{HumanBytes, HumanCount};
use mspipe_datasets::whole_file::{self, Existing, WholeFileError};
use serde::Deserialize as _;
use serde_json::Value;
use thiserror::Error;

use super::chart::{Bars, Join, Lines, Point, Series, Stacks, short, thousands};
use super::values::{four, number, text_of};
use super::{Block, Document, Figure, Section, Table, labels, probes};
use crate::pipeline::Stage;
use crate::pipeline::ledger::Exchanged;
use crate::pipeline::probe::Probe;
use crate::pipeline::staleness::{StaleMemory, percent, stale_rows};
use crate::ranks::Launch;

/// Name of the report in the run folder.
pub(crate) const FILE_NAME: &str = "report.html";

/// What a timeline shows.
pub const TIMELINE: &str = "A few iterations of the last epoch, by time since its beginning; numbers in \
                            bars are iterations. A line that ends in a dot goes from an update of \
                            memory to the fetch that sees it last.";

/// Points of the loss curve; more iterations are averaged.
const LOSS_POINTS: usize = 300;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum RunReportError {
    /// The page can't be written.
    #[error(transparent)]
    Write(WholeFileError),
    /// A file can't be read.
    #[error("{}: can't be read: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no summary.
    #[error("{}: {reason}", path.display())]
    NoSummary {
        /// The folder.
        path: PathBuf,
        /// What it holds instead, and what to do.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{}: {error}; it should be the {expected} of a run", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
        /// What is expected.
        expected: &'static str,
    },
}

/// Writes the report of the finished run in `folder` into it, and returns where.
///
/// # Errors
/// When the run's summary can't be read or the report can't be written.
pub fn write(folder: &Path) -> Result<PathBuf, RunReportError> {
    let page = document(folder)?.to_html();
    let path = folder.join(FILE_NAME);
    whole_file::write(&path, Existing::Replace, |file| {
        file.write_all(page.as_bytes())
    })
    .map_err(RunReportError::Write)?;
    Ok(path)
}

/// The report of the finished run in `folder`.
///
/// # Errors
/// When a file of the run is damaged, or there is no summary.
pub(crate) fn document(folder: &Path) -> Result<Document, RunReportError> {
    let summary = summary_of(folder)?;
    let metrics = lines(&folder.join("metrics.jsonl"), "metrics")?;
    let losses: Vec<f64> = (metrics.iter())
        .filter_map(|line| line["loss"].as_f64())
        .collect();
    let probes: Vec<Probe> = (metrics.iter())
        .filter_map(|line| Probe::deserialize(line.get("probe")?).ok())
        .collect();
    let ledger = lines(&folder.join("ledger.jsonl"), "ledger")?;
    let timeline = fs::read_to_string(folder.join("timeline.svg")).ok();
    let config = fs::read_to_string(folder.join("config.json")).ok();
    let config: Value = config
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();

    let data = text_of(&summary["data"]["name"]);
    let synthetic = summary["data"]["synthetic"].as_bool() == Some(true);
    let mark = if synthetic { " (SYNTHETIC)" } else { "" };
    let title = format!(
        "{} on {data}{mark}",
        text_of(&summary["model"]).to_uppercase()
    );
    if of_labels(&summary) {
        let task = match summary["task"].as_str() {
            Some("edge") => "labels of events",
            _ => "state labels",
        };
        return Ok(Document {
            title: format!("{title}: {task}"),
            lead: lead(&summary, String::new(), None, synthetic),
            sections: labels::sections(&summary),
        });
    }
    let mut sections = vec![
        Section {
            title: "Accuracy".to_owned(),
            blocks: accuracy(&summary),
        },
        Section {
            title: "Course of the run".to_owned(),
            blocks: course(&summary, &losses),
        },
        Section {
            title: "Pipeline".to_owned(),
            blocks: pipeline(&summary, &ledger),
        },
    ];
    if let (Some(svg), Some(section)) = (timeline, sections.last_mut()) {
        section.blocks.push(Block::Figures(vec![Figure {
            title: "Timeline".to_owned(),
            caption: TIMELINE.to_owned(),
            svg,
            wide: true,
        }]));
    }
    sections.extend(exchanged(&summary).map(|table| Section {
        title: "Ranks".to_owned(),
        blocks: vec![Block::Table(table)],
    }));
    let trained_times = config["time_encoding"] == "trained";
    sections.extend(probes::section(&probes, trained_times));
    Ok(Document {
        title,
        lead: lead(
            &summary,
            mitigation(&summary, &config),
            sharing(&summary, &metrics),
            synthetic,
        ),
        sections,
    })
}

/// The summary of the finished run in `folder`.
fn summary_of(folder: &Path) -> Result<Value, RunReportError> {
    let path = folder.join("summary.json");
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_summary(folder),
        _ => RunReportError::File {
            path: path.clone(),
            error,
        },
    })?;
    let summary: Value = serde_json::from_str(&text).map_err(|error| RunReportError::Content {
        path,
        error,
        expected: "summary",
    })?;
    if let Some(seed) = summary["seeds"][0].as_u64() {
        let at = folder.display();
        return Err(RunReportError::NoSummary {
            path: folder.to_owned(),
            reason: format!(
                "holds the runs of several seeds; give one of them, such as {at}/seed-{seed}, or all for one page \
                 (mspipe report {at}/seed-* --to FILE)"
            ),
        });
    }
    Ok(summary)
}

/// Why a folder without a summary has no report.
fn no_summary(folder: &Path) -> RunReportError {
    let at = folder.display();
    let has = |name: &str| folder.join(name).exists();
    let reason = if has("sweep.toml") {
        let page = match has(FILE_NAME) {
            true => format!("its page is {at}/{FILE_NAME}"),
            false => "mspipe sweep writes its page when it ends".to_owned(),
        };
        format!(
            "holds a sweep, and no run (there is no summary.json); {page}; give folders of runs below it"
        )
    } else if has("config.json") {
        format!(
            "holds a run that has not ended (there is no summary.json); as far as it is, 'mspipe report {at} --to FILE' \
             draws it"
        )
    } else {
        "holds no run (there is no summary.json); give a folder that mspipe train has written"
            .to_owned()
    };
    RunReportError::NoSummary {
        path: folder.to_owned(),
        reason,
    }
}

/// Whether it is of a classification of labels.
fn of_labels(summary: &Value) -> bool {
    matches!(summary["task"].as_str(), Some("node" | "edge"))
}

/// The lines of a file of JSON lines; none where there is no file.
fn lines(path: &Path, expected: &'static str) -> Result<Vec<Value>, RunReportError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(RunReportError::File {
                path: path.to_owned(),
                error,
            });
        }
    };
    let parsed: Result<_, _> = text.lines().map(serde_json::from_str).collect();
    parsed.map_err(|error| RunReportError::Content {
        path: path.to_owned(),
        error,
        expected,
    })
}

/// The ranks that shared each batch, and those before them where the run was resumed by others; none of a run
/// without ranks.
fn sharing(summary: &Value, metrics: &[Value]) -> Option<String> {
    let changes = metrics.iter().filter(|line| line.get("ranks").is_some());
    let before = changes.map(|line| {
        let ranks = line["ranks_before"].as_str().unwrap_or("one process");
        format!(
            "; {ranks} before iteration {} of epoch {}",
            line["iteration"], line["epoch"]
        )
    });
    let before: String = before.collect();
    let ranks = Launch::deserialize(&summary["ranks"]).ok();
    let Some(ranks) = ranks else {
        return (!before.is_empty()).then(|| format!("one process{before}"));
    };
    let events = summary["batch_size"].as_u64().unwrap_or_default();
    Some(ranks.in_words(events as usize) + &before)
}

/// What was done about stale memory, with its numbers, as the settings of the run have them.
fn mitigation(summary: &Value, config: &Value) -> String {
    let name = text_of(&summary["mitigation"]);
    let of = |setting: &str| text_of(&config["pipeline"][setting]);
    let keep = of("mitigation_keep");
    match name.as_str() {
        "similarity" | "similarity-released" => format!(
            "{name}: λ {keep}, of rows with ages above the {} quantile of their batch",
            of("mitigation_quantile")
        ),
        "pres" => format!("{name}: γ {keep} to begin with, β {}", of("coherence")),
        _ => name,
    }
}

fn lead(summary: &Value, mitigation: String, ranks: Option<String>, synthetic: bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    if synthetic {
        let text = "The stream is SYNTHETIC: generated, not observed. Its numbers say nothing about \
                    the real data set.";
        blocks.push(Block::Note(text.to_owned()));
    }
    let link = &summary["emulated_link"];
    if !link.is_null() {
        let text = "Transfers went over an EMULATED bus: times and events/s are not those of this \
                    machine.";
        blocks.push(Block::Note(text.to_owned()));
    }
    if text_of(&summary["device"]["adapter"]).contains("EMULATED") {
        let text = "The device is EMULATED: a processor runs the shaders of a GPU. Times and events/s say nothing of \
                    any GPU.";
        blocks.push(Block::Note(text.to_owned()));
    }
    let epochs = summary["epochs"].as_array().map_or(&[][..], Vec::as_slice);
    let of_epochs = epochs.iter().map(|epoch| &epoch["val"]);
    let tests = ["test", "test_other_pool"].map(|name| &summary[name]);
    if of_epochs.chain(tests).any(|of| of["equal_scores"] == true) {
        let text = "WARNING: in at least one evaluation all scores were equal. Its AP and AUC are \
                    those of chance: the model could not tell them apart.";
        blocks.push(Block::Note(text.to_owned()));
    }
    let data = &summary["data"];
    let count = |value: &Value| thousands(number(value));
    let stream = format!(
        "{} events, {} nodes, features: {} per event, {} per node; SHA-256 {:.12}",
        count(&data["events"]),
        count(&data["nodes"]),
        data["edge_width"],
        data["node_width"],
        text_of(&data["hash"])
    );
    let mut facts = vec![
        ("stream", stream),
        ("device", text_of(&summary["device"]["adapter"])),
        ("protocol", text_of(&summary["protocol"])),
    ];
    facts.extend(ranks.map(|ranks| ("ranks", ranks)));
    if of_labels(summary) {
        facts.extend(labels::facts(summary));
    } else {
        let memory = format!("on the {}", text_of(&summary["memory"]));
        facts.extend([
            ("pair history", text_of(&summary["pair_history"])),
            ("schedule", text_of(&summary["schedule"])),
            ("node memory", memory),
            ("mitigation", mitigation),
        ]);
    }
    facts.extend([
        (
            "events of a batch",
            format!("{}, {}", text_of(&summary["batch_size"]), batch(summary)),
        ),
        ("seed", text_of(&summary["seed"])),
        ("seed of evaluation", text_of(&summary["eval_seed"])),
    ]);
    blocks.push(Block::Facts(
        facts
            .into_iter()
            .chain(machine_use(&summary["machine_use"]))
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    ));
    let notes = summary["notes"].as_array().into_iter().flatten();
    blocks.extend(notes.map(|note| Block::Text(format!("Note: {}", text_of(note)))));
    blocks
}

/// What the run took of the machine, beside what was estimated; nothing of a run that did not say.
fn machine_use(used: &Value) -> Vec<(&'static str, String)> {
    let bytes = |key: &str| {
        used[key]
            .as_u64()
            .map(|bytes| HumanBytes(bytes).to_string())
    };
    let memory = |name, taken: &str, estimated: &str| {
        let taken = bytes(taken)?;
        Some(match bytes(estimated) {
            Some(estimated) => (name, format!("{taken} at most, {estimated} estimated")),
            None => (name, format!("{taken} at most")),
        })
    };
    let busy = used["device_busy"].as_f64();
    [
        memory("RAM", "peak_ram_bytes", "estimated_ram_bytes"),
        memory(
            "device memory",
            "peak_device_bytes",
            "estimated_device_bytes",
        ),
        busy.map(|share| ("device busy", format!("{:.0} % of training", 100.0 * share))),
    ]
    .into_iter()
    .flatten()
    .chain(feature_use(&used["features"]))
    .collect()
}

/// Where tables of features lay, and what batches found there.
fn feature_use(tables: &Value) -> Vec<(&'static str, String)> {
    let tables = tables.as_array().into_iter().flatten();
    let told = tables.filter_map(|table| {
        let number = |key: &str| table[key].as_u64();
        let name = match table["table"].as_str()? {
            "node features" => "node features",
            _ => "edge features",
        };
        let (rows, part) = (number("rows")?, number("on_device")?);
        let (wanted, found) = (number("wanted")?, number("found")?);
        let [of, bytes] = [
            format!("{} of {} rows", HumanCount(part), HumanCount(rows)),
            HumanBytes(number("bytes")?).to_string(),
        ];
        let share = 100.0 * found as f64 / wanted.max(1) as f64;
        Some((
            name,
            match part {
                0 => "in RAM".to_owned(),
                _ if part == rows => format!("on the device, {bytes}"),
                _ => format!(
                    "{of} on the device, {bytes}; {share:.1} % of what batches read was there"
                ),
            },
        ))
    });
    told.collect()
}

const HIDDEN: &str = "hidden from one another";

/// How the events of a batch stood to one another.
fn batch(summary: &Value) -> &'static str {
    match summary["hide_batch"].as_str() {
        Some("on") => HIDDEN,
        _ => "visible to one another",
    }
}

fn accuracy(summary: &Value) -> Vec<Block> {
    let mut table = Table::new(
        "Test part, with the weights and the memory of the best epoch",
        &["negatives from"],
        &[
            "AP",
            "AP, batch mean",
            "AUC",
            "AP, new nodes",
            "EdgeBank's AP",
            "AP of counts",
        ],
    );
    let bank = &summary["edgebank"];
    for (name, edgebank) in [
        ("test", "test_ap"),
        ("test_other_pool", "test_other_pool_ap"),
        ("test_historical", "test_historical_ap"),
        ("test_inductive", "test_inductive_ap"),
    ] {
        let metrics = &summary[name];
        if metrics.is_null() {
            continue;
        }
        table.rows.push(vec![
            text_of(&metrics["negatives"]).replace('-', " "),
            four(&metrics["ap"]),
            four(&metrics["ap_batch_mean"]),
            four(&metrics["auc"]),
            four(&metrics["inductive"]["ap"]),
            four(&bank[edgebank]),
            four(&summary["counts"][name]["ap"]),
        ]);
    }
    let best = format!(
        "Best epoch: {} (by {}); training ended by {}. EdgeBank learns nothing: it asks whether the pair has been seen. Counts \
         are the counting baseline: logistic regression on the pair's history, without a network.",
        text_of(&summary["best_epoch"]),
        text_of(&summary["monitor"]),
        text_of(&summary["ended"]["reason"])
    );
    let mut blocks = vec![Block::Table(table), Block::Text(best)];
    blocks.extend(ranks(summary).map(Block::Table));
    blocks
}

/// MRR and hits of the test part, if the run ranks.
fn ranks(summary: &Value) -> Option<Table> {
    let ranking = summary["test"].get("ranking")?;
    let mut table = Table::new(
        &format!(
            "Test part: the destination's rank among {:.0} candidates on average",
            number(&ranking["candidates"])
        ),
        &["of", "events of a batch"],
        &["MRR", "hits@1", "hits@3", "hits@10"],
    );
    let (bank, counts) = (&summary["edgebank"], &summary["counts"]["test"]["ranking"]);
    let seen = batch(summary);
    // A bank is asked before it knows the batch.
    for (of, seen, mrr, hits) in [
        ("the model", seen, &ranking["mrr"], ranking),
        (
            "the model, new nodes",
            seen,
            &ranking["inductive_mrr"],
            &ranking["inductive_hits"],
        ),
        ("EdgeBank", HIDDEN, &bank["test_mrr"], &bank["test_hits"]),
        (
            "EdgeBank with a window",
            HIDDEN,
            &bank["window"]["test_mrr"],
            &bank["window"]["test_hits"],
        ),
        ("counting baseline", seen, &counts["mrr"], counts),
    ] {
        let hits = ["hits@1", "hits@3", "hits@10"].map(|name| four(&hits[name]));
        let mut row = vec![of.to_owned(), seen.to_owned(), four(mrr)];
        row.extend(hits);
        table.rows.push(row);
    }
    Some(table)
}

fn course(summary: &Value, losses: &[f64]) -> Vec<Block> {
    let epochs = summary["epochs"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(
        "Epochs",
        &[],
        &[
            "epoch",
            "loss",
            "validation AP",
            "validation AUC",
            "events/s",
            "seconds",
        ],
    );
    let mut ap = Vec::new();
    for (nth, epoch) in epochs.iter().enumerate() {
        table.rows.push(vec![
            (nth + 1).to_string(),
            four(&epoch["train_loss"]),
            four(&epoch["val"]["ap"]),
            four(&epoch["val"]["auc"]),
            thousands(number(&epoch["events_per_s"])),
            short(number(&epoch["train_seconds"])),
        ]);
        let y = number(&epoch["val"]["ap"]);
        ap.push(Point {
            x: (nth + 1) as f64,
            y,
            deviation: None,
        });
    }
    let chart = |title: &str, x_name: &str, y_name: &str, points, color| Lines {
        title: title.to_owned(),
        x_name: x_name.to_owned(),
        y_name: y_name.to_owned(),
        series: vec![Series {
            name: y_name.to_owned(),
            color,
            points,
        }],
        whole: (true, false),
        ..Lines::default()
    };
    let loss = chart("Training loss", "iteration", "loss", thinned(losses), 1);
    let ap = chart("Validation AP", "epoch", "AP", ap, 2);
    let figures = [
        (
            loss,
            "Mean of consecutive iterations, where there are many.",
        ),
        (ap, "Pooled AP after each epoch."),
    ];
    // One point is no curve; the table has it.
    let figures = figures
        .into_iter()
        .filter(|(chart, _)| chart.series[0].points.len() > 1)
        .map(|(chart, says)| chart.figure(says));
    vec![Block::Figures(figures.collect()), Block::Table(table)]
}

/// At most [`LOSS_POINTS`] means of consecutive numbers.
pub(super) fn thinned(losses: &[f64]) -> Vec<Point> {
    let each = losses.len().div_ceil(LOSS_POINTS).max(1);
    let mean = |(nth, part): (usize, &[f64])| Point {
        x: (nth * each) as f64 + part.len() as f64 / 2.0,
        y: part.iter().sum::<f64>() / part.len() as f64,
        deviation: None,
    };
    losses.chunks(each).enumerate().map(mean).collect()
}

fn pipeline(summary: &Value, ledger: &[Value]) -> Vec<Block> {
    let seconds = Stage::ALL.map(|stage| number(&summary["stage_seconds"][stage.name()]));
    let mut rows = vec![("all threads".to_owned(), seconds.to_vec())];
    for lane in ["gpu", "bus"] {
        let means = &summary["queue"][lane];
        if means.is_object() {
            // The mean of the iterations that were measured.
            let all = |stage: Stage| number(&means[stage.name()]) * ledger.len() as f64;
            rows.push((lane.to_owned(), Stage::ALL.map(all).to_vec()));
        }
    }
    let stacks = Stacks {
        title: "Time in each stage, all epochs".to_owned(),
        parts: Stage::ALL.map(|stage| stage.name().to_owned()).to_vec(),
        rows,
        unit: "s".to_owned(),
        ..Stacks::default()
    };
    let stalled = format!(
        "Training waited {:.2} s for its input.",
        number(&summary["stall_seconds"])
    );
    let mut figures = vec![stacks.figure(&stalled)];
    let ks: Vec<f64> = ledger.iter().map(|line| number(&line["k"])).collect();
    let mut text = None;
    match ks.first() {
        Some(first) if ks.iter().all(|k| k == first) => text = Some(constant(*first)),
        Some(_) => figures.push(staleness(&ks)),
        None => {}
    }
    figures.extend(ages(ledger));
    let mut blocks = vec![Block::Figures(figures)];
    blocks.extend(text.map(Block::Text));
    blocks.extend(stale_memory(&summary["stale_memory"]).map(Block::Table));
    blocks
}

/// What is said of a k that never changes.
fn constant(k: f64) -> String {
    let means = match k {
        1.0 => "memory was not stale",
        _ => "each iteration read memory without the updates of those just before it",
    };
    format!("Staleness: k = {k} in every iteration ({means}).")
}

/// The k of each iteration.
fn staleness(ks: &[f64]) -> Figure {
    let point = |(nth, k): (usize, &f64)| Point {
        x: nth as f64,
        y: *k,
        deviation: None,
    };
    let chart = Lines {
        title: "Staleness k".to_owned(),
        x_name: "training iteration".to_owned(),
        y_name: "k".to_owned(),
        series: vec![Series {
            name: "k".to_owned(),
            color: 6,
            points: ks.iter().enumerate().map(point).collect(),
        }],
        join: Join::Step,
        whole: (true, true),
        from_zero: true,
        ..Lines::default()
    };
    chart.figure("k = 1: memory is not stale.")
}

/// How old the memory was that roots read; none where nothing was read, or all at one age.
fn ages(ledger: &[Value]) -> Option<Figure> {
    let mut ages: Vec<f64> = Vec::new();
    for line in ledger {
        let counts = line["ages"].as_array().map_or(&[][..], Vec::as_slice);
        ages.resize(ages.len().max(counts.len()), 0.0);
        ages.iter_mut()
            .zip(counts)
            .for_each(|(all, count)| *all += number(count));
    }
    let rows: f64 = ages.iter().sum();
    let shares = ages
        .iter()
        .map(|count| 100.0 * count / rows.max(1.0))
        .collect();
    let (groups, values) = by_age(&[shares]);
    let histogram = Bars {
        title: "Ages of the memory read".to_owned(),
        x_name: "age in the stream's unit of time, from this up to twice it".to_owned(),
        y_name: "% of the rows".to_owned(),
        groups,
        series: vec![("rows".to_owned(), 8)],
        values,
        ..Bars::default()
    };
    let says = "Time since the newest mail of a root's node, when its memory was read.";
    (histogram.groups.len() > 1).then(|| histogram.figure(says))
}

/// What staleness did to memory; none of a run that did not count it.
fn stale_memory(counts: &Value) -> Option<Table> {
    let counts = StaleMemory::deserialize(counts).ok()?;
    let mut table = Table::new(
        "What staleness did to memory, over all training epochs. Stale rows lack updates of their own node; lost \
         mail was overwritten before an update had absorbed it",
        &["of"],
        &["all", "stale or lost", "%", "updates lacked, at most"],
    );
    let mut row = |name: &str, all: u64, part: u64, most: String| {
        let share = percent(part, all);
        let [all, part] = [all, part].map(|count| thousands(count as f64));
        table.rows.push(vec![
            name.to_owned(),
            all,
            part,
            format!("{share:.1}"),
            most,
        ]);
    };
    for (name, by_lacking) in [
        ("rows read", &counts.rows_read),
        ("rows written", &counts.rows_written),
    ] {
        let (all, stale) = stale_rows(by_lacking);
        let most = by_lacking.len().saturating_sub(1);
        row(name, all, stale, most.to_string());
    }
    let (overwritten, lost) = (counts.mail_overwritten, counts.mail_lost);
    row("mail overwritten", overwritten, lost, "-".to_owned());
    Some(table)
}

/// What ranks that shared each batch gave one another.
fn exchanged(summary: &Value) -> Option<Table> {
    let all = Exchanged::deserialize(&summary["exchanged"]).ok()?;
    let iterations: f64 = (summary["staleness"].as_object()?.values().map(number)).sum();
    let mut table = Table::new(
        "What rank 0 gave the other ranks in an iteration, and the time until all had what all gave. With memory in \
         RAM and a k that hides it, the exchange of rows delays nothing; that of gradients is part of each iteration.",
        &["of"],
        &["bytes an iteration", "ms an iteration"],
    );
    for (name, bytes, us) in [
        ("gradients", all.gradient_bytes, all.gradient_us),
        ("updated rows", all.row_bytes, all.row_us),
    ] {
        let each = |sum: u64| sum as f64 / iterations.max(1.0);
        let bytes = HumanBytes(each(bytes) as u64).to_string();
        let time = format!("{:.2}", each(us) / 1e3);
        table.rows.push(vec![name.to_owned(), bytes, time]);
    }
    Some(table)
}

/// Names of the ages, and the shares of each series by age; those young ages that no series has
/// a percent of are one.
pub fn by_age(shares: &[Vec<f64>]) -> (Vec<String>, Vec<Vec<Option<f64>>>) {
    let buckets = shares.iter().map(Vec::len).max().unwrap_or(0);
    let few = |bucket: &usize| {
        let below = |series: &Vec<f64>| series.get(*bucket).is_none_or(|share| *share < 1.0);
        shares.iter().all(below)
    };
    let young = (0..buckets).take_while(few).count();
    let sum = |series: &Vec<f64>| Some(series.iter().take(young).sum());
    let of = |bucket| shares.iter().map(|s| s.get(bucket).copied()).collect();
    let (mut names, mut values) = (Vec::new(), Vec::new());
    if young > 0 {
        names.push(format!("under {}", age(young)));
        values.push(shares.iter().map(sum).collect());
    }
    names.extend((young..buckets).map(age));
    values.extend((young..buckets).map(of));
    (names, values)
}

/// Smallest age of a bucket of [`crate::pipeline::ledger::AgeHistogram`], as a short text:
/// `0`, `512`, `1 k`.
fn age(bucket: usize) -> String {
    match bucket {
        0 => "0".to_owned(),
        1..=10 => (1u64 << (bucket - 1)).to_string(),
        11..=20 => format!("{} k", 1u64 << (bucket - 11)),
        _ => format!("{} M", 1u64 << (bucket - 21).min(40)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_named_by_their_smallest() {
        let names = [0, 1, 2, 10, 11, 20, 21, 22].map(age);
        assert_eq!(names, ["0", "1", "2", "512", "1 k", "512 k", "1 M", "2 M"]);
    }

    #[test]
    fn young_ages_that_are_rare_are_one() {
        let (names, values) = by_age(&[vec![0.25, 0.5, 40.0, 59.25], vec![0.0, 0.5, 0.5, 99.0]]);
        assert_eq!(names, ["under 2", "2", "4"]);
        assert_eq!(values[0], [Some(0.75), Some(0.5)]);
        assert_eq!(values[2], [Some(59.25), Some(99.0)]);
    }

    #[test]
    fn long_curves_are_thinned_to_means() {
        let losses: Vec<f64> = (0..1000).map(f64::from).collect();
        let points = thinned(&losses);
        assert_eq!(points.len(), 250);
        assert_eq!((points[0].x, points[0].y), (2.0, 1.5));
        assert_eq!(thinned(&losses[..3]).len(), 3);
    }

    #[test]
    fn a_folder_without_a_run_is_named() {
        let error = write(Path::new("no-such-run")).unwrap_err().to_string();
        assert!(error.contains("summary.json"), "{error}");
    }
}
