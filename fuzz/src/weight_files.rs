//! What is fuzzed of the readers of weights; as in `readers.rs`, an error is a good answer.
//!
//! Shared by a fuzz target and a test of the gate (`tests/weights/fuzz.rs`).

use std::fs;
use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::weights;

/// A file of weights, of either kind. What is read is written and read again.
pub fn file(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights");
    fs::write(&path, data).expect("a file");
    let Ok(read) = weights::open(&path) else {
        return;
    };
    let numbers: usize = read
        .tensors
        .values()
        .map(|tensor| tensor.values.len())
        .sum();
    assert!(
        numbers <= data.len(),
        "more numbers than the file has bytes"
    );
    let again = folder.path().join("again");
    let written = weights::write(&again, &read.tensors, read.model.as_ref());
    assert!(
        written.is_ok(),
        "what was read can't be written: {written:?}"
    );
    let back = weights::open(&again).map(|file| file.tensors);
    assert!(
        back.is_ok_and(|tensors| tensors == read.tensors),
        "it reads back otherwise"
    );
}

/// A state dict as `torch.save` writes it, with its pickle in place of the sound one.
pub fn state_dict(pickle: &[u8]) {
    file(&archive(pickle));
}

/// Small sound files, and nearly sound ones.
pub fn files() -> Vec<Vec<u8>> {
    let header: &[u8] = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[1,1],"data_offsets":[8,10]}}"#;
    let mut safetensors = (header.len() as u64).to_le_bytes().to_vec();
    safetensors.extend(header);
    safetensors.extend([0; 10]);
    vec![safetensors, archive(&pickles()[0]), pickles()[0].clone()]
}

/// Small sound pickles, and nearly sound ones.
pub fn pickles() -> Vec<Vec<u8>> {
    let tensor: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\0\0\0storageq\x01ctorch\nFloatStorage\nq\x02\
        X\x01\0\0\x000q\x03X\x03\0\0\0cpuq\x04K\x0ctq\x05QK\x00K\x03K\x04\x86q\x06K\x04K\x01\x86q\x07\
        \x89ccollections\nOrderedDict\nq\x08)Rq\ttq\nRq\x0b";
    vec![
        [b"\x80\x02}q\x10(X\x01\0\0\0aq\x11", tensor, b"u."].concat(),
        [
            b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\0\0\0b",
            tensor,
            b"u}X\x01\0\0\0vK\x01sb.",
        ]
        .concat(),
        b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.".to_vec(),
        b"\x80\x02]q\x00(K\x01G?\xf0\0\0\0\0\0\0N\x88e.".to_vec(),
    ]
}

fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let values = [0; 48];
    for (name, content) in [
        ("x/data.pkl", pickle),
        ("x/byteorder", b"little"),
        ("x/data/0", &values),
        ("x/version", b"3\n"),
    ] {
        writer
            .start_file(name, options)
            .and_then(|()| Ok(writer.write_all(content)?))
            .expect("in memory");
    }
    writer.finish().expect("in memory").into_inner()
}
