//! `mspipe runs` and `mspipe report`: runs side by side, as a list and as a page.

use std::cmp::Ordering;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use clap::{Args, Id, ValueHint};
use mspipe::config::{self, Kind, RunConfig};
use mspipe::console;
use mspipe::report::run as run_report;
use mspipe::run_folder::RunFolderError;
use mspipe::run_folder::listing::{self, FoundRun, OfTask, RunState};
use mspipe_datasets::printable;
use mspipe_datasets::whole_file::{self, Existing};
use serde_json::{Value, json};

use super::report::SYNTHETIC;
use super::table::table;

const EXAMPLES: &str = "\
Examples:
  All runs of the folder runs, the latest last:
    mspipe runs
  The best on validation first, of one model:
    mspipe runs runs --sort val --filter model=tgn
  Those that have ended with a test above 0.9, for a script:
    mspipe runs runs --filter state=ended --filter 'test>0.9' --json

val and test are of the measure that chooses a run's epoch (--monitor), which stands before them. Runs of \
different tasks (--task) have a table each, and of different measures are not sorted into one another. Settings \
that differ between the runs of a table stand beside each; 'mspipe report RUN \
RUN' draws them as a page.";

const REPORT: &str = "\
Examples:
  The page of one run again, into its folder:
    mspipe report runs/wikipedia-tgn-1
  Several runs on one page, with their curves over one another:
    mspipe report runs/wikipedia-tgn-1 runs/wikipedia-tgn-2 --to page.html";

/// Widest table in which settings have columns of their own.
const WIDTH: usize = 80;

/// Arguments of `mspipe runs`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunsArgs {
    /// The folder that the runs are below [default: runs]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: Option<PathBuf>,

    /// Order: started, name, state, epochs, val, test, events_per_s, or a setting
    #[arg(long, value_name = "NAME", default_value = "started", value_parser = known)]
    sort: String,

    /// Only runs for which this holds: NAME=VALUE, NAME!=VALUE, or < > <= >= with numbers; a name is one
    /// of those of --sort (started: seconds since 1970); may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<Condition>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `mspipe report`.
#[derive(Debug, Args)]
#[command(after_help = REPORT)]
pub(crate) struct ReportArgs {
    /// Folders of runs: one that has ended, or several
    #[arg(required = true, value_name = "RUN", value_hint = ValueHint::DirPath)]
    runs: Vec<PathBuf>,

    /// Where the page of several runs goes [default: comparison.html]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
}

/// A condition of `--filter`.
#[derive(Debug, Clone, PartialEq)]
struct Condition {
    name: String,
    /// What the order of what is found and what is asked for may be.
    holds: &'static [Ordering],
    value: String,
}

/// Where runs lie unless told otherwise.
const FOLDER: &str = "runs";

/// What a run has beside its settings. `epochs` comes before the setting of this name.
const OWN: [&str; 7] = [
    "started",
    "name",
    "state",
    "epochs",
    "val",
    "test",
    "events_per_s",
];

/// Signs, the longer ones first, with the orders for which they hold.
const SIGNS: [(&str, &[Ordering]); 6] = [
    ("!=", &[Ordering::Less, Ordering::Greater]),
    ("<=", &[Ordering::Less, Ordering::Equal]),
    (">=", &[Ordering::Greater, Ordering::Equal]),
    ("=", &[Ordering::Equal]),
    ("<", &[Ordering::Less]),
    (">", &[Ordering::Greater]),
];

/// A name that runs have something under, with _ between its words.
fn known(name: &str) -> Result<String, String> {
    let name = name.trim().replace('-', "_");
    if OWN.contains(&name.as_str()) || config::kind_of(&name).is_some() {
        return Ok(name);
    }
    let settings = config::options::<RunConfig>();
    let all = OWN.into_iter().chain(settings.iter().map(Id::as_str));
    let nearest = config::the_nearest(&name, all);
    Err(format!(
        "unknown name '{name}'{nearest}. Expected {} or a setting (mspipe config --defaults has all)",
        OWN.join(", ")
    ))
}

/// All names that runs have something under.
pub(super) fn names() -> impl Iterator<Item = String> {
    let own = OWN.into_iter().map(str::to_owned);
    let settings = config::options::<RunConfig>().into_iter();
    let settings = settings.map(|name| name.to_string());
    own.chain(settings.filter(|name| !OWN.contains(&name.as_str())))
}

/// What a run has under a name.
fn kind(name: &str) -> Kind {
    match name {
        "started" | "epochs" | "val" | "test" | "events_per_s" => Kind::Number,
        "name" => Kind::Text,
        "state" => Kind::Choice(RunState::ALL.map(|state| state.name().to_owned()).into()),
        setting => config::kind_of(setting).unwrap_or(Kind::Text),
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Condition, String> {
        let first = text.find(['=', '!', '<', '>']);
        let sign = first.and_then(|at| {
            let (sign, holds) = SIGNS
                .into_iter()
                .find(|(sign, _)| text[at..].starts_with(sign))?;
            Some((at, sign, holds))
        });
        let Some((at, sign, holds)) = sign.filter(|(at, ..)| *at > 0) else {
            return Err(format!(
                "found '{text}', expected NAME=VALUE, such as model=tgn or test>0.9"
            ));
        };
        let condition = Condition {
            name: known(&text[..at])?,
            holds,
            value: text[at + sign.len()..].trim().to_owned(),
        };
        condition.check(sign)?;
        Ok(condition)
    }
}

impl Condition {
    /// Refuses a value that no run has under the name, and an order of what has none.
    fn check(&self, sign: &str) -> Result<(), String> {
        let Condition { name, value, .. } = self;
        let orders = sign.contains(['<', '>']);
        let is_number = value.parse::<f64>().is_ok_and(f64::is_finite);
        let expected = match kind(name) {
            Kind::Switch | Kind::Choice(_) if orders => {
                return Err(format!(
                    "{name} is no number: found '{sign}', expected = or !="
                ));
            }
            Kind::Whole | Kind::Number if !is_number => "a number".to_owned(),
            Kind::Text if orders && !is_number => format!("a number: {sign} compares numbers"),
            Kind::Switch if !["true", "false"].contains(&value.as_str()) => {
                "true or false".to_owned()
            }
            Kind::Choice(words) if !words.contains(value) => {
                format!("one of {}", words.join(", "))
            }
            _ => return Ok(()),
        };
        Err(format!("{name}: found '{value}', expected {expected}"))
    }

    /// Whether it holds; where there is no value, only `!=` does.
    fn holds(&self, run: &FoundRun) -> bool {
        let Some(found) = value(run, &self.name) else {
            return self.holds.len() == 2 && !self.holds.contains(&Ordering::Equal);
        };
        let text = match &found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let order = match text.parse::<f64>().ok().zip(self.value.parse().ok()) {
            Some((found, wanted)) => found.partial_cmp(&wanted),
            None => Some(text.cmp(&self.value)),
        };
        order.is_some_and(|order| self.holds.contains(&order))
    }
}

/// What a run has under a name; none where it has nothing yet, or what it has is without effect.
fn value(run: &FoundRun, name: &str) -> Option<Value> {
    let number = |of: Option<f64>| of.map(|of| json!(of));
    match name {
        "started" => run.started.map(|time| {
            let since = time.duration_since(std::time::UNIX_EPOCH);
            json!(since.map_or(0.0, |since| since.as_secs_f64()))
        }),
        "name" => Some(json!(run.name)),
        "state" => Some(json!(run.state.name())),
        "epochs" => Some(json!(run.trained_epochs())),
        "val" => number(run.best().map(|(_, value)| value)),
        "test" => number(run.test()),
        "events_per_s" => number(run.events_per_s()),
        setting => {
            let value = run.settings.get(setting).filter(|_| run.acts(setting));
            value.filter(|value| !value.is_null()).cloned()
        }
    }
}

/// The smaller first, but of val, test and speed the larger; those without a value last. Values of different
/// measures are not compared: runs of one stand together.
fn sorted(runs: Vec<FoundRun>, name: &str) -> Vec<FoundRun> {
    let falling = matches!(name, "val" | "test" | "events_per_s");
    let by_measure = matches!(name, "val" | "test");
    let key = |run: FoundRun| (value(&run, name), run);
    let mut keyed: Vec<_> = runs.into_iter().map(key).collect();
    keyed.sort_by(|(a, of_a), (b, of_b)| {
        let measures = [of_a, of_b].map(|run| if by_measure { run.measure() } else { "" });
        let order = match (a, b) {
            (Some(a), Some(b)) => match a.as_f64().zip(b.as_f64()) {
                Some((a, b)) => a.total_cmp(&b),
                None => a.to_string().cmp(&b.to_string()),
            },
            // Whatever the direction.
            (a, b) => {
                return measures[0]
                    .cmp(measures[1])
                    .then(b.is_some().cmp(&a.is_some()));
            }
        };
        let order = if falling { order.reverse() } else { order };
        measures[0].cmp(measures[1]).then(order)
    });
    keyed.into_iter().map(|(_, run)| run).collect()
}

/// The runs below the folder that was asked for. Where nobody has trained yet, there is no folder `runs`: that
/// is none.
fn found(args: &RunsArgs) -> anyhow::Result<Vec<FoundRun>> {
    let folder = args.folder.as_deref().unwrap_or(Path::new(FOLDER));
    if args.folder.is_none() && !folder.exists() {
        return Ok(Vec::new());
    }
    let (all, unread) = listing::runs_below(folder)
        .context("give the folder that runs are written to (mspipe train writes to ./runs)")?;
    for said in unread {
        console::note(format!("note: left out: {said}"));
    }
    Ok(all)
}

/// Lists runs.
pub(crate) fn list(args: &RunsArgs) -> anyhow::Result<()> {
    let mut runs = found(args)?;
    let all = runs.len();
    runs.retain(|run| args.filter.iter().all(|condition| condition.holds(run)));
    let groups = listing::by_task(sorted(runs, &args.sort));
    if args.json {
        let runs = groups.iter().flat_map(|group| &group.runs);
        let runs: Vec<Value> = runs.map(as_json).collect();
        return Ok(console::json(
            &json!({"differing": differing(&groups), "runs": runs}),
        )?);
    }
    if groups.is_empty() {
        return Ok(console::product(none(args, all))?);
    }
    let mut text = String::new();
    for group in &groups {
        if groups.len() > 1 {
            let before = if text.is_empty() { "" } else { "\n" };
            text += &format!("{before}{} (--task {})\n", group.title(), group.task.name());
        }
        text += &as_text(&group.runs, &group.differing);
        if !group.incomparable.is_empty() {
            text += &format!(
                "They are measured differently ({}): those numbers can't be compared.\n",
                group.incomparable.join(", ")
            );
        }
    }
    let mut runs = groups.iter().flat_map(|group| &group.runs);
    if runs.any(FoundRun::is_synthetic) {
        text += &format!("{SYNTHETIC}\n");
    }
    Ok(console::product(text)?)
}

/// The settings in which runs of any task differ, the task among them.
fn differing(groups: &[OfTask]) -> Vec<&str> {
    let mut names = Vec::new();
    if groups.len() > 1 {
        names.push("task");
    }
    for name in groups.iter().flat_map(|group| &group.differing) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// What is said where no run is listed, of `all` that there are.
fn none(args: &RunsArgs, all: usize) -> String {
    let folder = args
        .folder
        .as_deref()
        .unwrap_or(Path::new(FOLDER))
        .display();
    match all {
        0 => format!(
            "There are no runs yet below {folder}. A first one, on a generated stream, takes a minute:\n  \
             mspipe train --data synthetic:wikipedia:scale=0.1 --epochs 3\n"
        ),
        _ => format!("none of the {all} runs below {folder} is as --filter says\n"),
    }
}

fn as_json(run: &FoundRun) -> Value {
    json!({
        "folder": run.folder,
        "name": run.name,
        "started": value(run, "started"),
        "task": run.task().name(),
        "state": run.state,
        "epochs": run.trained_epochs(),
        "of_epochs": run.of_epochs,
        "measure": run.measure(),
        "best_epoch": run.best().map(|(epoch, _)| epoch),
        "val": run.best().map(|(_, value)| value),
        "test": run.test(),
        "events_per_s": run.events_per_s(),
        "emulated": run.is_emulated(),
        "settings": run.settings,
    })
}

/// A text of the user's in a row of a table.
fn in_a_line(text: &str) -> String {
    printable(&text.replace('\n', "\\n")).into_owned()
}

/// A table; where the settings that differ have no room beside the rest, they stand below each run.
fn as_text(runs: &[FoundRun], differing: &[String]) -> String {
    // How many there may be, the column of epochs says.
    let differing: Vec<&String> = differing.iter().filter(|name| *name != "epochs").collect();
    let four = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |of| format!("{of:.4}"));
    let mut heads = vec!["run", "state", "epochs", "", "val", "test"];
    let own: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            vec![
                in_a_line(&run.name),
                run.state.name().to_owned(),
                format!("{}/{}", run.trained_epochs(), run.of_epochs),
                run.measure().to_owned(),
                four(run.best().map(|(_, value)| value)),
                four(run.test()),
            ]
        })
        .collect();
    let right = |column: usize| matches!(column, 2 | 4 | 5);
    let row = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let with = |run: &FoundRun| {
        let written = |name: &&String| in_a_line(&run.written(name));
        differing.iter().map(written).collect()
    };
    let settings: Vec<Vec<String>> = runs.iter().map(with).collect();
    let narrow = [vec![row(&heads)], own.clone()].concat();
    heads.extend(differing.iter().map(|name| name.as_str()));
    let joined = own.iter().zip(&settings);
    let joined = joined.map(|(own, settings)| [own.clone(), settings.clone()].concat());
    let wide: Vec<Vec<String>> = std::iter::once(row(&heads)).chain(joined).collect();
    let text = table(&wide, right);
    if text.lines().all(|line| line.chars().count() <= WIDTH) {
        return text;
    }
    let text = table(&narrow, right);
    let mut lines = text.lines();
    let mut all = lines
        .next()
        .map_or_else(String::new, |head| format!("{head}\n"));
    for (line, settings) in lines.zip(&settings) {
        all += &format!("{line}\n");
        let named = differing.iter().zip(settings);
        let words: Vec<String> = named
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        for line in config::in_lines(&words, WIDTH - 4) {
            all += &format!("    {line}\n");
        }
    }
    all
}

/// Writes a page.
pub(crate) fn page(args: &ReportArgs) -> anyhow::Result<()> {
    if let ([run], None) = (args.runs.as_slice(), &args.to) {
        let page = run_report::write(run)?;
        return Ok(console::product(format!("written   {}\n", page.display()))?);
    }
    let name = |run: &PathBuf| run.display().to_string();
    let read = |run: &PathBuf| {
        let found = FoundRun::read(run, &name(run))?;
        match found.settings.get("seeds").is_some_and(Value::is_u64) {
            true => Err(RunFolderError::SeveralRuns {
                path: run.clone(),
                run: run.join(format!("seed-{}", found.settings["seed"])),
            }),
            false => Ok(found),
        }
    };
    let runs = args.runs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let page = listing::page(&format!("{} runs", runs.len()), runs, None);
    let to = args.to.clone().unwrap_or_else(|| "comparison.html".into());
    whole_file::write(&to, Existing::forced(args.force), |file| {
        file.write_all(page.as_bytes())
    })?;
    Ok(console::product(format!("written   {}\n", to.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let read = |text: &str| text.parse::<Condition>();
        let condition = read("learning-rate>=0.1").unwrap();
        assert_eq!(
            (condition.name.as_str(), condition.value.as_str()),
            ("learning_rate", "0.1")
        );
        assert_eq!(condition.holds, [Ordering::Greater, Ordering::Equal]);
        assert_eq!(read("data=a=b").unwrap().value, "a=b");
        assert_eq!(read("test!=1").unwrap().name, "test");
        for wrong in ["", "model", "=tgn", "!tgn"] {
            assert!(read(wrong).unwrap_err().contains("expected NAME=VALUE"));
        }
    }

    #[test]
    fn a_wrong_condition_says_what_was_found_and_expected() {
        for (text, expected) in [
            ("test>abc", "test: found 'abc', expected a number"),
            (
                "learning-rate=",
                "learning_rate: found '', expected a number",
            ),
            (
                "model=tgm",
                "model: found 'tgm', expected one of tgn, jodie, apan",
            ),
            (
                "model<tgn",
                "model is no number: found '<', expected = or !=",
            ),
            ("sort=yes", "sort: found 'yes', expected true or false"),
            (
                "data>a",
                "data: found 'a', expected a number: > compares numbers",
            ),
            (
                "state=done",
                "state: found 'done', expected one of ended, running, stopped, diverged",
            ),
            (
                "sede=1",
                "unknown name 'sede'; the nearest is 'seed'. Expected started, name, state",
            ),
        ] {
            let said = text.parse::<Condition>().unwrap_err();
            assert!(said.starts_with(expected), "{text}: {said}");
        }
        assert!("dropout=0.1".parse::<Condition>().is_ok());
        assert_eq!(known("events-per-s"), Ok("events_per_s".to_owned()));
        let said = known("vall").unwrap_err();
        assert!(said.contains("the nearest is 'val'"), "{said}");
    }
}
