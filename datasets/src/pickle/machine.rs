//! Interprets the operations that tensors and arrays are pickled with, protocols 2 to 5.

use std::io::BufRead;
use std::rc::Rc;

use super::operations::Operations;
use super::{CUT_OFF, Limits, PickleError, Room};

/// A value of a pickle; `O` is what a reader makes of functions and types.
#[derive(Debug, Clone)]
pub(crate) enum Value<O> {
    /// `None`, booleans and what else does not matter to any reader.
    Other,
    /// A dictionary; its entries are the reader's.
    Dictionary,
    Whole(i64),
    Real(f64),
    Text(Rc<str>),
    Bytes(Rc<[u8]>),
    /// `module name` of a function or type.
    Global(Rc<str>),
    Tuple(Rc<Tuple<O>>),
    Object(O),
}

/// Values in a row.
#[derive(Debug)]
pub(crate) struct Tuple<O> {
    /// How deep tuples lie in it: 1 if there are none. They are dropped one in the other.
    depth: usize,
    pub(crate) values: Box<[Value<O>]>,
}

/// What a reader makes of a pickle. Errors say what was found.
pub(crate) trait Objects {
    /// What functions and types become.
    type Object: Clone;

    /// What is read, for messages: `a tensor`.
    const SUBJECT: &'static str;

    /// A call of `function`, which is `module name`.
    fn call(
        &mut self,
        function: &str,
        arguments: &[Value<Self::Object>],
    ) -> Result<Value<Self::Object>, String>;

    /// `object` with the state that follows its making.
    fn with_state(
        &mut self,
        _object: Value<Self::Object>,
        _state: &Value<Self::Object>,
    ) -> Result<Value<Self::Object>, String> {
        Err(format!(
            "the state of an object was found, which {} does not have",
            Self::SUBJECT
        ))
    }

    /// What lies outside the pickle under `id`.
    fn reference(&mut self, _id: &Value<Self::Object>) -> Result<Value<Self::Object>, String> {
        Err("a reference to something outside the pickle was found".to_owned())
    }

    /// A dictionary begins.
    fn dictionary(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// An entry of a dictionary. What it makes grow is taken from `room` first.
    fn entry(
        &mut self,
        key: &Value<Self::Object>,
        value: &Value<Self::Object>,
        room: &mut Room,
    ) -> Result<(), String>;
}

/// The value that the pickle `input` ends with, and what `objects` made of the rest.
///
/// # Errors
/// Bytes that can't be read, damage, operations and calls that are not needed, and what exceeds
/// `limits`.
pub(crate) fn interpret<O: Objects>(
    input: impl BufRead,
    limits: Limits,
    objects: O,
) -> Result<(Value<O::Object>, O), PickleError> {
    let mut operations = Operations::new(input);
    let mut machine = Machine {
        room: limits.room(),
        limits,
        objects,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
    };
    loop {
        let (code, length) = operations.next()?;
        // What is longer can't be kept; none of it is read.
        machine
            .room
            .check(length)
            .map_err(|found| operations.wrong(found))?;
        operations.read(length)?;
        if code == b'.' {
            let value = machine.pop().map_err(|found| operations.wrong(found))?;
            return Ok((value, machine.objects));
        }
        machine
            .step(code, operations.argument())
            .map_err(|found| operations.wrong(found))?;
    }
}

struct Machine<O: Objects> {
    limits: Limits,
    room: Room,
    objects: O,
    stack: Vec<Value<O::Object>>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: Vec<Value<O::Object>>,
}

impl<O: Objects> Machine<O> {
    fn step(&mut self, code: u8, argument: &[u8]) -> Result<(), String> {
        match code {
            0x80 => match argument {
                [0..=5] => Ok(()),
                _ => Err("a protocol later than 5 was found".to_owned()),
            },
            // FRAME: nothing depends on it.
            0x95 => Ok(()),
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'K' | b'M' => self.push(Value::Whole(whole(argument, false)?)),
            b'J' | 0x8a | 0x8b => self.push(Value::Whole(whole(argument, true)?)),
            b'G' => {
                let bytes = argument.try_into().map_err(|_| CUT_OFF)?;
                self.push(Value::Real(f64::from_be_bytes(bytes)))
            }
            b'X' | 0x8c | 0x8d => {
                let text = self.text(argument)?;
                self.push(Value::Text(text))
            }
            b'C' | b'B' | 0x8e | 0x96 => {
                self.take(argument.len())?;
                self.push(Value::Bytes(argument.into()))
            }
            b'c' => {
                let name = self.text(argument)?;
                self.push(Value::Global(name))
            }
            b'q' | b'r' => self.remember(whole(argument, false)?),
            0x94 => self.remember(self.memo.len() as i64),
            b'h' | b'j' => {
                let slot = usize::try_from(whole(argument, false)?).map_err(|_| CUT_OFF)?;
                let value = self.memo.get(slot).cloned().ok_or(CUT_OFF)?;
                self.push(value)
            }
            _ => self.combine(code),
        }
    }

    /// Operations without an argument: they make values of those on the stack.
    fn combine(&mut self, code: u8) -> Result<(), String> {
        match code {
            b'(' => {
                self.marks.push(self.stack.len());
                self.check_height()
            }
            b')' => self.tuple(Vec::new()),
            count @ 0x85..=0x87 => {
                let mut values = Vec::with_capacity(3);
                for _ in 0x85..=count {
                    values.push(self.pop()?);
                }
                values.reverse();
                self.tuple(values)
            }
            b't' => {
                let values = self.since_mark()?;
                self.tuple(values)
            }
            b'}' => {
                self.objects.dictionary()?;
                self.push(Value::Dictionary)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.entries(&[key, value])
            }
            b'u' => {
                let items = self.since_mark()?;
                self.entries(&items)
            }
            // STACK_GLOBAL
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    let name = self.text(format!("{module} {name}").as_bytes())?;
                    self.push(Value::Global(name))
                }
                _ => Err("a name that is not text was found".to_owned()),
            },
            b'R' => match (self.pop()?, self.pop()?) {
                (Value::Tuple(arguments), Value::Global(name)) => {
                    let result = self.objects.call(&name, &arguments.values)?;
                    self.push(result)
                }
                _ => Err("a call of something without a name was found".to_owned()),
            },
            b'b' => {
                let (state, object) = (self.pop()?, self.pop()?);
                let object = self.objects.with_state(object, &state)?;
                self.push(object)
            }
            b'Q' => {
                let id = self.pop()?;
                let object = self.objects.reference(&id)?;
                self.push(object)
            }
            other => Err(format!(
                "pickle operation 0x{other:02x} was found, which {} does not need",
                O::SUBJECT
            )),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        /// What an allocation takes beside its content.
        const OWN: u64 = 32;
        self.room.take(bytes as u64 + OWN)
    }

    fn text(&mut self, bytes: &[u8]) -> Result<Rc<str>, String> {
        self.take(bytes.len())?;
        Ok(String::from_utf8_lossy(bytes).into())
    }

    fn tuple(&mut self, values: Vec<Value<O::Object>>) -> Result<(), String> {
        self.take(values.len() * size_of::<Value<O::Object>>())?;
        let depth = |value: &Value<O::Object>| match value {
            Value::Tuple(tuple) => tuple.depth,
            _ => 0,
        };
        let depth = 1 + values.iter().map(depth).max().unwrap_or(0);
        if depth > self.limits.depth {
            return Err(format!(
                "tuples in tuples, over {} deep, were found; {} has {} at most",
                self.limits.depth,
                O::SUBJECT,
                self.limits.depth
            ));
        }
        let values = values.into();
        self.push(Value::Tuple(Rc::new(Tuple { depth, values })))
    }

    fn push(&mut self, value: Value<O::Object>) -> Result<(), String> {
        self.stack.push(value);
        self.check_height()
    }

    fn check_height(&self) -> Result<(), String> {
        match self.stack.len() + self.marks.len() > self.limits.stack {
            true => Err(format!(
                "over {} values that belong to nothing yet were found; {} has fewer",
                self.limits.stack,
                O::SUBJECT
            )),
            false => Ok(()),
        }
    }

    fn pop(&mut self) -> Result<Value<O::Object>, String> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err(CUT_OFF.to_owned());
        }
        self.stack.pop().ok_or_else(|| CUT_OFF.to_owned())
    }

    fn since_mark(&mut self) -> Result<Vec<Value<O::Object>>, String> {
        let start = self.marks.pop().ok_or(CUT_OFF)?;
        Ok(self.stack.split_off(start))
    }

    fn remember(&mut self, slot: i64) -> Result<(), String> {
        let slot = usize::try_from(slot).map_err(|_| CUT_OFF)?;
        let value = self.stack.last().ok_or(CUT_OFF)?.clone();
        // Slots are used in order: a larger one is damage, and would grow the memo without bound.
        match slot.cmp(&self.memo.len()) {
            std::cmp::Ordering::Less => self.memo[slot] = value,
            std::cmp::Ordering::Equal => {
                self.room.take(size_of::<Value<O::Object>>() as u64)?;
                self.memo.push(value);
            }
            std::cmp::Ordering::Greater => return Err(CUT_OFF.to_owned()),
        }
        Ok(())
    }

    /// Puts keys and values, one after the other, into the dictionary that is on top of the stack.
    fn entries(&mut self, items: &[Value<O::Object>]) -> Result<(), String> {
        if !matches!(self.stack.last(), Some(Value::Dictionary)) {
            return Err("entries of something that is not a dictionary were found".to_owned());
        }
        for item in items.chunks(2) {
            let [key, value] = item else {
                return Err(CUT_OFF.to_owned());
            };
            self.objects.entry(key, value, &mut self.room)?;
        }
        Ok(())
    }
}

/// A little-endian number, in two's complement if it is `signed`.
fn whole(bytes: &[u8], signed: bool) -> Result<i64, String> {
    if bytes.len() > 8 {
        return Err(format!("a number of {} bits was found", 8 * bytes.len()));
    }
    let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Ok(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests;
