//! The exception of the package.

use std::fmt::Display;

use mspipe::config::{ConfigError, kind_of};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    mspipe,
    Error,
    PyException,
    "What was found, what was expected, and what to do: the message that the command prints, with keywords for its options."
);

/// Options that are no settings, but keywords of `update`, `simulate` and `save`.
const OTHERS: [&str; 4] = ["late", "max-jump", "stages", "force"];

/// What command lines begin with, in which options stay what they are.
const COMMANDS: [&str; 2] = ["mspipe ", "cargo "];

/// An exception with the message of `error`.
pub(crate) fn raised(error: impl Display) -> PyErr {
    Error::new_err(in_keywords(&error.to_string()))
}

/// The same for a setting: its name and value stand in the reason.
pub(crate) fn refused(error: ConfigError) -> PyErr {
    match error {
        ConfigError::At { place, reason } if names_setting(&reason, &place) => raised(reason),
        error => raised(error),
    }
}

/// Whether the reason names the setting of a place such as `epochs=three`.
fn names_setting(reason: &str, place: &str) -> bool {
    let name = place.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| reason.contains(name))
}

/// A text of the command in which options are keywords, but in command lines.
#[pyfunction]
pub(crate) fn in_keywords(text: &str) -> String {
    let (mut said, mut rest) = (String::new(), text);
    let first = |rest: &str| COMMANDS.iter().filter_map(|name| rest.find(name)).min();
    while let Some(start) = first(rest) {
        let line = &rest[start..];
        let end = line.find(['\'', '`', ')', ';', '\n']).unwrap_or(line.len());
        said += &between_commands(&rest[..start]);
        said += &line[..end];
        rest = &line[end..];
    }
    said + &between_commands(rest)
}

fn between_commands(mut rest: &str) -> String {
    let mut said = String::new();
    while let Some((before, after)) = rest.split_once("--") {
        said += before;
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '-';
        let end = after.find(|letter| !is_name(letter));
        let (name, behind) = after.split_at(end.unwrap_or(after.len()));
        let keyword = name.replace('-', "_");
        rest = behind;
        let value = behind.strip_prefix(' ').unwrap_or("");
        let end = value.find([' ', ';', ')', ':']).unwrap_or(value.len());
        if name == "columns" && value[..end].contains('=') {
            said += &columns(&value[..end]);
            rest = &value[end..];
        } else if kind_of(&keyword).is_some() || OTHERS.contains(&name) {
            said += &format!("`{keyword}`");
        } else {
            said += "--";
            said += name;
        }
    }
    said + rest
}

/// `src=payer,features=a+b` as keywords of a dataset.
fn columns(value: &str) -> String {
    let part = |part: &str| match part.split_once('=') {
        Some(("features", names)) => {
            let names: Vec<&str> = names.split('+').collect();
            format!("features={names:?}")
        }
        Some(("ignore", _)) => "features=[…] without it".to_owned(),
        Some((role, name)) => format!("{role}={name:?}"),
        None => part.to_owned(),
    };
    value.split(',').map(part).collect::<Vec<_>>().join(", ")
}
