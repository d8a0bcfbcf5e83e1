//! The program as a user runs it: runs end to end, determinism, bad input.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mspipe::config::RunConfig;
use mspipe::device::{BUILT_FOR_GPUS, DeviceChoice};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with its own cache, in which the program runs.
struct Workdir {
    folder: TempDir,
}

impl Workdir {
    fn new() -> Workdir {
        Workdir {
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mspipe"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("MSPIPE_CACHE_DIR", self.path("cache"))
            .output()
            .unwrap()
    }

    /// Standard output of a command that must succeed.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must fail.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}\nstdout:\n{}\nstderr:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A training of seconds: 3,149 events.
const SMALL: [&str; 9] = [
    "train",
    "--data",
    "synthetic:wikipedia:scale=0.02",
    "--device",
    "cpu",
    "--edge-features",
    "random:8",
    "--batch-size",
    "100",
];

fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().copied().chain(more.iter().copied()).collect()
}

fn losses(metrics: &Path) -> Vec<String> {
    fs::read_to_string(metrics)
        .unwrap()
        .lines()
        .filter(|line| line.contains("\"loss\""))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_small_training_learns_and_writes_what_the_interface_names() {
    let workdir = Workdir::new();
    let stdout = workdir.ok(&small(&[
        "--epochs",
        "3",
        "--learning-rate",
        "1e-3",
        "--out",
        "run",
    ]));
    assert!(stdout.contains("SYNTHETIC"), "{stdout}");

    let summary = workdir.json("run/summary.json");
    assert_eq!(summary["data"]["synthetic"], true);
    assert_eq!(summary["data"]["events"], 3149);
    assert_eq!(summary["data"]["hash"].as_str().unwrap().len(), 64);
    for (key, value) in [
        ("model", "tgn"),
        ("schedule", "auto"),
        ("protocol", "default"),
    ] {
        assert_eq!(summary[key], value);
    }
    assert_eq!(summary["device"]["backend"], "cpu");
    assert_eq!(summary["seed"], 0);
    assert_eq!(summary["batch_size"], 100);

    let page = fs::read_to_string(workdir.path("run/report.html")).unwrap();
    let ap = format!("{:.4}", summary["test"]["ap"].as_f64().unwrap());
    for part in [
        "SYNTHETIC",
        "Training loss",
        "Staleness: k = 1 in every iteration",
        "time, ms",
        &ap,
    ] {
        assert!(page.contains(part), "{part}");
    }
    let epochs = summary["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), 3);
    for epoch in epochs {
        for key in ["train_loss", "train_seconds", "events_per_s"] {
            assert!(epoch[key].as_f64().unwrap() > 0.0, "{key} of {epoch}");
        }
        for key in ["ap", "ap_batch_mean", "auc"] {
            assert!(
                epoch["val"][key].as_f64().unwrap() > 0.0,
                "{key} of {epoch}"
            );
        }
    }
    let loss = |epoch: usize| epochs[epoch]["train_loss"].as_f64().unwrap();
    assert!(loss(2) < loss(0), "the loss must fall: {epochs:?}");
    tells_of_both_pools(&summary);
    for stage in [
        "sample",
        "fetch_features",
        "fetch_memory",
        "train",
        "update_memory",
    ] {
        assert!(
            summary["stage_seconds"][stage].as_f64().unwrap() > 0.0,
            "{stage}"
        );
    }

    tells_of_the_machine(&summary, &page);
    let config = workdir.json("run/config.json");
    assert_eq!(config["edge_features"], "random:8");
    assert_eq!(losses(&workdir.path("run/metrics.jsonl")).len(), 3 * 23);
}

/// What was taken of the machine is measured, and stands beside what was estimated.
fn tells_of_the_machine(summary: &Value, page: &str) {
    let used = &summary["machine_use"];
    let train = summary["stage_seconds"]["train"].as_f64().unwrap();
    let epochs = summary["epochs"].as_array().unwrap();
    let seconds = epochs
        .iter()
        .map(|epoch| epoch["train_seconds"].as_f64().unwrap());
    let busy = used["device_busy"].as_f64().unwrap();
    let expected = train / seconds.sum::<f64>();
    assert!((busy - expected).abs() < 1e-9, "{used}: {expected}");
    assert!(busy > 0.05 && used["peak_device_bytes"].is_null(), "{used}");
    assert!(page.contains("device busy"));
    if cfg!(target_os = "linux") {
        let bytes = |key: &str| used[key].as_u64().unwrap();
        let (peak, estimated) = (bytes("peak_ram_bytes"), bytes("estimated_ram_bytes"));
        // Mapped pages of the program and the stream come on top of what is estimated.
        let mapped = 200 << 20;
        assert!(peak > 10 << 20 && peak < estimated + mapped, "{used}");
    }
}

/// The test part with negatives of either pool, unseen nodes and the baseline beside them.
fn tells_of_both_pools(summary: &Value) {
    assert_eq!(summary["task"], "link");
    for (test, pool) in [("test", "destinations"), ("test_other_pool", "all-nodes")] {
        let test = &summary[test];
        assert!(test["ap"].as_f64().unwrap() > 0.6, "{summary}");
        assert_eq!(test["negatives"], pool);
        let inductive = &test["inductive"];
        assert!(inductive["events"].as_u64().unwrap() > 100, "{inductive}");
        assert!(inductive["new_nodes"].as_u64().unwrap() > 50, "{inductive}");
        assert!(inductive["auc"].as_f64().unwrap() > 0.5, "{inductive}");
        assert_ne!(inductive["ap"], test["ap"]);
    }
    assert_ne!(summary["test"]["ap"], summary["test_other_pool"]["ap"]);
    for key in ["val_ap", "test_ap", "test_other_pool_ap"] {
        assert!(summary["edgebank"][key].as_f64().unwrap() > 0.5);
    }
}

#[test]
fn the_same_seed_gives_the_same_losses_whatever_the_threads() {
    let workdir = Workdir::new();
    for (out, threads, seed) in [
        ("a", "1", "7"),
        ("b", "2", "7"),
        ("c", "2", "7"),
        ("d", "2", "8"),
    ] {
        workdir.ok(&small(&[
            "--epochs",
            "1",
            "--out",
            out,
            "--threads",
            threads,
            "--seed",
            seed,
            // Ranking lays out on the host while the device computes: with one thread, in turns.
            "--protocol",
            "tgb",
            "--candidates",
            "20",
            "--eval-seed",
            seed,
        ]));
    }
    let of = |run: &str| losses(&workdir.path(run).join("metrics.jsonl"));
    assert_eq!(of("a"), of("b"));
    assert_eq!(of("b"), of("c"));
    assert_ne!(of("c"), of("d"));
    let val = |run: &str| workdir.json(&format!("{run}/summary.json"))["epochs"][0]["val"].clone();
    assert_eq!(val("a"), val("b"));
    assert!(val("a")["ranking"]["mrr"].is_number());
}

#[test]
fn testing_after_each_epoch_changes_nothing_else() {
    let workdir = Workdir::new();
    workdir.ok(&small(&["--epochs", "2", "--out", "plain"]));
    workdir.ok(&small(&[
        "--epochs",
        "2",
        "--out",
        "tested",
        "--eval-test-each-epoch",
    ]));
    let (plain, tested) = (
        workdir.json("plain/summary.json"),
        workdir.json("tested/summary.json"),
    );
    assert_eq!(plain["test"], tested["test"]);
    for epoch in 0..2 {
        assert_eq!(
            plain["epochs"][epoch]["val"],
            tested["epochs"][epoch]["val"]
        );
        assert!(plain["epochs"][epoch].get("test").is_none());
        assert!(tested["epochs"][epoch]["test"]["ap"].is_number());
    }
    let best = tested["best_epoch"].as_u64().unwrap() as usize;
    assert_eq!(tested["epochs"][best - 1]["test"], tested["test"]);
}

#[test]
fn the_tgl_protocol_runs_and_differs() {
    let workdir = Workdir::new();
    workdir.ok(&small(&[
        "--epochs",
        "1",
        "--out",
        "tgl",
        "--protocol",
        "tgl",
    ]));
    workdir.ok(&small(&["--epochs", "1", "--out", "default"]));
    let test = |run: &str| workdir.json(&format!("{run}/summary.json"))["test"].clone();
    assert_ne!(test("tgl")["ap"], test("default")["ap"]);
    assert_eq!(test("tgl")["negatives"], "all-nodes");
    let summary = workdir.json("tgl/summary.json");
    assert_eq!(summary["test_other_pool"]["negatives"], "destinations");
}

#[test]
fn model_options_change_what_is_learned() {
    let workdir = Workdir::new();
    let first_losses = |options: &[&str], out: &str| {
        let arguments = [options, &["--epochs", "1", "--out", out]].concat();
        workdir.ok(&small(&arguments));
        losses(&workdir.path(out).join("metrics.jsonl"))
    };
    let plain = first_losses(&[], "plain");
    for (option, value) in [
        ("--memory-write", "read"),
        ("--time-delta", "query"),
        ("--sampler", "uniform"),
        ("--node-features", "random:8"),
        ("--fanout", "3"),
    ] {
        let out = option.trim_start_matches('-');
        assert_ne!(first_losses(&[option, value], out), plain, "{option}");
    }
}

/// The numbers of an evaluation.
fn evaluated(workdir: &Workdir, arguments: &[&str]) -> [Value; 4] {
    let stdout = workdir.ok(&[&["eval", "--json"], arguments].concat());
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["task"], "eval");
    ["val", "test", "test_other_pool", "edgebank"].map(|key| json[key].clone())
}

#[test]
fn exported_weights_evaluate_to_the_same_digits() {
    for model in ["tgn", "jodie", "apan"] {
        let workdir = Workdir::new();
        let options = ["--model", model, "--seed", "3", "--eval-seed", "3"];
        workdir.ok(&small(
            &[&options[..], &["--epochs", "1", "--out", "run"]].concat(),
        ));
        workdir.ok(&["export", "run", "--to", "w.safetensors"]);
        let of_run = evaluated(&workdir, &["run"]);
        let [no_val, test, ..] = evaluated(&workdir, &["run", "--test-only"]);
        assert_eq!((&no_val, &test), (&Value::Null, &of_run[1]), "{model}");
        let as_trained = [&SMALL[1..], &options].concat();
        let of_file = [&["--init", "w.safetensors"], &as_trained[..]].concat();
        assert_eq!(evaluated(&workdir, &of_file), of_run, "{model}");
        assert!(of_run[0]["ap"].is_number());
        // The evaluation of a run differs by its memory alone.
        let summary = workdir.json("run/summary.json");
        assert_eq!(summary["edgebank"], of_run[3]);
        let difference =
            summary["test"]["ap"].as_f64().unwrap() - of_run[1]["ap"].as_f64().unwrap();
        assert!(difference.abs() < 0.05, "{difference}");

        // Options come before the run's own settings, and another seed draws other features.
        assert_ne!(evaluated(&workdir, &["run", "--seed", "4"]), of_run);
        let small_batches = evaluated(&workdir, &["run", "--batch-size", "50"]);
        assert_ne!(small_batches, of_run);
    }
}

#[test]
fn training_goes_on_from_given_weights() {
    let workdir = Workdir::new();
    workdir.ok(&small(&[
        "--epochs",
        "2",
        "--out",
        "run",
        "--learning-rate",
        "1e-3",
    ]));
    workdir.ok(&["train", "--init", "run", "--epochs", "1", "--out", "more"]);
    let mean_loss = |run: &str, epoch: usize| {
        workdir.json(&format!("{run}/summary.json"))["epochs"][epoch]["train_loss"]
            .as_f64()
            .unwrap()
    };
    assert!(mean_loss("more", 0) < mean_loss("run", 1));
    let config = workdir.json("more/config.json");
    assert_eq!(config["edge_features"], "random:8");
    assert_eq!(config["learning_rate"], 1e-3);
    assert_eq!(config["init"], "run");

    for (arguments, expected) in [
        (vec!["eval"], "no weights are given"),
        (vec!["eval", "run", "--init", "run"], "give one of them"),
        (vec!["eval", "missing"], "missing: holds no run"),
        (
            vec!["eval", "--init", "run/weights.safetensors"],
            "--data is missing",
        ),
        (
            vec!["eval", "run", "--model", "jodie"],
            "has the weights of tgn with 2 heads, the settings say jodie with 2 heads",
        ),
        (
            vec!["eval", "run", "--edge-features", "zero"],
            "'memory_updater.updater.weight_ih' has shape [300, 308], the model expects [300, 300]",
        ),
        (vec!["eval", "run", "--data", "none.csv"], "none.csv"),
        (
            vec!["train", "--init", "cache", "--data", SMALL[2]],
            "cache: holds no run (there is no ",
        ),
    ] {
        let stderr = workdir.fails(&arguments);
        assert!(stderr.contains(expected), "{arguments:?}:\n{stderr}");
    }
}

#[test]
fn json_goes_to_standard_output_alone() {
    let workdir = Workdir::new();
    let stdout = workdir.ok(&small(&["--epochs", "1", "--out", "run", "--json"]));
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(printed, workdir.json("run/summary.json"));
}

#[test]
fn a_resume_takes_what_it_advises() {
    let workdir = Workdir::new();
    let mut config = RunConfig::default();
    config.source.data = "synthetic:wikipedia:scale=0.002".to_owned();
    config.device = DeviceChoice::Cpu.into();
    (config.model.width, config.model.time_width) = (16, 8);
    config.training.epochs = 1;
    fs::create_dir(workdir.path("run")).unwrap();
    workdir.write("run/config.json", &serde_json::to_string(&config).unwrap());
    let refused = workdir.fails(&["train", "--resume", "run", "--seed", "3"]);
    assert!(
        refused.contains("--seed can't be given with --resume"),
        "{refused}"
    );
    let of_machine = [
        "--no-memory-check",
        "--threads=1",
        "--checkpoint-every=2",
        "--profile",
    ];
    workdir.ok(&[&["train", "--resume", "run"], &of_machine[..]].concat());
    assert!(workdir.path("run/summary.json").exists());
}

#[test]
fn every_command_says_where_it_looked_for_a_run() {
    let workdir = Workdir::new();
    fs::create_dir(workdir.path("empty")).unwrap();
    for run in ["nope", "empty"] {
        let looked_for = Path::new(run).join("config.json").display().to_string();
        for command in [
            &["train", "--resume", run][..],
            &["train", "--init", run],
            &["eval", run],
            &["eval", "--init", run],
            &["audit", run],
            &["export", run, "--to=a.safetensors"],
        ] {
            let error = workdir.fails(command);
            assert!(
                error.contains(&format!("{run}: holds no run (there is no {looked_for})")),
                "{command:?}: {error}"
            );
            assert!(
                error.contains("give a folder that mspipe train has written"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_finished_run_is_not_overwritten() {
    let workdir = Workdir::new();
    workdir.ok(&small(&["--epochs", "1", "--out", "run"]));
    let stderr = workdir.fails(&small(&["--epochs", "1", "--out", "run"]));
    assert!(
        stderr.contains("run: holds a run that has ended"),
        "{stderr}"
    );
}

#[test]
fn bad_input_is_told_with_place_finding_and_remedy() {
    let workdir = Workdir::new();
    let header = "user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n";
    let unsorted = workdir.write("unsorted.csv", &format!("{header}0,0,5,0,0\n1,0,3,0,0\n"));
    let text = workdir.write("text.csv", &format!("{header}0,0,5,0,0\n1,0,7,0,zero\n"));
    let tiny = workdir.write("tiny.csv", &format!("{header}0,0,5,0,0\n1,0,7,0,0\n"));
    for (arguments, expected) in [
        (
            vec!["train", "--data", unsorted.as_str()],
            "unsorted.csv:3: ",
        ),
        (vec!["train", "--data", text.as_str()], "text.csv:3: "),
        (vec!["train", "--data", "missing.csv"], "missing.csv"),
        (vec!["train", "--data", tiny.as_str()], "too small"),
        (vec!["train"], "--data is missing"),
        (
            vec!["train", "--data", "synthetic:wikipedia", "--task", "node"],
            "--init is missing",
        ),
        (
            vec!["train", "--data", "synthetic:wikipedia", "--model", "gcn"],
            "invalid value 'gcn' for '--model <MODEL>'",
        ),
        (
            vec![
                "train",
                "--data",
                "synthetic:wikipedia:scale=0.01",
                "--device",
                "gpu:99",
            ],
            match BUILT_FOR_GPUS {
                true => "no GPU 99",
                false => "--device gpu:99: this program was built without the feature 'gpu'",
            },
        ),
        (
            vec!["train", "--data", "synthetic:wikipedia", "--device", "tpu"],
            "expected auto, cpu, gpu, gpu:N, gpu:local-rank, software or software:N",
        ),
        (
            vec![
                "train",
                "--data",
                "synthetic:wikipedia:scale=0.02",
                "--memory-write",
                "read",
                "--time-delta",
                "query",
            ],
            "--memory-write is read with --time-delta query",
        ),
        (
            vec!["train", "--data", "synthetic:wikipedia", "--heads", "3"],
            "a multiple of --heads",
        ),
    ] {
        let stderr = workdir.fails(&arguments);
        assert!(stderr.contains(expected), "{arguments:?}:\n{stderr}");
    }
}

/// A library of this name that is none stands before the system's.
#[cfg(all(target_os = "linux", feature = "gpu"))]
#[test]
fn without_a_vulkan_loader_it_is_told_what_to_install() {
    let workdir = Workdir::new();
    workdir.write("libvulkan.so.1", "");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mspipe"))
            .args(arguments)
            .env("LD_LIBRARY_PATH", workdir.path(""))
            .env("MSPIPE_CACHE_DIR", workdir.path("cache"))
            .output()
            .unwrap();
        text(&output)
    };
    let missing = "the Vulkan loader, libvulkan.so.1, can't be loaded (Debian and Ubuntu: apt-get install \
                   libvulkan1; Fedora: dnf install vulkan-loader), and without it no driver is found";
    let devices = run(&["devices"]);
    assert!(devices.contains(&format!("Here {missing}.")), "{devices}");
    let stream = "synthetic:wikipedia:scale=0.002";
    let refused = run(&["train", "--data", stream, "--device", "gpu"]);
    let expected = format!(
        "error: no GPU 0: this machine offers no adapter: {missing}; 'mspipe devices' lists what there is, \
         '--device cpu' needs no GPU"
    );
    assert!(refused.contains(&expected), "{refused}");
}
