// Attention of each root over its sampled past events, with projected queries: the keys
// are x_k = [node row | edge features | time encoding | 1] themselves, the values too.
//   score[h, k] = leaky_relu(query[h] . x_k), attention = softmax over the valid slots,
//   out[h] = sum over k of dropout(attention[h, k]) * x_k
// A root without valid slots gets zeros. One workgroup takes one root.

const HEADS: u32 = 2u;
const FANOUT: u32 = 5u;
const NODE: u32 = 4u;  // width of a node row
const EDGE: u32 = 3u;  // width of an edge feature row
const TIME: u32 = 4u;  // width of the time encoding
const LANES: u32 = 8u; // invocations that share one dot product
const SLOPE: f32 = 0.2;
const PAIRS: u32 = FANOUT * HEADS;
const WIDTH: u32 = NODE + EDGE + TIME + 1u;

@group(0) @binding(0) var<storage, read_write> query: array<f32>; // [HEADS, queries, WIDTH]
@group(0) @binding(1) var<storage, read_write> node: array<f32>;  // [rows, NODE]
@group(0) @binding(2) var<storage, read_write> edge: array<f32>;  // [event rows, EDGE]
@group(0) @binding(3) var<storage, read_write> time: array<f32>;  // [2, TIME]: omega, phi
@group(0) @binding(4) var<storage, read_write> slot: array<i32>;  // [roots, FANOUT, (row, event row, f32 bits of delta t, query row)]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;   // [HEADS, roots, WIDTH]
@group(0) @binding(6) var<storage, read_write> score: array<f32>; // [roots, FANOUT, HEADS]
@group(0) @binding(7) var<uniform> sizes: array<vec4<u32>, 2>;    // roots, drop below, bits of the scale, 0 ; key, queries

var<workgroup> encoding: array<f32, FANOUT * TIME>;
var<workgroup> lane_sum: array<f32, PAIRS * LANES>;
var<workgroup> pair_score: array<f32, PAIRS>; // score, then attention after dropout

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let root = linear_group(group, groups);
    let roots = sizes[0].x;
    if (root >= roots) {
        return;
    }
    let first_slot = root * FANOUT;
    let queries = sizes[1].w;
    let query_row = u32(slot[first_slot * 4u + 3u]);

    for (var i = local; i < FANOUT * TIME; i = i + 128u) {
        let k = first_slot + i / TIME;
        let c = i % TIME;
        encoding[i] = 0.0;
        if (slot[k * 4u] >= 0) {
            let delta = bitcast<f32>(slot[k * 4u + 2u]);
            encoding[i] = encode_time(delta, time[c], time[TIME + c], sizes[0].w).x;
        }
    }
    workgroupBarrier();

    for (var i = local; i < PAIRS * LANES; i = i + 128u) {
        let pair = i / LANES;
        let lane = i % LANES;
        let k = first_slot + pair / HEADS;
        var sum = 0.0;
        if (slot[k * 4u] >= 0) {
            let q = ((pair % HEADS) * queries + query_row) * WIDTH;
            let row = u32(slot[k * 4u]) * NODE;
            for (var c = lane; c < NODE; c = c + LANES) {
                sum = sum + query[q + c] * node[row + c];
            }
            let event = u32(slot[k * 4u + 1u]) * EDGE;
            for (var c = lane; c < EDGE; c = c + LANES) {
                sum = sum + query[q + NODE + c] * edge[event + c];
            }
            let own = (pair / HEADS) * TIME;
            for (var c = lane; c < TIME; c = c + LANES) {
                sum = sum + query[q + NODE + EDGE + c] * encoding[own + c];
            }
            if (lane == 0u) {
                sum = sum + query[q + WIDTH - 1u];
            }
        }
        lane_sum[i] = sum;
    }
    workgroupBarrier();

    for (var pair = local; pair < PAIRS; pair = pair + 128u) {
        var sum = 0.0;
        for (var lane = 0u; lane < LANES; lane = lane + 1u) {
            sum = sum + lane_sum[pair * LANES + lane];
        }
        sum = select(SLOPE * sum, sum, sum > 0.0);
        pair_score[pair] = sum;
        score[first_slot * HEADS + pair] = sum;
    }
    workgroupBarrier();

    if (local < HEADS) {
        var largest = -3.0e38;
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            if (slot[(first_slot + k) * 4u] >= 0) {
                largest = max(largest, pair_score[k * HEADS + local]);
            }
        }
        var total = 0.0;
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            if (slot[(first_slot + k) * 4u] >= 0) {
                total = total + exp(pair_score[k * HEADS + local] - largest);
            }
        }
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            let pair = k * HEADS + local;
            var weight = 0.0;
            if (slot[(first_slot + k) * 4u] >= 0) {
                let key = sizes[1];
                let draw = counter_hash(vec4<u32>(key.x, key.y, key.z, first_slot * HEADS + pair));
                if (draw >= sizes[0].y) {
                    weight = exp(pair_score[pair] - largest) / total * bitcast<f32>(sizes[0].z);
                }
            }
            pair_score[pair] = weight;
        }
    }
    workgroupBarrier();

    for (var i = local; i < HEADS * WIDTH; i = i + 128u) {
        let head = i / WIDTH;
        let c = i % WIDTH;
        var sum = 0.0;
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            let s = (first_slot + k) * 4u;
            if (slot[s] >= 0) {
                var x = 1.0;
                if (c < NODE) {
                    x = node[u32(slot[s]) * NODE + c];
                } else if (c < NODE + EDGE) {
                    x = edge[u32(slot[s + 1u]) * EDGE + c - NODE];
                } else if (c < NODE + EDGE + TIME) {
                    x = encoding[k * TIME + c - NODE - EDGE];
                }
                sum = sum + pair_score[k * HEADS + head] * x;
            }
        }
        out[(head * roots + root) * WIDTH + c] = sum;
    }
}
