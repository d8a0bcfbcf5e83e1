//! Words and colours that the views of an experiment and the report around them share.

use mspipe::report::{Block, Figure};

/// The smallest and the largest of `values`, in words.
pub(super) fn from_to(values: &[f64], text: impl Fn(f64) -> String) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match (text(least), text(most)) {
        (least, most) if least == most => least,
        (least, most) => format!("{least} to {most}"),
    }
}

/// A difference of AP; `same` where there is none, not in the last bit.
pub(super) fn ap_difference(difference: f64) -> String {
    match difference {
        0.0 => "same".to_owned(),
        other => format!("{other:+.4}"),
    }
}

/// Colours of the arms that several recipes have, so that each has the same one everywhere.
const ARMS: [&str; 11] = [
    "sequential",
    "prefetch",
    "staleness:2",
    "staleness:3",
    "staleness:5",
    "staleness:10",
    "mspipe",
    "mspipe + mitigation",
    "exact-overlap",
    "auto",
    "freshest",
];

/// Number of the colour of an arm by its name; `number` for any other.
pub(super) fn color_of(name: &str, number: usize) -> usize {
    let known = ARMS.iter().position(|arm| *arm == name);
    known.unwrap_or(number)
}

/// Figures of which some are shown and the others opened under a title of `others`.
pub(super) fn shown_and_folded(
    shown: Vec<Figure>,
    folded: Vec<Figure>,
    others: &str,
) -> Vec<Block> {
    let mut blocks = vec![Block::Figures(shown)];
    if !folded.is_empty() {
        let title = format!("{others}: {} charts", folded.len());
        blocks.push(Block::Folded(title, vec![Block::Figures(folded)]));
    }
    blocks
}
