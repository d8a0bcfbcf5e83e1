//! A table in memory is the stream of its file, whatever types its columns have.

use mspipe_datasets::{DataError, EventLog, MomentUnit, OpenOptions, TableColumn, TableValues};

use super::bench::Bench;

fn column(name: &str, values: TableValues) -> TableColumn {
    TableColumn {
        name: name.to_owned(),
        values,
        present: None,
    }
}

fn open(bench: &Bench, table: &[TableColumn]) -> Result<EventLog, DataError> {
    EventLog::open_table("shop", table, &bench.options())
}

/// Events of these times between nodes that are called alike on both sides.
fn of_columns(bench: &Bench, ids: &TableValues, time: TableValues) -> Result<EventLog, DataError> {
    let [src, dst] = ["src", "dst"].map(|name| column(name, ids.clone()));
    open(bench, &[src, dst, column("time", time)])
}

/// Three purchases; the third amount is missing.
fn table() -> Vec<TableColumn> {
    let texts = |texts: [&str; 3]| TableValues::Texts(texts.map(str::to_owned).to_vec());
    vec![
        column("buyer", texts(["ann", "bo", "ann"])),
        column("product", texts(["tea", "tea", "cup"])),
        column("time", TableValues::Doubles(vec![1.0, 1.5, 2.25])),
        TableColumn {
            present: Some(vec![true, true, false]),
            ..column("amount", TableValues::Floats(vec![0.5, -2.0, 7.0]))
        },
        column("label", TableValues::Integers(vec![0, 1, 1])),
        column("paid", TableValues::Bools(vec![true, false, true])),
    ]
}

const TEXT: &[u8] = b"buyer,product,time,amount,label,paid
ann,tea,1,0.5,0,true
bo,tea,1.5,-2,1,false
ann,cup,2.25,,1,true
";

#[test]
fn a_table_is_the_stream_of_its_file_and_is_converted_once() {
    let bench = Bench::new(&[("shop.csv", TEXT)]);
    let mut options = bench.options();
    options.reading.missing = "zero".parse().unwrap();
    let file = bench.open_with("shop.csv", options.clone()).unwrap();
    let open = |options: &OpenOptions| EventLog::open_table("shop", &table(), options).unwrap();
    let log = open(&options);
    assert_eq!(log.hash(), file.hash());
    assert_eq!((log.name(), log.events(), log.nodes()), ("shop", 3, 4));
    assert_eq!(open(&options).store(), log.store(), "the same content");
    let mut other = table();
    other[2].values = TableValues::Doubles(vec![1.0, 1.5, 2.5]);
    let other = EventLog::open_table("shop", &other, &options).unwrap();
    assert_ne!(other.store(), log.store());
    assert_ne!(other.hash(), log.hash());
}

#[test]
fn columns_that_were_chosen_hold_for_the_store_too() {
    let bench = Bench::new(&[]);
    let mut named = table();
    named.truncate(3);
    for (column, name) in named.iter_mut().zip(["a", "b", "c"]) {
        column.name = name.to_owned();
    }
    let with = |columns: &str| {
        let mut options = bench.options();
        options.reading.columns = columns.parse().unwrap();
        options
    };
    let chosen = with("src=a,dst=b,time=c");
    let log = EventLog::open_table("shop", &named, &chosen).unwrap();
    let store = log.store().unwrap().display().to_string();
    for options in [&chosen, &bench.options()] {
        let again = EventLog::open(&store, options).unwrap();
        assert_eq!(again.hash(), log.hash());
    }
    let mut milliseconds = chosen.clone();
    milliseconds.reading.time_unit = "ms".parse().unwrap();
    let unread = EventLog::open(&store, &milliseconds).unwrap_err();
    assert!(unread.to_string().contains("was not read so"), "{unread}");
    let of_ms = EventLog::open_table("shop", &named, &milliseconds).unwrap();
    let place = of_ms.store().unwrap().display().to_string();
    assert_eq!(
        EventLog::open(&place, &milliseconds).unwrap().hash(),
        of_ms.hash()
    );
    let other = EventLog::open(&store, &with("src=b,dst=a,time=c")).unwrap_err();
    assert!(
        other.to_string().contains("--columns applies to files"),
        "{other}"
    );
}

#[test]
fn an_id_that_a_float_has_rounded_is_none() {
    let bench = Bench::new(&[]);
    let of = |ids: TableValues| of_columns(&bench, &ids, TableValues::Integers(vec![1, 2]));
    let most = 2f64.powi(53) - 1.0;
    assert_eq!(
        of(TableValues::Doubles(vec![0.0, most])).unwrap().events(),
        2
    );
    for ids in [
        TableValues::Doubles(vec![0.0, most + 1.0]),
        TableValues::Floats(vec![0.0, 2f32.powi(24)]),
    ] {
        let refused = of(ids).unwrap_err().to_string();
        assert!(
            refused.starts_with("shop: column 'src', row 1: ") && refused.contains("its float"),
            "{refused}"
        );
    }
    let decimals = |values: [i128; 2]| TableValues::Decimals {
        values: values.to_vec(),
        scale: 2,
    };
    let most = i128::from(u64::MAX);
    assert_eq!(of(decimals([100 * most, 100])).unwrap().nodes(), 2);
    assert!(
        of(decimals([150, 100]))
            .unwrap_err()
            .to_string()
            .contains("whole number")
    );
    // Whole numbers of 64 bits are all told apart, and shown as they are.
    let wide = TableValues::Unsigned(vec![u64::MAX, u64::MAX - 1]);
    assert_eq!(of(wide.clone()).unwrap().nodes(), 2);
    let times = of_columns(&bench, &TableValues::Integers(vec![1, 2]), wide);
    let refused = times.unwrap_err().to_string();
    assert!(refused.contains("18446744073709551615"), "{refused}");
}

/// 64 bits tell the nanoseconds of today apart by hundreds.
#[test]
fn times_that_a_float_does_not_tell_apart_are_said() {
    let bench = Bench::new(&[]);
    let notes = |times: TableValues| {
        let log = of_columns(&bench, &TableValues::Integers(vec![1, 2]), times).unwrap();
        log.notes().to_vec()
    };
    let coarse = |notes: &[String]| notes.iter().any(|note| note.contains("floats of 64 bits"));
    let late = notes(TableValues::Doubles(vec![1.7e18, 1.7e18 + 256.0]));
    assert!(
        coarse(&late) && late.concat().contains("multiples of 256"),
        "{late:?}"
    );
    let all_told_apart = 2f64.powi(53);
    assert!(!coarse(&notes(TableValues::Doubles(vec![
        1.0,
        all_told_apart - 1.0
    ]))));
    assert!(!coarse(&notes(TableValues::Integers(vec![0, 1 << 60]))));
}

#[test]
fn rows_of_a_table_in_memory_are_in_no_row_group() {
    let bench = Bench::new(&[]);
    let mut unsorted = table();
    unsorted[2].values = TableValues::Doubles(vec![1.0, 1.5, 1.25]);
    unsorted.truncate(3);
    assert_eq!(
        open(&bench, &unsorted).unwrap_err().to_string(),
        "shop: row 2: time 1.25 precedes 1.5 (row 1); events must be sorted by time; sort the table, or have it \
         sorted (`sort`: stable, features follow their events)"
    );
    let mut labels = table();
    labels.remove(3);
    labels[3].values = TableValues::Doubles(vec![0.0, 0.5, 1.0]);
    let notes = open(&bench, &labels).unwrap().notes().concat();
    assert!(notes.contains("and row 1 has 0.5"), "{notes}");
}

#[test]
fn every_type_of_a_time_is_exact() {
    let times = [
        TableValues::Integers(vec![1_000, 2_000, 86_400]),
        TableValues::Unsigned(vec![1_000, 2_000, 86_400]),
        TableValues::Decimals {
            values: vec![100_000, 200_000, 8_640_000],
            scale: 2,
        },
        TableValues::Moments {
            values: vec![1_000_000, 2_000_000, 86_400_000],
            unit: MomentUnit::Milliseconds,
        },
        TableValues::Moments {
            values: vec![1_000_000_000, 2_000_000_000, 86_400_000_000],
            unit: MomentUnit::Microseconds,
        },
        TableValues::Moments {
            values: vec![1_000_000_000_000, 2_000_000_000_000, 86_400_000_000_000],
            unit: MomentUnit::Nanoseconds,
        },
    ];
    let bench = Bench::new(&[]);
    for time in times {
        let ids = TableValues::Integers(vec![3, 9, 3]);
        let log = of_columns(&bench, &ids, time.clone()).unwrap();
        let [first, .., last] = log.time() else {
            panic!("three times");
        };
        let per_unit = log.ticks_per_unit();
        assert_eq!(
            (first / per_unit, last / per_unit),
            (1_000, 86_400),
            "{time:?}"
        );
    }
    let days = TableValues::Dates(vec![0, 1, 2]);
    let ids = TableValues::Unsigned(vec![0, u64::from(u32::MAX), 0]);
    let log = of_columns(&bench, &ids, days).unwrap();
    assert_eq!(log.time(), [0, 86_400, 172_800]);
}

/// As those of columns of their own, each has its mean.
#[test]
fn what_is_missing_in_rows_of_numbers_is_the_mean_of_its_own_place() {
    let bench = Bench::new(&[]);
    let mut options = bench.options();
    options.reading.missing = "mean".parse().unwrap();
    let mut named = table();
    named.truncate(3);
    let values = vec![f32::NAN, 100.0, 1.0, f32::NAN, 3.0, 300.0];
    let rows = column(
        "x",
        TableValues::Rows {
            width: 2,
            values: values.clone(),
        },
    );
    let log = EventLog::open_table("shop", &[&named[..], &[rows]].concat(), &options).unwrap();
    let alone = [0, 1].map(|at| {
        let values = values.chunks(2).map(|row| row[at]).collect();
        column(["x0", "x1"][at], TableValues::Floats(values))
    });
    let apart = EventLog::open_table("shop", &[&named[..], &alone].concat(), &options).unwrap();
    let expected = [2.0, 100.0, 1.0, 200.0, 3.0, 300.0];
    assert_eq!(
        (super::rows(&log), super::rows(&apart)),
        (expected.to_vec(), expected.to_vec())
    );
}

#[test]
fn rows_of_numbers_are_features() {
    let bench = Bench::new(&[]);
    let mut table = table();
    table.truncate(3);
    let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    table.push(column("x", TableValues::Rows { width: 2, values }));
    let log = open(&bench, &table).unwrap();
    assert_eq!(super::rows(&log), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn what_is_wrong_in_a_table_is_said_with_its_row() {
    let bench = Bench::new(&[]);
    let refusal = |table: &[TableColumn]| open(&bench, table).unwrap_err().to_string();
    let missing = refusal(&table());
    assert!(
        missing.contains("row 2") && missing.starts_with("shop"),
        "{missing}"
    );
    let mut late = table();
    late[2].values = TableValues::Integers(vec![5, 4, 6]);
    let late = refusal(&late);
    assert!(late.contains("row 1"), "{late}");
    let mut short = table();
    short[4].values = TableValues::Integers(vec![0]);
    let short = refusal(&short);
    assert!(short.contains("the column 'label' has 1 rows"), "{short}");
    assert!(refusal(&[]).contains("without columns"));
    let mut narrow = table();
    let values = Vec::new();
    narrow[4].values = TableValues::Rows { width: 0, values };
    assert!(refusal(&narrow).contains("has 0 rows"));
    let options = OpenOptions {
        format: Some("jodie".parse().unwrap()),
        ..bench.options()
    };
    let given = EventLog::open_table("shop", &table(), &options).unwrap_err();
    assert!(given.to_string().contains("--format"), "{given}");
}
