// Second pass over rows with many uses, after segment_sum or temporal_attention_backward_rows: out[r] is the sum
// of the sums of its pieces. A workgroup takes four columns of a row; each of its invocations adds every 64th piece,
// then the sums are added in a fixed order.

const WIDTH: u32 = 5u;

@group(0) @binding(0) var<storage, read_write> items: array<i32>;       // [uses]; number, first piece and pieces of each row, [long rows, 3]
@group(0) @binding(1) var<storage, read_write> partial_sum: array<f32>; // [tables, pieces, WIDTH]
@group(0) @binding(2) var<storage, read_write> out: array<f32>;         // [tables, rows, WIDTH]
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;          // rows, uses, long rows, pieces ; tables

var<workgroup> lane_sum: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let blocks = (WIDTH + 3u) / 4u;
    let own = linear_group(group, groups);
    let column = own % blocks * 4u;
    let columns = min(column + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(WIDTH - 1u));
    let table = own / blocks / sizes[0].z;
    if (table >= sizes[1].x) {
        return;
    }
    let at = sizes[0].y + 3u * (own / blocks % sizes[0].z);
    let first = table * sizes[0].w + u32(items[at + 1u]);
    let last = first + u32(items[at + 2u]);
    var sum = vec4<f32>();
    for (var piece = first + local; piece < last; piece = piece + 64u) {
        let from_ = piece * WIDTH + columns;
        sum = sum + vec4<f32>(partial_sum[from_.x], partial_sum[from_.y], partial_sum[from_.z], partial_sum[from_.w]);
    }
    lane_sum[local] = sum;
    for (var half = 32u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (local < half) {
            lane_sum[local] = lane_sum[local] + lane_sum[local + half];
        }
    }
    if (local == 0u) {
        let row = table * sizes[0].x + u32(items[at]);
        for (var c = 0u; c < min(4u, WIDTH - column); c = c + 1u) {
            out[row * WIDTH + column + c] = lane_sum[0][c];
        }
    }
}
