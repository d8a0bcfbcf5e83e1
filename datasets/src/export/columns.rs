//! The columns that a stream is written in.

use crate::error::DataError;
use crate::formats::table::plain_id;
use crate::schema::names::{feature_number, is_index, role};
use crate::stream::event_log::{EventLog, IdSpaces};
use crate::stream::features::FeatureType;

/// The columns of the table.
pub(super) struct Columns<'a> {
    pub(super) log: &'a EventLog,
    /// Source, destination, time.
    pub(super) titles: [&'static str; 3],
    /// Names of the nodes, if their ids are text.
    pub(super) names: Option<Vec<String>>,
    pub(super) features: Vec<String>,
    /// They have names of their own, which would be read as something else.
    renamed: bool,
}

impl<'a> Columns<'a> {
    pub(super) fn of(log: &'a EventLog) -> Result<Columns<'a>, DataError> {
        let names = log.names()?;
        let width = log.edge_features().map_or(0, |table| table.width());
        let mut features = names.edge_features.unwrap_or_default();
        let mut sorted = features.clone();
        sorted.sort_unstable();
        let twice = sorted.windows(2).any(|pair| pair[0] == pair[1]);
        let meant = |name: &String| role(name).is_some() || is_index(name, true);
        // A reader would put numbered columns in order.
        let numbers: Option<Vec<usize>> = features.iter().map(|n| feature_number(n)).collect();
        let moved = numbers.is_some_and(|numbers| !numbers.is_sorted());
        let mut renamed = false;
        if features.len() != width || twice || moved || features.iter().any(meant) {
            renamed = !features.is_empty();
            features = (0..width).map(|at| format!("feature_{at}")).collect();
        }
        Ok(Columns {
            log,
            titles: match log.id_spaces() {
                IdSpaces::One => ["src", "dst", "time"],
                IdSpaces::Two { .. } => ["user_id", "item_id", "timestamp"],
            },
            names: names.nodes,
            features,
            renamed,
        })
    }

    /// The number of a node whose id is one.
    pub(super) fn id(&self, node: u32) -> u64 {
        (self.log.original_ids()).map_or(u64::from(node), |ids| ids[node as usize])
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let plain = |names: &Vec<String>| names.iter().all(|n| plain_id(n.as_bytes()).is_some());
        if self.names.as_ref().is_some_and(plain) {
            notes.push("all names of nodes are numbers: read it with --ids text".to_owned());
        }
        if self.renamed {
            notes.push(
                "features are called feature_0, feature_1, … in it: by their own names they would be read as something else"
                    .to_owned(),
            );
        }
        if let Some(table) = self.log.node_features() {
            notes.push(format!(
                "node features [{}, {}] belong to no event and are not in it",
                table.rows(),
                table.width()
            ));
        }
        if self.log.edge_features().map(|t| t.feature_type()) == Some(FeatureType::F16) {
            notes.push("edge features of 16 bits were widened to 32".to_owned());
        }
        notes
    }
}

/// The decimals of the stream's times.
pub(super) fn scale(log: &EventLog) -> u8 {
    log.ticks_per_unit().ilog10() as u8
}
