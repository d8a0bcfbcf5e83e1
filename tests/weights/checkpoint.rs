//! Files as `torch.save` writes them: a zip with the pickle of a state dict and the numbers.
//!
//! Protocol 2, entries stored and aligned to 64 bytes, as PyTorch 2 does it. Nothing is
//! checked, so that files can also be wrong.

use std::fs;
use std::path::Path;

/// A value of the pickled dictionary.
pub(super) enum Value<'a> {
    /// Numbers of a storage.
    Tensor(Strided<'a>),
    Int(u32),
    /// Another dictionary, built as an OrderedDict.
    Dict(Vec<(&'a str, Value<'a>)>),
    /// A call of a Python function with a text.
    Call {
        module: &'a str,
        name: &'a str,
        argument: &'a str,
    },
}

/// A view of a storage.
pub(super) struct Strided<'a> {
    /// PyTorch's class: FloatStorage, DoubleStorage, …
    pub(super) class: &'a str,
    /// Number of the storage.
    pub(super) storage: usize,
    /// Numbers in the whole storage.
    pub(super) numbers: u32,
    pub(super) offset: u32,
    pub(super) shape: &'a [u32],
    pub(super) stride: &'a [u32],
}

/// A contiguous f32 tensor that is all of `storage`.
pub(super) fn whole<'a>(storage: usize, shape: &'a [u32], stride: &'a [u32]) -> Value<'a> {
    of_class("FloatStorage", storage, shape, stride)
}

/// [`whole`] of another class.
pub(super) fn of_class<'a>(
    class: &'a str,
    storage: usize,
    shape: &'a [u32],
    stride: &'a [u32],
) -> Value<'a> {
    Value::Tensor(Strided {
        class,
        storage,
        numbers: shape.iter().product(),
        offset: 0,
        shape,
        stride,
    })
}

/// Numbers as a storage keeps them.
pub(super) fn f32_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// Writes what `torch.save(root, path)` does.
pub(super) fn save(path: &Path, root: &Value, storages: &[Vec<u8>]) {
    fs::write(path, archive("archive", &pickle(root), storages)).unwrap();
}

/// The zip of a pickle and its storages, under the folder `name` as PyTorch names it.
pub(super) fn archive(name: &str, pickle: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    let mut entries = vec![
        (format!("{name}/data.pkl"), pickle.to_vec()),
        (format!("{name}/byteorder"), b"little".to_vec()),
    ];
    let numbered = storages.iter().enumerate();
    entries.extend(numbered.map(|(n, bytes)| (format!("{name}/data/{n}"), bytes.clone())));
    entries.push((format!("{name}/version"), b"3\n".to_vec()));
    zip(&entries)
}

/// The pickle of `root` as the whole object.
pub(super) fn pickle(root: &Value) -> Vec<u8> {
    let mut out = b"\x80\x02".to_vec();
    if let Value::Dict(entries) = root {
        dict(&mut out, entries);
        // state_dict() is an OrderedDict with an attribute.
        out.extend(b"}");
        text(&mut out, "_metadata");
        dict(
            &mut out,
            &[("", Value::Dict(vec![("version", Value::Int(1))]))],
        );
        out.extend(b"sb");
    } else {
        value(&mut out, root);
    }
    out.push(b'.');
    out
}

fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(number) => int(out, *number),
        Value::Dict(entries) => dict(out, entries),
        Value::Tensor(tensor) => strided(out, tensor),
        Value::Call {
            module,
            name,
            argument,
        } => {
            global(out, module, name);
            text(out, argument);
            out.extend(b"\x85R"); // TUPLE1, REDUCE
        }
    }
}

fn dict(out: &mut Vec<u8>, entries: &[(&str, Value)]) {
    global(out, "collections", "OrderedDict");
    out.extend(b")R(");
    for (name, entry) in entries {
        text(out, name);
        value(out, entry);
    }
    out.push(b'u');
}

/// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`.
fn strided(out: &mut Vec<u8>, tensor: &Strided) {
    global(out, "torch._utils", "_rebuild_tensor_v2");
    out.extend(b"((");
    text(out, "storage");
    global(out, "torch", tensor.class);
    text(out, &tensor.storage.to_string());
    text(out, "cpu");
    int(out, tensor.numbers);
    out.extend(b"tQ");
    int(out, tensor.offset);
    for lengths in [tensor.shape, tensor.stride] {
        out.push(b'(');
        lengths.iter().for_each(|length| int(out, *length));
        out.push(b't');
    }
    out.push(0x89); // False
    global(out, "collections", "OrderedDict");
    out.extend(b")RtR");
}

fn global(out: &mut Vec<u8>, module: &str, name: &str) {
    out.extend(format!("c{module}\n{name}\n").as_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, number: u32) {
    match u8::try_from(number) {
        Ok(byte) => out.extend([b'K', byte]),
        Err(_) => {
            out.push(b'J');
            out.extend(number.to_le_bytes());
        }
    }
}

/// A zip of stored entries, each beginning at a multiple of 64 bytes, with sizes behind the
/// content and with the records of a large archive, all as PyTorch writes it.
fn zip(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    const LOCAL_BYTES: usize = 30;
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let offset = out.len();
        // An extra field "FB" fills up; it is at least four bytes long itself.
        let begin = offset + LOCAL_BYTES + name.len() + 4;
        let fill = begin.next_multiple_of(64) - begin;
        // Version, flags (sizes follow, UTF-8), stored, time, date.
        let kind = [0, 0, 8, 8, 0, 0, 0, 0, 0, 0];
        let mut sizes = crc32(content).to_le_bytes().to_vec();
        sizes.extend([le32(content.len()), le32(content.len())].concat());

        out.extend(b"PK\x03\x04");
        out.extend(kind);
        out.extend([0; 12]); // sizes
        out.extend(le16(name.len()));
        out.extend(le16(fill + 4));
        out.extend(name.as_bytes());
        out.extend(b"FB");
        out.extend(le16(fill));
        out.resize(out.len() + fill, b'Z');
        out.extend(content);
        out.extend(b"PK\x07\x08");
        out.extend(&sizes);

        directory.extend(b"PK\x01\x02\0\0");
        directory.extend(kind);
        directory.extend(&sizes);
        directory.extend(le16(name.len()));
        directory.extend([0; 12]); // extra, comment, disk, attributes
        directory.extend(le32(offset));
        directory.extend(name.as_bytes());
    }
    let start = out.len();
    out.extend(&directory);
    let end = out.len();
    out.extend(b"PK\x06\x06");
    out.extend(le64(44)); // bytes that follow
    out.extend([0x1e, 3, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // versions, disks
    for number in [entries.len(), entries.len(), directory.len(), start] {
        out.extend(le64(number));
    }
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend(le64(end));
    out.extend(le32(1)); // disks
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([le16(entries.len()), le16(entries.len())].concat());
    out.extend([le32(directory.len()), le32(start)].concat());
    out.extend([0, 0]); // comment
    out
}

fn le16(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_le_bytes()
}

fn le32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}

fn le64(number: usize) -> [u8; 8] {
    (number as u64).to_le_bytes()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
