//! A training run of TGL, as recorded in a safetensors file; or one of ours on a drawn stream
//! ([`drawn`]), recorded on a device that is trusted.
//!
//! Layout: the header's metadata hold the settings (`model`, `nodes`, `events`, `batches`,
//! `batch`, `dim`, `time`, `edge_dim`, `node_dim`, `heads`, `fanout`, `lr`, for APAN `mailbox`); tensors are
//! `events.{src,dst,t,feat}`, `nodes.feat` where `node_dim` is not 0, `init.<p>` and
//! `final.<p>` for every parameter `<p>` of TGL, and for batch i
//! `b{i}.{roots,roots_t,logit.pos,logit.neg,loss,memory,memory_t,mailbox}`,
//! `b{i}.nbr.{node,t,eid,root}` (one row a sampled past event) and `b{i}.grad.<p>`.
//!
//! Invariants of a [`Recording`]: ids lie within the stream, columns are as long as the
//! settings say, a batch's roots are its events' sources and destinations, times are whole
//! numbers. Whatever breaks one is refused with the tensor's name.
//!
//! `b{i}.nbr.*` is absent where the model samples nothing (JODIE). `mailbox_t` is not read:
//! in TGN and JODIE, TGL writes it in the wrong order and does not use it; APAN's shows in
//! every later number.

pub mod drawn;

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use mspipe::graph::{EventId, NodeId, Timestamp};
use mspipe::model::tgl_weights::NamedTensor;
use mspipe::sampling::Neighbors;
use safetensors::{Dtype, SafeTensors};

/// Tensors of one kind by TGL's parameter name.
pub type Named = BTreeMap<String, NamedTensor>;

/// What the run was started with.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `tgn`, `jodie` or `apan`.
    pub model: String,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of events of the stream.
    pub events: usize,
    /// Number of batches that were trained.
    pub batches: usize,
    /// Events per batch.
    pub batch: usize,
    /// Width of memory and embedding.
    pub width: usize,
    /// Width of a time encoding.
    pub time_width: usize,
    /// Width of an edge feature row, 0 for none.
    pub edge_width: usize,
    /// Width of a node feature row, 0 for none.
    pub node_width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Mail slots per node.
    pub mail_slots: usize,
    /// Largest number of sampled past events of a root.
    pub fanout: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
}

impl Settings {
    /// Width of a mail.
    pub fn mail_width(&self) -> usize {
        2 * self.width + self.edge_width
    }
}

/// One batch: its input, and what was made of it.
#[derive(Debug, Clone)]
pub struct RecordedBatch {
    /// Roots src ‖ dst ‖ neg, `[3 batch]`.
    pub roots: Vec<NodeId>,
    /// Query time of each event, `[batch]`.
    pub time: Vec<Timestamp>,
    /// What the sampler returned.
    pub neighbors: Neighbors,
    /// The numbers.
    pub outcome: Outcome,
}

/// Numbers of a batch that was trained.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Logits of the events, `[batch]`.
    pub positive: Vec<f32>,
    /// Logits of their negatives, `[batch]`.
    pub negative: Vec<f32>,
    /// The loss, `[1]`.
    pub loss: Vec<f32>,
    /// Gradients of the loss.
    pub gradients: Named,
    /// Memory after the batch, `[nodes, width]`.
    pub memory: Vec<f32>,
    /// Last update of each node after the batch, `[nodes]`.
    pub last_update: Vec<Timestamp>,
    /// Mail after the batch, `[nodes, slots, mail width]`.
    pub mailbox: Vec<f32>,
}

/// A whole recorded run.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Where it was read from, or what made it.
    pub file: PathBuf,
    /// What it was started with.
    pub settings: Settings,
    /// Edge features, `[events, edge width]`.
    pub edge: Vec<f32>,
    /// Node features, `[nodes, node width]`.
    pub node: Vec<f32>,
    /// Weights before the first step.
    pub initial: Named,
    /// Weights after the last step.
    pub last: Named,
    /// The batches in order.
    pub batches: Vec<RecordedBatch>,
}

impl Recording {
    /// Reads the recording in `file`.
    ///
    /// # Errors
    /// When it can't be read, is no safetensors file, or is no recording of a model that we have: the message
    /// names the file and the tensor or setting.
    pub fn read(file: &Path) -> Result<Recording> {
        let bytes = std::fs::read(file).with_context(|| format!("{}", file.display()))?;
        Recording::parse(file, &bytes).with_context(|| format!("{}", file.display()))
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Recording> {
        let file = SafeTensors::deserialize(bytes).context("this is no safetensors file")?;
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let settings = Settings::read(header.metadata().as_ref())?;
        if !["tgn", "jodie", "apan"].contains(&settings.model.as_str()) {
            bail!(
                "this is a recording of the model '{}'; recordings of tgn, jodie and apan can \
                 be replayed",
                settings.model
            );
        }
        let content = Content { file };
        let Settings { nodes, events, .. } = settings;
        let stream = Stream {
            src: content.ids("events.src", events, nodes)?,
            dst: content.ids("events.dst", events, nodes)?,
            time: content.ticks("events.t", events)?,
        };
        let features = |name: &str, rows, width| match width {
            0 => Ok(Vec::new()),
            _ => content.floats(name, &[rows, width]),
        };
        Ok(Recording {
            file: path.to_owned(),
            edge: features("events.feat", events, settings.edge_width)?,
            node: features("nodes.feat", nodes, settings.node_width)?,
            initial: content.named("init.")?,
            last: content.named("final.")?,
            batches: (0..settings.batches)
                .map(|i| content.batch(i, &settings, &stream))
                .collect::<Result<_>>()?,
            settings,
        })
    }
}

impl Settings {
    fn read(metadata: Option<&HashMap<String, String>>) -> Result<Settings> {
        let metadata = metadata.context(
            "the header has no metadata; a recording keeps its settings (model, dim, …) there",
        )?;
        fn get<T: FromStr>(metadata: &HashMap<String, String>, key: &str) -> Result<T> {
            let text = metadata
                .get(key)
                .ok_or_else(|| anyhow!("the header's metadata lack '{key}'"))?;
            text.parse()
                .map_err(|_| anyhow!("metadata '{key}': found '{text}', expected a number"))
        }
        // Bounds far above any recording, so that a damaged file can't ask for all memory.
        let number = |key: &str, range: RangeInclusive<usize>| {
            let value = get::<usize>(metadata, key)?;
            ensure!(
                range.contains(&value),
                "metadata '{key}': found {value}, expected {range:?}"
            );
            Ok(value)
        };
        const COUNT: usize = 100_000_000;
        const WIDTH: usize = 4_096;
        let model: String = get(metadata, "model")?;
        let settings = Settings {
            // The other recordings name a mailbox too, of which their models use one slot.
            mail_slots: match model.as_str() {
                "apan" => number("mailbox", 1..=WIDTH)?,
                _ => 1,
            },
            model,
            nodes: number("nodes", 1..=COUNT)?,
            events: number("events", 1..=COUNT)?,
            batches: number("batches", 1..=COUNT)?,
            batch: number("batch", 1..=COUNT)?,
            width: number("dim", 1..=WIDTH)?,
            time_width: number("time", 1..=WIDTH)?,
            edge_width: number("edge_dim", 0..=WIDTH)?,
            node_width: number("node_dim", 0..=WIDTH)?,
            heads: number("heads", 1..=WIDTH)?,
            fanout: number("fanout", 1..=WIDTH)?,
            learning_rate: get(metadata, "lr")?,
        };
        let (width, heads) = (settings.width, settings.heads);
        ensure!(
            settings.batches * settings.batch <= settings.events,
            "metadata: {} batches of {} events are more than {} events",
            settings.batches,
            settings.batch,
            settings.events
        );
        ensure!(
            width.is_multiple_of(heads),
            "metadata: heads {heads} must divide dim {width}"
        );
        Ok(settings)
    }
}

/// The columns of the recorded stream.
struct Stream {
    src: Vec<NodeId>,
    dst: Vec<NodeId>,
    time: Vec<Timestamp>,
}

/// The tensors of a file, with their names in every error.
struct Content<'a> {
    file: SafeTensors<'a>,
}

impl Content<'_> {
    /// Bytes of the tensor `name` with its shape.
    fn tensor(&self, name: &str, kinds: &[Dtype]) -> Result<(Vec<usize>, Dtype, &[u8])> {
        let view = self
            .file
            .tensor(name)
            .map_err(|_| anyhow!("tensor '{name}' is missing"))?;
        ensure!(
            kinds.contains(&view.dtype()),
            "tensor '{name}': found {:?}, expected {kinds:?}",
            view.dtype()
        );
        Ok((view.shape().to_vec(), view.dtype(), view.data()))
    }

    fn named_tensor(&self, name: &str) -> Result<NamedTensor> {
        let (shape, _, bytes) = self.tensor(name, &[Dtype::F32])?;
        let (words, _) = bytes.as_chunks::<4>();
        let values = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        Ok(NamedTensor { shape, values })
    }

    /// Numbers of a tensor; axes of length 1 count for nothing in `shape`.
    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.named_tensor(name)?;
        let long =
            |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|&n| n != 1).collect() };
        ensure!(
            long(&tensor.shape) == long(shape),
            "tensor '{name}': found shape {:?}, expected {shape:?}",
            tensor.shape
        );
        Ok(tensor.values)
    }

    /// Times: whole numbers that f32 holds exactly.
    fn ticks(&self, name: &str, len: usize) -> Result<Vec<Timestamp>> {
        let tick = |&time: &f32| {
            ensure!(
                time.fract() == 0.0 && time.abs() <= 16_777_216.0,
                "tensor '{name}': found time {time}, expected whole numbers up to 2^24, \
                 which f32 holds exactly"
            );
            Ok(time as Timestamp)
        };
        self.floats(name, &[len])?.iter().map(tick).collect()
    }

    /// Integers from 0 to below `below`.
    fn integers(&self, name: &str, below: usize) -> Result<Vec<usize>> {
        let (_, kind, bytes) = self.tensor(name, &[Dtype::I32, Dtype::I64])?;
        let numbers: Vec<i64> = if kind == Dtype::I32 {
            let (words, _) = bytes.as_chunks::<4>();
            words
                .iter()
                .map(|&word| i32::from_le_bytes(word).into())
                .collect()
        } else {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().map(|&word| i64::from_le_bytes(word)).collect()
        };
        let check = |number: i64| {
            usize::try_from(number)
                .ok()
                .filter(|&number| number < below)
                .ok_or_else(|| {
                    anyhow!("tensor '{name}': found {number}, expected 0 to below {below}")
                })
        };
        numbers.into_iter().map(check).collect()
    }

    fn ids(&self, name: &str, len: usize, nodes: usize) -> Result<Vec<NodeId>> {
        let ids = self.integers(name, nodes)?;
        ensure!(
            ids.len() == len,
            "tensor '{name}': found {} ids, expected {len}",
            ids.len()
        );
        Ok(ids.into_iter().map(|id| NodeId(id as u32)).collect())
    }

    /// All tensors whose name begins with `prefix`, under the rest of it.
    fn named(&self, prefix: &str) -> Result<Named> {
        let names = self.file.names();
        let rest = names.iter().filter_map(|name| name.strip_prefix(prefix));
        rest.map(|rest| {
            Ok((
                rest.to_owned(),
                self.named_tensor(&format!("{prefix}{rest}"))?,
            ))
        })
        .collect()
    }

    fn batch(&self, i: usize, settings: &Settings, stream: &Stream) -> Result<RecordedBatch> {
        let name = |rest: &str| format!("b{i}.{rest}");
        let Settings { nodes, batch, .. } = *settings;
        let events = i * batch..(i + 1) * batch;
        let roots = self.ids(&name("roots"), 3 * batch, nodes)?;
        let time = self.ticks(&name("roots_t"), 3 * batch)?;
        ensure!(
            roots[..batch] == stream.src[events.clone()]
                && roots[batch..2 * batch] == stream.dst[events.clone()]
                && time
                    .chunks(batch)
                    .all(|part| part == &stream.time[events.clone()]),
            "tensors '{}' and '{}' are not those of the events {events:?}",
            name("roots"),
            name("roots_t")
        );
        Ok(RecordedBatch {
            roots,
            time: stream.time[events].to_vec(),
            neighbors: self.neighbors(i, settings, stream)?,
            outcome: Outcome {
                positive: self.floats(&name("logit.pos"), &[batch])?,
                negative: self.floats(&name("logit.neg"), &[batch])?,
                loss: self.floats(&name("loss"), &[1])?,
                gradients: self.named(&name("grad."))?,
                memory: self.floats(&name("memory"), &[nodes, settings.width])?,
                last_update: self.ticks(&name("memory_t"), nodes)?,
                mailbox: self.floats(
                    &name("mailbox"),
                    &[nodes, settings.mail_slots, settings.mail_width()],
                )?,
            },
        })
    }

    /// The sampled past events of batch `i`, by root, in the order of the file.
    fn neighbors(&self, i: usize, settings: &Settings, stream: &Stream) -> Result<Neighbors> {
        let name = |rest: &str| format!("b{i}.nbr.{rest}");
        let Settings { nodes, fanout, .. } = *settings;
        let roots = 3 * settings.batch;
        if settings.model == "jodie" {
            return Ok(Neighbors::none(roots));
        }
        let root = self.integers(&name("root"), roots)?;
        let node = self.ids(&name("node"), root.len(), nodes)?;
        let event = self.integers(&name("eid"), settings.events)?;
        let time = self.ticks(&name("t"), root.len())?;
        ensure!(
            event.len() == root.len(),
            "tensor '{}': found {} events, expected {}",
            name("eid"),
            event.len(),
            root.len()
        );
        let mut neighbors = Neighbors {
            fanout,
            node: vec![NodeId(0); roots * fanout],
            event: vec![EventId(0); roots * fanout],
            time: vec![0; roots * fanout],
            len: vec![0; roots],
        };
        for (row, &root) in root.iter().enumerate() {
            let len = neighbors.len[root] as usize;
            ensure!(
                len < fanout,
                "tensor '{}': more than {fanout} rows of root {root}",
                name("root")
            );
            ensure!(
                stream.time[event[row]] == time[row],
                "tensor '{}' row {row}: found {}, expected the time {} of event {}",
                name("t"),
                time[row],
                stream.time[event[row]],
                event[row]
            );
            let slot = root * fanout + len;
            neighbors.node[slot] = node[row];
            neighbors.event[slot] = EventId(event[row] as u32);
            neighbors.time[slot] = time[row];
            neighbors.len[root] += 1;
        }
        Ok(neighbors)
    }
}
