//! `peers` end to end, where there is a Python with PyG.
//!
//! `MSPIPE_PEERS_PYTHON` names it; without it the test prints `not run`.

use serde_json::Value;

use crate::workdir::{program, run};

fn peers(python: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let stream = ["--data", "synthetic:wikipedia:scale=0.01"];
    let settings = ["--epochs", "2", "--batch-size", "100", "--threads", "2"];
    let asked = ["peers", "--python", python];
    run(program(&asked).args(stream).args(settings).args(arguments))
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
        assert_eq!(ended, Some(0), "{errors}");
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
    assert_eq!(ended, Some(2));
    assert!(
        errors.contains("pip install torch torch_geometric"),
        "{errors}"
    );
}
