//! What `peers` refuses, and how it counts.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    peers: PeersConfig,
}

fn parse(arguments: &[&str]) -> Result<PeersConfig, clap::Error> {
    let all = ["test", "--python", "python3", "--data", "x"]
        .iter()
        .chain(arguments);
    Program::try_parse_from(all).map(|program| program.peers)
}

#[test]
fn options_that_the_peer_can_not_follow_are_refused() {
    let run = parse(&["--batch-size=200", "--schedule=prefetch"])
        .unwrap()
        .run;
    assert_eq!((run.batch_size, run.device), (200, DeviceChoice::Cpu));
    for argument in [
        "--model=jodie",
        "--device=gpu",
        "--layers=2",
        "--memory=host",
    ] {
        let error = parse(&[argument]).err().unwrap().to_string();
        assert!(error.contains("PyG's TGN can't follow it"), "{error}");
    }
    let known = options_of_training();
    assert!(
        COMPARED
            .iter()
            .all(|option| known.contains(&(*option).to_owned()))
    );
}

fn row(mspipe: f64, pyg: f64, ap: f64) -> EpochRow {
    let side = |events_per_s, ap| Side {
        events_per_s,
        train_loss: 1.0,
        val_ap: ap,
        test_ap: ap / 2.0,
    };
    EpochRow {
        mspipe: side(mspipe, ap),
        pyg: side(pyg, 1.0 - ap),
    }
}

#[test]
fn the_first_epoch_counts_only_where_it_is_alone() {
    let rows = [row(9.0, 1.0, 0.5), row(4.0, 2.0, 0.6), row(3.0, 1.0, 0.7)];
    let ratios = |rows| counted(rows).map(EpochRow::ratio).collect::<Vec<_>>();
    assert_eq!(ratios(&rows), [2.0, 3.0]);
    assert_eq!(ratios(&rows[..1]), [9.0]);
}
