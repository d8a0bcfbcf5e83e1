//! Defaults that the protocol decides: each is in one place, for what is taken and for what the
//! help says of it.

use clap::builder::PossibleValue;
use clap::{Arg, ValueEnum};
use serde_json::{Map, Value};

use super::parts::Protocol;

/// What a protocol decides of an option.
#[derive(Clone, Copy)]
enum Decided {
    /// The value that is taken where none is given.
    Value(fn(Protocol) -> &'static str),
    /// What holds where none is given, which stays open until the run begins.
    Rule(fn(Protocol) -> String),
}

#[rustfmt::skip]
const DECIDED: [(&str, Decided); 7] = [
    ("epochs", Decided::Value(|protocol| match protocol {
        Protocol::Tgl | Protocol::Mspipe => "5",
        _ => "50",
    })),
    ("batch_size", Decided::Value(|protocol| match protocol {
        Protocol::Dyglib => "200",
        _ => "600",
    })),
    ("learning_rate", Decided::Value(|protocol| match protocol {
        Protocol::Tgl | Protocol::Mspipe | Protocol::Dyglib => "0.0001",
        _ => "0.001",
    })),
    ("patience", Decided::Value(|protocol| match protocol {
        Protocol::Tgl | Protocol::Mspipe => "0",
        _ => "5",
    })),
    ("pair_history", Decided::Rule(|protocol| protocol.pair_history().to_string())),
    ("hide_batch", Decided::Rule(|protocol| protocol.hides_batch().to_string())),
    ("monitor", Decided::Rule(|protocol| name_of(&protocol.monitor()))),
];

impl Decided {
    fn with(self, protocol: Protocol) -> String {
        match self {
            Decided::Value(of) => of(protocol).to_owned(),
            Decided::Rule(of) => of(protocol),
        }
    }

    /// `50; 5 with --protocol tgl and mspipe`.
    fn said(self) -> String {
        let default = self.with(Protocol::Default);
        let mut others: Vec<(String, Vec<&str>)> = Vec::new();
        for protocol in Protocol::value_variants() {
            let value = self.with(*protocol);
            if value == default {
                continue;
            }
            match others.iter_mut().find(|(other, _)| *other == value) {
                Some((_, names)) => names.push(protocol.name()),
                None => others.push((value, vec![protocol.name()])),
            }
        }
        let others = others.into_iter().map(|(value, mut names)| {
            let last = names.pop().unwrap_or_default();
            let first = names.join(", ");
            let and = if first.is_empty() { "" } else { " and " };
            format!("; {value} with --protocol {first}{and}{last}")
        });
        default + &others.collect::<String>()
    }
}

/// An option with the default that its protocol decides, if it decides one.
pub(super) fn decide(option: Arg) -> Arg {
    let Some(decided) = decided(option.get_id().as_str()) else {
        return option;
    };
    let sentence = option.get_help().map(ToString::to_string);
    let sentence = sentence.unwrap_or_default();
    let option = option.help(format!("{sentence} [default: {}]", decided.said()));
    match decided {
        Decided::Rule(_) => option,
        Decided::Value(of) => {
            let default = of(Protocol::Default);
            // The others alone: a program may change the default itself.
            let others = Protocol::value_variants().iter();
            let others = others.filter(|protocol| of(**protocol) != default);
            let with = |protocol: &Protocol| ("protocol", protocol.name(), of(*protocol));
            option
                .required(false)
                .default_value(default)
                .default_value_ifs(others.map(with))
                .hide_default_value(true)
        }
    }
}

/// Those of the options that are in `all`, by name, as `protocol` would not decide them.
pub(super) fn decided_otherwise(
    protocol: Protocol,
    all: Map<String, Value>,
) -> impl Iterator<Item = &'static str> {
    let differs = move |(name, decided): &(&str, Decided)| {
        let text = match all.get(*name) {
            None | Some(Value::Null) => return false,
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        text != decided.with(protocol)
    };
    DECIDED.into_iter().filter(differs).map(|(name, _)| name)
}

fn decided(option: &str) -> Option<Decided> {
    let found = DECIDED.into_iter().find(|(name, _)| *name == option);
    found.map(|(_, decided)| decided)
}

/// The name that the command line has for a choice.
pub fn name_of(choice: &impl ValueEnum) -> String {
    let name = choice.to_possible_value();
    name.as_ref().map_or("", PossibleValue::get_name).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::super::RunConfig;

    use super::*;

    #[test]
    fn names_are_those_of_the_option() {
        for protocol in Protocol::value_variants() {
            assert_eq!(name_of(protocol), protocol.name());
        }
    }

    #[test]
    fn what_is_taken_is_what_is_said() {
        let said = |option| decided(option).unwrap().said();
        assert_eq!(said("epochs"), "50; 5 with --protocol tgl and mspipe");
        assert_eq!(
            said("learning_rate"),
            "0.001; 0.0001 with --protocol tgl, dyglib and mspipe"
        );
        assert_eq!(
            said("monitor"),
            "val-ap; val-mrr with --protocol tgb; val-ap-batch-mean with --protocol mspipe"
        );
        let command = <RunConfig as clap::Args>::augment_args(Command::new("test"));
        for protocol in Protocol::value_variants() {
            let given = format!("--protocol={}", protocol.name());
            let matches = command.clone().get_matches_from(["test", &given]);
            let config = <RunConfig as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
            let taken = config.by_name().unwrap();
            for (option, of) in DECIDED {
                if let Decided::Value(value) = of {
                    assert_eq!(taken[option].to_string(), value(*protocol), "{option}");
                }
            }
        }
    }
}
