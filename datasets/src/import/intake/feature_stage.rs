//! Features that stand with the events, staged in file order as a store holds them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use crate::error::{DataError, Place};
use crate::fields::raw_event::{FeatureRow, RawEvent};
use crate::store::FeatureShape;
use crate::stream::features::FeatureType;

/// Rows of one form and width.
pub(super) struct FeatureStage {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    /// Form and place of the first row.
    first: Option<(FeatureShape, Place)>,
}

impl FeatureStage {
    pub(super) fn new(path: PathBuf) -> FeatureStage {
        FeatureStage {
            path,
            file: None,
            first: None,
        }
    }

    /// Appends a row; what it returns says which value is not finite.
    pub(super) fn write(&mut self, event: &RawEvent<'_>) -> Result<Option<DataError>, DataError> {
        let (at, row) = (event.at, event.features);
        let (shape, bytes) = match row {
            FeatureRow::Floats(values) => (
                FeatureShape {
                    feature_type: FeatureType::F32,
                    width: values.len(),
                },
                bytemuck::cast_slice(values),
            ),
            FeatureRow::Bits { width, bytes } => (
                FeatureShape {
                    feature_type: FeatureType::Bits,
                    width,
                },
                bytes,
            ),
        };
        let (expected, place) = *self.first.get_or_insert((shape, at.place));
        if shape != expected {
            return Err(at.error(
                format!("{} features", shape.width),
                format!(
                    "{}, as on {place}; a cut-off line means that the file is incomplete",
                    expected.width
                ),
            ));
        }
        if shape.width == 0 {
            return Ok(None);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = File::create(&self.path).map_err(DataError::io("create", &self.path))?;
                self.file.insert(BufWriter::with_capacity(1 << 18, file))
            }
        };
        file.write_all(bytes)
            .map_err(DataError::io("write", &self.path))?;
        let FeatureRow::Floats(values) = row else {
            return Ok(None);
        };
        Ok(values.iter().position(|x| !x.is_finite()).map(|column| {
            let title = match event.titles.get(column) {
                Some(title) => title.clone(),
                None => format!("feature {column}"),
            };
            at.error(
                format!("{title} is {}", values[column]),
                match values[column].is_nan() {
                    true => "a finite number; --missing zero or --missing mean, given where the stream is first read, fills in what is missing",
                    false => {
                        "a finite number within the range of f32; correct the value or remove the event"
                    }
                },
            )
        }))
    }

    /// Flushes; the staged rows and their form, if there are any.
    pub(super) fn close(self) -> Result<Option<(PathBuf, FeatureShape)>, DataError> {
        let (Some(mut file), Some((shape, _))) = (self.file, self.first) else {
            return Ok(None);
        };
        file.flush().map_err(DataError::io("write", &self.path))?;
        Ok(Some((self.path, shape)))
    }
}
