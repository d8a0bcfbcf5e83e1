//! Why weights can't be moved into a model or out of it.

use thiserror::Error;

use super::names::PAIR_HISTORY;

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

impl Misfit {
    /// What to do where one side alone has pair history.
    fn of_history(&self) -> Option<&'static str> {
        match self {
            Misfit::Missing { name, .. } if name == PAIR_HISTORY => {
                Some("these weights know no pair history (TGL's never do): give --pair-history off")
            }
            Misfit::Surplus { name, .. } if name == PAIR_HISTORY => {
                Some("these weights are of a model with pair history: give --pair-history on")
            }
            _ => None,
        }
    }
}

/// What to do about misfits of one model.
fn remedies(misfits: &[Misfit]) -> String {
    let mut remedies: Vec<&str> = misfits
        .iter()
        .find_map(Misfit::of_history)
        .into_iter()
        .collect();
    if misfits.iter().any(|misfit| misfit.of_history().is_none()) {
        remedies.push("check the widths and the kind of the model");
    }
    remedies.join("\n")
}

/// Why weights can't be moved.
#[derive(Debug, Error)]
pub enum WeightError {
    /// Names or shapes differ; all of them are listed.
    #[error(
        "these weights are not of this model:{}\n{}",
        .0.iter().map(|misfit| format!("\n  {misfit}")).collect::<String>(),
        remedies(.0)
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

impl WeightError {
    /// Whether other widths may be what is needed.
    pub(crate) fn of_widths(&self) -> bool {
        match self {
            WeightError::Misfits(misfits) => {
                misfits.iter().any(|misfit| misfit.of_history().is_none())
            }
            _ => false,
        }
    }
}
