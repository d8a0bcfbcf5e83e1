//! DyGLib's and TGB's csv files.

use super::bench::{Bench, f32_bytes, npy, rows};
use mspipe_datasets::OpenOptions;

const DGB: &[u8] = b",u,i,ts,label,idx\n0,1,4,0.0,0,1\n1,2,4,6.0,1.0,2\n2,1,5,6.0,0,3\n";

#[test]
fn dgb_with_its_padded_features() {
    let edges = npy(
        "<f8",
        "(4, 1)",
        &[0.0f64, 1.5, 2.5, 3.5].map(f64::to_le_bytes).concat(),
    );
    let nodes = npy("<f4", "(6, 2)", &f32_bytes(&[0.0; 12]));
    let bench = Bench::new(&[
        ("d/ml_a.csv", DGB),
        ("d/ml_a.npy", &edges),
        ("d/ml_a_node.npy", &nodes),
        ("alone/ml_a.csv", DGB),
    ]);
    let log = bench.open("d");
    // Row 0 of both files is padding: id 1 is node 0.
    assert_eq!(
        (log.src(), log.dst(), log.nodes()),
        (&[0, 1, 0][..], &[3, 3, 4][..], 5)
    );
    assert_eq!(
        (rows(&log), log.labels()),
        (vec![1.5, 2.5, 3.5], Some(&[0, 1, 0][..]))
    );
    assert_eq!(
        log.node_features().map(|t| (t.rows(), t.width())),
        Some((5, 2))
    );
    assert_eq!(log.time(), &[0, 6, 6]);

    // The file itself brings the features too; without any, ids are made dense.
    assert_eq!(bench.open("d/ml_a.csv").hash(), log.hash());
    let alone = bench.open("alone/ml_a.csv");
    assert_eq!((alone.nodes(), alone.edge_features().is_none()), (4, true));
    assert_eq!(alone.original_ids(), Some(&[1, 2, 4, 5][..]));
}

#[test]
fn dgb_refusals() {
    let edges = |rows: usize| npy("<f4", &format!("({rows}, 1)"), &f32_bytes(&vec![1.0; rows]));
    let refused = |csv: &str, edge_rows: usize, words: &str| {
        let bench = Bench::new(&[
            ("ml_a.csv", csv.as_bytes()),
            ("ml_a.npy", &edges(edge_rows)),
        ]);
        let message = bench.refusal("ml_a.csv");
        assert!(message.contains(words), "{message}");
    };
    let header = ",u,i,ts,label,idx\n";
    refused(
        &format!("{header}0,1,2,0,0,5\n"),
        2,
        "ml_a.csv:2: idx of the first event is 5; expected 0 or 1",
    );
    refused(
        &format!("{header}0,1,2,0,0,1\n1,1,2,0,0,3\n"),
        3,
        "ml_a.csv:3: event number 2; expected 1",
    );
    refused(
        &format!("{header}0,1,2,0,0,1\n"),
        4,
        "4 rows found, 1 expected, one for each event of ml_a.csv, or one more with padding",
    );
    refused(
        &format!("{header}0,1,2,0,0\n"),
        2,
        "ml_a.csv:2: 5 fields; expected 6, as in the header",
    );

    let nodes = npy("<f4", "(3, 1)", &f32_bytes(&[0.0; 3]));
    let bench = Bench::new(&[("ml_a.csv", DGB), ("ml_a_node.npy", &nodes)]);
    let message = bench.refusal("ml_a.csv");
    assert!(
        message.contains("ml_a.csv:2: node 4; expected an id from 1 to 2, the rows of the node features without the padding"),
        "{message}"
    );
}

#[test]
fn two_layouts_in_one_folder_are_not_chosen_between() {
    let tgl = b"src,dst,time\n0,1,0\n";
    let bench = Bench::new(&[("d/edges.csv", tgl), ("d/ml_a.csv", DGB)]);
    assert_eq!(
        bench.refusal("d"),
        "d: two layouts fit: edges.csv, TGL's layout, and ml_*.csv, DyGLib's and TGN's layout; \
         choose with --format tgl or --format dgb"
    );
    let choose = |name: &str| OpenOptions {
        format: Some(name.parse().unwrap()),
        ..bench.options()
    };
    assert_eq!(bench.open_with("d", choose("tgl")).unwrap().events(), 1);
    assert_eq!(bench.open_with("d", choose("dgb")).unwrap().events(), 3);
    let none = bench.open_with("d", choose("gdelt")).unwrap_err();
    assert!(
        none.contains("has no such files; a folder is read as tgl"),
        "{none}"
    );

    let two = Bench::new(&[("d/ml_a.csv", DGB), ("d/ml_b.csv", DGB)]);
    assert!(
        two.refusal("d")
            .contains("both ml_a.csv and ml_b.csv; name the event file itself")
    );

    let both = Bench::new(&[
        ("h.csv", b"src,dst,time,u,i,ts\n0,1,5,2,3,6\n"),
        ("T/edges.csv", tgl),
        ("T/edge_features.npy", b""),
        ("T/edge_features.pt", b""),
    ]);
    let message = both.refusal("h.csv");
    assert!(
        message.contains("the columns `src` and `u` can both be the source; say which"),
        "{message}"
    );
    assert!(
        both.refusal("T")
            .contains("say which one is meant with --edge-feature-file FILE")
    );
    let chosen = OpenOptions {
        format: Some("dgb".parse().unwrap()),
        ..both.options()
    };
    assert_eq!(both.open_with("h.csv", chosen).unwrap().time(), &[6]);
}

#[test]
fn tgb_numbers_weights_and_text() {
    let bench = Bench::new(&[
        ("coin.csv", b"time,src,dst,weight\n1648811421,7,9,2.5\n1648811421,9,7,1e3\n"),
        (
            "sky.csv",
            b"day,src,dst,callsign,typecode\n2019-01-01,YMML,LFPG,HVN19,\n2019-01-02,EGLL,YMML,7,B744\n",
        ),
        (
            "genre.csv",
            b"time,user_id,genre,weight\n2005-02-14 00:00:03,1,rock,0.5\n2005-02-14 00:00:04,2,rock,0.25\n",
        ),
        ("odd.csv", b"year,who,whom,amount,n\n1986,A,B,10,1\n1987,B,A,20,2\n"),
        ("t.csv", b",source,target,ts,label,w\n0,0,1,0.5,1,3\n1,1,2,0.75,0,4\n"),
    ]);
    let coin = bench.open("coin.csv");
    assert_eq!((coin.src(), coin.dst()), (&[0, 1][..], &[1, 0][..]));
    assert_eq!(
        (rows(&coin), coin.original_ids()),
        (vec![2.5, 1000.0], Some(&[7, 9][..]))
    );
    assert_eq!(
        coin.names().unwrap().edge_features,
        Some(vec!["weight".to_owned()])
    );

    let sky = bench.open("sky.csv");
    assert_eq!(sky.time(), &[1_546_300_800, 1_546_387_200]);
    assert_eq!(
        sky.names().unwrap().nodes.unwrap(),
        ["YMML", "LFPG", "EGLL"]
    );
    assert_eq!(
        (sky.src(), sky.dst(), sky.original_ids()),
        (&[0, 2][..], &[1, 0][..], None)
    );
    assert_eq!(
        bench.notes("sky.csv"),
        [
            "columns that are left out: `callsign` (`HVN19` on line 2 is no number, though 1 others \
             are), `typecode` (`B744` on line 3 is no number)"
        ]
    );

    let genre = bench.open("genre.csv");
    assert_eq!(genre.time()[1] - genre.time()[0], 1);
    // Users and genres are nodes of two kinds.
    assert_eq!(genre.names().unwrap().nodes.unwrap(), ["1", "2", "rock"]);
    assert_eq!((genre.src(), genre.dst()), (&[0, 1][..], &[2, 2][..]));

    let message = bench.open_with("odd.csv", bench.options()).unwrap_err();
    assert!(
        message.contains("recognised by name as the source, the destination"),
        "{message}"
    );
    let tgb = OpenOptions {
        format: Some("tgb".parse().unwrap()),
        ..bench.options()
    };
    let odd = bench.open_with("odd.csv", tgb).unwrap();
    assert_eq!(
        (rows(&odd), odd.time()),
        (vec![10.0, 1.0, 20.0, 2.0], &[1986, 1987][..])
    );

    let t = bench.open("t.csv");
    assert_eq!(
        (rows(&t), t.labels(), t.ticks_per_unit()),
        (vec![3.0, 4.0], Some(&[1, 0][..]), 100)
    );
}

#[test]
fn tgb_sorted_and_refused() {
    let bench = Bench::new(&[
        (
            "a.csv",
            b"time,src,dst,w\n5,x,y,1\n3,y,z,2\n5,z,x,3\n3,x,x,4\n",
        ),
        ("date.csv", b"day,src,dst\n2019-01-01,a,b\n2019-02-30,a,b\n"),
        ("empty.csv", b"time,src,dst\n1,a,b\n2,,b\n"),
        ("few.csv", b"time,src,dst,w\n1,1,2,3\n1,1,2\n"),
        ("none.csv", b"time,src,dst,w\n"),
    ]);
    let (log, notes) = bench.sorted("a.csv");
    assert_eq!(
        (log.time(), rows(&log)),
        (&[3, 3, 5, 5][..], vec![2.0, 4.0, 1.0, 3.0])
    );
    let names = log.names().unwrap().nodes.unwrap();
    let sources: Vec<&str> = log
        .src()
        .iter()
        .map(|&n| names[n as usize].as_str())
        .collect();
    assert_eq!((sources, notes.len()), (vec!["y", "x", "x", "z"], 1));

    for (file, words) in [
        ("a.csv", "a.csv:3: time 3 precedes 5 (line 2)"),
        (
            "date.csv",
            "date.csv:3: time is `2019-02-30`; expected a date such as 2019-01-31",
        ),
        (
            "empty.csv",
            "empty.csv:3: the source is ``; expected the name of a node",
        ),
        (
            "few.csv",
            "few.csv:3: 3 fields; expected 4, as in the header; a cut-off line means that the file \
             is incomplete, and fields that hold separators need quotes",
        ),
        ("none.csv", "it holds no events"),
    ] {
        let message = bench.refusal(file);
        assert!(message.contains(words), "{message}");
    }
}
