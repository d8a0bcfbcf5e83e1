// Gradients of the loss with respect to the two products of the link predictor, written in their
// place, and partial sums of those of its other parameters. d(logit) is (sigmoid(logit) - label) / events times
// the loss's own gradient. An invocation takes a column of some events with their negatives.

const WIDTH: u32 = 5u;
const HISTORY: u32 = 3u; // statistics of a pair's history, 0 for none
const COLUMNS: u32 = (2u + HISTORY) * WIDTH + 1u;

@group(0) @binding(0) var<storage, read_write> source: array<f32>;      // [events, WIDTH], then its gradient
@group(0) @binding(1) var<storage, read_write> destination: array<f32>; // [2 events, WIDTH] with the history's share, then its gradient
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;        // [WIDTH]
@group(0) @binding(3) var<storage, read_write> output: array<f32>;      // [WIDTH]
@group(0) @binding(4) var<storage, read_write> statistic: array<f32>;   // [2 events, HISTORY]
@group(0) @binding(5) var<storage, read_write> logit: array<f32>;       // [2 events]
@group(0) @binding(6) var<storage, read_write> grad: array<f32>;        // [1], of the loss
@group(0) @binding(7) var<storage, read_write> partial_sum: array<f32>; // [chunks, COLUMNS]: bias, output, output bias, history
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 2>;          // events, bits of 1 / events, events of a chunk

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    // One column more than the width: the output's bias.
    let chunk = i / (WIDTH + 1u);
    let c = i % (WIDTH + 1u);
    let events = sizes[0].x;
    let first = chunk * sizes[0].z;
    if (first >= events) {
        return;
    }
    let last = min(first + sizes[0].z, events);
    let scale = grad[0] * bitcast<f32>(sizes[0].y);
    let partial_row = chunk * COLUMNS;
    var d_bias = 0.0;
    var d_output = 0.0;
    var d_output_bias = 0.0;
    // One more than there are: no array is empty.
    var d_history: array<f32, HISTORY + 1u>;
    for (var k = 0u; k < HISTORY; k = k + 1u) {
        d_history[k] = 0.0;
    }
    for (var event = first; event < last; event = event + 1u) {
        let d_positive = (sigmoid(logit[event]) - 1.0) * scale;
        let d_negative = sigmoid(logit[events + event]) * scale;
        d_output_bias = d_output_bias + d_positive + d_negative;
        if (c < WIDTH) {
            let at = event * WIDTH + c;
            let at_negative = (events + event) * WIDTH + c;
            let hidden = source[at] + bias[c];
            let positive = hidden + destination[at];
            let negative = hidden + destination[at_negative];
            let d_at = select(0.0, d_positive * output[c], passes_relu(positive));
            let d_at_negative = select(0.0, d_negative * output[c], passes_relu(negative));
            destination[at] = d_at;
            destination[at_negative] = d_at_negative;
            source[at] = d_at + d_at_negative;
            d_bias = d_bias + d_at + d_at_negative;
            d_output = d_output + d_positive * relu(positive) + d_negative * relu(negative);
            for (var k = 0u; k < HISTORY; k = k + 1u) {
                d_history[k] = d_history[k]
                    + d_at * statistic[event * HISTORY + k]
                    + d_at_negative * statistic[(events + event) * HISTORY + k];
            }
        }
    }
    if (c < WIDTH) {
        partial_sum[partial_row + c] = d_bias;
        partial_sum[partial_row + WIDTH + c] = d_output;
        for (var k = 0u; k < HISTORY; k = k + 1u) {
            partial_sum[partial_row + (2u + k) * WIDTH + 1u + c] = d_history[k];
        }
    } else {
        partial_sum[partial_row + 2u * WIDTH] = d_output_bias;
    }
}
