//! What is fuzzed of checkpoints; as in `readers.rs`, an error is a good answer.
//!
//! Shared by a fuzz target and a test of the gate (`tests/resume/fuzz.rs`).

use std::path::Path;

use sha2::{Digest, Sha256};

use super::checkpoint::{self, ENTRY, FORMAT};

/// Bytes of the checksum at the end.
const SHA256_BYTES: usize = 32;

/// A checkpoint; then the same with the checksum that its bytes ask for, so that what is behind it
/// is tried too.
pub fn file(data: &[u8]) {
    read(data);
    let content = &data[..data.len().saturating_sub(SHA256_BYTES)];
    read(&[content, Sha256::digest(content).as_slice()].concat());
}

fn read(data: &[u8]) {
    let Ok(mut checkpoint) = checkpoint::parse(Path::new("checkpoint"), data) else {
        return;
    };
    assert_eq!(checkpoint.header.format, FORMAT);
    let names: Vec<String> = checkpoint.arrays.names().map(str::to_owned).collect();
    for name in names {
        let arrays = &mut checkpoint.arrays;
        let Ok((shape, values)) = arrays.take::<f32>(&name) else {
            continue;
        };
        let numbers = shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n));
        assert_eq!(
            numbers,
            Some(values.len()),
            "an array that its shape does not fit"
        );
        assert!(
            4 * values.len() <= data.len(),
            "more numbers than the file has bytes"
        );
    }
}

/// Small sound files, and nearly sound ones.
pub fn files() -> Vec<Vec<u8>> {
    let run = r#"{\"format\":1,\"producer\":\"mspipe\",\"epoch\":1,\"iteration\":2,\"run\":{}}"#;
    let whole = sealed(
        &format!(
            r#"{{"__metadata__":{{"{ENTRY}":"{run}"}},"a":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},"sha256":{{"dtype":"U8","shape":[32],"data_offsets":[8,40]}}}}"#
        ),
        &[0; 8],
    );
    let older = sealed(
        &format!(
            r#"{{"__metadata__":{{"{ENTRY}":"{}"}},"sha256":{{"dtype":"U8","shape":[32],"data_offsets":[0,32]}}}}"#,
            run.replace(":1,", ":0,"),
        ),
        &[],
    );
    let foreign = sealed(
        r#"{"sha256":{"dtype":"U8","shape":[32],"data_offsets":[0,32]}}"#,
        &[],
    );
    let cut = whole[..whole.len() - 5].to_vec();
    vec![whole, older, foreign, cut]
}

fn sealed(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    let content = [&length, header.as_bytes(), data].concat();
    let checksum = Sha256::digest(&content);
    [content.as_slice(), checksum.as_slice()].concat()
}
