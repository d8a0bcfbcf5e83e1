// Logits of the link predictor after its two products, for the pairs (src, dst) and
// (src, neg) of a batch:
//   logit = sum_c relu(source_c + destination_c + bias_c) * output_c + output_bias.
// A workgroup takes a pair; the first half of the pairs are the events, the second their
// negatives, and both use the source rows.

const WIDTH: u32 = 5u;
const WORKGROUP: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> source: array<f32>;      // [events, WIDTH]
@group(0) @binding(1) var<storage, read_write> destination: array<f32>; // [2 events, WIDTH]
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;        // [WIDTH]
@group(0) @binding(3) var<storage, read_write> output: array<f32>;      // [WIDTH]
@group(0) @binding(4) var<storage, read_write> output_bias: array<f32>; // [1]
@group(0) @binding(5) var<storage, read_write> logit: array<f32>;       // [2 events]
@group(0) @binding(6) var<uniform> sizes: array<vec4<u32>, 2>;          // events

var<workgroup> lane_sum: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pair = linear_group(group, groups);
    let events = sizes[0].x;
    if (pair >= 2u * events) {
        return;
    }
    let source_row = (pair % events) * WIDTH;
    let destination_row = pair * WIDTH;
    var sum = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let hidden = source[source_row + c] + destination[destination_row + c] + bias[c];
        sum = sum + relu(hidden) * output[c];
    }
    lane_sum[local] = sum;
    for (var half = WORKGROUP / 2u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (local < half) {
            lane_sum[local] = lane_sum[local] + lane_sum[local + half];
        }
    }
    if (local == 0u) {
        logit[pair] = lane_sum[0] + output_bias[0];
    }
}
