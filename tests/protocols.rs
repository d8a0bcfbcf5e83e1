//! Protocols and the audit as a user runs them.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The program in a folder of its own.
struct Program(TempDir);

impl Program {
    fn new() -> Program {
        Program(TempDir::new().unwrap())
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mspipe"))
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .env("MSPIPE_CACHE_DIR", self.0.path().join("cache"))
            .output()
            .unwrap()
    }

    /// What a command prints that must end with `code`.
    fn prints(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
        String::from_utf8(output.stdout).unwrap() + &errors
    }

    fn json(&self, arguments: &str) -> Value {
        let output = self.run(&format!("{arguments} --json"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// 1,575 events, a model of seconds.
const SMALL: &str = "--data synthetic:wikipedia:scale=0.01 --device cpu --edge-features random:4 \
                     --batch-size 100 --width 16 --time-width 8 --fanout 4 --epochs 1";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn tgb_ranks_in_training_and_evaluation_alike() {
    let program = Program::new();
    let train = format!("train {SMALL} --protocol tgb --candidates 7 --out run");
    let trained = program.json(&train);
    assert_eq!(trained["protocol"], "tgb");
    let evaluated = program.json("eval run");
    for summary in [&trained, &evaluated] {
        let ranking = &summary["test"]["ranking"];
        assert_eq!(number(&ranking["candidates"]), 7.0);
        let mrr = number(&ranking["mrr"]);
        // Ranks are 1 to 8.
        assert!(mrr > 0.125 && mrr < 1.0, "{ranking}");
        assert!(number(&ranking["inductive_mrr"]) > 0.125, "{ranking}");
        let hits = ["hits@1", "hits@3", "hits@10"].map(|k| number(&ranking[k]));
        assert!(0.0 < hits[0] && hits[0] < hits[1], "{ranking}");
        // The reciprocal rank of a hit of 1 is 1, that of the others at most two thirds.
        assert!(
            hits[0] < mrr && mrr <= hits[0] + (1.0 - hits[0]) * 2.0 / 3.0,
            "{ranking}"
        );
        assert_eq!(hits[2], 1.0, "all of 8 are among the first 10");
        assert_eq!(number(&ranking["inductive_hits"]["hits@10"]), 1.0);
        assert!(summary["test_other_pool"].get("ranking").is_none());
        let bank = &summary["edgebank"];
        for mrr in [
            &bank["val_mrr"],
            &bank["test_mrr"],
            &bank["window"]["val_mrr"],
            &bank["window"]["test_mrr"],
        ] {
            assert!(number(mrr) > 0.2, "{bank}");
        }
        for hits in [&bank["test_hits"], &bank["window"]["test_hits"]] {
            assert_eq!(number(&hits["hits@10"]), 1.0, "{bank}");
        }
    }
    assert_eq!(trained["edgebank"], evaluated["edgebank"]);
    assert!(trained["epochs"][0]["val"]["ranking"]["mrr"].is_number());

    // Other candidates, another rank; the same weights and negatives, the same AP.
    let more = program.json("eval run --candidates 1000");
    let of = |summary: &Value, key: &str| summary["test"][key].clone();
    assert_eq!(of(&more, "ap"), of(&evaluated, "ap"));
    let among = number(&more["test"]["ranking"]["candidates"]);
    assert!(
        among > 20.0 && among < 1000.0,
        "as many as there are: {among}"
    );
    assert!(number(&more["test"]["ranking"]["mrr"]) < number(&evaluated["test"]["ranking"]["mrr"]));

    // Recorded lists: one destination for each event of both parts.
    let lists: String = (0..1575).map(|event| format!("{event},800\n")).collect();
    fs::write(program.0.path().join("lists.csv"), lists).unwrap();
    let listed = program.json("eval run --candidates lists.csv");
    assert_eq!(number(&listed["test"]["ranking"]["candidates"]), 1.0);
    let text = program.prints("eval run", 0);
    assert!(
        text.contains(" MRR 0.") && text.contains(" hits@10 1.0000 among 7 candidates"),
        "{text}"
    );
    let page = fs::read_to_string(program.0.path().join("run/report.html")).unwrap();
    assert!(page.contains("hits@3") && page.contains("rank among 7 candidates"));
    assert!(
        text.contains("within 15 % of the training part's time?"),
        "{text}"
    );
}

#[test]
fn dyglib_tests_with_pairs_of_the_past() {
    let program = Program::new();
    let summary = program.json(&format!("train {SMALL} --protocol dyglib --out run"));
    for (key, negatives) in [
        ("test_historical", "historical"),
        ("test_inductive", "inductive"),
    ] {
        assert_eq!(summary[key]["negatives"], negatives);
        assert!(number(&summary[key]["ap"]) > 0.0);
        assert!(number(&summary[key]["inductive"]["events"]) > 0.0);
    }
    let bank = &summary["edgebank"];
    assert!(
        number(&bank["test_historical_ap"]) < number(&bank["test_ap"]),
        "{bank}"
    );
    assert!(bank["window"]["test_inductive_ap"].is_number());
    let text = program.prints("eval run", 0);
    for negatives in [
        "pairs of the past\n",
        "pairs of the past that training never saw\n",
    ] {
        assert!(
            text.contains(&format!("negatives from {negatives}")),
            "{text}"
        );
    }
}

#[test]
fn candidates_that_do_not_fit_are_refused() {
    let program = Program::new();
    let refused = |options: &str| program.prints(&format!("train {SMALL} {options}"), 1);
    let text = refused("--candidates 5 --out x");
    assert!(
        text.contains("--candidates is 5, expected --protocol tgb with it"),
        "{text}"
    );
    fs::write(program.0.path().join("few.csv"), "1200,800\n").unwrap();
    let text = refused("--protocol tgb --candidates few.csv --out x");
    assert!(text.contains("candidates: event 1103 has none"), "{text}");
    let text = refused("--protocol tgb --candidates missing.npy --out y");
    assert!(text.contains("missing.npy"), "{text}");
}

/// An audit cuts and changes the stream: its hash is not that of the run's weights.
#[test]
fn the_weights_of_a_run_are_audited() {
    let program = Program::new();
    program.prints(&format!("train {SMALL} --limit-events 400 --out run"), 0);
    let text = program.prints("audit run --limit-events 300 --probes 1", 0);
    assert!(text.contains("no finding"), "{text}");
}

#[test]
fn an_audit_prints_its_checks_and_its_exit_code() {
    let program = Program::new();
    let audit = format!("audit {SMALL} --limit-events 400 --probes 2");
    let text = program.prints(&audit, 0);
    assert!(text.contains("no finding"), "{text}");
    assert!(text.contains("SYNTHETIC"), "{text}");
    let report = program.json(&format!("{audit} --model jodie"));
    assert_eq!(report["passed"], true);
    assert_eq!(report["task"], "audit");
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 8);
    assert!(
        checks[5]["skipped"]
            .as_str()
            .unwrap()
            .contains("samples no past events")
    );
    // The lists of similar nodes are made of the whole training part: the audit says so.
    let mitigation = "--mitigation similarity --mitigation-quantile 0.5 --limit-events 800";
    let text = program.prints(
        &format!("{} {mitigation}", audit.replace("--limit-events 400", "")),
        1,
    );
    assert!(text.contains("training: "), "{text}");
    assert!(text.contains("by definition"), "{text}");
}
