//! Reads and writes figures that may be unknown: the word `unknown` in a manifest is `None`.
//!
//! Leaving the key out is an error, so that nobody forgets to say that a figure is unknown.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Known<T> {
    Value(T),
    Word(String),
}

pub(super) fn serialize<T: Serialize, S: Serializer>(
    value: &Option<T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(to),
        None => to.serialize_str("unknown"),
    }
}

pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + IsUnknown,
    D: Deserializer<'de>,
{
    match Known::<T>::deserialize(from)? {
        Known::Value(value) => Ok((!value.is_unknown()).then_some(value)),
        Known::Word(word) if word == "unknown" => Ok(None),
        Known::Word(word) => Err(D::Error::custom(format!(
            "found {word:?}, expected a number or \"unknown\""
        ))),
    }
}

/// Whether a value that reads as `T` is the word `unknown`; only text can be.
pub(super) trait IsUnknown {
    fn is_unknown(&self) -> bool {
        false
    }
}
impl IsUnknown for u64 {}
impl IsUnknown for i64 {}
impl IsUnknown for String {
    fn is_unknown(&self) -> bool {
        self == "unknown"
    }
}
