//! mspipe trains memory-based temporal graph neural networks on any GPU that wgpu
//! reaches, and on the CPU.
//!
//! # Modules
//!
//! | module | what it holds |
//! |---|---|
//! | [`graph`] | ids, times, the stream's events by node (T-CSR) |
//! | [`sampling`] | past events and negatives, from counter-based random numbers |
//! | [`batch`] | a batch's layout: unique rows, indices, last writers, mail routing of mails |
//! | [`features`] | node and edge features of a batch |
//! | [`memory`] | memory rows, mails and times of nodes, on the device or in RAM |
//! | [`kernels`] | WGSL kernels, CPU kernels and backwards |
//! | [`model`] | TGN, JODIE, APAN and their parts |
//! | [`weights`] | weights in files: safetensors, PyTorch's checkpoints |
//! | [`checkpoint`] | the whole state of a training in one file |
//! | [`pipeline`] | the five stages of an iteration, schedules and staleness, what runs them |
//! | [`what_if`] | schedules on stage times: simulator, the paper's equations, sleeping stages |
//! | [`train`] | the stages over a stream, the optimiser, the epochs, node classification |
//! | [`eval`] | metrics, unseen nodes, EdgeBank |
//! | [`audit`] | does a score know more than it may? |
//! | [`device`] | adapters, the device thread |
//! | [`profiler`] | what each operation of an iteration costs |
//! | [`report`] | reports as one HTML page or Markdown, with charts; that of a run |
//! | [`config`], [`session`], [`run_folder`] | settings, putting it all together, what a run writes |
//! | [`console`], [`interrupt`] | stdout and stderr, signals: what programs of this library share |
//!
//! # The life of one batch
//!
//! [`train::stages::PassStages`] has the five stages in order:
//!
//! 1. `sample` (host): [`batch::EventBatch::cut`] takes the events, [`sampling`] draws
//!    negatives and past events, [`batch::Layout::build`] finds the unique rows and all
//!    indices, whose memory will be written and who gets which mail.
//! 2. `fetch_features` (host): [`features::Features`] gathers the rows of its events.
//! 3. `fetch_memory` (device thread, as all that follows): [`memory::MemoryStore::fetch`]
//!    gathers memory, mails and exact time differences; [`train::upload`] makes tensors.
//! 4. `train`: [`model::Model::update`] gives the new memory rows,
//!    [`model::Model::embed`] the embeddings; loss, backward, Adam
//!    ([`train::trainer::Trainer`]).
//! 5. `update_memory`: [`memory::MemoryStore::commit`] writes the last writers' rows and the mails.
//!
//! [`pipeline::sequential`] runs them one after the other, [`pipeline::executor`] on several
//! threads under a schedule; [`train::epochs::TrainLoop`] goes over epochs, validation and
//! test. With memory in RAM, stages 3 to 5 are those of [`train::host_stages`].

pub mod audit;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod console;
pub mod device;
pub mod eval;
pub mod features;
pub mod graph;
pub mod interrupt;
pub mod kernels;
pub mod memory;
pub mod model;
pub mod pipeline;
pub mod profiler;
pub mod report;
pub mod run_folder;
pub mod sampling;
pub mod session;
pub mod train;
pub mod weights;
pub mod what_if;
