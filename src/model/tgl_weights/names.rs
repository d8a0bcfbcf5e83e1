//! Which parameters of TGL are which of ours, for every model.
//!
//! A group holds the parameters of one part, under a common prefix on either side. `{layer}`
//! in the prefixes stands for 0, 1, … as far as the model has layers.
//!
//! Source: amazon-science/tgl 241b336, `modules.py`, `layers.py`, `memorys.py`; for
//! `node_feat_proj` MSPipe's `memory_updater.py`.

use crate::model::Model;

/// The parameters of `model`; those of the link predictor are the same for all.
pub(super) fn groups(model: &Model) -> &'static [ParameterGroup] {
    match model {
        Model::Tgn(_) => &[RECURRENT_UPDATER, NODE_FEATURES, ATTENTION_LAYERS],
        Model::Jodie(_) => &[RECURRENT_UPDATER, NODE_FEATURES, NORM, TIME_PROJECTION],
        // TGL's APAN reads no node features; ours does, and names their projection as TGL's other
        // models do.
        Model::Apan(_) => &[MAILBOX_UPDATER, NODE_FEATURES, NORM],
    }
}

/// Parameters of one part of a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct ParameterGroup {
    /// Prefix of TGL's names.
    pub(super) names: &'static str,
    /// Prefix of the paths of our tables in a `LinkModel`.
    pub(super) paths: &'static str,
    pub(super) parameters: &'static [TglParameter],
}

/// A parameter of TGL.
#[derive(Debug, Clone, Copy)]
pub(super) struct TglParameter {
    /// TGL's name, after the group's prefix.
    pub(super) name: &'static str,
    /// Another name that is read too.
    pub(super) also: Option<&'static str>,
    pub(super) part: Part,
    /// Paths of our tables after the group's prefix, from the first input to the last.
    pub(super) tables: &'static [&'static str],
}

/// Which part of our tables a parameter of TGL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `[out, in]`: all rows, transposed.
    Weight,
    /// `[out, in]`: all rows but the last, transposed.
    WeightAboveBias,
    /// `[out]`: the last row, which is the only one of a vector.
    Bias,
}

const fn weight(name: &'static str, tables: &'static [&'static str]) -> TglParameter {
    of(Part::Weight, name, tables)
}

const fn above_bias(name: &'static str, tables: &'static [&'static str]) -> TglParameter {
    of(Part::WeightAboveBias, name, tables)
}

const fn bias(name: &'static str, tables: &'static [&'static str]) -> TglParameter {
    of(Part::Bias, name, tables)
}

const fn of(part: Part, name: &'static str, tables: &'static [&'static str]) -> TglParameter {
    TglParameter {
        name,
        also: None,
        part,
        tables,
    }
}

impl TglParameter {
    const fn or(mut self, also: &'static str) -> TglParameter {
        self.also = Some(also);
        self
    }
}

/// A GRU or RNN over mail.
const RECURRENT_UPDATER: ParameterGroup = ParameterGroup {
    names: "memory_updater.",
    paths: "model.updater.",
    parameters: &[
        // ω is TGL's weight [time, 1] and φ its bias: two rows of ours.
        above_bias("time_enc.w.weight", &["time_encoding.time"]),
        bias("time_enc.w.bias", &["time_encoding.time"]),
        weight("updater.weight_ih", &["from_mail", "from_time"]),
        bias("updater.bias_ih", &["input_bias"]),
        weight("updater.weight_hh", &["from_memory"]),
        bias("updater.bias_hh", &["memory_bias"]),
    ],
};

/// APAN's attention over the mailbox.
const MAILBOX_UPDATER: ParameterGroup = ParameterGroup {
    names: "memory_updater.",
    paths: "model.updater.",
    parameters: &[
        above_bias("time_enc.w.weight", &["time_encoding.time"]),
        bias("time_enc.w.bias", &["time_encoding.time"]),
        weight("w_q.weight", &["query"]),
        bias("w_q.bias", &["query_bias"]),
        above_bias("w_k.weight", &["key"]),
        bias("w_k.bias", &["key"]),
        above_bias("w_v.weight", &["value"]),
        bias("w_v.bias", &["value"]),
        bias("layer_norm.weight", &["norm.gamma"]),
        bias("layer_norm.bias", &["norm.beta"]),
        weight("mlp.weight", &["output"]),
        bias("mlp.bias", &["output_bias"]),
    ],
};

/// Projection of node features; where they are as wide as the memory nobody has one.
const NODE_FEATURES: ParameterGroup = ParameterGroup {
    names: "memory_updater.",
    paths: "model.node_features.projection.",
    parameters: &[
        weight("node_feat_map.weight", &["weight"]).or("node_feat_proj.weight"),
        bias("node_feat_map.bias", &["bias"]).or("node_feat_proj.bias"),
    ],
};

/// Temporal attention; h0 is TGL's only snapshot.
const ATTENTION_LAYERS: ParameterGroup = ParameterGroup {
    names: "layers.l{layer}h0.",
    paths: "model.layers.{layer}.",
    parameters: &[
        above_bias("time_enc.w.weight", &["time_encoding.time"]),
        bias("time_enc.w.bias", &["time_encoding.time"]),
        weight("w_q.weight", &["query_node", "query_time"]),
        bias("w_q.bias", &["query_bias"]),
        above_bias("w_k.weight", &["key"]),
        bias("w_k.bias", &["key"]),
        above_bias("w_v.weight", &["value"]),
        bias("w_v.bias", &["value"]),
        weight("w_out.weight", &["output_value", "output_node"]),
        bias("w_out.bias", &["output_bias"]),
        bias("layer_norm.weight", &["norm.gamma"]),
        bias("layer_norm.bias", &["norm.beta"]),
    ],
};

/// The normalisation that is all of a layer where nothing is sampled.
const NORM: ParameterGroup = ParameterGroup {
    names: "layers.l0h0.norm.",
    paths: "model.norm.",
    parameters: &[bias("weight", &["gamma"]), bias("bias", &["beta"])],
};

/// JODIE's projection over time.
const TIME_PROJECTION: ParameterGroup = ParameterGroup {
    names: "layers.l0h0t.time_emb.",
    paths: "model.projection.",
    parameters: &[weight("weight", &["weight"]), bias("bias", &["bias"])],
};

/// Full name of the weights of pair history.
pub(crate) const PAIR_HISTORY: &str = "edge_predictor.history_fc.weight";

/// Full name of the gate of `--mitigation pres`.
pub(super) const PRES_GATE: &str = "memory_updater.pres_gate";

/// What smooths rows in training; TGL has no such thing.
pub(super) const PRES: ParameterGroup = ParameterGroup {
    names: "memory_updater.",
    paths: "pres.",
    parameters: &[bias("pres_gate", &["gate"])],
};

/// The link predictor of every model.
pub(super) const LINK_PREDICTOR: ParameterGroup = ParameterGroup {
    names: "edge_predictor.",
    paths: "predictor.",
    parameters: &[
        weight("src_fc.weight", &["source"]),
        bias("src_fc.bias", &["source_bias"]),
        weight("dst_fc.weight", &["destination"]),
        bias("dst_fc.bias", &["destination_bias"]),
        weight("out_fc.weight", &["output"]),
        bias("out_fc.bias", &["output_bias"]),
        // TGL's predictor reads no pair history.
        weight("history_fc.weight", &["history"]),
    ],
};
