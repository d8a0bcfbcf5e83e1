//! `score`, `top-k`, `embed`, `update` and `eval --scores` as a user runs them, on text ids.

use std::fs;

use mspipe::{LoadOptions, Predictor};
use mspipe_datasets::whole_file::Existing;
use serde_json::Value;

use crate::program::{Ended, Program};

/// Users and items with names; each user goes through three items of its own.
fn shop(events: std::ops::Range<usize>) -> String {
    let mut text = "user,item,timestamp\n".to_owned();
    for event in events {
        let user = event * 7 % 20;
        let item = (user + event / 20 % 3 * 5) % 15;
        text.push_str(&format!("u{user:02},item {item},{}.5\n", event * 60));
    }
    text
}

const TRAIN: &str = "train --data shop.csv --device cpu --width 16 --time-width 8 --fanout 4 --epochs 2 \
                     --batch-size 50 --hide-batch on --out run";

/// A run on the shop's first 900 events.
fn trained() -> Program {
    let program = Program::new();
    fs::write(program.path("shop.csv"), shop(0..900)).unwrap();
    ok(program.run(TRAIN));
    program
}

fn ok(ended: Ended) -> Ended {
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended
}

/// What a command that is refused says.
fn refused(program: &Program, arguments: &str) -> String {
    let ended = program.run(arguments);
    assert_eq!(ended.code, Some(1), "{arguments}: {}", ended.stdout);
    ended.stderr
}

fn columns(table: &str, wanted: &[&str]) -> Vec<Vec<String>> {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = |name: &&str| names.iter().position(|n| n == name).unwrap();
    let places: Vec<usize> = wanted.iter().map(at).collect();
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            places.iter().map(|&at| fields[at].to_owned()).collect()
        })
        .collect()
}

#[test]
fn from_a_csv_with_names_to_the_ten_best_answers() {
    let program = trained();
    let best = ok(program.run("top-k run --sources u03 --k 10"));
    let rows = columns(&best.stdout, &["src", "rank", "dst", "score"]);
    assert_eq!(rows.len(), 10, "{}", best.stdout);
    assert!(
        rows.iter()
            .all(|row| row[0] == "u03" && row[2].starts_with("item "))
    );
    let scores: Vec<f32> = rows.iter().map(|row| row[3].parse().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    // The same pairs in a file, backwards, at the same time: the same numbers in the file's order.
    let mut pairs = "user,item\n".to_owned();
    for row in rows.iter().rev() {
        pairs.push_str(&format!("{},{}\n", row[0], row[2]));
    }
    pairs.push_str("nobody,item 3\n");
    fs::write(program.path("pairs.csv"), &pairs).unwrap();
    let scored = ok(program.run("score run --pairs pairs.csv"));
    let answers = columns(&scored.stdout, &["dst", "score", "known"]);
    assert_eq!(answers.len(), 11);
    for (answer, row) in answers.iter().zip(rows.iter().rev()) {
        assert_eq!((&answer[0], &answer[1]), (&row[2], &row[3]));
        assert_eq!(answer[2], "both");
    }
    assert_eq!(answers[10][2], "dst");
    ok(program.run("score run --pairs pairs.csv --out scores.parquet"));
    let again =
        ok(program.run("score run --pairs scores.parquet --columns src=src,dst=dst,time=time"));
    assert_eq!(again.stdout, scored.stdout);

    let unseen = ok(program.run("top-k run --sources u03,nobody --k 99 --exclude-seen --json"));
    let unseen: Value = serde_json::from_str(&unseen.stdout).unwrap();
    // Each user has met three of fifteen items.
    assert_eq!(unseen[0]["best"].as_array().unwrap().len(), 12);
    assert_eq!(unseen[1]["best"].as_array().unwrap().len(), 15);
    assert_eq!(
        (&unseen[0]["known"], &unseen[1]["known"]),
        (&true.into(), &false.into())
    );
    assert!(unseen[0]["best"][0]["dst"].is_string());
}

#[test]
fn embeddings_are_the_same_in_each_format() {
    let program = trained();
    fs::write(program.path("items.csv"), "item\nitem 3\nitem 0\n").unwrap();
    let few = ok(program.run("embed run --nodes items.csv --to items.npy --json"));
    let few: Value = serde_json::from_str(&few.stdout).unwrap();
    assert_eq!((&few["nodes"], &few["unknown"]), (&2.into(), &0.into()));
    ok(program.run("embed run --to all.csv"));
    let npy = fs::read(program.path("items.npy")).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    assert!(String::from_utf8_lossy(&npy[..header]).contains("'shape': (2, 16)"));
    let values: Vec<f32> = npy[header..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let all = fs::read_to_string(program.path("all.csv")).unwrap();
    let rows = columns(&all, &["node", "side", "e0", "e15"]);
    assert_eq!(rows.len(), 35);
    let of = |item: &str| {
        let row = rows.iter().find(|row| row[0] == item).unwrap();
        assert_eq!(row[1], "destination");
        [&row[2], &row[3]].map(|text| text.parse::<f32>().unwrap())
    };
    assert_eq!(of("item 3"), [values[0], values[15]]);
    assert_eq!(of("item 0"), [values[16], values[31]]);
    let said = refused(&program, "embed run --to all.csv");
    assert!(
        said.contains("all.csv") && said.contains("--force"),
        "{said}"
    );
    let said = refused(&program, "embed run --to all.txt");
    assert!(said.contains(".csv and .parquet are known"), "{said}");
}

#[test]
fn scores_by_command_are_those_of_an_evaluation() {
    let program = trained();
    ok(program.run("eval run --test-only --scores scores.csv"));
    let table = fs::read_to_string(program.path("scores.csv")).unwrap();
    let names = ["negatives", "event", "src", "dst", "time", "kind", "logit"];
    let all = columns(&table, &names);
    let own: Vec<&Vec<String>> = all.iter().filter(|row| row[0] == "destinations").collect();
    // 135 test events, each with a negative; and as many with the other pool.
    assert_eq!((own.len(), all.len()), (270, 540));

    let run = LoadOptions {
        data: Some(program.path("shop.csv").display().to_string()),
        before_test: true,
        ..LoadOptions::default()
    };
    let before = Predictor::load_with(program.path("run"), &run).unwrap();
    before
        .save(&program.path("0.safetensors"), true, Existing::Keep)
        .unwrap();
    let first = before.events();
    for (nth, batch) in own.chunks(100).enumerate() {
        let mut pairs = "src,dst,time\n".to_owned();
        let mut events = "src,dst,time\n".to_owned();
        for row in batch {
            let line = format!("{},{},{}\n", row[2], row[3], row[4]);
            pairs.push_str(&line);
            if row[5] == "event" {
                events.push_str(&line);
            }
        }
        fs::write(program.path("pairs.csv"), pairs).unwrap();
        fs::write(program.path("events.csv"), events).unwrap();
        let scored = ok(program.run(&format!("score {nth}.safetensors --pairs pairs.csv")));
        let logits = columns(&scored.stdout, &["logit"]);
        let expected: Vec<&String> = batch.iter().map(|row| &row[6]).collect();
        let found: Vec<&String> = logits.iter().map(|row| &row[0]).collect();
        assert_eq!(found, expected, "batch {nth}");
        let next = nth + 1;
        let update =
            format!("update {nth}.safetensors --events events.csv --to {next}.safetensors --json");
        let updated: Value = serde_json::from_str(&ok(program.run(&update)).stdout).unwrap();
        assert_eq!(updated["events"], batch.len() / 2);
        assert_eq!(
            updated["total_events"],
            first + (100 * nth + batch.len()) / 2
        );
        assert_eq!(
            (&updated["new_nodes"], &updated["late_refused"]),
            (&0.into(), &0.into())
        );
    }
    // After the last event, the state that was updated is that of the run.
    let best =
        |what: &str| ok(program.run(&format!("top-k {what} --sources u00,u19 --k 15"))).stdout;
    assert_eq!(best("3.safetensors"), best("run"));
}

#[test]
fn updates_grow_and_count_and_keep_what_is_there() {
    let program = trained();
    // 900 events end at 53940.5.
    let late = "u00,item 1,53000\nu01,item 2,54000\nnew user,item 3,54001\nu02,new item,54002\n";
    fs::write(
        program.path("new.csv"),
        format!("user,item,timestamp\n{late}"),
    )
    .unwrap();
    let update = |late: &str, to: &str| {
        let ended = ok(program.run(&format!(
            "update run --events new.csv --late {late} --to {to} --json"
        )));
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    let refusing = update("refuse", "a.safetensors");
    let accepting = update("accept", "b.safetensors");
    let counts = |of: &Value| {
        [
            "events",
            "late_accepted",
            "late_refused",
            "new_nodes",
            "total_events",
        ]
        .map(|name| of[name].as_u64().unwrap())
    };
    assert_eq!(counts(&refusing), [3, 0, 1, 2, 903]);
    assert_eq!(counts(&accepting), [4, 1, 0, 2, 904]);
    assert_eq!(refusing["last_time"], "54002");

    fs::write(
        program.path("pairs.csv"),
        "src,dst\nnew user,new item\nu00,new item\n",
    )
    .unwrap();
    let scored = ok(program.run("score a.safetensors --pairs pairs.csv"));
    let answers = columns(&scored.stdout, &["known"]);
    assert!(
        answers.iter().all(|row| row[0] == "both"),
        "{}",
        scored.stdout
    );
    let before = ok(program.run("score run --pairs pairs.csv"));
    assert_eq!(columns(&before.stdout, &["known"]), [["none"], ["src"]]);

    // Further events on top of the state, and the state of the run is as it was.
    fs::write(
        program.path("more.csv"),
        "user,item,timestamp\nu05,new item,54100\n",
    )
    .unwrap();
    ok(program.run("update a.safetensors --events more.csv --to c.safetensors"));
    let said = refused(
        &program,
        "update a.safetensors --events more.csv --to c.safetensors",
    );
    assert!(
        said.contains("c.safetensors") && said.contains("--force"),
        "{said}"
    );
    ok(program.run("update a.safetensors --events more.csv --to c.safetensors --force"));
    let after = ok(program.run("score run --pairs pairs.csv"));
    assert_eq!(after.stdout, before.stdout);
}

#[test]
fn training_goes_on_with_a_longer_stream() {
    let program = trained();
    fs::write(program.path("longer.csv"), shop(0..1500)).unwrap();
    let go_on = "train --init run --data longer.csv --epochs 1 --out longer";
    let said = ok(program.run(go_on));
    assert!(said.stdout.contains("1,500 events"), "{}", said.stdout);
    let first = |run: &str| -> f64 {
        let metrics = fs::read_to_string(program.path(run).join("metrics.jsonl")).unwrap();
        let line: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        line["loss"].as_f64().unwrap()
    };
    // It begins with what the run has learnt.
    assert!(
        first("longer") < first("run"),
        "{} {}",
        first("longer"),
        first("run")
    );
    let settings = program.json("longer/config.json");
    assert_eq!(
        (&settings["width"], &settings["hide_batch"]),
        (&16.into(), &"on".into())
    );
    assert_eq!(program.json("run/summary.json")["data"]["events"], 900);
    assert_eq!(program.json("longer/summary.json")["data"]["events"], 1500);
    let best = ok(program.run("top-k longer --sources u03 --k 3"));
    assert_eq!(best.stdout.lines().count(), 4);
}

#[test]
fn a_state_that_can_not_be_used_says_why() {
    let program = trained();
    ok(program.run("export run --self-contained --to alone.safetensors"));
    let before = ok(program.run("top-k run --sources u07 --k 3")).stdout;

    // A newer stream is told from another one.
    fs::write(program.path("shop.csv"), shop(0..950)).unwrap();
    let said = refused(&program, "top-k run --sources u07");
    for part in [
        "900 events",
        "950 now",
        "mspipe update",
        "mspipe train --init",
    ] {
        assert!(said.contains(part), "{said}");
    }
    fs::write(program.path("shop.csv"), shop(20..920)).unwrap();
    let said = refused(&program, "top-k run --sources u07");
    assert!(
        said.contains("sha256") && said.contains("--self-contained"),
        "{said}"
    );
    fs::remove_file(program.path("shop.csv")).unwrap();
    assert!(refused(&program, "top-k run --sources u07").contains("shop.csv"));
    assert_eq!(
        ok(program.run("top-k alone.safetensors --sources u07 --k 3")).stdout,
        before
    );

    // Damage, and what is something else.
    let mut bytes = fs::read(program.path("alone.safetensors")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(program.path("damaged.safetensors"), &bytes).unwrap();
    let said = refused(&program, "top-k damaged.safetensors --sources u07");
    assert!(said.contains("damaged"), "{said}");
    fs::write(program.path("cut.safetensors"), &bytes[..middle]).unwrap();
    assert!(refused(&program, "top-k cut.safetensors --sources u07").contains("cut off"));
    let said = refused(&program, "top-k run/checkpoint.safetensors --sources u07");
    assert!(said.contains("is a checkpoint"), "{said}");
    assert!(refused(&program, "top-k run/weights.safetensors --sources u07").contains("neither"));
    assert!(refused(&program, "top-k nowhere --sources u07").contains("no such file"));
}

#[test]
fn rows_that_can_not_be_asked_are_named() {
    let program = trained();
    let ask = |text: &str, more: &str| {
        fs::write(program.path("pairs.csv"), text).unwrap();
        refused(&program, &format!("score run --pairs pairs.csv {more}"))
    };
    let past = ask("user,item,timestamp\nu00,item 1,60000\nu00,item 1,17\n", "");
    assert!(
        past.contains("pairs.csv:3") && past.contains("precedes 53940.5"),
        "{past}"
    );
    let fine = ask("user,item,timestamp\nu00,item 1,60000.25\n", "");
    assert!(
        fine.contains("pairs.csv:2") && fine.contains("at most 1 decimal,"),
        "{fine}"
    );
    let no_time = ask("user,item,timestamp\nu00,item 1,soon\n", "");
    assert!(
        no_time.contains("pairs.csv:2") && no_time.contains("decimal number"),
        "{no_time}"
    );
    let empty = ask("user,item\n,item 1\n", "");
    assert!(empty.contains("pairs.csv:2"), "{empty}");
    let short = ask("user,item\nu00\n", "");
    assert!(
        short.contains("pairs.csv:2") && short.contains("fields"),
        "{short}"
    );
    let unnamed = ask("u00,item 1\n", "");
    assert!(unnamed.contains("--no-header"), "{unnamed}");
    let twice = ask("user,item,timestamp\nu00,item 1,60000\n", "--at 70000");
    assert!(twice.contains("--at"), "{twice}");
    let early = ask("user,item\nu00,item 1\n", "--at 7");
    assert!(early.contains("precedes 53940.5"), "{early}");

    fs::write(program.path("pairs.csv"), "u00,item 1\nu01,item 2\n").unwrap();
    let scored = ok(program.run("score run --pairs pairs.csv --no-header --at 60000"));
    assert_eq!(
        columns(&scored.stdout, &["src", "time"]),
        [["u00", "60000"], ["u01", "60000"]]
    );
    let said = refused(&program, "score run --pairs pairs.csv --no-header --json");
    assert!(said.contains("--out FILE"), "{said}");
}
