//! JODIE's projection of an embedding to the time of a query.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::init::Initializer;
use crate::kernels::root_norm::Projection;

/// z = h (1 + r w + b), r being the recency of the node's last event (JODIE, equation 3).
#[derive(Module, Debug)]
pub struct TimeProjection {
    /// w, `[1, width]`.
    pub weight: Param<Tensor<2>>,
    /// b, `[width]`.
    pub bias: Param<Tensor<1>>,
}

impl TimeProjection {
    /// Starts from standard-normal numbers, as JODIE's code does.
    pub(crate) fn new(width: usize, init: &mut Initializer<'_>) -> TimeProjection {
        TimeProjection {
            weight: init.normal([1, width]),
            bias: init.normal([width]),
        }
    }

    /// The projection for `recency` `[roots]`.
    pub(crate) fn to(&self, recency: Tensor<1>) -> Projection {
        Projection {
            recency,
            weight: self.weight.val(),
            bias: self.bias.val(),
        }
    }
}
