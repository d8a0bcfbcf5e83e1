//! Loading, exporting and refusing TGL's weights.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use super::*;
use crate::model::init::Initializer;
use crate::model::temporal_attention::TemporalAttention;
use crate::model::{Model, ModelConfig, ModelName};

const TGN: ModelConfig = ModelConfig {
    name: ModelName::Tgn,
    width: 4,
    time_width: 3,
    edge_width: 2,
    node_width: 5,
    layers: 2,
    heads: 2,
    mail_slots: 3,
    train_time_encoding: true,
    dropout: 0.1,
    attention_dropout: 0.1,
    pair_history: 3,
};
const JODIE: ModelConfig = ModelConfig {
    name: ModelName::Jodie,
    ..TGN
};
const APAN: ModelConfig = ModelConfig {
    name: ModelName::Apan,
    ..TGN
};

fn model(config: &ModelConfig, seed: u64) -> LinkModel {
    let device = Device::flex().autodiff();
    LinkModel::new(config, &mut Initializer::new(seed, &device))
}

/// The attention layers of a TGN.
fn layers(model: &LinkModel) -> &[TemporalAttention] {
    match &model.model {
        Model::Tgn(tgn) => &tgn.layers,
        _ => panic!("not a TGN"),
    }
}

/// Weights of every name in the model's shapes, all numbers different.
fn numbered(config: &ModelConfig) -> BTreeMap<String, NamedTensor> {
    let mut weights = export(&model(config, 0)).unwrap();
    let values = weights.values_mut().flat_map(|tensor| &mut tensor.values);
    for (number, value) in (0u16..).zip(values) {
        *value = f32::from(number);
    }
    weights
}

fn round_trips(config: ModelConfig) {
    let without = ModelConfig {
        edge_width: 0,
        node_width: 0,
        layers: 1,
        pair_history: 0,
        ..config
    };
    let as_wide = ModelConfig {
        node_width: config.width,
        ..config
    };
    for config in [config, without, as_wide] {
        let weights = numbered(&config);
        let loaded = load(model(&config, 7), &weights).unwrap();
        assert_eq!(export(&loaded).unwrap(), weights);

        // Every number of the model comes from TGL's, and none from two of them.
        let count: usize = weights.values().map(|tensor| tensor.values.len()).sum();
        assert_eq!(loaded.num_params(), count);
    }
}

#[test]
fn what_is_loaded_is_exported_again() {
    round_trips(TGN);
    round_trips(JODIE);
    round_trips(APAN);
}

/// Names and shapes of all parameters but the predictor's, one per line.
fn listed(config: &ModelConfig) -> String {
    numbered(config)
        .iter()
        .filter(|(name, _)| !name.starts_with("edge_predictor."))
        .map(|(name, tensor)| format!("{name} {:?}\n", tensor.shape))
        .collect()
}

#[test]
fn names_and_shapes_are_those_of_pytorch() {
    let layers: String = ["layers.l0h0.", "layers.l1h0."]
        .map(|layer| {
            [
                "layer_norm.bias [4]",
                "layer_norm.weight [4]",
                "time_enc.w.bias [3]",
                "time_enc.w.weight [3, 1]",
                "w_k.bias [4]",
                "w_k.weight [4, 9]",
                "w_out.bias [4]",
                "w_out.weight [4, 8]",
                "w_q.bias [4]",
                "w_q.weight [4, 7]",
                "w_v.bias [4]",
                "w_v.weight [4, 9]",
            ]
            .map(|parameter| format!("{layer}{parameter}\n"))
            .concat()
        })
        .concat();
    let updater = |gates: usize| {
        format!(
            "memory_updater.node_feat_map.bias [4]\n\
             memory_updater.node_feat_map.weight [4, 5]\n\
             memory_updater.time_enc.w.bias [3]\n\
             memory_updater.time_enc.w.weight [3, 1]\n\
             memory_updater.updater.bias_hh [{gates}]\n\
             memory_updater.updater.bias_ih [{gates}]\n\
             memory_updater.updater.weight_hh [{gates}, 4]\n\
             memory_updater.updater.weight_ih [{gates}, 13]\n"
        )
    };
    assert_eq!(listed(&TGN), layers + &updater(12));
    assert_eq!(
        listed(&JODIE),
        "layers.l0h0.norm.bias [4]\n\
         layers.l0h0.norm.weight [4]\n\
         layers.l0h0t.time_emb.bias [4]\n\
         layers.l0h0t.time_emb.weight [4, 1]\n"
            .to_owned()
            + &updater(4)
    );
    assert_eq!(
        listed(&APAN),
        "layers.l0h0.norm.bias [4]\n\
         layers.l0h0.norm.weight [4]\n\
         memory_updater.layer_norm.bias [4]\n\
         memory_updater.layer_norm.weight [4]\n\
         memory_updater.mlp.bias [4]\n\
         memory_updater.mlp.weight [4, 4]\n\
         memory_updater.node_feat_map.bias [4]\n\
         memory_updater.node_feat_map.weight [4, 5]\n\
         memory_updater.time_enc.w.bias [3]\n\
         memory_updater.time_enc.w.weight [3, 1]\n\
         memory_updater.w_k.bias [4]\n\
         memory_updater.w_k.weight [4, 13]\n\
         memory_updater.w_q.bias [4]\n\
         memory_updater.w_q.weight [4, 4]\n\
         memory_updater.w_v.bias [4]\n\
         memory_updater.w_v.weight [4, 13]\n"
    );
}

#[test]
fn weights_are_transposed_and_split_by_input() {
    let mut weights = numbered(&TGN);
    // Number of (output, input): 100 output + input.
    let out = weights.get_mut("layers.l1h0.w_out.weight").unwrap();
    out.values = (0..4)
        .flat_map(|o| (0..8).map(move |i| (100 * o + i) as f32))
        .collect();
    weights.get_mut("layers.l1h0.w_k.bias").unwrap().values = vec![9.0, 8.0, 7.0, 6.0];
    weights
        .get_mut("layers.l1h0.time_enc.w.bias")
        .unwrap()
        .values = vec![0.1, 0.2, 0.3];
    let loaded = load(model(&TGN, 7), &weights).unwrap();
    let attention = &layers(&loaded)[1];

    let row = |tensor: Tensor<2>, row: usize| -> Vec<f32> {
        tensor.narrow(0, row, 1).into_data().try_into_vec().unwrap()
    };
    assert_eq!(
        row(attention.output_value.val(), 3),
        [3.0, 103.0, 203.0, 303.0]
    );
    assert_eq!(
        row(attention.output_node.val(), 0),
        [4.0, 104.0, 204.0, 304.0]
    );
    assert_eq!(row(attention.key.val(), 9), [9.0, 8.0, 7.0, 6.0]);
    assert_eq!(row(attention.time_encoding.time.val(), 1), [0.1, 0.2, 0.3]);
}

#[test]
fn loading_keeps_ids_and_training() {
    let config = ModelConfig {
        train_time_encoding: false,
        ..TGN
    };
    let fresh = model(&config, 7);
    let id = fresh.predictor.output.id;
    let loaded = load(fresh, &numbered(&config)).unwrap();
    assert_eq!(loaded.predictor.output.id, id);
    assert!(loaded.predictor.output.val().is_require_grad());
    let fixed = layers(&loaded)[0].time_encoding.time.val();
    assert!(!fixed.is_require_grad());
}

/// MSPipe calls the projection of node features otherwise than TGL.
#[test]
fn the_other_name_of_a_parameter_is_read() {
    let weights = numbered(&JODIE);
    let mut renamed = weights.clone();
    for end in ["weight", "bias"] {
        let tensor = renamed
            .remove(&format!("memory_updater.node_feat_map.{end}"))
            .unwrap();
        renamed.insert(format!("memory_updater.node_feat_proj.{end}"), tensor);
    }
    let loaded = load(model(&JODIE, 7), &renamed).unwrap();
    assert_eq!(export(&loaded).unwrap(), weights);

    // Both at once: one of them belongs to something else.
    renamed.extend(weights);
    let error = load(model(&JODIE, 7), &renamed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "these weights are not of this model:\
        \n  'memory_updater.node_feat_proj.bias' [4] is in the weights, the model has no such parameter\
        \n  'memory_updater.node_feat_proj.weight' [4, 5] is in the weights, the model has no such parameter\
        \ncheck the widths and the kind of the model"
    );
}

#[test]
fn every_misfit_is_named() {
    let mut weights = numbered(&TGN);
    let bias = weights.remove("edge_predictor.src_fc.bias").unwrap();
    weights.insert("edge_predictor.scr_fc.bias".to_owned(), bias);
    weights.get_mut("layers.l0h0.w_k.weight").unwrap().shape = vec![9, 4];
    weights
        .get_mut("layers.l1h0.w_q.bias")
        .unwrap()
        .values
        .pop();
    let error = load(model(&TGN, 7), &weights).unwrap_err();
    let WeightError::Misfits(misfits) = &error else {
        panic!("{error}");
    };
    assert_eq!(misfits.len(), 4);
    assert_eq!(
        error.to_string(),
        "these weights are not of this model:\
        \n  'layers.l0h0.w_k.weight' has shape [9, 4], the model expects [4, 9]\
        \n  'layers.l1h0.w_q.bias' has 3 values for its shape [4]\
        \n  'edge_predictor.src_fc.bias' is missing, the model expects it with shape [4]\
        \n  'edge_predictor.scr_fc.bias' [4] is in the weights, the model has no such parameter\
        \ncheck the widths and the kind of the model"
    );
}

const WITHOUT_HISTORY: ModelConfig = ModelConfig {
    pair_history: 0,
    ..TGN
};

/// Everything else is drawn as without it.
#[test]
fn pair_history_adds_one_parameter() {
    let without = export(&model(&WITHOUT_HISTORY, 7)).unwrap();
    let mut with = export(&model(&TGN, 7)).unwrap();
    let history = with.remove("edge_predictor.history_fc.weight").unwrap();
    assert_eq!(with, without);
    assert_eq!(history.shape, [4, 3]);
    let bound = 1.0 / 3f32.sqrt();
    assert!(history.values.iter().all(|v| v.abs() <= bound && *v != 0.0));
}

#[test]
fn pair_history_on_one_side_only_is_refused() {
    let error = |config: &ModelConfig, weights: &BTreeMap<String, NamedTensor>| {
        load(model(config, 7), weights).unwrap_err().to_string()
    };
    assert_eq!(
        error(&TGN, &numbered(&WITHOUT_HISTORY)),
        "these weights are not of this model:\
        \n  'edge_predictor.history_fc.weight' is missing, the model expects it with shape [4, 3]\
        \nthese weights know no pair history (TGL's never do): give --pair-history off"
    );
    assert_eq!(
        error(&WITHOUT_HISTORY, &numbered(&TGN)),
        "these weights are not of this model:\
        \n  'edge_predictor.history_fc.weight' [4, 3] is in the weights, the model has no such parameter\
        \nthese weights are of a model with pair history: give --pair-history on"
    );
    let mut other = numbered(&WITHOUT_HISTORY);
    other.remove("edge_predictor.out_fc.bias");
    let both = error(&TGN, &other);
    let remedies = "give --pair-history off\ncheck the widths and the kind of the model";
    assert!(both.ends_with(remedies), "{both}");
}

#[test]
fn weights_of_another_model_are_refused() {
    let weights = numbered(&APAN);
    let error = load(model(&JODIE, 7), &weights).unwrap_err();
    let message = error.to_string();
    for line in [
        "'memory_updater.updater.weight_ih' is missing, the model expects it with shape [4, 13]",
        "'memory_updater.w_q.weight' [4, 4] is in the weights, the model has no such parameter",
    ] {
        assert!(message.contains(line), "{message}");
    }
}

#[test]
fn gradients_have_the_names_of_their_weights() {
    let config = ModelConfig {
        train_time_encoding: false,
        ..TGN
    };
    let nothing = export_gradients(&model(&TGN, 7), &GradientsParams::new());
    let message = nothing.unwrap_err().to_string();
    assert!(
        message.contains("'model.updater.time_encoding.time'"),
        "{message}"
    );

    // The gradient of the sum of all weights is 1 everywhere.
    struct Sum(Tensor<1>);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 = self.0.clone() + param.val().sum();
        }
    }
    let model = model(&config, 7);
    let mut sum = Sum(Tensor::zeros([1], &Device::flex().autodiff()));
    model.visit(&mut sum);
    let gradients = GradientsParams::from_grads(sum.0.backward(), &model);
    let gradients = export_gradients(&model, &gradients).unwrap();
    // What is not trained has none.
    let mut weights = export(&model).unwrap();
    weights.retain(|name, _| !name.contains("time_enc"));
    assert_eq!(weights.len(), gradients.len());
    for ((name, weight), gradient) in weights.iter().zip(gradients.values()) {
        assert_eq!(weight.shape, gradient.shape, "{name}");
        assert!(gradient.values.iter().all(|&g| g == 1.0), "{name}");
    }
}
