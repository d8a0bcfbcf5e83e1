//! Settings from a file and from `--set`, below those of the command line.
//!
//! There is one schema of settings: the options. A name in a file is that of an option and its value is
//! read as the option's, so that it is taken and refused alike, wherever it stands. From the
//! weakest to the strongest: defaults, the file, `--set`, options.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, Args, Command, Id};

use super::nearest::the_nearest;
use super::settings_file::{Entry, Found, Group, SettingsFile};
use super::{ConfigError, PipelineSettings, ReadingSettings, RunConfig, SeedsSettings, limits};

/// What `config.json` has besides settings: what a run found out, which the next one finds out itself.
pub(super) const FOUND_OUT: [&str; 2] = ["edge_scale", "without_effect"];

/// The tables that settings may stand in.
const GROUPS: [&str; 2] = ["reading", "pipeline"];

/// Options of commands that take settings, which are none.
const NO_SETTINGS: [&str; 6] = ["config", "dry_run", "help", "json", "resume", "set"];

/// Of these one alone can hold: that of the stronger place; in one place both are refused.
const RIVALS: [&str; 2] = ["split", "split_at"];

/// All options that are settings.
pub(super) fn settings() -> Command {
    let command = Command::new("mspipe")
        .no_binary_name(true)
        .args_override_self(true);
    SeedsSettings::augment_args(RunConfig::augment_args(command))
        .mut_args(|arg| limits::read_here(arg).allow_negative_numbers(true))
}

/// The options of some settings.
pub fn options<T: Args>() -> Vec<Id> {
    let command = T::augment_args(Command::new("mspipe"));
    command
        .get_arguments()
        .map(|option| option.get_id().clone())
        .collect()
}

/// A setting by its name, with the place that it is given at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlacedSetting {
    /// As in a file.
    pub(crate) name: String,
    /// As on the command line; `true` or `false` for a switch.
    pub(crate) value: String,
    /// `sweep.toml:3`, `--set epochs=3`.
    pub(crate) place: String,
}

impl PlacedSetting {
    /// The one that `--set` gives with a word.
    ///
    /// # Errors
    /// When it is no `NAME=VALUE`.
    pub(super) fn of_set(word: &str) -> Result<PlacedSetting, ConfigError> {
        let place = format!("--set {word}");
        match word.split_once('=') {
            Some((name, value)) => Ok(PlacedSetting {
                name: name.trim().to_owned(),
                value: value.to_owned(),
                place,
            }),
            None => Err(ConfigError::At {
                place,
                reason: "found no '=', expected NAME=VALUE, for example epochs=3".to_owned(),
            }),
        }
    }
}

/// A setting that a file or `--set` gives.
#[derive(Debug, Clone)]
struct Setting {
    option: Arg,
    value: Found,
    /// `run.toml:3`, `--set epochs=3`.
    place: String,
    of_file: bool,
}

/// What all layers together give.
pub(super) struct Layered {
    /// As a command line would have given it.
    pub(super) matches: ArgMatches,
    /// Where each setting stands that is not of the command line, by its name.
    pub(super) places: BTreeMap<String, String>,
    /// Those that the file gives and nothing stronger changes.
    pub(super) of_file: Vec<String>,
}

/// The settings of a file, those that are `set`, and what the command line gave.
///
/// # Errors
/// A file that can't be read, an unknown name, a value that its option does not take, two in one place of which one
/// alone can hold; the message says where.
pub(super) fn layered(
    file: Option<&Path>,
    set: &[PlacedSetting],
    given: &ArgMatches,
) -> Result<Layered, ConfigError> {
    let command = settings();
    let mut all: Vec<Setting> = Vec::new();
    if let Some(path) = file {
        all = of_file(&command, path)?;
    }
    for placed in set {
        let setting = of_placed(&command, placed)?;
        let name = setting.option.get_id().clone();
        let is_rival = |other: &&Setting| {
            let earlier = other.option.get_id();
            !other.of_file && *earlier != name && is_replaced(earlier, &name)
        };
        if let Some(rival) = all.iter().find(is_rival) {
            return Err(ConfigError::At {
                place: setting.place,
                reason: beside(name.as_str(), rival),
            });
        }
        all.retain(|other| !is_replaced(other.option.get_id(), &name));
        all.push(setting);
    }
    for id in given.ids() {
        all.retain(|other| !is_replaced(other.option.get_id(), id));
    }
    let written = all
        .iter()
        .filter_map(|setting| argument(&setting.option, &setting.value));
    let own = command
        .get_arguments()
        .filter_map(|option| of_command_line(option, given));
    let words: Vec<OsString> = written.chain(own).collect();
    let matches = match command.clone().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => unreachable!("each was read once: {error}"),
    };
    let name = |setting: &Setting| setting.option.get_id().to_string();
    let of_file = all.iter().filter(|setting| setting.of_file).map(name);
    Ok(Layered {
        matches,
        of_file: of_file.collect(),
        places: all
            .iter()
            .map(|setting| (name(setting), setting.place.clone()))
            .collect(),
    })
}

/// What is said of a setting that is given beside its `rival`.
fn beside(name: &str, rival: &Setting) -> String {
    let (other, place) = (rival.option.get_id(), &rival.place);
    format!("'{name}' can't be given with '{other}' ({place}); leave one out")
}

/// Whether giving `later` leaves nothing of `earlier`.
fn is_replaced(earlier: &Id, later: &Id) -> bool {
    same_setting(earlier.as_str(), later.as_str())
}

/// Whether two names, as files have them, are of one setting, or of two of which one alone can hold.
pub(crate) fn same_setting(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| name.replace('-', "_"));
    one == other
        || [one, other]
            .iter()
            .all(|name| RIVALS.contains(&name.as_str()))
}

/// What the command line gave of an option.
fn of_command_line(option: &Arg, given: &ArgMatches) -> Option<OsString> {
    let id = option.get_id().as_str();
    if !given.ids().any(|other| other == id) {
        return None;
    }
    let name = option.get_long().unwrap_or(id);
    if !option.get_action().takes_values() {
        return Some(format!("--{name}").into());
    }
    let value = given.get_raw(id)?.next_back()?;
    let mut word = OsString::from(format!("--{name}="));
    word.push(value);
    Some(word)
}

/// The same of a setting; none of a switch that is off.
fn argument(option: &Arg, value: &Found) -> Option<OsString> {
    let name = option.get_long().unwrap_or(option.get_id().as_str());
    match value {
        Found::Text(text) => Some(format!("--{name}={text}").into()),
        Found::Switch(true) if option.get_action().takes_values() => {
            Some(format!("--{name}=true").into())
        }
        Found::Switch(true) => Some(format!("--{name}").into()),
        Found::Switch(false) | Found::Nothing | Found::Other(_) => None,
    }
}

/// The settings of a file, each of which its option takes.
fn of_file(command: &Command, path: &Path) -> Result<Vec<Setting>, ConfigError> {
    let file = SettingsFile::read(path)?;
    let mut all: Vec<Setting> = Vec::new();
    for entry in &file.entries {
        let wrong = |reason| file.at(entry.line, reason);
        let name = entry.name.replace('-', "_");
        if let Some(Group { name, line }) = &entry.group
            && !GROUPS.contains(&name.as_str())
        {
            return Err(file.at(*line, unknown_table(name)));
        }
        if entry.group.is_none() && FOUND_OUT.contains(&name.as_str()) {
            continue;
        }
        // A table with nothing in it.
        if GROUPS.contains(&name.as_str()) && entry.value == Found::Other("a table") {
            continue;
        }
        let option = option_of(command, entry, &name).map_err(wrong)?;
        let earlier = all
            .iter()
            .find(|other| is_replaced(other.option.get_id(), option.get_id()));
        let value = entry.value.clone();
        if value == Found::Nothing || is_own_folder(&file.path, &name, &value) {
            continue;
        }
        if let Some(earlier) = earlier {
            return Err(wrong(match earlier.option.get_id() == option.get_id() {
                true => format!("'{name}' is given twice, in {} too", earlier.place),
                false => beside(&name, earlier),
            }));
        }
        check(command, &option, &value).map_err(wrong)?;
        all.push(Setting {
            option,
            value,
            place: file.place(entry.line),
            of_file: true,
        });
    }
    Ok(all)
}

/// Whether this is the folder of the run whose own `config.json` the file is: a folder holds one run, so
/// that the next has another.
fn is_own_folder(file: &Path, name: &str, value: &Found) -> bool {
    let (Found::Text(out), "out") = (value, name) else {
        return false;
    };
    let folder = file
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.parent()?.file_name()?.to_owned()));
    let is_config = file.file_name().is_some_and(|name| name == "config.json");
    is_config && folder.as_deref() == Path::new(out).file_name()
}

/// A setting that its option takes.
fn of_placed(command: &Command, placed: &PlacedSetting) -> Result<Setting, ConfigError> {
    let PlacedSetting { name, value, place } = placed;
    let wrong = |reason| ConfigError::At {
        place: place.clone(),
        reason,
    };
    let (group, name) = match name.split_once('.') {
        Some((group, name)) => (Some(Group::of(group)), name),
        None => (None, name.as_str()),
    };
    let id = name.replace('-', "_");
    let entry = Entry {
        group,
        name: name.to_owned(),
        value: Found::Nothing,
        line: 0,
    };
    let option = option_of(command, &entry, &id).map_err(wrong)?;
    let value = match value.as_str() {
        "true" if !option.get_action().takes_values() => Found::Switch(true),
        "false" if !option.get_action().takes_values() => Found::Switch(false),
        text => Found::Text(text.to_owned()),
    };
    check(command, &option, &value).map_err(wrong)?;
    Ok(Setting {
        option,
        value,
        place: place.clone(),
        of_file: false,
    })
}

/// The option that an entry names.
fn option_of(command: &Command, entry: &Entry, id: &str) -> Result<Arg, String> {
    let own = |ids: &[Id]| ids.iter().any(|other| other.as_str() == id);
    let written = &entry.name;
    let found = command.get_arguments().find(|option| option.get_id() == id);
    let group = entry.group.as_ref().map(|group| group.name.as_str());
    match (group, found) {
        (None, Some(option)) => Ok(option.clone()),
        (Some("reading"), Some(option)) if own(&options::<ReadingSettings>()) => Ok(option.clone()),
        (Some("pipeline"), Some(option)) if own(&options::<PipelineSettings>()) => {
            Ok(option.clone())
        }
        (Some(group @ ("reading" | "pipeline")), Some(_)) => Err(format!(
            "'{written}' stands in the table '{group}' and is not of it; put it above the first table"
        )),
        (Some(group), _) if !GROUPS.contains(&group) => Err(unknown_table(group)),
        (None, None) if GROUPS.contains(&id) => Err(format!(
            "'{written}' is a table of settings, and no setting: [{written}] stands above those that it has"
        )),
        (None, None) if entry.value == Found::Other("a table") => Err(unknown_table(written)),
        _ => Err(unknown(command, written, id)),
    }
}

/// What is said of a table that `config.json` has not.
fn unknown_table(name: &str) -> String {
    format!("unknown table '{name}'; settings stand at the top (mspipe config --defaults)")
}

/// What is said of a name that no option has.
fn unknown(command: &Command, written: &str, id: &str) -> String {
    if NO_SETTINGS.contains(&id) {
        let option = id.replace('_', "-");
        return format!("'{written}' is no setting: --{option} is given on the command line alone");
    }
    let names = command
        .get_arguments()
        .map(|option| option.get_id().as_str());
    let nearest = the_nearest(id, names);
    format!("unknown setting '{written}'{nearest} (mspipe config --defaults has all)")
}

/// Refuses what the option does not take.
fn check(command: &Command, option: &Arg, value: &Found) -> Result<(), String> {
    let name = option.get_id();
    let takes_values = option.get_action().takes_values();
    let shown = match value {
        Found::Text(text) if takes_values => text.clone(),
        Found::Switch(on) if takes_values => on.to_string(),
        Found::Switch(_) | Found::Nothing => return Ok(()),
        Found::Text(text) => return Err(format!("{name}: found '{text}', expected true or false")),
        Found::Other(kind) => return Err(format!("{name}: found {kind}, expected one value")),
    };
    let word = format!("--{}={shown}", option.get_long().unwrap_or(name.as_str()));
    let refused = match command.clone().try_get_matches_from([word]) {
        // A path may have any name, but nobody means one that is called true.
        Ok(_) if matches!(value, Found::Switch(_)) => {
            return Err(format!(
                "{name}: found {shown}, expected a text or a number"
            ));
        }
        Ok(_) => return Ok(()),
        Err(refused) => refused,
    };
    if let Some(ContextValue::Strings(possible)) = refused.get(ContextKind::ValidValue)
        && !possible.is_empty()
    {
        let possible = possible.join(", ");
        return Err(format!(
            "{name}: found '{shown}', expected one of {possible}"
        ));
    }
    Err(match refused.source().map(ToString::to_string) {
        Some(reason) if reason.starts_with("found") => format!("{name}: {reason}"),
        Some(reason) if reason.starts_with("expected") => {
            format!("{name}: found '{shown}', {reason}")
        }
        Some(reason) => format!("{name}: found '{shown}': {reason}"),
        None => format!("{name}: found '{shown}', expected a value"),
    })
}
