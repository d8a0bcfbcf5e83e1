//! What the values of a table are: numbers, text, dates, nothing; and how text writes them.

use mspipe_datasets::{IdSpaces, OpenOptions, Severity, check};

use super::bench::{Bench, f32_bytes, npy, rows};
use super::schema::{reading, refusal};

#[test]
fn no_row_is_special_among_features() {
    let table = |first: &str, later: &str| {
        format!(
            "ts,source,target,weight,score\n21,2,3,{first},0.5\n56,1,3,4.5,1\n70,0,3,{later},2\n"
        )
    };
    for word in ["", "NA", "nan", "NaN", "null", "None"] {
        for text in [table(word, "0.25"), table("0.25", word)] {
            let bench = Bench::new(&[("a.csv", text.as_bytes())]);
            let message = refusal(&bench, "a.csv", bench.options());
            assert!(
                message.contains(": `weight` is NaN; expected a finite number; --missing zero"),
                "{message}"
            );
            let zero = bench
                .open_with("a.csv", reading(&bench, &[("missing", "zero")]))
                .unwrap();
            let at = if text.starts_with(&table(word, "0.25")[..40]) {
                0
            } else {
                4
            };
            assert_eq!(rows(&zero)[at], 0.0);
            assert_eq!(
                zero.notes(),
                ["values of features that are missing: 1 (1 in `weight`); each is 0"]
            );
            let mean = bench
                .open_with("a.csv", reading(&bench, &[("missing", "mean")]))
                .unwrap();
            assert_eq!((rows(&mean)[at], rows(&mean).len()), (2.375, 6));
            assert!(mean.notes()[0].ends_with("each is the mean of their column"));
        }
    }
    let bench = Bench::new(&[("t.csv", b"src,dst,time,w,z,x\n1,2,3,4,,a\n1,2,4,heavy,,b\n")]);
    assert!(bench.open("t.csv").edge_features().is_none());
    assert_eq!(
        bench.notes("t.csv"),
        [
            "columns that are left out: `w` (`heavy` on line 3 is no number, though 1 others are), `z` \
          (no value in any event), `x` (`a` on line 2 is no number)"
        ]
    );
    let asked = [("columns", "features=w")];
    let message = refusal(&bench, "t.csv", reading(&bench, &asked));
    assert_eq!(
        message,
        "t.csv:3: `w` is `heavy`; expected a number, as it is among the features"
    );
}

#[test]
fn no_row_is_special_among_ids() {
    let bench = Bench::new(&[
        (
            "zeros.csv",
            b"source,target,time\n007,7,1\n7,07,2\n0042,42,3\n",
        ),
        (
            "names.csv",
            b"source,target,time\n1001,99,0\nbob_77,dr. who,21\n",
        ),
        (
            "big.csv",
            b"source,target,time\n1208925819614629174706178,5,21\n",
        ),
        ("float.csv", b"source,target,time\n2.0,5.0,21\n1,5,56\n"),
    ]);
    let zeros = bench.open("zeros.csv");
    assert_eq!(
        zeros.names().unwrap().nodes.unwrap(),
        ["007", "7", "07", "0042", "42"]
    );
    assert_eq!(
        zeros.notes(),
        [
            "ids are read as text, because of `007` on line 2 (--ids number reads it without its zeros)"
        ]
    );
    let numbers = bench
        .open_with("zeros.csv", reading(&bench, &[("ids", "number")]))
        .unwrap();
    assert_eq!(numbers.original_ids(), Some(&[7, 42][..]));
    assert_eq!(
        bench.open("names.csv").names().unwrap().nodes.unwrap(),
        ["1001", "99", "bob_77", "dr. who"]
    );
    assert_eq!(
        bench.notes("names.csv"),
        ["ids are read as text, because of `bob_77` on line 3"]
    );
    assert_eq!(bench.open("big.csv").nodes(), 2);
    assert_eq!(
        bench.notes("big.csv"),
        [
            "ids are read as text, because of `1208925819614629174706178` on line 2 (numbers end at 2^64 - 1)"
        ]
    );
    assert_eq!(bench.open("float.csv").original_ids(), Some(&[1, 2, 5][..]));
    let text = bench
        .open_with("float.csv", reading(&bench, &[("ids", "text")]))
        .unwrap();
    assert_eq!(text.nodes(), 4);
    let message = refusal(&bench, "names.csv", reading(&bench, &[("ids", "number")]));
    assert!(
        message.contains("names.csv:3: the source is `bob_77`; expected a whole number"),
        "{message}"
    );
}

/// What the beginning of a long file does not show is found further down, and the file read again.
#[test]
fn a_value_far_down_decides_as_one_at_the_top() {
    let long = |odd: &str| {
        let mut text = String::from("src,dst,time,label,w,z\n");
        for row in 0..5_000 {
            text += &format!("{},{},{row},0,1.5,2\n", row % 7, 7 + row % 5);
        }
        (text + odd).into_bytes()
    };
    let bench = Bench::new(&[
        ("plain.csv", &long("1,2,5000,0,1,2\n")),
        ("id.csv", &long("bob,2,5000,0,1,2\n")),
        ("label.csv", &long("1,2,5000,0.5,1,2\n")),
        ("text.csv", &long("1,2,5000,0,heavy,2\n")),
        ("blank.csv", &long("1,2,5000,0,,2\n")),
    ]);
    assert!(bench.open("plain.csv").notes().is_empty());
    assert_eq!(bench.open("id.csv").nodes(), 13);
    assert_eq!(
        bench.notes("id.csv"),
        ["ids are read as text, because of `bob` on line 5002"]
    );
    let label = bench.open("label.csv");
    assert!(label.labels().is_none());
    assert_eq!(
        label.notes(),
        [
            "columns that are left out: `label` (labels are whole numbers such as 0 and 1, and line 5002 has \
             `0.5`; link prediction needs none)"
        ]
    );
    let text = bench.open("text.csv");
    assert_eq!(text.names().unwrap().edge_features.unwrap(), ["z"]);
    let mean = bench
        .open_with("blank.csv", reading(&bench, &[("missing", "mean")]))
        .unwrap();
    assert_eq!(rows(&mean)[10_000], 1.5);
}

#[test]
fn labels_that_are_none_are_left_out() {
    for (value, label) in [
        ("0.36", None),
        ("ok", None),
        ("", Some(mspipe_datasets::NO_LABEL)),
        ("True", Some(1)),
        ("2.0", Some(2)),
        ("-1", Some(-1)),
    ] {
        let bench = Bench::new(&[(
            "a.csv",
            format!("source,target,time,label\n1,2,5,{value}\n").as_bytes(),
        )]);
        let log = bench.open("a.csv");
        assert_eq!(log.labels().map(|labels| labels[0]), label, "{value}");
        assert_eq!(log.notes().len(), usize::from(label.is_none()), "{value}");
        if label.is_none() {
            let message = refusal(
                &bench,
                "a.csv",
                reading(&bench, &[("columns", "label=label")]),
            );
            assert!(message.contains("label is `"), "{message}");
        }
    }
}

#[test]
fn dates_zones_fractions_and_units() {
    let times = |times: [&str; 2]| format!("src,dst,time\n1,2,{}\n2,1,{}\n", times[0], times[1]);
    let seconds = |times_of: [&str; 2], options: &[(&str, &str)]| {
        let bench = Bench::new(&[("a.csv", times(times_of).as_bytes())]);
        let log = bench.open_with("a.csv", reading(&bench, options)).unwrap();
        (log.time().to_vec(), log.ticks_per_unit(), log.notes().len())
    };
    let dates = ["2021-11-01T00:00:21Z", "2021-11-01 01:00:22+01:00"];
    assert_eq!(
        seconds(dates, &[]),
        (vec![1_635_724_821, 1_635_724_822], 1, 0)
    );
    let fractions = ["2021-11-01 00:00:21", "2021-11-01 00:00:21.25"];
    assert_eq!(
        seconds(fractions, &[]),
        (vec![163_572_482_100, 163_572_482_125], 100, 0)
    );
    assert_eq!(seconds(["-3", "-2.5"], &[]), (vec![-30, -25], 10, 0));
    let milliseconds = ["1635724821000", "1635724821250"];
    assert_eq!(seconds(milliseconds, &[]).2, 1, "a hint");
    assert_eq!(
        seconds(milliseconds, &[("time-unit", "ms")]),
        (vec![163_572_482_100, 163_572_482_125], 100, 0)
    );
    let nanoseconds = ["1635724821000000000", "1635724822000000000"];
    assert_eq!(
        seconds(nanoseconds, &[("time-unit", "ns")]),
        (vec![1_635_724_821, 1_635_724_822], 1, 0)
    );
    let bench = Bench::new(&[("a.csv", times(dates).as_bytes())]);
    let message = bench.refusal_with("a.csv", reading(&bench, &[("time-unit", "ms")]));
    assert!(
        message.contains("a number, as --time-unit says; leave it out"),
        "{message}"
    );
    let refused = |first: &str, words: &str| {
        let bench = Bench::new(&[("a.csv", times([first, "2021-11-01 00:00:21"]).as_bytes())]);
        let message = refusal(&bench, "a.csv", bench.options());
        assert!(message.contains(words), "{message}");
    };
    refused(
        "11/01/2021 00:00:21",
        "a.csv:2: time is `11/01/2021 00:00:21`; expected a decimal number such as 36 or 36.5, or in all events a date that begins with its year",
    );
    refused(
        "5",
        "a.csv:3: time is `2021-11-01 00:00:21`; expected a decimal number",
    );
}

#[test]
fn text_as_programs_write_it() {
    let bench = Bench::new(&[
        ("r.csv", b"\"\",\"source\",\"target\",\"time\",\"w\"\n\"1\",\"u, 2\",\"i \"\"3\"\"\",21,0.5\n\"2\",\"u\n1\",\"i1\",56,4.5\n"),
        ("rows.csv", b"source,target,time\n1,u2,i3,21\n2,u1,i1,56\n"),
        ("trailing.csv", b"user_id,item_id,timestamp,state_label,f0,f1\n2,3,21,0,0.5,1,\n1,1,56,0,4.5,2,\n"),
        ("semicolon.csv", b"source;target;time;w\r\n2;103;21;0,36\r\n1;101;56,5;4,55\r\n"),
        ("out.forum", b"% bip weighted\n% 2 2 2\n3 4 0.5 1082040982\n2 4 4.5 1082041017\n"),
        ("out.mail", b"% asym positive\n3\t7\t1\t1082040982\n2\t4\t1\t1082041017\n"),
        ("nr.edges", b"% directed temporal\n3,23,1082040982\n2,21,1082041017\n"),
        ("open.csv", b"src,dst,time\n\"a,b,1\nc,d,2\n"),
        ("quote.csv", b"src,dst,time\n5\" pipe,b,1\n5\" pipe,d,2\n"),
        ("latin1.csv", b"src,dst,time\nzo\xeb,b,1\n"),
        ("hash.csv", b"src,dst,time\n#rust,b,1\n"),
    ]);
    let r = bench.open("r.csv");
    assert_eq!(
        r.names().unwrap().nodes.unwrap(),
        ["u, 2", "i \"3\"", "u\n1", "i1"]
    );
    assert_eq!(rows(&r), [0.5, 4.5]);
    assert_eq!(
        bench.open("rows.csv").names().unwrap().nodes.unwrap(),
        ["u2", "i3", "u1", "i1"]
    );
    assert_eq!(rows(&bench.open("trailing.csv")), [0.5, 1.0, 4.5, 2.0]);
    let semicolon = bench.open("semicolon.csv");
    assert_eq!(
        (rows(&semicolon), semicolon.time()),
        (vec![0.36, 4.55], &[210, 565][..])
    );
    let forum = bench.open("out.forum");
    assert_eq!(
        (rows(&forum), forum.nodes(), forum.bipartite()),
        (vec![0.5, 4.5], 3, true)
    );
    assert_eq!(forum.time(), &[1_082_040_982, 1_082_041_017]);
    let mail = bench.open("out.mail");
    assert_eq!(
        (rows(&mail), mail.id_spaces()),
        (vec![1.0, 1.0], IdSpaces::One)
    );
    assert_eq!(
        bench.open("nr.edges").original_ids(),
        Some(&[2, 3, 21, 23][..])
    );
    let message = refusal(&bench, "open.csv", bench.options());
    assert!(
        message.contains("open.csv:2: a quote that is not closed"),
        "{message}"
    );
    assert_eq!(bench.open("quote.csv").nodes(), 3);
    let message = refusal(&bench, "latin1.csv", bench.options());
    assert!(message.contains("iconv -f latin1"), "{message}");
    // A node may be called like a comment.
    assert_eq!(bench.open("hash.csv").events(), 1);
}

#[test]
fn a_missing_value_is_no_node_unless_ids_are_text() {
    for word in ["NA", "null", "None", "nan", "<NA>"] {
        let text = format!("src,dst,time\n7,8,1\n{word},8,2\n");
        let bench = Bench::new(&[("a.csv", text.as_bytes())]);
        assert_eq!(
            refusal(&bench, "a.csv", bench.options()),
            format!(
                "a.csv:3: the source is `{word}`, which stands for a missing value; expected a node in every \
                 event: remove the line; or --ids text, if a node is called so"
            )
        );
        let text = bench.open_with("a.csv", reading(&bench, &[("ids", "text")]));
        assert_eq!(text.unwrap().nodes(), 3);
    }
    let bench = Bench::new(&[("a.csv", b"src,dst,time\na,b,1\na,,2\n")]);
    let message = refusal(&bench, "a.csv", bench.options());
    assert!(
        message.starts_with("a.csv:3: the destination is ``"),
        "{message}"
    );
}

#[test]
fn columns_of_numbers_of_rows_and_events_are_named() {
    let bench = Bench::new(&[
        (
            "pandas.csv",
            b",src,dst,time,idx,Unnamed: 0\n0,1,2,3,1,0\n1,2,1,4,2,1\n",
        ),
        ("two.csv", b"src,dst,time,w,w\n1,2,3,5,6\n1,2,4,6,7\n"),
    ]);
    assert_eq!(
        bench.open("pandas.csv").notes(),
        [
            "columns that are left out: `idx` (the events' numbers), column 1 (row numbers, as pandas writes \
          them), `Unnamed: 0` (row numbers, as pandas writes them)"
        ]
    );
    // What check prints can be given, where two columns have one name too.
    let path = bench.path("two.csv");
    let findings = check(path.to_str().unwrap(), &bench.options()).unwrap();
    let by_hand = findings.iter().find(|f| f.code == "columns").unwrap();
    let columns = by_hand.message.split_once("--columns ").unwrap().1;
    assert_eq!(columns, "src=src,dst=dst,time=time,features=4+5");
    let chosen = bench.open_with("two.csv", reading(&bench, &[("columns", columns)]));
    assert_eq!(chosen.unwrap().hash(), bench.open("two.csv").hash());
}

#[test]
fn a_check_with_sorting_only_notes_that_times_fall_and_names_columns() {
    let bench = Bench::new(&[(
        "a.csv",
        b"src,dst,time,w,amount\n1,2,9,0.5,3e7\n2,1,4,0.5,1\n",
    )]);
    let path = bench.path("a.csv");
    let found = |options: &OpenOptions, code: &str| {
        let findings = check(path.to_str().unwrap(), options).unwrap();
        let finding = findings.iter().find(|f| f.code == code).unwrap();
        (finding.severity, finding.message.clone())
    };
    let sorted = OpenOptions {
        sort: true,
        ..bench.options()
    };
    assert_eq!(found(&bench.options(), "unsorted-times").0, Severity::Error);
    let (severity, message) = found(&sorted, "unsorted-times");
    assert_eq!(severity, Severity::Note);
    assert!(message.contains("1 of 2 (--sort sorts them)"), "{message}");
    let (_, message) = found(&sorted, "constant-feature-columns");
    assert!(message.contains("1 of 2 (`w`)"), "{message}");
    let (_, message) = found(&sorted, "large-features");
    assert!(message.contains("3e7 in `amount`"), "{message}");
}

#[test]
fn missing_values_of_arrays_are_filled_in_like_those_of_tables() {
    let nan = f32::NAN;
    let values = [1.0, nan, 3.0, 8.0];
    let halves: Vec<u8> = (values.iter())
        .flat_map(|&value| half::f16::from_f32(value).to_le_bytes())
        .collect();
    let bench = Bench::new(&[
        ("a.txt", b"1 2 9\n2 1 4\n"),
        ("f4.npy", &npy("<f4", "(2, 2)", &f32_bytes(&values))),
        ("f2.npy", &npy("<f2", "(2, 2)", &halves)),
    ]);
    for array in ["f4.npy", "f2.npy"] {
        for (missing, fill, by) in [("zero", 0.0, "0"), ("mean", 8.0, "the mean of its column")] {
            let options = OpenOptions {
                edge_features: Some(bench.path(array)),
                sort: true,
                ..reading(&bench, &[("missing", missing)])
            };
            let log = bench.open_with("a.txt", options).unwrap();
            assert_eq!(rows(&log), [3.0, 8.0, 1.0, fill]);
            let note = format!("that are missing: 1; each is {by}");
            assert!(
                log.notes().iter().any(|n| n.ends_with(&note)),
                "{:?}",
                log.notes()
            );
        }
        let refused = OpenOptions {
            edge_features: Some(bench.path(array)),
            sort: true,
            ..bench.options()
        };
        let message = bench.open_with("a.txt", refused).unwrap_err();
        assert!(
            message.contains("row 0, column 1 is not finite"),
            "{message}"
        );
        assert!(message.contains("--missing mean"), "{message}");
    }
}
