//! Which options act in which runs, so that one that was given and changes nothing is told of.
//!
//! Every option is in [`RULES`]. An option that a run refuses is [`limits`](super::limits)' matter;
//! here are those that it would take in silence.

use clap::Id;

use super::{MitigationName, RunConfig, Task};
use crate::device::DeviceChoice;
use crate::model::ModelName;
use crate::pipeline::schedule::Schedule;

/// What a command takes the settings of a run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `mspipe train`.
    Train,
    /// `mspipe eval`.
    Eval,
    /// `mspipe audit`.
    Audit,
}

/// What is done with settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Link,
    /// Of labels, of nodes or of events.
    Classify,
    Eval,
    Audit,
}

use Work::{Audit, Classify, Eval, Link};

/// What an option needs to act, beside the work that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Models(&'static [ModelName]),
    Adapter,
    OwnEdgeFeatures,
    OwnNodeFeatures,
    Overlap,
    Share,
    Correction,
    Pres,
    Labels,
    Ranks,
}

impl Need {
    /// What of `config` keeps the option from acting, if something does.
    fn missing(self, config: &RunConfig) -> Option<String> {
        let pipeline = &config.pipeline;
        let stream = &config.stream;
        match self {
            Need::Nothing => None,
            Need::Models(models) => (!models.contains(&config.model.name))
                .then(|| format!("with --model {}", config.model.name)),
            Need::Adapter => (config.device.choice == DeviceChoice::Cpu)
                .then(|| format!("with --device {}", config.device.choice)),
            Need::OwnEdgeFeatures => (!stream.edge_features.of_stream())
                .then(|| format!("with --edge-features {}", stream.edge_features)),
            Need::OwnNodeFeatures => (!stream.node_features.of_stream())
                .then(|| format!("with --node-features {}", stream.node_features)),
            Need::Overlap => (pipeline.schedule == Schedule::Sequential)
                .then(|| format!("with --schedule {}", pipeline.schedule)),
            Need::Share => (!pipeline.mitigation.keeps_a_share())
                .then(|| "without --mitigation similarity, similarity-released or pres".to_owned()),
            Need::Correction => (!pipeline.mitigation.corrects_rows())
                .then(|| "without --mitigation similarity or similarity-released".to_owned()),
            Need::Pres => (pipeline.mitigation != MitigationName::Pres)
                .then(|| "without --mitigation pres".to_owned()),
            Need::Labels => (config.start.task == Task::Link).then(|| WITHOUT_LABELS.to_owned()),
            Need::Ranks => (config.training.ranks.is_none()).then(|| "without --ranks".to_owned()),
        }
    }
}

const WITHOUT_LABELS: &str = "without --task node or edge";

/// An option, the work that it acts in, and what it needs there.
type Rule = (&'static str, &'static [Work], Need);

const ALL: &[Work] = &[Link, Classify, Eval, Audit];
const TRAINS: &[Work] = &[Link, Audit];
const NEIGHBOURS: Need = Need::Models(&[ModelName::Tgn, ModelName::Apan]);

#[rustfmt::skip]
const RULES: &[Rule] = &[
    ("data", ALL, Need::Nothing),
    ("edge_feature_file", ALL, Need::OwnEdgeFeatures),
    ("node_feature_file", ALL, Need::OwnNodeFeatures),
    ("task", &[Link, Classify, Audit], Need::Nothing),
    ("init", ALL, Need::Nothing),
    ("model", ALL, Need::Nothing),
    ("sampler", ALL, NEIGHBOURS),
    ("time_delta", ALL, Need::Nothing),
    ("memory_write", ALL, Need::Nothing),
    ("mail_aggregation", ALL, Need::Nothing),
    ("mail_slots", ALL, Need::Models(&[ModelName::Apan])),
    ("layers", ALL, Need::Models(&[ModelName::Tgn])),
    ("time_encoding", ALL, Need::Nothing),
    ("fanout", ALL, NEIGHBOURS),
    ("width", ALL, Need::Nothing),
    ("time_width", ALL, Need::Nothing),
    ("heads", ALL, NEIGHBOURS),
    ("dropout", TRAINS, NEIGHBOURS),
    ("attention_dropout", TRAINS, NEIGHBOURS),
    ("device", ALL, Need::Nothing),
    ("kernels", ALL, Need::Adapter),
    ("limits", ALL, Need::Adapter),
    ("epochs", &[Link], Need::Nothing),
    ("batch_size", ALL, Need::Nothing),
    ("ranks", ALL, Need::Nothing),
    ("seed", ALL, Need::Nothing),
    ("pair_history", &[Link, Eval, Audit], Need::Nothing),
    ("learning_rate", TRAINS, Need::Nothing),
    ("scale_learning_rate", &[Link], Need::Ranks),
    ("lr_schedule", TRAINS, Need::Nothing),
    ("warmup", TRAINS, Need::Nothing),
    ("optimizer", TRAINS, Need::Nothing),
    ("weight_decay", TRAINS, Need::Nothing),
    ("clip_norm", TRAINS, Need::Nothing),
    ("monitor", TRAINS, Need::Nothing),
    ("patience", &[Link], Need::Nothing),
    ("max_time", &[Link], Need::Nothing),
    ("eval_test_each_epoch", &[Link], Need::Nothing),
    ("protocol", ALL, Need::Nothing),
    ("hide_batch", ALL, Need::Nothing),
    ("eval_seed", ALL, Need::Nothing),
    ("candidates", &[Link, Eval], Need::Nothing),
    ("node_epochs", &[Classify], Need::Nothing),
    ("node_batch_size", &[Classify, Audit], Need::Labels),
    ("node_learning_rate", &[Classify, Audit], Need::Labels),
    ("balance", &[Classify, Audit], Need::Labels),
    ("edge_features", ALL, Need::Nothing),
    ("node_features", ALL, Need::Nothing),
    ("format", ALL, Need::Nothing),
    ("sort", ALL, Need::Nothing),
    ("columns", ALL, Need::Nothing),
    ("no_header", ALL, Need::Nothing),
    ("ids", ALL, Need::Nothing),
    ("bipartite", ALL, Need::Nothing),
    ("time_unit", ALL, Need::Nothing),
    ("missing", ALL, Need::Nothing),
    ("split", ALL, Need::Nothing),
    ("split_at", ALL, Need::Nothing),
    ("limit_events", ALL, Need::Nothing),
    ("out", &[Link, Classify], Need::Nothing),
    ("log", &[Link, Classify], Need::Nothing),
    ("probe_every", &[Link], Need::Nothing),
    ("profile", &[Link], Need::Nothing),
    ("threads", ALL, Need::Nothing),
    ("checkpoint_every", &[Link, Classify], Need::Nothing),
    ("no_memory_check", ALL, Need::Nothing),
    ("schedule", TRAINS, Need::Nothing),
    ("memory", ALL, Need::Nothing),
    ("features", ALL, Need::Nothing),
    ("emulate_link", TRAINS, Need::Nothing),
    ("queue_depth", TRAINS, Need::Overlap),
    ("mitigation", ALL, Need::Nothing),
    ("mitigation_keep", ALL, Need::Share),
    ("mitigation_quantile", ALL, Need::Correction),
    ("coherence", ALL, Need::Pres),
];

impl RunConfig {
    /// Whether the setting of this name changes what a run with these settings does.
    pub(crate) fn acts(&self, setting: &str) -> bool {
        let rule = RULES.iter().find(|(option, ..)| *option == setting);
        rule.is_none_or(|(_, works, need)| {
            works.contains(&trained(self.start.task)) && need.missing(self).is_none()
        })
    }
}

/// What is trained.
fn trained(task: Task) -> Work {
    match task {
        Task::Link => Link,
        Task::Node | Task::Edge => Classify,
    }
}

/// What is to be said of the options that were `given` and change nothing of what a command does with
/// `config`.
pub(super) fn without_effect<'a>(
    given: impl Iterator<Item = &'a Id>,
    config: &RunConfig,
    purpose: Purpose,
) -> Vec<String> {
    let work = match (purpose, config.start.task) {
        (Purpose::Train, task) => trained(task),
        (Purpose::Eval, _) => Eval,
        (Purpose::Audit, _) => Audit,
    };
    let rule = |id: &Id| RULES.iter().find(|(option, ..)| id.as_str() == *option);
    let note = |(option, works, need): &Rule| {
        let why = match work {
            _ if works.contains(&work) => need.missing(config)?,
            Classify => format!("with --task {}", config.start.task.name()),
            Eval => "in an evaluation".to_owned(),
            Audit => "in an audit".to_owned(),
            Link => WITHOUT_LABELS.to_owned(),
        };
        let option = option.replace('_', "-");
        Some(format!("--{option} has no effect {why}"))
    };
    given.filter_map(rule).filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{GivenConfig, options};
    use super::*;

    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Program {
        #[command(flatten)]
        run: GivenConfig,
    }

    /// What is said of a command line on a stream that is there.
    fn notes(purpose: Purpose, arguments: &[&str]) -> Vec<String> {
        let all = [&["test", "--data=x", "--init=w.safetensors"], arguments].concat();
        let given = Program::try_parse_from(all).unwrap().run;
        given.resolve(purpose).unwrap().without_effect
    }

    /// `--option`, with a value that it takes.
    fn given(option: &str) -> String {
        let value = match option {
            "sort" | "no_header" | "eval_test_each_epoch" | "profile" | "no_memory_check" => {
                return format!("--{}", option.replace('_', "-"));
            }
            "task" => "link",
            "model" => "tgn",
            "init" | "data" | "edge_feature_file" | "node_feature_file" | "out" => "x",
            "sampler" => "uniform",
            "time_delta" => "query",
            "memory_write" => "event",
            "mail_aggregation" => "mean",
            "time_encoding" => "fixed",
            "device" => "cpu",
            "kernels" => "software",
            "limits" => "webgpu",
            "protocol" => "tgb",
            "balance" => "sample",
            "edge_features" | "node_features" => "file",
            "format" => "csv",
            "columns" => "src=a",
            "ids" | "bipartite" | "time_unit" => "auto",
            "missing" => "zero",
            "split" => "0.5,0.2",
            "split_at" => "1,2",
            "checkpoint_every" => "never",
            "schedule" => "prefetch",
            "memory" | "features" => "host",
            "emulate_link" => "1GB/s,1us",
            "mitigation" => "similarity",
            "dropout" | "attention_dropout" | "mitigation_keep" | "mitigation_quantile" => "0.5",
            "learning_rate" | "node_learning_rate" | "weight_decay" | "clip_norm" => "0.1",
            "lr_schedule" => "cosine",
            "scale_learning_rate" => "sqrt-ranks",
            "ranks" => "threads:2",
            "optimizer" => "sgd",
            "monitor" => "val-auc",
            "log" => "tensorboard",
            "max_time" => "1h",
            "pair_history" | "hide_batch" => "on",
            _ => "2",
        };
        format!("--{}={value}", option.replace('_', "-"))
    }

    /// Options under which the need is met, and under which it is not.
    fn both(need: Need) -> [&'static [&'static str]; 2] {
        match need {
            Need::Nothing => [&[], &[]],
            Need::Models(models) => match models {
                [ModelName::Apan] => [&["--model=apan"], &["--model=tgn"]],
                _ => [&["--model=tgn"], &["--model=jodie"]],
            },
            Need::Adapter => [&["--device=gpu"], &["--device=cpu"]],
            Need::OwnEdgeFeatures => [&[], &["--edge-features=zero"]],
            Need::OwnNodeFeatures => [&[], &["--node-features=random:3"]],
            Need::Overlap => [&["--schedule=mspipe"], &["--schedule=sequential"]],
            Need::Share => [&["--mitigation=pres"], &["--mitigation=none"]],
            Need::Correction => [&["--mitigation=similarity"], &["--mitigation=pres"]],
            Need::Pres => [&["--mitigation=pres"], &["--mitigation=similarity"]],
            Need::Labels => [&["--task=edge"], &["--task=link"]],
            Need::Ranks => [&["--ranks=threads:2"], &[]],
        }
    }

    #[test]
    fn every_option_has_its_rule() {
        let ids = options::<RunConfig>();
        let rules: Vec<&str> = RULES.iter().map(|(option, ..)| *option).collect();
        for id in &ids {
            let of_it = rules.iter().filter(|option| **option == id.as_str());
            assert_eq!(of_it.count(), 1, "{id}");
        }
        assert_eq!(rules.len(), ids.len(), "a rule for no option");
    }

    #[test]
    fn an_option_without_effect_is_told_of_and_no_other() {
        let works = [
            (Link, Purpose::Train, "--task=link"),
            (Classify, Purpose::Train, "--task=node"),
            (Classify, Purpose::Train, "--task=edge"),
            (Eval, Purpose::Eval, "--task=link"),
            (Audit, Purpose::Audit, "--task=link"),
        ];
        for (option, acts_in, need) in RULES {
            let said = format!("--{} has no effect ", option.replace('_', "-"));
            let given = given(option);
            for (work, purpose, task) in works {
                // In training the task is the work itself.
                let given_by_work = *need == Need::Labels && purpose != Purpose::Audit;
                let cases = if given_by_work {
                    [&[][..]; 2]
                } else {
                    both(*need)
                };
                for (met, others) in [true, false].into_iter().zip(cases) {
                    let arguments = [&[task], others, &[given.as_str()]].concat();
                    let notes = notes(purpose, &arguments);
                    let told = notes.iter().any(|note| note.starts_with(&said));
                    let met = met || given_by_work || *need == Need::Nothing;
                    let acts = acts_in.contains(&work) && met;
                    // Given as the option that is looked at, a task is another work.
                    if *option != "task" || work == Eval {
                        assert_eq!(told, !acts, "{work:?} {arguments:?}: {notes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn settings_act_in_the_task_that_they_are_of() {
        let mut config = RunConfig::default();
        let acting = |config: &RunConfig| {
            ["layers", "epochs", "node_epochs", "seeds"].map(|of| config.acts(of))
        };
        assert_eq!(acting(&config), [true, true, false, true]);
        config.start.task = Task::Edge;
        config.model.name = ModelName::Jodie;
        assert_eq!(acting(&config), [false, false, true, true]);
    }

    #[test]
    fn notes_say_why() {
        for (purpose, arguments, note) in [
            (
                Purpose::Train,
                &["--mail-slots=3"][..],
                "--mail-slots has no effect with --model tgn",
            ),
            (
                Purpose::Train,
                &["--balance=sample"],
                "--balance has no effect without --task node or edge",
            ),
            (
                Purpose::Train,
                &["--task=node", "--epochs=3"],
                "--epochs has no effect with --task node",
            ),
            (
                Purpose::Eval,
                &["--epochs=3"],
                "--epochs has no effect in an evaluation",
            ),
            (
                Purpose::Audit,
                &["--out=x"],
                "--out has no effect in an audit",
            ),
        ] {
            assert_eq!(notes(purpose, arguments), [note]);
        }
        // What is a default, or came with a run, was not given.
        assert_eq!(notes(Purpose::Train, &[]), [""; 0]);
    }
}
