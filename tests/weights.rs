//! Weights files: what is read and what is written.

/// Files as `torch.save` writes them.
mod checkpoint;
/// `mspipe export`.
mod export;
/// Damaged files by the hundred.
mod fuzz;
/// Weights of the three models through a file and back.
mod models;
/// Files that are not read, and why.
mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use mspipe::model::tgl_weights::NamedTensor;
use mspipe::weights::{self, ModelDescription};
use tempfile::TempDir;

use checkpoint::{Strided, Value, archive, f32_bytes, of_class, pickle, save, whole};

/// A folder and a file in it.
fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn tensor(shape: &[usize], values: &[f32]) -> NamedTensor {
    NamedTensor {
        shape: shape.to_vec(),
        values: values.to_vec(),
    }
}

/// Weights with numbers that a careless conversion would change.
fn some_weights() -> BTreeMap<String, NamedTensor> {
    let subnormal = f32::from_bits(1);
    BTreeMap::from([
        (
            "b.weight".to_owned(),
            tensor(&[2, 2], &[0.1, -0.0, f32::MAX, subnormal]),
        ),
        ("b.bias".to_owned(), tensor(&[2], &[1.0 / 3.0, -1e-30])),
        ("a".to_owned(), tensor(&[], &[7.0])),
    ])
}

fn description() -> ModelDescription {
    ModelDescription {
        model: "tgn".to_owned(),
        width: 100,
        time_width: 100,
        edge_width: 172,
        node_width: 0,
        layers: 1,
        heads: 2,
        time_encoding: "trained".to_owned(),
        pair_history: 0,
        stream: Some("5".repeat(64)),
    }
}

/// The bits of all numbers, which `==` does not tell apart for ±0.
fn bits(weights: &BTreeMap<String, NamedTensor>) -> Vec<u32> {
    let values = weights.values().flat_map(|tensor| &tensor.values);
    values.map(|value| value.to_bits()).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let (_folder, path) = file("w.safetensors", b"replaced");
    weights::write(&path, &some_weights(), Some(&description())).unwrap();
    let read = weights::open(&path).unwrap();
    assert_eq!(read.tensors, some_weights());
    assert_eq!(bits(&read.tensors), bits(&some_weights()));
    assert_eq!(read.model, Some(description()));

    let again = path.with_file_name("again.safetensors");
    weights::write(&again, &some_weights(), Some(&description())).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
    let mut left: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["again.safetensors", "w.safetensors"]);
}

#[test]
fn the_header_is_sorted_and_says_who_wrote_it() {
    let (_folder, path) = file("w.safetensors", b"");
    weights::write(&path, &some_weights(), None).unwrap();
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let names: Vec<&String> = header.as_object().unwrap().keys().collect();
    assert_eq!(names, ["__metadata__", "a", "b.bias", "b.weight"]);
    assert_eq!(
        header["__metadata__"]["mspipe"],
        format!(
            r#"{{"format":1,"producer":"mspipe {}","model":null}}"#,
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn a_state_dict_of_torch_save_is_read() {
    let (_folder, path) = file("any.name", b"");
    let numbers: Vec<f32> = (0..12).map(|n| n as f32 / 3.0).collect();
    let rows = [&numbers[..], &[9.5]].concat();
    let root = Value::Dict(vec![
        ("w.weight", whole(0, &[3, 4], &[4, 1])),
        // The same numbers transposed, and the last row of them.
        (
            "t.weight",
            Value::Tensor(Strided {
                class: "FloatStorage",
                storage: 0,
                numbers: 12,
                offset: 0,
                shape: &[4, 3],
                stride: &[1, 4],
            }),
        ),
        (
            "w.bias",
            Value::Tensor(Strided {
                class: "FloatStorage",
                storage: 1,
                numbers: 13,
                offset: 8,
                shape: &[4],
                stride: &[1],
            }),
        ),
        ("scalar", whole(2, &[], &[])),
    ]);
    let storages = [f32_bytes(&numbers), f32_bytes(&rows), f32_bytes(&[-0.0])];
    save(&path, &root, &storages);

    let transposed: Vec<f32> = (0..12).map(|n| numbers[4 * (n % 3) + n / 3]).collect();
    let expected = BTreeMap::from([
        ("w.weight".to_owned(), tensor(&[3, 4], &numbers)),
        ("t.weight".to_owned(), tensor(&[4, 3], &transposed)),
        ("w.bias".to_owned(), tensor(&[4], &numbers[8..])),
        ("scalar".to_owned(), tensor(&[], &[-0.0])),
    ]);
    let read = weights::read(&path).unwrap();
    assert_eq!(read, expected);
    assert_eq!(bits(&read), bits(&expected));
}

/// The records of a large archive lie between directory and end. zip 9.1 to 9.8.1 does not
/// look for them in a small one, and misses the directory by their length where the first
/// name is 30 long: <https://github.com/zip-rs/zip2>.
#[test]
fn the_name_in_an_archive_may_be_of_any_length() {
    let (_folder, path) = file("w.pkl", b"");
    let pickle = pickle(&Value::Dict(vec![("w", whole(0, &[1], &[1]))]));
    for length in 1..64 {
        let name = "x".repeat(length);
        fs::write(&path, archive(&name, &pickle, &[f32_bytes(&[2.5])])).unwrap();
        assert_eq!(weights::read(&path).unwrap()["w"].values, [2.5], "{length}");
    }
}

#[test]
fn other_floats_become_f32() {
    let (_folder, path) = file("w.pkl", b"");
    let root = Value::Dict(vec![
        ("double", of_class("DoubleStorage", 0, &[2], &[1])),
        ("half", of_class("HalfStorage", 1, &[3], &[1])),
        ("brain", of_class("BFloat16Storage", 2, &[2], &[1])),
    ]);
    let doubles = [0.1f64, -2.5].iter().flat_map(|n| n.to_le_bytes());
    // 1, the smallest above 0, -2; 1 and -0.1 as PyTorch rounds it.
    let halves = [0x3c00u16, 0x0001, 0xc000].map(u16::to_le_bytes);
    let brains = [0x3f80u16, 0xbdcd].map(u16::to_le_bytes);
    save(
        &path,
        &root,
        &[doubles.collect(), halves.concat(), brains.concat()],
    );
    let read = weights::read(&path).unwrap();
    assert_eq!(read["double"].values, [0.1f32, -2.5]);
    assert_eq!(read["half"].values, [1.0, 2f32.powi(-24), -2.0]);
    assert_eq!(read["brain"].values, [1.0, -0.100_097_656]);

    // The same numbers in a safetensors file.
    let safetensors = path.with_extension("safetensors");
    let bytes: Vec<u8> = halves.concat();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F16, vec![3], &bytes);
    let content = safetensors::serialize([("half", view.unwrap())], None).unwrap();
    fs::write(&safetensors, content).unwrap();
    assert_eq!(weights::read(&safetensors).unwrap()["half"], read["half"]);
}
