//! Results of the runs of a recipe: one outcome per stream, variant and arm, over its seeds.

use std::path::PathBuf;

use mspipe::eval::Spread;
use mspipe::report::chart::thousands;
use serde::Serialize;

use super::plan::Plan;
use super::recipe::{Base, Recipe};
use super::wording::color_of;
use crate::cell::Cell;
use crate::schedules::Row;

/// A recipe with what came of it.
#[derive(Debug, Serialize)]
pub struct Experiment {
    /// What was asked for.
    pub recipe: Recipe,
    /// What came out, by stream, variant and arm.
    pub outcomes: Vec<Outcome>,
    /// Runs that were asked for and are not finished.
    pub unfinished: usize,
}

/// Results of one arm on one stream, in one variant.
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
    pub arm_number: usize,
    /// Seeds that it was trained with.
    pub seeds: Vec<u64>,
    /// Speed, staleness and test AP; speed-up is over the first arm.
    #[serde(flatten)]
    pub row: Row,
    /// Pooled AP of the test part with the other pool of negatives.
    pub test_ap_other_pool: Spread,
    /// Mean of the batches' APs, with the protocol's own negatives.
    pub test_ap_batch_mean: Spread,
    /// EdgeBank's, with the protocol's own negatives.
    pub edgebank_ap: f64,
    /// The runs.
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
            .map(|(number, recipe)| Experiment {
                recipe: recipe.clone(),
                outcomes: outcomes(number, recipe, plan, cells),
                unfinished: unfinished(number, plan, cells),
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

    /// Its runs.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.outcomes.iter().flat_map(|outcome| &outcome.cells)
    }

    /// Names of its arms.
    pub(super) fn arm_names(&self) -> Vec<String> {
        let arms = self.recipe.arms.iter();
        arms.map(|(name, _)| name.clone()).collect()
    }

    /// Name of the arm that the others are compared with.
    pub(super) fn first_arm(&self) -> &str {
        &self.recipe.arms[0].0
    }

    /// Label of the emulated bus, if there was one.
    pub(super) fn emulated(&self) -> Option<String> {
        self.outcomes.iter().find_map(|o| o.row.emulated.clone())
    }

    /// `, EMULATED link …` where there was one.
    pub(super) fn emulated_note(&self) -> String {
        let label = self.emulated();
        label.map_or_else(String::new, |label| format!(", {label}"))
    }
}

impl Outcome {
    /// Its stream and variant, for titles.
    pub(super) fn title(&self) -> String {
        match self.variant.as_str() {
            "" => self.stream.clone(),
            variant => format!("{}, {variant}", self.stream),
        }
    }

    /// Stream, variant and arm, for tables.
    pub(super) fn names(&self) -> Vec<String> {
        vec![self.stream.clone(), self.variant.clone(), self.arm.clone()]
    }

    /// Its arm, with the label of an emulated bus.
    pub(super) fn labelled_arm(&self) -> String {
        match &self.row.emulated {
            Some(label) => format!("{} ({label})", self.arm),
            None => self.arm.clone(),
        }
    }

    /// Number of its colour.
    pub(super) fn color(&self) -> usize {
        color_of(&self.arm, self.arm_number)
    }

    /// Its test AP minus that of another.
    pub(super) fn ap_over(&self, base: &Outcome) -> f64 {
        self.row.test_ap.mean - base.row.test_ap.mean
    }
}

/// The outcome of an arm among those of a stream and variant.
pub(super) fn find_arm<'a>(series: &[&'a Outcome], number: usize) -> Option<&'a Outcome> {
    let is = |outcome: &&&Outcome| outcome.arm_number == number;
    series.iter().find(is).copied()
}

/// Differences of the runs of two outcomes that share a seed.
pub(super) fn paired(
    of: &Outcome,
    from: &Outcome,
    measure: impl Fn(&Cell) -> f64,
) -> Option<Spread> {
    let pairs = of.seeds.iter().zip(&of.cells);
    let differences: Vec<f64> = pairs
        .filter_map(|(seed, cell)| {
            let at = from.seeds.iter().position(|other| other == seed)?;
            Some(measure(cell) - measure(&from.cells[at]))
        })
        .collect();
    (!differences.is_empty()).then(|| Spread::of(differences))
}

/// A difference with the interval of its mean, where several seeds give one.
pub(super) fn difference_text(difference: &Spread) -> String {
    match difference.interval {
        Some([from, to]) => format!("{:+.4} [{from:+.4}, {to:+.4}]", difference.mean),
        None => format!("{:+.4}", difference.mean),
    }
}

/// How many of these outcomes are of generated streams, in words.
pub(super) fn of_them_synthetic<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    match outcomes.filter(|o| o.cells[0].context.synthetic).count() {
        0 => String::new(),
        count => format!(" ({count} of them SYNTHETIC)"),
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

/// The runs of one arm on one stream, in one variant.
struct Trained {
    stream: String,
    variant: String,
    arm: usize,
    cells: Vec<Cell>,
    folders: Vec<PathBuf>,
}

/// The runs of recipe `number` that are not finished: settings with their seeds.
fn unfinished(number: usize, plan: &Plan, cells: &[Vec<Option<Cell>>]) -> usize {
    let of_it = plan.asked.iter().filter(|asked| asked.recipe == number);
    of_it
        .filter(|asked| cells[asked.training.0][asked.training.1].is_none())
        .count()
}

fn outcomes(
    number: usize,
    recipe: &Recipe,
    plan: &Plan,
    cells: &[Vec<Option<Cell>>],
) -> Vec<Outcome> {
    let mut all: Vec<Trained> = Vec::new();
    for asked in plan.asked.iter().filter(|asked| asked.recipe == number) {
        let (group, training) = asked.training;
        let Some(cell) = cells[group][training].clone() else {
            continue;
        };
        let (stream, variant) = (name_of(&asked.stream, &cell), asked.variant.join(", "));
        let same = |o: &Trained| (&o.stream, &o.variant, o.arm) == (&stream, &variant, asked.arm);
        let at = all.iter().position(same).unwrap_or_else(|| {
            all.push(Trained {
                stream,
                variant,
                arm: asked.arm,
                cells: Vec::new(),
                folders: Vec::new(),
            });
            all.len() - 1
        });
        let group = &plan.groups[group];
        let folder = group.trainings[training].path(&group.folder);
        all[at].cells.push(cell);
        all[at].folders.push(folder);
    }
    let speed_of_first = |of: &Trained| {
        let same = |o: &&Trained| o.arm == 0 && o.stream == of.stream && o.variant == of.variant;
        let first = all.iter().find(same)?;
        Some(Row::of(&first.cells.iter().collect::<Vec<_>>(), None).events_per_s)
    };
    let speeds: Vec<Option<f64>> = all.iter().map(speed_of_first).collect();
    let pairs = all.into_iter().zip(speeds);
    pairs
        .map(|(trained, first)| trained.outcome(recipe, first))
        .collect()
}

impl Trained {
    /// What they gave; the first arm trained `first` events per second.
    fn outcome(self, recipe: &Recipe, first: Option<f64>) -> Outcome {
        let of = |value: fn(&Cell) -> f64| {
            let values: Vec<f64> = self.cells.iter().map(value).collect();
            Spread::of(values)
        };
        Outcome {
            arm: recipe.arms[self.arm].0.clone(),
            arm_number: self.arm,
            seeds: self
                .cells
                .iter()
                .map(|cell| cell.config.training.seed)
                .collect(),
            row: Row::of(&self.cells.iter().collect::<Vec<_>>(), first),
            test_ap_other_pool: of(|cell| cell.test_other_pool.ap),
            test_ap_batch_mean: of(|cell| cell.test.ap_batch_mean),
            // The draws of negatives differ from seed to seed.
            edgebank_ap: of(|cell| cell.edgebank_ap).mean,
            stream: self.stream,
            variant: self.variant,
            cells: self.cells,
            folders: self.folders,
        }
    }
}

/// A stream as tables name it, for what was trained on it.
fn name_of(stream: &str, cell: &Cell) -> String {
    let synthetic = if cell.context.synthetic {
        " SYNTHETIC"
    } else {
        ""
    };
    // A generated stream that was asked for by its whole name says so itself.
    let name = stream.trim_start_matches("synthetic:");
    // A part of a data set must not be taken for the whole.
    let events = cell.context.events;
    let part = match cell.config.stream.limit_events {
        Some(limit) if limit == events => format!(" (first {})", thousands(events as f64)),
        _ => String::new(),
    };
    format!("{name}{part}{synthetic}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_several_seeds_has_an_interval() {
        assert_eq!(difference_text(&Spread::of(vec![0.5])), "+0.5000");
        let several = difference_text(&Spread::of(vec![-0.5, -0.25]));
        assert!(several.starts_with("-0.3750 [-0."), "{several}");
    }
}
