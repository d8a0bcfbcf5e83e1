//! `mspipe runs` and `mspipe report`: runs side by side, as a list and as a page.

use std::cmp::Ordering;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::Args;
use mspipe::console;
use mspipe::report::run as run_report;
use mspipe::run_folder::listing::{self, FoundRun};
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

val and test are of the measure that chooses a run's epoch (--monitor), which stands before them. Settings \
that differ between the runs that are listed stand beside each; 'mspipe report RUN RUN' draws them as a page.";

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
    /// The folder that the runs are below
    #[arg(default_value = "runs", value_name = "DIR")]
    folder: PathBuf,

    /// Order: started, name, state, epochs, val, test, events_per_s, or a setting
    #[arg(long, value_name = "NAME", default_value = "started")]
    sort: String,

    /// Only runs for which this holds: NAME=VALUE, NAME!=VALUE, or < > <= >= with numbers; a name is one
    /// of those of --sort; may be given several times
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
    #[arg(required = true, value_name = "RUN")]
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

/// Signs, the longer ones first, with the orders for which they hold.
const SIGNS: [(&str, &[Ordering]); 6] = [
    ("!=", &[Ordering::Less, Ordering::Greater]),
    ("<=", &[Ordering::Less, Ordering::Equal]),
    (">=", &[Ordering::Greater, Ordering::Equal]),
    ("=", &[Ordering::Equal]),
    ("<", &[Ordering::Less]),
    (">", &[Ordering::Greater]),
];

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
        match sign {
            Some((at, sign, holds)) if at > 0 => Ok(Condition {
                name: text[..at].trim().replace('-', "_"),
                holds,
                value: text[at + sign.len()..].trim().to_owned(),
            }),
            _ => Err(format!(
                "found '{text}', expected NAME=VALUE, such as model=tgn or test>0.9"
            )),
        }
    }
}

impl Condition {
    /// Whether it holds; where there is no value, only `!=` does.
    fn holds(&self, run: &FoundRun) -> anyhow::Result<bool> {
        let Some(found) = value(run, &self.name)? else {
            return Ok(self.holds.len() == 2 && !self.holds.contains(&Ordering::Equal));
        };
        let wanted = match self.value.parse::<f64>() {
            Ok(number) if found.is_number() => json!(number),
            _ => json!(self.value),
        };
        let shown = |value: &Value| value.as_str().map(str::to_owned);
        let order = match found.as_f64().zip(wanted.as_f64()) {
            Some((found, wanted)) => found.partial_cmp(&wanted),
            None => {
                let found = shown(&found).unwrap_or_else(|| found.to_string());
                Some(found.cmp(&self.value))
            }
        };
        Ok(order.is_some_and(|order| self.holds.contains(&order)))
    }
}

/// What a run has under a name; none where it has nothing yet.
fn value(run: &FoundRun, name: &str) -> anyhow::Result<Option<Value>> {
    let number = |of: Option<f64>| of.map(|of| json!(of));
    Ok(match name {
        "started" => run.started.map(|time| {
            let since = time.duration_since(std::time::UNIX_EPOCH);
            json!(since.map_or(0.0, |since| since.as_secs_f64()))
        }),
        "name" => Some(json!(run.name)),
        "state" => Some(json!(run.state.name())),
        // Before the setting of this name.
        "epochs" => Some(json!(run.trained_epochs())),
        "val" => number(run.best().map(|(_, value)| value)),
        "test" => number(run.test()),
        "events_per_s" => number(run.events_per_s()),
        setting => match run.settings.get(setting) {
            Some(Value::Null) => None,
            Some(value) => Some(value.clone()),
            None => bail!(
                "'{setting}' is neither a setting nor one of started, name, state, epochs, val, test and \
                 events_per_s (mspipe config --defaults has all settings)"
            ),
        },
    })
}

/// The smaller first, but of val, test and speed the larger; those without a value last.
fn sorted(runs: Vec<FoundRun>, name: &str) -> anyhow::Result<Vec<FoundRun>> {
    let name = name.replace('-', "_");
    let falling = matches!(name.as_str(), "val" | "test" | "events_per_s");
    let mut keyed = Vec::with_capacity(runs.len());
    for run in runs {
        keyed.push((value(&run, &name)?, run));
    }
    keyed.sort_by(|(a, _), (b, _)| {
        let order = match (a, b) {
            (Some(a), Some(b)) => match a.as_f64().zip(b.as_f64()) {
                Some((a, b)) => a.total_cmp(&b),
                None => a.to_string().cmp(&b.to_string()),
            },
            // Whatever the direction.
            (a, b) => return b.is_some().cmp(&a.is_some()),
        };
        if falling { order.reverse() } else { order }
    });
    Ok(keyed.into_iter().map(|(_, run)| run).collect())
}

/// Lists runs.
pub(crate) fn list(args: &RunsArgs) -> anyhow::Result<()> {
    let (all, unread) = listing::runs_below(&args.folder)
        .context("give the folder that runs are written to (mspipe train writes to ./runs)")?;
    for said in unread {
        console::note(format!("note: left out: {said}"));
    }
    let found = all.len();
    let mut runs = Vec::new();
    'runs: for run in all {
        for condition in &args.filter {
            if !condition.holds(&run)? {
                continue 'runs;
            }
        }
        runs.push(run);
    }
    let runs = sorted(runs, &args.sort)?;
    let differing = listing::differing(&runs);
    if args.json {
        let runs: Vec<Value> = runs.iter().map(as_json).collect();
        return Ok(console::json(
            &json!({"differing": differing, "runs": runs}),
        )?);
    }
    if runs.is_empty() {
        let folder = args.folder.display();
        let text = match args.filter.is_empty() {
            true => format!("no run below {folder}\n"),
            false => format!("none of the {found} runs below {folder} is as --filter says\n"),
        };
        return Ok(console::product(text)?);
    }
    let mut text = as_text(&runs, &differing);
    if runs.iter().any(FoundRun::is_synthetic) {
        text += &format!("{SYNTHETIC}\n");
    }
    let incomparable = listing::incomparable(&runs);
    if !incomparable.is_empty() {
        text += &format!(
            "They are measured differently ({}): those numbers can't be compared.\n",
            incomparable.join(", ")
        );
    }
    Ok(console::product(text)?)
}

fn as_json(run: &FoundRun) -> Value {
    json!({
        "folder": run.folder,
        "name": run.name,
        "state": run.state,
        "epochs": run.trained_epochs(),
        "of_epochs": run.of_epochs,
        "measure": run.measure(),
        "best_epoch": run.best().map(|(epoch, _)| epoch),
        "val": run.best().map(|(_, value)| value),
        "test": run.test(),
        "events_per_s": run.events_per_s(),
        "settings": run.settings,
    })
}

/// A table; where the settings that differ have no room beside the rest, they stand below each run.
fn as_text(runs: &[FoundRun], differing: &[String]) -> String {
    let four = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |of| format!("{of:.4}"));
    let mut heads = vec!["run", "state", "epochs", "", "val", "test"];
    let own: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            vec![
                run.name.clone(),
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
    let with = |run: &FoundRun| differing.iter().map(|name| run.written(name)).collect();
    let settings: Vec<Vec<String>> = runs.iter().map(with).collect();
    let narrow = [vec![row(&heads)], own.clone()].concat();
    heads.extend(differing.iter().map(String::as_str));
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
        all += &indented(&words);
    }
    all
}

/// Words in lines of at most [`WIDTH`] characters, indented.
fn indented(words: &[String]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("    {word}")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Writes a page.
pub(crate) fn page(args: &ReportArgs) -> anyhow::Result<()> {
    if let ([run], None) = (args.runs.as_slice(), &args.to) {
        let page = run_report::write(run)?;
        return Ok(console::product(format!("written   {}\n", page.display()))?);
    }
    let name = |run: &PathBuf| run.display().to_string();
    let read = |run: &PathBuf| FoundRun::read(run, &name(run));
    let runs = args.runs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let page = listing::page(&format!("{} runs", runs.len()), &runs, None);
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
    fn settings_that_have_no_room_stand_in_lines() {
        let words: Vec<String> = (0..30).map(|nth| format!("name{nth}=1")).collect();
        let text = indented(&words);
        assert!(text.lines().count() > 2);
        assert!(
            text.lines()
                .all(|line| line.len() <= WIDTH && line.starts_with("    "))
        );
        assert_eq!(text.split_whitespace().count(), 30);
    }
}
