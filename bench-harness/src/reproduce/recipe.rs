//! Recipes: what an experiment trains, what it should reach and how it is shown, as TOML files.
//!
//! The first line of a recipe, `reaches`, says what its numbers should come to; the report
//! prints it beside them. Settings are written as options of `mspipe train`, so that there is
//! one name for each and its own error message. What all recipes share is in
//! `recipes/reproduce.toml`.
//!
//! It reads and resolves recipes; `plan` makes runs of them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// What all recipes share.
const BASE: &str = include_str!("../../recipes/reproduce.toml");

macro_rules! recipes {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../recipes/", $name, ".toml")))),*]
    };
}

/// Every recipe by its name, in the order of the report.
const RECIPES: [(&str, &str); 15] = recipes![
    "speed-up"
    "stage-times"
    "timeline"
    "staleness-bound"
    "k-over-time"
    "slow-bus"
    "convergence"
    "gradients"
    "mitigation"
    "frontier"
    "frontier-apan"
    "batch-size"
    "memory-cost"
    "ablation"
    "paper"
];

/// How the numbers of a recipe are shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum View {
    /// Events a second over those of the first arm.
    Speed,
    /// Test AP against speed.
    TradeOff,
    /// Shares of the stages.
    Stages,
    /// What overlapped in a few iterations.
    Timeline,
    /// AP and speed against a setting, or against the staleness `k`.
    Sweep(String),
    /// The value of a setting that validation chooses, judged by the test part.
    Chosen(String),
    /// k by iteration.
    KOverTime,
    /// Ages of the memory rows read.
    Ages,
    /// Validation AP by epoch and by time.
    Convergence,
    /// Errors of memory and gradients, and how gradients fall.
    Gradients,
    /// Iterations and bytes under way.
    InFlight,
    /// A table of arms, against the first one.
    Arms,
    /// Accuracy against lost mail, and what mitigations win back.
    Frontier,
}

impl TryFrom<String> for View {
    type Error = String;

    fn try_from(name: String) -> Result<View, String> {
        Ok(match name.as_str() {
            "speed" => View::Speed,
            "trade-off" => View::TradeOff,
            "stages" => View::Stages,
            "timeline" => View::Timeline,
            "k-over-time" => View::KOverTime,
            "ages" => View::Ages,
            "convergence" => View::Convergence,
            "gradients" => View::Gradients,
            "in-flight" => View::InFlight,
            "arms" => View::Arms,
            "frontier" => View::Frontier,
            _ => match name.split_once(':') {
                Some(("sweep", setting)) => View::Sweep(setting.to_owned()),
                Some(("chosen", setting)) => View::Chosen(setting.to_owned()),
                _ => return Err(format!("there is no view '{name}'")),
            },
        })
    }
}

/// An experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What its numbers should come to.
    pub reaches: String,
    /// Title of its part of the report.
    pub title: String,
    /// How it is shown.
    #[serde(skip)]
    pub views: Vec<View>,
    /// Streams by name.
    pub data: Vec<String>,
    /// Options of every run.
    pub options: String,
    /// Options of which each run has one of every list.
    pub vary: Vec<Vec<String>>,
    /// What is compared: a name, and options. The first is what the others are compared with.
    pub arms: Vec<(String, String)>,
    /// Seeds.
    pub seeds: Vec<u64>,
}

/// Options of a stream's own files, and of what stands in for them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// With its files.
    pub real: String,
    /// Without.
    pub stand_in: String,
}

/// What all recipes share.
#[derive(Debug, Clone)]
pub struct Base {
    /// Options of every run.
    pub options: String,
    /// Streams by name.
    pub streams: BTreeMap<String, Stream>,
    /// The recipes, in the order of the report.
    pub recipes: Vec<Recipe>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BaseFile {
    full: Shared,
    quick: Shared,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shared {
    options: String,
    seeds: Vec<u64>,
    streams: BTreeMap<String, Stream>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    reaches: String,
    title: String,
    views: Vec<View>,
    data: Vec<String>,
    #[serde(default)]
    options: String,
    #[serde(default)]
    vary: Vec<Vec<String>>,
    arms: Vec<(String, String)>,
    seeds: Option<Vec<u64>>,
    #[serde(default)]
    quick: Quick,
}

/// What a recipe has else when it has to be quick.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quick {
    data: Option<Vec<String>>,
    options: Option<String>,
    vary: Option<Vec<Vec<String>>>,
    arms: Option<Vec<(String, String)>>,
}

impl Base {
    /// All recipes, as they are or with what they have else when they have to be `quick`.
    ///
    /// # Errors
    /// A recipe that can't be read, which a test rules out.
    pub fn read(quick: bool) -> Result<Base> {
        let file: BaseFile = toml::from_str(BASE).context("recipes/reproduce.toml")?;
        let shared = if quick { file.quick } else { file.full };
        let recipe = |(name, text)| {
            Recipe::read(name, text, quick, &shared.seeds)
                .with_context(|| format!("recipes/{name}.toml"))
        };
        Ok(Base {
            recipes: RECIPES.into_iter().map(recipe).collect::<Result<_>>()?,
            options: shared.options,
            streams: shared.streams,
        })
    }

    /// Keeps the recipes of these names.
    ///
    /// # Errors
    /// A name that none has.
    pub fn keep(&mut self, names: &[String]) -> Result<()> {
        for name in names {
            ensure!(
                self.recipes.iter().any(|recipe| recipe.name == *name),
                "there is no recipe '{name}'; recipes are {}",
                RECIPES.map(|(name, _)| name).join(", ")
            );
        }
        self.recipes.retain(|recipe| names.contains(&recipe.name));
        Ok(())
    }
}

impl Recipe {
    fn read(name: &str, text: &str, quick: bool, seeds: &[u64]) -> Result<Recipe> {
        let file: RecipeFile = toml::from_str(text)?;
        let (instead, own_seeds) = match quick {
            // The report says of all that is quick how many seeds there are.
            true => (file.quick, None),
            false => (Quick::default(), file.seeds),
        };
        Ok(Recipe {
            name: name.to_owned(),
            reaches: file.reaches,
            title: file.title,
            views: file.views,
            data: instead.data.unwrap_or(file.data),
            options: instead.options.unwrap_or(file.options),
            vary: instead.vary.unwrap_or(file.vary),
            arms: instead.arms.unwrap_or(file.arms),
            seeds: own_seeds.unwrap_or_else(|| seeds.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_says_first_what_it_should_reach_and_is_used() {
        for quick in [false, true] {
            let base = Base::read(quick).unwrap();
            for recipe in &base.recipes {
                assert!(
                    !recipe.arms.is_empty() && !recipe.views.is_empty(),
                    "{}",
                    recipe.name
                );
                let streams = &base.streams;
                assert!(recipe.data.iter().all(|name| streams.contains_key(name)));
            }
        }
        for (name, text) in RECIPES {
            assert!(text.starts_with("reaches = \""), "{name}");
        }
        assert!(BASE.starts_with("# Reaches: "));
    }

    #[test]
    fn recipes_are_chosen_by_name() {
        let mut base = Base::read(true).unwrap();
        base.keep(&["timeline".to_owned()]).unwrap();
        assert_eq!(base.recipes[0].seeds, [0]);
        let error = base.keep(&["speedup".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("no recipe 'speedup'; recipes are speed-up, "),
            "{error}"
        );
    }

    #[test]
    fn a_recipe_with_an_unknown_name_in_it_is_refused() {
        let text = "reaches = ''\ntitle = ''\nviews = ['speed']\ndata = []\narms = []\n";
        assert!(Recipe::read("x", text, false, &[0]).is_ok());
        let more = format!("{text}epochs = 3\n");
        let error = Recipe::read("x", &more, false, &[0]).unwrap_err();
        assert!(error.to_string().contains("epochs"), "{error}");
        let other = text.replace("speed", "speeds");
        let error = Recipe::read("x", &other, false, &[0]).unwrap_err();
        assert!(
            error.to_string().contains("there is no view 'speeds'"),
            "{error}"
        );
    }
}
