// Backward of gather_rows: out[r] is the sum of the rows of `value` that were copied
// from row r, in ascending order; of each of several tables. One invocation sums four columns;
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
    let blocks = (WIDTH + 3u) / 4u;
    let i = linear_group(group, groups) * 64u + local;
    let rows = sizes[0].x;
    let out_row = i / blocks;
    if (out_row >= rows * sizes[0].z) {
        return;
    }
    let row = out_row % rows;
    let first = out_row / rows * sizes[0].y;
    let column = i % blocks * 4u;
    let columns = min(column + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(WIDTH - 1u));
    var sum = vec4<f32>();
    for (var use_ = offsets[row]; use_ < offsets[row + 1u]; use_ = use_ + 1) {
        let at = (first + u32(items[use_])) * WIDTH + columns;
        sum = sum + vec4<f32>(value[at.x], value[at.y], value[at.z], value[at.w]);
    }
    for (var c = 0u; c < min(4u, WIDTH - column); c = c + 1u) {
        out[out_row * WIDTH + column + c] = sum[c];
    }
}
