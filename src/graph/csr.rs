//! Lists of unequal lengths in two columns.

/// One list per row: row `r` has `items[offsets[r]..offsets[r + 1]]`.
///
/// Offsets are `i32` where a kernel reads them, `u32` where there are many rows, and `usize` where
/// lists may hold more items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr<T = i32, O = i32> {
    /// `[rows + 1]`, from 0, ascending.
    pub offsets: Vec<O>,
    /// `[offsets[rows]]`.
    pub items: Vec<T>,
}

/// What offsets are made of.
pub trait Offset: Copy {
    /// The offset of the item at `place`.
    fn of(place: usize) -> Self;
    /// The place that it stands for.
    fn place(self) -> usize;
}

impl Offset for i32 {
    fn of(place: usize) -> i32 {
        place as i32
    }
    fn place(self) -> usize {
        self as usize
    }
}

impl Offset for u32 {
    fn of(place: usize) -> u32 {
        place as u32
    }
    fn place(self) -> usize {
        self as usize
    }
}

impl Offset for usize {
    fn of(place: usize) -> usize {
        place
    }
    fn place(self) -> usize {
        self
    }
}

impl<T, O: Offset> Default for Csr<T, O> {
    /// No rows.
    fn default() -> Csr<T, O> {
        Csr {
            offsets: vec![O::of(0)],
            items: Vec::new(),
        }
    }
}

impl<T, O: Offset> Csr<T, O> {
    /// Adds a row with the list `items`.
    pub(crate) fn push(&mut self, items: impl IntoIterator<Item = T>) {
        self.items.extend(items);
        self.offsets.push(O::of(self.items.len()));
    }

    /// Where the list of row `row` lies in `items`.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row].place()..self.offsets[row + 1].place()
    }

    /// List of row `row`.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn list(&self, row: usize) -> &[T] {
        &self.items[self.range(row)]
    }
}

impl Csr {
    /// Inverts an index array: list `r` holds, ascending, the positions at which `row_of` is `r`.
    /// Negative entries are in no list.
    pub(crate) fn invert(rows: usize, row_of: impl Iterator<Item = i32> + Clone) -> Csr {
        // Counting sort: counts, their prefix sums, then each position into its list's next place.
        let mut offsets = vec![0i32; rows + 1];
        for row in row_of.clone().filter(|&row| row >= 0) {
            offsets[row as usize + 1] += 1;
        }
        for row in 0..rows {
            offsets[row + 1] += offsets[row];
        }
        let mut items = vec![0; offsets[rows] as usize];
        let mut next = offsets.clone();
        for (position, row) in (0..).zip(row_of).filter(|&(_, row)| row >= 0) {
            let place = &mut next[row as usize];
            items[*place as usize] = position;
            *place += 1;
        }
        Csr { offsets, items }
    }
}
