//! What each number of the settings may be, in one place.
//!
//! A ceiling stands where no machine comes, and low enough that no product of settings leaves
//! 64 bits, so that what is computed of them in advance (the estimate of memory above all) is
//! right. What a machine can hold is far below, and for that estimate to say.

use std::ops::RangeInclusive;

use clap::Arg;

use super::RunConfig;
use super::error::ConfigError;
use super::parts::{MOST_SEEDS, MitigationName, Protocol, Task};
use crate::eval::Monitor;
use crate::features::FeatureSource;
use crate::memory::MemoryWrite;
use crate::numbers::{self, shortest};
use crate::pipeline::schedule::Schedule;
use crate::ranks::Launch;

/// Most worker threads.
const MOST_THREADS: usize = 1024;

/// Most rows of a batch: they are numbered in 31 bits on every device.
const MOST_ROWS: usize = i32::MAX as usize;

/// A number that is at least 1.
struct Ceiling {
    option: &'static str,
    of: fn(&RunConfig) -> usize,
    most: usize,
    /// Both ends, and why no more.
    expected: &'static str,
}

#[rustfmt::skip]
const CEILINGS: [Ceiling; 13] = [
    Ceiling { option: "epochs", of: |c| c.training.epochs, most: 1_000_000, expected: "1 to 1,000,000, beyond any run that could end" },
    Ceiling { option: "node-epochs", of: |c| c.node.epochs, most: 1_000_000, expected: "1 to 1,000,000, beyond any run that could end" },
    Ceiling { option: "batch-size", of: |c| c.training.batch_events(), most: MOST_ROWS / 3, expected: "1 to 715,827,882: a batch has three roots per event, numbered in 31 bits" },
    Ceiling { option: "node-batch-size", of: |c| c.node.batch_size, most: MOST_ROWS, expected: "1 to 2,147,483,647: rows of a batch are numbered in 31 bits" },
    Ceiling { option: "fanout", of: |c| c.model.fanout, most: 128, expected: "1 to 128: with its heads, the attention of a root has at most 128 products" },
    Ceiling { option: "mail-slots", of: |c| c.model.mail_slots, most: 128, expected: "1 to 128: with its heads, the attention of a node has at most 128 products" },
    Ceiling { option: "heads", of: |c| c.model.heads, most: 128, expected: "1 to 128: with its slots, an attention has at most 128 products" },
    Ceiling { option: "layers", of: |c| c.model.layers, most: 4, expected: "1 to 4" },
    Ceiling { option: "width", of: |c| c.model.width, most: 16_384, expected: "1 to 16,384: a layer has that number squared" },
    Ceiling { option: "time-width", of: |c| c.model.time_width, most: 1500, expected: "1 to 1,500: a slot's time encoding is in workgroup memory" },
    Ceiling { option: "queue-depth", of: |c| c.pipeline.queue_depth, most: 64, expected: "1 to 64: each batch that is ready takes memory" },
    Ceiling { option: "edge-features", of: |c| random_width(c.stream.edge_features), most: 16_384, expected: "random:1 to random:16384" },
    Ceiling { option: "node-features", of: |c| random_width(c.stream.node_features), most: 16_384, expected: "random:1 to random:16384" },
];

/// The numbers that an option may have, where it has a ceiling.
pub(super) fn range(option: &str) -> Option<RangeInclusive<u64>> {
    let ceiling = CEILINGS.iter().find(|ceiling| ceiling.option == option);
    let most = match option {
        "threads" => MOST_THREADS,
        "seeds" => MOST_SEEDS,
        _ => ceiling?.most,
    };
    Some(1..=most as u64)
}

/// An option whose numbers are refused with what they may be.
pub(super) fn read_here(option: Arg) -> Arg {
    let range = option.get_long().and_then(range);
    numbers::read_here(option, range)
}

/// 1, which is always possible, where nothing is drawn.
fn random_width(source: FeatureSource) -> usize {
    match source {
        FeatureSource::Random(width) => width,
        FeatureSource::Zero | FeatureSource::File | FeatureSource::Standardized => 1,
    }
}

/// Refuses the first number beyond its ceiling, or 0.
fn check(config: &RunConfig) -> Result<(), ConfigError> {
    for ceiling in &CEILINGS {
        let found = (ceiling.of)(config);
        if !(1..=ceiling.most).contains(&found) {
            let random = ceiling.option.ends_with("-features");
            return Err(ConfigError::Range {
                option: ceiling.option,
                found: match random {
                    true => format!("random:{found}"),
                    false => found.to_string(),
                },
                expected: ceiling.expected,
            });
        }
    }
    check_threads(config.machine.threads)
}

/// Refuses a number of worker threads.
fn check_threads(threads: Option<usize>) -> Result<(), ConfigError> {
    match threads {
        Some(threads) if !(1..=MOST_THREADS).contains(&threads) => Err(ConfigError::Range {
            option: "threads",
            found: threads.to_string(),
            expected: "1 to 1,024: more than a machine has cores only take turns",
        }),
        _ => Ok(()),
    }
}

/// Of a worker thread, as much as a main thread has: where it waits for a task, it does others on top of its own.
const STACK_BYTES: usize = 8 << 20;

/// Starts as many worker threads as were asked for, else one for each core; call it before anything else uses them.
///
/// # Errors
/// [`ConfigError::Range`], and [`ConfigError::Threads`] when the system refuses.
pub fn start_threads(threads: Option<usize>) -> Result<(), ConfigError> {
    check_threads(threads)?;
    let pool = rayon::ThreadPoolBuilder::new()
        // None are as many as rayon itself would start.
        .num_threads(threads.unwrap_or(0))
        .stack_size(STACK_BYTES);
    match pool.build_global() {
        Err(error) if std::error::Error::source(&error).is_some() => Err(ConfigError::Threads {
            threads,
            reason: error.to_string(),
        }),
        // Without a cause, the pool was started before, by a caller that set its own size.
        _ => Ok(()),
    }
}

impl RunConfig {
    /// Checks what the types can't.
    ///
    /// # Errors
    /// The first setting that is out of range or missing.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.start.task.label_of().is_some() && self.start.init.is_none() {
            return Err(ConfigError::Missing {
                option: "init",
                expected: "--task node and edge classify embeddings; give the folder of a link \
                           prediction run, or a weights file",
            });
        }
        self.check_values()
    }

    /// The same for what needs no trained weights, as an audit does.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub(crate) fn check_values(&self) -> Result<(), ConfigError> {
        let fail = |option, found: String, expected| {
            Err(ConfigError::Range {
                option,
                found,
                expected,
            })
        };
        if self.source.data.is_empty() {
            return Err(ConfigError::Missing {
                option: "data",
                expected: "give a file, a data set's name, or synthetic:wikipedia for a generated \
                           stream",
            });
        }
        if let (Some(candidates), false) = (
            &self.protocol.candidates,
            self.protocol.name == Protocol::Tgb,
        ) {
            return fail(
                "candidates",
                candidates.to_string(),
                "--protocol tgb with it: no other protocol ranks",
            );
        }
        self.check_seeds()?;
        if self.stream.node_features == FeatureSource::Standardized {
            let expected = "zero, random:WIDTH or file: edge features alone are standardised";
            return fail("node-features", "standardize".to_owned(), expected);
        }
        if self.machine.profile && self.start.task != Task::Link {
            return fail("profile", "given".to_owned(), "--task link with it");
        }
        if let (Some(time), false) = (self.machine.max_time, self.start.task == Task::Link) {
            let expected = "--task link with it: a classifier of labels ends after --node-epochs; Ctrl-C ends it \
                            before, with a checkpoint";
            return fail("max-time", time.to_string(), expected);
        }
        check(self)?;
        self.pipeline.validate()?;
        if !self.model.width.is_multiple_of(self.model.heads) {
            let found = format!("{} with {} heads", self.model.width, self.model.heads);
            return fail("width", found, "a multiple of --heads");
        }
        for (option, p) in [
            ("dropout", self.model.dropout),
            ("attention-dropout", self.model.attention_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                return fail(option, p.to_string(), "at least 0 and below 1");
            }
        }
        for (option, rate) in [
            ("learning-rate", self.training.learning_rate),
            ("node-learning-rate", self.node.learning_rate),
        ] {
            if !(rate > 0.0 && rate.is_finite()) {
                return fail(option, shortest(rate), "a number above 0");
            }
        }
        self.check_model()?;
        self.check_training()?;
        self.check_ranks()?;
        self.check_attention()
    }

    /// Refuses what several ranks can't do together.
    fn check_ranks(&self) -> Result<(), ConfigError> {
        if self.training.ranks() == 1 {
            return Ok(());
        }
        let (pipeline, model) = (&self.pipeline, &self.model);
        let refused = [
            (
                pipeline.schedule.timed() && pipeline.schedule != Schedule::Mspipe,
                "schedule",
                pipeline.schedule.to_string(),
                "sequential, prefetch, staleness:K, mspipe, exact-overlap or replay:FILE with --ranks: what \
                 others read depends on the times of one rank",
            ),
            (
                !matches!(
                    pipeline.mitigation,
                    MitigationName::None | MitigationName::CatchUp | MitigationName::Pres
                ),
                "mitigation",
                "given".to_owned(),
                "none, catch-up or pres with --ranks: what others add to a row depends on all that a batch reads",
            ),
            (
                model.memory_write == MemoryWrite::Read,
                "memory-write",
                "read".to_owned(),
                "event with --ranks: what negatives and past neighbours write is not exchanged",
            ),
            (
                self.machine.profile && matches!(self.training.ranks, Some(Launch::Threads(_))),
                "profile",
                "given".to_owned(),
                "a run without --ranks threads:R: it counts what a process does, over MPI rank 0's",
            ),
            (
                self.output.probe_every.is_some(),
                "probe-every",
                "given".to_owned(),
                "a run without --ranks: memory that is not stale follows one rank's events alone",
            ),
            (
                self.start.task != Task::Link,
                "task",
                self.start.task.name().to_owned(),
                "link with --ranks",
            ),
        ];
        match refused.into_iter().find(|(found, ..)| *found) {
            None => Ok(()),
            Some((_, option, found, expected)) => Err(ConfigError::Range {
                option,
                found,
                expected,
            }),
        }
    }

    /// Refuses more slots than the attention kernel has room for.
    fn check_attention(&self) -> Result<(), ConfigError> {
        let fail = |option, found: String, expected| {
            Err(ConfigError::Range {
                option,
                found,
                expected,
            })
        };
        // The attention kernel keeps its slots' time encodings in workgroup memory.
        for (option, slots) in [
            ("fanout", self.model.fanout),
            ("mail-slots", self.model.mail_slots),
        ] {
            if slots * self.model.time_width > 1500 {
                let found = format!("{slots} with time width {}", self.model.time_width);
                return fail(option, found, "a product with the time width up to 1500");
            }
            if slots * self.model.heads > 128 {
                let found = format!("{slots} with {} heads", self.model.heads);
                return fail(option, found, "a product with the heads up to 128");
            }
        }
        Ok(())
    }

    /// Refuses several runs where there can be one alone.
    fn check_seeds(&self) -> Result<(), ConfigError> {
        let Some(seeds) = self.start.seeds else {
            return Ok(());
        };
        let fail = |found: String, expected| {
            Err(ConfigError::Range {
                option: "seeds",
                found,
                expected,
            })
        };
        if !(1..=MOST_SEEDS).contains(&seeds) {
            return fail(seeds.to_string(), "1 to 1,000 runs, one after the other");
        }
        if self.start.task != Task::Link {
            return fail(seeds.to_string(), "--task link with it");
        }
        if matches!(self.training.ranks, Some(Launch::Mpi(_))) {
            let expected = "a run without --ranks mpi, whose job has one run; --ranks threads:R takes several, or start \
                            a job for each --seed";
            return fail(seeds.to_string(), expected);
        }
        let first = self.training.seed;
        if first.checked_add(seeds as u64).is_none() {
            return fail(format!("{seeds} from {first} on"), "seeds below 2^64");
        }
        if self.output.out.is_none() {
            return Err(ConfigError::Missing {
                option: "out",
                expected: "--seeds writes each run into a folder of it",
            });
        }
        Ok(())
    }

    /// Refuses what the optimiser and the end of training can't use.
    fn check_training(&self) -> Result<(), ConfigError> {
        let fail = |option, found: String, expected| {
            Err(ConfigError::Range {
                option,
                found,
                expected,
            })
        };
        let training = &self.training;
        let decay = training.weight_decay;
        if !(decay >= 0.0 && decay * training.learning_rate < 1.0) {
            let expected = "at least 0, and below 1 / learning rate, which would leave no weight";
            return fail("weight-decay", shortest(decay), expected);
        }
        if let Some(norm) = training.clip_norm
            && !((norm as f32).is_normal() && norm > 0.0)
        {
            return fail(
                "clip-norm",
                shortest(norm),
                "a number above 0 that f32 can hold",
            );
        }
        if training.monitor == Some(Monitor::ValMrr) && self.protocol.name != Protocol::Tgb {
            let expected = "--protocol tgb with it: no other protocol ranks";
            return fail("monitor", "val-mrr".to_owned(), expected);
        }
        Ok(())
    }

    /// Refuses a warm-up that a run with `iterations` iterations an epoch would not come out of.
    pub(crate) fn check_warmup(&self, iterations: usize) -> Result<(), ConfigError> {
        let (warmup, epochs) = (self.training.warmup, self.training.epochs);
        if warmup == 0 || warmup < epochs.saturating_mul(iterations) {
            return Ok(());
        }
        Err(ConfigError::Range {
            option: "warmup",
            found: format!("{warmup} with {epochs} epochs of {iterations} iterations"),
            expected: "fewer iterations than the run has",
        })
    }

    /// Refuses batches of `events` events, fewer where a batch is smaller, whose rows can't be
    /// numbered.
    pub(crate) fn check_rows(&self, events: usize) -> Result<(), ConfigError> {
        let batch = self.training.batch_events().min(events);
        // Each layer has its roots and their past events as rows.
        let rows = (0..self.model.layers).try_fold(3 * batch, |roots, _| {
            roots.checked_mul(1 + self.model.fanout)
        });
        match rows {
            Some(rows) if rows <= MOST_ROWS => Ok(()),
            _ => Err(ConfigError::Range {
                option: "batch-size",
                found: format!(
                    "{} with --fanout {} and --layers {}",
                    self.training.batch_size, self.model.fanout, self.model.layers
                ),
                expected: "3 x batch size x (1 + fanout) to the power of layers up to \
                           2,147,483,647: rows of a batch are numbered in 31 bits",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        run: RunConfig,
    }

    fn parse(arguments: &[&str]) -> RunConfig {
        Command::parse_from([&["test", "--data", "x"], arguments].concat()).run
    }

    #[test]
    fn a_text_says_its_number() {
        for ceiling in &CEILINGS {
            let plain = ceiling.expected.replace(',', "");
            let most = ceiling.most.to_string();
            assert!(plain.contains(&most), "{}: {plain}", ceiling.option);
        }
        let error = check_threads(Some(0)).unwrap_err().to_string();
        assert!(error.replace(',', "").contains(&MOST_THREADS.to_string()));
        assert_eq!(range("threads"), Some(1..=MOST_THREADS as u64));
        assert_eq!(range("seed"), None);
    }

    #[test]
    fn rows_of_a_batch_are_a_checked_product() {
        let options = [
            "--batch-size=200000",
            "--fanout=64",
            "--layers=2",
            "--time-width=16",
        ];
        let config = parse(&options);
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.check_rows(100_000), Ok(()));
        let error = config.check_rows(1_000_000).unwrap_err().to_string();
        assert!(error.starts_with("--batch-size is 200000 with --fanout 64 and --layers 2"));
        // 3 x 2^32 x 65^4 leaves 64 bits.
        let most = parse(&["--batch-size=715827882", "--fanout=64", "--layers=4"]);
        assert!(most.check_rows(usize::MAX).is_err());
    }
}
