//! Every parameter of a model on the host, read from the device and written back.
//!
//! Invariant: values are moved, never computed.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::names::{LINK_PREDICTOR, ParameterGroup, Part, TglParameter};
use super::{LinkModel, MemoryModel, NamedTensor, TglNames, WeightError};

/// A parameter of TGL that a model has.
pub(super) struct Parameter {
    /// TGL's name.
    pub(super) name: String,
    /// Another name that is read too.
    pub(super) also: Option<String>,
    part: Part,
    /// Paths of our tables, from the first input to the last.
    tables: Vec<String>,
}

impl Parameter {
    fn of(group: &ParameterGroup, layer: usize, parameter: &TglParameter) -> Parameter {
        let full = |prefix: &str, name: &str| prefix.replace("{layer}", &layer.to_string()) + name;
        Parameter {
            name: full(group.names, parameter.name),
            also: parameter.also.map(|name| full(group.names, name)),
            part: parameter.part,
            tables: parameter
                .tables
                .iter()
                .map(|path| full(group.paths, path))
                .collect(),
        }
    }
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
pub(super) struct Tables(BTreeMap<String, Table>);

impl Tables {
    pub(super) fn of<M: MemoryModel>(
        model: &LinkModel<M>,
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

    /// The parameters of TGL's model. Where ours has no such table (no projection of node
    /// features, no second layer), TGL has no such parameter.
    pub(super) fn parameters<M: TglNames>(&self) -> Vec<Parameter> {
        let mut found = Vec::new();
        for group in M::GROUPS.iter().chain([&LINK_PREDICTOR]) {
            for layer in 0.. {
                let before = found.len();
                let of_layer = group
                    .parameters
                    .iter()
                    .map(|parameter| Parameter::of(group, layer, parameter));
                found.extend(of_layer.filter(|parameter| self.have(parameter)));
                if found.len() == before || !group.paths.contains("{layer}") {
                    break;
                }
            }
        }
        found
    }

    fn have(&self, parameter: &Parameter) -> bool {
        let mut tables = parameter.tables.iter();
        tables.all(|path| self.0.contains_key(path))
    }

    /// Shape that TGL gives `parameter`.
    pub(super) fn shape(&self, parameter: &Parameter) -> Vec<usize> {
        let tables = || parameter.tables.iter().map(|path| &self.0[path]);
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
    fn each(&mut self, parameter: &Parameter, mut visit: impl FnMut(&mut f32, usize)) {
        let shape = self.shape(parameter);
        // A bias is one row: its transpose, [out, 1], lies in memory as the row itself.
        let inputs = shape.get(1).copied().unwrap_or(1);
        let mut first = 0;
        for path in &parameter.tables {
            if let Some(table) = self.0.get_mut(path) {
                let columns = table.columns.max(1);
                let rows = table.of(parameter.part).chunks_exact_mut(columns);
                for (row, values) in rows.enumerate() {
                    for (column, value) in values.iter_mut().enumerate() {
                        visit(value, column * inputs + first + row);
                    }
                }
                first += table.rows();
            }
        }
    }

    /// Replaces `parameter` by TGL's `values`, which must fill its shape.
    pub(super) fn set(&mut self, parameter: &Parameter, values: &[f32]) {
        self.each(parameter, |ours, place| *ours = values[place]);
    }

    pub(super) fn exported<M: TglNames>(mut self) -> BTreeMap<String, NamedTensor> {
        let parameters = self.parameters::<M>();
        let named = parameters.into_iter().map(|parameter| {
            let shape = self.shape(&parameter);
            let mut values = vec![0.0; shape.iter().product()];
            self.each(&parameter, |ours, place| values[place] = *ours);
            (parameter.name, NamedTensor { shape, values })
        });
        named.collect()
    }

    /// `model` with these values.
    pub(super) fn written_into<M: MemoryModel>(self, model: LinkModel<M>) -> LinkModel<M> {
        model.map(&mut Writer {
            path: Vec::new(),
            tables: self,
        })
    }
}

/// Reads every parameter (or its gradient) from the device.
struct Reader<'a> {
    path: Vec<String>,
    gradients: Option<&'a GradientsParams>,
    tables: Result<BTreeMap<String, Table>, WeightError>,
}

impl Reader<'_> {
    /// The table of `param`, or none where gradients are read and it is not trained.
    fn read<const D: usize>(&self, param: &Param<Tensor<D>>) -> Result<Option<Table>, WeightError> {
        let parameter = self.path.join(".");
        let tensor = match self.gradients {
            None => param.val(),
            Some(gradients) => match gradients.get(param.id) {
                Some(gradient) => gradient,
                None if !param.val().is_require_grad() => return Ok(None),
                None => return Err(WeightError::NoGradient(parameter)),
            },
        };
        let columns = tensor.dims()[D - 1];
        let unreadable = |reason: String| WeightError::Unreadable { parameter, reason };
        let data = match tensor.try_into_data() {
            Ok(data) => data,
            Err(error) => return Err(unreadable(format!("{error:?}"))),
        };
        match data.try_into_vec() {
            Ok(values) => Ok(Some(Table { columns, values })),
            Err(error) => Err(unreadable(format!("{error:?}"))),
        }
    }
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // The first error is kept, and nothing is read after it.
        if self.tables.is_err() {
            return;
        }
        let table = self.read(param);
        match (&mut self.tables, table) {
            (Ok(tables), Ok(Some(table))) => drop(tables.insert(self.path.join("."), table)),
            (tables, Err(error)) => *tables = Err(error),
            _ => {}
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
