//! `mspipe-bench parity` as a user runs it: on recordings of TGL, and on a small recording
//! that is written here, with its numbers worked out by hand.

mod hand_made;

use std::path::{Path, PathBuf};

use hand_made::HandMade;
use mspipe_bench::recording::Recording;

use crate::workdir::{program, run};

fn parity(file: &Path, device: &str) -> (Option<i32>, String) {
    let mut asked = program(&["parity", "--device", device]);
    for (option, variable) in [
        ("--kernels", "MSPIPE_TEST_KERNELS"),
        ("--limits", "MSPIPE_TEST_LIMITS"),
    ] {
        if let Some(value) = std::env::var_os(variable) {
            asked.arg(option).arg(value);
        }
    }
    let (code, stdout, stderr) = run(asked.arg(file));
    (code, stdout + &stderr)
}

/// What the GPU tests run on: the software adapter, unless `MSPIPE_TEST_DEVICE` names another.
fn adapter() -> String {
    std::env::var("MSPIPE_TEST_DEVICE").unwrap_or_else(|_| "software".to_owned())
}

/// The recording `name`, if this machine has it.
fn recorded(name: &str) -> Option<PathBuf> {
    let shared = PathBuf::from("../../shared/data");
    let data = std::env::var_os("MSPIPE_DATA_DIR").map_or(shared, PathBuf::from);
    let file = data.join("../parity").join(name);
    if file.is_file() {
        return Some(file);
    }
    println!("not run: no {} (set MSPIPE_DATA_DIR)", file.display());
    None
}

fn agrees(name: &str, device: &str) {
    let Some(file) = recorded(name) else { return };
    let (code, text) = parity(&file, device);
    println!("{text}");
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn tgn_agrees_with_tgl_on_the_cpu() {
    agrees("tgl_tgn.safetensors", "cpu");
}

#[test]
fn tgn_agrees_with_tgl_on_an_adapter() {
    agrees("tgl_tgn.safetensors", &adapter());
}

#[test]
fn jodie_agrees_with_tgl_on_the_cpu() {
    agrees("tgl_jodie.safetensors", "cpu");
}

#[test]
fn jodie_agrees_with_tgl_on_an_adapter() {
    agrees("tgl_jodie.safetensors", &adapter());
}

#[test]
fn apan_agrees_with_tgl_on_the_cpu() {
    agrees("tgl_apan.safetensors", "cpu");
}

#[test]
fn apan_agrees_with_tgl_on_an_adapter() {
    agrees("tgl_apan.safetensors", &adapter());
}

/// TGL's APAN reads no node features, of any width: its numbers are those without them.
#[test]
fn apan_agrees_with_tgl_on_a_stream_with_node_features() {
    let Some(file) = recorded("tgl_apan.safetensors") else {
        return;
    };
    for width in [7, 16] {
        let mut recording = HandMade::of(&file);
        recording.add_node_features(width);
        let (code, text) = parity(&recording.write("node_features"), "cpu");
        assert_eq!(code, Some(0), "{width}: {text}");
    }
}

#[test]
fn a_hand_made_recording_agrees_with_and_without_features() {
    for (edge_width, node_width) in [(3, 0), (0, 0), (3, 5), (0, 2)] {
        let file = HandMade::new(edge_width, node_width).write("agrees");
        let (code, text) = parity(&file, "cpu");
        assert_eq!(
            code,
            Some(0),
            "edge {edge_width}, node {node_width}: {text}"
        );
    }
}

#[test]
fn widths_of_zero_work_on_an_adapter() {
    let (code, text) = parity(&HandMade::new(0, 0).write("adapter"), &adapter());
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_wrong_number_fails_in_its_own_row() {
    for (tensor, row) in [
        ("b0.logit.pos", "logits of events"),
        ("b0.logit.neg", "logits of negatives"),
        ("b0.loss", "loss"),
        ("b1.grad.edge_predictor.out_fc.bias", "gradients"),
        ("b1.grad.layers.l0h0.w_k.weight", "gradients"),
        ("b0.memory", "memory"),
        ("b1.memory_t", "last update"),
        ("b1.mailbox", "mailbox"),
        ("final.layers.l0h0.w_q.bias", "parameters at the end"),
    ] {
        for error in [1.0, f32::NAN] {
            // A NaN among times is no recording at all.
            if tensor.ends_with("_t") && error.is_nan() {
                continue;
            }
            let mut recording = HandMade::new(3, 0);
            recording.floats_of(tensor, |values| values[0] += error);
            let (code, text) = parity(&recording.write("wrong"), "cpu");
            assert_eq!(code, Some(1), "{tensor} + {error}: {text}");
            let failed: Vec<&str> = text.lines().filter(|line| line.contains("FAIL")).collect();
            let expected = if row == "parameters at the end" { 2 } else { 1 };
            assert_eq!(failed.len(), expected, "{tensor} + {error}: {text}");
            assert!(failed[0].starts_with(row), "{tensor} + {error}: {text}");
        }
    }
}

#[test]
fn a_small_error_of_a_step_is_seen_although_the_weights_are_large() {
    let mut recording = HandMade::new(3, 0);
    recording.floats_of("final.edge_predictor.out_fc.bias", |values| {
        values[0] += 1e-5
    });
    let (code, text) = parity(&recording.write("step"), "cpu");
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches("FAIL").count(), 1, "{text}");
    assert!(text.contains("changes of parameters"), "{text}");
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_the_reason() {
    type Damage = fn(&mut HandMade);
    let cases: [(Damage, &str); 12] = [
        (
            |r| r.set("model", "gcn"),
            "the model 'gcn'; recordings of tgn, jodie and apan can be replayed",
        ),
        (|r| r.remove_setting("dim"), "metadata lack 'dim'"),
        (
            |r| r.set("fanout", "five"),
            "metadata 'fanout': found 'five', expected a number",
        ),
        (|r| r.set("heads", "3"), "heads 3 must divide dim 2"),
        (
            |r| r.set("batches", "9"),
            "9 batches of 2 events are more than 4 events",
        ),
        (
            |r| r.set("nodes", "4"),
            "tensor 'events.dst': found 4, expected 0 to below 4",
        ),
        (|r| r.remove("b1.loss"), "tensor 'b1.loss' is missing"),
        (
            |r| r.set("time", "4"),
            "'layers.l0h0.time_enc.w.bias' has shape [3], the model expects [4]",
        ),
        (
            |r| r.rename("init.edge_predictor.src_fc.bias", "init.x"),
            "'edge_predictor.src_fc.bias' is missing",
        ),
        (
            |r| r.floats_of("events.t", |t| t[1] = 10.5),
            "'events.t': found time 10.5",
        ),
        (
            |r| r.floats_of("b1.nbr.t", |t| t[0] = 11.0),
            "'b1.nbr.t' row 0: found 11, expected the time 10 of event 0",
        ),
        (
            |r| r.rename("b0.roots_t", "b0.roots"),
            "tensor 'b0.roots': found F32, expected [I32, I64]",
        ),
    ];
    for (damage, message) in cases {
        let mut recording = HandMade::new(3, 0);
        damage(&mut recording);
        let (code, text) = parity(&recording.write("refused"), "cpu");
        assert_eq!(code, Some(2), "{message}: {text}");
        assert!(text.contains(message), "expected '{message}' in: {text}");
        assert!(text.contains("refused"), "the file is not named: {text}");
    }
}

#[test]
fn damaged_files_never_panic() {
    let file = HandMade::new(3, 5).write("damaged");
    let bytes = std::fs::read(&file).unwrap();
    // A step that is no multiple of anything in the file.
    for at in (0..bytes.len()).step_by(37) {
        std::fs::write(&file, &bytes[..at]).unwrap();
        assert!(Recording::read(&file).is_err(), "cut to {at} bytes");
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x55;
        std::fs::write(&file, &flipped).unwrap();
        // Any answer will do where the damage makes another valid number.
        drop(Recording::read(&file));
    }
}
