// Second half of the backward of temporal_attention: the gradient of each node row is the
// sum over the slots that read it of weight * grad + d_score * query, in ascending order
// of slots. No atomics. One invocation sums one number.

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
@group(0) @binding(2) var<storage, read_write> side: array<f32>;    // [roots, SIDE]
@group(0) @binding(3) var<storage, read_write> slot: array<i32>;    // [roots, FANOUT, (.., query row)]
@group(0) @binding(4) var<storage, read_write> offsets: array<i32>; // [rows + 1]
@group(0) @binding(5) var<storage, read_write> items: array<i32>;   // slots of each row
@group(0) @binding(6) var<storage, read_write> d_node: array<f32>;  // [rows, NODE]
@group(0) @binding(7) var<uniform> sizes: array<vec4<u32>, 2>;      // rows, roots, queries

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    let row = i / NODE;
    if (row >= sizes[0].x) {
        return;
    }
    let column = i % NODE;
    let roots = sizes[0].y;
    let queries = sizes[0].z;
    var sum = 0.0;
    for (var item = offsets[row]; item < offsets[row + 1u]; item = item + 1) {
        let flat = u32(items[item]);
        let root = flat / FANOUT;
        let query_row = u32(slot[flat * 4u + 3u]);
        for (var head = 0u; head < HEADS; head = head + 1u) {
            let pair = root * SIDE + 2u * ((flat % FANOUT) * HEADS + head);
            let g = (head * roots + root) * WIDTH + column;
            let q = (head * queries + query_row) * WIDTH + column;
            sum = sum + side[pair] * grad[g] + side[pair + 1u] * query[q];
        }
    }
    d_node[i] = sum;
}
