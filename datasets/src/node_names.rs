//! Nodes that a file names with text: numbered in order of appearance.
//!
//! Memory grows with the number of nodes. A stream's ids are either all numbers
//! or all text; the first event decides.

use std::collections::HashMap;

/// Names and their numbers.
#[derive(Debug, Default)]
pub(crate) struct NodeNames {
    index: HashMap<Box<str>, u64>,
}

impl NodeNames {
    /// The number of `name`, a new one if it has none.
    pub(crate) fn number(&mut self, name: &str) -> u64 {
        if let Some(&number) = self.index.get(name) {
            return number;
        }
        let number = self.index.len() as u64;
        self.index.insert(name.into(), number);
        number
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
