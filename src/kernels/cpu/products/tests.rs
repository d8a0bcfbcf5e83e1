//! Products of blocks, beside others, on any number of threads.

use super::*;

fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7 + seed) % 23) as f32 / 23.0 - 0.45)
        .collect()
}

fn plain(a: Matrix<'_>, b: Matrix<'_>, k: usize, i: usize, j: usize) -> f64 {
    (0..k)
        .map(|c| {
            let left = a.data[a.start + i * a.rows + c * a.columns];
            let right = b.data[b.start + c * b.rows + j * b.columns];
            f64::from(left) * f64::from(right)
        })
        .sum()
}

#[test]
fn products_of_strided_blocks_agree_with_f64() {
    for (m, k, n) in [
        (1, 1, 1),
        (3, 5, 2),
        (130, 7, 150),
        (700, 33, 20),
        (65, 600, 9),
    ] {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let cases = [
            (Matrix::whole(&a, k), Matrix::whole(&b, n)),
            (Matrix::whole(&a, m).transposed(), Matrix::whole(&b, n)),
            (Matrix::whole(&a, k), Matrix::whole(&b, k).transposed()),
        ];
        let row = numbers(n, 3);
        for (a, b) in cases {
            let out = new_product(a, b, [m, k, n], Some(&row));
            for i in 0..m {
                for j in 0..n {
                    let expected = plain(a, b, k, i, j) + f64::from(row[j]);
                    let found = f64::from(out[i * n + j]);
                    assert!(
                        (found - expected).abs() < 1e-4,
                        "{m} {k} {n}: {found} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_product_is_added_where_its_place_is_and_nowhere_else() {
    let (a, b) = (numbers(4 * 3, 1), numbers(3 * 2, 2));
    let (a, b) = (Matrix::whole(&a, 3), Matrix::whole(&b, 2));
    let mut out = vec![1.0; 4 * 5];
    let place = Place {
        m: 4,
        n: 2,
        start: 3,
        stride: 5,
    };
    product(a, b, 3, Base::Output, place, &mut out);
    for i in 0..4 {
        for j in 0..5 {
            let expected = match j {
                3.. => 1.0 + plain(a, b, 3, i, j - 3),
                _ => 1.0,
            };
            assert!((f64::from(out[i * 5 + j]) - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (x, weight, bias) = (numbers(1500 * 90, 1), numbers(90 * 300, 2), numbers(300, 3));
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let (whole, weights) = (Matrix::whole(&x, 90), Matrix::whole(&weight, 300));
            let out = new_product(whole, weights, [1500, 90, 300], Some(&bias));
            let d_weight = new_product(
                whole.transposed(),
                Matrix::whole(&out, 300),
                [90, 1500, 300],
                None,
            );
            let heads = to_heads(&x, &x[..50 * 90], [2, 1500, 50], 90);
            let numbers = [out.clone(), d_weight, heads, column_sums(&out, 300)].concat();
            numbers.iter().map(|v| v.to_bits()).collect::<Vec<u32>>()
        })
    };
    let one = bits(1);
    assert!(one == bits(3) && one == bits(2));
}

#[test]
fn nothing_is_added_where_the_inner_width_is_zero() {
    let (a, b) = (Matrix::whole(&[], 0), Matrix::whole(&[], 2));
    let out = new_product(a, b, [3, 0, 2], Some(&[1.0, 2.0]));
    assert_eq!(out, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
}

#[test]
fn column_sums_add_every_row_once() {
    let matrix = numbers(300 * 3, 4);
    for (c, sum) in column_sums(&matrix, 3).iter().enumerate() {
        let expected: f64 = matrix
            .iter()
            .skip(c)
            .step_by(3)
            .map(|v| f64::from(*v))
            .sum();
        assert!((f64::from(*sum) - expected).abs() < 1e-4);
    }
}

/// Checks that some of `rows` rows alone have the bits that they have among all: `of` makes
/// `outputs` numbers of each row that it is given, which are `inputs` wide.
fn check_rows_alone(
    what: &str,
    [rows, inputs, outputs]: [usize; 3],
    of: impl Fn(&[f32], usize) -> Vec<f32>,
) {
    let x = numbers(rows * inputs, 5);
    let bits = |numbers: &[f32]| numbers.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    let all = bits(&of(&x, rows));
    for some in (1..=70).chain([rows / 2]) {
        let first = some * 31 % (rows - some);
        let alone = bits(&of(&x[first * inputs..][..some * inputs], some));
        let among = &all[first * outputs..][..some * outputs];
        assert!(alone == among, "{what}: {some} of {rows} rows");
    }
}

#[test]
fn a_row_has_the_same_bits_whatever_the_number_of_rows() {
    for (k, n) in [
        (1, 1),
        (2, 3),
        (3, 1),
        (7, 2),
        (16, 16),
        (50, 373),
        (100, 100),
        (173, 64),
        (513, 65),
        (1100, 9),
    ] {
        let (weight, row) = (numbers(k * n, 2), numbers(n, 3));
        let layouts = [
            Matrix::whole(&weight, n),
            Matrix::whole(&weight, k).transposed(),
        ];
        for (weight, layout) in layouts.into_iter().zip(["by rows", "by columns"]) {
            for base in [None, Some(&row[..])] {
                let what = format!("[{k}, {n}] {layout}, added to {}", base.is_some());
                check_rows_alone(&what, [701, k, n], |x, rows| {
                    new_product(Matrix::whole(x, k), weight, [rows, k, n], base)
                });
                check_rows_alone(&what, [701, k, n], |x, rows| {
                    let mut out = vec![0.25; rows * n];
                    add_product(Matrix::whole(x, k), weight, [rows, k, n], &mut out);
                    out
                });
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_products_of_heads() {
    for (heads, k, inputs) in [(1, 1, 5), (2, 1, 1), (2, 8, 3), (4, 5, 33), (2, 50, 373)] {
        let (width, weight) = (heads * k, numbers(inputs * heads * k, 2));
        let what = format!("{heads} heads of {k}, {inputs} inputs");
        // Back to rows that hold all heads, as `from_heads` takes them apart.
        let by_row = |by_head: Vec<f32>, rows: usize| {
            let at = |row: usize, head: usize| &by_head[(head * rows + row) * inputs..][..inputs];
            let rows = (0..rows).flat_map(|row| (0..heads).map(move |head| (row, head)));
            rows.flat_map(|(row, head)| at(row, head).to_vec())
                .collect()
        };
        check_rows_alone(&what, [401, width, heads * inputs], |x, rows| {
            by_row(to_heads(x, &weight, [heads, rows, inputs], width), rows)
        });
        check_rows_alone(&what, [401, heads * inputs, width], |x, rows| {
            let at = |head: usize, row: usize| &x[(row * heads + head) * inputs..][..inputs];
            let by_head = (0..heads).flat_map(|head| (0..rows).map(move |row| (head, row)));
            let by_head: Vec<f32> = by_head.flat_map(|(h, r)| at(h, r).to_vec()).collect();
            from_heads(&by_head, &weight, [heads, rows, inputs], width)
        });
    }
}
