//! The examples, run in an empty folder each.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What an example prints; none where it is not built (`cargo test --test tests` builds none).
fn run(name: &str) -> Option<String> {
    let programs = Path::new(env!("CARGO_BIN_EXE_mspipe")).parent().unwrap();
    let name = format!("examples/{name}{}", std::env::consts::EXE_SUFFIX);
    let program = programs.join(&name);
    if !program.exists() {
        println!("not run: {name} is not built (cargo build --release --examples)");
        return None;
    }
    let folder = TempDir::new().unwrap();
    let output = Command::new(program).current_dir(&folder).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {printed}{said}");
    Some(printed)
}

/// The number after `label` in `printed`.
fn number(printed: &str, label: &str) -> f64 {
    let rest = printed.split(label).nth(1).unwrap().trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    rest[..end.unwrap_or(rest.len())].parse().unwrap()
}

#[test]
fn train_tgn_trains_and_measures() {
    let Some(printed) = run("train_tgn") else {
        return;
    };
    for label in ["\ntest AP", "\nevaluated: test AP"] {
        assert!(number(&printed, label) > 0.5, "{printed}");
    }
}

#[test]
fn custom_stream_learns_its_own_events() {
    let Some(printed) = run("custom_stream") else {
        return;
    };
    assert!(number(&printed, "best validation AP") > 0.7, "{printed}");
}

#[test]
fn predict_answers_and_follows() {
    let Some(printed) = run("predict") else {
        return;
    };
    assert!(
        printed.contains("followed 60 events, 1 new node"),
        "{printed}"
    );
    assert!(printed.contains("known [true, true]"), "{printed}");
    let before = number(&printed, "with score");
    assert!((0.5..=1.0).contains(&before), "{printed}");
}
