// Gradients of output_norm with respect to gamma (sum of grad * n) and beta (sum of grad), one
// partial sum for each chunk of rows: an invocation takes a column of a chunk.
// The partial sums are added afterwards.

const WIDTH: u32 = 5u;

@group(0) @binding(0) var<storage, read_write> grad: array<f32>;        // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> normalised: array<f32>;  // [rows, WIDTH]
@group(0) @binding(2) var<storage, read_write> partial_sum: array<f32>; // [chunks, 2, WIDTH]: gamma, beta
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;          // rows, rows of a chunk

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
    var d_gamma = 0.0;
    var d_beta = 0.0;
    for (var row = first; row < last; row = row + 1u) {
        let g = grad[row * WIDTH + c];
        d_gamma = d_gamma + g * normalised[row * WIDTH + c];
        d_beta = d_beta + g;
    }
    partial_sum[chunk * 2u * WIDTH + c] = d_gamma;
    partial_sum[(chunk * 2u + 1u) * WIDTH + c] = d_beta;
}
