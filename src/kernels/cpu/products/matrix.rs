//! A factor of a product: numbers with the distances of its rows and columns.

/// A matrix inside a slice: element (r, c) is at `start + r * rows + c * columns`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    /// The numbers.
    pub(crate) data: &'a [f32],
    /// Place of element (0, 0).
    pub(crate) start: usize,
    /// Distance of two rows.
    pub(crate) rows: usize,
    /// Distance of two columns.
    pub(crate) columns: usize,
}

impl<'a> Matrix<'a> {
    /// All of `data`, row-major, `width` wide.
    pub(crate) fn whole(data: &'a [f32], width: usize) -> Matrix<'a> {
        Matrix {
            data,
            start: 0,
            rows: width,
            columns: 1,
        }
    }

    /// The same from element `start` on.
    pub(crate) fn from(self, start: usize) -> Matrix<'a> {
        Matrix { start, ..self }
    }

    /// The transposed matrix.
    pub(crate) fn transposed(self) -> Matrix<'a> {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            ..self
        }
    }

    /// The same without the first rows and columns.
    pub(super) fn skip(self, rows: usize, columns: usize) -> Matrix<'a> {
        self.from(self.start + rows * self.rows + columns * self.columns)
    }

    /// Whether all elements of an `m` by `n` matrix lie within the data.
    pub(super) fn holds(&self, m: usize, n: usize) -> bool {
        m == 0
            || n == 0
            || self.start + (m - 1) * self.rows + (n - 1) * self.columns < self.data.len()
    }
}
