// Gradients of gru_gates with respect to its two products; the gates are computed
// again. The memory row itself is a constant (it comes from the node memory).

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> from_input: array<f32>;    // [rows, 3 WIDTH]: r, z, n
@group(0) @binding(1) var<storage, read_write> from_hidden: array<f32>;   // [rows, 3 WIDTH]
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;        // [rows, WIDTH]
@group(0) @binding(3) var<storage, read_write> active_: array<i32>;       // [rows]
@group(0) @binding(4) var<storage, read_write> grad: array<f32>;          // [rows, WIDTH]
@group(0) @binding(5) var<storage, read_write> d_from_input: array<f32>;  // [rows, 3 WIDTH]
@group(0) @binding(6) var<storage, read_write> d_from_hidden: array<f32>; // [rows, 3 WIDTH]
@group(0) @binding(7) var<uniform> sizes: array<vec4<u32>, 2>;            // rows

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    let row = i / WIDTH;
    if (row >= sizes[0].x) {
        return;
    }
    let base = row * 3u * WIDTH + i % WIDTH;
    var d_r = 0.0;
    var d_z = 0.0;
    var d_n = 0.0;
    var d_hidden_n = 0.0;
    if (active_[row] != 0) {
        let hidden_n = from_hidden[base + 2u * WIDTH];
        let r = sigmoid(from_input[base] + from_hidden[base]);
        let z = sigmoid(from_input[base + WIDTH] + from_hidden[base + WIDTH]);
        let n = bounded_tanh(from_input[base + 2u * WIDTH] + r * hidden_n);
        let g = grad[i];
        d_n = g * (1.0 - z) * (1.0 - n * n);
        d_z = g * (hidden[i] - n) * z * (1.0 - z);
        d_r = d_n * hidden_n * r * (1.0 - r);
        d_hidden_n = d_n * r;
    }
    d_from_input[base] = d_r;
    d_from_input[base + WIDTH] = d_z;
    d_from_input[base + 2u * WIDTH] = d_n;
    d_from_hidden[base] = d_r;
    d_from_hidden[base + WIDTH] = d_z;
    d_from_hidden[base + 2u * WIDTH] = d_hidden_n;
}
