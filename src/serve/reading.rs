//! Events, ids and times as JSON has them.

use std::fmt;

use mspipe_datasets::{NodeKey, Unmatched, asked, places_of};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::shared::Server;
use crate::session::predict::NewEvent;

/// Bytes of an id.
const ID: usize = 1024;

/// A line of `/events`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    src: Value,
    dst: Value,
    time: Value,
    #[serde(default)]
    features: Given,
}

/// Features as a line has them.
enum Given {
    /// In the order of those that the model was trained on.
    InOrder(Vec<f32>),
    /// By their names.
    Named(Vec<(String, f32)>),
}

impl Default for Given {
    fn default() -> Given {
        Given::InOrder(Vec::new())
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Given, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("features as a list of numbers, or as an object of numbers by name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Given, A::Error> {
                let mut values = Vec::with_capacity(all.size_hint().unwrap_or(0));
                while let Some(value) = all.next_element()? {
                    values.push(value);
                }
                Ok(Given::InOrder(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Given, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = all.next_entry()? {
                    values.push(value);
                }
                Ok(Given::Named(values))
            }
        }
        from.deserialize_any(Either)
    }
}

/// What is wrong with a text of JSON, in words that are not the program's own; its place is a line and a column,
/// or in a text of `one_line` a column.
pub(super) fn wrong_json(error: &serde_json::Error, one_line: bool) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let mut what = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    for (own, word) in [
        ("expected usize", "expected a whole number from 0 on"),
        ("expected f32", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected a boolean", "expected true or false"),
        ("integer `", "the number `"),
        ("floating point `", "the number `"),
    ] {
        what = what.replace(own, word);
    }
    match (line, one_line) {
        (0, _) => what,
        (_, true) => format!("{what} (column {column})"),
        (_, false) => format!("{what} (line {line}, column {column})"),
    }
}

impl Server {
    /// The events of `text`, a JSON object in each line, of which the first one is line `first`.
    pub(super) fn events(&self, text: &str, first: usize) -> Result<Vec<NewEvent>, String> {
        let lines = (first..).zip(text.lines());
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(number, line)| {
                let named = |error: String| format!("line {number}: {error}");
                if !line.trim_start().starts_with('{') {
                    let expected = r#"expected a JSON object, {"src": …, "dst": …, "time": …}"#;
                    return Err(named(expected.to_owned()));
                }
                let event: EventLine =
                    serde_json::from_str(line).map_err(|error| named(wrong_json(&error, true)))?;
                Ok(NewEvent {
                    src: self
                        .key(&event.src)
                        .map_err(|error| named(format!("src: {error}")))?,
                    dst: self
                        .key(&event.dst)
                        .map_err(|error| named(format!("dst: {error}")))?,
                    time: self
                        .time(&event.time)
                        .map_err(|error| named(format!("time: {error}")))?,
                    features: self
                        .features(event.features)
                        .map_err(|error| named(format!("features: {error}")))?,
                })
            })
            .collect()
    }

    /// The features of an event in the order of those that the model was trained on.
    fn features(&self, given: Given) -> Result<Vec<f32>, String> {
        let names = self.features.names.as_deref();
        let called = || names.map_or(String::new(), |names| format!(" ({})", names.join(", ")));
        let values = match (given, self.features.width) {
            (Given::InOrder(values), None) => return Ok(values),
            (Given::Named(_), None) => return Ok(Vec::new()),
            (Given::InOrder(values), Some(_)) => values,
            (Given::Named(_), Some(width)) if names.is_none() => {
                return Err(format!(
                    "found names, and what features are called is not known here; expected a list of {width} numbers"
                ));
            }
            (Given::Named(values), Some(_)) => {
                let (found, values): (Vec<String>, Vec<f32>) = values.into_iter().unzip();
                let places = places_of(names.unwrap_or_default(), &found);
                let places = places.map_err(|Unmatched { missing, surplus }| {
                    let quoted = |all: &[String]| format!("`{}`", all.join("`, `"));
                    let missing = match missing.is_empty() {
                        true => String::new(),
                        false => format!("there is no {}; ", quoted(&missing)),
                    };
                    let surplus = match surplus.is_empty() {
                        true => String::new(),
                        false => format!("found {}; ", quoted(&surplus)),
                    };
                    format!("{missing}{surplus}expected those of the stream{}", called())
                })?;
                places.into_iter().map(|at| values[at]).collect()
            }
        };
        let width = self.features.width.unwrap_or(values.len());
        if values.len() != width {
            return Err(format!(
                "found {}; expected {width} numbers{}",
                values.len(),
                called()
            ));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(_) => Err("a number is out of the range of 32-bit floats".to_owned()),
            None => Ok(values),
        }
    }

    pub(super) fn key(&self, value: &Value) -> Result<NodeKey, String> {
        match value {
            Value::String(text) if text.len() > ID => Err(format!(
                "an id has {} bytes; expected at most {ID}",
                text.len()
            )),
            Value::String(text) if text.is_empty() => Err("an id is empty".to_owned()),
            Value::String(text) => asked::key(text, self.text_ids).ok_or_else(|| {
                format!(
                    "found the id {text:?}; expected a whole number, as all ids of the stream are"
                )
            }),
            Value::Number(number) => match (number.as_u64(), self.text_ids) {
                (Some(_), true) => Ok(NodeKey::from(number.to_string())),
                (Some(number), false) => Ok(NodeKey::Number(number)),
                // `3.0`, as where a library made floats of ids.
                (None, text) => Some(number.to_string())
                    .filter(|_| !text)
                    .and_then(|number| asked::key(&number, false))
                    .ok_or_else(|| {
                        format!("found the id {number}; expected a whole number from 0 on")
                    }),
            },
            _ => Err("expected an id, a number or text".to_owned()),
        }
    }

    pub(super) fn time(&self, value: &Value) -> Result<i64, String> {
        let text = match value {
            Value::String(text) if text.len() <= ID => text.clone(),
            // A number with a fraction of zero is a whole number.
            Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
            _ => return Err("expected a number in the stream's unit, or a date".to_owned()),
        };
        asked::ticks(&text, self.ticks_per_unit)
            .map_err(|expected| format!("found {text}; expected {expected}"))
    }
}
