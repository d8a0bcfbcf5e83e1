//! APAN's memory updater: a node's memory attends to its mail.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Tensor;

use super::config::ModelConfig;
use super::init::Initializer;
use super::input::{DropoutKey, MailboxInput, ModelInput, draws};
use super::time_encoding::TimeEncoding;
use crate::kernels::dropout::{DrawRows, dropout_relu_by};
use crate::kernels::gather_rows::{LongRows, Uses};
use crate::kernels::output_norm::{BeforeNorm, output_norm};
use crate::kernels::products::{add_from_heads, linear, to_heads};
use crate::kernels::temporal_attention::{AttentionSlots, temporal_attention};

/// Stream numbers of the dropouts within an iteration.
const ATTENTION_STREAM: u32 = 0;
const OUTPUT_STREAM: u32 = 1;

/// Queries from the memory row, keys and values from `[mail | Φ(age) | 1]`; the attended
/// values are added to the memory row, normalised, and pass one layer (APAN, section 3.3).
///
/// Empty slots take part as zero mail, as in TGL. Keys and values are linear in their
/// inputs, so queries are projected instead of mail: see
/// [`temporal_attention`](mod@crate::kernels::temporal_attention), whose kernel this is,
/// with mail in place of edge features and no node rows.
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
    pub(crate) fn new(config: &ModelConfig, init: &mut Initializer<'_>) -> MailboxAttention {
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
    pub(crate) fn forward(&self, input: &ModelInput, key: DropoutKey) -> Tensor<2> {
        let Some(mailbox) = &input.mailbox else {
            unreachable!("APAN's needs ask for the mailbox");
        };
        let memory = input.memory.clone();
        let own = memory.clone().select(0, mailbox.query.clone());
        let query = linear(self.query_bias.val().unsqueeze(), own, self.query.val());
        let projected = to_heads(query, self.key.val(), self.heads);
        let attended = temporal_attention(
            projected,
            no_node_rows(input),
            mails(input, mailbox),
            self.time_encoding.time.val(),
            mail_slots(mailbox, input.draws.first()),
            draws(key, self.attention_dropout, ATTENTION_STREAM),
        );
        let values = add_from_heads(memory, attended, self.value.val());

        let normed = output_norm(values, &self.norm, BeforeNorm::NOTHING);
        let output = linear(
            self.output_bias.val().unsqueeze(),
            normed,
            self.output.val(),
        );
        let drawn = draws(key, self.dropout, OUTPUT_STREAM);
        dropout_relu_by(output, drawn, input.draws.first())
    }
}

/// One mail per row, `[mail rows x slots, mail width]`.
fn mails(input: &ModelInput, mailbox: &MailboxInput) -> Tensor<2> {
    let [rows, mails] = input.mail.dims();
    let slots = mailbox.slot.dims()[1];
    input.mail.clone().reshape([rows * slots, mails / slots])
}

/// The attention kernel's node rows: none, and they would have no columns.
fn no_node_rows(input: &ModelInput) -> Tensor<2> {
    Tensor::empty([0, 0], &input.memory.device())
}

fn mail_slots(mailbox: &MailboxInput, by: Option<&DrawRows>) -> AttentionSlots {
    // Nothing is read of them: what filled them would be a launch.
    let none = |len: usize| Tensor::empty([len], &mailbox.slot.device());
    AttentionSlots {
        slot: mailbox.slot.clone(),
        query_uses: mailbox.query_uses.clone(),
        uses: Uses {
            offsets: none(1),
            items: none(0),
            long: LongRows::default(),
        },
        draw_row: by.map(|by| by.row.clone()),
    }
}
