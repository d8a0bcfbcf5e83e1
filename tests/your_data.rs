//! Files as people have them: what the commands say of them, and that a run keeps how they are read.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::place::Place;

const SMALL: &str = "--device cpu --width 8 --time-width 4 --batch-size 100 --epochs 1";

/// 240 events of users and items with the same ids, a column of text, and a hole.
fn table() -> String {
    let mut text = String::from("when,amount,user_id,item_id,note\n");
    for event in 0..240 {
        let amount = if event == 0 {
            String::new()
        } else {
            format!("{}.5", event % 7)
        };
        text += &format!("{event},{amount},{},{},x\n", event % 11, event * 3 % 7);
    }
    text
}

fn run(place: &Place, arguments: &str) -> Output {
    let mut command = place.command(env!("CARGO_BIN_EXE_mspipe"));
    // Data sets are looked for in the cache, whatever the tester's own folder is.
    command.env_remove("MSPIPE_DATA_DIR");
    command.args(arguments.split_whitespace()).output().unwrap()
}

/// As [`run`], with `input` on standard input.
fn run_with(place: &Place, arguments: &str, input: &str) -> Output {
    let mut child = place
        .command(env!("CARGO_BIN_EXE_mspipe"))
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a command that must succeed says: standard output, then standard error.
fn said(place: &Place, arguments: &str) -> [String; 2] {
    let output = run(place, arguments);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(
        output.status.success(),
        "{arguments}: {}",
        text(&output.stderr)
    );
    [text(&output.stdout), text(&output.stderr)]
}

#[test]
fn every_command_tells_what_is_left_out_and_a_run_keeps_how_its_file_is_read() {
    let place = Place::new();
    fs::write(place.path("t.csv"), table()).unwrap();
    let options = "--columns time=when --missing zero --bipartite no --split 0.6,0.2";
    let left_out = "columns that are left out: `note` (`x` on line 2 is no number)";
    let filled = "values of features that are missing: 1 (1 in `amount`); each is 0";
    for command in [
        format!("data info t.csv {options}"),
        format!("data import t.csv {options} --to t.mspipe"),
        format!("data check t.csv {options}"),
        "data info t.mspipe".to_owned(),
        format!("train --data t.csv {options} {SMALL} --out run"),
        "eval run".to_owned(),
        "data export t.mspipe --to t.parquet".to_owned(),
    ] {
        let [text, _] = said(&place, &command);
        assert!(text.contains(left_out), "{command}: {text}");
        assert!(text.contains(filled), "{command}: {text}");
    }
    // Where standard output is data, standard error has them.
    let [json, notes] = said(
        &place,
        &format!("train --data t.csv {options} {SMALL} --out two --json"),
    );
    assert!(serde_json::from_str::<Value>(&json).is_ok());
    assert!(notes.contains(left_out), "{notes}");

    let config: Value =
        serde_json::from_str(&fs::read_to_string(place.path("run/config.json")).unwrap()).unwrap();
    let reading = &config["reading"];
    assert_eq!(reading["columns"], "time=when");
    assert_eq!(
        (&reading["missing"], &reading["split"]),
        (&"zero".into(), &"0.6,0.2".into())
    );
    let [text, _] = said(&place, "eval run");
    assert!(
        text.contains("144 training, 48 validation, 48 test events"),
        "{text}"
    );
    assert!(text.contains("11 nodes"), "{text}");
    let [text, _] = said(
        &place,
        "data check t.csv --columns time=when --missing zero",
    );
    let columns = "--columns src=user_id,dst=item_id,time=when,features=amount";
    assert!(text.contains(columns), "{text}");
    let [text, _] = said(&place, "data info t.parquet");
    let [first, _] = said(&place, "data info t.mspipe");
    let hash = |text: &str| {
        text.lines()
            .find(|l| l.contains("sha256"))
            .map(str::to_owned)
    };
    assert_eq!(hash(&text), hash(&first));
}

#[test]
fn every_command_reads_standard_input_once() {
    let place = Place::new();
    let table = table().replace(",,", ",1,").replace("when,", "time,");
    fs::write(place.path("t.csv"), &table).unwrap();
    let sha = |text: &str| {
        let line = text.lines().find(|line| line.contains("sha256"));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let [named, _] = said(&place, "data info t.csv");
    for (command, words) in [
        ("data info -", "origin           stdin"),
        ("data import -", "imported - into stdin.mspipe"),
        ("data check -", "`note` (`x` on line 2 is no number)"),
        ("data export - --to t.parquet", "exported 240 events of -"),
        (&format!("train --data - {SMALL} --out run"), "240 events"),
        ("eval run", "36 test events"),
    ] {
        let output = run_with(&place, command, &table);
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{command}: {errors}");
        assert!(text.contains(words), "{command}: {text}");
        if command == "data info -" {
            assert_eq!(sha(&text), sha(&named));
        }
    }
    for file in ["stdin.mspipe", "t.parquet"] {
        assert_eq!(
            sha(&said(&place, &format!("data info {file}"))[0]),
            sha(&named)
        );
    }
    for (command, input, words) in [
        (
            "data info - --edge-features -",
            "",
            "`-` stands twice for standard input",
        ),
        ("data info -", "", "stdin: nothing came"),
        (
            "data info -",
            "src,dst,time\n1,2,3\n1,2\n",
            "stdin:3: 2 fields",
        ),
        (
            "eval run",
            &table.replace("1.5", "2.5"),
            "trained on a stream with sha256",
        ),
    ] {
        let output = run_with(&place, command, input);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{command}");
        assert!(errors.contains(words), "{command}: {errors}");
    }
}

/// The archive of `your_data/make.py`, under the name of TGB's.
#[test]
fn a_data_set_of_tgb_brings_its_candidates() {
    let place = Place::new();
    let folder = place.path("cache/data/tgbl-wiki");
    fs::create_dir_all(&folder).unwrap();
    let archive = include_bytes!("your_data/tgbl-wiki-v2.zip");
    fs::write(folder.join("tgbl-wiki-v2.zip"), archive).unwrap();
    let [info, _] = said(&place, "data info tgbl-wiki");
    let note = "of the archive's 3 files tgbl-wiki_edgelist_v2.csv was read";
    assert!(info.contains(note), "{info}");
    let tgb = format!("train --data tgbl-wiki --protocol tgb {SMALL} --json");
    let named = "--candidates cache/data/tgbl-wiki/tgbl-wiki-v2.zip";
    let mrr = |arguments: &str| {
        let [json, _] = said(&place, arguments);
        let report: Value = serde_json::from_str(&json).unwrap();
        let mut found = Vec::new();
        collect(&report, "mrr", &mut found);
        assert!(!found.is_empty(), "{json}");
        found
    };
    let recorded = mrr(&format!("{tgb} --out a"));
    assert_eq!(recorded, mrr(&format!("{tgb} {named} --out b")));
    assert_ne!(recorded, mrr(&format!("{tgb} --candidates 6 --out c")));
}

/// Every value of `key`, however deep.
fn collect(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    found.push(value.to_string());
                }
                collect(value, key, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, key, found)),
        _ => {}
    }
}

#[test]
fn edge_features_are_standardised_by_the_run_s_own_training_part() {
    let place = Place::new();
    let wei = |scale: f64| {
        let mut text = String::from("src,dst,time,wei,constant\n");
        for event in 0..240 {
            let amount = scale * f64::from(1 + event * 7 % 13);
            text += &format!(
                "{},{},{event},{amount:e},4\n",
                event % 11,
                20 + event * 3 % 7
            );
        }
        text
    };
    fs::write(place.path("a.csv"), wei(1e18)).unwrap();
    // The same but for the unit, by a power of two, so that no bit of what is standardised differs.
    fs::write(place.path("b.csv"), wei(1e18 / 4096.0)).unwrap();
    let [text, _] = said(&place, &format!("train --data a.csv {SMALL} --out plain"));
    assert!(
        text.contains("--edge-features standardize scales each column"),
        "{text}"
    );
    let losses = |run: &str| {
        let text = fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap();
        let lines = text.lines().filter(|line| line.contains("\"loss\""));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for data in ["a", "b"] {
        let options = "--edge-features standardize";
        let [text, _] = said(
            &place,
            &format!("train --data {data}.csv {SMALL} {options} --out {data}"),
        );
        assert!(!text.contains("scales each column"), "{text}");
    }
    assert_eq!(losses("a"), losses("b"));
    assert_ne!(losses("a"), losses("plain"));
    let config: Value =
        serde_json::from_str(&fs::read_to_string(place.path("a/config.json")).unwrap()).unwrap();
    let scale = config["edge_scale"].as_array().unwrap();
    assert!(
        scale.len() == 2 && scale[1] == "mean 4e0 deviation 0e0",
        "{scale:?}"
    );
    // On another stream, weights keep the scale that they were trained with.
    said(&place, "train --init a --data b.csv --epochs 1 --out more");
    let more: Value =
        serde_json::from_str(&fs::read_to_string(place.path("more/config.json")).unwrap()).unwrap();
    assert_eq!(more["edge_scale"], config["edge_scale"]);
    said(&place, "eval a");
    said(&place, "audit a --limit-events 200 --probes 1");
    let refused = run(
        &place,
        &format!("train --data a.csv {SMALL} --node-features standardize"),
    );
    assert!(!refused.status.success());
    // Where there is nothing to scale, that is said.
    let text: String = wei(1.0)
        .lines()
        .map(|line| line.splitn(4, ',').take(3).collect::<Vec<_>>().join(",") + "\n")
        .collect();
    fs::write(place.path("plain.csv"), text).unwrap();
    let options = "--edge-features standardize --out none";
    let [text, _] = said(&place, &format!("train --data plain.csv {SMALL} {options}"));
    assert!(
        text.contains("standardize has no effect: the stream has no edge features"),
        "{text}"
    );
}
