// An RNN cell (PyTorch's RNNCell) after its two products:
//   out = tanh(from_input + from_memory).
// Rows that are not active keep hidden. One invocation computes one number.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> from_input: array<f32>;  // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> from_memory: array<f32>; // [rows, WIDTH]
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
    out[i] = bounded_tanh(from_input[i] + from_memory[i]);
}
