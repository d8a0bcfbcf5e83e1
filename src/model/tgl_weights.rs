//! Weights of the models under the names and in the shapes that TGL (PyTorch) gives them.
//!
//! TGL keeps a linear layer as `weight` `[out, in]` and `bias` `[out]`. Here its weights
//! are a table `[in, out]`, sometimes cut into several tables by what they multiply, and
//! sometimes with the bias as one more row. So every parameter of TGL consists of rows of
//! one or more of our tables, one below the other, and a weight is their transpose.
//!
//! Invariants: `names` is the only place that knows this; it is read in both directions.
//! Values are moved, never computed, so what is loaded and exported again is the same bits,
//! and gradients follow the same map. A vector counts as a table of one row.
//!
//! Files are not read here but in `weights`: names, shapes and values come from the caller.
//!
//! Source: amazon-science/tgl 241b336, `modules.py`, `layers.py`, `memorys.py`.

mod error;
mod names;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::optim::GradientsParams;

use super::LinkModel;
use tables::{Parameter, Tables};

pub use error::{Misfit, WeightError};
pub(crate) use names::PAIR_HISTORY;
use names::PRES_GATE;

/// Shape and values of a parameter of TGL; its name is the key that it is found under.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// `model` with TGL's weights `tensors`, on the device that it is on. What only training needs, of
/// `--mitigation pres`, may be missing, and then stays as it is, or be left over.
///
/// # Errors
/// When names are missing or surplus or shapes differ; all of them are listed.
pub fn load(
    model: LinkModel,
    tensors: &BTreeMap<String, NamedTensor>,
) -> Result<LinkModel, WeightError> {
    let mut tables = Tables::of(&model, None)?;
    let mut misfits = Vec::new();
    let mut unused: BTreeMap<&str, &NamedTensor> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    for parameter in tables.parameters() {
        let expected = tables.shape(&parameter);
        let found = [Some(&parameter.name), parameter.also.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|name| unused.remove_entry(name.as_str()));
        match found {
            None if parameter.name == PRES_GATE => {}
            None => misfits.push(Misfit::Missing {
                name: parameter.name,
                expected,
            }),
            Some((name, tensor)) if tensor.shape != expected => misfits.push(Misfit::Misshapen {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                expected,
            }),
            Some((name, tensor)) if tensor.values.len() != expected.iter().product::<usize>() => {
                misfits.push(Misfit::Incomplete {
                    name: name.to_owned(),
                    shape: expected,
                    values: tensor.values.len(),
                });
            }
            Some((_, tensor)) => tables.set(&parameter, &tensor.values)?,
        }
    }
    unused.remove(PRES_GATE);
    misfits.extend(unused.into_iter().map(|(name, tensor)| Misfit::Surplus {
        name: name.to_owned(),
        found: tensor.shape.clone(),
    }));
    if misfits.is_empty() {
        Ok(tables.written_into(model))
    } else {
        Err(WeightError::Misfits(misfits))
    }
}

/// A parameter of TGL whose numbers are still where the model has them, so that a whole model can be
/// written down with one parameter at a time in RAM.
#[derive(Clone)]
pub struct Unread {
    shape: Vec<usize>,
    parameter: Arc<Parameter>,
    tables: Arc<Tables>,
}

impl Unread {
    /// TGL's name.
    pub fn name(&self) -> &str {
        &self.parameter.name
    }

    /// Lengths of its axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its numbers, row-major.
    ///
    /// # Errors
    /// When the device can't hand them over.
    pub fn read(&self) -> Result<Vec<f32>, WeightError> {
        self.tables.read(&self.parameter)
    }
}

/// The weights of `model` as TGL names them, sorted by name, of which none is read yet.
///
/// # Errors
/// When the model has them not.
pub(crate) fn unread(model: &LinkModel) -> Result<Vec<Unread>, WeightError> {
    Ok(unread_of(Tables::of(model, None)?))
}

fn unread_of(tables: Tables) -> Vec<Unread> {
    let tables = Arc::new(tables);
    let parameters = tables.parameters().into_iter();
    let mut unread: Vec<Unread> = parameters
        .map(|parameter| Unread {
            shape: tables.shape(&parameter),
            parameter: Arc::new(parameter),
            tables: tables.clone(),
        })
        .collect();
    unread.sort_by(|a, b| a.name().cmp(b.name()));
    unread
}

fn read_all(unread: Vec<Unread>) -> Result<BTreeMap<String, NamedTensor>, WeightError> {
    let named = unread.into_iter().map(|unread| {
        let values = unread.read()?;
        let shape = unread.shape.clone();
        Ok((unread.name().to_owned(), NamedTensor { shape, values }))
    });
    named.collect()
}

/// The weights of `model` as TGL names them.
///
/// # Errors
/// When the device can't hand them over.
pub fn export(model: &LinkModel) -> Result<BTreeMap<String, NamedTensor>, WeightError> {
    read_all(unread(model)?)
}

/// The gradients of the weights of `model` as TGL names them.
///
/// # Errors
/// When a parameter has no gradient, or the device can't hand one over.
pub fn export_gradients(
    model: &LinkModel,
    gradients: &GradientsParams,
) -> Result<BTreeMap<String, NamedTensor>, WeightError> {
    read_all(unread_of(Tables::of(model, Some(gradients))?))
}

#[cfg(test)]
mod tests;
