//! The file of a checkpoint: what is read back, what is refused.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::super::Unfit;
use super::*;

const PATH: &str = "run/checkpoint.safetensors";

fn bytes(header: &Header, arrays: &Arrays<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, header, arrays).unwrap();
    bytes
}

fn small() -> Vec<u8> {
    let (rows, times) = (
        [0.1f32, -0.0, f32::NAN, f32::MAX, 1e-45, 7.0],
        [i64::MIN, -1],
    );
    let mut arrays = Arrays::default();
    arrays.put("rows", &[3, 2], &rows);
    arrays.put_column("times", &times);
    arrays.put_column("state", b"odd");
    arrays.put_column::<u32>("none", &[]);
    bytes(&Header::new(2, 40, json!({"seed": 3})), &arrays)
}

fn refused(bytes: &[u8]) -> String {
    parse(Path::new(PATH), bytes).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_again() {
    let read = parse(Path::new(PATH), &small()).unwrap();
    assert_eq!((read.header.epoch, read.header.iteration), (2, 40));
    assert_eq!(read.header.run, json!({"seed": 3}));
    let mut arrays = read.arrays;
    let names: Vec<_> = arrays.names().collect();
    assert_eq!(names, ["none", "rows", "state", "times"]);
    let (shape, rows) = arrays.take::<f32>("rows").unwrap();
    assert_eq!(shape, [3, 2]);
    let bits: Vec<_> = rows.iter().map(|row| row.to_bits()).collect();
    let expected = [0.1f32, -0.0, f32::NAN, f32::MAX, 1e-45, 7.0].map(f32::to_bits);
    assert_eq!(bits, expected);
    assert_eq!(arrays.take_column::<i64>("times").unwrap(), [i64::MIN, -1]);
    assert_eq!(arrays.take_shaped::<u8>("state", &[3]).unwrap(), *b"odd");
    assert!(arrays.take_column::<u32>("none").unwrap().is_empty());
}

#[test]
fn the_safetensors_library_reads_it_too() {
    let bytes = small();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let rows = file.tensor("rows").unwrap();
    assert_eq!((rows.dtype(), rows.shape()), (Dtype::F32, &[3, 2][..]));
    assert_eq!(
        file.tensor(SHA256).unwrap().data(),
        &bytes[bytes.len() - 32..]
    );
}

#[test]
fn each_length_but_the_whole_is_refused() {
    let whole = small();
    for length in 0..whole.len() {
        let error = refused(&whole[..length]);
        assert!(error.starts_with("run/checkpoint.safetensors: this file is damaged: "));
        let cut = format!("it is cut off after {length} bytes of ");
        assert!(length == 0 || error.contains(&cut), "{error}");
    }
    assert!(refused(&whole[..0]).ends_with("damaged: it is empty"));
    let last = format!("cut off after {} bytes of {}", whole.len() - 1, whole.len());
    assert!(refused(&whole[..whole.len() - 1]).ends_with(&last));
    let longer = [&whole[..], b"\0"].concat();
    assert!(refused(&longer).contains("1 bytes follow its"));
}

#[test]
fn each_flipped_bit_is_refused() {
    let whole = small();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            assert!(
                parse(Path::new(PATH), &flipped).is_err(),
                "byte {at}, bit {bit}"
            );
        }
    }
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(refused(&flipped).contains("does not match its SHA-256"));
}

#[test]
fn foreign_files_are_named() {
    assert!(refused(b"PK\x03\x04 a zip archive of something").ends_with(
        "this is neither a checkpoint nor a state of mspipe: it begins with \"PK\\x03\\x04 a zip archi\""
    ));
    let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
    let weights = safetensors::serialize([("w", view)], None).unwrap();
    assert!(
        refused(&weights)
            .ends_with("it is a safetensors file without the entry 'mspipe-checkpoint'")
    );
    assert!(refused(b"{}\n").contains("cut off after 3 bytes of its header"));
}

#[test]
fn other_versions_are_named() {
    let with_format = |format| {
        let header = Header {
            format,
            producer: "mspipe 9.9.9".to_owned(),
            ..Header::new(1, 0, json!(null))
        };
        refused(&bytes(&header, &Arrays::default()))
    };
    let older = with_format(0);
    assert!(
        older.contains("has format 0, written by mspipe 9.9.9; this mspipe reads format 1: end"),
        "{older}"
    );
    assert!(with_format(FORMAT + 1).ends_with("take a newer mspipe"));
}

#[test]
fn groups_and_misfits() {
    let numbers = [1, 2, 3];
    let mut arrays = Arrays::default();
    for name in ["a.x", "b.x", "b.y", "b", "bz", "c.x"] {
        arrays.put_column::<i32>(name, &numbers);
    }
    let group = arrays.take_group("b.");
    assert_eq!(group.names().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(
        arrays.names().collect::<Vec<_>>(),
        ["a.x", "b", "bz", "c.x"]
    );
    let missing = arrays.take::<i32>("b.x").unwrap_err();
    assert_eq!(missing.to_string(), "it has no array 'b.x'");
    let wrong = arrays.take::<f32>("b").unwrap_err();
    assert!(matches!(wrong, Unfit::NumberType { .. }), "{wrong}");
    let misshapen = arrays.take_shaped::<i32>("bz", &[4]).unwrap_err();
    assert!(
        misshapen.to_string().ends_with("shape [3], expected [4]"),
        "{misshapen}"
    );
}

proptest! {
    #[test]
    fn any_arrays_come_back(
        columns in prop::collection::btree_map("[a-z.]{1,8}", prop::collection::vec(any::<i64>(), 0..9), 0..6),
        text in ".{0,20}",
    ) {
        let mut arrays = Arrays::default();
        for (name, column) in &columns {
            arrays.put_column(name.clone(), column);
        }
        let written = bytes(&Header::new(1, 2, json!(text)), &arrays);
        let mut read = parse(Path::new(PATH), &written).unwrap();
        prop_assert_eq!(read.header.run, json!(text));
        prop_assert_eq!(&read.arrays, &arrays);
        for (name, column) in &columns {
            prop_assert_eq!(&read.arrays.take_column::<i64>(name).unwrap(), column);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), keep in 0usize..400) {
        prop_assert!(parse(Path::new(PATH), &bytes).is_err());
        // The beginning of a good file, and nonsense after it.
        let whole = small();
        let mut mixed = whole[..keep.min(whole.len() - 1)].to_vec();
        mixed.extend(bytes);
        if mixed != whole {
            prop_assert!(parse(Path::new(PATH), &mixed).is_err());
        }
    }
}
