//! Events, ids and times as JSON has them.

use mspipe_datasets::{NodeKey, asked};
use serde::Deserialize;
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
    features: Vec<f32>,
}

impl Server {
    /// The events of `text`, a JSON object in each line, of which the first one is line `first`.
    pub(super) fn events(&self, text: &str, first: usize) -> Result<Vec<NewEvent>, String> {
        let lines = (first..).zip(text.lines());
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(number, line)| {
                let named = |error: String| format!("line {number}: {error}");
                let event: EventLine =
                    serde_json::from_str(line).map_err(|error| named(error.to_string()))?;
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
                    features: event.features,
                })
            })
            .collect()
    }

    pub(super) fn key(&self, value: &Value) -> Result<NodeKey, String> {
        match value {
            Value::String(text) if text.len() > ID => Err(format!(
                "an id has {} bytes; expected at most {ID}",
                text.len()
            )),
            Value::String(text) if text.is_empty() => Err("an id is empty".to_owned()),
            Value::String(text) => match self.text_ids {
                true => Ok(NodeKey::from(text.as_str())),
                false => text.parse().map(NodeKey::Number).map_err(|_| {
                    format!("found the id {text:?}; expected a whole number, as all ids of the stream are")
                }),
            },
            Value::Number(number) => match (number.as_u64(), self.text_ids) {
                (Some(_), true) => Ok(NodeKey::from(number.to_string())),
                (Some(number), false) => Ok(NodeKey::Number(number)),
                (None, _) => Err(format!("found the id {number}; expected a whole number from 0 on")),
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
