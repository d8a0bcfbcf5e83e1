//! The values of a batch, as the Parquet library decodes them.

use half::f16;
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, Int96};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::layout::is_decimal;
use crate::files::checksum::hex;

pub(super) enum Values {
    Bools(Vec<bool>),
    Integers(Vec<i64>),
    /// Decimals wider than 64 bits.
    Wide(Vec<i128>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Moments(Vec<Int96>),
    Texts(Vec<ByteArray>),
}

impl Values {
    /// The next `count` records, of which there may be fewer: their number, and their values
    /// without nulls.
    pub(super) fn decode(
        reader: &mut ColumnReader,
        descriptor: &ColumnDescPtr,
        count: usize,
        def: &mut Vec<i16>,
        rep: &mut Vec<i16>,
    ) -> Result<(usize, Values), ParquetError> {
        macro_rules! read {
            ($reader:expr) => {{
                let mut values = Vec::new();
                let records = $reader
                    .read_records(count, Some(def), Some(rep), &mut values)?
                    .0;
                (records, values)
            }};
        }
        let decimal = is_decimal(descriptor);
        Ok(match reader {
            ColumnReader::BoolColumnReader(reader) => {
                let (records, values) = read!(reader);
                (records, Values::Bools(values))
            }
            ColumnReader::Int32ColumnReader(reader) => {
                let (records, values) = read!(reader);
                let unsigned = is_unsigned(descriptor);
                let wide = |v: i32| {
                    if unsigned {
                        i64::from(v as u32)
                    } else {
                        i64::from(v)
                    }
                };
                (
                    records,
                    Values::Integers(values.into_iter().map(wide).collect()),
                )
            }
            ColumnReader::Int64ColumnReader(reader) => {
                let (records, values) = read!(reader);
                (records, Values::Integers(values))
            }
            ColumnReader::Int96ColumnReader(reader) => {
                let (records, values) = read!(reader);
                (records, Values::Moments(values))
            }
            ColumnReader::FloatColumnReader(reader) => {
                let (records, values) = read!(reader);
                (records, Values::Floats(values))
            }
            ColumnReader::DoubleColumnReader(reader) => {
                let (records, values) = read!(reader);
                (records, Values::Doubles(values))
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                let (records, values) = read!(reader);
                match decimal {
                    true => (
                        records,
                        of_bytes(values.iter().map(|v| v.data()), descriptor)?,
                    ),
                    false => (records, Values::Texts(values)),
                }
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                let (records, values) = read!(reader);
                (
                    records,
                    of_bytes(values.iter().map(|v| v.data()), descriptor)?,
                )
            }
        })
    }
}

/// Decimals, half floats or text.
fn of_bytes<'v>(
    values: impl Iterator<Item = &'v [u8]>,
    descriptor: &ColumnDescPtr,
) -> Result<Values, ParquetError> {
    if is_decimal(descriptor) {
        let wide = |bytes: &[u8]| {
            let sign = if bytes.first().is_some_and(|byte| *byte >= 128) {
                -1
            } else {
                0
            };
            let fold = |value: i128, byte: &u8| value << 8 | i128::from(*byte);
            (bytes.len() <= 16)
                .then(|| bytes.iter().fold(sign, fold))
                .ok_or_else(|| ParquetError::General(format!("a decimal of {} bytes", bytes.len())))
        };
        return Ok(Values::Wide(values.map(wide).collect::<Result<_, _>>()?));
    }
    let logical = descriptor.logical_type_ref();
    if descriptor.physical_type() == Type::FIXED_LEN_BYTE_ARRAY
        && logical == Some(&LogicalType::Float16)
    {
        let half = |bytes: &[u8]| match bytes {
            [low, high] => f16::from_le_bytes([*low, *high]).to_f32(),
            _ => f32::NAN,
        };
        return Ok(Values::Floats(values.map(half).collect()));
    }
    if logical == Some(&LogicalType::Uuid) {
        return Ok(Values::Texts(
            values
                .map(|bytes| ByteArray::from(hex(bytes).into_bytes()))
                .collect(),
        ));
    }
    Ok(Values::Texts(
        values
            .map(|bytes| ByteArray::from(bytes.to_vec()))
            .collect(),
    ))
}

pub(super) fn is_unsigned(descriptor: &ColumnDescPtr) -> bool {
    match descriptor.logical_type_ref() {
        Some(LogicalType::Integer(kind)) => !kind.is_signed,
        _ => matches!(
            descriptor.converted_type(),
            ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64
        ),
    }
}
