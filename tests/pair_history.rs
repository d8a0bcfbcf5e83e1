//! Pair history as a user meets it: in weights files, in evaluations, beside TGL's weights.

use std::collections::BTreeMap;

use mspipe::model::tgl_weights::NamedTensor;
use mspipe::weights;
use serde_json::Value;

use crate::program::Program;

/// 1,575 events, a model of seconds.
const SMALL: &str = "--data=synthetic:wikipedia:scale=0.01 --device=cpu --edge-features=random:4 \
                     --batch-size=100 --width=16 --time-width=8 --fanout=4 --epochs=1";

fn ok(program: &Program, arguments: &str) -> (String, String) {
    let ended = program.run(arguments);
    assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.stderr);
    (ended.stdout, ended.stderr)
}

fn evaluated(program: &Program, arguments: &str) -> Value {
    let (json, _) = ok(program, &format!("eval {arguments} --json"));
    serde_json::from_str(&json).unwrap()
}

fn tensors(program: &Program, file: &str) -> BTreeMap<String, NamedTensor> {
    weights::open(&program.path(file)).unwrap().tensors
}

#[test]
fn the_encoding_goes_with_the_weights() {
    let program = Program::new();
    let (said, _) = ok(&program, &format!("train {SMALL} --out=run"));
    assert!(said.contains("counts    AP "), "{said}");
    assert_eq!(program.json("run/config.json")["pair_history"], "on");
    let own = tensors(&program, "run/weights.safetensors");
    let width = own["edge_predictor.history_fc.weight"].shape[1];
    for (name, length) in [("times", 5), ("mean", width), ("deviation", width)] {
        let tensor = &own[&format!("pair_history.{name}")];
        assert_eq!(tensor.shape, [length], "{name}");
        assert!(tensor.values.iter().any(|&value| value != 0.0), "{name}");
    }
    // On a part of the stream, whose own encoding would be another.
    let head = "--limit-events=700";
    ok(&program, &format!("train --init=run {head} --out=again"));
    let again = tensors(&program, "again/weights.safetensors");
    for name in ["times", "mean", "deviation"] {
        let name = format!("pair_history.{name}");
        assert_eq!(again[&name], own[&name], "{name}");
    }
    ok(&program, &format!("train {SMALL} {head} --out=fresh"));
    let fresh = tensors(&program, "fresh/weights.safetensors");
    assert_ne!(fresh["pair_history.mean"], own["pair_history.mean"]);

    // Another encoding, other scores; none, and the file is refused.
    let plain = evaluated(&program, "run");
    let mut moved = own.clone();
    let mean = moved.get_mut("pair_history.mean").unwrap();
    mean.values.iter_mut().for_each(|value| *value += 0.5);
    weights::write(&program.path("moved.safetensors"), &moved, None).unwrap();
    let of_file = |file: &str| format!("--init={file} {SMALL}");
    let of_moved = evaluated(&program, &of_file("moved.safetensors"));
    assert_ne!(of_moved["test"]["ap"], plain["test"]["ap"]);
    let mut short = own;
    short.get_mut("pair_history.mean").unwrap().values.pop();
    short.get_mut("pair_history.mean").unwrap().shape = vec![width - 1];
    weights::write(&program.path("short.safetensors"), &short, None).unwrap();
    let refused = program.run(&format!("eval {}", of_file("short.safetensors")));
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let expected = format!("have [5, {}, {width}] numbers", width - 1);
    assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
}

#[test]
fn the_counting_baseline_is_there_without_a_model_that_counts() {
    let program = Program::new();
    ok(&program, &format!("train {SMALL} --out=on"));
    ok(
        &program,
        &format!("train {SMALL} --out=off --pair-history=off"),
    );
    let [on, off] = ["on", "off"].map(|run| program.json(&format!("{run}/summary.json")));
    assert_eq!(on["counts"], off["counts"]);
    assert_ne!(on["test"], off["test"]);
    assert!(on["counts"]["test"]["ap"].as_f64() > Some(0.5));
    for run in ["on", "off"] {
        let again = evaluated(&program, run);
        assert_eq!(again["counts"], on["counts"], "{run}");
    }
    let report = std::fs::read_to_string(program.path("off/report.html")).unwrap();
    assert!(report.contains("AP of counts"));
}

/// As TGL's never do.
#[test]
fn weights_without_pair_history_turn_it_off() {
    let program = Program::new();
    ok(
        &program,
        &format!("train {SMALL} --out=run --pair-history=off"),
    );
    ok(&program, "export run --to=w.safetensors");
    let from_file = format!("train --init=w.safetensors {SMALL}");
    let (said, _) = ok(&program, &format!("{from_file} --out=next"));
    assert!(
        said.contains("pair history is off: these weights know none"),
        "{said}"
    );
    assert_eq!(program.json("next/config.json")["pair_history"], "off");
    let refused = program.run(&format!("{from_file} --out=on --pair-history=on"));
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("give --pair-history off"),
        "{}",
        refused.stderr
    );
    // The other way round the weights turn it on, whatever the protocol's default.
    ok(&program, &format!("train {SMALL} --out=knows"));
    ok(&program, "export knows --to=knows.safetensors");
    let tgl = format!("train --init=knows.safetensors {SMALL} --protocol=tgl --out=tgl");
    ok(&program, &tgl);
    assert_eq!(program.json("tgl/config.json")["pair_history"], "on");
}
