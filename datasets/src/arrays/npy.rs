//! NumPy's `.npy` files: the header of one array.
//!
//! Versions 1, 2 and 3. What cannot be read is refused with the NumPy call that
//! converts it.
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{BufReader, Read};
use std::path::Path;

use crate::arrays::reader::{ArrayReader, Element, Header};
use crate::error::DataError;
use crate::files::input_file::{Bytes, InputFile};

/// Largest header that is believed; NumPy's own are about a hundred bytes.
const MAX_HEADER: usize = 1 << 20;

/// Opens a `.npy` file whose first bytes are `start`.
pub(crate) fn open(input: &InputFile, start: &[u8]) -> Result<ArrayReader, DataError> {
    let (path, size) = (input.shown(), input.bytes()?);
    if start.starts_with(&[0x80]) && start.get(1).is_some_and(|&protocol| protocol <= 5) {
        return Err(DataError::array(
            path,
            "a pickle (a PyTorch file from before version 1.6, or another Python object), which could run code; \
             save the tensor again: torch.save(torch.load(FILE), FILE) with a newer PyTorch",
        ));
    }
    if start.starts_with(&[0x1f, 0x8b]) {
        return Err(DataError::array(
            path,
            "compressed with gzip; arrays are read unpacked: gzip -d FILE",
        ));
    }
    read_header(
        path,
        Box::new(BufReader::with_capacity(1 << 17, input.open()?)),
        size,
    )
}

/// Reads the header at the start of `file`, which has `size` bytes.
pub(crate) fn read_header(
    path: &Path,
    mut file: Bytes,
    size: u64,
) -> Result<ArrayReader, DataError> {
    let mut start = [0u8; 8];
    let truncated = |what: &str| {
        DataError::array(
            path,
            format!("ends inside its {what} after {size} bytes; copy the file again"),
        )
    };
    file.read_exact(&mut start)
        .map_err(|_| truncated("header"))?;
    if &start[..6] != b"\x93NUMPY" {
        return Err(DataError::array(
            path,
            format!(
                "starts with {}, a NumPy array starts with `\\x93NUMPY`; arrays are read from .npy, .npz and .pt files: \
                 save it with numpy.save, numpy.savez or torch.save",
                crate::error::quoted(&start)
            ),
        ));
    }
    let (length_bytes, version) = match start[6] {
        1 => (2, 1),
        version @ (2 | 3) => (4, version),
        other => {
            return Err(DataError::array(
                path,
                format!("NPY version {other} found, 1 to 3 expected; save it with numpy.save"),
            ));
        }
    };
    let mut length = [0u8; 4];
    file.read_exact(&mut length[..length_bytes])
        .map_err(|_| truncated("header"))?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(DataError::array(
            path,
            format!(
                "a header of {length} bytes found, at most {MAX_HEADER} expected; the file is damaged"
            ),
        ));
    }
    let mut header = vec![0u8; length];
    file.read_exact(&mut header)
        .map_err(|_| truncated("header"))?;
    let header = String::from_utf8_lossy(&header);
    let header = parse_header(path, &header)?;
    let expected = header.bytes(path)?;
    let found = size - (8 + length_bytes + length) as u64;
    if found != expected {
        return Err(DataError::array(
            path,
            format!(
                "{found} bytes of data found, {expected} expected for {} x {} values of {} bytes (NPY version {version}); \
                 the file is {}: copy or save it again",
                header.rows,
                header.width,
                header.element.bytes(),
                if found < expected {
                    "truncated"
                } else {
                    "longer than its header says"
                }
            ),
        ));
    }
    Ok(ArrayReader::new(path.to_path_buf(), file, header))
}

fn element(path: &Path, descr: &str) -> Result<Element, DataError> {
    Ok(match descr {
        "<f2" => Element::F16,
        "<f4" => Element::F32,
        "<f8" => Element::F64,
        "|b1" => Element::Bool,
        "|u1" => Element::U8,
        "<i4" => Element::I32,
        "<i8" => Element::I64,
        other => {
            let why = match other.starts_with('>') {
                true => "big-endian values",
                false => "values",
            };
            return Err(DataError::array(
                path,
                format!(
                    "{why} of type `{other}` found; <f2 <f4 <f8 |b1 |u1 <i4 <i8 are readable: numpy.save(file, a.astype('<f4'))"
                ),
            ));
        }
    })
}

/// The header is a Python dictionary with the keys `descr`, `fortran_order` and `shape`.
fn parse_header(path: &Path, header: &str) -> Result<Header, DataError> {
    let shown = crate::error::quoted(header.trim().as_bytes());
    let damaged = |what: &str| {
        DataError::array(
            path,
            format!("its header {shown} has no {what}; save the array again with numpy.save"),
        )
    };
    let value = |key: &str| {
        let (_, rest) = header.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let descr = value("descr").ok_or_else(|| damaged("'descr'"))?;
    let descr = descr
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
        .map(|(name, _)| name)
        .ok_or_else(|| DataError::array(path, "it is an array of records; save a plain array of numbers, such as a.view('<f4').reshape(len(a), -1)"))?;
    let element = element(path, descr)?;
    let order = value("fortran_order").ok_or_else(|| damaged("'fortran_order'"))?;
    if order.starts_with("True") {
        return Err(DataError::array(
            path,
            "column-major (Fortran) order found, row-major expected: numpy.save(file, numpy.ascontiguousarray(a))",
        ));
    } else if !order.starts_with("False") {
        return Err(damaged("valid 'fortran_order'"));
    }
    let shape = value("shape")
        .and_then(|text| text.strip_prefix('('))
        .and_then(|text| text.split_once(')'))
        .map(|(inside, _)| inside)
        .ok_or_else(|| damaged("'shape'"))?;
    let dims = shape
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(|dim| dim.parse::<usize>().map_err(|_| damaged("valid 'shape'")))
        .collect::<Result<Vec<_>, _>>()?;
    let header = |rows, width| {
        Ok(Header {
            element,
            rows,
            width,
        })
    };
    match dims[..] {
        [rows] => header(rows, 1),
        [rows, width] => header(rows, width),
        _ => Err(DataError::array(
            path,
            format!(
                "{} dimensions found, one or two expected: numpy.save(file, a.reshape(len(a), -1))",
                dims.len()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::arrays::read_table;
    use crate::stream::features::{FeatureTable, FeatureType};
    use half::f16;
    use proptest::prelude::*;

    fn npy(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x93NUMPY".to_vec();
        out.extend([version, 0]);
        match version {
            1 => out.extend((header.len() as u16).to_le_bytes()),
            _ => out.extend((header.len() as u32).to_le_bytes()),
        }
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    fn header(descr: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}          \n")
    }

    fn read(content: &[u8]) -> Result<FeatureTable, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        std::fs::write(&path, content).unwrap();
        read_table(&path, "").map_err(|e| e.to_string())
    }

    fn values(content: &[u8]) -> Vec<f32> {
        let table = read(content).unwrap();
        let ids: Vec<u32> = (0..table.rows() as u32).collect();
        let mut out = vec![0.0; table.rows() * table.width()];
        table.gather_into(&ids, &mut out);
        out
    }

    #[test]
    fn reads_every_type_and_version() {
        let f64s: Vec<u8> = [1.5f64, -2.0, 3.0, 4.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        assert_eq!(
            values(&npy(2, &header("<f8", "(2, 2)"), &f64s)),
            [1.5, -2.0, 3.0, 4.0]
        );
        let f32s: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        assert_eq!(
            values(&npy(1, &header("<f4", "(1, 2)"), &f32s)),
            [1.5, -2.0]
        );
        let f16s: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect();
        assert_eq!(values(&npy(3, &header("<f2", "(2,)"), &f16s)), [1.5, -2.0]);
        assert_eq!(
            values(&npy(1, &header("|u1", "(1, 3)"), &[0, 7, 255])),
            [0.0, 7.0, 255.0]
        );
        let i32s: Vec<u8> = [-1i32, 9].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(
            values(&npy(1, &header("<i4", "(2, 1)"), &i32s)),
            [-1.0, 9.0]
        );
        let i64s: Vec<u8> = [-1i64, 9].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(
            values(&npy(1, &header("<i8", "(2, 1)"), &i64s)),
            [-1.0, 9.0]
        );
        let bools = [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let table = read(&npy(1, &header("|b1", "(2, 9)"), &bools)).unwrap();
        assert_eq!(
            (table.feature_type(), table.as_bytes()),
            (FeatureType::Bits, &[1u8, 1, 2, 0][..])
        );
    }

    #[test]
    fn refuses_with_a_remedy() {
        let refused = |content: &[u8], words: &str| {
            let message = read(content).unwrap_err();
            assert!(message.contains(words), "{message}");
        };
        refused(b"", "ends inside its header after 0 bytes");
        refused(b"PK\x03\x04 and more", "a zip archive that cannot be read");
        refused(b"user_id,item_id", "a NumPy array starts with");
        refused(&npy(4, "", &[]), "NPY version 4 found");
        refused(
            &npy(1, &header("<f4", "(2, 2)"), &[0; 12]),
            "12 bytes of data found, 16 expected for 2 x 2",
        );
        refused(
            &npy(1, &header("<f4", "(2, 2)"), &[0; 20]),
            "longer than its header says",
        );
        refused(
            &npy(1, &header(">f4", "(2, 2)"), &[0; 16]),
            "big-endian values of type `>f4`",
        );
        refused(
            &npy(1, &header("<c8", "(2, 2)"), &[0; 16]),
            "a.astype('<f4')",
        );
        refused(
            &npy(
                1,
                &header("<f4", "(2, 2)").replace("False", "True"),
                &[0; 16],
            ),
            "ascontiguousarray",
        );
        refused(
            &npy(1, &header("<f4", "(1, 2, 2)"), &[0; 16]),
            "3 dimensions",
        );
        refused(
            &npy(1, &header("<f4", "(18446744073709551615, 4)"), &[]),
            "no file can hold",
        );
        refused(
            &npy(1, &header("|u1", "(1, 2000000)"), &vec![0; 2_000_000]),
            "1 rows of 2000000 values found, at most 1048576 per row expected; should the array be transposed?",
        );
        refused(
            &npy(1, "{'descr': [('x', '<f4')]}", &[]),
            "array of records",
        );
        refused(&npy(1, "{}", &[]), "no 'descr'");
    }

    proptest! {
        #[test]
        fn round_trip(rows in 0usize..20, width in 0usize..9, seed in any::<u64>()) {
            let table = FeatureTable::random_normal(rows, width, seed);
            let file = npy(1, &header("<f4", &format!("({rows}, {width})")), table.as_bytes());
            let back = read(&file).unwrap();
            prop_assert_eq!((back.rows(), back.width()), (rows, width));
            prop_assert_eq!(back.as_bytes(), table.as_bytes());
        }

        #[test]
        fn damage_never_panics(cut in 0usize..200, at in 0usize..200, bit in 0u8..8) {
            let mut file = npy(1, &header("<f4", "(5, 4)"), &[1; 80]);
            let last = file.len() - 1;
            file[at.min(last)] ^= 1 << bit;
            let _ = read(&file);
            file.truncate(cut);
            let _ = read(&file);
        }
    }
}
