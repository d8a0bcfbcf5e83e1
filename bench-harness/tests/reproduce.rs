//! `mspipe-bench reproduce`, `compare` and `check` as a user runs them, on small generated streams.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::workdir::Workdir;

const SMALL: &str = "--data=synthetic:wikipedia:scale=0.01";

fn reproduce(workdir: &Workdir, more: &[&str]) -> (String, String) {
    let asked = ["reproduce", "--quick", "--device=cpu", "--epochs=1"];
    workdir.ok(&[&asked[..], more].concat())
}

#[test]
fn a_reproduction_goes_on_and_gives_the_same_report() {
    let workdir = Workdir::new("reproduce");
    let asked = [SMALL, "--recipe=staleness-bound,memory-cost,timeline"];
    let (page, progress) = reproduce(&workdir, &asked);
    assert_eq!(
        page.trim(),
        Path::new("reproduction-quick")
            .join("report.html")
            .to_str()
            .unwrap()
    );
    // Five arms of three models; two more of memory-cost are not among them, and timeline's are
    // all there.
    assert!(
        progress.contains("22 runs, 0 of them finished"),
        "{progress}"
    );
    let files = ["report.html", "report.md", "report.json"];
    let reports = || files.map(|name| workdir.read(&format!("reproduction-quick/{name}")));
    let first = reports();
    for text in &first {
        assert!(text.contains("SYNTHETIC") || text.contains("\"synthetic\": true"));
        // Only what could be verified.
        assert!(text.contains("1.50 to 2.45 times"));
    }
    let html = &first[0];
    for part in [
        "<svg class=\"chart\"",
        "wikipedia:scale=0.01 <b class=\"warning\">SYNTHETIC</b>",
        "Should reach: ",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // Charts of the timeline are there, and nothing is loaded from anywhere.
    assert_eq!(html.matches("time, ms").count(), 5);
    for outside in ["<script", "<link", "<img", "src=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }

    let json = workdir.json("reproduction-quick/report.json");
    let outcomes = json["experiments"][1]["outcomes"].as_array().unwrap();
    let of = |arm: &str| {
        let is = |o: &&Value| o["arm"] == arm && o["variant"] == "tgn";
        outcomes.iter().find(is).unwrap().clone()
    };
    assert_eq!(of("k = 3")["k"], 3);
    assert_eq!(of("k = 1")["k"], 1);
    assert_ne!(of("k = 1")["test_ap"], of("k = 3")["test_ap"]);

    goes_on(&workdir, &asked);
    let after = reports();
    let (_, progress) = reproduce(&workdir, &asked);
    assert!(
        progress.contains("22 runs, 22 of them finished"),
        "{progress}"
    );
    assert_eq!(reports(), after);

    let error = workdir.refused(&["reproduce", "--recipe=speedup"]);
    assert!(
        error.contains("no recipe 'speedup'; recipes are speed-up,"),
        "{error}"
    );

    compares(&workdir);
}

#[test]
fn stage_times_say_where_an_early_write_back_suffices() {
    let workdir = Workdir::new("stage-times");
    reproduce(&workdir, &[SMALL, "--recipe=stage-times"]);
    let page = workdir.read("reproduction-quick/report.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|row: &Vec<&str>| row.len() == 10 && row[2] == "sequential")
        .collect();
    let (stages, early): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row[3] == "threads");
    assert_eq!((stages.len(), early.len()), (6, 6));
    let ms = |text: &str| text.parse::<f64>().unwrap();
    let mut on_host = 0;
    for (stages, early) in stages.iter().zip(&early) {
        assert_eq!(stages[1], early[1]);
        if stages[1].contains("device") {
            assert!(early[3..].iter().all(|cell| *cell == "-"), "{early:?}");
            continue;
        }
        on_host += 1;
        let [sample, features, fetch, train, update] = [4, 5, 6, 7, 8].map(|at| ms(stages[at]));
        let [updater, way, busiest, exact] = [3, 4, 5, 7].map(|at| ms(early[at]));
        assert!(0.0 < updater && updater < train, "{stages:?} {early:?}");
        let close = |found: f64, expected: f64| (found - expected).abs() < 0.03;
        assert!(close(way, fetch + updater + update), "{stages:?} {early:?}");
        let lanes = [sample, features + fetch, train, update];
        assert!(
            close(busiest, lanes.into_iter().fold(0.0, f64::max)),
            "{stages:?} {early:?}"
        );
        assert!(close(exact, way.max(busiest)), "{early:?}");
        assert!(way == busiest || early[6] == if way < busiest { "yes" } else { "no" });
    }
    assert_eq!(on_host, 3);
    assert!(page.contains("of 3 settings with memory in RAM"), "{page}");
}

/// A training that was ended before its cell was written is the only one to run again.
fn goes_on(workdir: &Workdir, asked: &[&str]) {
    let cells = workdir
        .0
        .join("reproduction-quick/trainings/synthetic-wikipedia-scale-0.01");
    let mut runs = fs::read_dir(&cells).unwrap();
    let lost = runs.next().unwrap().unwrap().path().join("cell.json");
    fs::remove_file(&lost).unwrap();
    let (_, progress) = reproduce(workdir, &[asked, &["--finished"]].concat());
    assert!(!lost.exists(), "{progress}");
    let (_, progress) = reproduce(workdir, asked);
    assert!(
        progress.contains("22 runs, 21 of them finished"),
        "{progress}"
    );
    assert!(progress.contains("[1/1] "), "{progress}");
}

/// A measurement with itself, with another copy, and with one of other settings.
fn compares(workdir: &Workdir) {
    let (table, _) = workdir.ok(&[
        "compare",
        "reproduction-quick",
        "reproduction-quick/report.json",
    ]);
    assert_eq!(table.matches("no change").count(), 22, "{table}");
    assert_eq!(table.matches(" same").count(), 22, "{table}");

    let mut faster = workdir.json("reproduction-quick/report.json");
    for cell in faster["cells"].as_array_mut().unwrap() {
        let speed = cell["epochs"][0]["events_per_s"].as_f64().unwrap();
        cell["epochs"][0]["events_per_s"] = (speed * 1.5).into();
    }
    fs::write(workdir.0.join("faster.json"), faster.to_string()).unwrap();
    let report = "reproduction-quick/report.json";
    let (table, _) = workdir.ok(&["compare", report, "faster.json"]);
    assert_eq!(table.matches(" faster ").count(), 22, "{table}");
    let (json, _) = workdir.ok(&["compare", "faster.json", report, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rows"][0]["speed"], "lower");

    let mut other = faster;
    for cell in other["cells"].as_array_mut().unwrap() {
        cell["context"]["machine"] = "another machine".into();
    }
    other["cells"][0]["config"]["fanout"] = 5.into();
    fs::write(workdir.0.join("other.json"), other.to_string()).unwrap();
    let error = workdir.refused(&["compare", report, "other.json"]);
    for part in ["1 settings are in ", "another machine", "--force"] {
        assert!(error.contains(part), "{error}");
    }
    let (table, _) = workdir.ok(&["compare", report, "other.json", "--force"]);
    assert!(
        table.contains("FORCED  ") && table.contains("another machine"),
        "{table}"
    );
    let error = workdir.refused(&["compare", "cache", report]);
    assert!(error.contains("there is no finished run"), "{error}");
}

#[test]
fn a_reproduction_keeps_to_a_folder_of_its_own() {
    let workdir = Workdir::new("own-folder");
    let asked = [
        "reproduce",
        "--quick",
        "--device=cpu",
        "--finished",
        "--out=r",
    ];
    let page = workdir.0.join("r/report.html");
    fs::create_dir(workdir.0.join("r")).unwrap();
    fs::write(&page, "mine").unwrap();
    let error = workdir.refused(&asked);
    assert!(
        error.contains("r: is not empty and holds no reproduction"),
        "{error}"
    );
    fs::create_dir(workdir.0.join("r/trainings")).unwrap();
    let error = workdir.refused(&asked);
    assert!(
        error.contains("r/report.html: does not belong to a reproduction"),
        "{error}"
    );
    assert_eq!(workdir.read("r/report.html"), "mine");
    fs::remove_file(&page).unwrap();
    // The report of nothing does not stand in the way of what is to come.
    workdir.ok(&asked);
    workdir.ok(&asked);

    for command in ["speed", "startup"] {
        let error = workdir.refused(&[command, "--data=synthetic:mooc:scale=0.001", "--out=r"]);
        assert!(
            error.contains("--out: this command keeps nothing"),
            "{error}"
        );
    }
}

#[test]
fn a_check_fails_when_a_number_leaves_its_band() {
    let workdir = Workdir::new("check");
    let recipe = ["check", "--device=cpu", "--recipe", "jodie, exact-overlap"];
    let (table, _) = workdir.ok(&recipe);
    assert!(table.contains("\npassed"), "{table}");
    assert!(!table.contains("OUT OF ITS BAND"), "{table}");

    let recorded = Path::new("check/bands.json");
    let mut bands: Value = serde_json::from_str(&fs::read_to_string(recorded).unwrap()).unwrap();
    let recipes = bands["recipes"].as_array_mut().unwrap();
    let own = recipes
        .iter_mut()
        .find(|known| known["name"] == "jodie, exact-overlap")
        .unwrap();
    let quantities = own["quantities"].as_array_mut().unwrap();
    let ages = quantities
        .iter_mut()
        .find(|quantity| quantity["name"] == "ages of rows")
        .unwrap();
    let rows = ages["values"][0].as_f64().unwrap();
    ages["values"][0] = (rows + 1.0).into();
    fs::write(workdir.0.join("bands.json"), bands.to_string()).unwrap();
    let (code, table, _) = workdir.run(&[&recipe[..], &["--bands=bands.json"]].concat());
    assert_eq!(code, Some(1), "{table}");
    assert_eq!(table.matches("OUT OF ITS BAND").count(), 1, "{table}");
    assert!(table.contains("FAILED"), "{table}");

    let error = workdir.refused(&["check", "--recipe=tgm"]);
    assert!(error.contains("there is no recipe 'tgm'"), "{error}");
    let error = workdir.refused(&[&recipe[..], &["--bands=none.json"]].concat());
    assert!(error.contains("record it with check --record"), "{error}");
}
