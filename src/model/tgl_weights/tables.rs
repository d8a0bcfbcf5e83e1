//! Every parameter of a model, read from the device one by one and written back.
//!
//! Invariant: values are moved, never computed.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::error::WeightError;
use super::names::{LINK_PREDICTOR, PRES, ParameterGroup, Part, TglParameter, groups};
use crate::device;
use crate::model::LinkModel;

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

/// Rows `[rows, columns]`, where the model has them.
struct Table {
    columns: usize,
    len: usize,
    /// Copies its numbers from the device.
    read: Box<dyn Fn() -> Result<Vec<f32>, WeightError> + Send + Sync>,
    /// What is to be written in their place.
    written: Option<Vec<f32>>,
}

impl Table {
    fn rows(&self) -> usize {
        self.len / self.columns.max(1)
    }

    /// Places of the numbers that belong to `part`.
    fn of(&self, part: Part) -> Range<usize> {
        let last = self.len - self.columns;
        match part {
            Part::Weight => 0..self.len,
            Part::WeightAboveBias => 0..last,
            Part::Bias => last..self.len,
        }
    }
}

/// Every parameter of a model, or the gradient of every parameter.
pub(super) struct Tables {
    by_path: BTreeMap<String, Table>,
    /// What TGL names of the model.
    groups: &'static [ParameterGroup],
}

impl Tables {
    pub(super) fn of(
        model: &LinkModel,
        gradients: Option<&GradientsParams>,
    ) -> Result<Tables, WeightError> {
        let mut reader = Reader {
            path: Path::default(),
            gradients,
            tables: Ok(BTreeMap::new()),
        };
        model.visit(&mut reader);
        Ok(Tables {
            by_path: reader.tables?,
            groups: groups(&model.model),
        })
    }

    /// The parameters of TGL's model. Where ours has no such table (no projection of node
    /// features, no second layer), TGL has no such parameter.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let mut found = Vec::new();
        for group in self.groups.iter().chain([&LINK_PREDICTOR, &PRES]) {
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
        tables.all(|path| self.by_path.contains_key(path))
    }

    /// Shape that TGL gives `parameter`.
    pub(super) fn shape(&self, parameter: &Parameter) -> Vec<usize> {
        let tables = || parameter.tables.iter().map(|path| &self.by_path[path]);
        let outputs = tables().map(|table| table.columns).max().unwrap_or(0);
        let inputs: usize = tables().map(Table::rows).sum();
        match parameter.part {
            Part::Weight => vec![outputs, inputs],
            Part::WeightAboveBias => vec![outputs, inputs - 1],
            Part::Bias => vec![outputs],
        }
    }

    /// Replaces `parameter` by TGL's `values`, which must fill its shape.
    pub(super) fn set(&mut self, parameter: &Parameter, values: &[f32]) -> Result<(), WeightError> {
        let shape = self.shape(parameter);
        let mut first = 0;
        for path in &parameter.tables {
            if let Some(table) = self.by_path.get_mut(path) {
                let mut ours = match table.written.take() {
                    Some(ours) => ours,
                    None => (table.read)()?,
                };
                let part = &mut ours[table.of(parameter.part)];
                let places = places(table.columns, &shape, first);
                part.iter_mut()
                    .zip(places)
                    .for_each(|(ours, place)| *ours = values[place]);
                first += table.rows();
                table.written = Some(ours);
            }
        }
        Ok(())
    }

    /// TGL's numbers of `parameter`, row-major: no more than its own tables are read from the
    /// device, one after the other.
    pub(super) fn read(&self, parameter: &Parameter) -> Result<Vec<f32>, WeightError> {
        let shape = self.shape(parameter);
        let mut values = vec![0.0; shape.iter().product()];
        let mut first = 0;
        for table in parameter
            .tables
            .iter()
            .filter_map(|path| self.by_path.get(path))
        {
            let ours = (table.read)()?;
            let part = &ours[table.of(parameter.part)];
            let places = places(table.columns, &shape, first);
            part.iter()
                .zip(places)
                .for_each(|(ours, place)| values[place] = *ours);
            first += table.rows();
        }
        Ok(values)
    }

    /// `model` with these values.
    pub(super) fn written_into(self, model: LinkModel) -> LinkModel {
        model.map(&mut Writer {
            path: Path::default(),
            tables: self.by_path,
        })
    }
}

/// Places in TGL's row-major tensor of `shape` of the numbers of consecutive rows of ours, of which
/// the first is its input `first`.
fn places(columns: usize, shape: &[usize], first: usize) -> impl Iterator<Item = usize> {
    // A bias is one row: its transpose, [out, 1], lies in memory as the row itself.
    let inputs = shape.get(1).copied().unwrap_or(1);
    (first..).flat_map(move |row| (0..columns).map(move |column| column * inputs + row))
}

/// Where a walk over a module is: names of fields, without the variants of an enum.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str, container_type: &str) {
        if !is_enum(container_type) {
            self.0.push(name.to_owned());
        }
    }

    fn exit(&mut self, container_type: &str) {
        if !is_enum(container_type) {
            self.0.pop();
        }
    }

    fn joined(&self) -> String {
        self.0.join(".")
    }
}

/// As burn's derive calls it.
fn is_enum(container_type: &str) -> bool {
    container_type.starts_with("Enum:")
}

/// Finds every parameter (or its gradient) on the device.
struct Reader<'a> {
    path: Path,
    gradients: Option<&'a GradientsParams>,
    tables: Result<BTreeMap<String, Table>, WeightError>,
}

impl Reader<'_> {
    /// The table of `param`, or none where gradients are read and it is not trained.
    fn find<const D: usize>(&self, param: &Param<Tensor<D>>) -> Result<Option<Table>, WeightError> {
        let parameter = self.path.joined();
        let tensor = match self.gradients {
            None => param.val(),
            Some(gradients) => match gradients.get(param.id) {
                Some(gradient) => gradient,
                None if !param.val().is_require_grad() => return Ok(None),
                None => return Err(WeightError::NoGradient(parameter)),
            },
        };
        let (columns, len) = (tensor.dims()[D - 1], tensor.shape().num_elements());
        let read = move || {
            device::read(tensor.clone()).map_err(|reason| WeightError::Unreadable {
                parameter: parameter.clone(),
                reason,
            })
        };
        Ok(Some(Table {
            columns,
            len,
            read: Box::new(read),
            written: None,
        }))
    }
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // The first error is kept, and nothing is read after it.
        if self.tables.is_err() {
            return;
        }
        let table = self.find(param);
        match (&mut self.tables, table) {
            (Ok(tables), Ok(Some(table))) => drop(tables.insert(self.path.joined(), table)),
            (tables, Err(error)) => *tables = Err(error),
            _ => {}
        }
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }
}

/// Replaces the values of every parameter; ids, devices and gradients' requests stay.
struct Writer {
    path: Path,
    tables: BTreeMap<String, Table>,
}

impl ModuleMapper for Writer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let table = self.tables.remove(&self.path.joined());
        let Some(values) = table.and_then(|table| table.written) else {
            return param;
        };
        param.map(|old| {
            let data = TensorData::new(values, old.shape());
            Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
        })
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }
}
