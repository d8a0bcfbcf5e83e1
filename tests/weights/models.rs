//! Weights of the three models through a file and back.

use burn::tensor::Device;
use mspipe::model::apan::Apan;
use mspipe::model::init::Initializer;
use mspipe::model::jodie::Jodie;
use mspipe::model::tgl_weights::{self, TglNames};
use mspipe::model::tgn::Tgn;
use mspipe::model::{LinkModel, ModelConfig};
use mspipe::weights;
use tempfile::TempDir;

use super::bits;

fn model<M: TglNames>(seed: u64) -> LinkModel<M> {
    let config = ModelConfig {
        width: 8,
        time_width: 5,
        edge_width: 3,
        node_width: 6,
        layers: 2,
        heads: 2,
        mail_slots: 4,
        train_time_encoding: true,
        dropout: 0.1,
        attention_dropout: 0.1,
    };
    LinkModel::new(&config, &mut Initializer::new(seed, &Device::flex()))
}

fn keeps_all_bits<M: TglNames>() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.safetensors");
    let before = tgl_weights::export(&model::<M>(1)).unwrap();
    weights::write(&path, &before, None).unwrap();
    let loaded = tgl_weights::load(model::<M>(2), &weights::read(&path).unwrap()).unwrap();
    let after = tgl_weights::export(&loaded).unwrap();
    assert_eq!(after, before);
    assert_eq!(bits(&after), bits(&before));
    assert_ne!(after, tgl_weights::export(&model::<M>(2)).unwrap());
}

#[test]
fn a_file_keeps_all_bits_of_a_model() {
    keeps_all_bits::<Tgn>();
    keeps_all_bits::<Jodie>();
    keeps_all_bits::<Apan>();
}
