//! The pickle of one tensor, interpreted without calling anything.
//!
//! `torch.save` writes `_rebuild_tensor_v2(storage, offset, shape, strides, …)`.
//! Functions and types are names here, calls are kept as what they were given,
//! and whatever else a pickle can do is refused. Protocols 2 to 5.
//! Source: CPython's `Lib/pickletools.py`.

use std::collections::HashMap;

/// What a tensor's pickle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    /// Such as `FloatStorage`.
    pub(super) storage: String,
    /// Name of the entry with the values.
    pub(super) key: String,
    /// First value, counted in values.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

#[derive(Debug, Clone)]
enum Value {
    Mark,
    /// `None`, booleans and dictionaries, which don't matter here.
    Other,
    Whole(i64),
    Text(String),
    /// `module name` of a function or type.
    Global(String),
    Tuple(Vec<Value>),
    Storage {
        kind: String,
        key: String,
    },
    Tensor(Tensor),
}

/// A tensor's pickle has some 50 operations. The bound holds for all that a hostile file can make
/// grow: the stack, the memo, and how deep tuples lie in tuples, which are dropped recursively.
const MAX_OPERATIONS: usize = 1000;

/// Interprets `bytes`; the error says what was found instead of a tensor.
pub(super) fn parse(bytes: &[u8]) -> Result<Tensor, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        memo: HashMap::new(),
    };
    match machine.run()? {
        Value::Tensor(tensor) => Ok(tensor),
        Value::Other => Err("a dictionary or another value was found".to_owned()),
        Value::Tuple(values) => Err(format!("a tuple of {} values was found", values.len())),
        Value::Global(name) => Err(format!("{name} was found")),
        _ => Err("a number or text was found".to_owned()),
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, String> {
        for _ in 0..MAX_OPERATIONS {
            let operation = self.take(1)?[0];
            match operation {
                // PROTO, FRAME: nothing depends on them.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.push(Value::Mark),
                b'N' | 0x88 | 0x89 | b'}' => self.push(Value::Other),
                b')' => self.push(Value::Tuple(Vec::new())),
                b'K' => self.number(1)?,
                b'M' => self.number(2)?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Whole(i64::from(value)));
                }
                // LONG1: little-endian two's complement.
                0x8a => {
                    let length = usize::from(self.take(1)?[0]);
                    if length > 8 {
                        return Err("a number of over 64 bits was found".to_owned());
                    }
                    self.number(length)?;
                }
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.text(length as usize)?;
                }
                0x8c => {
                    let length = self.take(1)?[0];
                    self.text(usize::from(length))?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(format!("{module} {name}")));
                }
                // STACK_GLOBAL
                0x93 => match (self.pop()?, self.pop()?) {
                    (Value::Text(name), Value::Text(module)) => {
                        self.push(Value::Global(format!("{module} {name}")));
                    }
                    _ => return Err("a name that is not text was found".to_owned()),
                },
                b'q' => {
                    let slot = u32::from(self.take(1)?[0]);
                    self.remember(slot)?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.remember(slot)?;
                }
                // MEMOIZE
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let slot = u32::from(self.take(1)?[0]);
                    self.recall(slot)?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.recall(slot)?;
                }
                b't' => {
                    let start = self
                        .stack
                        .iter()
                        .rposition(|value| matches!(value, Value::Mark))
                        .ok_or("a tuple without a beginning was found")?;
                    let values = self.stack.split_off(start + 1);
                    self.stack.pop();
                    self.push(Value::Tuple(values));
                }
                count @ 0x85..=0x87 => {
                    let count = usize::from(count - 0x84);
                    let start = self.stack.len().checked_sub(count).ok_or(CUT_OFF)?;
                    let values = self.stack.split_off(start);
                    self.push(Value::Tuple(values));
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push(storage(id)?);
                }
                b'R' => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    self.push(call(function, arguments)?);
                }
                b's' | b'u' => return Err("a dictionary with entries was found".to_owned()),
                b'.' => return self.pop(),
                other => {
                    return Err(format!(
                        "pickle operation 0x{other:02x} at byte {} was found, which a tensor does not need",
                        self.at - 1
                    ));
                }
            }
        }
        Err("more than one tensor was found".to_owned())
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

    /// A number of `length` bytes; of one or two it has no sign.
    fn number(&mut self, length: usize) -> Result<(), String> {
        let bytes = self.take(length)?;
        let mut value = 0u64;
        for (at, byte) in bytes.iter().enumerate() {
            value |= u64::from(*byte) << (8 * at);
        }
        self.push(Value::Whole(value as i64));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = self.bytes.get(self.at..).ok_or(CUT_OFF)?;
        let length = rest.iter().position(|&b| b == b'\n').ok_or(CUT_OFF)?;
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| CUT_OFF.to_owned())
    }

    fn remember(&mut self, slot: u32) -> Result<(), String> {
        // Tuples are never recalled in a tensor's pickle; copying nested ones could grow without bound.
        let value = match self.stack.last().ok_or(CUT_OFF)? {
            Value::Tuple(_) => Value::Other,
            value => value.clone(),
        };
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), String> {
        let value = self.memo.get(&slot).cloned().ok_or(CUT_OFF)?;
        self.push(value);
        Ok(())
    }
}

const CUT_OFF: &str = "the pickle is damaged or cut off";

/// `('storage', torch FloatStorage, '0', 'cpu', count)`, which stands for an entry.
fn storage(id: Value) -> Result<Value, String> {
    if let Value::Tuple(parts) = id
        && let [Value::Text(tag), Value::Global(kind), Value::Text(key), ..] = parts.as_slice()
        && tag == "storage"
        && let Some(kind) = kind.strip_prefix("torch ")
    {
        return Ok(Value::Storage {
            kind: kind.to_owned(),
            key: key.clone(),
        });
    }
    Err("a reference to something else than a storage was found".to_owned())
}

/// A call, if it is one of those that make up a tensor.
fn call(function: Value, arguments: Value) -> Result<Value, String> {
    let Value::Global(name) = function else {
        return Err("a call of something without a name was found".to_owned());
    };
    match name.as_str() {
        "collections OrderedDict" => Ok(Value::Other),
        "torch._utils _rebuild_tensor_v2" => {
            if let Value::Tuple(parts) = arguments
                && let [
                    Value::Storage { kind, key },
                    Value::Whole(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    ..,
                ] = parts.as_slice()
            {
                return Ok(Value::Tensor(Tensor {
                    storage: kind.clone(),
                    key: key.clone(),
                    offset: u64::try_from(*offset).map_err(|_| CUT_OFF)?,
                    shape: sizes(shape)?,
                    strides: sizes(strides)?,
                }));
            }
            Err(CUT_OFF.to_owned())
        }
        other => Err(format!("a call of `{other}` was found")),
    }
}

fn sizes(values: &[Value]) -> Result<Vec<u64>, String> {
    let size = |value: &Value| match value {
        Value::Whole(size) => u64::try_from(*size).ok(),
        _ => None,
    };
    let sizes: Option<Vec<u64>> = values.iter().map(size).collect();
    sizes.ok_or_else(|| CUT_OFF.to_owned())
}
