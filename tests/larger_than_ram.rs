//! What a run takes of memory, told in advance; features that stay packed.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The program in a folder of its own.
struct Program {
    folder: TempDir,
}

impl Program {
    fn new() -> Program {
        Program {
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mspipe"))
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env("MSPIPE_CACHE_DIR", self.path("cache"))
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &str) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a dry run tells, whether or not it would fit.
    fn footprint(&self, options: &str) -> Value {
        let command = format!("train --dry-run --json --device cpu {options}");
        serde_json::from_slice(&self.run(&command).stdout).unwrap()
    }
}

const STREAM: &str = "--data synthetic:gdelt:scale=0.0001";

fn share(footprint: &Value, what: &str) -> u64 {
    let shares = footprint["shares"].as_array().unwrap();
    let found = shares.iter().find(|share| share["what"] == what);
    found.map_or(0, |share| {
        share["ram_bytes"].as_u64().unwrap() + share["device_bytes"].as_u64().unwrap()
    })
}

#[test]
fn a_dry_run_counts_structures_and_leaves_nothing() {
    let program = Program::new();
    let plain = program.footprint(STREAM);
    // 19,129 events, two entries of 16 bytes each; 167 nodes.
    let graph = share(&plain, "graph (T-CSR)");
    assert!((612_128..650_000).contains(&graph), "{graph}");
    // Memories of 100 and mail of 386 numbers: three, and two while one is begun again.
    assert_eq!(share(&plain, "node memory"), 5 * 167 * 400);
    assert_eq!(share(&plain, "mailbox"), 5 * 167 * 4 * 386);
    assert_eq!(share(&plain, "checkpoint"), 2 * 167 * 4 * 486);
    assert_eq!(share(&plain, "random features"), 0);
    assert_eq!(plain["mapped_bytes"], 19_129 * (16 + 24) + 167 * 52);
    let all: u64 = plain["shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| share["ram_bytes"].as_u64().unwrap() + share["device_bytes"].as_u64().unwrap())
        .sum();
    let told = plain["ram_bytes"].as_u64().unwrap();
    let threads = std::thread::available_parallelism().unwrap().get() as u64;
    let program_bytes = (130 + 8 * threads) << 20;
    assert!(
        (all..all + program_bytes).contains(&told),
        "{told} of {all}"
    );

    let random = program.footprint(&format!("{STREAM} --edge-features random:172"));
    assert_eq!(share(&random, "random features"), 19_129 * 172 * 4);
    let apan = program.footprint(&format!("{STREAM} --model apan --mail-slots 7"));
    assert_eq!(share(&apan, "mailbox"), 7 * share(&plain, "mailbox"));
    let host = program.footprint(&format!("{STREAM} --memory host"));
    assert_eq!(share(&host, "node memory"), 3 * 167 * 400);
    assert!(!program.path("runs").exists());

    let text = program.run(&format!("train --dry-run --device cpu {STREAM}"));
    let text = String::from_utf8(text.stdout).unwrap();
    for line in [
        "training on the CPU",
        "graph (T-CSR)",
        "available",
        "mapped, released",
    ] {
        assert!(text.contains(line), "{line} of\n{text}");
    }
    let info = program.json("data info synthetic:gdelt:scale=0.0001 --json");
    assert_eq!(info["events"], 19_129);
    assert_eq!(share(&info["training"], "graph (T-CSR)"), graph);
}

/// Trains and returns the most RAM that it had resident, in bytes, as the system counts it.
#[cfg(target_os = "linux")]
fn peak_bytes(program: &Program, arguments: &str) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mspipe"))
        .args(arguments.split_whitespace())
        .current_dir(program.folder.path())
        .env("MSPIPE_CACHE_DIR", program.path("cache"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // The line is gone once the process has ended, and is a peak that never falls before.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = kib.map_or(peak, |kib| 1024 * kib);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{arguments}");
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Parameters, mail, pairs that are ranked, layers: each is the most of one run.
#[cfg(target_os = "linux")]
#[test]
fn a_training_takes_no_more_than_is_told() {
    let program = Program::new();
    for settings in [
        "--model jodie --width 1024 --limit-events 800 --epochs 2",
        "--model jodie --epochs 1 --width 172 --protocol tgb --batch-size 50 --memory host --threads 4",
        "--model apan --epochs 1 --width 100 --mail-slots 10 --checkpoint-every 5 --schedule mspipe",
        "--model tgn --epochs 1 --layers 2 --width 32 --batch-size 300 --memory host --threads 1",
    ] {
        let settings = format!("--data synthetic:wikipedia:scale=0.01 --device cpu {settings}");
        let told = program.json(&format!("train --dry-run --json {settings}"));
        let told = told["ram_bytes"].as_u64().unwrap();
        let took = peak_bytes(&program, &format!("train {settings}"));
        assert!(told >= took, "{settings}: told {told}, took {took}");
        assert!(told < 6 * took, "{settings}: told {told}, took {took}");
    }
}

/// Room for 2 MB: the features of nodes are there whole, a seventh of those of events.
#[test]
fn a_part_of_the_features_on_the_device_is_told() {
    let program = Program::new();
    let options = format!("{STREAM} --edge-features random:172 --features device:2MB");
    let told = program.footprint(&options);
    let node = 167 * 52;
    let edge = (2_000_000 - node) / 688;
    let known = 4 * 19_129 + 12 * edge;
    let found = share(&told, "features on the device");
    assert_eq!(found, 688 * edge + node + known + node);
    assert_eq!(
        told["features"],
        json!([
            {"table": "edge features", "rows": 19_129, "on_device": edge, "bytes": 688 * edge},
            {"table": "node features", "rows": 167, "on_device": 167, "bytes": node},
        ])
    );
    let text = program.run(&format!("train --dry-run --device cpu {options}"));
    let text = String::from_utf8(text.stdout).unwrap();
    let line = "of edge features, 2,894 of 19,129 rows on the device, those that were wanted last";
    assert!(text.contains(line), "{text}");

    let run =
        format!("train --device cpu --limit-events 3000 --epochs 1 --width 8 {options} --out run");
    let ran = program.run(&run);
    let said = String::from_utf8(ran.stderr).unwrap() + &String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}");
    let summary = fs::read_to_string(program.path("run/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let used = &summary["machine_use"]["features"][0];
    let of = |key: &str| used[key].as_u64().unwrap();
    assert_eq!(
        [of("rows"), of("on_device"), of("bytes")],
        [3000, edge, 688 * edge]
    );
    // Its rows are read again and again, and each at most as often as all are displaced.
    assert!(
        of("found") > of("wanted") / 2 && of("wanted") - of("found") >= edge,
        "{used}"
    );
    assert_eq!(
        of("sent_bytes"),
        4 * of("wanted") + 692 * (of("wanted") - of("found"))
    );
    assert_eq!(of("divided"), 0);
    let share = 100.0 * of("found") as f64 / of("wanted") as f64;
    let line = format!(
        "features  edge features on the device, 2,894 of 3,000 rows (1.90 MiB): {share:.1} % of what batches read was there"
    );
    assert!(said.contains(&line), "{line}\n{said}");
    assert!(
        said.contains("features  node features on the device, all 167 rows"),
        "{said}"
    );
    let page = fs::read_to_string(program.path("run/report.html")).unwrap();
    assert!(page.contains("2,894 of 3,000 rows on the device"));

    let small = options.replace("device:2MB", "device:64KiB");
    let refused = program.run(&format!("train --device cpu {small}"));
    let said = String::from_utf8(refused.stderr).unwrap();
    for part in [
        "--features device:64KiB has room for 82 of the 19,129 rows of edge features, and a batch may read 18,600",
        "give it",
        "--features host",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// 2.5 10^11 bytes of random features are more than a machine of today has.
#[test]
fn what_cannot_fit_is_refused_before_it_is_allocated() {
    let program = Program::new();
    let settings = "--device cpu --edge-features random:16384 --data synthetic:gdelt:scale=0.02";
    for command in ["train --dry-run", "train"] {
        let output = program.run(&format!("{command} {settings}"));
        assert!(!output.status.success(), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        for part in [
            "this run needs up to ",
            "are available",
            "random features",
            "try --edge-features zero",
            "--no-memory-check",
        ] {
            assert!(stderr.contains(part), "{part} of\n{stderr}");
        }
    }
    assert!(!program.path("runs").exists());
}

/// The same booleans as a file of bools, which stay packed until they are on the device, and as
/// one of floats.
#[test]
fn packed_features_train_to_the_bits_of_unpacked_ones() {
    let program = Program::new();
    let (events, nodes, width) = (400usize, 30usize, 35usize);
    let stream: String = (0..events)
        .map(|event| format!("{} {} {event}\n", event % 17, 17 + event * 7 % 13))
        .collect();
    fs::write(program.path("events.txt"), stream).unwrap();
    let bit = |table: usize, row: usize, column: usize| (row * 5 + column * (3 + table)) % 7 < 2;
    for (name, table, rows) in [("edge", 0, events), ("node", 1, nodes)] {
        let bits: Vec<bool> = (0..rows * width)
            .map(|i| bit(table, i / width, i % width))
            .collect();
        let shape = format!("({rows}, {width})");
        let bytes: Vec<u8> = bits.iter().map(|&bit| u8::from(bit)).collect();
        write_npy(
            &program.path(&format!("{name}_bits.npy")),
            "|b1",
            &shape,
            &bytes,
        );
        let floats: Vec<u8> = bits
            .iter()
            .flat_map(|&bit| f32::from(u8::from(bit)).to_le_bytes())
            .collect();
        write_npy(
            &program.path(&format!("{name}_floats.npy")),
            "<f4",
            &shape,
            &floats,
        );
    }
    for kind in ["bits", "floats"] {
        let import = format!(
            "data import events.txt --to {kind}.mspipe --edge-features edge_{kind}.npy --node-features node_{kind}.npy"
        );
        assert!(program.run(&import).status.success(), "{import}");
        let info = program.json(&format!("data info {kind}.mspipe --json"));
        let expected = if kind == "bits" { "bits" } else { "f32" };
        assert_eq!(info["edge_features"]["type"], expected);
    }
    for settings in [
        "--model tgn",
        "--model tgn --layers 2 --fanout 4 --memory host --schedule prefetch",
        "--model apan --memory host",
        // Room for 75 rows of bits on the device, or for 4 of floats.
        "--model apan --memory host --features device:1200 --no-memory-check",
    ] {
        let losses = |kind: &str| {
            let out = format!("{kind}-{}", settings.replace([' ', '-'], ""));
            let train = format!(
                "train --data {kind}.mspipe --device cpu --epochs 1 --batch-size 37 --width 16 --time-width 8 --out {out} {settings}"
            );
            let output = program.run(&train);
            assert!(output.status.success(), "{train}: {output:?}");
            let text = fs::read_to_string(program.path(&out).join("metrics.jsonl")).unwrap();
            let lines = text.lines().filter(|line| line.contains("\"loss\""));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let packed = losses("bits");
        assert_eq!(packed.len(), 8);
        assert_eq!(packed, losses("floats"), "{settings}");
    }
}

fn write_npy(path: &std::path::Path, descr: &str, shape: &str, data: &[u8]) {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}
