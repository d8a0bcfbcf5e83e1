//! Parquet files, written here with the format's own library.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use mspipe_datasets::{FeatureType, OpenOptions};
use parquet::basic::Compression;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    FloatType, Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::bench::{Bench, rows};

/// The values of one column, with definition and repetition levels where the schema has them.
#[derive(Clone)]
pub(crate) enum Column {
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Int96(Vec<[u32; 3]>),
    /// Of fixed length.
    Bytes(Vec<Vec<u8>>),
    Floats(Vec<f64>, Vec<i16>),
    Text(Vec<&'static str>),
    /// Values present, levels.
    Optional(Vec<i64>, Vec<i16>),
    Lists(Vec<f32>, Vec<i16>, Vec<i16>),
    BoolLists(Vec<bool>, Vec<i16>, Vec<i16>),
}

/// Writes row groups of columns, in the order of the schema.
pub(crate) fn write(path: &Path, fields: &str, groups: &[Vec<Column>]) {
    let schema = parse_message_type(&format!("message events {{ {fields} }}")).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let file = File::create(path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).unwrap();
    for group in groups {
        let mut rows = writer.next_row_group().unwrap();
        for column in group {
            let mut to = rows.next_column().unwrap().unwrap();
            match column {
                Column::I32(v) => to.typed::<Int32Type>().write_batch(v, None, None),
                Column::I64(v) => to.typed::<Int64Type>().write_batch(v, None, None),
                Column::F32(v) => to.typed::<FloatType>().write_batch(v, None, None),
                Column::F64(v) => to.typed::<DoubleType>().write_batch(v, None, None),
                Column::Bool(v) => to.typed::<BoolType>().write_batch(v, None, None),
                Column::Int96(v) => {
                    let moment = |&[low, high, day]: &[u32; 3]| {
                        let mut moment = Int96::new();
                        moment.set_data(low, high, day);
                        moment
                    };
                    let v: Vec<Int96> = v.iter().map(moment).collect();
                    to.typed::<Int96Type>().write_batch(&v, None, None)
                }
                Column::Bytes(v) => {
                    let fixed = |v: &Vec<u8>| FixedLenByteArray::from(v.clone());
                    let v: Vec<FixedLenByteArray> = v.iter().map(fixed).collect();
                    to.typed::<FixedLenByteArrayType>()
                        .write_batch(&v, None, None)
                }
                Column::Floats(v, def) => to.typed::<DoubleType>().write_batch(v, Some(def), None),
                Column::Text(v) => {
                    let v: Vec<ByteArray> = v.iter().map(|&text| ByteArray::from(text)).collect();
                    to.typed::<ByteArrayType>().write_batch(&v, None, None)
                }
                Column::Optional(v, def) => to.typed::<Int64Type>().write_batch(v, Some(def), None),
                Column::Lists(v, def, rep) => {
                    to.typed::<FloatType>().write_batch(v, Some(def), Some(rep))
                }
                Column::BoolLists(v, def, rep) => {
                    to.typed::<BoolType>().write_batch(v, Some(def), Some(rep))
                }
            }
            .unwrap();
            to.close().unwrap();
        }
        rows.close().unwrap();
    }
    writer.close().unwrap();
}

pub(crate) const BARE: &str = "required int64 src; required int64 dst; required double time;";

/// The bytes of a file of two events.
#[cfg(unix)]
pub(super) fn small() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    write(&path, BARE, &[bare(&[1, 2], &[2, 3], &[0.5, 1.0])]);
    std::fs::read(path).unwrap()
}

/// `src, dst, time` and further columns.
pub(crate) fn bare(src: &[i64], dst: &[i64], time: &[f64]) -> Vec<Column> {
    vec![
        Column::I64(src.to_vec()),
        Column::I64(dst.to_vec()),
        Column::F64(time.to_vec()),
    ]
}

pub(crate) fn with(
    mut columns: Vec<Column>,
    more: impl IntoIterator<Item = Column>,
) -> Vec<Column> {
    columns.extend(more);
    columns
}

#[test]
fn row_groups_types_and_features_in_the_order_of_their_numbers() {
    let bench = Bench::new(&[]);
    write(
        &bench.path("a.parquet"),
        &format!(
            "{BARE} required boolean label; required int32 ext_roll; required float feat_10; required int64 feat_2; required binary note (UTF8);"
        ),
        &[
            with(
                bare(&[7, 9], &[9, 8], &[0.1, 0.3]),
                [
                    Column::Bool(vec![true, false]),
                    Column::I32(vec![0, 1]),
                    Column::F32(vec![10.0, 11.0]),
                    Column::I64(vec![2, 3]),
                    Column::Text(vec!["a", "b"]),
                ],
            ),
            with(
                bare(&[7], &[7], &[2e3]),
                [
                    Column::Bool(vec![false]),
                    Column::I32(vec![2]),
                    Column::F32(vec![12.0]),
                    Column::I64(vec![4]),
                    Column::Text(vec!["c"]),
                ],
            ),
        ],
    );
    let log = bench.open("a.parquet");
    assert_eq!(
        (log.time(), log.ticks_per_unit()),
        (&[1, 3, 20_000][..], 10)
    );
    assert_eq!(
        (log.original_ids(), log.src()),
        (Some(&[7, 8, 9][..]), &[0, 2, 0][..])
    );
    assert_eq!(
        (log.labels(), log.roll()),
        (Some(&[1, 0, 0][..]), Some(&[0, 1, 2][..]))
    );
    assert_eq!(rows(&log), [2.0, 10.0, 3.0, 11.0, 4.0, 12.0]);
    assert_eq!(
        log.names().unwrap().edge_features.unwrap(),
        ["feat_2", "feat_10"]
    );
    assert_eq!(
        bench.notes("a.parquet"),
        ["columns that are left out: `note` (text, no numbers)"]
    );
}

#[test]
fn lists_are_features_with_names() {
    let bench = Bench::new(&[]);
    let list = "required group features (LIST) { repeated group list { required float element; } }";
    let bools = list.replace("float", "boolean");
    write(
        &bench.path("list.parquet"),
        &format!("{BARE} {list}"),
        &[with(
            bare(&[1, 2], &[2, 1], &[1.0, 2.0]),
            [Column::Lists(
                vec![1.0, 2.0, 3.0, 4.0],
                vec![1; 4],
                vec![0, 1, 0, 1],
            )],
        )],
    );
    let log = bench.open("list.parquet");
    assert_eq!(rows(&log), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(
        log.names().unwrap().edge_features.unwrap(),
        ["features[0]", "features[1]"]
    );
    write(
        &bench.path("bools.parquet"),
        &format!("{BARE} {bools}"),
        &[with(
            bare(&[1, 2], &[2, 1], &[1.0, 2.0]),
            [Column::BoolLists(
                vec![true, false, false, true],
                vec![1; 4],
                vec![0, 1, 0, 1],
            )],
        )],
    );
    assert_eq!(
        bench
            .open("bools.parquet")
            .edge_features()
            .unwrap()
            .as_bytes(),
        [1, 2]
    );
}

#[test]
fn text_ids_timestamps_and_booleans() {
    let bench = Bench::new(&[]);
    write(
        &bench.path("b.parquet"),
        "required binary source (UTF8); required int32 target; required int64 ts (TIMESTAMP(MILLIS,true)); \
         required boolean f0; required boolean f1;",
        &[vec![
            Column::Text(vec!["anna", "bert"]),
            Column::I32(vec![3, 3]),
            Column::I64(vec![1_500, 2_000]),
            Column::Bool(vec![true, false]),
            Column::Bool(vec![true, true]),
        ]],
    );
    let log = bench.open("b.parquet");
    assert_eq!(log.names().unwrap().nodes.unwrap(), ["anna", "3", "bert"]);
    assert_eq!(
        log.notes(),
        ["ids are read as text, because of `source`: the numbers of `target` are names"]
    );
    assert_eq!((log.time(), log.ticks_per_unit()), (&[15, 20][..], 10));
    let table = log.edge_features().unwrap();
    assert_eq!(
        (table.feature_type(), table.as_bytes()),
        (FeatureType::Bits, &[3, 2][..])
    );

    write(
        &bench.path("date.parquet"),
        "required int32 src; required int32 dst; required int32 date (DATE);",
        &[vec![
            Column::I32(vec![1]),
            Column::I32(vec![2]),
            Column::I32(vec![17_897]),
        ]],
    );
    assert_eq!(bench.open("date.parquet").time(), &[1_546_300_800]);
}

#[test]
fn sorting_takes_features_along() {
    let bench = Bench::new(&[]);
    write(
        &bench.path("a.parquet"),
        &format!("{BARE} required boolean f0; required boolean f1;"),
        &[
            with(
                bare(&[1, 2], &[2, 1], &[9.0, 1.0]),
                [
                    Column::Bool(vec![true, false]),
                    Column::Bool(vec![false, true]),
                ],
            ),
            with(
                bare(&[3], &[1], &[1.0]),
                [Column::Bool(vec![true]), Column::Bool(vec![true])],
            ),
        ],
    );
    assert!(bench.refusal("a.parquet").starts_with("a.parquet: row group 0, row 1: time 1 precedes 9 (row group 0, row 0); events must be sorted"));
    let (log, _) = bench.sorted("a.parquet");
    assert_eq!((log.time(), log.src()), (&[1, 1, 9][..], &[1, 2, 0][..]));
    assert_eq!(log.edge_features().unwrap().as_bytes(), [2, 3, 1]);
}

#[test]
fn what_arithmetic_leaves_of_times_is_rounded_and_said() {
    let bench = Bench::new(&[]);
    let times = [0.1, 0.1 + 0.2, 0.7];
    write(
        &bench.path("a.parquet"),
        BARE,
        &[bare(&[1, 2, 3], &[2, 1, 1], &times)],
    );
    let log = bench.open("a.parquet");
    assert_eq!((log.time(), log.ticks_per_unit()), (&[1, 3, 7][..], 10));
    let notes = log.notes();
    assert!(
        notes[0].starts_with("times with more than nine decimals") && notes[0].contains("): 1;"),
        "{notes:?}"
    );
}

fn refused(fields: &str, group: Vec<Column>, words: &str) {
    let bench = Bench::new(&[]);
    write(&bench.path("a.parquet"), fields, &[group]);
    let message = bench.refusal("a.parquet");
    assert!(message.contains(words), "{message}");
}

/// Two events without features.
fn two() -> Vec<Column> {
    bare(&[1, 2], &[2, 1], &[1.0, 2.0])
}

#[test]
fn columns_that_are_refused() {
    refused(
        "required int64 src; required int64 dst; required double when;",
        two(),
        "a.parquet: no column is recognised by name as the time (columns: `src`, `dst`, `when`); say which it is with --columns src=src,dst=dst,time=COLUMN",
    );
    refused(
        &format!("{BARE} required int64 user_id;"),
        with(two(), [Column::I64(vec![1, 1])]),
        "the columns `src` and `user_id` can both be the source; say which with --columns src=user_id",
    );
    refused(
        "required boolean src; required int64 dst; required int64 time;",
        vec![
            Column::Bool(vec![true]),
            Column::I64(vec![1]),
            Column::I64(vec![1]),
        ],
        "the column 'src' for the source is truth values; integers or text are expected: convert the column",
    );
}

#[test]
fn lists_of_other_lengths_in_a_later_row_group_are_refused() {
    let list = "optional group features (LIST) { repeated group list { optional float element; } }";
    // As long a row in all, of lists of other lengths.
    let both = format!(
        "{BARE} {} {}",
        list.replace("features", "a"),
        list.replace("features", "b")
    );
    let group = |a: usize, b: usize| {
        let one = |width: usize| {
            let rep = (0..width).map(|place| i16::from(place > 0)).collect();
            Column::Lists(vec![1.0; width], vec![3; width], rep)
        };
        with(bare(&[1], &[2], &[1.0]), [one(a), one(b)])
    };
    let bench = Bench::new(&[]);
    write(&bench.path("a.parquet"), &both, &[group(1, 2), group(2, 1)]);
    let message = bench.refusal("a.parquet");
    assert!(
        message
            .contains("row group 1, row 0: a list of 2 numbers; expected 1, as in the rows before"),
        "{message}"
    );
}

#[test]
fn values_that_are_refused() {
    let list = "optional group features (LIST) { repeated group list { optional float element; } }";
    refused(
        BARE,
        bare(&[1, -2], &[2, 1], &[1.0, 2.0]),
        "a.parquet: column 'src', row group 0, row 1: the id is -2; expected a whole number that is not negative",
    );
    // 12 decimals.
    refused(
        BARE,
        bare(&[1, 2], &[2, 1], &[0.1, 0.123456789012]),
        "column 'time', row group 0, row 1: the time is 0.123456789012; expected at most nine decimals",
    );
    refused(
        BARE,
        bare(&[1, 2], &[2, 1], &[1.0, f64::NAN]),
        "a.parquet: column 'time', row group 0, row 1: the time is NaN; expected a decimal number",
    );
    refused(
        "required int64 src; optional int64 dst; required double time;",
        vec![
            Column::I64(vec![1, 2, 3]),
            Column::Optional(vec![4, 5], vec![1, 0, 1]),
            Column::F64(vec![1.0; 3]),
        ],
        "a.parquet: column 'dst', row group 0, row 1: null; expected an id in every row",
    );
    refused(
        &format!("{BARE} {list}"),
        with(
            two(),
            [Column::Lists(
                vec![1.0, 2.0, 3.0],
                vec![3; 3],
                vec![0, 1, 0],
            )],
        ),
        "a.parquet: column 'features.list.element', row group 0, row 1: a list of 1 values; expected 2, as in the rows before",
    );
    refused(
        &format!("{BARE} {list}"),
        with(
            two(),
            [Column::Lists(vec![1.0, 3.0], vec![3, 3, 1], vec![0, 1, 0])],
        ),
        "row group 0, row 1: null or an empty list",
    );
    refused(
        &format!("{BARE} required double f0;"),
        with(two(), [Column::F64(vec![1.0, 1e300])]),
        "a.parquet: row group 0, row 1: `f0` is inf; expected a finite number",
    );
    refused(
        &format!("{BARE} required int32 ext_roll;"),
        with(two(), [Column::I32(vec![0, 3])]),
        "column 'ext_roll', row group 0, row 1: the mark is 3; expected 0 (train), 1 (validation) or 2 (test)",
    );
}

/// Files of pyarrow, see `parquet/make.py`.
#[test]
fn codecs_that_are_not_read_are_named_and_so_are_coarse_times() {
    let bench = Bench::new(&[
        ("lz4.parquet", include_bytes!("../parquet/lz4.parquet")),
        (
            "brotli.parquet",
            include_bytes!("../parquet/brotli.parquet"),
        ),
        (
            "coarse.parquet",
            include_bytes!("../parquet/float32_times.parquet"),
        ),
    ]);
    for (file, codec) in [("lz4.parquet", "lz4_raw"), ("brotli.parquet", "brotli")] {
        let message = bench.refusal(file);
        let words = format!(
            "{file}: the column `src` is compressed with {codec}; snappy, gzip, zstd or none are read: write it again, with pandas df.to_parquet(FILE, compression='zstd')"
        );
        assert!(message.starts_with(&words), "{message}");
    }
    let log = bench.open("coarse.parquet");
    assert_eq!(log.time()[0], log.time()[1]);
    assert_eq!(
        log.notes(),
        [
            "`time` holds floats of 32 bits: near 1600000000 they are multiples of 128, so that events of \
          different moments may have one time; write the times as whole numbers"
        ]
    );
}

#[test]
fn files_that_are_refused() {
    let bench = Bench::new(&[]);
    write(&bench.path("a.parquet"), BARE, &[two()]);
    let wrong = OpenOptions {
        format: Some("tgl".parse().unwrap()),
        ..bench.options()
    };
    assert!(
        bench
            .refusal_with("a.parquet", wrong)
            .contains("--format tgl: ")
    );
    let bytes = std::fs::read(bench.path("a.parquet")).unwrap();
    std::fs::write(bench.path("a.parquet"), &bytes[..bytes.len() - 9]).unwrap();
    assert!(
        bench
            .refusal("a.parquet")
            .contains("a Parquet file that cannot be read (")
    );
    write(&bench.path("a.parquet"), BARE, &[]);
    assert!(bench.refusal("a.parquet").contains("it holds no events"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn round_trip(
        events in prop::collection::vec((0i64..50, 0i64..50, 0i64..1_000, prop::array::uniform3(any::<bool>()), any::<i32>()), 1..200),
        group in 1usize..80,
    ) {
        let mut events = events;
        events.sort_by_key(|e| e.2);
        let bench = Bench::new(&[]);
        let groups: Vec<Vec<Column>> = events.chunks(group).map(|events| {
            let mut columns = vec![
                Column::I64(events.iter().map(|e| e.0).collect()),
                Column::I64(events.iter().map(|e| e.1).collect()),
                Column::F64(events.iter().map(|e| e.2 as f64 / 8.0).collect()),
                Column::I32(events.iter().map(|e| e.4).collect()),
            ];
            columns.extend((0..3).map(|c| Column::Bool(events.iter().map(|e| e.3[c]).collect())));
            columns
        }).collect();
        let fields = format!("{BARE} required int32 label; required boolean f0; required boolean f1; required boolean f2;");
        write(&bench.path("a.parquet"), &fields, &groups);
        let log = bench.open("a.parquet");
        let originals = log.original_ids().unwrap();
        let table = log.edge_features().unwrap();
        prop_assert_eq!(log.events(), events.len());
        for (i, (src, dst, time, bits, label)) in events.iter().enumerate() {
            prop_assert_eq!(originals[log.src()[i] as usize], *src as u64);
            prop_assert_eq!(originals[log.dst()[i] as usize], *dst as u64);
            prop_assert_eq!(log.time()[i] * 1000 / log.ticks_per_unit(), time * 125);
            prop_assert_eq!(log.labels().unwrap()[i], *label);
            let packed = bits.iter().enumerate().fold(0, |byte, (c, &bit)| byte | u8::from(bit) << c);
            prop_assert_eq!(table.as_bytes()[i], packed);
        }
    }
}

/// The Parquet library panics on some of these files; the reader must answer with an error.
#[test]
fn a_flipped_bit_in_any_byte_is_survived() {
    let bench = Bench::new(&[]);
    let path = bench.path("a.parquet");
    write(&path, BARE, &[bare(&[1, 2], &[2, 1], &[1.0, 2.0])]);
    let good = std::fs::read(&path).unwrap();
    let sorted = OpenOptions {
        sort: true,
        ..bench.options()
    };
    let (mut read, mut refused) = (0, 0);
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 0x80;
        let mut damaged = vec![flipped];
        if at % 16 == 0 {
            damaged.push(good[..at].to_vec());
        }
        for bytes in damaged {
            std::fs::write(&path, bytes).unwrap();
            match bench.open_with("a.parquet", sorted.clone()) {
                Ok(log) => {
                    read += 1;
                    assert!(log.events() <= 2);
                    std::fs::remove_dir_all(bench.path("cache")).unwrap();
                }
                Err(message) => {
                    refused += 1;
                    assert!(message.contains("a.parquet"), "{message}");
                }
            }
        }
    }
    assert!(refused > read, "{refused} refused, {read} read");
}
