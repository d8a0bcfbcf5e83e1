//! APAN's memory updater: a node's memory attends to its mails.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Tensor, activation};

use super::init::Initializer;
use super::time_encoding::TimeEncoding;
use super::{DropoutKey, ModelConfig, ModelInput, draws};
use crate::kernels::dropout::dropout;
use crate::kernels::gather_rows::Uses;
use crate::kernels::temporal_attention::{AttentionSlots, temporal_attention};

/// Stream numbers of the dropouts within an iteration.
const ATTENTION_STREAM: u32 = 0;
const OUTPUT_STREAM: u32 = 1;

/// Queries from the memory row, keys and values from `[mail | Φ(age) | 1]`; the attended
/// values are added to the memory row, normalised, and pass one layer (APAN, section 3.3).
///
/// Empty slots take part as zero mails, as in TGL. Keys and values are linear in their
/// inputs, so queries are projected instead of mails: see
/// [`temporal_attention`](mod@crate::kernels::temporal_attention), whose kernel this is,
/// with mails in the place of edge features and no node rows.
#[derive(Module, Debug)]
pub struct MailboxAttention {
    /// Encodes the time since a mail was written.
    pub time_encoding: TimeEncoding,
    /// Query weights, `[width, width]`.
    pub query: Param<Tensor<2>>,
    /// Query bias, `[width]`.
    pub query_bias: Param<Tensor<1>>,
    /// Key weights; the last row is the bias. `[mail width + time width + 1, width]`.
    pub key: Param<Tensor<2>>,
    /// Value weights; the last row is the bias. Shape of `key`.
    pub value: Param<Tensor<2>>,
    /// Normalises memory + attended values.
    pub norm: LayerNorm,
    /// Output weights, `[width, width]`.
    pub output: Param<Tensor<2>>,
    /// Output bias, `[width]`.
    pub output_bias: Param<Tensor<1>>,
    heads: usize,
    dropout: f64,
    attention_dropout: f64,
}

impl MailboxAttention {
    /// An updater with PyTorch's initial weights.
    pub fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> MailboxAttention {
        let width = config.width;
        let attended = config.mail_width() + config.time_width;
        let bound = |inputs: usize| 1.0 / (inputs as f64).sqrt();
        MailboxAttention {
            time_encoding: TimeEncoding::new(config, init),
            query: init.uniform([width, width], bound(width)),
            query_bias: init.uniform([width], bound(width)),
            key: init.uniform([attended + 1, width], bound(attended)),
            value: init.uniform([attended + 1, width], bound(attended)),
            norm: LayerNormConfig::new(width).init(init.device()),
            output: init.uniform([width, width], bound(width)),
            output_bias: init.uniform([width], bound(width)),
            heads: config.heads,
            dropout: f64::from(config.dropout),
            attention_dropout: f64::from(config.attention_dropout),
        }
    }

    /// Updated memory of each row, `[rows, width]`.
    pub fn forward(&self, input: &ModelInput, key: DropoutKey) -> Tensor<2> {
        let [rows, width] = input.memory.dims();
        let head_width = width / self.heads;
        let by_head = |weights: Tensor<2>| {
            let inputs = weights.dims()[0];
            weights.reshape([inputs, self.heads, head_width])
        };

        let query =
            input.memory.clone().matmul(self.query.val()) + self.query_bias.val().unsqueeze();
        let projected = query
            .reshape([rows, self.heads, head_width])
            .swap_dims(0, 1)
            .matmul(by_head(self.key.val()).permute([1, 2, 0]));
        let attended = temporal_attention(
            projected,
            no_node_rows(input),
            mails(input),
            self.time_encoding.time.val(),
            mail_slots(input),
            draws(key, self.attention_dropout, ATTENTION_STREAM),
        );
        let values = attended
            .matmul(by_head(self.value.val()).swap_dims(0, 1))
            .swap_dims(0, 1)
            .reshape([rows, width]);

        let output = self
            .norm
            .forward(values + input.memory.clone())
            .matmul(self.output.val())
            + self.output_bias.val().unsqueeze();
        activation::relu(dropout(output, draws(key, self.dropout, OUTPUT_STREAM)))
    }
}

/// One mail a row, `[rows x slots, mail width]`.
fn mails(input: &ModelInput) -> Tensor<2> {
    let [rows, mails] = input.mail.dims();
    let slots = input.mail_slot.dims()[1];
    input.mail.clone().reshape([rows * slots, mails / slots])
}

/// The attention kernel's node rows: a single one without columns.
fn no_node_rows(input: &ModelInput) -> Tensor<2> {
    Tensor::empty([1, 0], &input.memory.device())
}

fn mail_slots(input: &ModelInput) -> AttentionSlots {
    let none = |len: usize| Tensor::zeros([len], &input.memory.device());
    AttentionSlots {
        slot: input.mail_slot.clone(),
        uses: Uses {
            offsets: none(2),
            items: none(0),
        },
    }
}
