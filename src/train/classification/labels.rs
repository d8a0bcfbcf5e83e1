//! The labels of a stream's events: which classes there are, and which events have one.

use std::collections::BTreeSet;
use std::ops::Range;

use mspipe_datasets::{NO_LABEL, Split};
use serde::{Deserialize, Serialize};

use super::error::ClassificationError;
use crate::train::stream::Stream;

/// Classes at most: more are numbers and no labels.
const MOST_CLASSES: usize = 256;

/// Labels of one part of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// Labelled events.
    pub events: usize,
    /// Those with the positive label, the larger of two; none where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positives: Option<usize>,
    /// Events without a label.
    pub missing: usize,
    /// Those of each class.
    pub by_class: Vec<usize>,
}

/// Labels of the three parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCounts {
    /// The labels that there are, ascending: the classes.
    pub classes: Vec<i32>,
    /// Training.
    pub train: LabelCount,
    /// Validation.
    pub val: LabelCount,
    /// Test.
    pub test: LabelCount,
}

/// The labelled events of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    /// The labelled events, ascending.
    pub(super) events: Vec<u32>,
    /// The class of each.
    pub(super) class: Vec<u32>,
    /// Which of them are of the training part.
    pub(super) train: Range<usize>,
    /// Of the validation part.
    pub(super) val: Range<usize>,
    /// Of the test part.
    pub(super) test: Range<usize>,
    pub(super) counts: LabelCounts,
}

impl Labels {
    /// Of the parts `split` of a stream, with these classes or those that it has.
    ///
    /// # Errors
    /// When there are no labels, or too many classes.
    pub(crate) fn of(
        stream: &Stream,
        split: &Split,
        classes: Option<&[i32]>,
    ) -> Result<Labels, ClassificationError> {
        let labels = stream
            .labels()
            .map_or(&[][..], |labels| &labels[..split.test.end]);
        let labelled = labels
            .iter()
            .enumerate()
            .filter(|(_, label)| **label != NO_LABEL);
        let known = match classes {
            Some(classes) => classes.to_vec(),
            None => {
                let distinct: BTreeSet<i32> = labelled.clone().map(|(_, label)| *label).collect();
                classes_of(stream.name(), distinct.into_iter().collect())?
            }
        };
        // A label of no class is only in a stream that was changed after the classes were chosen.
        let (events, class): (Vec<u32>, Vec<u32>) = labelled
            .filter_map(|(event, label)| {
                let class = known.binary_search(label).ok()?;
                Some((event as u32, class as u32))
            })
            .unzip();
        let part = |part: &Range<usize>| {
            let place =
                |event: usize| events.partition_point(|&labelled| (labelled as usize) < event);
            place(part.start)..place(part.end)
        };
        let parts = [&split.train, &split.val, &split.test].map(part);
        let count = |labelled: &Range<usize>, part: &Range<usize>| {
            let mut by_class = vec![0; known.len()];
            for &class in &class[labelled.clone()] {
                by_class[class as usize] += 1;
            }
            LabelCount {
                events: labelled.len(),
                positives: (known.len() == 2).then(|| by_class[1]),
                missing: part.len() - labelled.len(),
                by_class,
            }
        };
        let counts = LabelCounts {
            train: count(&parts[0], &split.train),
            val: count(&parts[1], &split.val),
            test: count(&parts[2], &split.test),
            classes: known,
        };
        let [train, val, test] = parts;
        Ok(Labels {
            events,
            class,
            train,
            val,
            test,
            counts,
        })
    }

    /// Refuses what can't be learned or measured.
    ///
    /// # Errors
    /// When a part has labels of one class alone, or none.
    pub(crate) fn checked(self, stream: &Stream) -> Result<Labels, ClassificationError> {
        let counts = &self.counts;
        for (part, count) in [
            ("training", &counts.train),
            ("validation", &counts.val),
            ("test", &counts.test),
        ] {
            let there = count.by_class.iter().filter(|events| **events > 0).count();
            if there >= 2 {
                continue;
            }
            let (found, needed) = match count.positives {
                Some(positives) => (format!("{positives} positive labels"), "both kinds"),
                None => (format!("labels of {there} classes"), "two classes at least"),
            };
            return Err(ClassificationError::OneClass {
                stream: stream.name().to_owned(),
                part,
                found,
                events: count.events,
                needed,
            });
        }
        Ok(self)
    }

    /// Number of classes.
    pub(super) fn classes(&self) -> usize {
        self.counts.classes.len()
    }

    /// The label of each class.
    pub(crate) fn class_labels(&self) -> &[i32] {
        &self.counts.classes
    }

    /// Which of the labelled events are among `events`.
    pub(super) fn among(&self, events: &Range<usize>) -> Range<usize> {
        let place = |event: usize| self.events.partition_point(|&own| (own as usize) < event);
        place(events.start)..place(events.end)
    }
}

/// The classes of a stream whose labels are these.
fn classes_of(stream: &str, labels: Vec<i32>) -> Result<Vec<i32>, ClassificationError> {
    let stream = stream.to_owned();
    match labels[..] {
        [] => Err(ClassificationError::NoLabels { stream }),
        // All events are of one of the two classes that there usually are.
        [0 | 1] => Ok(vec![0, 1]),
        [label] => Err(ClassificationError::OneLabel { stream, label }),
        _ if labels.len() > MOST_CLASSES => Err(ClassificationError::Classes {
            stream,
            found: labels.len(),
            most: MOST_CLASSES,
        }),
        _ => Ok(labels),
    }
}

#[cfg(test)]
mod tests {
    use mspipe_datasets::{EventLog, EventLogParts};

    use super::*;

    fn labels_of(labels: Vec<i32>) -> Result<Labels, ClassificationError> {
        let events = labels.len();
        let log = EventLog::from_parts(EventLogParts {
            name: "s".to_owned(),
            nodes: 2,
            src: vec![0; events],
            dst: vec![1; events],
            time: (0..events as i64).collect(),
            ticks_per_unit: 1,
            labels: Some(labels),
            roll: None,
            edge_features: None,
            node_features: None,
            synthetic: false,
        })
        .unwrap();
        let split = Split {
            train: 0..events / 2,
            val: events / 2..events * 3 / 4,
            test: events * 3 / 4..events,
        };
        let stream = Stream::from(std::sync::Arc::new(log));
        Labels::of(&stream, &split, None)?.checked(&stream)
    }

    #[test]
    fn events_without_a_label_are_counted_and_left_out() {
        let labels = labels_of(vec![
            1, NO_LABEL, 0, 1, NO_LABEL, 0, 1, 0, NO_LABEL, 0, 1, 0,
        ])
        .unwrap();
        assert_eq!(labels.events, [0, 2, 3, 5, 6, 7, 9, 10, 11]);
        assert_eq!(labels.class, [1, 0, 1, 0, 1, 0, 0, 1, 0]);
        assert_eq!((labels.train, labels.val, labels.test), (0..4, 4..6, 6..9));
        let counts = labels.counts;
        assert_eq!(counts.classes, [0, 1]);
        assert_eq!((counts.train.missing, counts.train.positives), (2, Some(2)));
        assert_eq!((counts.val.missing, counts.test.missing), (1, 0));
        assert_eq!(counts.test.by_class, [2, 1]);
    }

    #[test]
    fn the_larger_of_two_labels_is_positive_and_more_are_classes() {
        let two = labels_of([-1, 1].repeat(8)).unwrap().counts;
        assert_eq!((two.classes, two.val.positives), (vec![-1, 1], Some(2)));
        let four = labels_of([7, 3, 9, -2].repeat(4)).unwrap().counts;
        assert_eq!(
            (four.classes, four.val.positives),
            (vec![-2, 3, 7, 9], None)
        );
    }

    #[test]
    fn labels_that_tell_nothing_are_refused() {
        let error = |labels| labels_of(labels).unwrap_err().to_string();
        assert!(error(vec![NO_LABEL; 8]).contains("has no labels"));
        assert!(error(vec![5; 8]).contains("all labels are 5"));
        let found = error(vec![0; 8]);
        assert!(
            found.contains("the training part has 0 positive labels among 4 events"),
            "{found}"
        );
        let found = error(vec![0, 1, 2, 0, 1, 1, 2, 0]);
        assert!(
            found.contains("the validation part has labels of 1 classes among 2 events"),
            "{found}"
        );
        let found = error((0..1000).collect());
        assert!(found.contains("1000 different labels"), "{found}");
    }
}
