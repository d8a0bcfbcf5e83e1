//! The file of a sweep: what stands in it, each part with its line.
//!
//! It knows which fields there are and what settings a sweep does not try. What a setting's value may be, the
//! settings know.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::choice::{Choice, Method, Tried};
use super::error::SweepError;
use crate::config::{
    self, Found, PlacedSetting, ReadingSettings, same_setting, the_nearest, toml_value,
};
use crate::numbers::{shortest, whole_of};

/// Most runs of a sweep.
pub(super) const MOST: usize = 10_000;

/// What may stand in a file, in `[halving]` and in a range.
const FIELDS: [&str; 8] = [
    "out", "method", "runs", "seed", "config", "settings", "values", "halving",
];
const OF_HALVING: [&str; 2] = ["epochs", "keep"];
const OF_RANGE: [&str; 4] = ["from", "to", "log", "step"];

/// Settings that a sweep does not try, beside those of how the stream is read: what runs are measured on. (Batch
/// sizes it does, though memory is followed batch by batch in an evaluation too: they are what people try.)
const MEASURED_BY: [&str; 8] = [
    "data",
    "task",
    "protocol",
    "candidates",
    "hide_batch",
    "eval_seed",
    "monitor",
    "limit_events",
];

/// A file of a sweep.
pub(super) struct SweepFile {
    pub(super) out: PathBuf,
    pub(super) method: Method,
    /// How many are drawn.
    pub(super) runs: Option<usize>,
    /// What they are drawn from.
    pub(super) seed: u64,
    /// A file of settings that all runs have.
    pub(super) config: Option<PathBuf>,
    /// More of them, which come before those of the file, by name.
    pub(super) settings: Vec<PlacedSetting>,
    /// What is tried, by name.
    pub(super) tried: Vec<Tried>,
    pub(super) halving: Option<Halving>,
    /// Where `runs`, `method` and `[values]` stand, or the file's beginning.
    pub(super) places: Places,
}

/// Bytes at which parts of a file stand.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) runs: usize,
    pub(super) method: usize,
    pub(super) values: usize,
}

/// Successive halving.
#[derive(Debug, Clone, Copy)]
pub(super) struct Halving {
    /// The byte at which its epochs stand.
    pub(super) at: usize,
    /// Epochs of the first rung; each further one has `keep` times as many, up to the settings' own.
    pub(super) epochs: usize,
    /// One of so many goes on.
    pub(super) keep: usize,
}

/// The text of a file, of which each part has its place.
pub(super) struct Text<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Text<'_> {
    /// `sweep.toml:3`, of a byte.
    pub(super) fn place(&self, at: usize) -> String {
        let line = 1 + self.text[..at.min(self.text.len())].matches('\n').count();
        format!("{}:{line}", self.path.display())
    }

    /// An error at a byte.
    pub(super) fn at(&self, at: usize, reason: String) -> SweepError {
        SweepError::At {
            place: self.place(at),
            reason,
        }
    }
}

/// A name with its value, and where it stands.
struct Field<'a> {
    name: &'a str,
    value: &'a DeValue<'a>,
    at: usize,
}

/// The fields of a table, by name.
fn fields<'a>(table: &'a DeTable<'a>) -> Vec<Field<'a>> {
    let field = |(name, value): (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)| Field {
        name: name.get_ref(),
        value: value.get_ref(),
        at: name.span().start,
    };
    let mut all: Vec<Field<'_>> = table.iter().map(field).collect();
    all.sort_by_key(|field| field.name);
    all
}

impl<'a> Field<'a> {
    /// What is said of its value.
    fn wrong(&self, expected: &str) -> String {
        let found = match written(self.value) {
            Ok(text) => format!("'{text}'"),
            Err(kind) => kind.to_owned(),
        };
        format!("{}: found {found}, expected {expected}", self.name)
    }

    fn whole(&self, least: usize, most: u64) -> Result<usize, String> {
        let range = least as u64..=most;
        let number = match self.value {
            DeValue::Integer(_) => written(self.value).ok(),
            _ => None,
        };
        let number = number.and_then(|text| text.parse::<u64>().ok());
        let fits = number.filter(|number| range.contains(number));
        (fits.and_then(|number| usize::try_from(number).ok()))
            .ok_or_else(|| self.wrong(&whole_of(&range)))
    }

    fn path(&self) -> Result<PathBuf, String> {
        match self.value {
            DeValue::String(text) if !text.is_empty() => Ok(PathBuf::from(text.as_ref())),
            _ => Err(self.wrong("a path between quotation marks")),
        }
    }

    fn table(&self) -> Result<&'a DeTable<'a>, String> {
        match self.value {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.wrong("a table")),
        }
    }

    fn method(&self) -> Result<Method, String> {
        match self.value.as_str() {
            Some("grid") => Ok(Method::Grid),
            Some("random") => Ok(Method::Random),
            _ => Err(self.wrong("grid or random")),
        }
    }
}

impl SweepFile {
    /// Reads it.
    ///
    /// # Errors
    /// When it is no TOML, a name or a value in it is wrong, or something is missing.
    pub(super) fn read(text: &Text<'_>) -> Result<SweepFile, SweepError> {
        let table = DeTable::parse(text.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            text.at(at, format!("is no TOML: {}", error.message().trim_end()))
        })?;
        let (mut out, mut names) = (None, Vec::new());
        let mut file = SweepFile {
            out: PathBuf::new(),
            method: Method::Grid,
            runs: None,
            seed: 0,
            config: None,
            settings: Vec::new(),
            tried: Vec::new(),
            halving: None,
            places: Places::default(),
        };
        for field in fields(table.get_ref()) {
            let wrong = |reason| text.at(field.at, reason);
            match field.name {
                "out" => out = Some(field.path().map_err(wrong)?),
                "method" => {
                    file.method = field.method().map_err(wrong)?;
                    file.places.method = field.at;
                }
                "runs" => {
                    file.runs = Some(field.whole(1, MOST as u64).map_err(wrong)?);
                    file.places.runs = field.at;
                }
                "seed" => file.seed = field.whole(0, u64::MAX).map_err(wrong)? as u64,
                "config" => file.config = Some(field.path().map_err(wrong)?),
                "settings" => {
                    let table = field.table().map_err(wrong)?;
                    file.settings = settings(table, text)?;
                    names.extend(fields(table).iter().map(|field| (field.name, field.at)));
                }
                "values" => {
                    let table = field.table().map_err(wrong)?;
                    file.tried = tried(table, text)?;
                    file.places.values = field.at;
                    names.extend(fields(table).iter().map(|field| (field.name, field.at)));
                }
                "halving" => {
                    let table = field.table().map_err(wrong)?;
                    file.halving = Some(halving(table, &field, text)?);
                }
                other => return Err(wrong(unknown(other))),
            }
        }
        let missing = "'out' is missing: the folder that a folder per run is made in";
        file.out = out.ok_or_else(|| text.at(0, missing.to_owned()))?;
        check_names(names, text)?;
        file.check_epochs()?;
        Ok(file)
    }

    /// Refuses to try epochs where halving says how many each run is trained for.
    fn check_epochs(&self) -> Result<(), SweepError> {
        let is_epochs = |tried: &&Tried| same_setting(&tried.name, "epochs");
        match self.tried.iter().find(is_epochs) {
            Some(tried) if self.halving.is_some() => Err(SweepError::At {
                place: tried.place.clone(),
                reason: "epochs: [halving] says for how many epochs each run is trained; give those of the longest \
                         in [settings]"
                    .to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Refuses a setting that is given twice; `names` are all with the bytes at which they stand.
fn check_names(mut names: Vec<(&str, usize)>, text: &Text<'_>) -> Result<(), SweepError> {
    names.sort_by_key(|(_, at)| *at);
    for (nth, (name, at)) in names.iter().enumerate() {
        let earlier = names[..nth]
            .iter()
            .find(|(other, _)| same_setting(other, name));
        if let Some((other, first)) = earlier {
            let first = text.place(*first);
            return Err(text.at(
                *at,
                match name.replace('-', "_") == other.replace('-', "_") {
                    true => format!("{name}: is given twice, in {first} too; once is enough"),
                    false => {
                        format!("{name}: can't be given with {other} ({first}); leave one out")
                    }
                },
            ));
        }
    }
    Ok(())
}

/// What is said of a name that no field has.
fn unknown(name: &str) -> String {
    let id = name.replace('-', "_");
    match config::kind_of(&id) {
        Some(_) => format!(
            "'{name}' is a setting: put it below [settings], or below [values] with a list of what is tried"
        ),
        None => format!(
            "unknown name '{name}'{} (mspipe sweep -h shows such a file)",
            the_nearest(&id, FIELDS)
        ),
    }
}

const OWN_FOLDERS: &str = "out: is no setting of a sweep's runs, whose folders lie below the sweep's own: give \
                           that above the first table";

/// The settings that all runs have.
fn settings(table: &DeTable<'_>, text: &Text<'_>) -> Result<Vec<PlacedSetting>, SweepError> {
    let one = |field: Field<'_>| match written(field.value) {
        Ok(_) if field.name == "out" => Err(text.at(field.at, OWN_FOLDERS.to_owned())),
        Ok(value) => Ok(PlacedSetting {
            name: field.name.to_owned(),
            value,
            place: text.place(field.at),
        }),
        Err(_) => Err(text.at(field.at, field.wrong("one value"))),
    };
    fields(table).into_iter().map(one).collect()
}

/// The settings that are tried.
fn tried(table: &DeTable<'_>, text: &Text<'_>) -> Result<Vec<Tried>, SweepError> {
    let one = |field: Field<'_>| {
        let name = field.name;
        let wrong = |reason| text.at(field.at, reason);
        let id = name.replace('-', "_");
        if id == "out" {
            return Err(wrong(OWN_FOLDERS.to_owned()));
        }
        let read_by = config::options::<ReadingSettings>();
        if MEASURED_BY.contains(&id.as_str()) || read_by.iter().any(|own| own.as_str() == id) {
            return Err(wrong(format!(
                "{name}: says what runs are measured on, so that those of a sweep could not be compared; give it in \
                 [settings]"
            )));
        }
        Ok(Tried {
            name: name.to_owned(),
            choice: choice(&field).map_err(wrong)?,
            place: text.place(field.at),
        })
    };
    fields(table).into_iter().map(one).collect()
}

fn halving(table: &DeTable<'_>, of: &Field<'_>, text: &Text<'_>) -> Result<Halving, SweepError> {
    let (mut epochs, mut keep, mut at) = (None, 3, of.at);
    for field in fields(table) {
        let wrong = |reason| text.at(field.at, reason);
        match field.name {
            "epochs" => {
                epochs = Some(field.whole(1, 1_000_000).map_err(wrong)?);
                at = field.at;
            }
            "keep" => keep = field.whole(2, MOST as u64).map_err(wrong)?,
            other => {
                let nearest = the_nearest(other, OF_HALVING);
                let reason = format!(
                    "unknown name '{other}' in [halving]{nearest}; expected epochs or keep"
                );
                return Err(wrong(reason));
            }
        }
    }
    let missing = || "halving: 'epochs' is missing: how many the first rung has".to_owned();
    let epochs = epochs.ok_or_else(|| text.at(of.at, missing()))?;
    Ok(Halving { at, epochs, keep })
}

/// A value as an option takes it, or what it is instead of one.
fn written(value: &DeValue<'_>) -> Result<String, &'static str> {
    match (toml_value(value), value) {
        // As it is shown wherever it stands: `0.001`, however it was written.
        (Found::Text(text), DeValue::Float(_)) => Ok(text.parse().map_or(text, shortest)),
        (Found::Text(text), _) => Ok(text),
        (Found::Switch(on), _) => Ok(on.to_string()),
        (Found::Nothing, _) => Err("nothing"),
        (Found::Other(kind), _) => Err(kind),
    }
}

/// What is tried of a setting: a list, or `{ from = …, to = …, log = true, step = … }`.
fn choice(field: &Field<'_>) -> Result<Choice, String> {
    let name = field.name;
    let expected = "a list of values, or { from = 1e-4, to = 1e-2, log = true }";
    let wrong = |found: &str| format!("{name}: found {found}, expected {expected}");
    match field.value {
        DeValue::Array(values) if values.is_empty() => Err(wrong("an empty list")),
        DeValue::Array(values) => {
            let all = values.iter().map(|value| written(value.get_ref()));
            let all: Vec<String> = all.collect::<Result<_, _>>().map_err(wrong)?;
            let again = (1..all.len()).find(|&nth| all[..nth].contains(&all[nth]));
            match again {
                Some(nth) => Err(wrong(&format!("{} twice", all[nth]))),
                None => Ok(Choice::List(all)),
            }
        }
        DeValue::Table(table) => range(name, table),
        _ => Err(field.wrong(expected)),
    }
}

/// A range of numbers.
fn range(name: &str, table: &DeTable<'_>) -> Result<Choice, String> {
    let wrong = |found: &str| {
        let expected =
            "{ from = 1e-4, to = 1e-2, log = true }, or { from = 16, to = 64, step = 16 }";
        format!("{name}: found {found}, expected {expected}")
    };
    let (mut ends, mut log, mut step, mut whole) = ([None, None], false, None, true);
    for field in fields(table) {
        let number = || -> Result<f64, String> {
            let text = match field.value {
                DeValue::Integer(_) | DeValue::Float(_) => written(field.value).ok(),
                _ => None,
            };
            let number = text.and_then(|text| text.parse::<f64>().ok());
            number
                .filter(|number| number.is_finite())
                .ok_or_else(|| format!("{name}: {}", field.wrong("a number")))
        };
        match field.name {
            "from" => ends[0] = Some(number()?),
            "to" => ends[1] = Some(number()?),
            "step" => {
                let most = u64::from(u32::MAX);
                let own = field
                    .whole(1, most)
                    .map_err(|said| format!("{name}: {said}"))?;
                step = Some(own as f64);
            }
            "log" => {
                log = (field.value.as_bool())
                    .ok_or_else(|| format!("{name}: {}", field.wrong("true or false")))?;
            }
            other => {
                let nearest = the_nearest(other, OF_RANGE);
                return Err(format!(
                    "{name}: unknown name '{other}' in its range{nearest}; expected from, to, log or step"
                ));
            }
        }
        whole &= field.name == "log" || field.value.is_integer();
    }
    match ends {
        [Some(from), Some(to)] if from >= to => Err(wrong("a range that does not rise")),
        [Some(from), Some(_)] if log && from <= 0.0 => {
            Err(wrong("a logarithmic range that begins at or below 0"))
        }
        [Some(_), Some(_)] if step.is_some() && !whole => {
            Err(wrong("a step between ends that are not whole"))
        }
        [Some(from), Some(to)] if step.is_some_and(|step| step > to - from) => {
            Err(wrong("a step beyond the end of its range"))
        }
        [Some(from), Some(to)] => Ok(Choice::Range {
            from,
            to,
            log,
            whole,
            step,
        }),
        _ => Err(wrong("a range without from and to")),
    }
}
