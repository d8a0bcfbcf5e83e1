//! `--profile` of tiny runs: which operations have a row, that calls and shares add up,
//! and that nothing is there when it was not asked for.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// The summary of a run of two epochs with `arguments`, and what was printed.
fn train(arguments: &[&str]) -> (Value, String) {
    let folder = TempDir::new().unwrap();
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mspipe"))
            .args(["train", "--data", "synthetic:wikipedia:scale=0.02"])
            .args(["--device", "cpu", "--edge-features", "random:8"])
            .args(["--batch-size", "100", "--epochs", "2", "--out", "run"])
            .args([arguments, more].concat())
            .current_dir(folder.path())
            .env("MSPIPE_CACHE_DIR", folder.path().join("cache"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = run(&[]);
    let summary = std::fs::read_to_string(folder.path().join("run/summary.json")).unwrap();
    (serde_json::from_str(&summary).unwrap(), printed)
}

/// Number `key` of each row of `table`, by the row's name.
fn column(profile: &Value, table: &str, key: &str) -> Vec<(String, f64)> {
    let rows = profile[table].as_array().unwrap();
    let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
    rows.iter()
        .filter_map(|row| Some((name(row), row[key].as_f64()?)))
        .collect()
}

fn of(column: &[(String, f64)], name: &str) -> f64 {
    let row = column.iter().find(|(row, _)| row == name);
    row.unwrap_or_else(|| panic!("no row {name} in {column:?}"))
        .1
}

fn shares(profile: &Value) -> f64 {
    ["operations", "remainder"]
        .iter()
        .flat_map(|table| column(profile, table, "share"))
        .map(|(_, share)| share)
        .sum()
}

#[test]
fn a_tgn_has_its_operations_once_an_iteration() {
    let (summary, printed) = train(&["--profile"]);
    let profile = &summary["profile"];
    // 70 % of 3,149 events in batches of 100, twice.
    assert_eq!(profile["iterations"], 2 * 2204_usize.div_ceil(100));
    assert_eq!(profile["time_is"], "work");
    let calls = column(profile, "operations", "calls");
    for name in [
        "temporal_attention",
        "temporal_attention_backward",
        "recurrent_cell",
        "recurrent_cell_backward",
        "gather_rows",
        "gather_rows_backward",
        "link_predictor",
        "link_predictor_backward",
        "memory_gather",
        "memory_update",
        "mail_update",
        "to_heads",
        "from_heads",
    ] {
        assert_eq!(of(&calls, name), 1.0, "{name}");
        assert!(
            printed.contains(&format!("\n  {name} ")),
            "{name} is not printed"
        );
    }
    assert_eq!(of(&calls, "linear"), of(&calls, "linear_backward_weight"));
    // The same work in each iteration but the last of an epoch, which is smaller.
    let flops = of(&column(profile, "operations", "flops"), "adam");
    let bytes = of(&column(profile, "operations", "bytes"), "adam");
    assert!((bytes / flops - 4.0 * 7.0 / 13.0).abs() < 1e-9);
    assert!(
        column(profile, "operations", "launches")
            .iter()
            .all(|(_, n)| *n == 0.0)
    );
    let times = column(profile, "operations", "time_us");
    assert!(times.iter().all(|(_, time)| *time > 0.0), "{times:?}");
    assert!(
        (0.9..1.0 + 1e-9).contains(&shares(profile)),
        "{}",
        shares(profile)
    );
    assert!(profile["machine"]["matmul_gflops"].as_f64().unwrap() > 0.0);
}

#[test]
fn other_threads_have_no_share() {
    let schedule = ["--profile", "--model", "jodie", "--memory", "host"];
    let (summary, _) = train(&[&schedule[..], &["--schedule", "mspipe"]].concat());
    let profile = &summary["profile"];
    assert_eq!(
        of(&column(profile, "operations", "calls"), "recurrent_cell"),
        1.0
    );
    let sampled = &profile["remainder"][2];
    assert_eq!(
        (&sampled["name"], &sampled["share"]),
        (&"sample".into(), &Value::Null)
    );
    assert!(
        (0.0..1.0 + 1e-9).contains(&shares(profile)),
        "{}",
        shares(profile)
    );
}

#[test]
fn without_the_option_there_is_none() {
    let (summary, printed) = train(&[]);
    assert!(summary.get("profile").is_none());
    assert!(!printed.contains("profile"), "{printed}");
}
