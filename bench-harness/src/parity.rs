//! `parity`: replays a training run of TGL and compares every number; or one that another device
//! recorded ([`record`]).
//!
//! Roots and sampled past events are taken from the recording; memory, updater, attention,
//! loss, gradients, Adam, last writers and mail is ours. Nothing is reset between batches, so
//! an error of an early batch shows in all later ones.
//!
//! Errors are relative to the largest magnitude of the recorded tensor (of one batch or one
//! parameter): |ours − theirs| / max |theirs|. A tensor whose magnitudes are below
//! [`SMALLEST_SCALE`] is compared relative to that. A number that is not finite is an
//! infinite error.

use std::fmt;

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::{Device, Tensor};
use mspipe::batch::{
    EventBatch, Layout, LayoutRule, MailAggregation, MailOrder, MailRule, MfgScratch, TimeDelta,
};
use mspipe::device::{self, DeviceSettings};
use mspipe::graph::Queries;
use mspipe::memory::device::DeviceMemory;
use mspipe::memory::node_times::{NodeTimes, NodeTimesRule};
use mspipe::memory::{MemoryCommit, MemoryRequest, MemoryStore, MemoryWrite};
use mspipe::model::init::Initializer;
use mspipe::model::tgl_weights::{export, export_gradients, load};
use mspipe::model::{LinkModel, ModelConfig, ModelName};
use mspipe::train::optimizer::OptimizerRule;
use mspipe::train::trainer::Trainer;
use mspipe::train::upload::{floats, model_input};
use serde::Serialize;

use crate::recording::{Named, Outcome, RecordedBatch, Recording, Settings};

/// Tensors that are nowhere larger than this are compared on this scale: f32 rounding of
/// intermediate numbers around 1 is 6e-8, so smaller tensors hold no digits to compare.
pub const SMALLEST_SCALE: f32 = 1e-6;

/// Something that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Scores of the events.
    PositiveLogits,
    /// Scores of their negatives.
    NegativeLogits,
    /// Loss of a batch.
    Loss,
    /// Gradients of all parameters, before each step.
    Gradients,
    /// Memory rows after each batch.
    Memory,
    /// Times of last update after each batch.
    LastUpdate,
    /// Mail after each batch.
    Mailbox,
    /// Parameters after the last step.
    Parameters,
    /// How far the steps moved each parameter: after the last one minus before the first.
    /// Numbers that once got a gradient below Adam's epsilon are left out.
    ParameterChanges,
}

impl Quantity {
    pub(crate) const ALL: [Quantity; 9] = [
        Quantity::PositiveLogits,
        Quantity::NegativeLogits,
        Quantity::Loss,
        Quantity::Gradients,
        Quantity::Memory,
        Quantity::LastUpdate,
        Quantity::Mailbox,
        Quantity::Parameters,
        Quantity::ParameterChanges,
    ];

    /// Largest relative error that passes.
    pub fn tolerance(self) -> f64 {
        match self {
            Quantity::PositiveLogits | Quantity::NegativeLogits | Quantity::Loss => 1e-4,
            Quantity::LastUpdate => 0.0,
            _ => 1e-3,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Quantity::PositiveLogits => "logits of events",
            Quantity::NegativeLogits => "logits of negatives",
            Quantity::Loss => "loss",
            Quantity::Gradients => "gradients",
            Quantity::Memory => "memory",
            Quantity::LastUpdate => "last update",
            Quantity::Mailbox => "mailbox",
            Quantity::Parameters => "parameters at the end",
            Quantity::ParameterChanges => "changes of parameters",
        })
    }
}

/// Largest errors of a quantity over all batches and parameters.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What was compared.
    pub quantity: Quantity,
    /// Batch or parameter with the largest relative error.
    pub worst: String,
    /// Largest |ours − theirs|.
    pub absolute: f64,
    /// Largest relative error.
    pub relative: f64,
    /// Largest relative error that passes.
    pub tolerance: f64,
    /// Numbers compared.
    pub numbers: usize,
    /// Whether the relative error is within the tolerance, and numbers were compared at all.
    pub passed: bool,
}

/// What a replay found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Model of the recording.
    pub model: String,
    /// Batches replayed.
    pub batches: usize,
    /// Device that replayed them.
    pub device: String,
    /// One entry a quantity.
    pub comparisons: Vec<Comparison>,
    /// Whether all of them passed.
    pub passed: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} batches of {} on {}",
            self.batches, self.model, self.device
        )?;
        writeln!(
            f,
            "{:<22} {:>9} {:>10} {:>10} {:>10}  {:<4}  worst at",
            "quantity", "numbers", "absolute", "relative", "tolerance", ""
        )?;
        for row in &self.comparisons {
            let verdict = if row.passed { "pass" } else { "FAIL" };
            writeln!(
                f,
                "{:<22} {:>9} {:>10.1e} {:>10.1e} {:>10.0e}  {verdict}  {}",
                row.quantity, row.numbers, row.absolute, row.relative, row.tolerance, row.worst
            )?;
        }
        write!(
            f,
            "relative: |ours - theirs| / max |theirs| of the same tensor (at least {SMALLEST_SCALE:.0e})\n\
             changes of parameters: without numbers that got a gradient below Adam's epsilon, 1e-8"
        )
    }
}

/// Replays `recording` on the device that `settings` ask for.
///
/// # Errors
/// When there is no such device, it fails, or the recorded weights are not of this model.
/// Numbers that differ are no error; they are in the report.
pub fn replay(recording: &Recording, settings: DeviceSettings) -> Result<Report> {
    device::on_device_thread(|| {
        let opened = device::open(settings)?;
        let mut tally = Tally::default();
        let device = &opened.device;
        Replay::start(recording, device)?
            .compare(&mut tally)
            .with_context(|| format!("{}", recording.file.display()))?;
        let comparisons = tally.0;
        Ok(Report {
            model: recording.settings.model.clone(),
            batches: recording.batches.len(),
            device: opened.adapter,
            passed: comparisons.iter().all(|row| row.passed),
            comparisons,
        })
    })?
}

/// Trains the batches of `recording` on the device that `settings` ask for, from weights drawn with
/// `seed`, and returns it with all numbers of that run in place of its own.
///
/// # Errors
/// When there is no such device, or it fails.
pub fn record(mut recording: Recording, seed: u64, settings: DeviceSettings) -> Result<Recording> {
    let (initial, outcomes, last) = device::on_device_thread(|| -> Result<_> {
        let device = device::open(settings)?.device;
        let training = device.clone().autodiff();
        let config = model_config(&recording.settings);
        let model = LinkModel::new(&config, &mut Initializer::new(seed, &training));
        let initial = export(&model)?;
        let mut replay = Replay::of(&recording, model, &device);
        let batches = recording.batches.iter().enumerate();
        let outcomes: Result<Vec<_>> = batches.map(|(i, batch)| replay.batch(i, batch)).collect();
        Ok((initial, outcomes?, export(replay.trainer.model())?))
    })??;
    for (batch, outcome) in recording.batches.iter_mut().zip(outcomes) {
        batch.outcome = outcome;
    }
    (recording.initial, recording.last) = (initial, last);
    Ok(recording)
}

/// Largest errors so far.
struct Tally(Vec<Comparison>);

impl Default for Tally {
    fn default() -> Tally {
        let row = |quantity: Quantity| Comparison {
            quantity,
            worst: "nothing was compared".to_owned(),
            absolute: 0.0,
            relative: 0.0,
            tolerance: quantity.tolerance(),
            numbers: 0,
            passed: false,
        };
        Tally(Quantity::ALL.map(row).to_vec())
    }
}

impl Tally {
    /// Compares one tensor of a batch or one parameter, called `place`.
    fn add(&mut self, quantity: Quantity, place: &str, ours: &[f32], theirs: &[f32]) -> Result<()> {
        ensure!(
            ours.len() == theirs.len(),
            "{quantity}, {place}: {} numbers, {} were recorded",
            ours.len(),
            theirs.len()
        );
        let largest = theirs
            .iter()
            .fold(SMALLEST_SCALE, |max, x| max.max(x.abs()));
        let difference = ours.iter().zip(theirs).map(|(&ours, &theirs)| {
            let difference = (f64::from(ours) - f64::from(theirs)).abs();
            if difference.is_finite() {
                difference
            } else {
                f64::INFINITY
            }
        });
        let absolute = difference.fold(0.0, f64::max);
        let relative = absolute / f64::from(largest);
        let Some(row) = self.0.iter_mut().find(|row| row.quantity == quantity) else {
            return Ok(());
        };
        if row.numbers == 0 || relative > row.relative {
            row.relative = relative;
            row.worst = place.to_owned();
        }
        row.numbers += ours.len();
        row.absolute = row.absolute.max(absolute);
        row.passed = row.numbers > 0 && row.relative <= row.tolerance;
        Ok(())
    }

    /// Compares all numbers of a batch.
    fn add_batch(&mut self, i: usize, ours: &Outcome, theirs: &Outcome) -> Result<()> {
        let (at, place) = (format!(" in batch {i}"), format!("batch {i}"));
        self.add_named(Quantity::Gradients, &at, &ours.gradients, &theirs.gradients)?;
        let mut compare = |quantity, of: fn(&Outcome) -> &Vec<f32>| {
            self.add(quantity, &place, of(ours), of(theirs))
        };
        compare(Quantity::PositiveLogits, |of| &of.positive)?;
        compare(Quantity::NegativeLogits, |of| &of.negative)?;
        compare(Quantity::Loss, |of| &of.loss)?;
        compare(Quantity::Memory, |of| &of.memory)?;
        compare(Quantity::Mailbox, |of| &of.mailbox)?;
        // Whole numbers up to 2^24, which f32 holds exactly.
        let times = |of: &Outcome| -> Vec<f32> {
            let ticks = of.last_update.iter();
            ticks.map(|&time| time as f32).collect()
        };
        self.add(Quantity::LastUpdate, &place, &times(ours), &times(theirs))
    }

    /// Compares parameters or gradients by name.
    fn add_named(
        &mut self,
        quantity: Quantity,
        at: &str,
        ours: &Named,
        theirs: &Named,
    ) -> Result<()> {
        let names = |named: &Named| named.keys().cloned().collect::<Vec<_>>();
        ensure!(
            names(ours) == names(theirs),
            "{quantity}{at}: names are {:?}, recorded are {:?}",
            names(ours),
            names(theirs)
        );
        for ((name, ours), theirs) in ours.iter().zip(theirs.values()) {
            let place = format!("{name}{at}");
            ensure!(
                ours.shape == theirs.shape,
                "{quantity}, {place}: shape {:?}, recorded is {:?}",
                ours.shape,
                theirs.shape
            );
            self.add(quantity, &place, &ours.values, &theirs.values)?;
        }
        Ok(())
    }
}

/// A model that repeats what TGL did.
struct Replay<'a> {
    recording: &'a Recording,
    device: &'a Device,
    layout: LayoutRule,
    trainer: Trainer,
    memory: DeviceMemory,
    scratch: MfgScratch,
    /// Width of the node features that the model reads.
    node_width: usize,
}

/// The model that a recording is of, without dropout.
fn model_config(settings: &Settings) -> ModelConfig {
    // TGL's APAN reads none: neither its updater nor its embedding has a map for them.
    let (name, node_width) = match settings.model.as_str() {
        "jodie" => (ModelName::Jodie, settings.node_width),
        "apan" => (ModelName::Apan, 0),
        _ => (ModelName::Tgn, settings.node_width),
    };
    ModelConfig {
        name,
        width: settings.width,
        time_width: settings.time_width,
        edge_width: settings.edge_width,
        node_width,
        layers: 1,
        heads: settings.heads,
        mail_slots: settings.mail_slots,
        train_time_encoding: true,
        dropout: 0.0,
        attention_dropout: 0.0,
        pair_history: 0,
    }
}

impl<'a> Replay<'a> {
    /// With the recorded weights.
    fn start(recording: &'a Recording, device: &'a Device) -> Result<Replay<'a>> {
        let training = device.clone().autodiff();
        let config = model_config(&recording.settings);
        let model = LinkModel::new(&config, &mut Initializer::new(0, &training));
        let model = load(model, &recording.initial)
            .context("tensors 'init.*'")
            .with_context(|| format!("{}", recording.file.display()))?;
        Ok(Replay::of(recording, model, device))
    }

    fn of(recording: &'a Recording, model: LinkModel, device: &'a Device) -> Replay<'a> {
        let settings = &recording.settings;
        let &Settings { nodes, width, .. } = settings;
        let config = model_config(settings);
        let needs = config.needs();
        let clock = NodeTimesRule {
            time_delta: TimeDelta::Query,
            write: MemoryWrite::Event,
            mail_slots: needs.mail_slots,
            catch_up: false,
            ticks_per_unit: 1,
            origin: 0,
            first: 0,
        };
        let layout = LayoutRule {
            layers: needs.layers,
            time_delta: TimeDelta::Query,
            mail_rule: MailRule {
                aggregation: MailAggregation::Last,
                order: MailOrder::Row,
                to_neighbors: needs.mail_to_neighbors,
            },
            attends_to_mail: needs.attends_to_mail,
            ticks_per_unit: 1,
        };
        let clock = NodeTimes::new(nodes, clock);
        Replay {
            recording,
            device,
            layout,
            trainer: Trainer::new(model, OptimizerRule::adam(settings.learning_rate)),
            memory: DeviceMemory::new(nodes, width, config.mail_width(), clock, device),
            scratch: MfgScratch::new(nodes),
            node_width: config.node_width,
        }
    }

    /// Trains all batches and compares each.
    fn compare(&mut self, tally: &mut Tally) -> Result<()> {
        for (i, batch) in self.recording.batches.iter().enumerate() {
            let compared = self.batch(i, batch);
            compared
                .and_then(|ours| tally.add_batch(i, &ours, &batch.outcome))
                .with_context(|| format!("batch {i}"))?;
        }
        let (initial, last) = (&self.recording.initial, &self.recording.last);
        let ours = export(self.trainer.model())?;
        tally.add_named(Quantity::Parameters, "", &ours, last)?;
        let moved = |mut named: Named| {
            for ((name, tensor), start) in named.iter_mut().zip(initial.values()) {
                for (value, start) in tensor.values.iter_mut().zip(&start.values) {
                    *value -= start;
                }
                let mut of = 0..;
                let at_random = |i| self.recording.batches.iter().any(|b| is_noise(b, name, i));
                tensor.values.retain(|_| !of.next().is_some_and(at_random));
            }
            named
        };
        tally.add_named(
            Quantity::ParameterChanges,
            "",
            &moved(ours),
            &moved(last.clone()),
        )
    }

    /// Trains a batch.
    fn batch(&mut self, i: usize, recorded: &RecordedBatch) -> Result<Outcome> {
        let settings = &self.recording.settings;
        let events = i * settings.batch..(i + 1) * settings.batch;
        let part = |k: usize| recorded.roots[k * events.len()..(k + 1) * events.len()].to_vec();
        let batch = EventBatch {
            src: part(0),
            dst: part(1),
            neg: part(2),
            neg_src: None,
            time: recorded.time.clone(),
            events,
        };
        // Every sampling of a batch, for the attention or for the routing of mail, is the
        // recorded one.
        let sample = |_: Queries<'_>, _| recorded.neighbors.clone();
        let layout = Layout::build(&batch, &self.layout, sample, &mut self.scratch);
        let rows = layout.innermost();
        let roots = batch.roots();
        let fetched = self
            .memory
            .fetch(MemoryRequest::of(&layout, roots.queries()));
        let event_rows = rows.events.iter().map(|event| event.index());
        let edge = self.features(&self.recording.edge, event_rows, settings.edge_width);
        let node_features = (self.node_width > 0).then(|| {
            let rows = rows.node.iter().map(|node| node.index());
            self.features(&self.recording.node, rows, self.node_width)
        });
        let training = self.device.clone().autodiff();
        let layers = std::slice::from_ref(&edge);
        let input = model_input(&layout, &fetched, layers, node_features, &training);

        let begun = self.trainer.begin(&input, None);
        let (output, gradients) = self.trainer.backward(begun, &input);
        let outcome = Outcome {
            gradients: export_gradients(self.trainer.model(), &gradients)?,
            positive: values(output.logits.positive())?,
            negative: values(output.logits.negative())?,
            loss: values(output.loss)?,
            ..Outcome::default()
        };

        self.trainer.step(gradients);
        self.memory.commit(MemoryCommit {
            memory: output.memory,
            changes: None,
            edge,
            last_writers: layout.last_writers,
            mail_routing: layout.mail_routing,
            times: fetched.times,
        })?;
        let (memory, mailbox) = self.memory.tables();
        Ok(Outcome {
            memory: values(memory)?,
            mailbox: values(mailbox)?,
            last_update: self.memory.node_times().last_update().to_vec(),
            ..outcome
        })
    }

    /// The rows `rows` of a feature table as a tensor, `[rows, width]`.
    fn features(
        &self,
        table: &[f32],
        rows: impl ExactSizeIterator<Item = usize>,
        width: usize,
    ) -> Tensor<2> {
        let shape = [rows.len(), width];
        let values = rows.flat_map(|row| &table[row * width..(row + 1) * width]);
        floats(values.copied().collect(), shape, self.device)
    }
}

/// Whether number `i` of a parameter has a gradient below Adam's epsilon in this batch: what
/// is left of an exact zero after rounding. Adam divides it by its own size, so that the
/// step is as good as random.
fn is_noise(batch: &RecordedBatch, parameter: &str, i: usize) -> bool {
    let gradient = batch
        .outcome
        .gradients
        .get(parameter)
        .map(|g| g.values[i].abs());
    gradient.is_some_and(|g| g > 0.0 && g < 1e-8)
}

/// The numbers of a tensor, read from its device.
fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor
        .try_into_data()
        .map_err(|error| anyhow!("the device failed: {error:?}"))?;
    data.try_into_vec()
        .map_err(|error| anyhow!("the device returned other numbers: {error:?}"))
}
