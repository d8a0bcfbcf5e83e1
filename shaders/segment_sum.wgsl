// Backward of gather_rows: out[r] is the sum of the rows of `value` that were copied
// from row r, in ascending order; of each of several tables. Of a row with more than 256 uses only sums of
// pieces are made, which piece_sums adds. One invocation sums four columns of a row or a piece;
// no atomics.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> value: array<f32>;   // [tables, n, WIDTH]
@group(0) @binding(1) var<storage, read_write> offsets: array<i32>; // [rows + 1]
@group(0) @binding(2) var<storage, read_write> items: array<i32>;   // [uses] of each row; [long rows, 3]; begin and end of pieces, [pieces, 2]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;     // [tables, rows, WIDTH]
@group(0) @binding(4) var<storage, read_write> partial_sum: array<f32>; // [tables, pieces, WIDTH]
@group(0) @binding(5) var<uniform> sizes: array<vec4<u32>, 2>;      // rows, n, tables, uses ; long rows, pieces

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let blocks = (WIDTH + 3u) / 4u;
    let i = linear_group(group, groups) * 64u + local;
    let rows = sizes[0].x;
    let all_rows = rows * sizes[0].z;
    var out_row = i / blocks;
    var table = 0u;
    var begin = 0;
    var end = 0;
    let in_piece = out_row >= all_rows;
    if (in_piece) {
        out_row = out_row - all_rows;
        let pieces = sizes[1].y;
        if (out_row >= pieces * sizes[0].z) {
            return;
        }
        table = out_row / pieces;
        let piece = sizes[0].w + 3u * sizes[1].x + 2u * (out_row % pieces);
        begin = items[piece];
        end = items[piece + 1u];
    } else {
        table = out_row / rows;
        begin = offsets[out_row % rows];
        end = offsets[out_row % rows + 1u];
        if (end - begin > 256) {
            return;
        }
    }
    let first = table * sizes[0].y;
    let column = i % blocks * 4u;
    let columns = min(column + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(WIDTH - 1u));
    var sum = vec4<f32>();
    for (var use_ = begin; use_ < end; use_ = use_ + 1) {
        let at = (first + u32(items[use_])) * WIDTH + columns;
        sum = sum + vec4<f32>(value[at.x], value[at.y], value[at.z], value[at.w]);
    }
    for (var c = 0u; c < min(4u, WIDTH - column); c = c + 1u) {
        let at = out_row * WIDTH + column + c;
        if (in_piece) {
            partial_sum[at] = sum[c];
        } else {
            out[at] = sum[c];
        }
    }
}
