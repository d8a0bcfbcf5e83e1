//! What a sweep's runs would refuse at their start, before the first one begins.
//!
//! What settings must be to one another, the plan has checked; here are the stream and the machine: a warm-up
//! that is longer than a run, rows that can't be numbered, memory that does not suffice.

use std::sync::Arc;

use mspipe_datasets::{EventLog, OpenOptions, Stop};

use super::error::SweepError;
use super::plan::{SweepPlan, Trial};
use crate::config::RunConfig;
use crate::device;
use crate::features::FeatureScale;
use crate::session::footprint::Footprint;
use crate::session::stream::{InitialWeights, OpenStream};
use crate::session::{SessionError, dry_run};

/// What runs begin with that have the same stream and weights.
struct Opened {
    of: RunConfig,
    log: Arc<EventLog>,
    weights: Option<Arc<InitialWeights>>,
    /// By what edge features are standardised, once that is known.
    scale: Option<FeatureScale>,
}

impl Opened {
    fn open(config: &RunConfig, stop: &Stop) -> Result<Opened, SessionError> {
        let weights = InitialWeights::open(config)?;
        let options = OpenOptions {
            stop: stop.clone(),
            ..config.stream_options()
        };
        Ok(Opened {
            of: config.clone(),
            log: Arc::new(EventLog::open(&config.source.data, &options)?),
            weights,
            scale: None,
        })
    }

    fn is_of(&self, config: &RunConfig) -> bool {
        let RunConfig {
            source,
            start,
            stream,
            ..
        } = &self.of;
        (source, start, stream) == (&config.source, &config.start, &config.stream)
    }

    /// Refuses what a run with these settings would refuse.
    fn check(&mut self, mut config: RunConfig) -> Result<(), SessionError> {
        let unchecked = config.machine.no_memory_check;
        config.stream.edge_scale.clone_from(&self.scale);
        let stream = OpenStream::of(config, self.log.clone(), self.weights.clone())?;
        self.scale.clone_from(&stream.config.stream.edge_scale);
        if !unchecked {
            let adapter = device::chosen(stream.config.device)?;
            Footprint::of(&stream, adapter.as_ref()).check()?;
        }
        Ok(())
    }
}

/// Refuses the first trial of `plan` that could not begin. Writes nothing, but converts a stream that has not
/// been converted yet.
///
/// # Errors
/// What its run would refuse.
pub(super) fn check_trials(plan: &SweepPlan, stop: &Stop) -> Result<(), SessionError> {
    let shortest = plan.rungs()[0];
    let mut opened: Option<Opened> = None;
    for trial in &plan.trials {
        let mut config = trial.config.clone();
        if plan.halves() {
            config.training.epochs = shortest;
        }
        let own = match opened.take().filter(|opened| opened.is_of(&config)) {
            Some(opened) => opened,
            None => Opened::open(&config, stop)?,
        };
        let own = opened.insert(own);
        own.check(config)
            .map_err(|error| refused(plan, trial, &error))?;
    }
    // Candidates, weights and the device, which are the same for all.
    let mut first = plan.trials[0].config.clone();
    first.output.out = None;
    dry_run(first, stop, |_, _| {})
}

/// Why a sweep does not begin, with the values of the run that could not.
fn refused(plan: &SweepPlan, trial: &Trial, error: &SessionError) -> SessionError {
    let values = trial.shown();
    SessionError::from(SweepError::At {
        place: plan.path.display().to_string(),
        reason: format!("{error} (the run with {values})"),
    })
}
