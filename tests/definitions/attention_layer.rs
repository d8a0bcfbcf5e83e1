//! An attention layer: queries and values around [`super::temporal_attention`], and a root's own row beside them.

use super::head_products::{self, Sizes};
use super::linear::{linear, linear_gradients};
use super::temporal_attention::Attention;
use super::time_encoding::{time_encoding, time_gradients};
use super::{gather_rows, wide};

/// What a layer reads: slots, node rows, edge rows and times of its attention, whose queries it makes, and its weights.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) attention: Attention,
    /// Row of each root, among the first `own_rows`.
    pub(crate) root_row: Vec<i32>,
    pub(crate) own_rows: usize,
    pub(crate) width: usize,
    pub(crate) query_node: Vec<f64>,
    pub(crate) query_time: Vec<f64>,
    pub(crate) query_bias: Vec<f64>,
    pub(crate) key: Vec<f64>,
    pub(crate) value: Vec<f64>,
    pub(crate) output_value: Vec<f64>,
    pub(crate) output_node: Vec<f64>,
    pub(crate) output_bias: Vec<f64>,
}

/// What lies between input and output.
struct Between {
    of_time: Vec<f64>,
    query: Vec<f64>,
    attention: Attention,
    attended: Vec<f64>,
    values: Vec<f64>,
    of_own: Vec<f64>,
}

impl Layer {
    fn own(&self) -> Vec<f64> {
        wide(&self.attention.node[..self.own_rows * self.width])
    }

    fn sizes(&self, rows: usize) -> Sizes {
        Sizes {
            heads: self.attention.heads,
            rows,
            inputs: self.key.len() / self.width,
            width: self.width,
        }
    }

    fn square(&self, rows: usize) -> [usize; 3] {
        [rows, self.width, self.width]
    }

    /// Encoding of no time difference.
    fn of_no_time(&self) -> Vec<f64> {
        time_encoding(&self.attention.omega, &self.attention.phi, &[0.0])
    }

    fn between(&self) -> Between {
        let time = [1, self.attention.omega.len(), self.width];
        let of_time = linear(&self.query_bias, &self.of_no_time(), &self.query_time, time);
        let own = self.own();
        let query = linear(&of_time, &own, &self.query_node, self.square(self.own_rows));
        let projected = head_products::to_heads(&query, &self.key, self.sizes(self.own_rows));
        let attention = Attention {
            query: projected.iter().map(|v| *v as f32).collect(),
            ..self.attention.clone()
        };
        let attended = attention.output();
        let values =
            head_products::from_heads(&attended, &self.value, self.sizes(self.root_row.len()));
        let sizes = self.square(self.own_rows);
        Between {
            of_own: linear(&self.output_bias, &own, &self.output_node, sizes),
            of_time,
            query,
            attention,
            attended,
            values,
        }
    }

    /// `[roots, width]`.
    pub(crate) fn output(&self) -> Vec<f64> {
        let between = self.between();
        let of_root = gather_rows::gather_rows(&between.of_own, &self.root_row, self.width);
        let nothing = vec![0.0; self.width];
        let roots = self.square(self.root_row.len());
        let output = linear(&nothing, &between.values, &self.output_value, roots);
        output.iter().zip(&of_root).map(|(a, b)| a + b).collect()
    }

    /// Gradients of node rows, ω, φ, and of the weights in the order in which they are declared.
    pub(crate) fn gradients(&self, grad: &[f64]) -> Vec<Vec<f64>> {
        let (between, own) = (self.between(), self.own());
        let roots = self.root_row.len();
        let [_, d_values, d_output_value] = linear_gradients(
            &between.values,
            &self.output_value,
            self.square(roots),
            grad,
        );
        let [d_attended, d_value] = head_products::from_heads_gradients(
            &between.attended,
            &self.value,
            self.sizes(roots),
            &d_values,
        );
        let [d_projected, mut d_node, d_omega, mut d_phi] =
            between.attention.gradients(&d_attended);
        let [d_query, d_key] = head_products::to_heads_gradients(
            &between.query,
            &self.key,
            self.sizes(self.own_rows),
            &d_projected,
        );
        let square = self.square(self.own_rows);
        let [d_of_time, by_query, d_query_node] =
            linear_gradients(&own, &self.query_node, square, &d_query);
        let d_of_own = gather_rows::table_gradient(grad, &self.root_row, self.own_rows, self.width);
        let [d_output_bias, by_output, d_output_node] =
            linear_gradients(&own, &self.output_node, square, &d_of_own);
        for (i, (a, b)) in by_query.iter().zip(&by_output).enumerate() {
            d_node[i] += a + b;
        }
        let (encoding, time) = (self.of_no_time(), self.attention.omega.len());
        let sizes = [1, time, self.width];
        let [d_query_bias, d_encoding, d_query_time] =
            linear_gradients(&encoding, &self.query_time, sizes, &d_of_time);
        assert_eq!(between.of_time.len(), self.width);
        let (omega, phi) = (&self.attention.omega, &self.attention.phi);
        let [_, of_phi] = time_gradients(omega, phi, &[0.0], &d_encoding);
        for (d, more) in d_phi.iter_mut().zip(of_phi) {
            *d += more;
        }
        vec![
            d_node,
            d_omega,
            d_phi,
            d_query_node,
            d_query_time,
            d_query_bias,
            d_key,
            d_value,
            d_output_value,
            d_output_node,
            d_output_bias,
        ]
    }
}
