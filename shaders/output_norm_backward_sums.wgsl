// Gradients of output_norm with respect to gamma (sum of grad * n) and beta (sum of grad), one
// partial sum for each chunk of 64 rows: a workgroup takes a chunk, an invocation a column.
// The partial sums are added afterwards.

const WIDTH: u32 = 5u;

@group(0) @binding(0) var<storage, read_write> grad: array<f32>;        // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> normalised: array<f32>;  // [rows, WIDTH]
@group(0) @binding(2) var<storage, read_write> partial_sum: array<f32>; // [chunks, 2, WIDTH]: gamma, beta
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;          // rows

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
}
