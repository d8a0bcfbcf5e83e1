//! Weights of the three models through a file and back.

use burn::tensor::Device;
use clap::Parser;
use mspipe::config::RunConfig;
use mspipe::model::init::Initializer;
use mspipe::model::tgl_weights;
use mspipe::model::{LinkModel, ModelConfig, ModelName};
use mspipe::sampling::pair_history::WIDTH;
use mspipe::session::Session;
use mspipe::weights;
use tempfile::TempDir;

use super::bits;

fn model(name: ModelName, seed: u64) -> LinkModel {
    let config = ModelConfig {
        name,
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
        pair_history: 11,
    };
    LinkModel::new(&config, &mut Initializer::new(seed, &Device::flex()))
}

fn keeps_all_bits(name: ModelName) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.safetensors");
    let before = tgl_weights::export(&model(name, 1)).unwrap();
    weights::write(&path, &before, None).unwrap();
    let loaded = tgl_weights::load(model(name, 2), &weights::read(&path).unwrap()).unwrap();
    let after = tgl_weights::export(&loaded).unwrap();
    assert_eq!(after, before);
    assert_eq!(bits(&after), bits(&before));
    assert_ne!(after, tgl_weights::export(&model(name, 2)).unwrap());
}

#[test]
fn a_file_keeps_all_bits_of_a_model() {
    keeps_all_bits(ModelName::Tgn);
    keeps_all_bits(ModelName::Jodie);
    keeps_all_bits(ModelName::Apan);
}

/// A session on a generated stream with 7 random node features, with these options.
fn session(options: &[&str]) -> Session {
    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        run: RunConfig,
    }
    let data = [
        "test",
        "--data=synthetic:mooc:scale=0.01",
        "--width=8",
        "--time-width=5",
    ];
    let features = ["--edge-features=random:3", "--node-features=random:7"];
    let arguments = [&data[..], &features, &["--device=cpu"], options].concat();
    Session::open(Program::parse_from(arguments).run).unwrap()
}

/// Weights of a model with pair history are refused by one without, and the reverse; the error says
/// what to give.
#[test]
fn pair_history_is_on_in_both_or_in_none() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.safetensors");
    let init = format!("--init={}", path.display());
    let model = |pair_history| {
        let config = ModelConfig {
            name: ModelName::Jodie,
            width: 8,
            time_width: 5,
            edge_width: 3,
            node_width: 7,
            layers: 1,
            heads: 2,
            mail_slots: 1,
            train_time_encoding: true,
            dropout: 0.1,
            attention_dropout: 0.1,
            pair_history,
        };
        LinkModel::new(&config, &mut Initializer::new(1, &Device::flex()))
    };
    let open = |history: &str| {
        let history = format!("--pair-history={history}");
        session(&["--model=jodie", &history, &init]).training(&Device::flex())
    };
    for (saved, fits, other, said) in [
        (
            WIDTH,
            "on",
            "off",
            "are of a model with pair history: give --pair-history on",
        ),
        (
            0,
            "off",
            "on",
            "know no pair history (TGL's never do): give --pair-history off",
        ),
    ] {
        let tensors = tgl_weights::export(&model(saved)).unwrap();
        weights::write(&path, &tensors, None).unwrap();
        open(fits).map(drop).unwrap();
        let error = open(other).map(drop).unwrap_err().to_string();
        assert!(
            error.contains("edge_predictor.history_fc.weight"),
            "{error}"
        );
        // Nothing about other widths.
        let (_, last) = error.rsplit_once("\nthese weights ").unwrap();
        assert_eq!(last, said);
    }
}

/// TGL's APAN has no map for node features, and its weights are used as they were trained.
#[test]
fn apan_reads_node_features_only_where_its_weights_do() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("apan.safetensors");
    let apan = |node_width: usize| {
        let config = ModelConfig {
            name: ModelName::Apan,
            width: 8,
            time_width: 5,
            edge_width: 3,
            node_width,
            layers: 1,
            heads: 2,
            mail_slots: 10,
            train_time_encoding: true,
            dropout: 0.1,
            attention_dropout: 0.1,
            pair_history: 0,
        };
        LinkModel::new(&config, &mut Initializer::new(1, &Device::flex()))
    };
    let init = format!("--init={}", path.display());
    for (node_width, used) in [(0, false), (7, true)] {
        let saved = tgl_weights::export(&apan(node_width)).unwrap();
        // Wrapped, as several processes save them.
        let wrapped = saved
            .into_iter()
            .map(|(name, tensor)| (format!("module.{name}"), tensor));
        weights::write(&path, &wrapped.collect(), None).unwrap();
        let session = session(&["--model=apan", &init]);
        assert_eq!(session.data.node_width, if used { 7 } else { 0 });
        let notes = session.notes.join("\n");
        assert!(notes.contains("begins with 'module.'"), "{notes}");
        let said = match used {
            true => "apan adds the 7 node features to its embeddings; TGL's APAN reads none",
            false => "the 7 node features are not used: these weights of apan have no map for them",
        };
        assert!(notes.contains(said), "{notes}");
        session.training(&Device::flex()).unwrap();
    }
    let fresh = session(&["--model=apan"]);
    assert_eq!(fresh.data.node_width, 7);
    assert!(fresh.notes[0].contains("(--node-features zero matches that)"));
    assert!(session(&["--model=tgn"]).notes.is_empty());
}
