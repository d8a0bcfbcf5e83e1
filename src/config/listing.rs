//! All settings as a file has them: with their defaults, as JSON schema, or those of a run.
//!
//! Names, values, defaults and sentences are those of the options; a setting has no second description.

use std::fmt::Write as _;
use std::num::NonZeroUsize;

use clap::builder::{PossibleValue, ValueParser};
use clap::{Arg, value_parser};
use serde_json::{Map, Value, json};

use super::layers::settings;
use super::limits::range;
use super::{PipelineSettings, ReadingSettings, RunConfig, options};

/// Width of a line of a comment.
const WIDTH: usize = 90;

/// What a setting is written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// One of these words.
    Choice(Vec<String>),
    /// Anything else.
    Text,
}

/// What the setting of this name is written as; none if there is no such setting.
pub fn kind_of(name: &str) -> Option<Kind> {
    let command = settings();
    let mut options = command.get_arguments();
    let option = options.find(|option| option.get_id() == name)?;
    Some(Kind::of(option))
}

impl Kind {
    fn of(option: &Arg) -> Kind {
        let parser = option.get_value_parser();
        let is = |other: &[ValueParser]| {
            let mut kinds = other.iter().map(ValueParser::type_id);
            kinds.any(|kind| kind == parser.type_id())
        };
        let names = option.get_possible_values();
        let name = |value: &PossibleValue| value.get_name().to_owned();
        match () {
            () if !option.get_action().takes_values() => Kind::Switch,
            () if is(&[
                value_parser!(usize).into(),
                value_parser!(u64).into(),
                value_parser!(NonZeroUsize).into(),
            ]) =>
            {
                Kind::Whole
            }
            () if is(&[value_parser!(f32).into(), value_parser!(f64).into()]) => Kind::Number,
            () if !names.is_empty() => Kind::Choice(names.iter().map(name).collect()),
            () => Kind::Text,
        }
    }

    /// A value of the command line as a file has it.
    fn written(&self, text: &str) -> Value {
        let number = || serde_json::from_str(text).ok();
        match self {
            Kind::Switch => Value::Bool(text == "true"),
            Kind::Whole | Kind::Number => number().unwrap_or_else(|| Value::from(text)),
            Kind::Choice(_) | Kind::Text => Value::from(text),
        }
    }
}

/// The default of an option, and whether it is one whatever the other settings are.
fn default_of(option: &Arg, kind: &Kind) -> (Option<Value>, bool) {
    let always = !option.is_hide_default_value_set();
    let values = option.get_default_values();
    let value = values.first().and_then(|value| value.to_str());
    match (kind, value) {
        (Kind::Switch, _) => (Some(Value::Bool(false)), true),
        (_, Some(value)) => (Some(kind.written(value)), always),
        (_, None) => (None, false),
    }
}

/// A file of settings in which every one stands with its sentence and its default. Those that have none,
/// or one that other settings decide, are comments.
pub fn defaults() -> String {
    let mut text = String::from(
        "# Settings of mspipe: mspipe train --config FILE. Every name is that of an option, and each is as\n\
         # by default. What is a comment has no default, or one that another setting decides.\n",
    );
    let command = settings();
    let mut headings: Vec<&str> = Vec::new();
    let all: Vec<&Arg> = command
        .get_arguments()
        .filter(|option| option.get_long().is_some_and(|name| name != "help"))
        .collect();
    for option in &all {
        let heading = option.get_help_heading().unwrap_or("Other");
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "\n# {heading}\n# {}", "-".repeat(heading.len()));
        for option in &all {
            if option.get_help_heading().unwrap_or("Other") == heading {
                describe(option, &mut text);
            }
        }
    }
    text
}

fn describe(option: &Arg, text: &mut String) {
    let kind = Kind::of(option);
    let mut sentence = option
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    if let Kind::Choice(values) = &kind {
        sentence += &format!(". One of: {}", values.join(", "));
    }
    text.push('\n');
    for line in in_lines(sentence.split_whitespace(), WIDTH) {
        let _ = writeln!(text, "# {line}");
    }
    let id = option.get_id();
    let _ = match default_of(option, &kind) {
        (Some(value), true) => writeln!(text, "{id} = {}", literal(&value)),
        (Some(value), false) => writeln!(text, "# {id} = {}", literal(&value)),
        (None, _) => writeln!(text, "# {id} ="),
    };
}

/// Words in lines of at most `width` characters; a longer word has a line of its own.
pub fn in_lines<Word: AsRef<str>>(
    words: impl IntoIterator<Item = Word>,
    width: usize,
) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        let word = word.as_ref();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The settings of `config` as a file of TOML; what is not given is a comment.
pub fn to_toml(config: &RunConfig) -> String {
    let written = config.by_name().unwrap_or_default();
    let mut text = String::new();
    for option in settings().get_arguments() {
        let id = option.get_id().as_str();
        let _ = match written.get(id) {
            Some(Value::Null) => writeln!(text, "# {id} ="),
            Some(value) => writeln!(text, "{id} = {}", literal(value)),
            None => Ok(()),
        };
    }
    text
}

/// A value as TOML has it.
fn literal(value: &Value) -> String {
    match value {
        // TOML's whole numbers have 63 bits.
        Value::Number(number) if number.as_u64().is_some_and(|of| i64::try_from(of).is_err()) => {
            format!("\"{number}\"")
        }
        // JSON's escapes are TOML's too.
        other => other.to_string(),
    }
}

/// A JSON schema of files of settings, TOML or JSON, `config.json` too.
pub fn schema() -> Value {
    let mut all = Map::new();
    let command = settings();
    for option in command
        .get_arguments()
        .filter(|option| option.get_id() != "help")
    {
        all.insert(option.get_id().to_string(), property(option));
    }
    let group = |ids: Vec<clap::Id>| -> Value {
        let of = |id: &clap::Id| (id.to_string(), all[id.as_str()].clone());
        let properties: Map<String, Value> = ids.iter().map(of).collect();
        json!({"type": "object", "additionalProperties": false, "properties": properties})
    };
    let groups = [
        ("reading", group(options::<ReadingSettings>())),
        ("pipeline", group(options::<PipelineSettings>())),
    ];
    for (name, group) in groups {
        all.insert(name.to_owned(), group);
    }
    for name in super::layers::FOUND_OUT {
        let says = "What a run found out; the next one finds it out itself";
        all.insert(name.to_owned(), json!({"description": says}));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of mspipe",
        "type": "object",
        "additionalProperties": false,
        "properties": all,
    })
}

fn property(option: &Arg) -> Value {
    let kind = Kind::of(option);
    let (default, always) = default_of(option, &kind);
    let is_optional = default.is_none();
    let mut property = match &kind {
        Kind::Switch => json!({"type": "boolean"}),
        Kind::Whole => json!({"type": "integer", "minimum": 0}),
        Kind::Number => json!({"type": "number"}),
        Kind::Choice(values) => json!({ "enum": values }),
        Kind::Text => json!({"type": "string"}),
    };
    if let Some(range) = option.get_long().and_then(range)
        && matches!(kind, Kind::Whole)
    {
        (property["minimum"], property["maximum"]) = (json!(range.start()), json!(range.end()));
    }
    if is_optional {
        match property.get_mut("enum") {
            Some(Value::Array(values)) => values.push(Value::Null),
            _ => property["type"] = json!([property["type"], "null"]),
        }
    }
    if let (Some(default), true) = (default, always) {
        property["default"] = default;
    }
    let says = option.get_help().map(ToString::to_string);
    property["description"] = json!(says.unwrap_or_default());
    property
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_stands_once_in_the_listing() {
        let text = defaults();
        for option in settings().get_arguments() {
            let id = option.get_id();
            let stands = |line: &&str| {
                line.trim_start_matches("# ")
                    .starts_with(&format!("{id} ="))
            };
            assert_eq!(text.lines().filter(stands).count(), 1, "{id}");
        }
        for line in [
            "model = \"tgn\"",
            "# epochs = 50",
            "dropout = 0.1",
            "# clip_norm =",
            "sort = false",
            "checkpoint_every = \"10m\"",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_schema_has_types_ranges_and_values() {
        let schema = schema();
        let of = &schema["properties"];
        assert_eq!(of["epochs"]["type"], "integer");
        assert_eq!(of["epochs"]["maximum"], 1_000_000);
        assert_eq!(of["dropout"]["default"], 0.1);
        assert_eq!(of["clip_norm"]["type"], json!(["number", "null"]));
        assert_eq!(of["model"]["enum"], json!(["tgn", "jodie", "apan"]));
        assert_eq!(of["pipeline"]["properties"]["schedule"], of["schedule"]);
        // Every name that a run writes is there.
        let written = serde_json::to_value(RunConfig::default()).unwrap();
        for name in written.as_object().unwrap().keys() {
            assert!(of.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn words_stand_in_lines_that_are_no_wider() {
        let words: Vec<String> = (0..30).map(|nth| format!("name{nth}=1")).collect();
        let lines = in_lines(&words, 40);
        assert!(lines.len() > 5 && lines.iter().all(|line| line.len() <= 40));
        assert_eq!(lines.join(" "), words.join(" "));
        assert_eq!(in_lines(["a", "longer", "b"], 3), ["a", "longer", "b"]);
        assert_eq!(in_lines(["ab", "cd"], 5), ["ab cd"]);
    }

    #[test]
    fn kinds_are_those_of_the_options() {
        assert_eq!(kind_of("probe_every"), Some(Kind::Whole));
        assert_eq!(kind_of("dropout"), Some(Kind::Number));
        assert_eq!(kind_of("sort"), Some(Kind::Switch));
        assert_eq!(kind_of("candidates"), Some(Kind::Text));
        assert_eq!(kind_of("no_such"), None);
    }

    #[test]
    fn numbers_of_32_bits_are_as_short_as_they_were_given() {
        let mut config = RunConfig::default();
        config.model.dropout = 0.3;
        let toml = to_toml(&config);
        for line in [
            "dropout = 0.3\n",
            "attention_dropout = 0.1\n",
            "mitigation_keep = 0.9\n",
        ] {
            assert!(toml.contains(line), "{toml}");
        }
    }

    #[test]
    fn numbers_beyond_toml_are_texts() {
        assert_eq!(literal(&json!(u64::MAX)), "\"18446744073709551615\"");
        assert_eq!(literal(&json!("a\"b")), "\"a\\\"b\"");
    }
}
