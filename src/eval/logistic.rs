//! Logistic regression: the model behind the counting baseline.
//!
//! p(y = 1 | x) = 1 / (1 + exp(-(w x + b))), fitted by Newton's method (iteratively reweighted least
//! squares) on the log-likelihood less half the squared length of (w, b), which keeps them finite
//! where a plane separates the classes. All sums are f64 and have a fixed order, so the fit is the same bits
//! on any number of threads.
//!
//! Source: Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", section 4.4.1.

use rayon::prelude::*;

/// Weight of half the squared length of (w, b): that of a standard normal prior.
const RIDGE: f64 = 1.0;

/// Newton's method doubles its digits with each step; it is at f64's precision after about ten.
const MOST_STEPS: usize = 50;

/// The length of a step at which the fit has converged.
const SMALLEST_STEP: f64 = 1e-10;

/// What a loss may grow by, relatively, where a step is right but rounding is as large.
const ROUNDING: f64 = 1e-12;

/// Rows of one partial sum.
const ROWS_PER_SUM: usize = 1 << 10;

/// A fitted model of rows of `W` numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Logistic<const W: usize> {
    weights: [f64; W],
    intercept: f64,
}

/// Sums over rows at some weights, the intercept last.
struct Sums {
    /// Negative log-likelihood.
    loss: f64,
    gradient: Vec<f64>,
    /// Row-major, the lower triangle alone.
    hessian: Vec<f64>,
}

impl<const W: usize> Logistic<W> {
    /// Fitted to `rows`, `[rows, W]`, whose class at position i is `class(i)`.
    pub(crate) fn fit(rows: &[f32], class: impl Fn(usize) -> bool + Sync) -> Logistic<W> {
        let mut at = vec![0.0; W + 1];
        let mut sums = Sums::of::<W>(rows, &class, &at);
        for _ in 0..MOST_STEPS {
            let step = solve(&sums.hessian, &sums.gradient);
            let mut length = 1.0;
            // Far from the optimum a whole step may overshoot.
            let (next, next_sums) = loop {
                let next: Vec<f64> = at.iter().zip(&step).map(|(w, s)| w - length * s).collect();
                let next_sums = Sums::of::<W>(rows, &class, &next);
                if next_sums.loss <= sums.loss * (1.0 + ROUNDING) || length < 1e-6 {
                    break (next, next_sums);
                }
                length /= 2.0;
            };
            let moved = step.iter().fold(0.0f64, |most, s| most.max(s.abs()));
            (at, sums) = (next, next_sums);
            if moved < SMALLEST_STEP {
                break;
            }
        }
        let mut weights = [0.0; W];
        weights.copy_from_slice(&at[..W]);
        Logistic {
            weights,
            intercept: at[W],
        }
    }

    /// The logit of a row.
    ///
    /// # Panics
    /// If it has not W numbers.
    pub(crate) fn logit(&self, row: &[f32]) -> f32 {
        assert_eq!(row.len(), W);
        let products = self.weights.iter().zip(row);
        let sum: f64 = products.map(|(w, &x)| w * f64::from(x)).sum();
        (sum + self.intercept) as f32
    }
}

impl Sums {
    fn zero(width: usize) -> Sums {
        Sums {
            loss: 0.0,
            gradient: vec![0.0; width],
            hessian: vec![0.0; width * width],
        }
    }

    /// Over all rows, at the weights `at`, with the penalty.
    fn of<const W: usize>(
        rows: &[f32],
        class: &(impl Fn(usize) -> bool + Sync),
        at: &[f64],
    ) -> Sums {
        let parts = rows
            .par_chunks(ROWS_PER_SUM * W)
            .enumerate()
            .map(|(part, rows)| {
                let mut sums = Sums::zero(W + 1);
                let mut x = vec![1.0; W + 1];
                for (i, row) in (part * ROWS_PER_SUM..).zip(rows.chunks_exact(W)) {
                    x.iter_mut()
                        .zip(row)
                        .for_each(|(x, &value)| *x = value.into());
                    sums.add(&x, class(i), at);
                }
                sums
            });
        let mut total = Sums::zero(W + 1);
        for part in parts.collect::<Vec<_>>() {
            let add = |sum: &mut [f64], part: &[f64]| {
                sum.iter_mut()
                    .zip(part)
                    .for_each(|(sum, part)| *sum += part);
            };
            total.loss += part.loss;
            add(&mut total.gradient, &part.gradient);
            add(&mut total.hessian, &part.hessian);
        }
        for (place, weight) in at.iter().enumerate() {
            total.loss += 0.5 * RIDGE * weight * weight;
            total.gradient[place] += RIDGE * weight;
            total.hessian[place * (W + 1) + place] += RIDGE;
        }
        total
    }

    fn add(&mut self, x: &[f64], class: bool, at: &[f64]) {
        let z: f64 = x.iter().zip(at).map(|(x, w)| x * w).sum();
        let p = 1.0 / (1.0 + (-z).exp());
        // ln(1 + exp(z)) - y z, without overflow.
        let y = f64::from(u8::from(class));
        self.loss += z.max(0.0) + (-z.abs()).exp().ln_1p() - y * z;
        let curvature = p * (1.0 - p);
        for (row, &xi) in x.iter().enumerate() {
            self.gradient[row] += (p - y) * xi;
            let of_row = &mut self.hessian[row * x.len()..];
            for (sum, &xj) in of_row.iter_mut().zip(&x[..=row]) {
                *sum += curvature * xi * xj;
            }
        }
    }
}

/// The x of A x = b for a positive definite A, of which the lower triangle is given: by Cholesky's
/// factors, A = L Lᵀ.
fn solve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut l = a.to_vec();
    for i in 0..n {
        for j in 0..=i {
            let before: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let rest = l[i * n + j] - before;
            l[i * n + j] = match i == j {
                true => rest.sqrt(),
                false => rest / l[j * n + j],
            };
        }
    }
    let mut x = b.to_vec();
    for i in 0..n {
        let before: f64 = (0..i).map(|k| l[i * n + k] * x[k]).sum();
        x[i] = (x[i] - before) / l[i * n + i];
    }
    for i in (0..n).rev() {
        let after: f64 = (i + 1..n).map(|k| l[k * n + i] * x[k]).sum();
        x[i] = (x[i] - after) / l[i * n + i];
    }
    x
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The gradient by its definition, in one loop.
    fn gradient(fit: &Logistic<3>, rows: &[[f32; 3]], class: &[bool]) -> [f64; 4] {
        let [a, b, c] = fit.weights;
        let mut gradient = [a, b, c, fit.intercept];
        for (row, &class) in rows.iter().zip(class) {
            let [x, y, z] = row.map(f64::from);
            let logit = a * x + b * y + c * z + fit.intercept;
            let error = 1.0 / (1.0 + (-logit).exp()) - f64::from(u8::from(class));
            for (sum, x) in gradient.iter_mut().zip([x, y, z, 1.0]) {
                *sum += error * x;
            }
        }
        gradient
    }

    proptest! {
        #[test]
        fn the_gradient_vanishes(
            rows in prop::collection::vec(
                (prop::array::uniform3(-30.0f32..30.0), any::<bool>()), 1..300
            ),
            separated in any::<bool>(),
        ) {
            let (rows, mut class): (Vec<[f32; 3]>, Vec<bool>) = rows.into_iter().unzip();
            if separated {
                class = rows.iter().map(|row| row[0] > row[1]).collect();
            }
            let flat: Vec<f32> = rows.concat();
            let fit = Logistic::<3>::fit(&flat, |i| class[i]);
            for part in gradient(&fit, &rows, &class) {
                prop_assert!(part.abs() < 1e-6, "{part} of {fit:?}");
            }
        }
    }

    #[test]
    fn the_fit_is_the_same_on_any_number_of_threads() {
        let value = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
        let rows: Vec<f32> = (0..3 * 5000).map(value).collect();
        let class = |i: usize| value(7 * i as u32 + 3) < rows[3 * i];
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build()
                .unwrap()
                .install(|| Logistic::<3>::fit(&rows, class))
        };
        let one = fit(1);
        assert_eq!(fit(5), one);
        // What decides the class has the weight, and the logit says so.
        assert!(one.weights[0] > 1.0, "{one:?}");
        assert!(one.weights[1].abs() < 0.2, "{one:?}");
        assert!(one.logit(&[0.9, 0.0, 0.0]) > one.logit(&[-0.9, 0.0, 0.0]));
    }
}
