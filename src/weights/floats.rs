//! Numbers of a file as f32.

use std::path::Path;

use burn::tensor::{bf16, f16};

use super::error::WeightFileError;
use crate::model::tgl_weights::NamedTensor;

/// How a file may keep a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FloatType {
    F64,
    F32,
    F16,
    Bf16,
}

impl FloatType {
    /// The numbers that little-endian `bytes` are.
    fn decode(self, bytes: &[u8]) -> Vec<f64> {
        match self {
            FloatType::F64 => decode(bytes, f64::from_le_bytes),
            FloatType::F32 => decode(bytes, |bytes| f32::from_le_bytes(bytes).into()),
            FloatType::F16 => decode(bytes, |bytes| f16::from_le_bytes(bytes).into()),
            FloatType::Bf16 => decode(bytes, |bytes| bf16::from_le_bytes(bytes).into()),
        }
    }
}

fn decode<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks().0.iter().copied().map(number).collect()
}

/// The tensor `name` with the numbers that little-endian `bytes` are.
///
/// # Errors
/// When one of them is not finite as f32.
pub(super) fn tensor(
    path: &Path,
    name: &str,
    shape: &[usize],
    float_type: FloatType,
    bytes: &[u8],
) -> Result<NamedTensor, WeightFileError> {
    let numbers = float_type.decode(bytes).into_iter().enumerate();
    let finite = numbers.map(|(place, value)| {
        let number = value as f32;
        number
            .is_finite()
            .then_some(number)
            .ok_or_else(|| WeightFileError::NotFinite {
                path: path.to_owned(),
                name: name.to_owned(),
                value,
                place,
            })
    });
    Ok(NamedTensor {
        shape: shape.to_vec(),
        values: finite.collect::<Result<_, _>>()?,
    })
}
