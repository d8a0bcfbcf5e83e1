//! `config.json`: the settings side by side, whatever part they are of, with the names and in the
//! order that they have had since the first run.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RunConfig;
use super::candidates::CandidateSource;
use super::max_time::MaxTime;
use super::parts::{
    LogName, PipelineSettings, Protocol, ReadingSettings, SamplerName, Switch, Task,
    TimeEncodingName,
};
use crate::batch::{MailAggregation, TimeDelta};
use crate::checkpoint::Every;
use crate::device::{DeviceChoice, KernelChoice, LimitsChoice};
use crate::eval::Monitor;
use crate::features::{FeatureScale, FeatureSource};
use crate::memory::MemoryWrite;
use crate::model::ModelName;
use crate::ranks::Launch;
use crate::train::classification::Balance;
use crate::train::learning_rate::{LrScale, LrSchedule};
use crate::train::optimizer::OptimizerName;

impl Serialize for RunConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Written::from(self.clone()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for RunConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RunConfig, D::Error> {
        let mut config = Written::deserialize(from).map(RunConfig::from)?;
        config.protocol.settle_earlier(config.training.seed);
        Ok(config)
    }
}

macro_rules! written {
    ($($(#[$serde:meta])* $key:ident: $type:ty = $($part:ident).+,)+) => {
        /// What is written, and read back; an unknown name is an error.
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields, expecting = "struct RunConfig")]
        struct Written {
            $($(#[$serde])* $key: $type,)+
        }

        impl From<RunConfig> for Written {
            fn from(config: RunConfig) -> Written {
                Written { $($key: config.$($part).+,)+ }
            }
        }

        impl From<Written> for RunConfig {
            fn from(written: Written) -> RunConfig {
                let mut config = RunConfig::default();
                $(config.$($part).+ = written.$key;)+
                config
            }
        }
    };
}

written! {
    data: String = source.data,
    task: Task = start.task,
    init: Option<PathBuf> = start.init,
    model: ModelName = model.name,
    device: DeviceChoice = device.choice,
    #[serde(default)]
    kernels: KernelChoice = device.kernels,
    #[serde(default)]
    limits: LimitsChoice = device.limits,
    epochs: usize = training.epochs,
    batch_size: usize = training.batch_size,
    #[serde(default)]
    ranks: Option<Launch> = training.ranks,
    seed: u64 = training.seed,
    protocol: Protocol = protocol.name,
    #[serde(default)]
    seeds: Option<usize> = start.seeds,
    #[serde(default)]
    hide_batch: Option<Switch> = protocol.hide_batch,
    #[serde(default)]
    eval_seed: Option<u64> = protocol.eval_seed,
    #[serde(default)]
    candidates: Option<CandidateSource> = protocol.candidates,
    edge_features: FeatureSource = stream.edge_features,
    node_features: FeatureSource = stream.node_features,
    #[serde(default)]
    edge_feature_file: Option<PathBuf> = source.edge_feature_file,
    #[serde(default)]
    node_feature_file: Option<PathBuf> = source.node_feature_file,
    #[serde(default)]
    reading: ReadingSettings = stream.reading,
    out: Option<PathBuf> = output.out,
    #[serde(default)]
    log: Option<LogName> = output.log,
    #[serde(default)]
    probe_every: Option<NonZeroUsize> = output.probe_every,
    sampler: SamplerName = model.sampler,
    time_delta: Option<TimeDelta> = model.time_delta,
    #[serde(default = "none_yet")]
    pair_history: Option<Switch> = model.pair_history,
    memory_write: MemoryWrite = model.memory_write,
    mail_aggregation: MailAggregation = model.mail_aggregation,
    mail_slots: usize = model.mail_slots,
    layers: usize = model.layers,
    time_encoding: TimeEncodingName = model.time_encoding,
    fanout: usize = model.fanout,
    width: usize = model.width,
    time_width: usize = model.time_width,
    heads: usize = model.heads,
    dropout: f32 = model.dropout,
    attention_dropout: f32 = model.attention_dropout,
    learning_rate: f64 = training.learning_rate,
    #[serde(default)]
    scale_learning_rate: LrScale = training.scale_learning_rate,
    #[serde(default)]
    lr_schedule: LrSchedule = training.lr_schedule,
    #[serde(default)]
    warmup: usize = training.warmup,
    #[serde(default)]
    optimizer: OptimizerName = training.optimizer,
    #[serde(default)]
    weight_decay: f64 = training.weight_decay,
    #[serde(default)]
    clip_norm: Option<f64> = training.clip_norm,
    #[serde(default)]
    monitor: Option<Monitor> = training.monitor,
    #[serde(default)]
    patience: usize = training.patience,
    node_epochs: usize = node.epochs,
    node_batch_size: usize = node.batch_size,
    node_learning_rate: f64 = node.learning_rate,
    balance: Balance = node.balance,
    limit_events: Option<usize> = stream.limit_events,
    threads: Option<usize> = machine.threads,
    eval_test_each_epoch: bool = training.eval_test_each_epoch,
    #[serde(default)]
    checkpoint_every: Every = machine.checkpoint_every,
    #[serde(default)]
    profile: bool = machine.profile,
    #[serde(default)]
    no_memory_check: bool = machine.no_memory_check,
    #[serde(default)]
    max_time: Option<MaxTime> = machine.max_time,
    pipeline: PipelineSettings = pipeline,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edge_scale: Option<FeatureScale> = stream.edge_scale,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without_effect: Vec<String> = without_effect,
}

/// Of runs from before there was pair history.
fn none_yet() -> Option<Switch> {
    Some(Switch::Off)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::profile::Residency;

    /// Of a run by the version whose settings were not in parts yet.
    const EARLIER: &str = r#"
{
  "data": "synthetic:wikipedia:scale=0.002",
  "task": "link",
  "init": null,
  "model": "apan",
  "device": "cpu",
  "epochs": 1,
  "batch_size": 100,
  "seed": 7,
  "protocol": "tgl",
  "candidates": null,
  "edge_features": "random:8",
  "node_features": "file",
  "edge_feature_file": null,
  "node_feature_file": null,
  "reading": {
    "format": null,
    "sort": false,
    "columns": "",
    "no_header": false,
    "ids": "auto",
    "bipartite": "auto",
    "time_unit": "auto",
    "missing": "error",
    "split": null,
    "split_at": null
  },
  "out": "b",
  "sampler": "uniform",
  "time_delta": "query",
  "memory_write": "event",
  "mail_aggregation": "mean",
  "mail_slots": 10,
  "layers": 1,
  "time_encoding": "fixed",
  "fanout": 10,
  "width": 16,
  "time_width": 8,
  "heads": 2,
  "dropout": 0.1,
  "attention_dropout": 0.1,
  "learning_rate": 0.0001,
  "node_epochs": 20,
  "node_batch_size": 200,
  "node_learning_rate": 0.001,
  "balance": "none",
  "limit_events": null,
  "threads": 2,
  "eval_test_each_epoch": true,
  "checkpoint_every": "10m",
  "profile": false,
  "no_memory_check": false,
  "pipeline": {
    "schedule": "mspipe",
    "memory": "host",
    "emulate_link": "12 GB/s, 20µs",
    "queue_depth": 3,
    "mitigation": "similarity",
    "mitigation_keep": 0.9,
    "mitigation_quantile": 0.99
  }
}
"#;

    /// What has been added since, after the setting that it follows.
    const ADDED: [(&str, &str); 9] = [
        (
            "  \"device\": \"cpu\",\n",
            "  \"kernels\": \"auto\",\n  \"limits\": \"adapter\",\n",
        ),
        (
            "  \"out\": \"b\",\n",
            "  \"log\": null,\n  \"probe_every\": null,\n",
        ),
        (
            "  \"time_delta\": \"query\",\n",
            "  \"pair_history\": \"off\",\n",
        ),
        ("  \"batch_size\": 100,\n", "  \"ranks\": null,\n"),
        (
            "  \"protocol\": \"tgl\",\n",
            "  \"seeds\": null,\n  \"hide_batch\": \"off\",\n  \"eval_seed\": 7,\n",
        ),
        (
            "  \"learning_rate\": 0.0001,\n",
            r#"  "scale_learning_rate": "none",
  "lr_schedule": "constant",
  "warmup": 0,
  "optimizer": "adam",
  "weight_decay": 0.0,
  "clip_norm": null,
  "monitor": null,
  "patience": 0,
"#,
        ),
        ("  \"no_memory_check\": false,\n", "  \"max_time\": null,\n"),
        (
            "    \"memory\": \"host\",\n",
            "    \"features\": \"auto\",\n",
        ),
        (
            "    \"mitigation_keep\": 0.9,\n",
            "    \"coherence\": 0.1,\n",
        ),
    ];

    #[test]
    fn earlier_runs_are_read_and_written_as_they_were() {
        let config: RunConfig = serde_json::from_str(EARLIER).unwrap();
        assert_eq!(config.training.learning_rate, 1e-4);
        assert_eq!(config.pipeline.memory, Residency::Host);
        let now = ADDED
            .iter()
            .fold(EARLIER.to_owned(), |text, (after, added)| {
                text.replacen(after, &format!("{after}{added}"), 1)
            });
        assert_eq!(serde_json::to_string_pretty(&config).unwrap(), now.trim());
        assert_eq!(config.protocol.eval_seed, Some(7));
        assert_eq!(config.protocol.hide_batch, Some(Switch::Off));
        let ranking: RunConfig = serde_json::from_str(&EARLIER.replace("tgl", "tgb")).unwrap();
        assert_eq!(ranking.protocol.hide_batch, Some(Switch::On));
        // From before some settings were there.
        let text = EARLIER.replace("\"profile\": false,", "");
        let oldest = text.replace("\"no_memory_check\": false,", "");
        assert_ne!(oldest, EARLIER);
        assert_eq!(serde_json::from_str::<RunConfig>(&oldest).unwrap(), config);
    }
}
