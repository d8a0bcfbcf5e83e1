//! PyTorch's `.pt` files: one dense tensor at the top level, as TGL's features are.
//!
//! A file is a zip archive of `data.pkl`, which describes the tensor, and
//! `data/KEY`, its values, stored without compression. The description is read by
//! an interpreter of the few pickle operations that a tensor takes; it calls
//! nothing, so a file can't run code. The values are streamed: TGL's GDELT has
//! 35.6 GB of them. Dictionaries, sparse, quantised, transposed and big-endian
//! tensors and files from before PyTorch 1.6 are refused with the call that
//! converts them.
//! Source: <https://docs.pytorch.org/docs/stable/notes/serialization.html>,
//! `torch/_utils.py` (`_rebuild_tensor_v2`).

use std::io::{self, Read};
use std::path::Path;

use crate::arrays::reader::{ArrayReader, Element, Header};
use crate::error::DataError;
use crate::files::input_file::InputFile;
use crate::files::packed::{Entry, is_torch_pickle};

mod pickle;

use pickle::Tensor;

/// A tensor's description is some 200 bytes.
const MAX_PICKLE: u64 = 1 << 16;
const SAVE_TENSOR: &str = "torch.save(x.contiguous().clone(), FILE), x being the tensor";

/// Opens the tensor in the archive `archive`.
pub(crate) fn open(archive: &InputFile, entries: &[Entry]) -> Result<ArrayReader, DataError> {
    let path = archive.shown();
    let refuse = |problem: String| DataError::array(path, problem);
    let Some(pickle) = entries.iter().find(|entry| is_torch_pickle(&entry.name)) else {
        return Err(refuse("a PyTorch file without data.pkl".to_owned()));
    };
    let root = pickle.name.strip_suffix("data.pkl").unwrap_or_default();
    let entry = |name: &str| {
        let name = format!("{root}{name}");
        entries.iter().find(move |entry| entry.name == name)
    };
    if let Some(order) = entry("byteorder") {
        let text = read(archive, order)?;
        if text.trim_ascii() != b"little" {
            return Err(refuse(format!(
                "byte order {} found, `little` expected; save the tensor again on a little-endian machine",
                crate::error::quoted(&text)
            )));
        }
    }
    let tensor = pickle::parse(&read(archive, pickle)?).map_err(|problem| {
        refuse(format!(
            "not a single dense tensor: {problem}; save the tensor by itself: {SAVE_TENSOR}"
        ))
    })?;
    let element = element(&tensor.storage).ok_or_else(|| {
        refuse(format!(
            "values of type {} found; float16, float32, float64, bool, uint8, int32 and int64 are readable: torch.save(x.float(), FILE)",
            tensor.storage
        ))
    })?;
    let header = header(path, &tensor, element)?;
    let Some(values) = entry(&format!("data/{}", tensor.key)) else {
        return Err(refuse(format!(
            "its values, {root}data/{}, are missing; copy or save the file again",
            tensor.key
        )));
    };
    let size = element.bytes() as u64;
    let (bytes, skip) = (header.bytes(path)?, tensor.offset.checked_mul(size));
    let needed = skip.and_then(|skip| skip.checked_add(bytes));
    if needed.is_none_or(|needed| needed > values.size) {
        return Err(refuse(format!(
            "{} bytes of data found, {bytes} expected for {} x {} values from value {} on; the file is damaged: copy or save it again",
            values.size, header.rows, header.width, tensor.offset
        )));
    }
    let mut file = values.open(archive)?;
    io::copy(&mut (&mut file).take(skip.unwrap_or(0)), &mut io::sink())
        .map_err(DataError::io("read", path))?;
    Ok(ArrayReader::new(path.to_path_buf(), file, header))
}

/// A small entry as a whole.
fn read(archive: &InputFile, entry: &Entry) -> Result<Vec<u8>, DataError> {
    let path = archive.shown();
    if entry.size > MAX_PICKLE {
        return Err(DataError::array(
            path,
            format!(
                "{} has {} bytes, more than one tensor takes; save the tensor by itself: {SAVE_TENSOR}",
                entry.name, entry.size
            ),
        ));
    }
    let mut bytes = Vec::new();
    entry
        .open(archive)?
        .read_to_end(&mut bytes)
        .map_err(|error| {
            DataError::array(
                path,
                format!(
                    "{} is damaged ({error}); copy or save the file again",
                    entry.name
                ),
            )
        })?;
    Ok(bytes)
}

fn element(storage: &str) -> Option<Element> {
    Some(match storage {
        "HalfStorage" => Element::F16,
        "FloatStorage" => Element::F32,
        "DoubleStorage" => Element::F64,
        "BoolStorage" => Element::Bool,
        "ByteStorage" => Element::U8,
        "IntStorage" => Element::I32,
        "LongStorage" => Element::I64,
        _ => return None,
    })
}

/// The shape, if the values lie row by row.
fn header(path: &Path, tensor: &Tensor, element: Element) -> Result<Header, DataError> {
    let (rows, width) = match tensor.shape[..] {
        [rows] => (rows, 1),
        [rows, width] => (rows, width),
        _ => {
            return Err(DataError::array(
                path,
                format!(
                    "{} dimensions found, one or two expected: torch.save(x.reshape(len(x), -1), FILE)",
                    tensor.shape.len()
                ),
            ));
        }
    };
    let expected = match tensor.shape.len() {
        1 => vec![1],
        _ => vec![width, 1],
    };
    // The stride of a dimension of one element is never used.
    let fits = tensor.strides.len() == expected.len()
        && (tensor.strides.iter().zip(&expected).zip(&tensor.shape))
            .all(|((found, expected), size)| found == expected || *size <= 1);
    if !fits && rows > 0 && width > 0 {
        return Err(DataError::array(
            path,
            format!(
                "strides {:?} found, {expected:?} expected for a tensor of {rows} x {width}: it is transposed or a part of another one; {SAVE_TENSOR}",
                tensor.strides
            ),
        ));
    }
    let small = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    Ok(Header {
        element,
        rows: small(rows),
        width: small(width),
    })
}
