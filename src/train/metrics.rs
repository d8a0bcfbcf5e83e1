//! What a test and a baseline are worth.

use serde::Serialize;

use crate::eval::{Hits, LinkMetrics};

/// Metrics of the test part, with each pool of negatives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TestMetrics {
    /// With the protocol's own pool.
    #[serde(rename = "test")]
    pub own_pool: LinkMetrics,
    /// With the other one.
    #[serde(rename = "test_other_pool")]
    pub other_pool: LinkMetrics,
    /// With pairs of the past, if the protocol asks for them.
    #[serde(rename = "test_historical", skip_serializing_if = "Option::is_none")]
    pub historical: Option<LinkMetrics>,
    /// With pairs of the past that were first seen in evaluation, likewise.
    #[serde(rename = "test_inductive", skip_serializing_if = "Option::is_none")]
    pub inductive: Option<LinkMetrics>,
}

/// Metrics of both EdgeBanks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EdgeBankMetrics {
    /// Of the one that never forgets.
    #[serde(flatten)]
    pub unlimited: BankMetrics,
    /// Of the one with a time window.
    pub window: BankMetrics,
    /// Of DyGLib's other ones, where its protocol is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dyglib: Option<DyglibBanks>,
}

/// Metrics of the EdgeBanks that DyGLib has besides the one that never forgets; see
/// [`crate::eval::edgebank::Bank`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DyglibBanks {
    /// A window over the last events.
    pub recent_events: BankMetrics,
    /// A window as long as pairs take to repeat.
    pub repeat_interval: BankMetrics,
    /// Pairs that have happened at least as often as pairs on average.
    pub repeat_threshold: BankMetrics,
}

/// Metrics of the counting baseline, which is logistic regression on pair histories.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CountsMetrics {
    /// Of the validation part; None where the test alone is measured.
    pub val: Option<LinkMetrics>,
    /// Of the test part.
    #[serde(flatten)]
    pub test: TestMetrics,
}

/// An EdgeBank's pooled AP, and MRR and hits where the protocol ranks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct BankMetrics {
    /// On the validation part, where that is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_ap: Option<f64>,
    /// On the test part.
    pub test_ap: f64,
    /// On the test part with the other pool of negatives.
    pub test_other_pool_ap: f64,
    /// On the test part with pairs of the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_historical_ap: Option<f64>,
    /// On the test part with pairs of the past that were first seen in evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_inductive_ap: Option<f64>,
    /// On the validation part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_mrr: Option<f64>,
    /// On the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_mrr: Option<f64>,
    /// On the validation part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_hits: Option<Hits>,
    /// On the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_hits: Option<Hits>,
}
