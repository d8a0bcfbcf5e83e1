//! Which rows of a table have a slot of a smaller one: those that were wanted last.
//!
//! Invariants: a row has at most one slot and a slot at most one row; slots are in the order in which their rows were
//! wanted, those without a row first. It knows neither the rows' contents nor a device.

/// The slot of a row that has none, and the row of a slot that has none.
const NONE: u32 = u32::MAX;

/// Bytes of RAM that it takes for each row of the table, and for each slot.
pub(crate) const ROW_BYTES: u64 = 4;
pub(crate) const SLOT_BYTES: u64 = 12;

/// See the module.
#[derive(Debug)]
pub(super) struct Slots {
    /// `[rows]`.
    slot_of: Vec<u32>,
    /// `[slots]`.
    row_in: Vec<u32>,
    /// The slots in a ring, `[slots + 1]`: the last place is both before the oldest and behind the newest.
    newer: Vec<u32>,
    older: Vec<u32>,
}

/// Where rows have come to lie.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Slot of each row.
    pub(super) slot: Vec<i32>,
    /// Places of those among them, ascending, that had none: whoever asked has to write them there.
    pub(super) missing: Vec<u32>,
}

impl Slots {
    /// None of the `rows` of the table has one of the `slots`.
    ///
    /// # Panics
    /// When there are no slots, or more rows or slots than an i32 counts, as which shaders take them.
    pub(super) fn new(rows: usize, slots: usize) -> Slots {
        let most = i32::MAX as usize;
        assert!((1..most).contains(&slots) && rows <= most, "slots of rows");
        let ring = slots as u32 + 1;
        Slots {
            slot_of: vec![NONE; rows],
            row_in: vec![NONE; slots],
            newer: (0..ring).map(|slot| (slot + 1) % ring).collect(),
            older: (0..ring).map(|slot| (slot + ring - 1) % ring).collect(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.row_in.len()
    }

    /// Places among `ids` of the rows that have no slot now.
    pub(super) fn lacking(&self, ids: &[u32]) -> Vec<u32> {
        let lacking = |place: &u32| self.slot_of[ids[*place as usize] as usize] == NONE;
        (0..ids.len() as u32).filter(lacking).collect()
    }

    /// Gives each of these rows a slot, that of the row which was wanted longest ago where it has none. No row of
    /// `ids` loses its own: those that are found are wanted before the others, and there are slots for all.
    ///
    /// # Panics
    /// When they are more than there are slots.
    pub(super) fn admit(&mut self, ids: &[u32]) -> Found {
        assert!(ids.len() <= self.len(), "{} rows at once", ids.len());
        for &id in ids {
            let slot = self.slot_of[id as usize];
            if slot != NONE {
                self.want(slot);
            }
        }
        let mut found = Found::default();
        for (place, &id) in (0..).zip(ids) {
            if self.slot_of[id as usize] == NONE {
                self.replace_oldest(id);
                found.missing.push(place);
            }
            found.slot.push(self.slot_of[id as usize] as i32);
        }
        found
    }

    fn replace_oldest(&mut self, id: u32) {
        let slot = self.newer[self.len()];
        let before = std::mem::replace(&mut self.row_in[slot as usize], id);
        if before != NONE {
            self.slot_of[before as usize] = NONE;
        }
        self.slot_of[id as usize] = slot;
        self.want(slot);
    }

    /// Makes a slot the newest.
    fn want(&mut self, slot: u32) {
        let (at, ends) = (slot as usize, self.len());
        let (older, newer) = (self.older[at], self.newer[at]);
        self.newer[older as usize] = newer;
        self.older[newer as usize] = older;
        let newest = self.older[ends];
        self.newer[newest as usize] = slot;
        (self.older[at], self.newer[at]) = (newest, ends as u32);
        self.older[ends] = slot;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By its plain definition: rows with their slots in the order in which they were wanted.
    struct Plain {
        slots: usize,
        wanted: Vec<(u32, i32)>,
    }

    impl Plain {
        fn place_of(&self, id: u32) -> Option<usize> {
            self.wanted.iter().position(|(row, _)| *row == id)
        }

        fn admit(&mut self, ids: &[u32]) -> (Found, Vec<u32>) {
            let (mut found, mut evicted) = (Found::default(), Vec::new());
            for &id in ids {
                if let Some(place) = self.place_of(id) {
                    let row = self.wanted.remove(place);
                    self.wanted.push(row);
                }
            }
            for (place, &id) in (0..).zip(ids) {
                let at = self.place_of(id).unwrap_or_else(|| {
                    found.missing.push(place);
                    let slot = match self.wanted.len() < self.slots {
                        true => self.wanted.len() as i32,
                        false => {
                            let (row, slot) = self.wanted.remove(0);
                            evicted.push(row);
                            slot
                        }
                    };
                    self.wanted.push((id, slot));
                    self.wanted.len() - 1
                });
                found.slot.push(self.wanted[at].1);
            }
            (found, evicted)
        }
    }

    const ROWS: usize = 23;

    /// Some slots, and batches of rows, some of them twice in one.
    fn stories() -> impl Strategy<Value = (usize, Vec<Vec<u32>>)> {
        (1..30usize).prop_flat_map(|slots| {
            let batch = prop::collection::vec(0..ROWS as u32, 0..=slots.min(12));
            (Just(slots), prop::collection::vec(batch, 0..40))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn rows_that_were_wanted_last_have_slots((slots, batches) in stories()) {
            let mut plain = Plain { slots, wanted: Vec::new() };
            let mut own = Slots::new(ROWS, slots);
            // What the slots hold if missing rows are written, and nothing else.
            let mut table = vec![NONE; slots];
            for ids in batches {
                let lacking = own.lacking(&ids);
                let (expected, evicted) = plain.admit(&ids);
                let found = own.admit(&ids);
                prop_assert_eq!(&found, &expected);
                prop_assert!(found.missing.iter().all(|place| lacking.contains(place)));
                for &place in &found.missing {
                    table[found.slot[place as usize] as usize] = ids[place as usize];
                }
                let held: Vec<u32> = found.slot.iter().map(|slot| table[*slot as usize]).collect();
                prop_assert_eq!(&held, &ids);
                prop_assert!(evicted.iter().all(|row| !ids.contains(row)));
                let all: Vec<u32> = (0..ROWS as u32).collect();
                let without = all.iter().filter(|id| plain.place_of(**id).is_none());
                prop_assert_eq!(own.lacking(&all), without.copied().collect::<Vec<u32>>());
            }
        }
    }

    #[test]
    #[should_panic(expected = "3 rows at once")]
    fn more_rows_than_slots_are_for_somebody_else_to_divide() {
        Slots::new(5, 2).admit(&[0, 1, 2]);
    }
}
