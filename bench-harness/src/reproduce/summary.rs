//! What the report says first: mspipe against sequential, for each stream and model.

use mspipe::profiler::machine::median;
use mspipe::report::chart::thousands;
use mspipe::report::{Block, Section, Table};

use super::experiment::{Experiment, Outcome, of_them_synthetic};
use super::wording::{ap_difference, from_to};

/// Recipes that compare whole schedules.
const RECIPES: [&str; 2] = ["speed-up", "slow-bus"];

/// One stream and model.
struct Pair<'a> {
    base: &'a Outcome,
    mspipe: &'a Outcome,
    exact: Option<&'a Outcome>,
}

impl<'a> Pair<'a> {
    fn of(series: &[&'a Outcome]) -> Option<Pair<'a>> {
        let arm = |name: &str| series.iter().find(|outcome| outcome.arm == name).copied();
        Some(Pair {
            base: arm("sequential")?,
            mspipe: arm("mspipe")?,
            exact: arm("exact-overlap"),
        })
    }

    fn on_device(&self) -> bool {
        self.base.variant.contains("memory device")
    }

    fn ap_difference(&self) -> f64 {
        self.mspipe.ap_over(self.base)
    }

    fn row(&self) -> Vec<String> {
        let link = self.base.row.emulated.as_ref();
        let stream = match link {
            Some(link) => format!("{}, {link}", self.base.stream),
            None => self.base.stream.clone(),
        };
        let factor = |outcome: &Outcome| outcome.row.speed_up_text();
        vec![
            stream,
            self.base.cells[0].config.model.name.to_string(),
            thousands(self.base.row.events_per_s),
            factor(self.mspipe),
            self.exact.map_or_else(|| "-".to_owned(), factor),
            self.base.row.test_ap.to_string(),
            self.mspipe.row.test_ap.to_string(),
            ap_difference(self.ap_difference()),
            format!("{:.4}", self.base.edgebank_ap),
        ]
    }
}

/// The summary, where a recipe that compares schedules has finished runs.
pub(super) fn section(experiments: &[Experiment]) -> Option<Section> {
    let compared = |e: &&Experiment| RECIPES.contains(&e.recipe.name.as_str());
    let series: Vec<Vec<&Outcome>> = experiments
        .iter()
        .filter(compared)
        .flat_map(Experiment::series)
        .collect();
    let pairs: Vec<Pair> = series.iter().filter_map(|s| Pair::of(s)).collect();
    let emulated = |pair: &&Pair| pair.base.row.emulated.is_some();
    let (in_ram, on_device): (Vec<&Pair>, Vec<&Pair>) = pairs
        .iter()
        .filter(|pair| !emulated(pair))
        .partition(|pair| !pair.on_device());
    let behind: Vec<&Pair> = pairs.iter().filter(emulated).collect();
    let lines: Vec<String> = [
        ("With memory in RAM", in_ram),
        ("With memory on the device", on_device),
        ("Behind an EMULATED slow bus", behind),
    ]
    .into_iter()
    .filter_map(|(place, pairs)| line(place, &pairs))
    .collect();
    if lines.is_empty() {
        return None;
    }
    let mut blocks: Vec<Block> = lines.into_iter().map(Block::Text).collect();
    if pairs.iter().all(|pair| pair.base.seeds.len() == 1) {
        let text = "Each number is that of one seed. How far AP and speed differ from seed to seed \
                    was not measured, so none of these differences can be distinguished from chance.";
        blocks.push(Block::Note(text.to_owned()));
    }
    let mut table = Table::new(
        "mspipe against sequential, memory in RAM; exact-overlap overlaps all that \
         leaves AP as it is. AP: of the test part, pooled; 0.5 is chance. EdgeBank learns nothing, it \
         asks whether the pair has been seen",
        &["stream", "model"],
        &[
            "sequential, events/s",
            "speed-up of mspipe",
            "speed-up of exact-overlap",
            "AP of sequential",
            "AP of mspipe",
            "AP difference",
            "AP of EdgeBank",
        ],
    );
    let shown = pairs.iter().filter(|pair| !pair.on_device());
    table.rows = shown.map(Pair::row).collect();
    blocks.push(Block::Table(table));
    Some(Section {
        title: "Summary".to_owned(),
        blocks,
    })
}

/// Speed-up and AP of mspipe over some pairs, in words.
fn line(place: &str, pairs: &[&Pair]) -> Option<String> {
    let speed: Vec<f64> = pairs.iter().filter_map(|p| p.mspipe.row.speed_up).collect();
    if speed.is_empty() {
        return None;
    }
    let ap: Vec<f64> = pairs.iter().map(|pair| pair.ap_difference()).collect();
    let factor = |factor: f64| format!("{factor:.2}");
    let synthetic = of_them_synthetic(pairs.iter().map(|pair| pair.base));
    let difference = |difference: f64| format!("{difference:+.4}");
    Some(match pairs {
        [_] => format!(
            "{place}, mspipe trains {} times as fast as sequential; its test AP minus that of \
             sequential: {}.",
            factor(speed[0]),
            ap_difference(ap[0])
        ),
        _ if ap.iter().all(|ap| *ap == 0.0) => format!(
            "{place}, mspipe trains {} times as fast as sequential, median {}, over {} pairs of \
             stream and model{synthetic}; its test AP is the same, to the last bit.",
            from_to(&speed, factor),
            factor(median(&speed)),
            pairs.len()
        ),
        _ => format!(
            "{place}, mspipe trains {} times as fast as sequential, median {}, over {} pairs of \
             stream and model{synthetic}; its test AP minus that of sequential: {}, median {}.",
            from_to(&speed, factor),
            factor(median(&speed)),
            pairs.len(),
            from_to(&ap, difference),
            difference(median(&ap))
        ),
    })
}
