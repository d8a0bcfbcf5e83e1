// First half of the backward of temporal_attention: each root's share of the gradient of
// its query (segment_sum adds those of roots that share one), the two
// coefficients of each (slot, head) with which temporal_attention_backward_rows makes the
// gradient of the node rows, and each root's share of the gradients of omega and phi.
// One workgroup takes one root.

const HEADS: u32 = 2u;
const FANOUT: u32 = 5u;
const NODE: u32 = 4u;
const EDGE: u32 = 3u;
const TIME: u32 = 4u;
const LANES: u32 = 8u;
const SLOPE: f32 = 0.2;
const PAIRS: u32 = FANOUT * HEADS;
const WIDTH: u32 = NODE + EDGE + TIME + 1u;
const SIDE: u32 = 2u * PAIRS + 2u * TIME; // coefficients, then omega's and phi's share

@group(0) @binding(0) var<storage, read_write> query: array<f32>;   // [HEADS, queries, WIDTH]
@group(0) @binding(1) var<storage, read_write> node: array<f32>;    // [rows, NODE]
@group(0) @binding(2) var<storage, read_write> edge: array<f32>;    // [event rows, EDGE]
@group(0) @binding(3) var<storage, read_write> time: array<f32>;    // [2, TIME]
@group(0) @binding(4) var<storage, read_write> slot: array<i32>;    // [roots, FANOUT, (row, event row, f32 bits of delta t, query row)]
@group(0) @binding(5) var<storage, read_write> score: array<f32>;   // [roots, FANOUT, HEADS]
@group(0) @binding(6) var<storage, read_write> grad: array<f32>;    // [HEADS, roots, WIDTH]
@group(0) @binding(7) var<storage, read_write> d_query: array<f32>; // [HEADS, roots, WIDTH]
@group(0) @binding(8) var<storage, read_write> side: array<f32>;    // [roots, SIDE]
@group(0) @binding(9) var<uniform> sizes: array<vec4<u32>, 2>;      // roots, drop below, bits of the scale, 0 ; key, queries

var<workgroup> encoding: array<vec2<f32>, FANOUT * TIME>; // cos, sin
var<workgroup> lane_sum: array<f32, PAIRS * LANES>;
var<workgroup> weight: array<f32, PAIRS>;  // attention after dropout
var<workgroup> d_score: array<f32, PAIRS>; // gradient of query . x

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
        encoding[i] = vec2<f32>(0.0, 0.0);
        if (slot[k * 4u] >= 0) {
            let delta = bitcast<f32>(slot[k * 4u + 2u]);
            encoding[i] = encode_time(delta, time[c], time[TIME + c], sizes[0].w);
        }
    }
    workgroupBarrier();

    // Gradient of each attention weight after dropout: grad . x.
    for (var i = local; i < PAIRS * LANES; i = i + 128u) {
        let pair = i / LANES;
        let lane = i % LANES;
        let k = first_slot + pair / HEADS;
        var sum = 0.0;
        if (slot[k * 4u] >= 0) {
            let g = ((pair % HEADS) * roots + root) * WIDTH;
            let row = u32(slot[k * 4u]) * NODE;
            for (var c = lane; c < NODE; c = c + LANES) {
                sum = sum + grad[g + c] * node[row + c];
            }
            let event = u32(slot[k * 4u + 1u]) * EDGE;
            for (var c = lane; c < EDGE; c = c + LANES) {
                sum = sum + grad[g + NODE + c] * edge[event + c];
            }
            let own = (pair / HEADS) * TIME;
            for (var c = lane; c < TIME; c = c + LANES) {
                sum = sum + grad[g + NODE + EDGE + c] * encoding[own + c].x;
            }
            if (lane == 0u) {
                sum = sum + grad[g + WIDTH - 1u];
            }
        }
        lane_sum[i] = sum;
    }
    workgroupBarrier();

    if (local < HEADS) {
        var largest = -3.0e38;
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            if (slot[(first_slot + k) * 4u] >= 0) {
                largest = max(largest, score[(first_slot + k) * HEADS + local]);
            }
        }
        var total = 0.0;
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            if (slot[(first_slot + k) * 4u] >= 0) {
                total = total + exp(score[(first_slot + k) * HEADS + local] - largest);
            }
        }
        // d_score holds the gradient of each weight before dropout, then of the score.
        var mean = 0.0;
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            let pair = k * HEADS + local;
            weight[pair] = 0.0;
            d_score[pair] = 0.0;
            if (slot[(first_slot + k) * 4u] >= 0) {
                let key = sizes[1];
                let draw = counter_hash(vec4<u32>(key.x, key.y, key.z, first_slot * HEADS + pair));
                if (draw >= sizes[0].y) {
                    let scale = bitcast<f32>(sizes[0].z);
                    var sum = 0.0;
                    for (var lane = 0u; lane < LANES; lane = lane + 1u) {
                        sum = sum + lane_sum[pair * LANES + lane];
                    }
                    let attention = exp(score[first_slot * HEADS + pair] - largest) / total;
                    weight[pair] = attention * scale;
                    d_score[pair] = sum * scale;
                    mean = mean + attention * sum * scale;
                }
            }
        }
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            let pair = k * HEADS + local;
            var d = 0.0;
            if (slot[(first_slot + k) * 4u] >= 0) {
                let s = score[first_slot * HEADS + pair];
                d = exp(s - largest) / total * (d_score[pair] - mean);
                d = select(SLOPE * d, d, s > 0.0);
            }
            d_score[pair] = d;
        }
    }
    workgroupBarrier();

    for (var pair = local; pair < PAIRS; pair = pair + 128u) {
        side[root * SIDE + 2u * pair] = weight[pair];
        side[root * SIDE + 2u * pair + 1u] = d_score[pair];
    }

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
                    x = encoding[k * TIME + c - NODE - EDGE].x;
                }
                sum = sum + d_score[k * HEADS + head] * x;
            }
        }
        d_query[(head * roots + root) * WIDTH + c] = sum;
    }

    for (var c = local; c < TIME; c = c + 128u) {
        var d_omega = 0.0;
        var d_phi = 0.0;
        for (var k = 0u; k < FANOUT; k = k + 1u) {
            let s = (first_slot + k) * 4u;
            if (slot[s] >= 0) {
                var d_encoding = 0.0;
                for (var head = 0u; head < HEADS; head = head + 1u) {
                    let g = (head * roots + root) * WIDTH + NODE + EDGE + c;
                    let q = (head * queries + query_row) * WIDTH + NODE + EDGE + c;
                    let pair = k * HEADS + head;
                    d_encoding = d_encoding + weight[pair] * grad[g] + d_score[pair] * query[q];
                }
                let d_argument = -encoding[k * TIME + c].y * d_encoding;
                d_omega = d_omega + d_argument * bitcast<f32>(slot[s + 2u]);
                d_phi = d_phi + d_argument;
            }
        }
        side[root * SIDE + 2u * PAIRS + c] = d_omega;
        side[root * SIDE + 2u * PAIRS + TIME + c] = d_phi;
    }
}
