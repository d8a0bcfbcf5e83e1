//! The pickle of a dictionary of NumPy arrays, as TGB saves candidates, interpreted without calling
//! anything.
//!
//! `{(source, destination, time): array, …}`, where keys are numbers of Python or NumPy and arrays
//! have one dimension. Functions and types are names here; the four calls that NumPy's pickles
//! consist of are understood, every other one is refused. Protocols 3 to 5.
//! Sources: CPython's `Lib/pickletools.py`; NumPy's `_core/multiarray.py` and `_core/numeric.py`.

use std::ops::Range;
use std::rc::Rc;

/// An entry of the dictionary: the three numbers of its key, and its values.
pub(super) type Entry = ([i64; 3], Vec<i64>);

/// Type of a NumPy number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signed(usize),
    Unsigned(usize),
    Float(usize),
}

#[derive(Debug, Clone)]
enum Value {
    Mark,
    /// `None`, booleans and what else does not matter here.
    Other,
    /// The one dictionary.
    Dictionary,
    Whole(i64),
    Text(Rc<str>),
    /// Where the bytes lie in the file.
    Bytes(Range<usize>),
    /// `module name` of a function or type.
    Global(Rc<str>),
    Tuple(Rc<[Value]>),
    Kind(Kind),
    /// None before its state is known.
    Array(Option<(Kind, Range<usize>)>),
}

/// Deeper than any such dictionary's pickle needs: the 1,000 entries that Python hands over at
/// once, and a few.
const MAX_STACK: usize = 4096;

const CUT_OFF: &str = "the pickle is damaged or cut off";

/// The entries of the dictionary in `bytes`; the error says what was found instead.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        memo: Vec::new(),
        entries: Vec::new(),
        dictionaries: 0,
    };
    match machine.run()? {
        Value::Dictionary => Ok(machine.entries),
        _ => Err("a value that is no dictionary was found".to_owned()),
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: Vec<Option<Value>>,
    entries: Vec<Entry>,
    dictionaries: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            let operation = self.take(1)?[0];
            match operation {
                // PROTO, FRAME: nothing depends on them.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.push(Value::Mark)?,
                b'N' | 0x88 | 0x89 => self.push(Value::Other)?,
                b'}' => {
                    self.dictionaries += 1;
                    if self.dictionaries > 1 {
                        return Err("a dictionary within another one was found".to_owned());
                    }
                    self.push(Value::Dictionary)?;
                }
                b')' => self.push(Value::Tuple(Rc::new([])))?,
                b'K' => self.number(1)?,
                b'M' => self.number(2)?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Whole(i64::from(value)))?;
                }
                // LONG1: little-endian two's complement.
                0x8a => {
                    let length = usize::from(self.take(1)?[0]);
                    let bytes = self.take(length)?;
                    let value = whole(bytes, Kind::Signed(length))?;
                    self.push(Value::Whole(value))?;
                }
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.push(Value::Whole(integral(value)?))?;
                }
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    self.text(length)?;
                }
                0x8c => {
                    let length = usize::from(self.take(1)?[0]);
                    self.text(length)?;
                }
                b'C' => {
                    let length = usize::from(self.take(1)?[0]);
                    self.blob(length)?;
                }
                b'B' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    self.blob(length)?;
                }
                // BINBYTES8, BYTEARRAY8
                0x8e | 0x96 => {
                    let length = u64::from_le_bytes(self.array()?);
                    self.blob(usize::try_from(length).map_err(|_| CUT_OFF)?)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(format!("{module} {name}").into()))?;
                }
                // STACK_GLOBAL
                0x93 => match (self.pop()?, self.pop()?) {
                    (Value::Text(name), Value::Text(module)) => {
                        self.push(Value::Global(format!("{module} {name}").into()))?;
                    }
                    _ => return Err("a name that is not text was found".to_owned()),
                },
                b'q' => {
                    let slot = usize::from(self.take(1)?[0]);
                    self.remember(slot)?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?) as usize;
                    self.remember(slot)?;
                }
                // MEMOIZE
                0x94 => self.remember(self.memo.len())?,
                b'h' => {
                    let slot = usize::from(self.take(1)?[0]);
                    self.recall(slot)?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?) as usize;
                    self.recall(slot)?;
                }
                b't' => {
                    let values = self.since_mark()?;
                    self.push(Value::Tuple(values.into()))?;
                }
                count @ 0x85..=0x87 => {
                    let count = usize::from(count - 0x84);
                    let start = self.stack.len().checked_sub(count).ok_or(CUT_OFF)?;
                    let values = self.stack.split_off(start);
                    self.push(Value::Tuple(values.into()))?;
                }
                b'R' => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    let result = self.call(&function, &arguments)?;
                    self.push(result)?;
                }
                b'b' => {
                    let (state, object) = (self.pop()?, self.pop()?);
                    self.push(with_state(object, &state)?)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set_items(&items)?;
                }
                b'.' => return self.pop(),
                other => {
                    return Err(format!(
                        "pickle operation 0x{other:02x} at byte {} was found, which a dictionary \
                         of NumPy arrays (saved with protocol 3 or later) does not need",
                        self.at - 1
                    ));
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count).ok_or(CUT_OFF)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT_OFF)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A number of `length` bytes without sign.
    fn number(&mut self, length: usize) -> Result<(), String> {
        let bytes = self.take(length)?;
        let value = whole(bytes, Kind::Unsigned(length))?;
        self.push(Value::Whole(value))
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Value::Text(text.into()))
    }

    fn blob(&mut self, length: usize) -> Result<(), String> {
        let start = self.at;
        self.take(length)?;
        self.push(Value::Bytes(start..self.at))
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = self.bytes.get(self.at..).ok_or(CUT_OFF)?;
        let length = rest.iter().position(|&b| b == b'\n').ok_or(CUT_OFF)?;
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        if self.stack.len() >= MAX_STACK {
            return Err("something deeper than a dictionary of arrays was found".to_owned());
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| CUT_OFF.to_owned())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = |value: &Value| matches!(value, Value::Mark);
        let start = self.stack.iter().rposition(mark).ok_or(CUT_OFF)?;
        let values = self.stack.split_off(start + 1);
        self.stack.pop();
        Ok(values)
    }

    fn remember(&mut self, slot: usize) -> Result<(), String> {
        // Slots are used in order: a larger one is damage, and would grow the memo without bound.
        if slot > self.memo.len() {
            return Err(CUT_OFF.to_owned());
        }
        let value = Some(self.stack.last().ok_or(CUT_OFF)?.clone());
        if slot == self.memo.len() {
            self.memo.push(value);
        } else {
            self.memo[slot] = value;
        }
        Ok(())
    }

    fn recall(&mut self, slot: usize) -> Result<(), String> {
        let value = self.memo.get(slot).cloned().flatten().ok_or(CUT_OFF)?;
        self.push(value)
    }

    /// Puts keys and values, one after the other, into the dictionary that is on top of the stack.
    fn set_items(&mut self, items: &[Value]) -> Result<(), String> {
        if !matches!(self.stack.last(), Some(Value::Dictionary)) {
            return Err("entries of something that is no dictionary were found".to_owned());
        }
        for item in items.chunks(2) {
            let [Value::Tuple(key), Value::Array(Some((kind, bytes)))] = item else {
                return Err(
                    "an entry other than (source, destination, time): array was found \
                            (files of graphs with edge types are not supported)"
                        .to_owned(),
                );
            };
            let [Value::Whole(src), Value::Whole(dst), Value::Whole(time)] = key[..] else {
                return Err(format!("a key of {} values was found", key.len()));
            };
            let values = numbers(&self.bytes[bytes.clone()], *kind)?;
            self.entries.push(([src, dst, time], values));
        }
        Ok(())
    }

    /// A call, if it is one of those that make up arrays and numbers of NumPy.
    fn call(&self, function: &Value, arguments: &Value) -> Result<Value, String> {
        let (Value::Global(name), Value::Tuple(arguments)) = (function, arguments) else {
            return Err("a call of something without a name was found".to_owned());
        };
        // NumPy 2 has moved its modules.
        let name = name.replacen("numpy._core.", "numpy.core.", 1);
        match (name.as_str(), &arguments[..]) {
            ("numpy dtype", [Value::Text(code), ..]) => Ok(Value::Kind(kind(code)?)),
            ("numpy.core.multiarray scalar", [Value::Kind(kind), Value::Bytes(bytes)]) => {
                match numbers(&self.bytes[bytes.clone()], *kind)?[..] {
                    [value] => Ok(Value::Whole(value)),
                    _ => Err(CUT_OFF.to_owned()),
                }
            }
            ("numpy.core.multiarray _reconstruct", _) => Ok(Value::Array(None)),
            (
                "numpy.core.numeric _frombuffer",
                [
                    Value::Bytes(bytes),
                    Value::Kind(kind),
                    Value::Tuple(shape),
                    ..,
                ],
            ) if shape.len() == 1 => Ok(Value::Array(Some((*kind, bytes.clone())))),
            (other, _) => Err(format!("a call of `{other}` was found")),
        }
    }
}

/// `object` after BUILD.
fn with_state(object: Value, state: &Value) -> Result<Value, String> {
    match (object, state) {
        // (version, byte order, …)
        (Value::Kind(kind), Value::Tuple(state)) => match state.get(1) {
            Some(Value::Text(order)) if matches!(&**order, "<" | "=" | "|") => {
                Ok(Value::Kind(kind))
            }
            _ => Err("numbers with the highest byte first were found".to_owned()),
        },
        // (version, shape, type, Fortran order, bytes)
        (Value::Array(_), Value::Tuple(state)) => match &state[..] {
            [
                _,
                Value::Tuple(shape),
                Value::Kind(kind),
                _,
                Value::Bytes(bytes),
            ] if shape.len() == 1 => Ok(Value::Array(Some((*kind, bytes.clone())))),
            _ => Err("an array that is no list of numbers was found".to_owned()),
        },
        _ => Err("the state of something else than an array was found".to_owned()),
    }
}

/// The type that NumPy calls `code`.
fn kind(code: &str) -> Result<Kind, String> {
    let size = code.get(1..).and_then(|size| size.parse().ok());
    match (code.as_bytes().first(), size) {
        (Some(b'i'), Some(size @ (1 | 2 | 4 | 8))) => Ok(Kind::Signed(size)),
        (Some(b'u'), Some(size @ (1 | 2 | 4 | 8))) => Ok(Kind::Unsigned(size)),
        (Some(b'f'), Some(size @ (4 | 8))) => Ok(Kind::Float(size)),
        _ => Err(format!("numbers of type `{code}` were found")),
    }
}

fn numbers(bytes: &[u8], kind: Kind) -> Result<Vec<i64>, String> {
    let (Kind::Signed(size) | Kind::Unsigned(size) | Kind::Float(size)) = kind;
    if !bytes.len().is_multiple_of(size) {
        return Err(CUT_OFF.to_owned());
    }
    bytes
        .chunks_exact(size)
        .map(|bytes| whole(bytes, kind))
        .collect()
}

/// A little-endian number, which must be whole and fit an i64.
fn whole(bytes: &[u8], kind: Kind) -> Result<i64, String> {
    if bytes.len() > 8 {
        return Err("a number of over 64 bits was found".to_owned());
    }
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
            (b"\x80\x04K\x01.", "no dictionary"),
            (b"\x80\x04}K\x01K\x02s.", "an entry other than"),
            (b"\x80\x04}}", "within another"),
            (b"\x80\x04]", "pickle operation 0x5d at byte 2"),
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
