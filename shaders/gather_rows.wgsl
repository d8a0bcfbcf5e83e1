// out[i] = table[index[i]], row by row. One invocation copies one number.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> table: array<f32>; // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> index: array<i32>; // [n]
@group(0) @binding(2) var<storage, read_write> out: array<f32>;   // [n, WIDTH]
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;    // n

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
    out[i] = table[u32(index[row]) * WIDTH + i % WIDTH];
}
