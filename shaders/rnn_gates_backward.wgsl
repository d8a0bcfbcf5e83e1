// Gradient of rnn_gates with respect to its two products (the same for both), from its
// result: grad * (1 - out^2), 0 in rows that are not active. The memory row itself is a
// constant (it comes from the node memory).

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> out: array<f32>;       // [rows, WIDTH], the result
@group(0) @binding(1) var<storage, read_write> active_: array<i32>;   // [rows]
@group(0) @binding(2) var<storage, read_write> grad: array<f32>;      // [rows, WIDTH]
@group(0) @binding(3) var<storage, read_write> d_product: array<f32>; // [rows, WIDTH]
@group(0) @binding(4) var<uniform> sizes: array<vec4<u32>, 2>;        // rows

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
    let h = out[i];
    d_product[i] = select(0.0, grad[i] * (1.0 - h * h), active_[row] != 0);
}
