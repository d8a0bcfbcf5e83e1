//! What is run without interruption, and by which thread.

use serde::Serialize;

use super::Stage;
use super::profile::Residency;

/// What a thread does without interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Stage 1.
    Sample,
    /// Stage 2.
    Features,
    /// Stage 3: the read point on the host, all of the stage on the device.
    Gather,
    /// Stage 3 on the host: what follows the read point.
    Send,
    /// Stage 3 on the host: what the device thread does.
    Upload,
    /// Stage 4.
    Train,
    /// Stage 4 up to the updated memory.
    Begin,
    /// The rest of stage 4.
    Finish,
    /// Stage 5 on the host: what the device thread does.
    ReadBack,
    /// Stage 5 on the host: waiting for the rows.
    Receive,
    /// Stage 5: the write point on the host, all of the stage on the device.
    Apply,
}

impl Step {
    /// Number of steps.
    pub(crate) const COUNT: usize = Step::Apply as usize + 1;

    /// The stage that it belongs to.
    pub fn stage(self) -> Stage {
        match self {
            Step::Sample => Stage::Sample,
            Step::Features => Stage::FetchFeatures,
            Step::Gather | Step::Send | Step::Upload => Stage::FetchMemory,
            Step::Train | Step::Begin | Step::Finish => Stage::Train,
            Step::ReadBack | Step::Receive | Step::Apply => Stage::UpdateMemory,
        }
    }

    /// The step that is all of a stage, where it has no parts.
    pub(crate) fn whole(stage: Stage) -> Step {
        match stage {
            Stage::Sample => Step::Sample,
            Stage::FetchFeatures => Step::Features,
            Stage::FetchMemory => Step::Gather,
            Stage::Train => Step::Train,
            Stage::UpdateMemory => Step::Apply,
        }
    }

    /// The lane that runs it.
    pub(crate) fn lane(self, memory: Residency) -> Lane {
        match (self, memory) {
            (Step::Sample, _) => Lane::Sampler,
            (Step::Features | Step::Send, _) | (Step::Gather, Residency::Host) => Lane::Fetcher,
            (Step::Receive, _) | (Step::Apply, Residency::Host) => Lane::Updater,
            _ => Lane::Device,
        }
    }

    /// The device's last step of an iteration before its update may be applied.
    pub(super) fn trained(memory: Residency, early: bool) -> Step {
        match (memory, early) {
            (Residency::Device, _) => Step::Train,
            (Residency::Host, true) => Step::Finish,
            (Residency::Host, false) => Step::ReadBack,
        }
    }

    /// The steps of an iteration.
    pub fn of(memory: Residency, early: bool) -> &'static [Step] {
        use Step::{
            Apply, Begin, Features, Finish, Gather, ReadBack, Receive, Sample, Send, Train, Upload,
        };
        match (memory, early) {
            (Residency::Device, _) => &[Sample, Features, Gather, Train, Apply],
            (Residency::Host, false) => &[
                Sample, Features, Gather, Send, Upload, Train, ReadBack, Receive, Apply,
            ],
            (Residency::Host, true) => &[
                Sample, Features, Gather, Send, Upload, Begin, ReadBack, Finish, Receive, Apply,
            ],
        }
    }
}

/// A thread of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Runs stage 1.
    Sampler,
    /// Runs stage 2, and reads memory that lies on the host.
    Fetcher,
    /// Talks to the device.
    Device,
    /// Writes memory that lies on the host.
    Updater,
}

impl Lane {
    /// All lanes.
    pub(crate) const ALL: [Lane; 4] = [Lane::Sampler, Lane::Fetcher, Lane::Device, Lane::Updater];

    /// The lanes that work with memory at `memory`.
    pub(crate) fn of(memory: Residency) -> &'static [Lane] {
        match memory {
            Residency::Device => &Self::ALL[..3],
            Residency::Host => &Self::ALL,
        }
    }

    /// The name of its thread.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Lane::Sampler => "sampler",
            Lane::Fetcher => "fetcher",
            Lane::Device => "device",
            Lane::Updater => "updater",
        }
    }
}
