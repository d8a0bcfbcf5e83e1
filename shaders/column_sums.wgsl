// Sums over chunks of 64 rows of some columns of a matrix, which may begin anywhere in its buffer: the first of two or three passes that
// end with one row. One invocation sums a column of a chunk.

@group(0) @binding(0) var<storage, read_write> matrix: array<f32>; // [rows, stride]
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;   // [chunks, width]
@group(0) @binding(2) var<uniform> sizes: array<vec4<u32>, 2>;     // rows, stride, place of the first number, width

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    let rows = sizes[0].x;
    let width = sizes[0].w;
    let first = i / width * 64u;
    // A matrix without rows has one chunk, whose sums are 0.
    if (first >= max(rows, 1u)) {
        return;
    }
    let column = sizes[0].z + i % width;
    var sum = 0.0;
    for (var row = first; row < min(first + 64u, rows); row = row + 1u) {
        sum = sum + matrix[row * sizes[0].y + column];
    }
    sums[i] = sum;
}
