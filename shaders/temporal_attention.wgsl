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
const WORKGROUP: u32 = 128u;
const LANES: u32 = 8u; // invocations that share one dot product
const ROLLED: u32 = 0u; // 1 keeps compilers from unrolling loops
const SLOPE: f32 = 0.2;
const PAIRS: u32 = FANOUT * HEADS;
const WIDTH: u32 = NODE + EDGE + TIME + 1u;

@group(0) @binding(0) var<storage, read_write> query: array<f32>; // [HEADS, queries, WIDTH]
@group(0) @binding(1) var<storage, read_write> node: array<f32>;  // [rows, NODE]
@group(0) @binding(2) var<storage, read_write> edge: array<f32>;  // [event rows, EDGE]
@group(0) @binding(3) var<storage, read_write> time: array<f32>;  // [2, TIME]: omega, phi
@group(0) @binding(4) var<storage, read_write> slot: array<i32>;  // [roots, FANOUT, (row, event row, f32 bits of delta t, query row)], then draw rows
@group(0) @binding(5) var<storage, read_write> out: array<f32>;   // [HEADS, roots, WIDTH]
@group(0) @binding(6) var<storage, read_write> score: array<f32>; // [roots, FANOUT, HEADS]
@group(0) @binding(7) var<uniform> sizes: array<vec4<u32>, 3>;    // roots, drop below, bits of the scale, 0 ; key, queries ; 1 where draw rows follow the slots

var<workgroup> encoding: array<f32, FANOUT * TIME>;
var<workgroup> pair_score: array<f32, PAIRS>; // score, then attention after dropout

fn factor(at: u32) -> f32 {
    return query[at];
}

fn keep_encoding(at: u32, cos_sin: vec2<f32>) {
    encoding[at] = cos_sin.x;
}

fn encoding_of(at: u32) -> f32 {
    return encoding[at];
}

fn write_sum(at: u32, sum: f32) {
    out[at] = sum;
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

    dot_products(local, query_row(root), sizes[1].w);
    workgroupBarrier();

    for (var pair = local; pair < PAIRS; pair = pair + WORKGROUP) {
        var sum = dot_product(pair);
        sum = select(SLOPE * sum, sum, sum > 0.0);
        pair_score[pair] = sum;
        score[first_pair + pair] = sum;
    }
    workgroupBarrier();

    for (var head = local; head < HEADS; head = head + WORKGROUP) {
        var largest = -3.0e38;
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            if (slot_used[k]) {
                largest = max(largest, pair_score[k * HEADS + head]);
            }
        }
        var total = 0.0;
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            if (slot_used[k]) {
                total = total + exp_of(pair_score[k * HEADS + head] - largest);
            }
        }
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            let pair = k * HEADS + head;
            var weight = 0.0;
            if (slot_used[k]) {
                let key = sizes[1];
                let draw = counter_hash(vec4<u32>(key.x, key.y, key.z, first_draw + pair));
                if (draw >= sizes[0].y) {
                    weight = exp_of(pair_score[pair] - largest) / total * bitcast<f32>(sizes[0].z);
                }
            }
            pair_score[pair] = weight;
        }
    }
    workgroupBarrier();

    for (var pair = 0u; pair < end_of(PAIRS); pair = pair + 1u) {
        pair_weight[pair] = pair_score[pair];
    }
    weighted_sums(local, root, roots);
}
