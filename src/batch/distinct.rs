//! Distinct keys of a list, numbered by first use.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// The distinct keys of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    /// Where each key first occurs, `[keys]`, ascending.
    pub first: Vec<i32>,
    /// Number of the key at each place of the list.
    pub number: Vec<i32>,
}

impl Distinct {
    /// Numbers the keys of `list` by first use.
    pub fn of<K: Hash + Eq>(list: impl Iterator<Item = K>) -> Distinct {
        let mut distinct = Distinct::default();
        let mut numbers = HashMap::new();
        for (place, key) in (0..).zip(list) {
            let next = distinct.first.len() as i32;
            distinct.number.push(match numbers.entry(key) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    distinct.first.push(place);
                    *new.insert(next)
                }
            });
        }
        distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_by_first_use() {
        let distinct = Distinct::of([7, 3, 7, 9, 3].into_iter());
        assert_eq!(distinct.first, [0, 1, 3]);
        assert_eq!(distinct.number, [0, 1, 0, 2, 1]);
        assert_eq!(Distinct::of([0u8; 0].into_iter()), Distinct::default());
    }
}
