//! What a person says of a table where its file does not tell, or tells otherwise.
//!
//! Every choice has a text form, that of the command line, which is also how a run's settings
//! keep it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::schema::names::{Role, plain, role};

/// How columns and values of a table are read.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Which column holds what, where names don't tell.
    pub columns: ColumnChoice,
    /// The first line is an event: columns are known by their positions.
    pub no_header: bool,
    /// Whether ids are numbers or text.
    pub ids: IdKind,
    /// Whether sources and destinations are nodes of two kinds.
    pub bipartite: Bipartite,
    /// What times that are numbers count.
    pub time_unit: TimeUnit,
    /// What becomes of features without a value.
    pub missing: Missing,
    /// The stream that the table belongs to, if there is one already.
    #[serde(skip)]
    pub like: Option<Box<Like>>,
}

/// How a stream was read, for a table that belongs to it: what it says counts where the table has columns of
/// these names, and gives way to what is said of the table itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Like {
    /// What was chosen by hand.
    pub columns: ColumnChoice,
    /// Names of its features in their order, if they have names.
    pub features: Vec<String>,
    /// What was said of its ids.
    pub ids: IdKind,
    /// Whether its first line was said to be an event.
    pub no_header: bool,
}

/// As it would be derived, but for a stream that it belongs to only where there is one: conversions are kept
/// under keys that are made of this text.
impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Reading");
        text.field("columns", &self.columns)
            .field("no_header", &self.no_header)
            .field("ids", &self.ids)
            .field("bipartite", &self.bipartite)
            .field("time_unit", &self.time_unit)
            .field("missing", &self.missing);
        if let Some(like) = &self.like {
            text.field("like", like);
        }
        text.finish()
    }
}

impl Reading {
    /// Whether nothing was said.
    pub(crate) fn is_default(&self) -> bool {
        *self == Reading::default()
    }

    /// Whether the first line is no header.
    pub(crate) fn is_without_header(&self) -> bool {
        self.no_header || self.like.as_ref().is_some_and(|like| like.no_header)
    }

    /// Whether a node may be called `NA` or `null`: if somebody has said that ids are text.
    pub(crate) fn takes_missing_words(&self) -> bool {
        let said = self.like.as_ref().map_or(self.ids, |like| like.ids);
        said == IdKind::Text
    }

    /// Whether somebody has said that times are numbers: of a table that belongs to a stream, the unit may be what was
    /// said of the stream.
    pub(crate) fn has_no_dates(&self) -> bool {
        self.time_unit != TimeUnit::Auto && self.like.is_none()
    }

    /// The first option that is not at its default, if one is not; where the table belongs to a stream, of
    /// those that are said of the table itself.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let default = Reading::default();
        if self.like.is_some() {
            let own = Reading {
                columns: self.columns.clone(),
                no_header: self.no_header,
                ..default
            };
            return own.given();
        }
        let given = [
            (self.columns != default.columns, "--columns"),
            (self.no_header, "--no-header"),
            (self.ids != default.ids, "--ids"),
            (self.bipartite != default.bipartite, "--bipartite"),
            (self.time_unit != default.time_unit, "--time-unit"),
            (self.missing != default.missing, "--missing"),
        ];
        given
            .into_iter()
            .find_map(|(given, option)| given.then_some(option))
    }
}

/// Whether ids are numbers or text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// Numbers if every id of the file is one, without leading zeros; else text.
    #[default]
    Auto,
    /// Numbers: `007` is 7, and anything else is an error.
    Number,
    /// Text: `007` and `7` are two nodes.
    Text,
}

/// Whether sources and destinations are nodes of two kinds, so that 7 can name one of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bipartite {
    /// Yes if the columns are named after users and items (or buyers and products, …).
    #[default]
    Auto,
    /// Two kinds: users first, then items.
    Yes,
    /// One kind: an id is one node on either side.
    No,
}

/// What times that are numbers count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// As they are; a note says so where they look like fractions of a second.
    #[default]
    Auto,
    /// Seconds.
    S,
    /// Milliseconds, which become seconds.
    Ms,
    /// Microseconds, which become seconds.
    Us,
    /// Nanoseconds, which become seconds.
    Ns,
}

/// What becomes of features without a value (empty, `NA`, `nan`, `null`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// The stream is refused.
    #[default]
    Error,
    /// They are 0.
    Zero,
    /// They are the mean of the column's other values, over the whole stream.
    Mean,
}

/// A choice of a few words.
fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, DataError> {
    (words.iter().find(|(word, _)| *word == text))
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            DataError::Option(format!(
                "found '{text}', expected one of {}",
                known.join(", ")
            ))
        })
}

impl FromStr for IdKind {
    type Err = DataError;

    fn from_str(text: &str) -> Result<IdKind, DataError> {
        let words = [
            ("auto", IdKind::Auto),
            ("number", IdKind::Number),
            ("text", IdKind::Text),
        ];
        word(text, &words)
    }
}

impl FromStr for Bipartite {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Bipartite, DataError> {
        let words = [
            ("auto", Bipartite::Auto),
            ("yes", Bipartite::Yes),
            ("no", Bipartite::No),
        ];
        word(text, &words)
    }
}

impl FromStr for TimeUnit {
    type Err = DataError;

    fn from_str(text: &str) -> Result<TimeUnit, DataError> {
        let words = [
            ("auto", TimeUnit::Auto),
            ("s", TimeUnit::S),
            ("ms", TimeUnit::Ms),
            ("us", TimeUnit::Us),
            ("ns", TimeUnit::Ns),
        ];
        word(text, &words)
    }
}

impl FromStr for Missing {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Missing, DataError> {
        let words = [
            ("error", Missing::Error),
            ("zero", Missing::Zero),
            ("mean", Missing::Mean),
        ];
        word(text, &words)
    }
}

impl TimeUnit {
    /// Decimals between a number in this unit and the same time in seconds.
    pub(crate) fn decimals(self) -> u8 {
        match self {
            TimeUnit::Auto | TimeUnit::S => 0,
            TimeUnit::Ms => 3,
            TimeUnit::Us => 6,
            TimeUnit::Ns => 9,
        }
    }
}

/// Columns chosen by hand, as `src=payer,dst=payee,time=ts,label=fraud,features=amount+mcc`.
///
/// A column is given by its name in the file, or by its number counted from 1. What is not
/// chosen is told from names; with `features`, no other column is a feature.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ColumnChoice {
    pub(crate) src: Option<String>,
    pub(crate) dst: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) split: Option<String>,
    pub(crate) features: Option<Vec<String>>,
    pub(crate) ignore: Vec<String>,
}

const COLUMN_KEYS: &str = "src=, dst=, time=, label=, split=, features=A+B or ignore=A+B";

impl ColumnChoice {
    /// The column that was chosen as the label, if one was.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Whether a column may be read: of those that are to be ignored none is, and where features were chosen only those
    /// that were named, or that have a role by their names which was given to no other.
    pub fn may_read(&self, name: &str) -> bool {
        let is = |other: &String| plain(other) == plain(name);
        let roles = [&self.src, &self.dst, &self.time, &self.label, &self.split];
        let open = match role(name) {
            Some(Role::Source) => self.src.is_none(),
            Some(Role::Destination) => self.dst.is_none(),
            Some(Role::Time) => self.time.is_none(),
            Some(Role::Label) => self.label.is_none(),
            Some(Role::Split) => self.split.is_none(),
            Some(Role::EventId | Role::InductiveSplit) | None => false,
        };
        let chosen = self.features.iter().flatten();
        let named = open || roles.into_iter().flatten().chain(chosen).any(is);
        (self.features.is_none() || named) && !self.ignore.iter().any(is)
    }
}

impl FromStr for ColumnChoice {
    type Err = DataError;

    fn from_str(text: &str) -> Result<ColumnChoice, DataError> {
        let mut choice = ColumnChoice::default();
        let wrong = |part: &str, why: &str| {
            DataError::Option(format!(
                "{why} `{part}`; expected parts like src=payer, with commas between \
                 them, of {COLUMN_KEYS}"
            ))
        };
        let names = |value: &str| -> Vec<String> {
            (value.split('+').map(str::trim))
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| wrong(part, "no `=` in"))?;
            let (key, value) = (key.trim(), value.trim());
            let one = match key {
                "src" => &mut choice.src,
                "dst" => &mut choice.dst,
                "time" => &mut choice.time,
                "label" => &mut choice.label,
                "split" => &mut choice.split,
                "features" if choice.features.is_none() => {
                    choice.features = Some(names(value));
                    continue;
                }
                "features" => return Err(wrong(part, "a second")),
                "ignore" => {
                    choice.ignore.extend(names(value));
                    continue;
                }
                _ => return Err(wrong(part, "unknown key in")),
            };
            if value.is_empty() {
                return Err(wrong(part, "no column in"));
            }
            if one.replace(value.to_owned()).is_some() {
                return Err(wrong(part, "a second"));
            }
        }
        Ok(choice)
    }
}

impl TryFrom<String> for ColumnChoice {
    type Error = DataError;

    fn try_from(text: String) -> Result<ColumnChoice, DataError> {
        text.parse()
    }
}

impl From<ColumnChoice> for String {
    fn from(choice: ColumnChoice) -> String {
        choice.to_string()
    }
}

impl fmt::Display for ColumnChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = [
            ("src", &self.src),
            ("dst", &self.dst),
            ("time", &self.time),
            ("label", &self.label),
            ("split", &self.split),
        ];
        let mut parts: Vec<String> = (one.into_iter())
            .filter_map(|(key, name)| name.as_ref().map(|name| format!("{key}={name}")))
            .collect();
        if let Some(features) = &self.features {
            parts.push(format!("features={}", features.join("+")));
        }
        if !self.ignore.is_empty() {
            parts.push(format!("ignore={}", self.ignore.join("+")));
        }
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_print_as_they_parse() {
        for text in [
            "",
            "src=payer,dst=payee,time=ts",
            "src=1,dst=2,time=4,label=5,split=6,features=amount+mcc,ignore=note",
            "features=",
        ] {
            assert_eq!(text.parse::<ColumnChoice>().unwrap().to_string(), text);
        }
        let spaced: ColumnChoice = " src = a ,ignore=b + c,ignore=d".parse().unwrap();
        assert_eq!(spaced.to_string(), "src=a,ignore=b+c+d");
        for (text, words) in [
            ("payer", "no `=` in `payer`"),
            ("from=payer", "unknown key in `from=payer`"),
            ("src=a,src=b", "a second `src=b`"),
            ("features=a,features=b", "a second `features=b`"),
            ("dst=", "no column in `dst=`"),
        ] {
            let error = text.parse::<ColumnChoice>().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    /// Conversions are found by this text: one that changes has every stream converted again.
    #[test]
    fn a_reading_is_written_as_ever_unless_it_belongs_to_a_stream() {
        let mut reading = Reading {
            columns: "src=a".parse().unwrap(),
            ..Reading::default()
        };
        let text = format!("{reading:?}");
        assert!(text.starts_with("Reading { columns: ColumnChoice { src: Some(\"a\"), dst: None"));
        assert!(text.ends_with(
            "no_header: false, ids: Auto, bipartite: Auto, time_unit: Auto, missing: Error }"
        ));
        reading.like = Some(Box::default());
        assert!(format!("{reading:?}").contains("like: Like"));
    }

    #[test]
    fn words_are_named_when_another_is_given() {
        let error = "min".parse::<TimeUnit>().unwrap_err().to_string();
        assert_eq!(error, "found 'min', expected one of auto, s, ms, us, ns");
        assert_eq!("mean".parse::<Missing>().unwrap(), Missing::Mean);
        assert_eq!("no".parse::<Bipartite>().unwrap(), Bipartite::No);
        assert_eq!("text".parse::<IdKind>().unwrap(), IdKind::Text);
    }
}
