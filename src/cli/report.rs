//! What `train` and `eval` print of a session and of its metrics.

use indicatif::HumanCount;
use mspipe::device::ComputeDevice;
use mspipe::eval::LinkMetrics;
use mspipe::pipeline::link::Link;
use mspipe::session::Session;
use mspipe::session::footprint::Footprint;
use mspipe::train::evaluation::{EdgeBankMetrics, TestMetrics};

/// Said wherever numbers of a generated stream end.
pub(super) const SYNTHETIC: &str =
    "These numbers are of a SYNTHETIC stream and say nothing about the real data set.";

/// Said wherever times of a training over an emulated bus stand.
pub(super) fn emulated(link: &Link) -> String {
    format!(
        "link      EMULATED link of {link}: transfers sleep; times and events/s are not those of \
         this machine's bus"
    )
}

/// Stream, split and device.
pub(super) fn head(session: &Session, device: &ComputeDevice) -> String {
    let data = &session.data;
    let kind = if data.synthetic {
        " (SYNTHETIC: generated, not observed)"
    } else {
        ""
    };
    let count = |events: &std::ops::Range<usize>| HumanCount(events.len() as u64);
    let split = &session.split;
    let mut text = format!(
        "stream    {}{kind}: {} events, {} nodes, features: {} an event, {} a node\n\
         split     {} training, {} validation, {} test events\n\
         device    {}: {}",
        data.name,
        HumanCount(data.events as u64),
        HumanCount(data.nodes as u64),
        data.edge_width,
        data.node_width,
        count(&split.train),
        count(&split.val),
        count(&split.test),
        device.backend,
        device.adapter
    );
    if let Some(init) = &session.config().init {
        text.push_str(&format!("\nweights   {}", init.display()));
    }
    text
}

/// What a training takes, and of what.
pub(super) fn footprint(footprint: &Footprint) -> String {
    let device = match &footprint.adapter {
        None => "the CPU".to_owned(),
        Some(adapter) => {
            format!("{adapter}\n  (wgpu does not tell how much memory an adapter has)")
        }
    };
    format!("training on {device}\n{footprint}\n")
}

/// Metrics in one line.
pub(super) fn metrics(metrics: &LinkMetrics) -> String {
    format!(
        "AP {:.4} (batch mean {:.4}) AUC {:.4}",
        metrics.ap, metrics.ap_batch_mean, metrics.auc
    )
}

/// Metrics of the events with a new node, and how many there are, in one line.
pub(super) fn inductive(metrics: &LinkMetrics) -> String {
    let of = &metrics.inductive;
    match (of.ap, of.auc) {
        (Some(ap), Some(auc)) => format!(
            "AP {ap:.4} AUC {auc:.4} over {} events with {} nodes that training never saw",
            HumanCount(of.events as u64),
            HumanCount(of.new_nodes as u64)
        ),
        _ => "no event with a node that training never saw".to_owned(),
    }
}

/// The test with both pools of negatives, and EdgeBank.
pub(super) fn test(test: &TestMetrics, edgebank: &EdgeBankMetrics, with: &str) -> String {
    let TestMetrics {
        own_pool,
        other_pool,
    } = test;
    format!(
        "test      {}{with}, negatives from {}\n\
         \u{20} new     {}\n\
         test      {}, negatives from {}\n\
         \u{20} new     {}\n\
         EdgeBank  AP {:.4} on validation, {:.4} on test, {:.4} with negatives from {} (no \
         learning: has the pair been seen?)",
        metrics(own_pool),
        own_pool.negatives,
        inductive(own_pool),
        metrics(other_pool),
        other_pool.negatives,
        inductive(other_pool),
        edgebank.val_ap,
        edgebank.test_ap,
        edgebank.test_other_pool_ap,
        other_pool.negatives
    )
}
