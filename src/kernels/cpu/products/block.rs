//! One product on one thread, with calls of the library.
//!
//! Each number is the sum of its terms from the first to the last, in parts of the same number of
//! terms (at most [`DEPTH`]), whatever the size of the output. The library has kernels that add in
//! other orders: for one row or one column, and for few numbers whose factors both lie along the
//! sum. Those are kept out by what the library decides by (`gemm` 0.19, `gemm_basic_generic`).
//!
//! Where the first factor is transposed the sum goes over rows: the gradient of weights, which depends
//! on all of them anyway. There the library does as it likes.

use super::matrix::Matrix;

/// Terms of each sum that one call of the library adds. It would choose the number itself, another
/// one for small outputs than for large ones.
const DEPTH: usize = 512;

/// Numbers of an output up to which the library sums along vectors, where both factors allow it.
const FEW: usize = 256;

/// One product on this thread: `a b`, `[m, n]`, to the rows at `to`, which lie `stride` apart, or
/// added to what they hold.
///
/// # Safety
/// Both factors must hold their matrices; the rows at `to` must be writable, used by nobody
/// else, and initialised if they are added to.
pub(super) unsafe fn block(
    a: Matrix<'_>,
    b: Matrix<'_>,
    sizes: [usize; 3],
    accumulate: bool,
    to: *mut f32,
    stride: usize,
) {
    let [m, _, n] = sizes;
    let over_rows = a.rows == 1 && a.columns > 1;
    let along_vectors = a.columns == 1 && b.rows == 1 && m * n <= FEW;
    // SAFETY: as the caller promises.
    unsafe {
        if over_rows {
            call(a, b, sizes, accumulate, to, stride);
        } else if m == 1 || n == 1 || along_vectors {
            padded_block(a, b, sizes, accumulate, to, stride);
        } else {
            block_in_parts(a, b, sizes, accumulate, to, stride);
        }
    }
}

/// As [`block`], for sizes and factors that the library has other kernels for: with a second row or
/// column where there is one, and the columns of `b` side by side.
///
/// # Safety
/// As for [`block`].
unsafe fn padded_block(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [m, k, n]: [usize; 3],
    accumulate: bool,
    to: *mut f32,
    stride: usize,
) {
    let (rows, columns) = (m.max(2), n.max(2));
    // The only row is read twice.
    let a = Matrix {
        rows: if m == 1 { 0 } else { a.rows },
        ..a
    };
    let mut side_by_side = Vec::new();
    let b = if n == 1 || b.rows == 1 {
        for r in 0..k {
            let number = |c: usize| b.data[b.start + r * b.rows + c.min(n - 1) * b.columns];
            side_by_side.extend((0..columns).map(number));
        }
        Matrix::whole(&side_by_side, columns)
    } else {
        b
    };
    let mut out = vec![0.0; rows * columns];
    let rows_of_out = || (0..m).map(move |i| i * columns..i * columns + n);
    // SAFETY: the caller promises the factors, and `m` rows of `n` numbers at `to`; `out` holds
    // the padded product.
    unsafe {
        if accumulate {
            for (i, of_row) in rows_of_out().enumerate() {
                out[of_row].copy_from_slice(std::slice::from_raw_parts(to.add(i * stride), n));
            }
        }
        let sizes = [rows, k, columns];
        block_in_parts(a, b, sizes, accumulate, out.as_mut_ptr(), columns);
        for (i, of_row) in rows_of_out().enumerate() {
            let row = out[of_row].as_ptr();
            to.add(i * stride).copy_from_nonoverlapping(row, n);
        }
    }
}

/// As [`block`], in parts of the sums.
///
/// # Safety
/// As for [`block`].
unsafe fn block_in_parts(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [m, k, n]: [usize; 3],
    accumulate: bool,
    to: *mut f32,
    stride: usize,
) {
    let depth = k.div_ceil(k.div_ceil(DEPTH).max(1)).max(1);
    // Once at least: without terms all numbers are zero.
    for begin in (0..k.max(1)).step_by(depth) {
        let sizes = [m, depth.min(k - begin), n];
        let (a, b) = (a.skip(0, begin), b.skip(begin, 0));
        // SAFETY: as the caller promises.
        unsafe { call(a, b, sizes, accumulate || begin > 0, to, stride) };
    }
}

/// As [`block`], by the library.
///
/// # Safety
/// As for [`block`].
unsafe fn call(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [m, k, n]: [usize; 3],
    accumulate: bool,
    to: *mut f32,
    stride: usize,
) {
    let first = |matrix: Matrix<'_>| matrix.data.as_ptr().wrapping_add(matrix.start);
    // SAFETY: as the caller promises.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            to,
            1,
            stride as isize,
            accumulate,
            first(a),
            a.columns as isize,
            a.rows as isize,
            first(b),
            b.columns as isize,
            b.rows as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
