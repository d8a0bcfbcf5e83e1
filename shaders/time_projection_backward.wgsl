// Gradients of time_projection: of x, and for each chunk of 64 rows a partial sum of those of w
// and b, which are added afterwards. A workgroup takes a chunk, an invocation a column.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> x: array<f32>;           // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> recency: array<f32>;     // [rows]
@group(0) @binding(2) var<storage, read_write> weight: array<f32>;      // [WIDTH]
@group(0) @binding(3) var<storage, read_write> bias: array<f32>;        // [WIDTH]
@group(0) @binding(4) var<storage, read_write> grad: array<f32>;        // [rows, WIDTH]
@group(0) @binding(5) var<storage, read_write> d_x: array<f32>;         // [rows, WIDTH]
@group(0) @binding(6) var<storage, read_write> partial_sum: array<f32>; // [chunks, 2, WIDTH]: w, b
@group(0) @binding(7) var<uniform> sizes: array<vec4<u32>, 2>;          // rows

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = linear_group(group, groups);
    let first = chunk * 64u;
    if (first >= sizes[0].x) {
        return;
    }
    let last = min(first + 64u, sizes[0].x);
    for (var c = local; c < WIDTH; c = c + 64u) {
        var d_weight = 0.0;
        var d_bias = 0.0;
        for (var row = first; row < last; row = row + 1u) {
            let i = row * WIDTH + c;
            let drift = grad[i] * x[i];
            d_x[i] = grad[i] + grad[i] * (recency[row] * weight[c] + bias[c]);
            d_weight = d_weight + drift * recency[row];
            d_bias = d_bias + drift;
        }
        partial_sum[chunk * 2u * WIDTH + c] = d_weight;
        partial_sum[(chunk * 2u + 1u) * WIDTH + c] = d_bias;
    }
}
