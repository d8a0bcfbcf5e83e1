// Gradients of omega and phi, one partial sum for each chunk of rows: an invocation
// takes a column of a chunk. The partial sums are added afterwards.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> time: array<f32>;    // [2, WIDTH]: omega, phi
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;   // [n]
@group(0) @binding(2) var<storage, read_write> grad: array<f32>;    // [n, WIDTH]
@group(0) @binding(3) var<storage, read_write> partial_sum: array<f32>; // [chunks, 2, WIDTH]
@group(0) @binding(4) var<uniform> sizes: array<vec4<u32>, 2>;      // n, 0, rows of a chunk

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    let chunk = i / WIDTH;
    let c = i % WIDTH;
    let first = chunk * sizes[0].z;
    if (first >= sizes[0].x) {
        return;
    }
    let last = min(first + sizes[0].z, sizes[0].x);
    var d_omega = 0.0;
    var d_phi = 0.0;
    for (var row = first; row < last; row = row + 1u) {
        let angle = encode_time(delta[row], time[c], time[WIDTH + c], sizes[0].y);
        let d_argument = -angle.y * grad[row * WIDTH + c];
        d_omega = d_omega + d_argument * delta[row];
        d_phi = d_phi + d_argument;
    }
    partial_sum[(chunk * 2u) * WIDTH + c] = d_omega;
    partial_sum[(chunk * 2u + 1u) * WIDTH + c] = d_phi;
}
