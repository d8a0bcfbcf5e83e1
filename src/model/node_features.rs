//! Node features beside the memory.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;

use super::ModelConfig;
use super::init::Initializer;

/// Adds node features to updated memory rows (TGL's `combine_node_feature`).
#[derive(Module, Debug)]
pub struct NodeFeatures {
    /// Projection to the memory's width; none where the widths are equal.
    pub projection: Option<Linear>,
}

impl NodeFeatures {
    /// For node features `config.node_width` wide.
    pub fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> NodeFeatures {
        let needs_projection = config.node_width > 0 && config.node_width != config.width;
        let projection = needs_projection.then(|| {
            let bound = 1.0 / (config.node_width as f64).sqrt();
            let mut linear = LinearConfig::new(config.node_width, config.width).init(init.device());
            linear.weight = init.uniform([config.node_width, config.width], bound);
            linear.bias = Some(init.uniform([config.width], bound));
            linear
        });
        NodeFeatures { projection }
    }

    /// Node rows `[rows, width]` that the embedding reads.
    pub fn combine(&self, memory: Tensor<2>, features: Option<&Tensor<2>>) -> Tensor<2> {
        match (features, &self.projection) {
            (None, _) => memory,
            (Some(features), Some(projection)) => memory + projection.forward(features.clone()),
            (Some(features), None) => memory + features.clone(),
        }
    }
}
