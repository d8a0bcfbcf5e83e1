//! What a run of ranks says of itself: before it begins, while it trains, and afterwards.

use serde_json::Value;

use crate::program::Program;

const SMALL: &str = "--data synthetic:wikipedia:scale=0.02 --device cpu --edge-features random:4 --width 16 --time-width 8 \
                     --fanout 4 --model tgn --limit-events 1658 --threads 2";

#[test]
fn a_run_says_who_shares_its_batches() {
    let program = Program::new();
    let train = |options: &str| {
        let ended = program.run(&format!("train {SMALL} --epochs 1 {options}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    let alone = train("--batch-size 60 --out runs/alone");
    assert!(!alone.contains("ranks  "), "{alone}");
    let words =
        "2 by threads of one process (threads:2), which share batches of 60 events, 30 each";
    let together = train("--batch-size 30 --ranks threads:2 --out runs/together");
    assert!(
        together.contains(&format!("\nranks     {words}\n")),
        "{together}"
    );
    let summary = program.json("runs/together/summary.json");
    assert_eq!(summary["ranks"], "threads:2");
    assert_eq!(summary["batch_size"], 60);
    assert!(
        program
            .json("runs/alone/summary.json")
            .get("ranks")
            .is_none()
    );
    let page = std::fs::read_to_string(program.path("runs/together/report.html")).unwrap();
    assert!(page.contains(words));
    // They share the same batches, and are compared.
    let listed = program.run("runs").stdout;
    assert!(listed.contains("threads:2"), "{listed}");
    assert!(!listed.contains("can't be compared"), "{listed}");
    let listed: Value = serde_json::from_str(&program.run("runs --json").stdout).unwrap();
    assert_eq!(
        listed["differing"],
        serde_json::json!(["batch_size", "ranks"])
    );
    let runs = listed["runs"].as_array().unwrap();
    let batches: Vec<&Value> = runs
        .iter()
        .map(|run| &run["settings"]["batch_size"])
        .collect();
    assert_eq!(batches, [60, 60]);
}

#[test]
fn what_each_rank_has_is_estimated_and_refused_where_it_does_not_fit() {
    let program = Program::new();
    let estimate = |ranks: usize| -> Value {
        let batch = 60 / ranks;
        let options = format!("--batch-size {batch} --ranks threads:{ranks} --dry-run --json");
        let ended = program.run(&format!("train {SMALL} {options}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let (one, four) = (estimate(1), estimate(4));
    let share = |of: &Value, what: &str| {
        let shares = of["shares"].as_array().unwrap();
        let share = shares.iter().find(|share| share["what"] == what).unwrap();
        share["ram_bytes"].as_u64().unwrap() + share["device_bytes"].as_u64().unwrap()
    };
    for (what, times) in [
        ("node memory", 4),
        ("parameters and optimiser", 4),
        ("graph (T-CSR)", 1),
    ] {
        assert_eq!(share(&four, what), times * share(&one, what), "{what}");
    }
    // Each has a quarter of the batch.
    let [whole, shared] = [&one, &four].map(|of| share(of, "batches in flight"));
    assert!(shared < 4 * whole, "{shared} {whole}");
    let all = |of: &Value| of["ram_bytes"].as_u64().unwrap();
    assert!(all(&four) > all(&one) + share(&four, "threads of ranks"));

    // Terabytes, of which each of the ranks has some gigabytes.
    let large = format!("{SMALL} --batch-size 1 --ranks threads:1024 --out large")
        .replace("--width 16", "--width 4096");
    for dry in ["", "--dry-run"] {
        let ended = program.run(&format!("train {large} {dry}"));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let said = "try fewer ranks (--ranks threads:R): each has its own";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(!program.path("large").exists());
    }
}
