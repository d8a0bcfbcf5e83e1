// Gradients of time_projection: of x, and for each chunk of rows a partial sum of those of w
// and b, which are added afterwards. An invocation takes a column of a chunk.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> x: array<f32>;           // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> recency: array<f32>;     // [rows]
@group(0) @binding(2) var<storage, read_write> weight: array<f32>;      // [WIDTH]
@group(0) @binding(3) var<storage, read_write> bias: array<f32>;        // [WIDTH]
@group(0) @binding(4) var<storage, read_write> grad: array<f32>;        // [rows, WIDTH]
@group(0) @binding(5) var<storage, read_write> d_x: array<f32>;         // [rows, WIDTH]
@group(0) @binding(6) var<storage, read_write> partial_sum: array<f32>; // [chunks, 2, WIDTH]: w, b
@group(0) @binding(7) var<uniform> sizes: array<vec4<u32>, 2>;          // rows, rows of a chunk

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    let chunk = i / WIDTH;
    let c = i % WIDTH;
    let first = chunk * sizes[0].y;
    if (first >= sizes[0].x) {
        return;
    }
    let last = min(first + sizes[0].y, sizes[0].x);
    var d_weight = 0.0;
    var d_bias = 0.0;
    for (var row = first; row < last; row = row + 1u) {
        let at = row * WIDTH + c;
        let drift = grad[at] * x[at];
        d_x[at] = grad[at] + grad[at] * (recency[row] * weight[c] + bias[c]);
        d_weight = d_weight + drift * recency[row];
        d_bias = d_bias + drift;
    }
    partial_sum[chunk * 2u * WIDTH + c] = d_weight;
    partial_sum[(chunk * 2u + 1u) * WIDTH + c] = d_bias;
}
