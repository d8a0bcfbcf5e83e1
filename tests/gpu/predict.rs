//! Answers on the adapter: those of the CPU but for rounding, and the same bits whatever else is asked.

use std::process::Command;

use tempfile::TempDir;

use crate::device_settings;

/// What the program prints with these arguments, in `place`.
fn run(place: &TempDir, arguments: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_mspipe"))
        .args(arguments.split_whitespace())
        .current_dir(place.path())
        .env("MSPIPE_CACHE_DIR", place.path().join("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn logits(table: &str) -> Vec<f32> {
    let rows = table.lines().skip(1);
    rows.map(|row| row.split(',').nth(3).unwrap().parse().unwrap())
        .collect()
}

#[test]
fn answers_are_those_of_the_cpu() {
    let device = device_settings().choice;
    for model in ["tgn", "jodie", "apan"] {
        let place = TempDir::new().unwrap();
        run(
            &place,
            &format!(
                "train --data synthetic:wikipedia:scale=0.01 --limit-events 400 --epochs 1 --model {model} \
                 --width 16 --time-width 8 --fanout 3 --batch-size 50 --device cpu --out run"
            ),
        );
        let pair = |n: u64| format!("{},{}\n", n % 50, 800 + n % 7);
        let pairs: String = (0..40).map(pair).collect();
        std::fs::write(place.path().join("pairs.csv"), format!("src,dst\n{pairs}")).unwrap();
        std::fs::write(
            place.path().join("one.csv"),
            format!("src,dst\n{}", pair(17)),
        )
        .unwrap();
        let score = |device: &str, pairs: &str| {
            logits(&run(
                &place,
                &format!("score run --pairs {pairs} --device {device}"),
            ))
        };
        let (cpu, here) = (
            score("cpu", "pairs.csv"),
            score(&device.to_string(), "pairs.csv"),
        );
        assert_eq!(cpu.len(), 40);
        for (cpu, here) in cpu.iter().zip(&here) {
            // Sums of some dozen products of numbers of size 1, in another order.
            assert!(
                (cpu - here).abs() < 1e-4 * cpu.abs().max(1.0),
                "{model}: {cpu} {here}"
            );
        }
        assert_eq!(
            score(&device.to_string(), "one.csv"),
            here[17..18],
            "{model}"
        );
    }
}
