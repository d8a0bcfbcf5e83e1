//! Features in `.npz` and `.pt` files.

use std::fs;

use half::f16;
use mspipe_datasets::{FeatureTable, FeatureType, OpenOptions, arrays};
use proptest::prelude::*;
use pytorch_reader::PytorchReader;

use super::bench::{Bench, deflated, f32_bytes, npy, rows, stored};
use super::torch::Tensor;

const TWO_EVENTS: &[u8] = b"src,dst,time\n0,1,1\n1,0,2\n";

fn edges(bench: &Bench, file: &str) -> OpenOptions {
    OpenOptions {
        edge_features: Some(bench.path(file)),
        ..bench.options()
    }
}

fn table(content: &[u8]) -> Result<FeatureTable, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, content).unwrap();
    arrays::read_table(&path, "").map_err(|e| e.to_string())
}

#[test]
fn tgl_folder_with_tensors() {
    let bools = [1u8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1];
    let halves: Vec<u8> = [0.5f32, -2.0]
        .iter()
        .flat_map(|&x| f16::from_f32(x).to_le_bytes())
        .collect();
    let bench = Bench::new(&[
        ("G/edges.csv", TWO_EVENTS),
        (
            "G/edge_features.pt",
            &Tensor::dense("BoolStorage", &[2, 9], &[9, 1], &bools).file(),
        ),
        (
            "G/node_features.pt",
            &Tensor::dense("HalfStorage", &[2, 1], &[1, 1], &halves).file(),
        ),
    ]);
    let log = bench.open("G");
    let edge = log.edge_features().unwrap();
    assert_eq!((edge.feature_type(), edge.width()), (FeatureType::Bits, 9));
    assert_eq!(edge.as_bytes(), [1, 1, 2, 1]);
    let node = log.node_features().unwrap();
    assert_eq!(
        (node.feature_type(), node.as_bytes()),
        (FeatureType::F16, &halves[..])
    );
}

#[test]
fn tensors_with_offset_of_one_dimension_and_deflated() {
    let values = f32_bytes(&[9.0, 1.0, 2.0, 3.0]);
    let part = Tensor {
        storage: "FloatStorage",
        offset: 1,
        shape: &[3],
        strides: &[1],
        values: &values,
    };
    let found = table(&part.file()).unwrap();
    assert_eq!((found.rows(), found.width()), (3, 1));
    assert_eq!(found.as_f32(), Some(&[1.0, 2.0, 3.0][..]));
    let packed = deflated(&[("a/data.pkl", &part.pickle()), ("a/data/0", &values)]);
    assert_eq!(table(&packed).unwrap().as_bytes(), found.as_bytes());
}

fn refused(content: &[u8], words: &str) {
    let message = table(content).unwrap_err();
    assert!(message.contains(words), "{message}");
}

#[test]
fn foreign_and_damaged_descriptions() {
    let values = f32_bytes(&[1.0; 6]);
    let good = Tensor::dense("FloatStorage", &[3, 2], &[2, 1], &values);
    assert_eq!(table(&good.file()).unwrap().rows(), 3);
    let operations = good.operations();
    let pickled =
        |head: &[u8], tail: &[u8]| good.file_with(&[b"\x80\x02", head, &operations, tail].concat());
    refused(
        &pickled(b"}X\x01\0\0\0a", b"s."),
        "not a single dense tensor: a dictionary with entries was found (at byte ",
    );
    refused(&pickled(b"", b"\x85."), "a tuple of 1 values was found");
    refused(
        &pickled(b"cos\nsystem\nX\x02\0\0\0ls\x85R", b"."),
        "a call of `os system` was found",
    );
    refused(
        &pickled(b"(cposix\nsystem\nX\x02\0\0\0lso", b"."),
        "pickle operation 0x6f",
    );
    refused(
        &pickled(b"cbuiltins\neval\n", b"0."),
        "pickle operation 0x30",
    );
    refused(
        &good.file_with(b"\x80\x02"),
        "the pickle is damaged or cut off",
    );
    refused(
        &good.file_with(&[b'('; 70_000]),
        "more than one tensor takes",
    );
    refused(
        &good.file_with(&[b'('; 5_000]),
        "over 4096 values that belong to nothing yet were found; a tensor has fewer",
    );
    // Tuples in tuples, which are dropped one inside the other, and a text kept again and again.
    let nested = [&b"\x80\x02)"[..], &[0x85; 60_000]].concat();
    refused(
        &good.file_with(&nested),
        "tuples in tuples, over 16 deep, were found",
    );
    let mut kept = b"\x80\x04X\0\x80\0\0".to_vec();
    kept.extend([b'a'; 0x8000]);
    kept.extend([0x94; 20_000]);
    refused(&good.file_with(&kept), "the pickle is damaged or cut off");
    refused(
        &good.file_with(&good.pickle()[..60]),
        "the pickle is damaged or cut off",
    );
}

#[test]
fn tensors_that_are_no_table() {
    let values = f32_bytes(&[1.0; 6]);
    let good = Tensor::dense("FloatStorage", &[3, 2], &[2, 1], &values);
    let with = |change: &dyn Fn(&mut Tensor)| {
        let mut tensor = good.clone();
        change(&mut tensor);
        tensor.file()
    };
    refused(
        &with(&|t| t.strides = &[1, 3]),
        "strides [1, 3] found, [2, 1] expected for a tensor of 3 x 2: it is transposed",
    );
    refused(
        &with(&|t| t.shape = &[4, 2]),
        "24 bytes of data found, 32 expected for 4 x 2 values",
    );
    refused(
        &with(&|t| t.offset = 1),
        "24 bytes of data found, 24 expected for 3 x 2 values from value 1 on",
    );
    refused(
        &with(&|t| (t.shape, t.strides) = (&[u64::MAX / 2, 8], &[8, 1])),
        "no file can hold",
    );
    refused(
        &with(&|t| (t.shape, t.strides) = (&[1, 3, 2], &[6, 2, 1])),
        "3 dimensions found, one or two expected",
    );
    refused(
        &with(&|t| t.storage = "BFloat16Storage"),
        "values of type BFloat16Storage found; float16, float32",
    );
    refused(
        &stored(&[("a/data.pkl", &good.pickle())]),
        "its values, a/data/0, are missing",
    );
    refused(
        &stored(&[
            ("a/data.pkl", &good.pickle()),
            ("a/data/0", &values),
            ("a/byteorder", b"big"),
        ]),
        "byte order `big` found",
    );
    let mut flipped = good.file();
    let at = flipped.windows(24).position(|w| w == &values[..]).unwrap();
    flipped[at] ^= 1;
    refused(&flipped, "damaged or cut off from row 0 on (its CRC-32 is ");
    let mut legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    legacy.extend(&values);
    refused(
        &legacy,
        "a pickle (a PyTorch file from before version 1.6, or another Python object), which could run code",
    );
}

#[test]
fn npz_arrays_by_name() {
    let one = npy("<f4", "(2, 1)", &f32_bytes(&[1.0, 2.0]));
    let two = npy("<f4", "(2, 1)", &f32_bytes(&[3.0, 4.0]));
    let bench = Bench::new(&[
        ("e.csv", TWO_EVENTS),
        ("one.npz", &deflated(&[("arr_0.npy", &one)])),
        ("two.npz", &stored(&[("a.npy", &one), ("b.npy", &two)])),
        (
            "named.npz",
            &stored(&[("other.npy", &one), ("edge_features.npy", &two)]),
        ),
        ("text.npz", &stored(&[("readme.txt", b"hello")])),
        ("cut.npz", &stored(&[("a.npy", &one[..one.len() - 3])])),
        ("plain.npy", &one),
        ("T/edges.csv", TWO_EVENTS),
        (
            "T/edge_features.npz",
            &deflated(&[("edge_features.npy", &two), ("x.npy", &one)]),
        ),
    ]);
    let read = |file: &str| {
        bench
            .open_with("e.csv", edges(&bench, file))
            .map(|log| rows(&log))
    };
    assert_eq!(read("one.npz"), Ok(vec![1.0, 2.0]));
    assert_eq!(read("two.npz:b"), Ok(vec![3.0, 4.0]));
    assert_eq!(read("two.npz:a"), Ok(vec![1.0, 2.0]));
    assert_eq!(read("named.npz"), Ok(vec![3.0, 4.0]));
    assert_eq!(rows(&bench.open("T")), [3.0, 4.0]);
    let refused = |file: &str, words: &str| {
        let message = read(file).unwrap_err();
        assert!(message.contains(words), "{message}");
    };
    refused("two.npz", "2 arrays found (a, b); say which one is meant: ");
    refused("two.npz:c", "no array is called `c`; there are a, b");
    refused(
        "text.npz",
        "neither a NumPy array (NAME.npy) nor a PyTorch tensor",
    );
    refused("cut.npz", "5 bytes of data found, 8 expected for 2 x 1");
    refused("none.npz:a", "none.npz: there is no such file");
    fs::rename(bench.path("plain.npy"), bench.path("plain.npz")).unwrap();
    refused(
        "plain.npz:a",
        "`:a` names an array of an .npz file, but this is none",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A tensor is read back as written, and as an independent reader of PyTorch's files reads it.
    #[test]
    fn torch_round_trip(rows in 1u64..40, width in 1u64..20, seed in any::<u64>()) {
        let values = FeatureTable::random_normal(rows as usize, width as usize, seed);
        let (shape, strides) = ([rows, width], [width, 1]);
        let tensor = Tensor::dense("FloatStorage", &shape, &strides, values.as_bytes());
        let found = table(&tensor.file()).unwrap();
        prop_assert_eq!((found.rows() as u64, found.width() as u64), (rows, width));
        prop_assert_eq!(found.as_bytes(), values.as_bytes());

        // That reader wants a dictionary around the tensor.
        let wrapped = [&b"\x80\x02}X\x01\0\0\0a"[..], &tensor.operations(), b"s."].concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pt");
        fs::write(&path, tensor.file_with(&wrapped)).unwrap();
        let other = PytorchReader::new(&path).unwrap();
        let other = other.get("a").unwrap();
        prop_assert_eq!(other.shape(), &[rows as usize, width as usize]);
        prop_assert_eq!(other.read().unwrap(), values.as_bytes());
    }

    #[test]
    fn bools_of_tensors_are_packed(rows in 1usize..20, width in 1usize..20, bits in prop::collection::vec(any::<bool>(), 400)) {
        let values: Vec<u8> = bits[..rows * width].iter().map(|&bit| u8::from(bit)).collect();
        let (shape, strides) = ([rows as u64, width as u64], [width as u64, 1]);
        let found = table(&Tensor::dense("BoolStorage", &shape, &strides, &values).file()).unwrap();
        prop_assert_eq!(found.feature_type(), FeatureType::Bits);
        let mut row = vec![0.0; width];
        for (i, expected) in bits[..rows * width].chunks(width).enumerate() {
            found.row_into(i, &mut row);
            prop_assert!(row.iter().zip(expected).all(|(&found, &bit)| found == f32::from(u8::from(bit))));
        }
    }

    #[test]
    fn damaged_archives_of_arrays_never_panic(torch in any::<bool>(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let values = f32_bytes(&[1.0; 6]);
        let mut file = match torch {
            true => Tensor::dense("FloatStorage", &[3, 2], &[2, 1], &values).file(),
            false => deflated(&[("a.npy", &npy("<f4", "(3, 2)", &values))]),
        };
        let at = at.index(file.len());
        if cut { file.truncate(at) } else { file[at] ^= 1 << bit }
        if let Ok(table) = table(&file) {
            // What is still read must be what was written, or say so by its shape.
            prop_assert!(table.as_bytes().len() <= values.len());
        }
    }

    #[test]
    fn no_pickle_panics(pickle in prop::collection::vec(prop::sample::select(
        b"\x80\x02\x95(N\x88\x89})KMJ\x8aX\x8cc\x93qr\x94hjt\x85\x86\x87QR.su0\n\0\x01".to_vec()), 0..60)) {
        let values = f32_bytes(&[1.0; 6]);
        let tensor = Tensor::dense("FloatStorage", &[3, 2], &[2, 1], &values);
        prop_assert!(table(&tensor.file_with(&pickle)).is_err());
    }
}
