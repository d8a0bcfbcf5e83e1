//! The pickle of one tensor.
//!
//! `torch.save` writes `_rebuild_tensor_v2(storage, offset, shape, strides, …)`. Protocols 2 to 5;
//! [`crate::pickle`] interprets them.
//! Source: `torch/_utils.py`, `torch/serialization.py`.

use std::rc::Rc;

use crate::error::quoted;
use crate::pickle::{CUT_OFF, Limits, Objects, PickleError, Room, Value, interpret};

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

/// What PyTorch's functions and references make.
#[derive(Debug, Clone)]
enum TorchObject {
    Storage { kind: Rc<str>, key: Rc<str> },
    Tensor(Rc<Tensor>),
}

type TorchValue = Value<TorchObject>;

/// The tensor that `bytes` are the pickle of.
///
/// # Errors
/// Anything else; the message says what was found.
pub(super) fn parse(bytes: &[u8]) -> Result<Tensor, PickleError> {
    let limits = Limits::of_file(bytes.len() as u64);
    let found = match interpret(bytes, limits, OneTensor)?.0 {
        Value::Object(TorchObject::Tensor(tensor)) => return Ok(Rc::unwrap_or_clone(tensor)),
        Value::Other | Value::Dictionary => "a dictionary or another value was found".to_owned(),
        Value::Tuple(tuple) => format!("a tuple of {} values was found", tuple.values.len()),
        Value::Global(name) => format!("{} was found", quoted(name.as_bytes())),
        _ => "a number or text was found".to_owned(),
    };
    Err(PickleError::Wrong { at: 0, found })
}

struct OneTensor;

impl Objects for OneTensor {
    type Object = TorchObject;

    const SUBJECT: &'static str = "a tensor";

    fn call(&mut self, function: &str, arguments: &[TorchValue]) -> Result<TorchValue, String> {
        match (function, arguments) {
            ("collections OrderedDict", _) => Ok(Value::Other),
            (
                "torch._utils _rebuild_tensor_v2",
                [
                    Value::Object(TorchObject::Storage { kind, key }),
                    Value::Whole(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    ..,
                ],
            ) => Ok(Value::Object(TorchObject::Tensor(Rc::new(Tensor {
                storage: kind.as_ref().to_owned(),
                key: key.as_ref().to_owned(),
                offset: u64::try_from(*offset).map_err(|_| CUT_OFF)?,
                shape: sizes(&shape.values)?,
                strides: sizes(&strides.values)?,
            })))),
            ("torch._utils _rebuild_tensor_v2", _) => Err(CUT_OFF.to_owned()),
            (other, _) => Err(format!("a call of {} was found", quoted(other.as_bytes()))),
        }
    }

    /// `('storage', torch FloatStorage, '0', 'cpu', count)`, which stands for an entry.
    fn reference(&mut self, id: &TorchValue) -> Result<TorchValue, String> {
        if let Value::Tuple(parts) = id
            && let [Value::Text(tag), Value::Global(kind), Value::Text(key), ..] = &parts.values[..]
            && **tag == *"storage"
            && let Some(kind) = kind.strip_prefix("torch ")
        {
            return Ok(Value::Object(TorchObject::Storage {
                kind: kind.into(),
                key: key.clone(),
            }));
        }
        Err("a reference to something else than a storage was found".to_owned())
    }

    fn entry(&mut self, _: &TorchValue, _: &TorchValue, _: &mut Room) -> Result<(), String> {
        Err("a dictionary with entries was found".to_owned())
    }
}

fn sizes(values: &[TorchValue]) -> Result<Vec<u64>, String> {
    let size = |value: &TorchValue| match value {
        Value::Whole(size) => u64::try_from(*size).ok(),
        _ => None,
    };
    let sizes: Option<Vec<u64>> = values.iter().map(size).collect();
    sizes.ok_or_else(|| CUT_OFF.to_owned())
}
