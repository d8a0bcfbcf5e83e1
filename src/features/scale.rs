//! Standardised edge features: each column less its mean, over its standard deviation, both of the
//! training part's events.
//!
//! The moments are taken in one pass in f64, event by event in the order of time (Welford,
//! "Note on a method for calculating corrected sums of squares and products", Technometrics 4,
//! 1962), and rounded to f32, so that what is written down is what was used. A column that is
//! constant in the training part becomes 0. It depends on no event after the training part.

use std::ops::Range;
use std::str::FromStr;

use mspipe_datasets::FeatureTable;
use serde::{Deserialize, Serialize};

/// What the columns of a table are standardised by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct FeatureScale {
    /// Mean and standard deviation of each column.
    columns: Vec<[f32; 2]>,
}

impl FeatureScale {
    /// The scale of the rows `train` of `table`.
    pub(crate) fn of(table: &FeatureTable, train: Range<usize>) -> FeatureScale {
        let width = table.width();
        let mut row = vec![0.0; width];
        let mut moments = vec![[0.0_f64; 2]; width];
        let events = train.len();
        for (before, event) in train.enumerate() {
            table.row_into(event, &mut row);
            let count = (before + 1) as f64;
            for ([mean, squares], &value) in moments.iter_mut().zip(&row) {
                let off = f64::from(value) - *mean;
                *mean += off / count;
                *squares += off * (f64::from(value) - *mean);
            }
        }
        let column = |[mean, squares]: [f64; 2]| {
            let deviation = (squares / events.max(1) as f64).sqrt();
            [mean as f32, deviation as f32]
        };
        FeatureScale {
            columns: moments.into_iter().map(column).collect(),
        }
    }

    /// Columns.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Standardises `rows`, `[rows, width]`.
    pub(crate) fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_mut(self.columns.len().max(1)) {
            for (value, &[mean, deviation]) in row.iter_mut().zip(&self.columns) {
                *value = match deviation > 0.0 {
                    true => ((f64::from(*value) - f64::from(mean)) / f64::from(deviation)) as f32,
                    false => 0.0,
                };
            }
        }
    }
}

/// As text, since reading a number as JSON may round it.
impl From<FeatureScale> for Vec<String> {
    fn from(scale: FeatureScale) -> Vec<String> {
        let text = |[mean, deviation]: [f32; 2]| format!("mean {mean:e} deviation {deviation:e}");
        scale.columns.into_iter().map(text).collect()
    }
}

impl TryFrom<Vec<String>> for FeatureScale {
    type Error = String;

    fn try_from(columns: Vec<String>) -> Result<FeatureScale, String> {
        let column = |text: &String| {
            let words: Vec<&str> = text.split(' ').collect();
            let number = |text: &str| f32::from_str(text).ok();
            match words[..] {
                ["mean", mean, "deviation", deviation] => number(mean).zip(number(deviation)),
                _ => None,
            }
            .map(|(mean, deviation)| [mean, deviation])
            .ok_or_else(|| format!("found '{text}', expected mean M deviation D"))
        };
        let columns = columns.iter().map(column).collect::<Result<_, _>>()?;
        Ok(FeatureScale { columns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Amounts in wei, a constant, a column that varies after the training part alone, and one far
    /// from 0.
    fn table() -> (Vec<[f64; 4]>, FeatureTable) {
        let row = |event: usize| {
            let event = event as f64;
            [
                1e18 * (event * 0.7).sin().powi(2),
                7.0,
                f64::from(event >= 30.0),
                1.7e9 + 1e5 * event,
            ]
        };
        let rows: Vec<[f64; 4]> = (0..40).map(row).collect();
        let values = rows.iter().flatten().map(|value| *value as f32).collect();
        (rows, FeatureTable::from_f32(40, 4, values).unwrap())
    }

    #[test]
    fn columns_have_mean_0_and_deviation_1_in_the_training_part() {
        let (_, table) = table();
        let scale = FeatureScale::of(&table, 0..30);
        let mut rows = table.as_f32().unwrap().to_vec();
        scale.apply(&mut rows);
        for column in 0..4 {
            let values: Vec<f64> = (0..30)
                .map(|row| f64::from(rows[4 * row + column]))
                .collect();
            let mean = values.iter().sum::<f64>() / 30.0;
            let variance = values.iter().map(|value| value * value).sum::<f64>() / 30.0;
            let expected = if column == 1 || column == 2 { 0.0 } else { 1.0 };
            assert!(mean.abs() < 1e-4, "column {column}: mean {mean}");
            assert!(
                (variance - expected).abs() < 1e-3,
                "column {column}: {variance}"
            );
        }
        // Constant in the training part: 0 everywhere.
        assert!((0..40).all(|row| rows[4 * row + 1] == 0.0 && rows[4 * row + 2] == 0.0));
    }

    #[test]
    fn it_is_the_plain_definition_and_of_the_training_part_alone() {
        let (rows, table) = table();
        let scale = FeatureScale::of(&table, 0..30);
        for (column, &[mean, deviation]) in scale.columns.iter().enumerate() {
            let value = |row: &[f64; 4]| f64::from(row[column] as f32);
            let plain = rows[..30].iter().map(value).sum::<f64>() / 30.0;
            let squares = rows[..30].iter().map(|row| (value(row) - plain).powi(2));
            let spread = (squares.sum::<f64>() / 30.0).sqrt();
            assert!(
                (f64::from(mean) - plain).abs() <= 1e-6 * plain.abs(),
                "{column}"
            );
            assert!(
                (f64::from(deviation) - spread).abs() <= 1e-6 * spread,
                "{column}"
            );
        }
        let values = table.as_f32().unwrap()[..120].to_vec();
        let training = FeatureTable::from_f32(30, 4, values).unwrap();
        assert_eq!(FeatureScale::of(&training, 0..30), scale);
    }

    #[test]
    fn it_reads_back_bit_by_bit() {
        let (_, table) = table();
        let scale = FeatureScale::of(&table, 0..30);
        let text = serde_json::to_string(&scale).unwrap();
        assert_eq!(serde_json::from_str::<FeatureScale>(&text).unwrap(), scale);
        assert!(serde_json::from_str::<FeatureScale>(r#"["mean x deviation 1"]"#).is_err());
    }
}
