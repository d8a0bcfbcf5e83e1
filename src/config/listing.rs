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
        let words = words(option);
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
            () if !words.is_empty() => Kind::Choice(words),
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

/// The words that an option takes, if it takes no other: also of one that parses them itself, whose value is called
/// `auto|yes|no` in the help.
fn words(option: &Arg) -> Vec<String> {
    let names = option.get_possible_values();
    if !names.is_empty() {
        let name = |value: &PossibleValue| value.get_name().to_owned();
        return names.iter().map(name).collect();
    }
    let shown = option.get_value_names().and_then(<[_]>::first);
    let words: Vec<&str> = shown
        .map_or("", |shown| shown.as_str())
        .split('|')
        .collect();
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    match words.len() > 1 && words.iter().all(is_word) {
        true => words.into_iter().map(str::to_owned).collect(),
        false => Vec::new(),
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

/// What holds of a setting that is not given and that protocol, model or seed decide.
fn decided(config: &RunConfig, setting: &str) -> Option<Value> {
    let written = match setting {
        "time_delta" => serde_json::to_value(config.time_delta()),
        "pair_history" => serde_json::to_value(config.pair_history()),
        "hide_batch" => serde_json::to_value(config.protocol.hides_batch()),
        "monitor" => serde_json::to_value(config.protocol.name.monitor()),
        "eval_seed" => serde_json::to_value(config.eval_seed()),
        _ => return None,
    };
    written.ok()
}

/// The settings of `config` as a file of TOML; what is not given is a comment, with what holds instead where
/// other settings decide it.
pub fn to_toml(config: &RunConfig) -> String {
    let written = config.by_name().unwrap_or_default();
    let mut text = String::new();
    for option in settings().get_arguments() {
        let id = option.get_id().as_str();
        let _ = match written.get(id) {
            Some(Value::Null) => match decided(config, id) {
                Some(value) => writeln!(text, "# {id} = {}", literal(&value)),
                None => writeln!(text, "# {id} ="),
            },
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

/// What a number that is not whole may be, where it may not be any, in the words of JSON schemas.
const NUMBERS: [(&str, &str, f64); 8] = [
    ("learning_rate", "exclusiveMinimum", 0.0),
    ("node_learning_rate", "exclusiveMinimum", 0.0),
    ("clip_norm", "exclusiveMinimum", 0.0),
    ("weight_decay", "minimum", 0.0),
    ("dropout", "minimum", 0.0),
    ("dropout", "exclusiveMaximum", 1.0),
    ("attention_dropout", "minimum", 0.0),
    ("attention_dropout", "exclusiveMaximum", 1.0),
];

/// What a text may be that is a word, or one with a number.
const WORDS: [(&str, &str); 2] = [
    (
        "device",
        "^(auto|cpu|gpu|gpu:[0-9]+|gpu:local-rank|software)$",
    ),
    (
        "schedule",
        "^(sequential|prefetch|staleness:[0-9]+|mspipe|freshest(:[0-9]+)?|exact-overlap|auto|replay:.+)$",
    ),
];

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
    // Names may have a dash between their words, but an editor need not offer each twice.
    let dashed = |names: &[String]| -> Map<String, Value> {
        let with = names.iter().filter(|name| name.contains('_'));
        let of = |name: &String| {
            let pattern = format!("^{}$", name.replace('_', "-"));
            (pattern, json!({"$ref": format!("#/properties/{name}")}))
        };
        with.map(of).collect()
    };
    let group = |ids: Vec<clap::Id>| -> Value {
        let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let of = |name: &String| (name.clone(), all[name.as_str()].clone());
        let properties: Map<String, Value> = names.iter().map(of).collect();
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "patternProperties": dashed(&names),
        })
    };
    let names: Vec<String> = all.keys().cloned().collect();
    let dashed_names = dashed(&names);
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
        "patternProperties": dashed_names,
    })
}

fn property(option: &Arg) -> Value {
    let kind = Kind::of(option);
    let (default, always) = default_of(option, &kind);
    let is_optional = default.is_none();
    let id = option.get_id().as_str();
    let word = WORDS.iter().find(|(name, _)| *name == id);
    // A number may be written as a text, and what a text is read as may be a number. What it is first stands first.
    let mut property = match (&kind, word) {
        (Kind::Switch, _) => json!({"type": "boolean"}),
        (Kind::Whole, _) => {
            json!({"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$"})
        }
        (Kind::Number, _) => json!({"type": ["number", "string"], "pattern": "^[-+.0-9eE]+$"}),
        (Kind::Choice(values), _) => json!({ "enum": values }),
        (Kind::Text, Some((_, pattern))) => json!({"type": "string", "pattern": pattern}),
        (Kind::Text, None) => json!({"type": ["string", "number"]}),
    };
    for (name, word, end) in NUMBERS {
        if name == id {
            property[word] = json!(end);
        }
    }
    if let Some(range) = option.get_long().and_then(range)
        && matches!(kind, Kind::Whole)
    {
        (property["minimum"], property["maximum"]) = (json!(range.start()), json!(range.end()));
    }
    if is_optional {
        if let Some(Value::Array(values)) = property.get_mut("enum") {
            values.push(Value::Null);
        } else if let Value::Array(types) = &mut property["type"] {
            types.push(json!("null"));
        } else {
            property["type"] = json!([property["type"], "null"]);
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
    use super::super::PlacedSetting;
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
        assert_eq!(of["epochs"]["type"], json!(["integer", "string"]));
        assert_eq!(of["epochs"]["maximum"], 1_000_000);
        assert_eq!(of["dropout"]["default"], 0.1);
        assert_eq!(of["clip_norm"]["type"], json!(["number", "string", "null"]));
        assert_eq!(
            of["candidates"]["type"],
            json!(["string", "number", "null"])
        );
        assert_eq!(of["device"]["type"], "string");
        let dashed = json!({"$ref": "#/properties/batch_size"});
        assert_eq!(schema["patternProperties"]["^batch-size$"], dashed);
        assert_eq!(of["model"]["enum"], json!(["tgn", "jodie", "apan"]));
        assert_eq!(of["pipeline"]["properties"]["schedule"], of["schedule"]);
        // Every name that a run writes is there.
        let written = serde_json::to_value(RunConfig::default()).unwrap();
        for name in written.as_object().unwrap().keys() {
            assert!(of.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_schema_refuses_what_a_run_refuses() {
        let placed = |name: &str, value: &str| {
            let value = value.to_owned();
            let (name, place) = (name.to_owned(), String::new());
            RunConfig::from_settings(None, &[PlacedSetting { name, value, place }])
        };
        for (name, word, end) in NUMBERS {
            let beyond = match word {
                "minimum" => -0.5,
                _ => end,
            };
            let (_, refused) = placed(name, &beyond.to_string()).unwrap();
            assert!(refused.is_some(), "{name} {beyond}");
        }
        for (name, pattern) in WORDS {
            let inner = pattern.trim_start_matches("^(").trim_end_matches(")$");
            for word in inner.split('|') {
                let word = word
                    .replace("[0-9]+", "1")
                    .replace("(:1)?", ":1")
                    .replace(".+", "x");
                assert!(placed(name, &word).is_ok(), "{name} {word}");
            }
            assert!(placed(name, "foo").is_err(), "{name}");
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
        let words = ["auto", "yes", "no"].map(str::to_owned).to_vec();
        assert_eq!(kind_of("bipartite"), Some(Kind::Choice(words)));
        assert_eq!(kind_of("edge_features"), Some(Kind::Text));
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
