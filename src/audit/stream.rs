//! The stream of an audit: the first events of another one, all of it in memory, so that parts of it
//! can be changed.

use std::sync::Arc;

use mspipe_datasets::{DataError, EventLog, EventLogParts, FeatureTable};

use crate::graph::{NodeId, Timestamp};

/// A stream whose parts can be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditStream {
    /// Name of the stream that it was taken from.
    pub name: String,
    /// Number of nodes.
    pub nodes: usize,
    /// Ticks of the stream's unit.
    pub ticks_per_unit: i64,
    /// Sources.
    pub src: Vec<NodeId>,
    /// Destinations.
    pub dst: Vec<NodeId>,
    /// Times in ticks, never decreasing.
    pub time: Vec<Timestamp>,
    /// State labels.
    pub labels: Vec<i32>,
    /// Edge features, `[events, edge_width]`.
    pub edge: Vec<f32>,
    /// Their width, 0 for none.
    pub edge_width: usize,
    /// Node features, `[nodes, width]`, and their width.
    pub node: Option<(Vec<f32>, usize)>,
    /// Whether it was generated.
    pub synthetic: bool,
    /// What the user should know of how it was read.
    pub notes: Vec<String>,
}

impl AuditStream {
    /// The first `events` events of `log`. Its own edge features are replaced by `edge`, where that
    /// is given.
    pub(crate) fn head(log: &EventLog, events: usize, edge: Option<&FeatureTable>) -> AuditStream {
        let events = events.min(log.events());
        let values = |table: &FeatureTable, rows: usize| {
            let mut values = vec![0.0; rows * table.width()];
            let ids: Vec<u32> = (0..rows as u32).collect();
            table.gather_into(&ids, &mut values);
            values
        };
        let edge = edge.or(log.edge_features().filter(|table| !table.all_zero()));
        AuditStream {
            name: log.name().to_owned(),
            nodes: log.nodes(),
            ticks_per_unit: log.ticks_per_unit(),
            src: bytemuck::cast_slice(&log.src()[..events]).to_vec(),
            dst: bytemuck::cast_slice(&log.dst()[..events]).to_vec(),
            time: log.time()[..events].to_vec(),
            labels: log
                .labels()
                .map_or_else(|| vec![0; events], |labels| labels[..events].to_vec()),
            edge: edge.map_or_else(Vec::new, |table| values(table, events)),
            edge_width: edge.map_or(0, FeatureTable::width),
            node: log
                .node_features()
                .map(|table| (values(table, log.nodes()), table.width())),
            synthetic: log.synthetic(),
            notes: log.notes().to_vec(),
        }
    }

    /// Number of events.
    pub fn events(&self) -> usize {
        self.time.len()
    }

    /// The stream as the program reads it.
    ///
    /// # Errors
    /// When a change has broken it.
    pub(crate) fn log(&self) -> Result<Arc<EventLog>, DataError> {
        let table = |rows: usize, width: usize, values: &[f32]| {
            FeatureTable::from_f32(rows, width, values.to_vec())
        };
        let edge = (self.edge_width > 0)
            .then(|| table(self.events(), self.edge_width, &self.edge))
            .transpose()?;
        let node = self.node.as_ref();
        let log = EventLog::from_parts(EventLogParts {
            name: self.name.clone(),
            nodes: self.nodes,
            src: bytemuck::cast_slice(&self.src).to_vec(),
            dst: bytemuck::cast_slice(&self.dst).to_vec(),
            time: self.time.clone(),
            ticks_per_unit: self.ticks_per_unit,
            labels: Some(self.labels.clone()),
            roll: None,
            edge_features: edge,
            node_features: node
                .map(|(values, width)| table(self.nodes, *width, values))
                .transpose()?,
            synthetic: self.synthetic,
        })?;
        Ok(Arc::new(log))
    }
}
