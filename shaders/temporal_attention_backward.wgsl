// First half of the backward of temporal_attention: each root's share of the gradient of
// its query (segment_sum adds those of roots that share one), the two
// coefficients of each (slot, head) with which temporal_attention_backward_rows makes the
// gradient of the node rows, and each root's share of the gradients of omega and phi. All in one
// buffer, since a shader can bind only eight. One workgroup takes one root.

const HEADS: u32 = 2u;
const FANOUT: u32 = 5u;
const NODE: u32 = 4u;
const EDGE: u32 = 3u;
const TIME: u32 = 4u;
const WORKGROUP: u32 = 128u;
const LANES: u32 = 8u;
const ROLLED: u32 = 0u; // 1 keeps compilers from unrolling loops
const SLOPE: f32 = 0.2;
const PAIRS: u32 = FANOUT * HEADS;
const WIDTH: u32 = NODE + EDGE + TIME + 1u;
const SIDE: u32 = 2u * PAIRS + 2u * TIME; // coefficients, then omega's and phi's share

@group(0) @binding(0) var<storage, read_write> query: array<f32>;   // [HEADS, queries, WIDTH]
@group(0) @binding(1) var<storage, read_write> node: array<f32>;    // [rows, NODE]
@group(0) @binding(2) var<storage, read_write> edge: array<f32>;    // [event rows, EDGE]
@group(0) @binding(3) var<storage, read_write> time: array<f32>;    // [2, TIME]
@group(0) @binding(4) var<storage, read_write> slot: array<i32>;    // [roots, FANOUT, (row, event row, f32 bits of delta t, query row)], then draw rows
@group(0) @binding(5) var<storage, read_write> score: array<f32>;   // [roots, FANOUT, HEADS]
@group(0) @binding(6) var<storage, read_write> grad: array<f32>;    // [HEADS, roots, WIDTH]
@group(0) @binding(7) var<storage, read_write> shares: array<f32>;  // gradients of queries [HEADS, roots, WIDTH], then [roots, SIDE]
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 3>;      // roots, drop below, bits of the scale, 0 ; key, queries ; 1 where draw rows follow the slots

var<workgroup> encoding: array<vec2<f32>, FANOUT * TIME>; // cos, sin
var<workgroup> weight: array<f32, PAIRS>;  // attention after dropout
var<workgroup> d_score: array<f32, PAIRS>; // gradient of query . x
var<private> attention_weight: array<f32, PAIRS>;

fn factor(at: u32) -> f32 {
    return grad[at];
}

fn keep_encoding(at: u32, cos_sin: vec2<f32>) {
    encoding[at] = cos_sin;
}

fn encoding_of(at: u32) -> f32 {
    return encoding[at].x;
}

fn write_sum(at: u32, sum: f32) {
    shares[at] = sum;
}

@compute @workgroup_size(WORKGROUP)
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
    let first_pair = root * PAIRS;
    let first_draw = draw_row(root, roots) * PAIRS;
    load_slots(root);
    encode_slots(local);
    workgroupBarrier();

    // Gradient of each attention weight after dropout: grad . x.
    dot_products(local, root, roots);
    workgroupBarrier();

    for (var pair = local; pair < PAIRS; pair = pair + WORKGROUP) {
        d_score[pair] = dot_product(pair);
    }
    workgroupBarrier();

    for (var head = local; head < HEADS; head = head + WORKGROUP) {
        var largest = -3.0e38;
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            if (slot_used[k]) {
                largest = max(largest, score[first_pair + k * HEADS + head]);
            }
        }
        var total = 0.0;
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            if (slot_used[k]) {
                total = total + exp_of(score[first_pair + k * HEADS + head] - largest);
            }
        }
        // d_score becomes the gradient of each weight before dropout, then of the score. A softmax
        // does not feel what is added to all gradients: without the first slot's, those that are
        // equal leave no rounding behind.
        var mean = 0.0;
        var base = 0.0;
        var first = true;
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            let pair = k * HEADS + head;
            var of_weight = 0.0;
            var after_dropout = 0.0;
            if (slot_used[k]) {
                let key = sizes[1];
                let draw = counter_hash(vec4<u32>(key.x, key.y, key.z, first_draw + pair));
                let attention = exp_of(score[first_pair + pair] - largest) / total;
                if (draw >= sizes[0].y) {
                    let scale = bitcast<f32>(sizes[0].z);
                    after_dropout = attention * scale;
                    of_weight = d_score[pair] * scale;
                }
                base = select(base, of_weight, first);
                first = false;
                of_weight = of_weight - base;
                mean = mean + attention * of_weight;
            }
            weight[pair] = after_dropout;
            d_score[pair] = of_weight;
        }
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            let pair = k * HEADS + head;
            var d = 0.0;
            if (slot_used[k]) {
                let s = score[first_pair + pair];
                d = exp_of(s - largest) / total * (d_score[pair] - mean);
                d = select(SLOPE * d, d, s > 0.0);
            }
            d_score[pair] = d;
        }
    }
    workgroupBarrier();

    let side = HEADS * roots * WIDTH + root * SIDE;
    for (var pair = local; pair < PAIRS; pair = pair + WORKGROUP) {
        shares[side + 2u * pair] = weight[pair];
        shares[side + 2u * pair + 1u] = d_score[pair];
    }
    for (var pair = 0u; pair < end_of(PAIRS); pair = pair + 1u) {
        pair_weight[pair] = d_score[pair];
        attention_weight[pair] = weight[pair];
    }
    weighted_sums(local, root, roots);

    for (var c = local; c < TIME; c = c + WORKGROUP) {
        var d_encoding = array<f32, FANOUT>();
        for (var head = 0u; head < end_of(HEADS); head = head + 1u) {
            let g = grad[(head * roots + root) * WIDTH + NODE + EDGE + c];
            let q = query[(head * sizes[1].w + query_row(root)) * WIDTH + NODE + EDGE + c];
            for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
                let pair = k * HEADS + head;
                d_encoding[k] = d_encoding[k] + attention_weight[pair] * g + pair_weight[pair] * q;
            }
        }
        var d_omega = 0.0;
        var d_phi = 0.0;
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            if (slot_used[k]) {
                let d_argument = -encoding[k * TIME + c].y * d_encoding[k];
                d_omega = d_omega + d_argument * slot_delta[k];
                d_phi = d_phi + d_argument;
            }
        }
        shares[side + 2u * PAIRS + c] = d_omega;
        shares[side + 2u * PAIRS + TIME + c] = d_phi;
    }
}
