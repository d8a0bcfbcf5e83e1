//! `check`: small runs with fixed seeds must give what they gave when they were recorded.
//!
//! Recipes are in `check/recipes.toml`, what they gave in `check/bands.json`; `--record` writes
//! the latter. [`bands`] explains the tolerances. A recipe that needs a data set's own files is
//! left out where they are not there, or are another copy of it.

pub mod bands;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use mspipe::config::RunConfig;
use mspipe::console;
use mspipe::device::DeviceSettings;
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::grid::{self, Group, Training, folder_name, write_whole};
use crate::reproduce::{is_here, settings_of};
use bands::{Bands, Compared, Recorded};

const RECIPES: &str = include_str!("../check/recipes.toml");

/// Where bands are, in the repository.
const BANDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/check/bands.json");

/// Shares by which the learning rate is changed to see how runs spread.
const DISTURBANCES: [f64; 4] = [1e-6, -1e-6, 3e-6, -3e-6];

/// How to check.
#[derive(Debug, Clone, Args)]
pub struct CheckConfig {
    /// Record what the runs give now, in place of what was recorded
    #[arg(long)]
    pub record: bool,

    /// The device and how it is opened.
    #[command(flatten)]
    pub device: DeviceSettings,

    /// Recipe to check; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    pub recipe: Vec<String>,

    /// File with what was recorded [default: check/bands.json of the source]
    #[arg(long, value_name = "FILE")]
    pub bands: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    recipe: Vec<Recipe>,
}

/// A run to guard.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    reaches: String,
    name: String,
    /// A data set whose own files it trains on.
    needs: Option<String>,
    options: String,
}

/// What became of one recipe.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Its name.
    pub recipe: String,
    /// What it guards.
    pub reaches: String,
    /// Why it was not checked, where it was not.
    pub left_out: Option<String>,
    /// Each quantity.
    pub quantities: Vec<Compared>,
}

/// A check.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// Device that trained.
    pub device: String,
    /// What bands were recorded on and by.
    pub recorded_on: String,
    /// Whether everything is within its band.
    pub passed: bool,
    /// One a recipe.
    pub recipes: Vec<Checked>,
}

/// Trains the recipes and compares them with what was recorded, or records.
///
/// # Errors
/// Nothing recorded, or with other settings; a run that fails.
pub fn run(asked: &CheckConfig) -> Result<CheckReport> {
    let file = asked.bands.clone().unwrap_or_else(|| BANDS.into());
    let mut recipes = toml::from_str::<RecipeFile>(RECIPES)
        .context("check/recipes.toml")?
        .recipe;
    if !asked.recipe.is_empty() {
        for name in &asked.recipe {
            let known: Vec<&str> = recipes.iter().map(|recipe| recipe.name.as_str()).collect();
            ensure!(
                known.contains(&name.as_str()),
                "there is no recipe '{name}'; recipes are {known:?}"
            );
        }
        recipes.retain(|recipe| asked.recipe.contains(&recipe.name));
    }
    ensure!(
        !asked.record || asked.recipe.is_empty(),
        "--record records all recipes; leave --recipe out"
    );
    let known = if asked.record {
        if file.exists() {
            // Replaces what was recorded, and nothing else.
            read(&file)?;
        }
        None
    } else {
        Some(read(&file)?)
    };

    let mut left_out = vec![None; recipes.len()];
    let mut groups = Vec::new();
    // Removed at the end, whatever that is.
    let folder = tempfile::tempdir().context("a folder for the runs")?;
    for (recipe, left_out) in recipes.iter().zip(&mut left_out) {
        if let Some(name) = recipe
            .needs
            .as_ref()
            .filter(|name| !is_here(name).unwrap_or(false))
        {
            *left_out = Some(format!(
                "the files of {name} are not there (mspipe data fetch {name})"
            ));
            continue;
        }
        groups.push(recipe.group(asked, folder.path())?);
    }
    let trained = grid::run_groups(groups);
    let mut cells = trained?.into_iter();
    let cells: Vec<Vec<Cell>> = left_out
        .iter()
        .map(|left_out| match left_out {
            None => cells.next().unwrap_or_default(),
            Some(_) => Vec::new(),
        })
        .collect();

    let bands = match known {
        Some(bands) => bands,
        None => {
            let bands = record(&recipes, &cells)?;
            write_whole(&file, &(serde_json::to_string_pretty(&bands)? + "\n"))?;
            console::note(format!("recorded in {}", file.display()));
            bands
        }
    };
    report(&recipes, left_out, &cells, &bands)
}

fn read(file: &Path) -> Result<Bands> {
    let text = fs::read_to_string(file).with_context(|| {
        format!(
            "{}: nothing is recorded; record it with check --record",
            file.display()
        )
    })?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{}: is not a record of a check; record it again with check --record",
            file.display()
        )
    })
}

impl Recipe {
    /// Its training, and those with another learning rate where it is to be recorded.
    fn group(&self, asked: &CheckConfig, folder: &Path) -> Result<Group> {
        let DeviceSettings {
            choice,
            kernels,
            limits,
        } = asked.device;
        let device = [
            format!("--device={choice}"),
            format!("--kernels={kernels}"),
            format!("--limits={limits}"),
        ];
        let config = settings_of(&[&self.options], &device)
            .with_context(|| format!("check/recipes.toml: recipe '{}'", self.name))?;
        let training = |label: String, config: RunConfig| Training {
            label,
            config,
            work: 1.0,
        };
        let mut trainings = vec![training(self.name.clone(), config.clone())];
        if asked.record {
            for (nth, share) in DISTURBANCES.into_iter().enumerate() {
                let mut disturbed = config.clone();
                disturbed.training.learning_rate *= 1.0 + share;
                trainings.push(training(
                    format!("{}, disturbed {}", self.name, nth + 1),
                    disturbed,
                ));
            }
        }
        Ok(Group {
            folder: folder.join(folder_name(&self.name)),
            trainings,
        })
    }
}

fn record(recipes: &[Recipe], cells: &[Vec<Cell>]) -> Result<Bands> {
    let first = cells
        .iter()
        .flatten()
        .next()
        .context("there was nothing to train")?;
    let recorded = recipes.iter().zip(cells).filter_map(|(recipe, cells)| {
        let (own, disturbed) = cells.split_first()?;
        Some(Recorded {
            name: recipe.name.clone(),
            options: recipe.options.clone(),
            data_hash: own.context.data_hash.clone(),
            seed: own.config.training.seed,
            quantities: bands::record(own, disturbed),
        })
    });
    Ok(Bands {
        machine: first.context.machine.clone(),
        device: first.context.device.clone(),
        program: first.program.clone(),
        recipes: recorded.collect(),
    })
}

/// The quantities of a run beside those recorded, or why they can't be compared.
fn compared(recipe: &Recipe, cell: &Cell, bands: &Bands) -> Result<Result<Vec<Compared>, String>> {
    let known = bands.recipes.iter().find(|known| known.name == recipe.name);
    let Some(known) = known else {
        ensure!(
            recipe.needs.is_some(),
            "recipe '{}' is not recorded; record it with check --record",
            recipe.name
        );
        let reason = "it was recorded where its files were not there";
        return Ok(Err(reason.to_owned()));
    };
    ensure!(
        known.options == recipe.options,
        "recipe '{}' was recorded with other options ({}); record it again with check --record",
        recipe.name,
        known.options
    );
    let found = &cell.context.data_hash;
    let same = known.data_hash == *found;
    if !same && recipe.needs.is_some() {
        return Ok(Err(format!(
            "it was recorded on another copy of the stream ({:.8}, this is {found:.8})",
            known.data_hash
        )));
    }
    let mut quantities = bands::compare(&known.quantities, &bands::quantities(cell));
    // A generated stream is part of what is checked.
    quantities.push(Compared {
        name: "stream".to_owned(),
        nth: (1, 1),
        recorded: 0.0,
        tolerance: 0.0,
        found: Some(f64::from(u8::from(!same))),
        ok: same,
    });
    Ok(Ok(quantities))
}

fn report(
    recipes: &[Recipe],
    left_out: Vec<Option<String>>,
    cells: &[Vec<Cell>],
    bands: &Bands,
) -> Result<CheckReport> {
    let mut checked = Vec::new();
    for ((recipe, left_out), cells) in recipes.iter().zip(left_out).zip(cells) {
        let (left_out, quantities) = match cells.first() {
            Some(cell) => match compared(recipe, cell, bands)? {
                Ok(quantities) => (None, quantities),
                Err(reason) => (Some(reason), Vec::new()),
            },
            None => (left_out, Vec::new()),
        };
        checked.push(Checked {
            recipe: recipe.name.clone(),
            reaches: recipe.reaches.clone(),
            left_out,
            quantities,
        });
    }
    let device = cells
        .iter()
        .flatten()
        .next()
        .map(|cell| cell.context.device.clone());
    Ok(CheckReport {
        device: device.unwrap_or_default(),
        recorded_on: format!("{} ({}), {}", bands.device, bands.machine, bands.program),
        passed: checked
            .iter()
            .flat_map(|checked| &checked.quantities)
            .all(|q| q.ok),
        recipes: checked,
    })
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "found on     {}\nrecorded on  {}",
            self.device, self.recorded_on
        )?;
        for checked in &self.recipes {
            writeln!(f, "\n{}: {}", checked.recipe, checked.reaches)?;
            if let Some(reason) = &checked.left_out {
                writeln!(f, "  not checked: {reason}")?;
            }
            for quantity in &checked.quantities {
                let Compared {
                    name,
                    nth: (nth, count),
                    recorded,
                    tolerance,
                    found,
                    ok,
                } = quantity;
                let found = found.map_or("missing".to_owned(), |found| format!("{found:.6}"));
                let place = if *count > 1 {
                    format!(" ({nth} of {count})")
                } else {
                    String::new()
                };
                let verdict = if *ok { "ok" } else { "OUT OF ITS BAND" };
                writeln!(
                    f,
                    "  {:<32} recorded {recorded:.6} ± {tolerance:<6} found {found:<14} {verdict}",
                    format!("{name}{place}")
                )?;
            }
        }
        let verdict = if self.passed {
            "passed"
        } else {
            "FAILED: these runs no longer give the recorded results"
        };
        write!(f, "\n{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_trained_and_is_recorded() {
        let recipes = toml::from_str::<RecipeFile>(RECIPES).unwrap().recipe;
        let bands = read(Path::new(BANDS)).unwrap();
        for recipe in &recipes {
            let config = settings_of(&[&recipe.options], &[]).unwrap();
            config.validate().unwrap();
            let known = bands
                .recipes
                .iter()
                .find(|known| known.name == recipe.name)
                .unwrap();
            assert_eq!(
                known.options, recipe.options,
                "record it again with check --record"
            );
            assert_eq!(known.seed, config.training.seed);
        }
    }
}
