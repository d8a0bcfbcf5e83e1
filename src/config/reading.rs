//! Settings of how files of events are read: those of every command that opens a stream.

use clap::Args;
use mspipe_datasets::reading::{Bipartite, ColumnChoice, IdKind, Missing, TimeUnit};
use mspipe_datasets::split::{SplitShares, SplitTimes};
use mspipe_datasets::{Format, OpenOptions, Reading, SplitRule};
use serde::{Deserialize, Serialize};

use super::RunConfig;

/// How a file of events is read, and how its stream is divided.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Files of events")]
pub struct ReadingConfig {
    /// Layout of the events: jodie, snap, tgl, dgb, tgb, parquet, gdelt or csv; told from the
    /// content if not given
    #[arg(long)]
    pub format: Option<Format>,

    /// Sort events by time (stable; labels and features follow)
    #[arg(long)]
    pub sort: bool,

    /// Which column holds what, by names in the file or numbers from 1, where names don't tell;
    /// with features= no other column is a feature
    #[arg(
        long,
        value_name = "src=A,dst=B,time=C,label=D,split=E,features=F+G,ignore=H",
        default_value = "",
        hide_default_value = true
    )]
    pub columns: ColumnChoice,

    /// The first line is an event: columns 1, 2 and 3 are source, destination and time, unless
    /// --columns says otherwise
    #[arg(long)]
    pub no_header: bool,

    /// Ids: number, text, or auto (numbers if all are, without leading zeros)
    #[arg(long, value_name = "auto|number|text", default_value = "auto")]
    pub ids: IdKind,

    /// Whether sources and destinations are nodes of two kinds; auto: if their columns are
    /// called so (user and item, buyer and product)
    #[arg(long, value_name = "auto|yes|no", default_value = "auto")]
    pub bipartite: Bipartite,

    /// What times that are numbers count; all but auto makes seconds of them
    #[arg(long, value_name = "auto|s|ms|us|ns", default_value = "auto")]
    pub time_unit: TimeUnit,

    /// What becomes of features without a value (empty, NA, nan, null)
    #[arg(long, value_name = "error|zero|mean", default_value = "error")]
    pub missing: Missing,

    /// Shares of the events that train and validate; the rest tests [default: the stream's own
    /// split, else 0.7,0.15]
    #[arg(long, value_name = "TRAIN,VAL", conflicts_with = "split_at")]
    pub split: Option<SplitShares>,

    /// When validation and test begin: numbers in the stream's unit, or dates
    #[arg(long, value_name = "TIME,TIME", allow_hyphen_values = true)]
    pub split_at: Option<SplitTimes>,
}

impl ReadingConfig {
    /// These settings as the reader of streams takes them.
    pub fn options(&self) -> OpenOptions {
        let shares = self.split.map(SplitRule::Shares);
        OpenOptions {
            format: self.format,
            sort: self.sort,
            reading: Reading {
                columns: self.columns.clone(),
                no_header: self.no_header,
                ids: self.ids,
                bipartite: self.bipartite,
                time_unit: self.time_unit,
                missing: self.missing,
            },
            split: shares.or(self.split_at.map(SplitRule::Times)),
            ..OpenOptions::default()
        }
    }
}

impl RunConfig {
    /// How the run's stream is opened.
    pub fn stream_options(&self) -> OpenOptions {
        OpenOptions {
            edge_features: self.edge_feature_file.clone(),
            node_features: self.node_feature_file.clone(),
            ..self.reading.options()
        }
    }
}
