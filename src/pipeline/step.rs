//! What is run without interruption, and by which thread.

use serde::{Deserialize, Serialize};

use super::Stage;
use super::residency::Residency;

/// What a thread does without interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Stage 5 on the host: waiting for the rows, and taking them.
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
            (Step::Receive, _) => Lane::Receiver,
            (Step::Apply, Residency::Host) => Lane::Updater,
            _ => Lane::Device,
        }
    }

    /// The lane of the device's queue that does what this step of the device's thread has encoded:
    /// with memory on the host some steps only copy.
    pub(crate) fn queue_lane(self) -> Lane {
        match self {
            Step::Upload | Step::ReadBack => Lane::Bus,
            _ => Lane::Gpu,
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

    /// The steps of an iteration that follows another: those of stage 4 in two parts where memory lies
    /// on the host, which tells when the updated memory is known.
    pub fn in_turn(memory: Residency) -> &'static [Step] {
        use Step::{
            Apply, Begin, Features, Finish, Gather, ReadBack, Receive, Sample, Send, Upload,
        };
        match memory {
            Residency::Device => Step::of(memory, false),
            Residency::Host => &[
                Sample, Features, Gather, Send, Upload, Begin, Finish, ReadBack, Receive, Apply,
            ],
        }
    }
}

/// A lane of the pipeline: a thread, or what works beside the threads on what the device's one has
/// encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Runs stage 1.
    Sampler,
    /// Runs stage 2, and reads memory that lies on the host.
    Fetcher,
    /// Talks to the device: does its work, or encodes it where the device has a queue.
    Device,
    /// The kernels of the device's queue.
    Gpu,
    /// Copies between host and device in the device's queue.
    Bus,
    /// Waits for the updated rows of memory that lies on the host.
    Receiver,
    /// Writes memory that lies on the host.
    Updater,
}

impl Lane {
    /// All lanes.
    pub(crate) const ALL: [Lane; 7] = [
        Lane::Sampler,
        Lane::Fetcher,
        Lane::Device,
        Lane::Gpu,
        Lane::Bus,
        Lane::Receiver,
        Lane::Updater,
    ];

    /// The threads that work with memory at `memory`.
    pub(crate) fn threads(memory: Residency) -> &'static [Lane] {
        match memory {
            Residency::Device => &[Lane::Sampler, Lane::Fetcher, Lane::Device],
            Residency::Host => &[
                Lane::Sampler,
                Lane::Fetcher,
                Lane::Device,
                Lane::Receiver,
                Lane::Updater,
            ],
        }
    }

    /// Its name in traces and reports; a thread has it too.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Sampler => "sampler",
            Lane::Fetcher => "fetcher",
            Lane::Device => "device",
            Lane::Gpu => "gpu",
            Lane::Bus => "bus",
            Lane::Receiver => "receiver",
            Lane::Updater => "updater",
        }
    }
}
