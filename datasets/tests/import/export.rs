//! Streams written as tables, and read back.

use std::fs;

use mspipe_datasets::export::export;

use super::bench::Bench;

#[test]
fn what_is_written_reads_back_as_the_same_stream() {
    let bench = Bench::new(&[
        ("jodie.csv", b"user_id,item_id,timestamp,state_label,f0,f1\n7,3,0.25,0,0.5,-1\n2,3,36.5,1,0.1,2e-30\n7,9,36.5,0,0,16777217\n"),
        ("text.csv", b"src,dst,time,ext_roll,a b\n\"x, 1\",\"say \"\"y\"\"\",1,0,1\nz,\"x, 1\",2,1,2\nz,z,3,2,3\n"),
        ("two.csv", b"buyer,product,ts\nanna,7,2021-11-01T00:00:00.000000001Z\nbert,anna,2021-11-01T00:00:01Z\n"),
        ("bools.csv", b"src,dst,time,p,q\n1,2,3,true,false\n2,1,4,false,False\n"),
        ("zeros.csv", b"src,dst,time\n007,7,3\n7,007,4\n"),
        ("big.csv", b"src,dst,time,label\n18446744073709551615,0,-3,-2\n0,5,4,7\n"),
        ("roles.csv", b"source,target,time,f10,f2\n1,2,3,4,5\n"),
    ]);
    for name in [
        "jodie.csv",
        "text.csv",
        "two.csv",
        "bools.csv",
        "zeros.csv",
        "big.csv",
        "roles.csv",
    ] {
        let log = bench.open(name);
        for ending in ["csv", "parquet"] {
            let to = bench.path(&format!("back-{name}.{ending}"));
            let done = export(&log, &to, false).unwrap();
            assert_eq!((done.events, done.notes.len()), (log.events(), 0), "{name}");
            let back = bench.open(&format!("back-{name}.{ending}"));
            assert_eq!(back.hash(), log.hash(), "{name} as {ending}");
            assert_eq!(back.id_spaces(), log.id_spaces(), "{name} as {ending}");
            assert_eq!(
                back.original_ids(),
                log.original_ids(),
                "{name} as {ending}"
            );
            assert_eq!(back.names().unwrap().nodes, log.names().unwrap().nodes);
        }
    }
    let csv = fs::read_to_string(bench.path("back-text.csv.csv")).unwrap();
    assert!(
        csv.starts_with("src,dst,time,ext_roll,a b\n\"x, 1\",\"say \"\"y\"\"\",1,0,1\n"),
        "{csv}"
    );
}

#[test]
fn what_exists_is_replaced_only_if_that_is_asked_for() {
    let bench = Bench::new(&[("a.csv", b"src,dst,time\n1,2,3\n"), ("to.csv", b"mine")]);
    let log = bench.open("a.csv");
    let refused = |name: &str| {
        export(&log, &bench.path(name), false)
            .unwrap_err()
            .to_string()
    };
    assert!(
        refused("to.csv")
            .contains("exists already; choose another name, or replace it with --force")
    );
    assert_eq!(fs::read(bench.path("to.csv")).unwrap(), b"mine");
    export(&log, &bench.path("to.csv"), true).unwrap();
    assert_eq!(
        fs::read(bench.path("to.csv")).unwrap(),
        b"src,dst,time\n1,2,3\n"
    );
    assert!(refused("to.xlsx").contains(".csv and .parquet are known"));
    assert!(refused("none/to.csv").contains("there is no folder"));
    // Nothing half-made stays behind.
    let left = fs::read_dir(bench.folder.path()).unwrap();
    assert_eq!(left.count(), 3);
}
