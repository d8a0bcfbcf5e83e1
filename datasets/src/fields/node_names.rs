//! Nodes that a file names with text: numbered in order of appearance.
//!
//! Memory grows with the number of nodes. A stream's ids are either all numbers
//! or all text; the first event decides.

use std::collections::HashMap;

use crate::error::DataError;
use crate::fields::raw_event::Position;
use crate::ram::room_for;

/// Names and their numbers.
#[derive(Debug, Default)]
pub(crate) struct NodeNames {
    index: HashMap<Box<str>, u64>,
    /// Bytes of all names, and at how many of them to look next whether there is room for more.
    bytes: u64,
    next_look: u64,
}

/// Nothing that names nodes has longer names: addresses, titles, URLs.
const LONGEST_NAME: usize = 4096;
/// Bytes between two looks at the memory.
const LOOK_EVERY: u64 = 1 << 25;
/// What a name takes beside its own bytes: until the end in the index and of the allocator, at the
/// end in the list that is sorted and written.
const OVERHEAD: u64 = 64;

impl NodeNames {
    /// The number of `name`, which stands at `at`; a new one if it has none.
    pub(crate) fn number(&mut self, at: Position<'_>, name: &str) -> Result<u64, DataError> {
        if let Some(&number) = self.index.get(name) {
            return Ok(number);
        }
        if name.len() > LONGEST_NAME {
            return Err(at.error(
                format!("a name of {} bytes for a node", name.len()),
                format!(
                    "at most {LONGEST_NAME} bytes; is this the right column, and the right file?"
                ),
            ));
        }
        let number = self.index.len() as u64;
        let own = owned(name).map_err(|problem| self.too_many(at, &problem))?;
        self.index
            .try_reserve(1)
            .map_err(|error| self.too_many(at, &error.to_string()))?;
        self.bytes += name.len() as u64 + OVERHEAD;
        if self.bytes > self.next_look {
            self.next_look = self.bytes + LOOK_EVERY;
            // Until the next look, and for the list at the end.
            room_for(LOOK_EVERY + (number + 1) * OVERHEAD)
                .map_err(|problem| self.too_many(at, &problem))?;
        }
        self.index.insert(own, number);
        Ok(number)
    }

    fn too_many(&self, at: Position<'_>, problem: &str) -> DataError {
        at.error(
            format!(
                "names of {} nodes before it fill the memory: {problem}",
                self.index.len()
            ),
            "names that fit into RAM; number the nodes, or convert on a machine with more",
        )
    }

    /// How many names there are.
    pub(crate) fn count(&self) -> usize {
        self.index.len()
    }

    /// All names in the order of their numbers.
    pub(crate) fn into_names(self) -> Vec<String> {
        let mut pairs: Vec<(Box<str>, u64)> = self.index.into_iter().collect();
        pairs.sort_unstable_by_key(|(_, number)| *number);
        pairs.into_iter().map(|(name, _)| name.into()).collect()
    }
}

/// A copy, if there is memory for it.
fn owned(name: &str) -> Result<Box<str>, String> {
    let mut own = String::new();
    own.try_reserve_exact(name.len())
        .map_err(|error| error.to_string())?;
    own.push_str(name);
    Ok(own.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::Place;

    #[test]
    fn names_have_a_longest() {
        let at = Position {
            path: Path::new("a.csv"),
            place: Place::Line(7),
        };
        let mut names = NodeNames::default();
        assert_eq!(names.number(at, &"x".repeat(LONGEST_NAME)).unwrap(), 0);
        assert_eq!(names.number(at, "y").unwrap(), 1);
        assert_eq!(names.number(at, &"x".repeat(LONGEST_NAME)).unwrap(), 0);
        let message = names
            .number(at, &"x".repeat(LONGEST_NAME + 1))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("a.csv:7: a name of 4097 bytes"),
            "{message}"
        );
        assert_eq!(names.into_names().len(), 2);
    }
}
