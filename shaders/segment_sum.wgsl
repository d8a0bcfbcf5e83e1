// Backward of gather_rows: out[r] is the sum of the rows of `value` that were copied
// from row r, in ascending order; of each of several tables. One invocation sums one number;
// no atomics.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> value: array<f32>;   // [tables, n, WIDTH]
@group(0) @binding(1) var<storage, read_write> offsets: array<i32>; // [rows + 1]
@group(0) @binding(2) var<storage, read_write> items: array<i32>;   // [n] uses of each row
@group(0) @binding(3) var<storage, read_write> out: array<f32>;     // [tables, rows, WIDTH]
@group(0) @binding(4) var<uniform> sizes: array<vec4<u32>, 2>;      // rows, n, tables

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    let rows = sizes[0].x;
    if (i / WIDTH >= rows * sizes[0].z) {
        return;
    }
    let row = (i / WIDTH) % rows;
    let first = (i / WIDTH) / rows * sizes[0].y;
    let column = i % WIDTH;
    var sum = 0.0;
    for (var use_ = offsets[row]; use_ < offsets[row + 1u]; use_ = use_ + 1) {
        sum = sum + value[(first + u32(items[use_])) * WIDTH + column];
    }
    out[i] = sum;
}
