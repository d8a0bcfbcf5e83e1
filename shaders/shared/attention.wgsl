
// What the two passes of temporal_attention share. A workgroup takes a root, whose slots each
// invocation keeps for itself: a software adapter takes ten times as long to load a number from
// a buffer or from workgroup memory. A file that uses this says where the dot products take
// their factors (`factor`), where encodings are kept (`keep_encoding`, `encoding_of`) and where
// the sums go (`write_sum`).

var<workgroup> lane_sum: array<f32, PAIRS * LANES>;
var<private> slot_used: array<bool, FANOUT>;
var<private> slot_node: array<u32, FANOUT>; // first number of its node row
var<private> slot_edge: array<u32, FANOUT>; // first number of its edge feature row
var<private> slot_delta: array<f32, FANOUT>;
var<private> pair_weight: array<f32, PAIRS>; // of each slot's x in the sums, by head

// e^x, NaN for NaN.
fn exp_of(x: f32) -> f32 {
    return unless_nan(x, exp(x));
}

// The end of a loop. Unrolled, these loops take llvmpipe four times as long to compile and run no
// faster, so there it is not to know the end: sizes[0].w is 0.
fn end_of(count: u32) -> u32 {
    return count + ROLLED * sizes[0].w;
}

fn load_slots(root: u32) {
    for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
        let at = (root * FANOUT + k) * 4u;
        let row = slot[at];
        slot_used[k] = row >= 0;
        if (row >= 0) {
            slot_node[k] = u32(row) * NODE;
            slot_edge[k] = u32(slot[at + 1u]) * EDGE;
            slot_delta[k] = bitcast<f32>(slot[at + 2u]);
        }
    }
}

fn query_row(root: u32) -> u32 {
    return u32(slot[root * FANOUT * 4u + 3u]);
}

// The row by which a root's dropouts are drawn.
fn draw_row(root: u32, roots: u32) -> u32 {
    var row = root;
    if (sizes[2].x == 1u) {
        row = u32(slot[roots * FANOUT * 4u + root]);
    }
    return row;
}

fn encode_slots(local: u32) {
    for (var c = local; c < TIME; c = c + WORKGROUP) {
        let omega = time[c];
        let phi = time[TIME + c];
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            if (slot_used[k]) {
                keep_encoding(k * TIME + c, encode_time(slot_delta[k], omega, phi, sizes[0].w));
            }
        }
    }
}

fn node_numbers(slots: vec4<u32>, used: vec4<bool>, c: u32) -> vec4<f32> {
    var x = vec4<f32>();
    if (used.x) { x.x = node[slot_node[slots.x] + c]; }
    if (used.y) { x.y = node[slot_node[slots.y] + c]; }
    if (used.z) { x.z = node[slot_node[slots.z] + c]; }
    if (used.w) { x.w = node[slot_node[slots.w] + c]; }
    return x;
}

fn edge_numbers(slots: vec4<u32>, used: vec4<bool>, c: u32) -> vec4<f32> {
    var x = vec4<f32>();
    if (used.x) { x.x = edge[slot_edge[slots.x] + c]; }
    if (used.y) { x.y = edge[slot_edge[slots.y] + c]; }
    if (used.z) { x.z = edge[slot_edge[slots.z] + c]; }
    if (used.w) { x.w = edge[slot_edge[slots.w] + c]; }
    return x;
}

fn time_numbers(slots: vec4<u32>, used: vec4<bool>, c: u32) -> vec4<f32> {
    var x = vec4<f32>();
    if (used.x) { x.x = encoding_of(slots.x * TIME + c); }
    if (used.y) { x.y = encoding_of(slots.y * TIME + c); }
    if (used.z) { x.z = encoding_of(slots.z * TIME + c); }
    if (used.w) { x.w = encoding_of(slots.w * TIME + c); }
    return x;
}

// Each lane's share of factor . x_k, four slots and two heads at a time; the factor of a head is
// row `row` of its `rows`.
fn dot_products(local: u32, row: u32, rows: u32) {
    let lane = local % LANES;
    for (var head = 0u; head < end_of(HEADS); head = head + 2u) {
        let other = min(head + 1u, HEADS - 1u);
        let f = (head * rows + row) * WIDTH;
        let g = (other * rows + row) * WIDTH;
        for (var k = local / LANES * 4u; k < FANOUT; k = k + WORKGROUP / LANES * 4u) {
            let slots = min(k + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(FANOUT - 1u));
            let used = vec4<bool>(
                slot_used[slots.x],
                slot_used[slots.y],
                slot_used[slots.z],
                slot_used[slots.w],
            );
            var sum = vec4<f32>();
            var other_sum = vec4<f32>();
            for (var c = lane; c < NODE; c = c + LANES) {
                let x = node_numbers(slots, used, c);
                sum = sum + factor(f + c) * x;
                other_sum = other_sum + factor(g + c) * x;
            }
            for (var c = lane; c < EDGE; c = c + LANES) {
                let x = edge_numbers(slots, used, c);
                sum = sum + factor(f + NODE + c) * x;
                other_sum = other_sum + factor(g + NODE + c) * x;
            }
            for (var c = lane; c < TIME; c = c + LANES) {
                let x = time_numbers(slots, used, c);
                sum = sum + factor(f + NODE + EDGE + c) * x;
                other_sum = other_sum + factor(g + NODE + EDGE + c) * x;
            }
            if (lane == 0u) {
                let one = select(vec4<f32>(), vec4<f32>(1.0), used);
                sum = sum + factor(f + WIDTH - 1u) * one;
                other_sum = other_sum + factor(g + WIDTH - 1u) * one;
            }
            for (var i = 0u; i < min(4u, FANOUT - k); i = i + 1u) {
                lane_sum[((k + i) * HEADS + head) * LANES + lane] = sum[i];
                lane_sum[((k + i) * HEADS + other) * LANES + lane] = other_sum[i];
            }
        }
    }
}

fn dot_product(pair: u32) -> f32 {
    var sum = 0.0;
    for (var lane = 0u; lane < LANES; lane = lane + 1u) {
        sum = sum + lane_sum[pair * LANES + lane];
    }
    return sum;
}

fn write_sums(at: u32, other_at: u32, sum: vec2<f32>) {
    write_sum(at, sum.x);
    if (other_at != at) {
        write_sum(other_at, sum.y);
    }
}

// Sums of pair_weight[k, head] * x_k, two heads at a time.
fn weighted_sums(local: u32, root: u32, roots: u32) {
    for (var head = 0u; head < end_of(HEADS); head = head + 2u) {
        let other = min(head + 1u, HEADS - 1u);
        let at = (head * roots + root) * WIDTH;
        let other_at = (other * roots + root) * WIDTH;
        var total = vec2<f32>();
        for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
            total = total + vec2<f32>(pair_weight[k * HEADS + head], pair_weight[k * HEADS + other]);
        }
        if (local == 0u) {
            write_sums(at + WIDTH - 1u, other_at + WIDTH - 1u, total);
        }
        for (var c = local; c < NODE; c = c + WORKGROUP) {
            var sum = vec2<f32>();
            for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
                if (slot_used[k]) {
                    let pair = vec2<f32>(pair_weight[k * HEADS + head], pair_weight[k * HEADS + other]);
                    sum = sum + pair * node[slot_node[k] + c];
                }
            }
            write_sums(at + c, other_at + c, sum);
        }
        for (var c = local; c < EDGE; c = c + WORKGROUP) {
            var sum = vec2<f32>();
            for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
                if (slot_used[k]) {
                    let pair = vec2<f32>(pair_weight[k * HEADS + head], pair_weight[k * HEADS + other]);
                    sum = sum + pair * edge[slot_edge[k] + c];
                }
            }
            write_sums(at + NODE + c, other_at + NODE + c, sum);
        }
        for (var c = local; c < TIME; c = c + WORKGROUP) {
            var sum = vec2<f32>();
            for (var k = 0u; k < end_of(FANOUT); k = k + 1u) {
                if (slot_used[k]) {
                    let pair = vec2<f32>(pair_weight[k * HEADS + head], pair_weight[k * HEADS + other]);
                    sum = sum + pair * encoding_of(k * TIME + c);
                }
            }
            write_sums(at + NODE + EDGE + c, other_at + NODE + EDGE + c, sum);
        }
    }
}
