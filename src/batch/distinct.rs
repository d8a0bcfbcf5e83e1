//! Distinct keys of a list, numbered by first use.

use crate::batch::index_table::KeyTable;

/// The distinct numbers of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    /// Where each key first occurs, `[keys]`, ascending.
    pub first: Vec<i32>,
    /// Number of the key at each place of the list.
    pub number: Vec<i32>,
}

impl Distinct {
    /// Numbers the keys of `list` by first use.
    pub fn of(list: &[i32]) -> Distinct {
        let mut distinct = Distinct {
            first: Vec::new(),
            number: Vec::with_capacity(list.len()),
        };
        let mut table = KeyTable::default();
        table.clear(list.len());
        for (place, &key) in (0..).zip(list) {
            let number = table.index(key);
            if number as usize == distinct.first.len() {
                distinct.first.push(place);
            }
            distinct.number.push(number);
        }
        distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_by_first_use() {
        let distinct = Distinct::of(&[7, 3, 7, 9, 3]);
        assert_eq!(distinct.first, [0, 1, 3]);
        assert_eq!(distinct.number, [0, 1, 0, 2, 1]);
        assert_eq!(Distinct::of(&[]), Distinct::default());
    }
}
