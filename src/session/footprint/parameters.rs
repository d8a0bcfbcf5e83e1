//! How many parameters a model has.

use crate::model::{ModelConfig, ModelName};

/// Parameters of a model with its predictor.
pub(super) fn parameters(model: &ModelConfig) -> u64 {
    let (width, time) = (model.width as u64, model.time_width as u64);
    let (mail, edge) = (model.mail_width() as u64, model.edge_width as u64);
    let recurrent = |gates: u64| gates * width * (mail + time + width + 2) + 2 * time;
    let attention =
        |keys: u64| width * (width + time + 2 * (keys + time + 1) + 2 * width + 6) + 2 * time;
    let predictor = 2 * width * width + (4 + model.pair_history as u64) * width;
    let own = match model.name {
        ModelName::Tgn => recurrent(3) + model.layers as u64 * attention(width + edge),
        ModelName::Jodie => recurrent(1) + 4 * width,
        ModelName::Apan => attention(mail) + 4 * width,
    };
    own + predictor + model.node_width as u64 * width
}
