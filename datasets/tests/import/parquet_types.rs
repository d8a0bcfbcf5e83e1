//! Every type that a column of a Parquet file may have, and files in parts.

use super::bench::{Bench, rows};
use super::parquet_files::{BARE, Column, bare, with, write};

/// Decimals of every physical type, half floats, unsigned numbers and nulls are features like
/// any other.
#[test]
fn all_types_of_numbers_are_features() {
    let bench = Bench::new(&[]);
    write(
        &bench.path("a.parquet"),
        &format!(
            "{BARE} required int32 weight (DECIMAL(9,2)); required int64 amount (DECIMAL(18,3)); \
             required fixed_len_byte_array(4) wide (DECIMAL(9,1)); required fixed_len_byte_array(2) half (FLOAT16); \
             required int32 byte (UINT_8); optional double hole; required boolean flag; required int32 when (DATE);"
        ),
        &[with(
            bare(&[1, 2], &[2, 1], &[1.0, 2.0]),
            [
                Column::I32(vec![125, -50]),
                Column::I64(vec![1_500, 250]),
                Column::Bytes(vec![
                    15i32.to_be_bytes().to_vec(),
                    (-25i32).to_be_bytes().to_vec(),
                ]),
                // 1.5 and -2 as half floats.
                Column::Bytes(vec![
                    0x3e00u16.to_le_bytes().to_vec(),
                    0xc000u16.to_le_bytes().to_vec(),
                ]),
                Column::I32(vec![200, 3]),
                Column::Floats(vec![7.0], vec![1, 0]),
                Column::Bool(vec![true, false]),
                Column::I32(vec![1, 2]),
            ],
        )],
    );
    let message = bench.refusal("a.parquet");
    assert!(
        message.contains("row 1: `hole` is NaN; expected a finite number; --missing zero"),
        "{message}"
    );
    for (missing, value) in [("zero", 0.0), ("mean", 7.0)] {
        let mut options = bench.options();
        options.reading.missing = missing.parse().unwrap();
        let log = bench.open_with("a.parquet", options).unwrap();
        let expected = [
            1.25, 1.5, 1.5, 1.5, 200.0, 7.0, 1.0, -0.5, 0.25, -2.5, -2.0, 3.0, value, 0.0,
        ];
        assert_eq!(rows(&log), expected, "{missing}");
        assert_eq!(
            log.names().unwrap().edge_features.unwrap()[..2],
            ["weight", "amount"]
        );
        assert!(log.notes()[0].starts_with("values of features that are missing: 1 (1 in `hole`)"));
        assert_eq!(
            log.notes()[1],
            "columns that are left out: `when` (times, no numbers)"
        );
    }
}

#[test]
fn times_and_ids_of_every_type() {
    let bench = Bench::new(&[]);
    // 2021-11-01 is day 2,459,520 of the Julian calendar.
    write(
        &bench.path("spark.parquet"),
        "required fixed_len_byte_array(2) src; required double dst; required int96 time;",
        &[vec![
            Column::Bytes(vec![b"u1".to_vec(), b"u2".to_vec()]),
            Column::F64(vec![5.0, 6.0]),
            Column::Int96(vec![
                [1_000_000_000, 0, 2_459_520],
                [2_500_000_000, 0, 2_459_520],
            ]),
        ]],
    );
    let log = bench.open("spark.parquet");
    assert_eq!(log.names().unwrap().nodes.unwrap(), ["u1", "5", "u2", "6"]);
    assert_eq!(
        (log.time(), log.ticks_per_unit()),
        (&[16_357_248_010, 16_357_248_025][..], 10)
    );
    write(
        &bench.path("text.parquet"),
        "required int64 src (UINT_64); required int64 dst; required binary time (UTF8);",
        &[vec![
            Column::I64(vec![-1, 7]),
            Column::I64(vec![5, 7]),
            Column::Text(vec!["2021-11-01", "2021-11-01T00:00:00.5Z"]),
        ]],
    );
    let log = bench.open("text.parquet");
    assert_eq!(log.original_ids(), Some(&[5, 7, u64::MAX][..]));
    assert_eq!(log.time(), &[16_357_248_000, 16_357_248_005]);
    write(
        &bench.path("ms.parquet"),
        "required int64 user; required int64 item; required int64 ts;",
        &[vec![
            Column::I64(vec![1, 2]),
            Column::I64(vec![1, 1]),
            Column::I64(vec![1_635_724_821_000, 1_635_724_821_250]),
        ]],
    );
    let log = bench.open("ms.parquet");
    assert_eq!(
        (log.nodes(), log.bipartite(), log.notes().len()),
        (3, true, 1)
    );
    // A double that is whole is that number, and not its shortest decimal, 1152921504606847200.
    write(
        &bench.path("large.parquet"),
        "required int64 src; required int64 dst; required double time;",
        &[vec![
            Column::I64(vec![1, 2]),
            Column::I64(vec![2, 1]),
            Column::F64(vec![0.0, 1_152_921_504_606_847_232.0]),
        ]],
    );
    assert_eq!(
        bench.open("large.parquet").time(),
        [0, 1_152_921_504_606_847_232]
    );
    let mut options = bench.options();
    options.reading.time_unit = "ms".parse().unwrap();
    let log = bench.open_with("ms.parquet", options).unwrap();
    assert_eq!((log.ticks_per_unit(), log.notes().len()), (100, 0));
}

#[test]
fn labels_that_are_none_are_left_out() {
    let bench = Bench::new(&[]);
    let file = |label: &str, column: Column| {
        write(
            &bench.path("a.parquet"),
            &format!("{BARE} {label} label;"),
            &[with(bare(&[1, 2], &[2, 1], &[1.0, 2.0]), [column])],
        );
        let log = bench.open("a.parquet");
        (log.labels().map(<[i32]>::to_vec), log.notes().len())
    };
    let whole = Column::F64(vec![1.0, -2.0]);
    assert_eq!(file("required double", whole), (Some(vec![1, -2]), 0));
    let fraction = Column::F64(vec![0.0, 0.5]);
    assert_eq!(file("required double", fraction), (None, 1));
    let null = Column::Optional(vec![1], vec![1, 0]);
    let missing = vec![1, mspipe_datasets::NO_LABEL];
    assert_eq!(file("optional int64", null), (Some(missing), 0));
    let large = Column::I64(vec![0, 1 << 40]);
    assert_eq!(file("required int64", large), (None, 1));
    let text = Column::Text(vec!["a", "b"]);
    assert_eq!(file("required binary", text), (None, 1));
    let mut chosen = bench.options();
    chosen.reading.columns = "label=label".parse().unwrap();
    let message = bench.open_with("a.parquet", chosen).unwrap_err();
    assert!(
        message.contains("`label` for the state label is text; whole numbers are expected"),
        "{message}"
    );
}

#[test]
fn a_folder_of_parts_is_one_stream() {
    let bench = Bench::new(&[("parts/_SUCCESS", b""), ("parts/.part-1.parquet.crc", b"x")]);
    let part = |name: &str, fields: &str, times: [f64; 2]| {
        write(&bench.path(name), fields, &[bare(&[1, 2], &[2, 3], &times)]);
    };
    part("parts/part-00001.parquet", BARE, [3.0, 4.0]);
    part("parts/part-00000.parquet", BARE, [1.0, 2.0]);
    let log = bench.open("parts");
    assert_eq!((log.events(), log.nodes()), (4, 3));
    assert_eq!(log.time(), &[1, 2, 3, 4]);
    part(
        "parts/part-00002.parquet",
        "required int64 src; required int64 dst; required double ts;",
        [5.0, 6.0],
    );
    let message = bench.open_with("parts", bench.options()).unwrap_err();
    assert!(
        message.contains("its columns (src, dst, ts) are not those of"),
        "{message}"
    );
}
