// Second half of the backward of temporal_attention: the gradient of each node row is the
// sum over the slots that read it of weight * grad + d_score * query, in ascending order
// of slots. Of a row that more than 256 slots read only sums of pieces are made, which piece_sums adds. No
// atomics. One invocation sums four columns of a row or a piece.

const HEADS: u32 = 2u;
const FANOUT: u32 = 5u;
const NODE: u32 = 4u;
const EDGE: u32 = 3u;
const TIME: u32 = 4u;
const PAIRS: u32 = FANOUT * HEADS;
const WIDTH: u32 = NODE + EDGE + TIME + 1u;
const SIDE: u32 = 2u * PAIRS + 2u * TIME;

@group(0) @binding(0) var<storage, read_write> query: array<f32>;   // [HEADS, queries, WIDTH]
@group(0) @binding(1) var<storage, read_write> grad: array<f32>;    // [HEADS, roots, WIDTH]
@group(0) @binding(2) var<storage, read_write> shares: array<f32>;  // [HEADS, roots, WIDTH], then [roots, SIDE]
@group(0) @binding(3) var<storage, read_write> slot: array<i32>;    // [roots, FANOUT, (.., query row)]
@group(0) @binding(4) var<storage, read_write> offsets: array<i32>; // [rows + 1]
@group(0) @binding(5) var<storage, read_write> items: array<i32>;   // [uses] slots of each row; [long rows, 3]; begin and end of pieces, [pieces, 2]
@group(0) @binding(6) var<storage, read_write> d_node: array<f32>;  // [rows, NODE]
@group(0) @binding(7) var<storage, read_write> partial_sum: array<f32>; // [pieces, NODE]
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 2>;      // rows, roots, queries, uses ; long rows, pieces

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let blocks = (NODE + 3u) / 4u;
    let i = linear_group(group, groups) * 64u + local;
    var row = i / blocks;
    var begin = 0;
    var end = 0;
    let in_piece = row >= sizes[0].x;
    if (in_piece) {
        row = row - sizes[0].x;
        if (row >= sizes[1].y) {
            return;
        }
        let piece = sizes[0].w + 3u * sizes[1].x + 2u * row;
        begin = items[piece];
        end = items[piece + 1u];
    } else {
        begin = offsets[row];
        end = offsets[row + 1u];
        if (end - begin > 256) {
            return;
        }
    }
    let column = i % blocks * 4u;
    let columns = min(column + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(NODE - 1u));
    let roots = sizes[0].y;
    let queries = sizes[0].z;
    var sum = vec4<f32>();
    for (var item = begin; item < end; item = item + 1) {
        let flat = u32(items[item]);
        let root = flat / FANOUT;
        let query_row = u32(slot[flat * 4u + 3u]);
        for (var head = 0u; head < HEADS; head = head + 1u) {
            let pair = HEADS * roots * WIDTH + root * SIDE + 2u * ((flat % FANOUT) * HEADS + head);
            let g = (head * roots + root) * WIDTH + columns;
            let q = (head * queries + query_row) * WIDTH + columns;
            let of_grad = vec4<f32>(grad[g.x], grad[g.y], grad[g.z], grad[g.w]);
            let of_query = vec4<f32>(query[q.x], query[q.y], query[q.z], query[q.w]);
            sum = sum + shares[pair] * of_grad + shares[pair + 1u] * of_query;
        }
    }
    for (var c = 0u; c < min(4u, NODE - column); c = c + 1u) {
        let at = row * NODE + column + c;
        if (in_piece) {
            partial_sum[at] = sum[c];
        } else {
            d_node[at] = sum[c];
        }
    }
}
