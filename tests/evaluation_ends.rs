//! Runs whose evaluation fails: what was trained is whole, kept, and said, alone and by ranks.

use std::fs;

use crate::program::Program;

/// A stream of 1,000 events, of which event `seen` alone sees features that are too large for f32: those of event
/// `large`, which has the same source.
fn too_large(program: &Program, large: usize, seen: usize) {
    let mut text =
        "user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n".to_owned();
    for event in 0..1000 {
        let (user, item) = match event {
            _ if event == large => (39, 0),
            _ if event == seen => (39, 15),
            // None of its other end's later events sees it.
            _ if (large..large + 15).contains(&event) => (event * 7 % 39, 0),
            _ => (event * 7 % 39, event % 20),
        };
        let value = if event == large { "3e38" } else { "0.5" };
        let features = [value; 40].join(",");
        text += &format!("{user},{item},{},0,{features}\n", 10 * event);
    }
    fs::write(program.path("huge.csv"), text).unwrap();
}

const OPTIONS: &str = "--data huge.csv --device cpu --width 64 --time-width 8 --fanout 4 --model tgn --threads 2 \
                       --epochs 1";

#[test]
fn what_was_trained_before_a_failed_evaluation_is_kept() {
    let program = Program::new();
    let of_epoch = "epoch 1, iteration 12";
    for (nth, (options, [large, seen], place)) in [
        ("--batch-size 60", [705, 795], of_epoch),
        ("--batch-size 30 --ranks threads:2", [705, 795], of_epoch),
        // In the first rank's own share of a batch.
        (
            "--batch-size 30 --ranks threads:2 --protocol tgb --candidates 5",
            [705, 770],
            of_epoch,
        ),
        // In the test.
        ("--batch-size 60", [855, 930], "epoch 2, iteration 0"),
    ]
    .into_iter()
    .enumerate()
    {
        too_large(&program, large, seen);
        let ended = program.run(&format!("train {OPTIONS} {options} --out run-{nth}"));
        let kept = format!(
            ". A checkpoint of {place} is written: nothing that was trained is lost\n\
             once that is fixed, resume with: mspipe train --resume run-{nth}\n"
        );
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        for said in ["error: evaluation: ", &kept] {
            assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
        }
        // It goes on with the evaluation.
        let resumed = program.run(&format!("train --resume run-{nth}"));
        assert_eq!(resumed.code, Some(1), "{}", resumed.stderr);
        let at = place
            .replace("epoch", "in epoch")
            .replace("iteration", "at iteration");
        assert!(
            resumed.stdout.contains(&format!("resumed   {at}\n")),
            "{}",
            resumed.stdout
        );
        assert!(resumed.stderr.contains(&kept), "{}", resumed.stderr);
        let losses = fs::read_to_string(program.path(&format!("run-{nth}/metrics.jsonl"))).unwrap();
        assert_eq!(losses.matches("\"loss\"").count(), 12, "{losses}");
    }
    // Nothing was to be kept.
    let ended = program.run(&format!(
        "train {OPTIONS} --batch-size 60 --checkpoint-every never --out none"
    ));
    assert_eq!(ended.code, Some(1));
    assert!(!ended.stderr.contains("heckpoint"), "{}", ended.stderr);
}
