//! `peers` end to end, where there is a Python with PyG.
//!
//! `MSPIPE_PEERS_PYTHON` names it; without it the test prints `not run`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::process::Command;

use serde_json::Value;

fn peers(python: &str, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mspipe-bench"))
        .args([
            "peers",
            "--python",
            python,
            "--data",
            "synthetic:wikipedia:scale=0.01",
        ])
        .args(["--epochs", "2", "--batch-size", "100", "--threads", "2"])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn both_train_the_same_stream() {
    let Ok(python) = std::env::var("MSPIPE_PEERS_PYTHON") else {
        println!("not run: MSPIPE_PEERS_PYTHON names no Python with torch_geometric");
        return;
    };
    // Without edge features too: PyG takes no width 0.
    for features in ["random:7", "zero"] {
        let (ended, report, errors) = peers(&python, &["--edge-features", features, "--json"]);
        assert!(ended, "{errors}");
        let report: Value = serde_json::from_str(&report).unwrap();
        let epochs = report["epochs"].as_array().unwrap();
        assert_eq!(epochs.len(), 2);
        for side in epochs.iter().flat_map(|row| [&row["mspipe"], &row["pyg"]]) {
            let number = |name: &str| side[name].as_f64().unwrap();
            assert!(number("events_per_s") > 0.0 && number("train_loss") > 0.0);
            assert!((0.0..=1.0).contains(&number("val_ap")), "{side}");
            assert!((0.0..=1.0).contains(&number("test_ap")), "{side}");
        }
        // One list a node can't be more than the past of every root.
        let (own, theirs) = (&report["neighbor_rows"], &report["pyg_neighbor_rows"]);
        assert!(own.as_f64().unwrap() >= theirs.as_f64().unwrap());
        assert!(theirs.as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_missing_python_is_told_how_to_get() {
    let (ended, _, errors) = peers("no/such/python", &[]);
    assert!(!ended);
    assert!(
        errors.contains("pip install torch torch_geometric"),
        "{errors}"
    );
}
