//! The report of a reproduction: what it was measured on, what the paper says, each experiment.

use mspipe::config::name_of;
use mspipe::profiler::machine::median;
use mspipe::report::chart::{short, thousands};
use mspipe::report::{Block, Document, Section, Table};
use serde::Serialize;

use super::experiment::{Experiment, distinct};
use super::summary;
use super::views;
use super::wording::from_to;
use crate::cell::{Cell, Context};

/// A figure that others published, beside which ours stand.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Published {
    /// What it is.
    pub figure: &'static str,
    /// Where it was read.
    pub source: &'static str,
}

/// What is known of MSPipe's results from texts that were read. Its tables were not among
/// them, so none of their numbers stands here.
pub const PUBLISHED: [Published; 3] = [
    Published {
        figure: "up to 2.45 times the speed, without sacrificing accuracy",
        source: "abstract of arXiv 2402.15113 (KDD 2024)",
    },
    Published {
        figure: "1.50 to 2.45 times the speed of TGL",
        source: "a review of the earlier submission to ICLR 2024 (OpenReview oFNpRlPxyQ)",
    },
    Published {
        figure: "converges at the rate of training without staleness, O(T^-1/2)",
        source: "abstract of arXiv 2402.15113",
    },
];

/// The whole report.
pub(super) fn document(experiments: &[Experiment], quick: bool) -> Document {
    let kind = if quick { ", quick" } else { "" };
    Document {
        title: format!("MSPipe reproduced{kind}"),
        lead: lead(experiments, quick),
        sections: summary::section(experiments)
            .into_iter()
            .chain(experiments.iter().map(|experiment| Section {
                title: experiment.recipe.title.clone(),
                blocks: blocks(experiment),
            }))
            .chain([sources(experiments)])
            .collect(),
    }
}

fn cells(experiments: &[Experiment]) -> impl Iterator<Item = &Cell> {
    experiments.iter().flat_map(Experiment::cells)
}

/// The part of an experiment.
fn blocks(experiment: &Experiment) -> Vec<Block> {
    let recipe = &experiment.recipe;
    let mut blocks = vec![Block::Text(format!("Should reach: {}.", recipe.reaches))];
    if experiment.outcomes.is_empty() {
        blocks.push(Block::Note("No run of it is finished.".to_owned()));
        return blocks;
    }
    if experiment.unfinished > 0 {
        blocks.push(Block::Note(format!(
            "{} of its runs are not finished: their settings have fewer seeds than the others, or are left out.",
            experiment.unfinished
        )));
    }
    let views = recipe.views.iter();
    let seen: Vec<String> = views
        .filter_map(|view| views::seen(view, experiment))
        .collect();
    if !seen.is_empty() {
        blocks.push(Block::Text(format!("Seen: {}.", seen.join("; "))));
    }
    blocks.push(Block::Text(setting(experiment)));
    let shown = recipe.views.iter();
    blocks.extend(shown.flat_map(|view| views::show(view, experiment)));
    blocks
}

/// What the numbers of an experiment were measured under, where they share it.
fn setting(experiment: &Experiment) -> String {
    let shared = |of: &dyn Fn(&Cell) -> String| distinct(experiment.cells().map(of)).join(" / ");
    let outcomes = experiment.outcomes.iter();
    let seeds = distinct(outcomes.flat_map(|outcome| outcome.seeds.clone()));
    let few = doubt(experiment, seeds.len());
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let rates: Vec<f64> = experiment.cells().map(Cell::mean_gflops).collect();
    let emulated = match experiment.emulated() {
        Some(label) => format!(" Times are those of an {label}, whose transfers sleep."),
        None => String::new(),
    };
    format!(
        "Measured with protocol {}; batches of {}; epochs: {}; learning rate {}; edge features of width {}; \
         seeds: {}; on {}; matrix product {:.0} GFLOP/s.{emulated}{few}",
        shared(&|cell| name_of(&cell.config.protocol.name)),
        shared(&|cell| cell.config.training.batch_size.to_string()),
        shared(&|cell| cell.config.training.epochs.to_string()),
        shared(&|cell| cell.config.training.learning_rate.to_string()),
        shared(&|cell| cell.context.edge_width.to_string()),
        seeds.join(", "),
        shared(&|cell| format!("{} ({})", cell.context.device, cell.context.machine)),
        median(&rates)
    )
}

/// What speaks against reading much into differences, where few seeds or epochs were measured.
fn doubt(experiment: &Experiment, seeds: usize) -> String {
    let cells = || experiment.cells();
    let counted = cells().map(|cell| cell.counted_events_per_s().len());
    let mut few = Vec::new();
    if seeds == 1 {
        few.push("one seed".to_owned());
    }
    if counted.max() == Some(1) {
        let last = |cell: &Cell| cell.epochs.last().map(|epoch| epoch.train_seconds);
        let seconds: Vec<f64> = cells().filter_map(last).collect();
        few.push(format!(
            "one timed epoch per run, of {} s",
            from_to(&seconds, short)
        ));
    }
    match few.is_empty() {
        true => String::new(),
        false => format!(" With {}, differences may be chance.", few.join(" and ")),
    }
}

/// What was trained on, and what others published.
fn sources(experiments: &[Experiment]) -> Section {
    let mut published = Table::new(
        "What others published, where it was read; their machines had data-centre GPUs. Numbers of \
         the paper's tables are not repeated here, since they could not be checked against its text",
        &["figure", "source"],
        &[],
    );
    let row = |p: &Published| vec![p.figure.to_owned(), p.source.to_owned()];
    published.rows = PUBLISHED.iter().map(row).collect();
    let streams = streams(cells(experiments).map(|cell| &cell.context));
    Section {
        title: "Streams and published figures".to_owned(),
        blocks: vec![Block::Table(streams), Block::Table(published)],
    }
}

fn lead(experiments: &[Experiment], quick: bool) -> Vec<Block> {
    let cells = || cells(experiments);
    let mut blocks = vec![Block::Text(
        "Speed against accuracy of the schedules of MSPipe, measured by mspipe itself on one \
         machine. `sequential` runs one stage after the other, as TGL does; every number below \
         belongs to the protocol, stream and machine named beside it. 'Should reach' is what was \
         expected before anything was measured, 'Seen' the results of these runs."
            .to_owned(),
    )];
    if quick {
        blocks.push(Block::Note(
            "This is the quick form: small streams (of real data sets the first events alone), few \
             epochs, one seed. It shows that everything works; it is too small to judge a schedule's \
             accuracy or speed by."
                .to_owned(),
        ));
    }
    if cells().any(|cell| cell.context.synthetic) {
        blocks.push(Block::Note(
            "Streams called SYNTHETIC were generated, because the data set's files were not there. \
             They have the published counts, or a part of them; an accuracy reached on them says \
             nothing about the real data set. `mspipe data fetch NAME` downloads the files."
                .to_owned(),
        ));
    }
    // `flex` is burn's backend for the CPU.
    if cells().any(|cell| cell.context.device.contains("flex")) {
        blocks.push(Block::Note(
            "The device is the CPU: training and the stages that a schedule hides behind it share \
             its cores, so overlap gains less than with a GPU."
                .to_owned(),
        ));
    }
    let each = |of: &dyn Fn(&Cell) -> String| distinct(cells().map(of)).join("; ");
    let rates: Vec<f64> = cells().flat_map(|cell| cell.matmul_gflops).collect();
    let rate = match rates.is_empty() {
        true => "-".to_owned(),
        false => format!(
            "median {:.0} GFLOP/s, {} beside the runs",
            median(&rates),
            from_to(&rates, |rate| format!("{rate:.0}"))
        ),
    };
    blocks.push(Block::Facts(vec![
        (
            "machine".to_owned(),
            each(&|cell| cell.context.machine.clone()),
        ),
        (
            "device".to_owned(),
            each(&|cell| cell.context.device.clone()),
        ),
        (
            "worker threads".to_owned(),
            each(&|cell| cell.context.threads.to_string()),
        ),
        ("matrix product, 19800 x 472 x 300".to_owned(), rate),
        ("program".to_owned(), each(&|cell| cell.program.clone())),
    ]));
    blocks
}

fn streams<'a>(contexts: impl Iterator<Item = &'a Context>) -> Table {
    let mut table = Table::new(
        "Streams; training, validation and test are their first 70, next 15 and last 15 percent, or \
         as their files say",
        &["stream"],
        &["events used", "nodes", "width of edge features", "SHA-256"],
    );
    let row = |c: &Context| {
        vec![
            c.title(),
            thousands(c.events as f64),
            thousands(c.nodes as f64),
            c.edge_width.to_string(),
            format!("{:.12}", c.data_hash),
        ]
    };
    table.rows = distinct(contexts.map(row));
    table
}
