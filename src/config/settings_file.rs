//! Files of settings, TOML or JSON: names with values, and the line that each stands in.
//!
//! Which names there are, and what their values may be, the caller knows. Tables within the file are
//! groups of names, as `config.json` has them. JSON is read by `serde_json`, which knows no lines of
//! what is well-formed: those of its keys are counted here.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::ConfigError;

/// A name with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The table that it stands in, if it stands in one.
    pub(super) group: Option<Group>,
    /// As it is written.
    pub(super) name: String,
    pub(super) value: Found,
    /// From 1.
    pub(super) line: usize,
}

/// A table of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) name: String,
    /// The line of its name, from 1.
    pub(super) line: usize,
}

impl Group {
    /// One that stands in no file.
    pub(super) fn of(name: &str) -> Group {
        Group {
            name: name.to_owned(),
            line: 0,
        }
    }
}

/// A value as an option takes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    Switch(bool),
    Text(String),
    /// JSON's `null`: the name is not given.
    Nothing,
    /// What no option takes: its kind.
    Other(&'static str),
}

/// A file of settings.
#[derive(Debug)]
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    /// By line.
    pub(super) entries: Vec<Entry>,
}

impl SettingsFile {
    /// Reads the file at `path`: JSON if it begins with a brace, else TOML.
    ///
    /// # Errors
    /// When it can't be read, is neither, or has a name twice; the message names the line.
    pub(super) fn read(path: &Path) -> Result<SettingsFile, ConfigError> {
        let text = read(path).map_err(|reason| ConfigError::At {
            place: path.display().to_string(),
            reason,
        })?;
        let mut file = SettingsFile {
            path: path.to_owned(),
            entries: Vec::new(),
        };
        let entries = match text.trim_start().starts_with('{') {
            true => from_json(&text),
            false => from_toml(&text),
        };
        file.entries = entries.map_err(|(line, reason)| file.at(line, reason))?;
        file.entries.sort_by_key(|entry| entry.line);
        Ok(file)
    }

    /// An error in a line.
    pub(super) fn at(&self, line: usize, reason: String) -> ConfigError {
        ConfigError::At {
            place: self.place(line),
            reason,
        }
    }

    /// `run.toml:3`.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

/// Most bytes of a file of settings: all of them with their sentences are a thousandth of it. What has no
/// end would be read for ever.
const MOST: u64 = 16 << 20;

/// The text of the file at `path`, without the mark of its encoding that some editors begin it with.
fn read(path: &Path) -> Result<String, String> {
    if path.as_os_str() == "-" {
        return Err(
            "settings are not read from standard input; give a file (in bash and zsh, <(COMMAND) is one)"
                .to_owned(),
        );
    }
    let failed = |error: io::Error| format!("can't be read as a file of settings: {error}");
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MOST + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MOST {
        return Err("has more than 16 MiB, and so is no file of settings".to_owned());
    }
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Entries, or a line and what is wrong in it.
type Entries = Result<Vec<Entry>, (usize, String)>;

fn from_toml(text: &str) -> Entries {
    let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().trim_end().to_owned();
        (line(at), format!("is no TOML: {message}"))
    })?;
    let mut entries = Vec::new();
    let entry = |group: Option<Group>, name: &Spanned<DeString<'_>>, value: &DeValue<'_>| Entry {
        group,
        name: name.get_ref().clone().into_owned(),
        value: of_toml(value),
        line: line(name.span().start),
    };
    for (name, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => {
                let group = Group {
                    name: name.get_ref().clone().into_owned(),
                    line: line(name.span().start),
                };
                let inside = inner.iter();
                entries.extend(
                    inside.map(|(own, value)| entry(Some(group.clone()), own, value.get_ref())),
                );
            }
            value => entries.push(entry(None, name, value)),
        }
    }
    Ok(entries)
}

/// A value of TOML.
pub(crate) fn of_toml(value: &DeValue<'_>) -> Found {
    match value {
        DeValue::String(text) => Found::Text(text.clone().into_owned()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Found::Text(number.to_string()),
            Err(_) => Found::Text(number.to_string()),
        },
        DeValue::Float(number) => Found::Text(number.as_str().to_owned()),
        DeValue::Boolean(on) => Found::Switch(*on),
        DeValue::Datetime(time) => Found::Text(time.to_string()),
        DeValue::Array(_) => Found::Other("a list"),
        DeValue::Table(_) => Found::Other("a table"),
    }
}

fn from_json(text: &str) -> Entries {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| (error.line().max(1), format!("is no JSON: {error}")))?;
    let keys = json_keys(text);
    let mut entries = Vec::new();
    let mut add = |group: Option<&str>, name: &str, value: &Value| {
        let mut lines = keys
            .iter()
            .filter(|key| key.group.as_deref() == group && key.name == name)
            .map(|key| key.line);
        let line = lines.next().unwrap_or(1);
        if let Some(again) = lines.next() {
            return Err((again, format!("'{name}' stands in line {line} already")));
        }
        let group = group.map(|group| {
            let own = keys
                .iter()
                .find(|key| key.group.is_none() && key.name == group);
            Group {
                name: group.to_owned(),
                line: own.map_or(1, |key| key.line),
            }
        });
        entries.push(Entry {
            group,
            name: name.to_owned(),
            value: of_json(value),
            line,
        });
        Ok(())
    };
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                for (inner_name, value) in inner {
                    add(Some(name), inner_name, value)?;
                }
            }
            value => add(None, name, value)?,
        }
    }
    Ok(entries)
}

fn of_json(value: &Value) -> Found {
    match value {
        Value::Null => Found::Nothing,
        Value::Bool(on) => Found::Switch(*on),
        Value::Number(number) => Found::Text(number.to_string()),
        Value::String(text) => Found::Text(text.clone()),
        Value::Array(_) => Found::Other("a list"),
        Value::Object(_) => Found::Other("a table"),
    }
}

/// Where a key of a JSON text stands.
struct Key {
    group: Option<String>,
    name: String,
    line: usize,
}

/// The keys of an object, and of the objects in it, of a text that is JSON.
fn json_keys(text: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    // Whether each open bracket is an object's, and the last key of each object.
    let mut open: Vec<Option<String>> = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(character) = text[at..].chars().next() {
        let mut next = at + character.len_utf8();
        match character {
            '\n' => line += 1,
            '{' => open.push(Some(String::new())),
            '[' => open.push(None),
            '}' | ']' => drop(open.pop()),
            '"' => {
                next = string_end(text, at);
                let is_key = text[next..].trim_start().starts_with(':');
                if let (true, Some(Some(last))) = (is_key, open.last_mut()) {
                    let name: String = serde_json::from_str(&text[at..next]).unwrap_or_default();
                    last.clone_from(&name);
                    let group = match open.as_slice() {
                        [Some(_)] => None,
                        [Some(group), Some(_)] => Some(group.clone()),
                        _ => {
                            at = next;
                            continue;
                        }
                    };
                    keys.push(Key { group, name, line });
                }
            }
            _ => {}
        }
        at = next;
    }
    keys
}

/// Where the string ends that begins at `begin`.
fn string_end(text: &str, begin: usize) -> usize {
    let mut escaped = false;
    for (at, character) in text[begin + 1..].char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return begin + 1 + at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(group: Option<(&str, usize)>, name: &str, value: Found, line: usize) -> Entry {
        Entry {
            group: group.map(|(name, line)| Group {
                name: name.to_owned(),
                line,
            }),
            name: name.to_owned(),
            value,
            line,
        }
    }

    #[test]
    fn both_forms_give_names_values_and_lines() {
        let text = |text: &str| Found::Text(text.to_owned());
        let toml = "a = 1_000\n# c\nb = \"x\\\"\"\n\n[g]\nc = true\nd = 1e-3\ne = [1]\n";
        let mut entries = from_toml(toml).unwrap();
        entries.sort_by_key(|entry| entry.line);
        assert_eq!(
            entries,
            [
                entry(None, "a", text("1000"), 1),
                entry(None, "b", text("x\""), 3),
                entry(Some(("g", 5)), "c", Found::Switch(true), 6),
                entry(Some(("g", 5)), "d", text("1e-3"), 7),
                entry(Some(("g", 5)), "e", Found::Other("a list"), 8),
            ]
        );
        let json =
            "{\"a\": null,\n \"b\": \"{\\\"a\\\": [\",\n \"g\": {\n\"a\": 18446744073709551615}}";
        assert_eq!(
            from_json(json).unwrap(),
            [
                entry(None, "a", Found::Nothing, 1),
                entry(None, "b", text("{\"a\": ["), 2),
                entry(Some(("g", 3)), "a", text("18446744073709551615"), 4),
            ]
        );
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let error = from_toml("a = 1\nb = \n").unwrap_err();
        assert_eq!(error.0, 2, "{error:?}");
        assert_eq!(from_toml("a = 1\na = 2\n").unwrap_err().0, 2);
        assert_eq!(from_json("{\n\"a\": }").unwrap_err().0, 2);
        assert_eq!(
            from_json("{\"a\": 1,\n\"a\": 2}").unwrap_err(),
            (2, "'a' stands in line 1 already".to_owned())
        );
    }
}
