// Adds the partial sums of link_scores_backward. One invocation takes a column.

const WIDTH: u32 = 5u;
const HISTORY: u32 = 3u; // statistics of a pair's history, 0 for none
const COLUMNS: u32 = (2u + HISTORY) * WIDTH + 1u;

@group(0) @binding(0) var<storage, read_write> partial_sum: array<f32>;   // [chunks, COLUMNS]
@group(0) @binding(1) var<storage, read_write> d_bias: array<f32>;        // [WIDTH]
@group(0) @binding(2) var<storage, read_write> d_output: array<f32>;      // [WIDTH]
@group(0) @binding(3) var<storage, read_write> d_output_bias: array<f32>; // [1]
@group(0) @binding(4) var<storage, read_write> d_history: array<f32>;     // [HISTORY, WIDTH]
@group(0) @binding(5) var<uniform> sizes: array<vec4<u32>, 2>;            // chunks

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let c = linear_group(group, groups) * 64u + local;
    if (c >= COLUMNS) {
        return;
    }
    var sum = 0.0;
    for (var chunk = 0u; chunk < sizes[0].x; chunk = chunk + 1u) {
        sum = sum + partial_sum[chunk * COLUMNS + c];
    }
    if (c < WIDTH) {
        d_bias[c] = sum;
    } else if (c < 2u * WIDTH) {
        d_output[c - WIDTH] = sum;
    } else if (c == 2u * WIDTH) {
        d_output_bias[0] = sum;
    } else {
        d_history[c - 2u * WIDTH - 1u] = sum;
    }
}
