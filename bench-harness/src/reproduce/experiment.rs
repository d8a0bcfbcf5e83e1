//! What the trainings of a recipe gave: one outcome a stream, variant and arm, over its seeds.

use std::path::PathBuf;

use mspipe::report::Block;
use mspipe::report::chart::{short, thousands};
use serde::Serialize;

use super::plan::Plan;
use super::recipe::{Base, Recipe};
use super::views;
use crate::cell::{Cell, Spread};
use crate::schedules::Row;

/// A recipe with what came of it.
#[derive(Debug, Serialize)]
pub struct Experiment {
    /// What was asked for.
    pub recipe: Recipe,
    /// What came out, by stream, variant and arm.
    pub outcomes: Vec<Outcome>,
}

/// What one arm gave on one stream, in one variant.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The stream, with SYNTHETIC behind its name if it was generated.
    pub stream: String,
    /// Its values of what the recipe varies.
    pub variant: String,
    /// Name of its arm.
    pub arm: String,
    /// Number of its arm.
    #[serde(skip)]
    pub color: usize,
    /// Seeds that it was trained with.
    pub seeds: Vec<u64>,
    /// Speed, staleness and test AP; speed-up is over the first arm.
    #[serde(flatten)]
    pub row: Row,
    /// Pooled AP of the test part with the other pool of negatives.
    pub test_ap_other_pool: Spread,
    /// EdgeBank's, with the protocol's own negatives.
    pub edgebank_ap: f64,
    /// The trainings.
    #[serde(skip)]
    pub cells: Vec<Cell>,
    /// Their run folders.
    #[serde(skip)]
    pub folders: Vec<PathBuf>,
}

impl Experiment {
    /// All recipes of `base`, with those cells that are there.
    pub(super) fn all(base: &Base, plan: &Plan, cells: &[Vec<Option<Cell>>]) -> Vec<Experiment> {
        let recipes = base.recipes.iter().enumerate();
        recipes
            .map(|(number, recipe)| {
                let mut outcomes = outcomes(number, recipe, plan, cells);
                compare_with_first_arm(&mut outcomes);
                Experiment {
                    recipe: recipe.clone(),
                    outcomes,
                }
            })
            .collect()
    }

    /// Streams that have an outcome, each once.
    pub(super) fn streams(&self) -> Vec<&str> {
        distinct(self.outcomes.iter().map(|outcome| outcome.stream.as_str()))
    }

    /// The outcomes of each stream and variant.
    pub(super) fn series(&self) -> Vec<Vec<&Outcome>> {
        let key = |outcome: &Outcome| (outcome.stream.clone(), outcome.variant.clone());
        distinct(self.outcomes.iter().map(key))
            .into_iter()
            .map(|wanted| self.outcomes.iter().filter(|o| key(o) == wanted).collect())
            .collect()
    }

    /// Its part of the report.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::Text(format!(
            "Should reach: {}.",
            self.recipe.reaches
        ))];
        if self.outcomes.is_empty() {
            blocks.push(Block::Note("No training of it is finished.".to_owned()));
            return blocks;
        }
        let views = self.recipe.views.iter();
        let seen: Vec<String> = views.filter_map(|view| views::seen(view, self)).collect();
        if !seen.is_empty() {
            blocks.push(Block::Text(format!("Seen: {}.", seen.join("; "))));
        }
        blocks.push(Block::Text(self.setting()));
        for view in &self.recipe.views {
            blocks.extend(views::show(view, self));
        }
        blocks
    }

    /// What its numbers were measured under, where they share it.
    fn setting(&self) -> String {
        let cells = || self.outcomes.iter().flat_map(|outcome| &outcome.cells);
        let shared = |of: &dyn Fn(&Cell) -> String| distinct(cells().map(of)).join(" / ");
        let seeds = distinct(
            self.outcomes
                .iter()
                .flat_map(|outcome| outcome.seeds.clone()),
        );
        let few = self.doubt(seeds.len());
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let rates: Vec<f64> = cells().map(Cell::mean_gflops).collect();
        let machine = shared(&|cell| format!("{} ({})", cell.context.device, cell.context.machine));
        let text = [
            format!(
                "Measured with protocol {}",
                shared(&|cell| crate::cell::name_of(&cell.config.protocol))
            ),
            format!(
                "batches of {}",
                shared(&|c| c.config.batch_size.to_string())
            ),
            format!("epochs: {}", shared(&|c| c.config.epochs.to_string())),
            format!(
                "learning rate {}",
                shared(&|cell| cell.config.learning_rate.to_string())
            ),
            format!(
                "edge features of width {}",
                shared(&|cell| cell.context.edge_width.to_string())
            ),
            format!("seeds: {}", seeds.join(", ")),
            format!("on {machine}"),
            format!("matrix product {:.0} GFLOP/s", crate::speed::median(&rates)),
        ];
        let emulated = match self.emulated() {
            Some(label) => format!(" Times are those of an {label}, whose transfers sleep."),
            None => String::new(),
        };
        format!("{}.{emulated}{few}", text.join("; "))
    }

    /// What speaks against reading much into differences, where few seeds or epochs were
    /// measured.
    fn doubt(&self, seeds: usize) -> String {
        let cells = || self.outcomes.iter().flat_map(|outcome| &outcome.cells);
        let counted = cells().map(|cell| cell.counted_events_per_s().len());
        let mut few = Vec::new();
        if seeds == 1 {
            few.push("one seed".to_owned());
        }
        if counted.max() == Some(1) {
            let last = |cell: &Cell| cell.epochs.last().map(|epoch| epoch.train_seconds);
            let seconds: Vec<f64> = cells().filter_map(last).collect();
            few.push(format!(
                "one timed epoch a training, of {} s",
                views::from_to(&seconds, short)
            ));
        }
        match few.is_empty() {
            true => String::new(),
            false => format!(" With {}, differences may be chance.", few.join(" and ")),
        }
    }

    /// Label of the emulated bus, if there was one.
    pub(super) fn emulated(&self) -> Option<String> {
        self.outcomes.iter().find_map(|o| o.row.emulated.clone())
    }
}

/// Each value once, in the order in which they come.
pub(super) fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

fn outcomes(
    number: usize,
    recipe: &Recipe,
    plan: &Plan,
    cells: &[Vec<Option<Cell>>],
) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for asked in plan.asked.iter().filter(|asked| asked.recipe == number) {
        let (group, training) = asked.training;
        let Some(cell) = cells[group][training].clone() else {
            continue;
        };
        let synthetic = if cell.context.synthetic {
            " SYNTHETIC"
        } else {
            ""
        };
        // A generated stream that was asked for by its whole name says so itself.
        let name = asked.stream.trim_start_matches("synthetic:");
        // A part of a data set must not be taken for the whole.
        let events = cell.context.events;
        let part = match cell.config.limit_events {
            Some(limit) if limit == events => format!(" (first {})", thousands(events as f64)),
            _ => String::new(),
        };
        let stream = format!("{name}{part}{synthetic}");
        let variant = asked.variant.join(", ");
        let group = &plan.groups[group];
        let folder = group.trainings[training].path(&group.folder);
        let same =
            |o: &&mut Outcome| o.stream == stream && o.variant == variant && o.color == asked.arm;
        match outcomes.iter_mut().find(same) {
            Some(outcome) => {
                outcome.seeds.push(cell.config.seed);
                outcome.cells.push(cell);
                outcome.folders.push(folder);
            }
            None => outcomes.push(Outcome {
                stream,
                variant,
                arm: recipe.arms[asked.arm].0.clone(),
                color: asked.arm,
                seeds: vec![cell.config.seed],
                row: Row::of(&[&cell], None),
                test_ap_other_pool: Spread::of(&[cell.test_other_pool.ap]),
                edgebank_ap: cell.edgebank_ap,
                cells: vec![cell],
                folders: vec![folder],
            }),
        }
    }
    for outcome in &mut outcomes {
        let of = |value: fn(&Cell) -> f64| {
            let values: Vec<f64> = outcome.cells.iter().map(value).collect();
            Spread::of(&values)
        };
        let other_pool = of(|cell| cell.test_other_pool.ap);
        // The draws of negatives differ from seed to seed.
        let edgebank = of(|cell| cell.edgebank_ap).mean;
        outcome.test_ap_other_pool = other_pool;
        outcome.edgebank_ap = edgebank;
    }
    outcomes
}

/// Rows over all seeds, with the speed-up over the first arm of the same stream and variant.
fn compare_with_first_arm(outcomes: &mut [Outcome]) {
    let firsts: Vec<(String, String, f64)> = outcomes
        .iter()
        .filter(|outcome| outcome.color == 0)
        .map(|outcome| {
            let cells: Vec<&Cell> = outcome.cells.iter().collect();
            let speed = Row::of(&cells, None).events_per_s;
            (outcome.stream.clone(), outcome.variant.clone(), speed)
        })
        .collect();
    for outcome in outcomes {
        let first = firsts
            .iter()
            .find(|(stream, variant, _)| *stream == outcome.stream && *variant == outcome.variant)
            .map(|(.., speed)| *speed);
        let cells: Vec<&Cell> = outcome.cells.iter().collect();
        outcome.row = Row::of(&cells, first);
    }
}
