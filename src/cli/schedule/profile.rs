//! Stage times from the command line, from a run's folder, or for another bus.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use mspipe::numbers::whole;
use mspipe::pipeline::Stage;
use mspipe::pipeline::link::{Link, parse_bytes};
use mspipe::pipeline::profile::{Profile, Residency};
use mspipe::what_if::ranks::Team;
use serde::Deserialize;

/// Where stage times come from.
#[derive(Debug, Clone, Args)]
pub(super) struct ProfileArgs {
    /// Time of each stage in ms (or with ms, us, s), and optionally of the memory updater
    ///
    /// sample=3,fetch_features=2,fetch_memory=2,train=10,update_memory=2,updater=2; `updater` is
    /// the part of train after which the updated memory is known, a fifth of it unless given.
    /// For a GPU, which works behind a queue, add encode=1.5 (the host's part of train, whose time is
    /// then the GPU's), submissions=4 that train comes in, and up=0.5, down=0.1 for the copies of an
    /// iteration in that queue.
    #[arg(long, value_name = "STAGE=TIME,…", required_unless_present = "profile")]
    stages: Option<Profile>,

    /// Take the mean stage times of this run (its summary.json)
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "stages", value_hint = ValueHint::DirPath)]
    profile: Option<PathBuf>,

    /// Recompute the transfers for another bus: bandwidth and latency
    #[arg(long, value_name = "12GB/s,20us", requires = "bytes")]
    link: Option<Link>,

    /// Bytes that cross the bus in an iteration, of the stages that --link is to replace
    #[arg(long, value_name = "STAGE=SIZE,…", requires = "link", value_parser = parse_transfers)]
    bytes: Option<Transfers>,

    /// Ranks that train together, each with the batch that the stage times are of
    #[arg(long, value_name = "R", requires = "network", value_parser = whole::<u16>(1..=1024))]
    ranks: Option<u16>,

    /// Network between the ranks: bandwidth and latency
    #[arg(long, value_name = "10GB/s,30us", requires = "ranks")]
    network: Option<Link>,

    /// Bytes of gradients that a rank gives in an iteration; those of TGN of width 100 unless given
    #[arg(long, value_name = "SIZE", requires = "ranks", default_value = "1.2MB", value_parser = parse_exchange)]
    gradient_bytes: u64,

    /// Bytes of updated rows that a rank gives in an iteration; those of 324 nodes unless given
    #[arg(long, value_name = "SIZE", requires = "ranks", default_value = "130KB", value_parser = parse_exchange)]
    row_bytes: u64,

    /// Where node memory lies
    #[arg(long, value_enum, default_value_t = Residency::Host)]
    memory: Residency,

    /// Iterations that may be ready ahead of the thread that takes them
    #[arg(long, default_value_t = 2, value_parser = whole::<u16>(1..=65_535))]
    queue_depth: u16,
}

/// Sizes of transfers; a struct, so that the command line takes the list as one value.
#[derive(Debug, Clone)]
struct Transfers(Vec<(Stage, u64)>);

/// Reads what ranks exchange: so much that a thousand of them over the slowest network still have times
/// that can be added up.
fn parse_exchange(text: &str) -> Result<u64, String> {
    const MOST: u64 = 16 << 30;
    match parse_bytes(text) {
        Ok(bytes) if bytes > MOST => Err(format!("found '{text}', expected up to 16GiB")),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_transfers(text: &str) -> Result<Transfers, String> {
    const TRANSFERS: [Stage; 3] = [
        Stage::FetchFeatures,
        Stage::FetchMemory,
        Stage::UpdateMemory,
    ];
    let parse = |entry: &str| {
        let (name, size) = entry
            .split_once('=')
            .ok_or_else(|| format!("found '{entry}', expected STAGE=SIZE"))?;
        let stage = TRANSFERS.into_iter().find(|stage| stage.name() == name);
        let stage = stage.ok_or_else(|| {
            format!(
                "'{name}' is no transfer; expected fetch_features, fetch_memory or update_memory"
            )
        })?;
        let bytes = parse_bytes(size).map_err(|error| error.to_string())?;
        Ok((stage, bytes))
    };
    text.split(',')
        .map(parse)
        .collect::<Result<_, String>>()
        .map(Transfers)
}

impl ProfileArgs {
    /// The stage times asked for.
    pub(super) fn profile(&self) -> anyhow::Result<Profile> {
        let mut profile = match (&self.stages, &self.profile) {
            (Some(stages), _) => *stages,
            (None, Some(run)) => profile_of_run(run)?,
            (None, None) => bail!("give --stages or --profile"),
        };
        if let (Some(link), Some(Transfers(transfers))) = (&self.link, &self.bytes) {
            for (stage, bytes) in transfers {
                profile = profile.with(*stage, link.time(*bytes));
            }
        }
        match self.team() {
            Some(_) if profile.queue().is_some() => bail!(
                "--ranks: found stage times of a device with a queue (encode=, up=, down=), expected those \
                 of stages alone: how exchanges overlap with a queue is not modelled"
            ),
            Some(team) => Ok(team.profile(&profile)),
            None => Ok(profile),
        }
    }

    /// The ranks asked for.
    pub(super) fn team(&self) -> Option<Team> {
        let ranks = usize::from(self.ranks?);
        Some(Team {
            ranks,
            network: self.network?,
            gradient_bytes: self.gradient_bytes,
            row_bytes: self.row_bytes,
        })
    }

    /// Stage times of one rank alone.
    pub(super) fn alone(&self) -> anyhow::Result<Profile> {
        let alone = ProfileArgs {
            ranks: None,
            ..self.clone()
        };
        alone.profile()
    }

    /// The file that stage times are read from.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.profile.as_deref().map(summary_of)
    }

    pub(super) fn memory(&self) -> Residency {
        self.memory
    }

    pub(super) fn queue_depth(&self) -> usize {
        usize::from(self.queue_depth)
    }

    /// What the numbers are about, to stand above them.
    pub(super) fn describe(&self, profile: &Profile) -> String {
        let place = match self.memory {
            Residency::Host => "host",
            Residency::Device => "device",
        };
        let mut text = format!("stage times {profile}; memory on the {place}");
        if let Some(link) = &self.link {
            text += &format!("; EMULATED bus of {link}");
        }
        if let Some(Team { ranks, network, .. }) = self.team() {
            text += &format!("; one of {ranks} ranks on an EMULATED network of {network}");
        }
        text
    }
}

/// What is read of a run's summary.json.
#[derive(Deserialize)]
struct RunSummary {
    batch_size: usize,
    epochs: Vec<EpochSpeed>,
    stage_seconds: std::collections::BTreeMap<String, f64>,
    updater_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct EpochSpeed {
    train_seconds: f64,
    events_per_s: f64,
}

fn summary_of(run: &Path) -> PathBuf {
    run.join("summary.json")
}

/// Mean stage times of a run.
fn profile_of_run(run: &Path) -> anyhow::Result<Profile> {
    let path = summary_of(run);
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "cannot read {}; --profile takes the folder of a finished run",
            path.display()
        )
    })?;
    let summary: RunSummary = serde_json::from_str(&text)
        .with_context(|| format!("{} is not the summary of a run", path.display()))?;
    let batches = |epoch: &EpochSpeed| {
        let events = (epoch.train_seconds * epoch.events_per_s).round();
        (events / summary.batch_size as f64).ceil()
    };
    let iterations: f64 = summary.epochs.iter().map(batches).sum();
    let mut times = [Duration::ZERO; 5];
    let mean = |what: &str, seconds: f64| {
        Duration::try_from_secs_f64(seconds / iterations).with_context(|| {
            format!(
                "{}: {what} took {seconds} s in {iterations} iterations",
                path.display()
            )
        })
    };
    for stage in Stage::ALL {
        let seconds = summary
            .stage_seconds
            .get(stage.name())
            .with_context(|| format!("{}: stage_seconds has no {stage}", path.display()))?;
        times[stage as usize] = mean(stage.name(), *seconds)?;
    }
    Ok(match summary.updater_seconds {
        Some(seconds) => Profile::new(times, mean("the updater", seconds)?),
        None => Profile::with_usual_updater(times),
    })
}
