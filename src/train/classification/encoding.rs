//! The pass over the stream that makes embeddings of labelled events.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use super::embeddings::{Encoder, Rows};
use super::{
    Classification, ClassificationError, ClassificationEvent, ClassificationObserver, LabelOf,
};
use crate::graph::EventId;
use crate::memory::MemoryStore as _;
use crate::sampling::SplitPart;
use crate::train::divergence::check_memory;
use crate::train::error::{StageError, Unsound};
use crate::train::pass::Pass;
use crate::train::upload::{feature_rows, floats, read};

/// Embeddings that may wait on the device before they are read, in batches.
const UNREAD_BATCHES: usize = 32;

/// Batches of a pass that have been embedded and not read yet.
struct Unread {
    embeddings: Vec<Tensor<2>>,
    /// Their events.
    events: Range<usize>,
}

impl Classification {
    /// Goes over the rest of the stream.
    pub(super) fn embed(
        &mut self,
        observer: &mut ClassificationObserver<'_>,
    ) -> Result<(), ClassificationError> {
        let mut before = 0;
        for part in [SplitPart::Train, SplitPart::Validation, SplitPart::Test] {
            let pass = self.evaluator.pass(part, 0);
            let batches = pass.iterations();
            let embedded = self.encoder.batches.saturating_sub(before).min(batches);
            if embedded < batches {
                self.embed_part(&pass, embedded, observer)?;
            }
            before += batches;
        }
        Ok(())
    }

    /// Embeds the batches of a part from `first` on.
    fn embed_part(
        &mut self,
        pass: &Pass,
        first: usize,
        observer: &mut ClassificationObserver<'_>,
    ) -> Result<(), ClassificationError> {
        let commits = self.encoder.memory.version() - first as u64;
        let mut unread = Unread::after(pass.batch_events(first).start);
        let mut kept_at = first;
        for batch in first..pass.iterations() {
            self.embed_batch(pass, batch, &mut unread)?;
            let done = batch + 1;
            let stopping = self.evaluator.check_stop().is_err();
            let due = self.keeping.is_due(kept_at, done);
            let ends = done == pass.iterations();
            if ends || due || stopping || unread.embeddings.len() == UNREAD_BATCHES {
                observer(ClassificationEvent::Embedded(unread.events.end))
                    .map_err(ClassificationError::Observer)?;
                self.read_embeddings(&mut unread)?;
            }
            if ends || due || stopping {
                check_memory(&self.encoder.memory, commits, pass)?;
            }
            if due || stopping {
                kept_at = done;
                self.keep(stopping, observer)?;
            }
        }
        Ok(())
    }

    fn embed_batch(
        &mut self,
        pass: &Pass,
        batch: usize,
        unread: &mut Unread,
    ) -> Result<(), ClassificationError> {
        let Encoder { model, memory, .. } = &mut self.encoder;
        let prepared = pass.fetch_features(pass.sample(batch)?);
        let fetched = pass.fetch_memory(prepared, memory, &self.evaluator.device);
        let output = model.model.forward(&fetched.input, None);
        let events = pass.batch_events(batch);
        let count = events.len();
        // Roots are src ‖ dst ‖ neg.
        let of = |roots: Range<usize>| output.embedding.clone().slice(roots);
        unread.embeddings.push(match self.of {
            LabelOf::Source => of(0..count),
            LabelOf::Event => Tensor::cat(vec![of(0..count), of(count..2 * count)], 1),
        });
        unread.events.end = events.end;
        fetched.update_memory(output.memory, memory)?;
        self.encoder.batches += 1;
        Ok(())
    }

    /// Reads what waits on the device, and keeps the rows of labelled events.
    fn read_embeddings(&mut self, unread: &mut Unread) -> Result<(), ClassificationError> {
        let events = unread.events.clone();
        let embeddings = std::mem::replace(unread, Unread::after(events.end)).embeddings;
        let values = read(Tensor::cat(embeddings, 0))?;
        check_embeddings(&values, &events)?;
        let width = values.len() / events.len();
        self.rows.width = width;
        for &event in &self.labels.events[self.labels.among(&events)] {
            let row = event as usize - events.start;
            let row = &values[row * width..][..width];
            self.rows.values.extend_from_slice(row);
        }
        Ok(())
    }

    /// What is classified of some labelled events, `[labels, input]`: embeddings, and for labels of
    /// events their own features.
    pub(super) fn inputs(&self, labelled: &[usize], device: &Device) -> Tensor<2> {
        let Rows { values, width } = &self.rows;
        let rows = labelled
            .iter()
            .flat_map(|at| &values[at * width..][..*width]);
        let rows = floats(rows.copied().collect(), [labelled.len(), *width], device);
        let features = &self.evaluator.sampling().features;
        if self.of == LabelOf::Source || features.edge_width() == 0 {
            return rows;
        }
        let event = |at: &usize| EventId(self.labels.events[*at]);
        let events: Vec<EventId> = labelled.iter().map(event).collect();
        let own = feature_rows(features.edge_rows(&events), &device.clone().inner());
        let own = match device.is_autodiff() {
            true => Tensor::from_inner(own),
            false => own,
        };
        Tensor::cat(vec![rows, own], 1)
    }

    /// Numbers of a row that is classified.
    pub(super) fn input_width(&self) -> usize {
        let own = match self.of {
            LabelOf::Source => 0,
            LabelOf::Event => self.evaluator.sampling().features.edge_width(),
        };
        self.rows.width + own
    }
}

impl Unread {
    fn after(event: usize) -> Unread {
        Unread {
            embeddings: Vec::new(),
            events: event..event,
        }
    }
}

/// Fails if one of the embeddings of `events` is not finite.
fn check_embeddings(rows: &[f32], events: &Range<usize>) -> Result<(), StageError> {
    match rows.iter().position(|number| !number.is_finite()) {
        None => Ok(()),
        Some(at) => Err(StageError::Unsound(Unsound::Embedding {
            event: events.start + at * events.len() / rows.len(),
            value: rows[at],
        })),
    }
}
