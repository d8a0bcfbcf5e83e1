//! Node features beside the memory.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use crate::kernels::products::linear;

/// Adds node features to updated memory rows (TGL's `combine_node_feature`).
#[derive(Module, Debug)]
pub struct NodeFeatures {
    /// Projection to the memory's width; none where the widths are equal.
    pub projection: Option<Linear>,
}

impl NodeFeatures {
    /// For node features `config.node_width` wide.
    pub(crate) fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> NodeFeatures {
        let needs_projection = config.node_width > 0 && config.node_width != config.width;
        let projection = needs_projection.then(|| {
            let bound = 1.0 / (config.node_width as f64).sqrt();
            let mut layer = LinearConfig::new(config.node_width, config.width).init(init.device());
            layer.weight = init.uniform([config.node_width, config.width], bound);
            layer.bias = Some(init.uniform([config.width], bound));
            layer
        });
        NodeFeatures { projection }
    }

    /// Node rows `[rows, width]` that the embedding reads.
    pub(crate) fn combine(&self, memory: Tensor<2>, features: Option<&Tensor<2>>) -> Tensor<2> {
        match (features, &self.projection) {
            (None, _) => memory,
            (Some(features), Some(projection)) => memory + projected(features.clone(), projection),
            (Some(features), None) => memory + features.clone(),
        }
    }
}

/// The layer by [`linear`](crate::kernels::products::linear): burn's own sums per row in another order
/// where there are few.
fn projected(features: Tensor<2>, layer: &Linear) -> Tensor<2> {
    let [_, width] = layer.weight.dims();
    let bias = match &layer.bias {
        Some(bias) => bias.val().unsqueeze(),
        None => Tensor::zeros([1, width], &features.device()),
    };
    linear(bias, features, layer.weight.val())
}
