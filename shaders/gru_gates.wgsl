// Gates of a GRU cell (PyTorch's GRUCell) after its two products:
//   r = sigmoid(i_r + h_r), z = sigmoid(i_z + h_z), n = tanh(i_n + r * h_n),
//   out = (1 - z) * n + z * h.
// Rows that are not active keep h. One invocation computes one number.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> from_input: array<f32>;  // [rows, 3 WIDTH]: r, z, n
@group(0) @binding(1) var<storage, read_write> from_hidden: array<f32>; // [rows, 3 WIDTH]
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;      // [rows, WIDTH]
@group(0) @binding(3) var<storage, read_write> active_: array<i32>;     // [rows]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;         // [rows, WIDTH]
@group(0) @binding(5) var<uniform> sizes: array<vec4<u32>, 2>;          // rows

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
    if (active_[row] == 0) {
        out[i] = hidden[i];
        return;
    }
    let base = row * 3u * WIDTH + i % WIDTH;
    let r = sigmoid(from_input[base] + from_hidden[base]);
    let z = sigmoid(from_input[base + WIDTH] + from_hidden[base + WIDTH]);
    let n = bounded_tanh(from_input[base + 2u * WIDTH] + r * from_hidden[base + 2u * WIDTH]);
    out[i] = (1.0 - z) * n + z * hidden[i];
}
