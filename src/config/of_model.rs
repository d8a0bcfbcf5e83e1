//! What settings and the model must be to one another.

use super::RunConfig;
use super::error::ConfigError;
use super::parts::{MitigationName, Protocol};
use crate::batch::TimeDelta;
use crate::memory::MemoryWrite;

impl RunConfig {
    /// Up to when a memory row's age counts: as given, else as the protocol or else the model has it.
    pub(crate) fn time_delta(&self) -> TimeDelta {
        // MSPipe's code is built on TGL's.
        let tgl = matches!(self.protocol.name, Protocol::Tgl | Protocol::Mspipe);
        match self.model.time_delta {
            Some(time_delta) => time_delta,
            None if tgl => TimeDelta::Query,
            None => self.model.name.time_delta(),
        }
    }

    /// Refuses what the model can't do.
    pub(super) fn check_model(&self) -> Result<(), ConfigError> {
        let fail = |option, found: String, expected| {
            Err(ConfigError::Range {
                option,
                found,
                expected,
            })
        };
        let (model, time_delta) = (self.model.name, self.time_delta());
        if self.model.memory_write == MemoryWrite::Read && time_delta == TimeDelta::Query {
            let found = "read with --time-delta query".to_owned();
            let expected = "--time-delta message, which has one row per node";
            return fail("memory-write", found, expected);
        }
        if self.model.layers > 1 && !model.has_layers() {
            let expected = "1 for this model, which has no attention layers";
            return fail("layers", self.model.layers.to_string(), expected);
        }
        if model.time_delta() == TimeDelta::Query && time_delta == TimeDelta::Message {
            let expected = "query: all that this model knows of a query is the age of its mail";
            return fail("time-delta", "message".to_owned(), expected);
        }
        self.check_mitigation()
    }

    /// Refuses a mitigation that the model, or when its rows are written, leaves without a meaning.
    fn check_mitigation(&self) -> Result<(), ConfigError> {
        let reads = self.model.memory_write == MemoryWrite::Read;
        let mitigation = self.pipeline.mitigation;
        let catch_up = mitigation == MitigationName::CatchUp;
        let attends = self.model.name.attends_to_mail();
        let refused = [
            (
                catch_up && reads,
                "catch-up with --memory-write read".to_owned(),
                "--memory-write event: a row that is written whenever it is read absorbs its mail again and again",
            ),
            (
                mitigation == MitigationName::Pres && reads,
                "pres with --memory-write read".to_owned(),
                "--memory-write event: pres predicts the changes that a node's events make, as a source and as a \
                 destination, and a row that is written whenever it is read is neither",
            ),
            (
                catch_up && attends,
                format!("catch-up with --model {}", self.model.name),
                "tgn or jodie: this model attends to all mail that a node keeps; more --mail-slots keep more",
            ),
        ];
        match refused.into_iter().find(|(found, ..)| *found) {
            None => Ok(()),
            Some((_, found, expected)) => Err(ConfigError::Range {
                option: "mitigation",
                found,
                expected,
            }),
        }
    }
}
