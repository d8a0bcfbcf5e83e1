//! `mspipe export` as a user runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use mspipe::weights;
use tempfile::TempDir;

use super::checkpoint::{Value, f32_bytes, save, whole};
use super::{description, some_weights};

fn export(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mspipe"))
        .arg("export")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = export(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = export(folder, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_weights_of_a_run_are_exported() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("run")).unwrap();
    let run = at("run").join(weights::FILE_NAME);
    weights::write(&run, &some_weights(), Some(&description())).unwrap();

    let text = succeeds(folder.path(), &["run", "--to", "w.safetensors"]);
    assert_eq!(
        fs::read(at("w.safetensors")).unwrap(),
        fs::read(&run).unwrap()
    );
    assert!(
        text.contains("b.weight  [2, 2]                 4\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "3 parameters, 7 numbers (tgn, width 100, 1 layers, 2 heads, trained time encoding)"
        ),
        "{text}"
    );

    let exists = fails(folder.path(), &["run", "--to", "w.safetensors"]);
    assert_eq!(
        exists,
        "error: w.safetensors: exists already; choose another name, or replace it with --force\n"
    );
    let json = succeeds(
        folder.path(),
        &["run", "--to", "w.safetensors", "--force", "--json"],
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["to"], "w.safetensors");
    assert_eq!(json["numbers"], 7);
    assert_eq!(json["model"]["edge_width"], 172);
    assert_eq!(
        json["tensors"][1],
        serde_json::json!({"name": "b.bias", "shape": [2], "numbers": 2})
    );
    assert_eq!(json["bytes"], fs::metadata(&run).unwrap().len());
}

#[test]
fn a_checkpoint_of_pytorch_is_converted() {
    let folder = TempDir::new().unwrap();
    let root = Value::Dict(vec![("fc.weight", whole(0, &[2, 3], &[3, 1]))]);
    let numbers = [0.1, -0.2, 0.3, 4.0, 5.0, 6.0];
    save(
        &folder.path().join("old.pkl"),
        &root,
        &[f32_bytes(&numbers)],
    );
    let text = succeeds(folder.path(), &["old.pkl", "--to", "new.safetensors"]);
    assert!(
        text.contains("1 parameters, 6 numbers (model not said by the file)"),
        "{text}"
    );
    let read = weights::read(&folder.path().join("new.safetensors")).unwrap();
    assert_eq!(read["fc.weight"].shape, [2, 3]);
    assert_eq!(read["fc.weight"].values, numbers);
}

#[test]
fn what_cannot_be_exported_is_said() {
    let folder = TempDir::new().unwrap();
    let refused = |arguments: &[&str], expected: &str| {
        assert_eq!(
            fails(folder.path(), arguments),
            format!("error: {expected}\n")
        );
    };
    fs::create_dir(folder.path().join("run")).unwrap();
    fs::create_dir(folder.path().join("f.safetensors")).unwrap();
    for run in ["run", "none"] {
        let looked_for = Path::new(run).join("config.json");
        refused(
            &[run, "--to", "w.safetensors"],
            &format!(
                "{run}: holds no run (there is no {}); give a folder that mspipe train has \
                 written, or a weights file",
                looked_for.display()
            ),
        );
    }
    fs::write(folder.path().join("run/config.json"), "{}").unwrap();
    refused(
        &["run", "--to", "w.safetensors"],
        "run: has no weights.safetensors; it is written when the first epoch ends: resume the run \
         (mspipe train --resume run), or give the folder of another one",
    );
    refused(
        &["run", "--to", "w.pkl"],
        "--to w.pkl: only safetensors are written; expected a name that ends with .safetensors",
    );
    refused(
        &["run", "--to", "f.safetensors", "--force"],
        "f.safetensors: is a folder; give the name of a file",
    );
    assert!(!folder.path().join("w.safetensors").exists());
}

/// As TGL's `train_dist.py` saves them, and `torch.compile`, and both.
#[test]
fn names_of_wrapped_models_are_unwrapped_and_it_is_said() {
    let folder = TempDir::new().unwrap();
    for prefix in [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
    ] {
        let names = [format!("{prefix}fc.weight"), format!("{prefix}module.bias")];
        let tensors = names
            .iter()
            .map(|name| (name.as_str(), whole(0, &[2], &[1])))
            .collect();
        let path = folder.path().join("ddp.pkl");
        save(&path, &Value::Dict(tensors), &[f32_bytes(&[1.0, 2.0])]);
        let to = ["ddp.pkl", "--to", "w.safetensors", "--force"];
        let text = succeeds(folder.path(), &to);
        let said = format!("every name in the file begins with '{prefix}'");
        assert!(text.contains(&said), "{text}");
        let read = weights::open(&folder.path().join("w.safetensors")).unwrap();
        let names: Vec<&String> = read.tensors.keys().collect();
        assert_eq!(names, ["fc.weight", "module.bias"], "{prefix}");
        assert_eq!(read.prefix, "");
    }
    // Of one part of the model only: that is its name.
    let tensors = vec![
        ("module.a", whole(0, &[2], &[1])),
        ("b", whole(0, &[2], &[1])),
    ];
    let path = folder.path().join("part.pkl");
    save(&path, &Value::Dict(tensors), &[f32_bytes(&[1.0, 2.0])]);
    assert!(weights::read(&path).unwrap().contains_key("module.a"));
}
