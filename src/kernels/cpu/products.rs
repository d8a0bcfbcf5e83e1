//! Matrix products on the CPU: burn's own library (`gemm`), called so that results are
//! written once, on all threads, with biases and sums taken along.
//!
//! burn's product makes its output by zeroing and copying it on one thread, packs the left
//! factor on one thread and adds in further passes; at the sizes of a batch that costs a
//! third of the product itself. Blocks of an output depend on its size alone, so its bits do
//! not depend on the number of threads.
//!
//! A row of an output has the same bits whatever the number of rows: a score does not depend on
//! what else is in its batch. The library has other kernels, with other orders of summation, for
//! few numbers; `block.rs` keeps them out.

mod block;
mod matrix;

use std::mem::MaybeUninit;

use block::block;
pub(crate) use matrix::Matrix;

use crate::kernels::costs;
use crate::parallel;

/// What the products are added to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base<'a> {
    /// Nothing.
    Zero,
    /// The same row everywhere, as wide as the output.
    Row(&'a [f32]),
    /// What the output holds.
    Output,
}

impl Base<'_> {
    /// Some columns of it.
    fn columns(self, first: usize, count: usize) -> Self {
        match self {
            Base::Row(row) => Base::Row(&row[first..first + count]),
            other => other,
        }
    }
}

/// Columns of an output that are few: see [`narrow_block`].
const NARROW: usize = 64;

/// Rows of an output that one task writes, at most.
pub(super) const ROWS: usize = 256;

/// Rows that each task writes of `m`, at most `most`: an even number of tasks with the same work,
/// or two cores would wait for the last of an odd number.
pub(super) fn rows_of_task(m: usize, most: usize) -> usize {
    m.div_ceil(m.div_ceil(most).next_multiple_of(2).max(2))
        .max(1)
}

/// Place of a product in an output: `m` by `n` from `start` on, rows `stride` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Rows.
    pub(crate) m: usize,
    /// Columns.
    pub(crate) n: usize,
    /// Place of element (0, 0).
    pub(crate) start: usize,
    /// Distance of two rows.
    pub(crate) stride: usize,
}

/// A pointer that tasks may share: each writes its own block.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: tasks write disjoint blocks, and nobody reads before all are done.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// `out = base + a b` for `a` `[m, k]` and `b` `[k, n]`, where `place` says.
pub(crate) fn product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    k: usize,
    base: Base<'_>,
    place: Place,
    out: &mut [f32],
) {
    let (target, len) = (Shared(out.as_mut_ptr()), out.len());
    // SAFETY: `out` is borrowed mutably: all of it may be read and written, and it overlaps
    // neither factor nor base.
    unsafe { write(a, b, k, base, place, target, len) }
}

/// `a b` as a new row-major matrix, plus `row` everywhere if there is one.
pub(crate) fn new_product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [m, k, n]: [usize; 3],
    row: Option<&[f32]>,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(m * n);
    let base = row.map_or(Base::Zero, Base::Row);
    let place = Place {
        m,
        n,
        start: 0,
        stride: n,
    };
    // SAFETY: the new allocation holds m * n numbers. With these bases every one of them is
    // written before it is read, all are when the call returns.
    unsafe {
        write(a, b, k, base, place, Shared(out.as_mut_ptr()), m * n);
        out.set_len(m * n);
    }
    out
}

/// Does what [`product`] says.
///
/// # Safety
/// `target` must point to `len` numbers that nobody else uses meanwhile; they must be
/// initialised if `base` is [`Base::Output`].
unsafe fn write(
    a: Matrix<'_>,
    b: Matrix<'_>,
    k: usize,
    base: Base<'_>,
    place: Place,
    target: Shared,
    len: usize,
) {
    // SAFETY: as the caller promises.
    let blocks = unsafe { Blocks::new((a, b, k), base, place, target, len) };
    parallel::for_each(blocks.begins(), |begin| blocks.write(begin));
}

/// A product in blocks, which tasks write.
struct Blocks<'a> {
    factors: (Matrix<'a>, Matrix<'a>, usize),
    base: Base<'a>,
    place: Place,
    target: Shared,
    /// Rows and columns of a block.
    rows: usize,
    columns: usize,
    narrow: bool,
}

impl<'a> Blocks<'a> {
    /// # Safety
    /// As for [`write`], until the last block has been written, each at most once.
    unsafe fn new(
        factors: (Matrix<'a>, Matrix<'a>, usize),
        base: Base<'a>,
        place: Place,
        target: Shared,
        len: usize,
    ) -> Blocks<'a> {
        let ((a, b, k), Place { m, n, .. }) = (factors, place);
        if m > 0 && n > 0 {
            assert!(a.holds(m, k) && b.holds(k, n), "factors of a product");
            assert!(
                n <= place.stride && place.start + (m - 1) * place.stride + n <= len,
                "place of a product"
            );
        }
        if let Base::Row(row) = base {
            assert_eq!(row.len(), n, "row that a product is added to");
        }
        // A gradient of the weights of a head: few columns, and rows that lie side by side in `a`.
        let narrow = n <= NARROW && a.rows == 1 && matches!(base, Base::Zero);
        Blocks {
            factors,
            base,
            place,
            target,
            rows: rows_of_task(m, if narrow { ROWS / 2 } else { ROWS }),
            columns: match m < 2 * ROWS && n > 128 {
                true => n.div_ceil(2),
                false => n.max(1),
            },
            narrow,
        }
    }

    /// The first row and column of each.
    fn begins(&self) -> Vec<[usize; 2]> {
        let rows = (0..self.place.m).step_by(self.rows);
        let columns = || (0..self.place.n).step_by(self.columns);
        rows.flat_map(|i| columns().map(move |j| [i, j])).collect()
    }

    fn write(&self, [i, j]: [usize; 2]) {
        let ((a, b, k), Place { m, n, .. }) = (self.factors, self.place);
        let (m, n) = (self.rows.min(m - i), self.columns.min(n - j));
        parallel::task(|| costs::product([m, k, n], 0).one());
        let (start, stride) = (self.place.start, self.place.stride);
        let to = self.target.at(start + i * stride + j);
        // SAFETY: the asserts above keep both factors and the block within what they point to, and
        // no other task writes this block.
        unsafe {
            if self.narrow {
                narrow_block(a.skip(i, 0), b, [m, k, n], to, stride);
            } else {
                let (a, b) = (a.skip(i, 0), b.skip(0, j));
                block_on_base(a, b, [m, k, n], self.base.columns(j, n), to, stride);
            }
        }
    }
}

/// As [`block`], added to a base of its `n` columns.
///
/// # Safety
/// As for [`block`]; the rows must be initialised if the base is [`Base::Output`].
unsafe fn block_on_base(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [m, k, n]: [usize; 3],
    base: Base<'_>,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: as the caller promises; a row lies elsewhere and has `n` numbers.
    unsafe {
        if let Base::Row(row) = base {
            for r in 0..m {
                to.add(r * stride).copy_from_nonoverlapping(row.as_ptr(), n);
            }
        }
        block(a, b, [m, k, n], !matches!(base, Base::Zero), to, stride);
    }
}

/// As [`block`] into rows that were not written yet, for few columns: the library takes the longer
/// side of the output for its vectors if that is the one without gaps, so the product is made by
/// columns first. A quarter faster for 50 columns.
///
/// # Safety
/// As for [`block`].
unsafe fn narrow_block(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [m, k, n]: [usize; 3],
    to: *mut f32,
    stride: usize,
) {
    let mut columns = vec![0.0; m * n];
    let (a, b) = (a.transposed(), b.transposed());
    // SAFETY: the factors hold their matrices, transposed ones too, and `columns` the product.
    unsafe { block(b, a, [n, k, m], false, columns.as_mut_ptr(), m) };
    for i in 0..m {
        for j in 0..n {
            // SAFETY: the caller promises `m` rows of `n` numbers.
            unsafe { to.add(i * stride + j).write(columns[j * m + i]) };
        }
    }
}

/// One new matrix of `len` numbers made of one product for each head, each with its place;
/// together they must cover it.
fn new_by_head<'a>(
    len: usize,
    heads: usize,
    of: impl Fn(usize) -> (Matrix<'a>, Matrix<'a>, usize, Place),
) -> Vec<f32> {
    let mut out = Vec::with_capacity(len);
    let target = Shared(out.as_mut_ptr());
    let products = (0..heads).map(|head| {
        let (a, b, k, place) = of(head);
        // SAFETY: the new allocation holds `len` numbers, no two heads have the same place,
        // and nothing is read.
        unsafe { Blocks::new((a, b, k), Base::Zero, place, target, len) }
    });
    let products: Vec<_> = products.collect();
    let blocks = products.iter().flat_map(|blocks| {
        blocks
            .begins()
            .into_iter()
            .map(move |begin| (blocks, begin))
    });
    parallel::for_each(blocks.collect(), |(blocks, begin)| blocks.write(begin));
    // SAFETY: the places cover all numbers (callers below), and each was written.
    unsafe { out.set_len(len) };
    out
}

/// For each head, its columns of `x` `[rows, width]` times the transposed ones of `weight`
/// `[inputs, width]`: `[heads, rows, inputs]`.
pub(crate) fn to_heads(
    x: &[f32],
    weight: &[f32],
    [heads, rows, inputs]: [usize; 3],
    width: usize,
) -> Vec<f32> {
    let k = width / heads;
    new_by_head(heads * rows * inputs, heads, |head| {
        let x = Matrix::whole(x, width).from(head * k);
        let weight = Matrix::whole(weight, width).from(head * k).transposed();
        let place = Place {
            m: rows,
            n: inputs,
            start: head * rows * inputs,
            stride: inputs,
        };
        (x, weight, k, place)
    })
}

/// For each head, `x` `[heads, rows, inputs]` times its columns of `weight`
/// `[inputs, width]`: its columns of `[rows, width]`.
pub(crate) fn from_heads(
    x: &[f32],
    weight: &[f32],
    [heads, rows, inputs]: [usize; 3],
    width: usize,
) -> Vec<f32> {
    let n = width / heads;
    new_by_head(rows * width, heads, |head| {
        let x = Matrix::whole(x, inputs).from(head * rows * inputs);
        let weight = Matrix::whole(weight, width).from(head * n);
        let place = Place {
            m: rows,
            n,
            start: head * n,
            stride: width,
        };
        (x, weight, inputs, place)
    })
}

/// For each head, the transposed `x` `[heads, rows, inputs]` times its columns of `grad`
/// `[rows, width]`: its columns of `[inputs, width]`.
pub(crate) fn transposed_of_heads(
    x: &[f32],
    grad: &[f32],
    [heads, rows, inputs]: [usize; 3],
    width: usize,
) -> Vec<f32> {
    let n = width / heads;
    new_by_head(inputs * width, heads, |head| {
        let x = Matrix::whole(x, inputs)
            .from(head * rows * inputs)
            .transposed();
        let grad = Matrix::whole(grad, width).from(head * n);
        let place = Place {
            m: inputs,
            n,
            start: head * n,
            stride: width,
        };
        (x, grad, rows, place)
    })
}

/// `row + a b` on this thread, into `out` `[m, n]`, which is returned; `row` is zero where there
/// is none.
pub(super) fn write_product<'o>(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [m, k, n]: [usize; 3],
    row: Option<&[f32]>,
    out: &'o mut [MaybeUninit<f32>],
) -> &'o mut [f32] {
    assert!(
        a.holds(m, k) && b.holds(k, n) && out.len() == m * n,
        "sizes of a product"
    );
    match row {
        Some(row) => {
            for out in out.chunks_exact_mut(n) {
                out.write_copy_of_slice(row);
            }
        }
        None if k == 0 => out.fill(MaybeUninit::new(0.0)),
        None => (),
    }
    // SAFETY: the assert keeps all within bounds; what is added to has been written; afterwards
    // every number has.
    unsafe {
        block(
            a,
            b,
            [m, k, n],
            row.is_some() || k == 0,
            out.as_mut_ptr().cast(),
            n,
        );
        out.assume_init_mut()
    }
}

/// Rows of a weight's gradient that one task computes, at most.
pub(super) const WEIGHT_ROWS: usize = 96;

/// Products that are computed together: what one of them leaves of a core the others take.
#[derive(Default)]
pub(super) struct Together<'a> {
    tasks: Vec<Task<'a>>,
}

/// A task of a product, or one beside it.
enum Beside<'a, T> {
    Product(Task<'a>),
    Other(T),
}

/// One product, or some rows of one.
struct Task<'a> {
    a: Matrix<'a>,
    b: Matrix<'a>,
    sizes: [usize; 3],
    out: &'a mut [MaybeUninit<f32>],
}

impl<'a> Together<'a> {
    /// `a b`, `[m, n]`, in tasks of at most `rows` rows.
    pub(super) fn add(
        &mut self,
        a: Matrix<'a>,
        b: Matrix<'a>,
        [m, k, n]: [usize; 3],
        rows: usize,
        out: &'a mut [MaybeUninit<f32>],
    ) {
        assert_eq!(out.len(), m * n, "place of a product");
        if out.is_empty() {
            return;
        }
        let rows = rows_of_task(m, rows);
        for (i, out) in out.chunks_mut(rows * n).enumerate() {
            self.tasks.push(Task {
                a: a.skip(i * rows, 0),
                b,
                sizes: [out.len() / n, k, n],
                out,
            });
        }
    }

    /// Writes all of them.
    pub(super) fn write(self) {
        self.write_beside(Vec::new(), |()| ());
    }

    /// Writes all of them and does `other` with each of `items`, which come last: small ones leave no
    /// core without work while another is at a product.
    pub(super) fn write_beside<T: Send>(self, items: Vec<T>, other: impl Fn(T) + Sync) {
        let products = self.tasks.into_iter().map(Beside::Product);
        let all = products.chain(items.into_iter().map(Beside::Other));
        parallel::for_each(all.collect(), |task| match task {
            Beside::Product(task) => {
                parallel::task(|| costs::product(task.sizes, 0).one());
                write_product(task.a, task.b, task.sizes, None, task.out);
            }
            Beside::Other(item) => other(item),
        });
    }
}

/// Adds `a b` to `out` `[m, n]` on this thread.
pub(super) fn add_product(a: Matrix<'_>, b: Matrix<'_>, [m, k, n]: [usize; 3], out: &mut [f32]) {
    assert!(
        a.holds(m, k) && b.holds(k, n) && out.len() == m * n,
        "sizes of a product"
    );
    // SAFETY: the assert keeps all within bounds, and `out` is borrowed mutably.
    unsafe { block(a, b, [m, k, n], true, out.as_mut_ptr(), n) }
}

/// Rows that one partial sum of [`column_sums`] covers.
const CHUNK: usize = 128;

/// Sum of the rows of a `[rows, width]` matrix.
pub(crate) fn column_sums(matrix: &[f32], width: usize) -> Vec<f32> {
    let chunks = matrix.chunks(CHUNK * width.max(1)).collect();
    let partial = parallel::map(chunks, |chunk: &[f32]| {
        parallel::task(|| costs::column_sums(chunk.len(), width).one());
        let mut sum = vec![0.0; width];
        for row in chunk.chunks_exact(width) {
            super::vector::add(&mut sum, row);
        }
        sum
    });
    let mut sum = vec![0.0; width];
    for chunk in partial {
        super::vector::add(&mut sum, &chunk);
    }
    sum
}

#[cfg(test)]
mod tests;
