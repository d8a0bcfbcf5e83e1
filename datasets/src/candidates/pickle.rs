//! The pickle of a dictionary of NumPy arrays, as TGB saves candidates.
//!
//! `{(source, destination, time): array, …}`, where keys are numbers of Python or NumPy and arrays
//! have one dimension. The four calls that NumPy's pickles consist of are understood, every other
//! one is refused. Protocols 3 to 5; [`crate::pickle`] interprets them.
//! Source: NumPy's `_core/multiarray.py` and `_core/numeric.py`.

use std::io::BufRead;
use std::rc::Rc;

use crate::error::quoted;
use crate::pickle::{CUT_OFF, Limits, Objects, PickleError, Room, Value, interpret};

/// An entry of the dictionary: the three numbers of its key, and its values.
pub(super) type Entry = ([i64; 3], Vec<i64>);

/// Type of a NumPy number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signed(usize),
    Unsigned(usize),
    Float(usize),
}

/// What NumPy's functions and types make.
#[derive(Debug, Clone)]
enum NumpyObject {
    Kind(Kind),
    /// None before its state is known.
    Array(Option<(Kind, Rc<[u8]>)>),
}

type NumpyValue = Value<NumpyObject>;

/// The entries of the dictionary that `input`, of a file of `file_bytes`, is the pickle of.
///
/// # Errors
/// Anything else; the message says what was found.
pub(super) fn entries(input: impl BufRead, file_bytes: u64) -> Result<Vec<Entry>, PickleError> {
    let (value, candidates) = interpret(input, Limits::of_file(file_bytes), Candidates::default())?;
    match value {
        Value::Dictionary => Ok(candidates.entries),
        _ => Err(PickleError::Wrong {
            at: 0,
            found: "a value that is not a dictionary was found".to_owned(),
        }),
    }
}

#[derive(Default)]
struct Candidates {
    entries: Vec<Entry>,
    dictionaries: usize,
}

impl Objects for Candidates {
    type Object = NumpyObject;

    const SUBJECT: &'static str = "a dictionary of NumPy arrays (saved with protocol 3 or later)";

    fn dictionary(&mut self) -> Result<(), String> {
        self.dictionaries += 1;
        match self.dictionaries {
            1 => Ok(()),
            _ => Err("a dictionary within another one was found".to_owned()),
        }
    }

    fn entry(
        &mut self,
        key: &NumpyValue,
        value: &NumpyValue,
        room: &mut Room,
    ) -> Result<(), String> {
        let (Value::Tuple(key), Value::Object(NumpyObject::Array(Some((kind, bytes))))) =
            (key, value)
        else {
            return Err(
                "an entry other than (source, destination, time): array was found \
                 (files of graphs with edge types are not supported)"
                    .to_owned(),
            );
        };
        let [src, dst, time] = &key.values[..] else {
            return Err(format!("a key of {} values was found", key.values.len()));
        };
        let key = [number(src)?, number(dst)?, number(time)?];
        let values = bytes.len() / kind.size();
        room.take((size_of::<Entry>() + values * size_of::<i64>()) as u64)?;
        self.entries.push((key, numbers(bytes, *kind)?));
        Ok(())
    }

    /// The calls that arrays and numbers of NumPy consist of.
    fn call(&mut self, function: &str, arguments: &[NumpyValue]) -> Result<NumpyValue, String> {
        // NumPy 2 has moved its modules.
        let function = function.replacen("numpy._core.", "numpy.core.", 1);
        let object = match (function.as_str(), arguments) {
            ("numpy dtype", [Value::Text(code), ..]) => NumpyObject::Kind(kind(code)?),
            (
                "numpy.core.multiarray scalar",
                [Value::Object(NumpyObject::Kind(kind)), Value::Bytes(bytes)],
            ) => {
                return match numbers(bytes, *kind)?[..] {
                    [value] => Ok(Value::Whole(value)),
                    _ => Err(CUT_OFF.to_owned()),
                };
            }
            ("numpy.core.multiarray _reconstruct", _) => NumpyObject::Array(None),
            (
                "numpy.core.numeric _frombuffer",
                [
                    Value::Bytes(bytes),
                    Value::Object(NumpyObject::Kind(kind)),
                    Value::Tuple(shape),
                    ..,
                ],
            ) if shape.values.len() == 1 => NumpyObject::Array(Some((*kind, bytes.clone()))),
            (other, _) => return Err(format!("a call of {} was found", quoted(other.as_bytes()))),
        };
        Ok(Value::Object(object))
    }

    fn with_state(&mut self, object: NumpyValue, state: &NumpyValue) -> Result<NumpyValue, String> {
        let (Value::Object(object), Value::Tuple(state)) = (object, state) else {
            return Err("the state of something else than an array was found".to_owned());
        };
        match (object, &state.values[..]) {
            // (version, byte order, …)
            (kind @ NumpyObject::Kind(_), [_, Value::Text(order), ..])
                if matches!(&**order, "<" | "=" | "|") =>
            {
                Ok(Value::Object(kind))
            }
            (NumpyObject::Kind(_), _) => {
                Err("numbers with the highest byte first were found".to_owned())
            }
            // (version, shape, type, Fortran order, bytes)
            (
                NumpyObject::Array(_),
                [
                    _,
                    Value::Tuple(shape),
                    Value::Object(NumpyObject::Kind(kind)),
                    _,
                    Value::Bytes(bytes),
                ],
            ) if shape.values.len() == 1 => Ok(Value::Object(NumpyObject::Array(Some((
                *kind,
                bytes.clone(),
            ))))),
            _ => Err("an array that is not a list of numbers was found".to_owned()),
        }
    }
}

impl Kind {
    /// Bytes of a number.
    fn size(self) -> usize {
        let (Kind::Signed(size) | Kind::Unsigned(size) | Kind::Float(size)) = self;
        size
    }
}

/// A number of a key.
fn number(value: &NumpyValue) -> Result<i64, String> {
    match value {
        Value::Whole(number) => Ok(*number),
        Value::Real(number) => integral(*number),
        _ => Err("a key with something else than numbers was found".to_owned()),
    }
}

/// The type that NumPy calls `code`.
fn kind(code: &str) -> Result<Kind, String> {
    let size = code.get(1..).and_then(|size| size.parse().ok());
    match (code.as_bytes().first(), size) {
        (Some(b'i'), Some(size @ (1 | 2 | 4 | 8))) => Ok(Kind::Signed(size)),
        (Some(b'u'), Some(size @ (1 | 2 | 4 | 8))) => Ok(Kind::Unsigned(size)),
        (Some(b'f'), Some(size @ (4 | 8))) => Ok(Kind::Float(size)),
        _ => Err(format!(
            "numbers of type {} were found",
            quoted(code.as_bytes())
        )),
    }
}

fn numbers(bytes: &[u8], kind: Kind) -> Result<Vec<i64>, String> {
    if !bytes.len().is_multiple_of(kind.size()) {
        return Err(CUT_OFF.to_owned());
    }
    bytes
        .chunks_exact(kind.size())
        .map(|bytes| whole(bytes, kind))
        .collect()
}

/// A little-endian number, which must be whole and fit an i64.
fn whole(bytes: &[u8], kind: Kind) -> Result<i64, String> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    match kind {
        Kind::Signed(_) => Ok(i64::from_le_bytes(wide)),
        Kind::Unsigned(8) if negative => Err("a number of over 63 bits was found".to_owned()),
        Kind::Unsigned(_) => {
            wide[bytes.len()..].fill(0);
            Ok(i64::from_le_bytes(wide))
        }
        Kind::Float(4) => {
            let mut four = [0; 4];
            four.copy_from_slice(&wide[..4]);
            integral(f32::from_le_bytes(four).into())
        }
        Kind::Float(_) => integral(f64::from_le_bytes(wide)),
    }
}

fn integral(value: f64) -> Result<i64, String> {
    let whole = value as i64;
    if whole as f64 == value {
        Ok(whole)
    } else {
        Err(format!("the number {value}, which is not whole, was found"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
        super::entries(bytes, bytes.len() as u64).map_err(|error| error.to_string())
    }

    /// `pickle.dumps({(1, 2, 3): numpy.array([4, 5])}, 4)` of NumPy 1, with Python's numbers.
    const NUMPY_1: &[u8] = b"\x80\x04}K\x01K\x02K\x03\x87\x8c\x15numpy.core.multiarray\x8c\x0c\
        _reconstruct\x93\x8c\x05numpy\x8c\x07ndarray\x93K\x00\x85C\x01b\x87R(K\x01K\x02\x85\x8c\x05\
        numpy\x8c\x05dtype\x93\x8c\x02i8\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\
        \xff\xffK\x00tb\x89C\x10\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0tbs.";

    #[test]
    fn a_dictionary_by_hand() {
        assert_eq!(entries(NUMPY_1).unwrap(), [([1, 2, 3], vec![4, 5])]);
        assert_eq!(entries(b"\x80\x04}.").unwrap(), []);
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for (bytes, expected) in [
            (
                &b"\x80\x04cos\nsystem\n(X\x02\0\0\0lstR."[..],
                "a call of `os system`",
            ),
            (b"\x80\x04K\x01.", "not a dictionary"),
            (b"\x80\x04}K\x01K\x02s.", "an entry other than"),
            (b"\x80\x04}}", "within another"),
            (b"\x80\x04]", "pickle operation 0x5d was found"),
            (&NUMPY_1[..40], CUT_OFF),
            (b"\x80\x04r\xff\xff\xff\x7f", CUT_OFF),
        ] {
            let error = entries(bytes).unwrap_err();
            assert!(error.contains(expected), "{error}: {expected}");
        }
    }

    proptest! {
        #[test]
        fn damage_is_an_error_and_no_panic(at in 0..NUMPY_1.len(), byte in any::<u8>()) {
            let mut bytes = NUMPY_1.to_vec();
            bytes[at] = byte;
            let _ = entries(&bytes);
            let _ = entries(&bytes[..at]);
        }
    }
}
