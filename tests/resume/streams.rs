//! Runs whose stream is not what it was.

use std::fmt::Write as _;
use std::fs;

use crate::place::Place;

const TRAIN: &str = "train --model jodie --device cpu --width 16 --time-width 8 --batch-size 50 \
                     --epochs 1 --checkpoint-every 4 --out run --data";

/// Users and items that meet again and again; every tenth event has a label.
fn stream(events: usize) -> String {
    let mut text = "user_id,item_id,timestamp,state_label,f\n".to_owned();
    for event in 0..events {
        let (user, item, label) = (event % 30, event * 7 % 11, usize::from(event % 10 == 0));
        writeln!(text, "{user},{item},{event},{label},0.5").unwrap();
    }
    text
}

#[test]
fn what_uses_a_run_refuses_a_stream_that_changed_unless_it_is_given() {
    let place = Place::new();
    fs::write(place.path("s.csv"), stream(900)).unwrap();
    place.run(&format!("{TRAIN} s.csv"), 0);
    place.run("eval run", 0);
    let summary = fs::read_to_string(place.path("run/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let hash = summary["data"]["hash"].as_str().unwrap();

    fs::write(place.path("s.csv"), stream(700)).unwrap();
    for arguments in [
        "eval run",
        "train --init run --out other",
        "train --task node --init run --out other",
    ] {
        let said = place.run(arguments, 1);
        assert!(
            said.contains(&format!("trained on a stream with sha256\n  {hash}\n")),
            "{said}"
        );
        assert!(
            said.contains("or give --data s.csv to use the weights on it as it is"),
            "{said}"
        );
    }
    place.run("eval run --data s.csv", 0);

    fs::remove_file(place.path("run/summary.json")).unwrap();
    let said = place.run("train --resume run", 1);
    assert!(said.contains(hash), "{said}");
    assert!(
        said.contains("give the stream that the run began with"),
        "{said}"
    );
}

#[test]
fn a_store_that_was_changed_is_no_stream_to_resume_on() {
    let place = Place::new();
    fs::write(place.path("s.csv"), stream(900)).unwrap();
    place.run("data import s.csv --to s.mspipe", 0);
    place.run(&format!("{TRAIN} s.mspipe"), 0);
    fs::remove_file(place.path("run/summary.json")).unwrap();
    let column = place.path("s.mspipe/edge_features.f32");
    let mut bytes = fs::read(&column).unwrap();
    bytes[1000..1400].fill(0);
    fs::write(column, bytes).unwrap();
    for arguments in ["train --resume run", "eval run"] {
        let said = place.run(arguments, 1);
        assert!(
            said.contains("edge_features.f32: is not as it was written"),
            "{said}"
        );
    }
}
