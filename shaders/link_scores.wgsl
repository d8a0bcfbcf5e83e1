// Logits of the link predictor after its two products, for the pairs (src, dst) and
// (src, neg) of a batch, or any others:
//   logit = sum_c relu(source_c + destination_c + bias_c) * output_c + output_bias,
// where destination_c gets sum_k statistic_k * history_kc of the pair added first, in place, for
// the backward pass. A workgroup takes a pair. The pairs of a batch are its events, then their
// negatives, and both use the source rows; other pairs have a source row each.

const WIDTH: u32 = 5u;
const HISTORY: u32 = 3u; // statistics of a pair's history, 0 for none
const WORKGROUP: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> source: array<f32>;      // [sources, WIDTH]
@group(0) @binding(1) var<storage, read_write> destination: array<f32>; // [pairs, WIDTH]
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;        // [WIDTH]
@group(0) @binding(3) var<storage, read_write> output: array<f32>;      // [WIDTH]
@group(0) @binding(4) var<storage, read_write> output_bias: array<f32>; // [1]
@group(0) @binding(5) var<storage, read_write> statistic: array<f32>;   // [pairs, HISTORY]
@group(0) @binding(6) var<storage, read_write> history: array<f32>;     // [HISTORY, WIDTH]
@group(0) @binding(7) var<storage, read_write> logit: array<f32>;       // [pairs]
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 2>;          // sources, pairs

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pair = linear_group(group, groups);
    let sources = sizes[0].x;
    if (pair >= sizes[0].y) {
        return;
    }
    let source_row = (pair % sources) * WIDTH;
    let destination_row = pair * WIDTH;
    // One more than there are: no array is empty.
    var of_pair: array<f32, HISTORY + 1u>;
    for (var k = 0u; k < HISTORY; k = k + 1u) {
        of_pair[k] = statistic[pair * HISTORY + k];
    }
    var sum = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        var other = destination[destination_row + c];
        for (var k = 0u; k < HISTORY; k = k + 1u) {
            other = other + of_pair[k] * history[k * WIDTH + c];
        }
        if (HISTORY > 0u) {
            destination[destination_row + c] = other;
        }
        let hidden = source[source_row + c] + other + bias[c];
        sum = sum + relu(hidden) * output[c];
    }
    let all = total(local, sum);
    if (local == 0u) {
        logit[pair] = all + output_bias[0];
    }
}
