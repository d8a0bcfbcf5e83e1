//! Pickles that are made to exhaust a machine, and how each of them ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// A reader that takes any entry and keeps what it is told to.
struct Anything;

impl Objects for Anything {
    type Object = ();

    const SUBJECT: &'static str = "nothing";

    fn call(&mut self, function: &str, _: &[Value<()>]) -> Result<Value<()>, String> {
        Err(format!("a call of {function} was found"))
    }

    fn entry(&mut self, _: &Value<()>, value: &Value<()>, room: &mut Room) -> Result<(), String> {
        match value {
            Value::Bytes(bytes) => room.take(8 * bytes.len() as u64),
            _ => Ok(()),
        }
    }
}

fn refusal(bytes: &[u8]) -> String {
    let limits = Limits::of_file(bytes.len() as u64);
    match interpret(bytes, limits, Anything) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    }
}

fn times(count: usize, operations: &[u8]) -> Vec<u8> {
    operations.repeat(count)
}

#[test]
fn nesting_is_bounded_before_it_is_dropped() {
    for operation in [&b"\x85"[..], b"N\x86", b"NN\x87", b"\x94\x85"] {
        let bytes = [
            b"\x80\x04)".to_vec(),
            times(200_000, operation),
            b".".to_vec(),
        ]
        .concat();
        let message = refusal(&bytes);
        assert!(
            message.starts_with(
                "tuples in tuples, over 16 deep, were found; nothing has 16 at most (at byte "
            ),
            "{message}"
        );
    }
    let marks = [times(200_000, b"("), times(200_000, b"t"), b".".to_vec()].concat();
    let message = refusal(&marks);
    assert!(
        message.contains("over 4096 values that belong to nothing yet"),
        "{message}"
    );
}

#[test]
fn what_grows_is_bounded_by_the_files_size() {
    // One array of 1 MiB under 300 keys.
    let shared = [b"}(".to_vec(), times(300, b"K\x01h\x00"), b"u.".to_vec()].concat();
    let held = [
        &b"\x80\x04B\0\0\x10\0"[..],
        &vec![7; 1 << 20],
        b"\x94",
        &shared,
    ]
    .concat();
    let message = refusal(&held);
    assert!(
        message.starts_with(
            "its values take more than 48.04 MiB of memory, which a file of 1.00 MiB does not \
             explain or this machine does not have (at byte "
        ),
        "{message}"
    );
    // Every name takes 32 bytes and its place in the memo; its file takes 4.
    let names = [times(1 << 19, b"c\n\n0"), b"N.".to_vec()].concat();
    assert!(
        refusal(&names).contains("pickle operation 0x30"),
        "nothing takes a value away"
    );
    let slots = [b"N".to_vec(), times(1 << 20, b"\x94")].concat();
    let message = refusal(&slots);
    assert!(
        message.contains(CUT_OFF),
        "a memo as long as its file is kept: {message}"
    );
}

#[test]
fn claimed_lengths_reserve_nothing() {
    for head in [
        &b"\x80\x04B\xff\xff\xff\xff"[..],
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x04\x8d\0\0\0\0\0\0\0\x80",
        b"\x80\x04X\xff\xff\xff\x7f",
        b"\x80\x04\x8b\xff\xff\xff\x7f",
    ] {
        let message = refusal(head);
        assert!(
            message.starts_with("its values take more than 16.00 MiB"),
            "{message}"
        );
        assert!(message.ends_with("(at byte 2 of the pickle)"), "{message}");
    }
    assert!(
        refusal(b"\x80\x04B\0\0\x10\0ab").contains("1048576 bytes of a value announced, 2 there")
    );
}

#[test]
fn values_that_are_not_there_are_damage() {
    for bytes in [
        &b"."[..],
        b"\x85",
        b"(\x85",
        b"t",
        b"R",
        b"(NR",
        b"s",
        b"}s",
        b"u",
        b"h\x00",
        b"\x94",
        b"Nr\x01\0\0\0",
        b"\x93",
        b"b",
        b"Q",
        b"",
        b"\x80",
    ] {
        assert!(
            refusal(bytes).contains(CUT_OFF),
            "{bytes:?}: {}",
            refusal(bytes)
        );
    }
    assert!(refusal(b"\x8a\x09123456789").contains("a number of 72 bits"));
    assert!(refusal(b"\x80\x06").contains("a protocol later than 5"));
    assert!(refusal(b"cos\nsystem\n)R").contains("a call of os system was found (at byte 12"));
    assert!(refusal(b"N)R").contains("a call of something without a name"));
    assert!(refusal(b"NN\x93").contains("a name that is not text"));
    assert!(refusal(b"}(NNNu").contains("damaged or cut off"));
}
