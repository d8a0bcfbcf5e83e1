//! Every score of an evaluation as a table: one row for each event, negative and candidate.
//!
//! | column | content |
//! |---|---|
//! | `part` | `val` or `test` |
//! | `negatives` | the pool that the part was measured with: `destinations`, `all-nodes`, `historical`, `inductive` |
//! | `event` | the event's place in the stream, from 0; its negatives and candidates have it too |
//! | `src`, `dst` | ids as the stream's file has them |
//! | `time` | the event's |
//! | `kind` | `event`, `negative`, or `candidate`: whom the destination is ranked among |
//! | `logit` | the model's number |
//!
//! The file appears when it is whole. Candidates are held in RAM until their part has ended: 12 bytes
//! each.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mspipe_datasets::asked::{Cells, ColumnKind, TableFormat, TableWriter};
use mspipe_datasets::whole_file::{Existing, WholeFile};
use mspipe_datasets::{EventLog, NodeKey};

use super::predict::nodes::Nodes;
use super::{Session, SessionError};
use crate::eval::Negatives;
use crate::graph::NodeId;
use crate::sampling::SplitPart;
use crate::train::error::EvalError;
use crate::train::evaluation::Scored;
use crate::train::stream::Stream;

/// Rows that are written at a time.
const ROWS: usize = 1 << 16;

/// Where the table goes.
#[derive(Debug, Clone)]
pub struct ScoresTo {
    /// The file.
    pub path: PathBuf,
    /// As what.
    pub format: TableFormat,
    /// What becomes of a file that is there.
    pub existing: Existing,
}

/// A table that is being written.
pub(super) struct ScoresTable {
    writer: TableWriter<WholeFile>,
    nodes: Nodes,
    log: Arc<EventLog>,
    rows: Rows,
}

/// Rows that are not written yet.
#[derive(Default)]
struct Rows {
    part: Vec<&'static str>,
    negatives: Vec<&'static str>,
    event: Vec<u32>,
    src: Vec<NodeKey>,
    dst: Vec<NodeKey>,
    time: Vec<i64>,
    kind: Vec<&'static str>,
    logit: Vec<f32>,
}

impl ScoresTo {
    pub(super) fn begin(&self, session: &Session) -> Result<ScoresTable, SessionError> {
        let Stream::Opened(log) = &session.sampling.log else {
            unreachable!("a session's stream was opened");
        };
        let nodes = Nodes::of(log, 0)?;
        let text = nodes.are_text();
        let ticks_per_unit = log.ticks_per_unit();
        let columns = [
            ("part", ColumnKind::Words),
            ("negatives", ColumnKind::Words),
            ("event", ColumnKind::Counts),
            ("src", ColumnKind::Keys { text }),
            ("dst", ColumnKind::Keys { text }),
            ("time", ColumnKind::Times { ticks_per_unit }),
            ("kind", ColumnKind::Words),
            ("logit", ColumnKind::Floats),
        ];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
        let file = WholeFile::create(&self.path, self.existing)?;
        let writer = TableWriter::new(file, self.format, columns).map_err(EvalError::Sink)?;
        Ok(ScoresTable {
            writer,
            nodes,
            log: log.clone(),
            rows: Rows::default(),
        })
    }
}

impl ScoresTable {
    /// Adds the scores of a part.
    pub(super) fn put(
        &mut self,
        part: SplitPart,
        negatives: Negatives,
        scored: &Scored,
    ) -> io::Result<()> {
        let part = match part {
            SplitPart::Train => "train",
            SplitPart::Validation => "val",
            SplitPart::Test => "test",
        };
        let pool = match negatives {
            Negatives::Destinations => "destinations",
            Negatives::AllNodes => "all-nodes",
            Negatives::Historical => "historical",
            Negatives::Inductive => "inductive",
        };
        let mut candidates = scored.candidates.iter().peekable();
        for (batch, scores) in scored.batches.iter().zip(&scored.scores) {
            for (place, event) in batch.events.clone().enumerate() {
                let negative = [batch.negative_sources()[place], batch.neg[place]];
                let own = [batch.src[place], batch.dst[place]];
                let event = event as u32;
                let mut add = |kind, ends, logit| self.add([part, pool, kind], event, ends, logit);
                add("event", own, scores.positive[place])?;
                add("negative", negative, scores.negative[place])?;
                while let Some(other) = candidates.next_if(|other| other.event == event) {
                    add("candidate", [own[0], other.candidate], other.logit)?;
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        [part, negatives, kind]: [&'static str; 3],
        event: u32,
        [src, dst]: [NodeId; 2],
        logit: f32,
    ) -> io::Result<()> {
        let rows = &mut self.rows;
        rows.part.push(part);
        rows.negatives.push(negatives);
        rows.event.push(event);
        rows.src.push(self.nodes.key(src));
        rows.dst.push(self.nodes.key(dst));
        rows.time.push(self.log.time()[event as usize]);
        rows.kind.push(kind);
        rows.logit.push(logit);
        match rows.event.len() {
            ROWS => self.write(),
            _ => Ok(()),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.writer.rows(&[
            Cells::Words(&rows.part),
            Cells::Words(&rows.negatives),
            Cells::Counts(&rows.event),
            Cells::Keys(&rows.src),
            Cells::Keys(&rows.dst),
            Cells::Times(&rows.time),
            Cells::Words(&rows.kind),
            Cells::Floats(&rows.logit),
        ])
    }

    /// Ends the table, which then appears under its name.
    pub(super) fn finish(mut self) -> Result<(), SessionError> {
        self.write().map_err(EvalError::Sink)?;
        let file = self.writer.finish().map_err(EvalError::Sink)?;
        Ok(file.commit()?)
    }
}
