//! One schema for every table: what each column is, and what is said of it.

use mspipe_datasets::{IdSpaces, OpenOptions, check};

use super::bench::{Bench, rows};

/// Options of `bench` with a reading: pairs of an option and its value.
pub(crate) fn reading(bench: &Bench, options: &[(&str, &str)]) -> OpenOptions {
    let mut all = bench.options();
    for (option, value) in options {
        let reading = &mut all.reading;
        match *option {
            "columns" => reading.columns = value.parse().unwrap(),
            "no-header" => reading.no_header = true,
            "ids" => reading.ids = value.parse().unwrap(),
            "bipartite" => reading.bipartite = value.parse().unwrap(),
            "time-unit" => reading.time_unit = value.parse().unwrap(),
            "missing" => reading.missing = value.parse().unwrap(),
            "format" => all.format = Some(value.parse().unwrap()),
            _ => unreachable!("{option}"),
        }
    }
    all
}

/// The message, without the temporary folder's name.
pub(crate) fn refusal(bench: &Bench, name: &str, options: OpenOptions) -> String {
    let folder = format!(
        "{}{}",
        bench.folder.path().display(),
        std::path::MAIN_SEPARATOR
    );
    let message = bench.open_with(name, options).unwrap_err();
    message.replace(&folder, "")
}

/// The notes of `name`, read with options, as every command shows them.
pub(crate) fn notes(bench: &Bench, name: &str, options: &[(&str, &str)]) -> Vec<String> {
    let log = bench.open_with(name, reading(bench, options)).unwrap();
    log.notes().to_vec()
}

/// Three events of source, destination, time, label and weight, their columns in `order`.
fn table(header: &str, separator: &str, order: &[usize], quote: &str) -> Vec<u8> {
    let rows = [
        ["2", "103", "21", "0", "0.36"],
        ["1", "101", "56", "1", "4.55"],
        ["0", "2", "70", "0", "0.35"],
    ];
    let quoted = |field: &str| format!("{quote}{field}{quote}");
    let line = |row: &[&str; 5]| {
        let fields: Vec<String> = order.iter().map(|&at| quoted(row[at])).collect();
        fields.join(separator) + "\n"
    };
    let header: Vec<String> = header.split(',').map(quoted).collect();
    let mut text = header.join(separator) + "\n";
    text.extend(rows.iter().map(line));
    text.into_bytes()
}

/// The same events, in many spellings, are one stream.
#[test]
fn one_hash_for_the_same_events() {
    let inorder = [0, 1, 2, 3, 4];
    let files = [
        (
            "a.csv",
            table("src,dst,time,label,weight", ",", &inorder, ""),
        ),
        (
            "b.csv",
            table("source,target,time,label,weight", ",", &inorder, ""),
        ),
        ("c.csv", table("u,i,ts,label,weight", ",", &inorder, "")),
        (
            "d.csv",
            table(
                "weight,TIMESTAMP,Label,From_Address,to_address",
                ",",
                &[4, 2, 3, 0, 1],
                "",
            ),
        ),
        (
            "e.csv",
            table("src,dst,time,label,weight", ",", &inorder, "\""),
        ),
        (
            "f.tsv",
            table("SOURCE,TARGET,TIME,LABEL,WEIGHT", "\t", &inorder, ""),
        ),
        (
            "g.csv",
            table("src,dst,time,label,weight", ";", &inorder, ""),
        ),
        (
            "h.txt",
            table("src,dst,time,label,weight", "  ", &inorder, ""),
        ),
        (
            "i.txt",
            table("src,dst,time,label,weight", " ", &inorder, "\""),
        ),
        (
            "j.csv",
            table("src,dst,time,label,weight", ", ", &inorder, ""),
        ),
    ];
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, text)| (*name, &text[..]))
        .collect();
    let bench = Bench::new(&files);
    let expected = bench.open("a.csv");
    assert_eq!(expected.labels(), Some(&[0, 1, 0][..]));
    assert_eq!(expected.edge_features().unwrap().width(), 1);
    for (name, _) in &files[1..] {
        assert_eq!(bench.open(name).hash(), expected.hash(), "{name}");
    }
}

#[test]
fn nodes_are_of_two_kinds_by_the_names_of_their_columns_or_by_an_option() {
    let order = [0, 1, 2, 3, 4];
    let of_two_kinds = table("user,item,timestamp,label,weight", ",", &order, "");
    let of_one_kind = table("src,dst,time,label,weight", ",", &order, "");
    let bench = Bench::new(&[("k.csv", &of_two_kinds), ("a.csv", &of_one_kind)]);
    let expected = bench.open("a.csv");
    let two = bench.open("k.csv");
    assert_eq!(
        (two.id_spaces(), two.nodes()),
        (IdSpaces::Two { sources: 3 }, 6)
    );
    let one = bench
        .open_with("k.csv", reading(&bench, &[("bipartite", "no")]))
        .unwrap();
    assert_eq!((one.hash(), one.nodes()), (expected.hash(), 5));
    let split = bench
        .open_with("a.csv", reading(&bench, &[("bipartite", "yes")]))
        .unwrap();
    assert_eq!(split.hash(), two.hash());
}

#[test]
fn users_and_items_are_two_kinds_however_the_columns_stand() {
    let bench = Bench::new(&[
        ("index.csv", b",user_id,item_id,timestamp,state_label,f0\n0,1,1,5,0,0.5\n1,2,1,6,1,1.5\n"),
        ("three.csv", b"user_id,item_id,ts\n1,1,5\n2,1,6\n"),
        ("order.csv", b"timestamp,User_ID,Product\n5,1,1\n6,2,1\n"),
        ("rating.csv", b"user_id,item_id,timestamp,rating\n1,1,5,4\n2,1,6,3\n"),
        ("jodie3.csv", b"user_id,item_id,timestamp\n1,1,5\n2,1,6\n"),
        ("mail.csv", b"user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n1,2,5,0,0.0,3\n2,1,6,0,0.5,4\n"),
    ]);
    for name in [
        "index.csv",
        "three.csv",
        "order.csv",
        "rating.csv",
        "jodie3.csv",
    ] {
        let log = bench.open(name);
        assert_eq!(
            (log.id_spaces(), log.nodes()),
            (IdSpaces::Two { sources: 2 }, 3),
            "{name}"
        );
        assert!(log.bipartite(), "{name}");
    }
    let index = bench.open("index.csv");
    assert_eq!(
        (rows(&index), index.labels()),
        (vec![0.5, 1.5], Some(&[0, 1][..]))
    );
    // A rating is no state.
    let rating = bench.open("rating.csv");
    assert_eq!((rows(&rating), rating.labels()), (vec![4.0, 3.0], None));
    let mail = bench
        .open_with("mail.csv", reading(&bench, &[("bipartite", "no")]))
        .unwrap();
    assert_eq!(
        (mail.nodes(), mail.src(), mail.dst()),
        (2, &[0, 1][..], &[1, 0][..])
    );
    assert_eq!(rows(&mail), [0.0, 3.0, 0.5, 4.0]);
}

#[test]
fn headers_that_are_half_known_are_refused_with_what_to_say() {
    let bench = Bench::new(&[
        (
            "eth.csv",
            b"timestamp,amount,from_address,to_address\n5,0.5,7,8\n6,1.5,8,7\n",
        ),
        (
            "pay.csv",
            b"timestamp,amount,payed_by,payed_to\n5,0.5,7,8\n6,1.5,8,7\n",
        ),
        (
            "trip.csv",
            b"time,hour,origin,destination\n5,1,a,b\n6,2,b,a\n",
        ),
        ("user.csv", b"user,source,target,time\n9,7,8,5\n9,8,7,6\n"),
        ("two.csv", b"src,dst,time,timestamp\n7,8,5,5\n"),
        (
            "jodie.csv",
            b"user_id,item_id,timestamp,state_label,source\n7,8,5,0,1\n",
        ),
        ("none.csv", b"7,8,5,1\n8,7,6,1\n"),
    ]);
    let expected = bench.open("eth.csv");
    assert_eq!((rows(&expected), expected.nodes()), (vec![0.5, 1.5], 2));
    let columns = [("columns", "src=payed_by,dst=payed_to")];
    let pay = bench
        .open_with("pay.csv", reading(&bench, &columns))
        .unwrap();
    assert_eq!(pay.hash(), expected.hash());
    let trip = bench.open("trip.csv");
    assert_eq!(
        (rows(&trip), trip.names().unwrap().nodes.unwrap()),
        (vec![1.0, 2.0], vec!["a".to_owned(), "b".to_owned()])
    );
    for (name, words) in [
        (
            "pay.csv",
            "say which it is with --columns src=COLUMN,dst=COLUMN,time=timestamp",
        ),
        (
            "user.csv",
            "`user` and `source` can both be the source; say which with --columns src=source",
        ),
        ("two.csv", "`time` and `timestamp` can both be the time"),
        ("jodie.csv", "`user_id` and `source` can both be the source"),
        (
            "none.csv",
            "4 fields, 4 of them numbers, and no header, so the meaning of the columns is not known; --no-header reads",
        ),
    ] {
        let message = refusal(&bench, name, bench.options());
        assert!(message.contains(words), "{name}: {message}");
    }
    let bare = bench
        .open_with("none.csv", reading(&bench, &[("no-header", "")]))
        .unwrap();
    assert_eq!((rows(&bare), bare.time()), (vec![1.0, 1.0], &[5, 6][..]));
    let said = notes(&bench, "none.csv", &[("no-header", "")]);
    assert_eq!(
        said,
        ["there is no header: columns 1, 2 and 3 are source, destination and time"]
    );
    let numbered = [("columns", "src=1,dst=2,time=3,features=")];
    let chosen = bench
        .open_with("none.csv", reading(&bench, &numbered))
        .unwrap();
    assert!(chosen.edge_features().is_none());
    assert_eq!(
        chosen.notes(),
        ["columns that are left out: column 4 (not among the features= asked for)"]
    );
}

#[test]
fn marks_and_numbers_of_events_are_not_features() {
    let text = b"source,target,ts,label,ext_roll,idx\n1,2,5,0,0,0\n2,1,6,0,1,1\n1,2,7,0,2,2\n";
    let bench = Bench::new(&[
        ("a.csv", text),
        (
            "seq.csv",
            b"src,dst,time,split\n1,2,5,train\n2,1,6,val\n1,2,7,test\n",
        ),
        ("odd.csv", b"src,dst,time,split\n1,2,5,north\n"),
    ]);
    for name in ["a.csv", "seq.csv"] {
        let log = bench.open(name);
        assert_eq!(log.roll(), Some(&[0, 1, 2][..]), "{name}");
        assert!(log.edge_features().is_none(), "{name}");
    }
    let message = refusal(&bench, "odd.csv", bench.options());
    assert!(
        message.contains("odd.csv:2: `split` is `north`; expected 0 (train)"),
        "{message}"
    );
    assert!(message.contains("--columns ignore="), "{message}");
}

#[test]
fn check_prints_the_columns_to_say_the_same() {
    let bench = Bench::new(&[(
        "a.csv",
        b"when,amount,payed_by,payed_to,note,label\n5,0.5,7,8,x,?\n6,1.5,8,7,y,?\n",
    )]);
    let columns = "src=payed_by,dst=payed_to,time=when";
    let found = check(
        bench.path("a.csv").to_str().unwrap(),
        &reading(&bench, &[("columns", columns)]),
    )
    .unwrap();
    let message = |code: &str| {
        found
            .iter()
            .find(|f| f.code == code)
            .unwrap()
            .message
            .clone()
    };
    assert_eq!(
        message("columns"),
        format!("the same by hand: --columns {columns},features=amount")
    );
    assert!(message("import-note").contains("`note` (`x` on line 2 is no number)"));
    let said = [(
        "columns",
        &message("columns")["the same by hand: --columns ".len()..],
    )];
    let again = bench.open_with("a.csv", reading(&bench, &said)).unwrap();
    let first = bench
        .open_with("a.csv", reading(&bench, &[("columns", columns)]))
        .unwrap();
    assert_eq!(again.hash(), first.hash());
    // Another reading is another conversion.
    assert_ne!(again.store(), first.store());
    assert_eq!(again.notes().len(), 1);
}

#[test]
fn pointers_of_git_lfs_are_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab12\nsize 175385569\n";
    let bench = Bench::new(&[
        ("events.csv", pointer),
        ("events.parquet", pointer),
        ("edges.csv", b"src,dst,time\n2,103,21\n"),
        ("edge_features.npy", pointer),
        ("features.pt", pointer),
    ]);
    let words = "a Git LFS pointer, which stands for the data; fetch the data with `git lfs pull`";
    for name in ["events.csv", "events.parquet"] {
        let message = bench.refusal(name);
        assert!(message.contains(words), "{message}");
    }
    for array in ["edge_features.npy", "features.pt"] {
        let options = OpenOptions {
            edge_features: Some(bench.path(array)),
            ..bench.options()
        };
        let message = bench.refusal_with("edges.csv", options);
        assert!(message.contains(words), "{message}");
    }
}

/// R writes row names without a header of their own; a header that lacks its last name looks the same.
#[test]
fn a_row_with_one_field_too_many_is_told() {
    let bench = Bench::new(&[("r.csv", b"src,dst,time\n7,1,2,3\n8,1,3,4\n9,2,3,5\n")]);
    assert_eq!(bench.open("r.csv").time(), [3, 4, 5]);
    let notes = bench.notes("r.csv");
    assert!(
        notes.iter().any(|note| note.contains(
            "rows have one field more than the header has names: the first is taken for the name of its row"
        )),
        "{notes:?}"
    );
}
