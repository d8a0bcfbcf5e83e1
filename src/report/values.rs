//! Values of a run's JSON files as texts and numbers.

use serde_json::Value;

use crate::numbers;

/// A value as it is shown.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// A number; NaN where there is none.
pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// A number with four decimals.
pub(super) fn four(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), numbers::four)
}
