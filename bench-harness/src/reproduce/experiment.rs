//! What the trainings of a recipe gave: one outcome a stream, variant and arm, over its seeds.

use std::path::PathBuf;

use mspipe::report::Block;
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
        blocks.push(Block::Text(self.setting()));
        for view in &self.recipe.views {
            blocks.extend(views::show(view, self));
        }
        blocks
    }

    /// What its numbers were measured under, where they share it.
    fn setting(&self) -> String {
        let cells = || self.outcomes.iter().flat_map(|outcome| &outcome.cells);
        let shared = |name: &str, of: &dyn Fn(&Cell) -> String| {
            let values = distinct(cells().map(of));
            format!("{name} {}", values.join(" / "))
        };
        let seeds = distinct(
            self.outcomes
                .iter()
                .flat_map(|outcome| outcome.seeds.clone()),
        );
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let rates: Vec<f64> = cells().map(Cell::mean_gflops).collect();
        let text = [
            shared("Protocol", &|cell| {
                crate::cell::name_of(&cell.config.protocol)
            }),
            shared("batches of", &|cell| cell.config.batch_size.to_string()),
            shared("epochs", &|cell| cell.config.epochs.to_string()),
            shared("learning rate", &|cell| {
                cell.config.learning_rate.to_string()
            }),
            shared("edge features", &|cell| {
                format!("{} wide", cell.context.edge_width)
            }),
            format!("seeds {}", seeds.join(", ")),
            shared("on", &|cell| cell.context.device.clone()),
            shared("of", &|cell| cell.context.machine.clone()),
            format!("matrix product {:.0} GFLOP/s", crate::speed::median(&rates)),
        ];
        let emulated = cells().any(|cell| cell.config.pipeline.emulate_link.is_some());
        let emulated = if emulated {
            " Times are those of an EMULATED bus, whose transfers sleep."
        } else {
            ""
        };
        format!("{}.{emulated}", text.join(", "))
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
        let stream = format!("{name}{synthetic}");
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
