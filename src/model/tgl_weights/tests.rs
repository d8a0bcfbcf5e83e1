//! Loading, exporting and refusing TGL's weights.

use burn::tensor::Device;

use super::*;
use crate::model::ModelConfig;
use crate::model::init::Initializer;

const CONFIG: ModelConfig = ModelConfig {
    width: 4,
    time_width: 3,
    edge_width: 2,
    node_width: 5,
    heads: 2,
    dropout: 0.1,
    attention_dropout: 0.1,
};

fn model(config: &ModelConfig, seed: u64) -> LinkModel<Tgn> {
    let device = Device::flex().autodiff();
    Tgn::with_predictor(config, &mut Initializer::new(seed, &device))
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

#[test]
fn what_is_loaded_is_exported_again() {
    let without = ModelConfig {
        edge_width: 0,
        node_width: 0,
        ..CONFIG
    };
    for config in [CONFIG, without] {
        let weights = numbered(&config);
        let loaded = load(model(&config, 7), &weights).unwrap();
        assert_eq!(export(&loaded).unwrap(), weights);

        // Every number of the model comes from TGL's, and none from two of them.
        let count: usize = weights.values().map(|tensor| tensor.values.len()).sum();
        assert_eq!(loaded.num_params(), count);
    }
}

#[test]
fn names_and_shapes_are_those_of_pytorch() {
    let shape = |name: &str| numbered(&CONFIG)[name].shape.clone();
    assert_eq!(
        shape("memory_updater.updater.weight_ih"),
        [12, 2 * 4 + 2 + 3]
    );
    assert_eq!(shape("memory_updater.node_feat_proj.weight"), [4, 5]);
    assert_eq!(shape("layers.l0h0.time_enc.w.weight"), [3, 1]);
    assert_eq!(shape("layers.l0h0.w_k.weight"), [4, 4 + 2 + 3]);
    assert_eq!(shape("layers.l0h0.w_k.bias"), [4]);
    assert_eq!(shape("layers.l0h0.w_out.weight"), [4, 8]);
    assert_eq!(shape("edge_predictor.out_fc.weight"), [1, 4]);
}

#[test]
fn weights_are_transposed_and_split_by_input() {
    let mut weights = numbered(&CONFIG);
    // Number of (output, input): 100 output + input.
    let out = weights.get_mut("layers.l0h0.w_out.weight").unwrap();
    out.values = (0..4)
        .flat_map(|o| (0..8).map(move |i| (100 * o + i) as f32))
        .collect();
    weights.get_mut("layers.l0h0.w_k.bias").unwrap().values = vec![9.0, 8.0, 7.0, 6.0];
    weights
        .get_mut("layers.l0h0.time_enc.w.bias")
        .unwrap()
        .values = vec![0.1, 0.2, 0.3];
    let attention = load(model(&CONFIG, 7), &weights).unwrap().model.attention;

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
    let fresh = model(&CONFIG, 7);
    let id = fresh.predictor.output.id;
    let loaded = load(fresh, &numbered(&CONFIG)).unwrap();
    assert_eq!(loaded.predictor.output.id, id);
    assert!(loaded.predictor.output.val().is_require_grad());
}

#[test]
fn every_misfit_is_named() {
    let mut weights = numbered(&CONFIG);
    let bias = weights.remove("edge_predictor.src_fc.bias").unwrap();
    weights.insert("edge_predictor.scr_fc.bias".to_owned(), bias);
    weights.get_mut("layers.l0h0.w_k.weight").unwrap().shape = vec![9, 4];
    weights
        .get_mut("layers.l0h0.w_q.bias")
        .unwrap()
        .values
        .pop();
    let error = load(model(&CONFIG, 7), &weights).unwrap_err();
    let WeightError::Misfits(misfits) = &error else {
        panic!("{error}");
    };
    assert_eq!(misfits.len(), 4);
    assert_eq!(
        error.to_string(),
        "these weights are not of this model:\
        \n  'layers.l0h0.w_q.bias' has 3 values for its shape [4]\
        \n  'layers.l0h0.w_k.weight' has shape [9, 4], the model expects [4, 9]\
        \n  'edge_predictor.src_fc.bias' is missing, the model expects it with shape [4]\
        \n  'edge_predictor.scr_fc.bias' [4] is in the weights, the model has no such parameter\
        \ncheck the widths and the kind of the model"
    );
}

#[test]
fn gradients_have_the_names_of_their_weights() {
    let model = model(&CONFIG, 7);
    let nothing = export_gradients(&model, &GradientsParams::new()).unwrap_err();
    assert!(
        nothing
            .to_string()
            .contains("'model.updater.time_encoding.time'"),
        "{nothing}"
    );

    // The gradient of the sum of all weights is 1 everywhere.
    struct Sum(Tensor<1>);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 = self.0.clone() + param.val().sum();
        }
    }
    let mut sum = Sum(Tensor::zeros([1], &Device::flex().autodiff()));
    model.visit(&mut sum);
    let gradients = GradientsParams::from_grads(sum.0.backward(), &model);
    let gradients = export_gradients(&model, &gradients).unwrap();
    for ((name, weight), gradient) in export(&model).unwrap().iter().zip(gradients.values()) {
        assert_eq!(weight.shape, gradient.shape, "{name}");
        assert!(gradient.values.iter().all(|&g| g == 1.0), "{name}");
    }
}
