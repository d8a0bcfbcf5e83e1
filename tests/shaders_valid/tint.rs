//! Every text under Tint, the WGSL compiler of Chromium, where `MSPIPE_TINT` names a folder with npm's
//! package `webgpu` (`scripts/test` makes one where there is npm).

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

/// What Tint says of each text: nothing, or its errors.
fn verdicts(package: &Path, texts: &[String]) -> Vec<Option<String>> {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("texts.json");
    std::fs::write(&input, json!(texts).to_string()).unwrap();
    let script = Path::new("tests/shaders_valid/tint.mjs");
    let output = Command::new("node")
        .arg(script)
        .args([package, &input])
        .stderr(Stdio::inherit())
        .output()
        .expect("MSPIPE_TINT is set, and node is needed");
    assert!(output.status.success(), "tint.mjs: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn tint_accepts_every_text_and_refuses_barriers_that_only_some_invocations_reach() {
    let Some(folder) = std::env::var_os("MSPIPE_TINT") else {
        super::not_run("WGSL by Tint: MSPIPE_TINT names no folder with npm's webgpu");
        return;
    };
    let mut texts = Vec::new();
    let mut expected = Vec::new();
    super::for_each_text(|_, label, text, _| {
        texts.push(text.to_owned());
        expected.push((label.to_owned(), true));
    });
    for (together, text) in super::uniformity::examples() {
        expected.push((text.clone(), together));
        texts.push(text);
    }
    let package = Path::new(&folder).join("node_modules/webgpu/index.js");
    let verdicts = verdicts(&package, &texts);
    assert_eq!(verdicts.len(), expected.len());
    for ((label, accepted), refusal) in expected.iter().zip(&verdicts) {
        let problem = refusal.as_deref().unwrap_or("accepted");
        assert_eq!(refusal.is_none(), *accepted, "{label}: {problem}");
    }
}
