//! A table of features on the device, so that a batch says which rows it wants of it: the device holds all rows, or as
//! many as there is room for, which are those that batches have wanted last. What it lacks comes with the batch.
//!
//! Invariant: the rows have the bits of those that the host would gather.
//!
//! A row gets its slot when the batch is packed ([`ResidentTable::want`]), on the device's thread, and not when the
//! host gathers it. So slots are given in the order in which batches are enqueued, whatever the schedule: that
//! thread alone packs and launches, a batch's launches follow its packing before the next is packed, and the device
//! does what it is told in that order. A slot that batch i + 1 takes from a row of batch i is written after batch i
//! has read it, be it of training, of an evaluation between two epochs, or of candidates that are laid out beside a
//! batch by another thread. Batches that were gathered and never packed, since a run paused or was
//! interrupted, have changed nothing. What the fetcher does ahead is a guess: it gathers the rows that have
//! no slot then.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Device, Int, Shape, Tensor, TensorData};

use super::rows::{FeatureRows, RowValues};
use super::slots::{Found, Slots};
use crate::kernels::feature_rows::{Stored, feature_rows};
use crate::kernels::place_rows::place_rows;

/// Words that are uploaded at once while a table is filled: RAM that it takes meanwhile.
const WORDS_AT_ONCE: usize = 4 << 20;

/// Bytes of RAM that filling a table takes at most: what is gathered, and its copy on the way.
pub(crate) const FILLING_BYTES: u64 = 2 * 4 * WORDS_AT_ONCE as u64;

/// Gathers rows by their ids from those of the host.
pub(super) type Gather = Box<dyn Fn(&[u32]) -> FeatureRows + Send + Sync>;

/// See the module.
pub(crate) struct ResidentTable {
    gather: Gather,
    rows: usize,
    width: usize,
    stored: Stored,
    /// `[slots, words of a row]`.
    words: Mutex<Tensor<2, Int>>,
    state: Mutex<State>,
}

/// What changes with every batch.
#[derive(Debug)]
struct State {
    /// None where each row has its own.
    slots: Option<Slots>,
    counts: RowCounts,
    /// Batches whose rows have been read.
    read: u64,
}

/// What batches have wanted of a table on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RowCounts {
    /// Batches, or layers of batches, whose rows have got slots.
    pub(crate) batches: u64,
    /// Rows that were wanted.
    pub(crate) wanted: u64,
    /// Those of them that were there.
    pub(crate) found: u64,
    /// Batches that wanted more rows than there are slots, and read them in several pieces.
    pub(crate) divided: u64,
}

/// Rows that were gathered before it was known which a batch lacks.
#[derive(Debug, Clone)]
pub(crate) struct Ahead {
    /// Their places among the batch's, ascending.
    places: Vec<u32>,
    /// `[places, words of a row]`.
    words: Vec<i32>,
}

impl Ahead {
    /// Bytes of them.
    pub(super) fn bytes(&self) -> u64 {
        4 * (self.places.len() + self.words.len()) as u64
    }
}

/// Rows of a batch that lie in a table, after those that it lacks have been written: as many as there are slots at
/// most.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Slot of each.
    pub(crate) slot: Vec<i32>,
    /// Slots that are to be written.
    pub(crate) written: Vec<i32>,
    /// What is written to them, `[written, words of a row]`.
    pub(crate) words: Vec<i32>,
}

/// A batch's turn: rows are read in the order in which they were wanted.
#[derive(Debug)]
pub(crate) struct Turn(u64);

impl ResidentTable {
    /// Room on `device` (without autodiff) for `slots` of the first `rows` rows of a table, which `gather` reads
    /// from the host's. Where it is room for all, they are there from the beginning, else none is. None of a
    /// table without columns, rows or slots.
    pub(super) fn new(
        rows: usize,
        slots: usize,
        gather: Gather,
        device: &Device,
    ) -> Option<ResidentTable> {
        let FeatureRows { width, values, .. } = gather(&[]);
        if width == 0 || rows == 0 || slots == 0 {
            return None;
        }
        let stored = match values {
            RowValues::Floats(_) => Stored::Numbers,
            RowValues::Words(_) => Stored::Booleans,
        };
        let (whole, columns) = (slots >= rows, stored.words_of(width));
        Some(ResidentTable {
            words: Mutex::new(match whole {
                true => filled([rows, columns], &gather, device),
                false => Tensor::empty([slots, columns], device),
            }),
            state: Mutex::new(State {
                slots: (!whole).then(|| Slots::new(rows, slots)),
                counts: RowCounts::default(),
                read: 0,
            }),
            gather,
            rows,
            width,
            stored,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Values of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Words of a row.
    pub(crate) fn columns(&self) -> usize {
        self.stored.words_of(self.width)
    }

    /// Rows of the table, and for how many of them there is room.
    pub(crate) fn rows_and_slots(&self) -> [usize; 2] {
        let slots = self.state().slots.as_ref().map(Slots::len);
        [self.rows, slots.unwrap_or(self.rows)]
    }

    /// Bytes that these took to send: which rows they are, and of those that were missing what is in them and where it
    /// goes.
    pub(crate) fn sent_bytes(&self, counts: RowCounts) -> u64 {
        4 * (counts.wanted + (counts.wanted - counts.found) * (1 + self.columns() as u64))
    }

    /// What batches have wanted of it.
    pub(crate) fn counts(&self) -> RowCounts {
        self.state().counts
    }

    /// Gathers what the device lacks now of the rows of these ids.
    pub(super) fn ahead(&self, ids: &[u32]) -> Ahead {
        let places = match &self.state().slots {
            Some(slots) => slots.lacking(ids),
            None => Vec::new(),
        };
        Ahead {
            words: self.gathered(places.iter().map(|place| ids[*place as usize])),
            places,
        }
    }

    fn gathered(&self, ids: impl Iterator<Item = u32>) -> Vec<i32> {
        let ids: Vec<u32> = ids.collect();
        match ids.is_empty() {
            true => Vec::new(),
            false => words_of((self.gather)(&ids)),
        }
    }

    /// Gives the rows of these ids slots, of which some were gathered `ahead`; in as many pieces as it takes, which
    /// are to be written and read one after the other when it is their turn. On the device's thread alone.
    ///
    /// # Panics
    /// When there is no row of one of the ids: shaders run without bounds checks.
    pub(crate) fn want(&self, ids: &[u32], ahead: Ahead) -> (Turn, Vec<Piece>) {
        let has = |id: &u32| (*id as usize) < self.rows;
        assert!(ids.iter().all(has), "rows of a table of features");
        let mut state = self.state();
        let turn = Turn(state.counts.batches);
        let size = state.slots.as_ref().map_or(ids.len(), Slots::len).max(1);
        let mut found = Vec::new();
        for ids in ids.chunks(size) {
            found.push(match &mut state.slots {
                Some(slots) => slots.admit(ids),
                None => Found {
                    slot: bytemuck::cast_slice(ids).to_vec(),
                    missing: Vec::new(),
                },
            });
        }
        if ids.is_empty() {
            found.push(Found::default());
        }
        let missing = found.iter().map(|found| found.missing.len());
        state.counts.batches += 1;
        state.counts.wanted += ids.len() as u64;
        state.counts.found += (ids.len() - missing.sum::<usize>()) as u64;
        state.counts.divided += u64::from(found.len() > 1);
        drop(state);
        let mut words = self.words_of_missing(ids, &found, size, ahead);
        let pieces = found.into_iter().map(|Found { slot, missing }| {
            let rest = words.split_off(missing.len() * self.columns());
            Piece {
                written: missing.iter().map(|at| slot[*at as usize]).collect(),
                words: std::mem::replace(&mut words, rest),
                slot,
            }
        });
        (turn, pieces.collect())
    }

    /// The rows of `ids` that have been found to be missing, by pieces of this size, one after the other.
    fn words_of_missing(
        &self,
        ids: &[u32],
        found: &[Found],
        size: usize,
        ahead: Ahead,
    ) -> Vec<i32> {
        let pieces = (0..).step_by(size).zip(found);
        let missing: Vec<u32> = pieces
            .flat_map(|(first, found)| found.missing.iter().map(move |place| first + place))
            .collect();
        if missing == ahead.places {
            return ahead.words;
        }
        // Another batch was packed meanwhile, and some of its rows are this one's, or have displaced them.
        let columns = self.columns();
        let place_ahead = |place: &u32| ahead.places.binary_search(place).ok();
        let late = missing.iter().filter(|place| place_ahead(place).is_none());
        let late = self.gathered(late.map(|place| ids[*place as usize]));
        let mut late = late.chunks_exact(columns);
        let row = |place: &u32| match place_ahead(place) {
            Some(at) => &ahead.words[at * columns..][..columns],
            None => late.next().unwrap_or_default(),
        };
        let rows: Vec<&[i32]> = missing.iter().map(row).collect();
        rows.concat()
    }

    /// The rows of pieces that were wanted together, `[rows, width]`; each has its slots and, where some are to be
    /// written, these with what is written to them, all on the device.
    ///
    /// # Panics
    /// When it is not their turn: others have read or written their slots.
    pub(crate) fn rows(&self, turn: Turn, pieces: Vec<PieceOnDevice>) -> Tensor<2> {
        let mut state = self.state();
        assert_eq!(turn.0, state.read, "turn of a batch");
        state.read += 1;
        drop(state);
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Vec::with_capacity(pieces.len());
        for PieceOnDevice { slot, written } in pieces {
            if let Some((written, of)) = written {
                // Hand over the only handle of the table, so that it is written in place.
                let nothing = Tensor::empty([0, 0], &of.device());
                let table = std::mem::replace(&mut *words, nothing);
                *words = place_rows(table, of, written);
            }
            rows.push(feature_rows(words.clone(), slot, self.width, self.stored));
        }
        match rows.len() {
            1 => rows.remove(0),
            _ => Tensor::cat(rows, 0),
        }
    }
}

/// A [`Piece`] on the device.
pub(crate) struct PieceOnDevice {
    /// Slot of each row.
    pub(crate) slot: Tensor<1, Int>,
    /// Slots that are written, if there are any, and what is written to them.
    pub(crate) written: Option<(Tensor<1, Int>, Tensor<2, Int>)>,
}

impl fmt::Debug for ResidentTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResidentTable")
            .field("rows_and_slots", &self.rows_and_slots())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// All rows of a table, `[rows, words of a row]`.
fn filled([rows, columns]: [usize; 2], gather: &Gather, device: &Device) -> Tensor<2, Int> {
    let mut words = Tensor::<2, Int>::empty([rows, columns], device);
    let step = (WORDS_AT_ONCE / columns).max(1);
    for begin in (0..rows).step_by(step) {
        let part: Range<usize> = begin..(begin + step).min(rows);
        let ids: Vec<u32> = (part.start as u32..part.end as u32).collect();
        let shape = Shape::new([part.len(), columns]);
        let values = TensorData::new::<i32, _>(words_of(gather(&ids)), shape);
        words = words.slice_assign([part, 0..columns], Tensor::from_data(values, device));
    }
    words
}

/// As a table holds them.
fn words_of(rows: FeatureRows) -> Vec<i32> {
    match rows.values {
        RowValues::Floats(values) => bytemuck::allocation::cast_vec(values),
        RowValues::Words(words) => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a host gathers rows of `width`, numbers or booleans.
    fn gathered(ids: &[u32], width: usize, stored: Stored) -> FeatureRows {
        let columns = stored.words_of(width) as u32;
        let words = ids
            .iter()
            .flat_map(|id| (0..columns).map(move |c| id * 77_777 + 3 * c));
        FeatureRows {
            rows: ids.len(),
            width,
            values: match stored {
                Stored::Numbers => RowValues::Floats(words.map(|word| word as f32).collect()),
                Stored::Booleans => RowValues::Words(words.map(|word| word as i32).collect()),
            },
        }
    }

    fn table([rows, slots]: [usize; 2], width: usize, stored: Stored) -> Option<ResidentTable> {
        let gather = move |ids: &[u32]| gathered(ids, width, stored);
        ResidentTable::new(rows, slots, Box::new(gather), &Device::flex())
    }

    fn tensor<const D: usize>(values: Vec<i32>, shape: [usize; D]) -> Tensor<D, Int> {
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// What a batch reads of rows, some of which were gathered ahead.
    fn read(table: &ResidentTable, ids: &[u32], ahead: Ahead) -> Vec<f32> {
        let (turn, pieces) = table.want(ids, ahead);
        let columns = table.columns();
        let pieces = pieces.into_iter().map(|piece| {
            let written = piece.written.len();
            PieceOnDevice {
                slot: tensor(piece.slot.clone(), [piece.slot.len()]),
                written: (written > 0).then(|| {
                    let words = tensor(piece.words, [written, columns]);
                    (tensor(piece.written, [written]), words)
                }),
            }
        });
        let rows = table.rows(turn, pieces.collect());
        rows.into_data().try_into_vec().unwrap()
    }

    fn has_the_rows_of_the_host([rows, slots]: [usize; 2], width: usize, stored: Stored) {
        let table = table([rows, slots], width, stored).unwrap();
        let last = rows as u32 - 1;
        for ids in [vec![last, 0, 1, 1], vec![], vec![1], vec![0, 2, last, 2, 1]] {
            let found = read(&table, &ids, table.ahead(&ids));
            let expected = gathered(&ids, width, stored).first(ids.len());
            assert!(found == expected, "{stored:?} {slots}: {ids:?}");
        }
        let counts = table.counts();
        assert_eq!((counts.batches, counts.wanted), (4, 10));
        assert_eq!(counts.found == 10, slots >= rows);
        let divided = match slots {
            _ if slots >= rows => 0,
            ..4 => 2,
            4 => 1,
            _ => 0,
        };
        assert_eq!(counts.divided, divided);
    }

    #[test]
    fn a_table_has_the_rows_of_the_host() {
        for slots in [1, 2, 3, 4, 5, 7, 9] {
            has_the_rows_of_the_host([7, slots], 5, Stored::Numbers);
            has_the_rows_of_the_host([7, slots], 70, Stored::Booleans);
        }
        // Filled in three parts.
        has_the_rows_of_the_host([3, 3], WORDS_AT_ONCE / 2 + 1, Stored::Numbers);
    }

    #[test]
    fn what_is_gathered_ahead_is_a_guess() {
        let table = table([9, 3], 5, Stored::Numbers).unwrap();
        let [first, second] = [[1, 2, 3], [3, 4, 1]];
        read(&table, &first, table.ahead(&first));
        // Before the others are read: what is there now won't be, and the other way round.
        let ahead = table.ahead(&second);
        assert_eq!(ahead.places, [1]);
        for between in [[5, 6, 4], [7, 8, 3]] {
            read(&table, &between, table.ahead(&between));
        }
        let found = read(&table, &second, ahead);
        assert!(found == gathered(&second, 5, Stored::Numbers).first(3));
        assert_eq!(table.counts().found, 1);
    }

    #[test]
    #[should_panic(expected = "turn of a batch")]
    fn a_batch_reads_its_rows_before_the_next_one_does() {
        let table = table([9, 3], 5, Stored::Numbers).unwrap();
        let _ = table.want(&[1], table.ahead(&[1]));
        read(&table, &[2], table.ahead(&[2]));
    }

    #[test]
    #[should_panic(expected = "rows of a table of features")]
    fn there_is_no_row_beyond_the_last() {
        let table = table([3, 3], 5, Stored::Numbers).unwrap();
        let _ = table.want(&[3], table.ahead(&[]));
    }

    #[test]
    fn there_is_no_table_without_columns_rows_or_slots() {
        let none = |rows, slots, width| table([rows, slots], width, Stored::Numbers).is_none();
        assert!(none(0, 1, 5) && none(5, 5, 0) && none(5, 0, 5) && !none(5, 5, 5));
    }
}
