//! Weights of TGN under the names and in the shapes that TGL (PyTorch) gives them.
//!
//! TGL keeps a linear layer as `weight` `[out, in]` and `bias` `[out]`. Here its weights
//! are a table `[in, out]`, sometimes cut into several tables by what they multiply, and
//! sometimes with the bias as one more row. So every parameter of TGL consists of rows of
//! one or more of our tables, one below the other, and a weight is their transpose.
//!
//! Invariants: `TGN` is the only place that knows this; it is read in both directions.
//! Values are moved, never computed, so what is loaded and exported again is the same bits,
//! and gradients follow the same map. A vector counts as a table of one row.
//!
//! Files are not read here: names, shapes and values come from the caller.
//!
//! Source: amazon-science/tgl 241b336, `modules.py`, `layers.py`, `memorys.py`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use thiserror::Error;

use super::LinkModel;
use super::tgn::Tgn;

/// Shape and values of a parameter of TGL; its name is the key that it is found under.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// One name for which weights and model disagree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misfit {
    /// The model needs it.
    #[error("'{name}' is missing, the model expects it with shape {expected:?}")]
    Missing {
        /// TGL's name.
        name: String,
        /// Shape that the model needs.
        expected: Vec<usize>,
    },
    /// The model has nothing of this name.
    #[error("'{name}' {found:?} is in the weights, the model has no such parameter")]
    Surplus {
        /// The name in the weights.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// The model needs another shape.
    #[error("'{name}' has shape {found:?}, the model expects {expected:?}")]
    Misshapen {
        /// TGL's name.
        name: String,
        /// Its shape in the weights.
        found: Vec<usize>,
        /// Shape that the model needs.
        expected: Vec<usize>,
    },
    /// Its shape and its numbers do not go together.
    #[error("'{name}' has {values} values for its shape {shape:?}")]
    Incomplete {
        /// TGL's name.
        name: String,
        /// Its shape in the weights.
        shape: Vec<usize>,
        /// Its numbers.
        values: usize,
    },
}

/// Why weights can't be moved.
#[derive(Debug, Error)]
pub enum WeightError {
    /// Names or shapes differ; all of them are listed.
    #[error(
        "these weights are not of this model:{}\ncheck the widths and the kind of the model",
        .0.iter().map(|misfit| format!("\n  {misfit}")).collect::<String>()
    )]
    Misfits(Vec<Misfit>),
    /// The gradients lack a parameter, so it did not take part in the forward pass.
    #[error("there is no gradient of '{0}'; were these gradients computed for this model?")]
    NoGradient(String),
    /// The device could not hand over the values.
    #[error("'{parameter}' could not be read from the device: {reason}")]
    Unreadable {
        /// Our name of the parameter.
        parameter: String,
        /// The device's words.
        reason: String,
    },
}

/// Which part of our tables a parameter of TGL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `[out, in]`: all rows, transposed.
    Weight,
    /// `[out, in]`: all rows but the last, transposed.
    WeightAboveBias,
    /// `[out]`: the last row, which is the only one of a vector.
    Bias,
}

/// A parameter of TGL.
struct TglParameter {
    /// TGL's name.
    name: &'static str,
    part: Part,
    /// Paths of our tables in [`LinkModel`], from the first input to the last.
    tables: &'static [&'static str],
}

const fn tgl(name: &'static str, part: Part, tables: &'static [&'static str]) -> TglParameter {
    TglParameter { name, part, tables }
}

/// TGL's TGN with its link predictor. Where the model has no such table (no projection of
/// node features), TGL has no such parameter.
#[rustfmt::skip]
const TGN: &[TglParameter] = &[
    // ω is TGL's weight [time, 1] and φ its bias: two rows of ours.
    tgl("memory_updater.time_enc.w.weight", Part::WeightAboveBias, &["model.updater.time_encoding.time"]),
    tgl("memory_updater.time_enc.w.bias", Part::Bias, &["model.updater.time_encoding.time"]),
    tgl("memory_updater.updater.weight_ih", Part::Weight, &["model.updater.from_mail", "model.updater.from_time"]),
    tgl("memory_updater.updater.bias_ih", Part::Bias, &["model.updater.input_bias"]),
    tgl("memory_updater.updater.weight_hh", Part::Weight, &["model.updater.from_memory"]),
    tgl("memory_updater.updater.bias_hh", Part::Bias, &["model.updater.memory_bias"]),
    tgl("memory_updater.node_feat_proj.weight", Part::Weight, &["model.node_features.projection.weight"]),
    tgl("memory_updater.node_feat_proj.bias", Part::Bias, &["model.node_features.projection.bias"]),
    tgl("layers.l0h0.time_enc.w.weight", Part::WeightAboveBias, &["model.attention.time_encoding.time"]),
    tgl("layers.l0h0.time_enc.w.bias", Part::Bias, &["model.attention.time_encoding.time"]),
    tgl("layers.l0h0.w_q.weight", Part::Weight, &["model.attention.query_node", "model.attention.query_time"]),
    tgl("layers.l0h0.w_q.bias", Part::Bias, &["model.attention.query_bias"]),
    tgl("layers.l0h0.w_k.weight", Part::WeightAboveBias, &["model.attention.key"]),
    tgl("layers.l0h0.w_k.bias", Part::Bias, &["model.attention.key"]),
    tgl("layers.l0h0.w_v.weight", Part::WeightAboveBias, &["model.attention.value"]),
    tgl("layers.l0h0.w_v.bias", Part::Bias, &["model.attention.value"]),
    tgl("layers.l0h0.w_out.weight", Part::Weight, &["model.attention.output_value", "model.attention.output_node"]),
    tgl("layers.l0h0.w_out.bias", Part::Bias, &["model.attention.output_bias"]),
    tgl("layers.l0h0.layer_norm.weight", Part::Bias, &["model.attention.norm.gamma"]),
    tgl("layers.l0h0.layer_norm.bias", Part::Bias, &["model.attention.norm.beta"]),
    tgl("edge_predictor.src_fc.weight", Part::Weight, &["predictor.source"]),
    tgl("edge_predictor.src_fc.bias", Part::Bias, &["predictor.source_bias"]),
    tgl("edge_predictor.dst_fc.weight", Part::Weight, &["predictor.destination"]),
    tgl("edge_predictor.dst_fc.bias", Part::Bias, &["predictor.destination_bias"]),
    tgl("edge_predictor.out_fc.weight", Part::Weight, &["predictor.output"]),
    tgl("edge_predictor.out_fc.bias", Part::Bias, &["predictor.output_bias"]),
];

/// `model` with TGL's weights `tensors`, on the device that it is on.
///
/// # Errors
/// When names are missing or surplus or shapes differ; all of them are listed.
pub fn load(
    model: LinkModel<Tgn>,
    tensors: &BTreeMap<String, NamedTensor>,
) -> Result<LinkModel<Tgn>, WeightError> {
    let mut tables = Tables::of(&model, None)?;
    let mut misfits = Vec::new();
    let mut surplus = tensors.clone();
    for parameter in TGN {
        if !tables.have(parameter) {
            continue;
        }
        let expected = tables.shape(parameter);
        match surplus.remove(parameter.name) {
            None => misfits.push(Misfit::Missing {
                name: parameter.name.to_owned(),
                expected,
            }),
            Some(tensor) if tensor.shape != expected => misfits.push(Misfit::Misshapen {
                name: parameter.name.to_owned(),
                found: tensor.shape,
                expected,
            }),
            Some(tensor) if tensor.values.len() != expected.iter().product::<usize>() => {
                misfits.push(Misfit::Incomplete {
                    name: parameter.name.to_owned(),
                    shape: tensor.shape,
                    values: tensor.values.len(),
                });
            }
            Some(tensor) => tables.set(parameter, &tensor.values),
        }
    }
    misfits.extend(surplus.into_iter().map(|(name, tensor)| Misfit::Surplus {
        name,
        found: tensor.shape,
    }));
    if misfits.is_empty() {
        Ok(model.map(&mut Writer {
            path: Vec::new(),
            tables,
        }))
    } else {
        Err(WeightError::Misfits(misfits))
    }
}

/// The weights of `model` as TGL names them.
///
/// # Errors
/// When the device can't hand them over.
pub fn export(model: &LinkModel<Tgn>) -> Result<BTreeMap<String, NamedTensor>, WeightError> {
    Ok(Tables::of(model, None)?.exported())
}

/// The gradients of the weights of `model` as TGL names them.
///
/// # Errors
/// When a parameter has no gradient, or the device can't hand one over.
pub fn export_gradients(
    model: &LinkModel<Tgn>,
    gradients: &GradientsParams,
) -> Result<BTreeMap<String, NamedTensor>, WeightError> {
    Ok(Tables::of(model, Some(gradients))?.exported())
}

/// Rows `[rows, columns]` on the host.
struct Table {
    columns: usize,
    values: Vec<f32>,
}

impl Table {
    fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// The values that belong to `part`.
    fn of(&mut self, part: Part) -> &mut [f32] {
        let last = self.values.len() - self.columns;
        match part {
            Part::Weight => &mut self.values,
            Part::WeightAboveBias => &mut self.values[..last],
            Part::Bias => &mut self.values[last..],
        }
    }
}

/// Every parameter of a model, or the gradient of every parameter, by path.
struct Tables(BTreeMap<String, Table>);

impl Tables {
    fn of(
        model: &LinkModel<Tgn>,
        gradients: Option<&GradientsParams>,
    ) -> Result<Tables, WeightError> {
        let mut reader = Reader {
            path: Vec::new(),
            gradients,
            tables: Ok(BTreeMap::new()),
        };
        model.visit(&mut reader);
        reader.tables.map(Tables)
    }

    fn have(&self, parameter: &TglParameter) -> bool {
        parameter
            .tables
            .iter()
            .all(|path| self.0.contains_key(*path))
    }

    /// Shape that TGL gives `parameter`.
    fn shape(&self, parameter: &TglParameter) -> Vec<usize> {
        let tables = || parameter.tables.iter().map(|path| &self.0[*path]);
        let outputs = tables().map(|table| table.columns).max().unwrap_or(0);
        let inputs: usize = tables().map(Table::rows).sum();
        match parameter.part {
            Part::Weight => vec![outputs, inputs],
            Part::WeightAboveBias => vec![outputs, inputs - 1],
            Part::Bias => vec![outputs],
        }
    }

    /// Visits each of our numbers that `parameter` consists of with its place in TGL's
    /// row-major tensor.
    fn each(&mut self, parameter: &TglParameter, mut visit: impl FnMut(&mut f32, usize)) {
        let shape = self.shape(parameter);
        // A bias is one row: its transpose, [out, 1], lies in memory as the row itself.
        let inputs = shape.get(1).copied().unwrap_or(1);
        let mut first = 0;
        for path in parameter.tables {
            if let Some(table) = self.0.get_mut(*path) {
                let columns = table.columns.max(1);
                for (row, values) in table
                    .of(parameter.part)
                    .chunks_exact_mut(columns)
                    .enumerate()
                {
                    for (column, value) in values.iter_mut().enumerate() {
                        visit(value, column * inputs + first + row);
                    }
                }
                first += table.rows();
            }
        }
    }

    fn set(&mut self, parameter: &TglParameter, values: &[f32]) {
        self.each(parameter, |ours, place| *ours = values[place]);
    }

    fn exported(mut self) -> BTreeMap<String, NamedTensor> {
        let mut exported = BTreeMap::new();
        for parameter in TGN {
            if self.have(parameter) {
                let shape = self.shape(parameter);
                let mut values = vec![0.0; shape.iter().product()];
                self.each(parameter, |ours, place| values[place] = *ours);
                exported.insert(parameter.name.to_owned(), NamedTensor { shape, values });
            }
        }
        exported
    }
}

/// Reads every parameter (or its gradient) from the device.
struct Reader<'a> {
    path: Vec<String>,
    gradients: Option<&'a GradientsParams>,
    tables: Result<BTreeMap<String, Table>, WeightError>,
}

impl Reader<'_> {
    fn read<const D: usize>(&self, param: &Param<Tensor<D>>) -> Result<Table, WeightError> {
        let parameter = self.path.join(".");
        let tensor = match self.gradients {
            None => param.val(),
            Some(gradients) => gradients
                .get(param.id)
                .ok_or_else(|| WeightError::NoGradient(parameter.clone()))?,
        };
        let columns = tensor.dims()[D - 1];
        let unreadable = |reason: String| WeightError::Unreadable { parameter, reason };
        let data = match tensor.try_into_data() {
            Ok(data) => data,
            Err(error) => return Err(unreadable(format!("{error:?}"))),
        };
        match data.try_into_vec() {
            Ok(values) => Ok(Table { columns, values }),
            Err(error) => Err(unreadable(format!("{error:?}"))),
        }
    }
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.tables.is_ok() {
            let table = self.read(param);
            match (&mut self.tables, table) {
                (Ok(tables), Ok(table)) => drop(tables.insert(self.path.join("."), table)),
                (tables, Err(error)) => *tables = Err(error),
                (Err(_), _) => {}
            }
        }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

/// Replaces the values of every parameter; ids, devices and gradients' requests stay.
struct Writer {
    path: Vec<String>,
    tables: Tables,
}

impl ModuleMapper for Writer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(table) = self.tables.0.remove(&self.path.join(".")) else {
            return param;
        };
        param.map(|old| {
            let data = TensorData::new(table.values, old.shape());
            Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
        })
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

#[cfg(test)]
mod tests;
