// Binary cross-entropy of a batch's logits: the mean of log(1 + e^-x) over the events plus
// the mean of log(1 + e^x) over their negatives. One workgroup; each of its invocations adds
// every 128th term, then the sums are added in a fixed order.

@group(0) @binding(0) var<storage, read_write> logit: array<f32>; // [2 events]
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;  // [1]
@group(0) @binding(2) var<uniform> sizes: array<vec4<u32>, 2>;    // events, bits of 1 / events

var<workgroup> lane_sum: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(local_invocation_index) local: u32) {
    let events = sizes[0].x;
    var sum = 0.0;
    for (var pair = local; pair < 2u * events; pair = pair + 128u) {
        let x = select(logit[pair], -logit[pair], pair < events);
        sum = sum + relu(x) + log(1.0 + exp(-min(abs(x), 80.0)));
    }
    lane_sum[local] = sum;
    for (var half = 64u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (local < half) {
            lane_sum[local] = lane_sum[local] + lane_sum[local + half];
        }
    }
    if (local == 0u) {
        loss[0] = lane_sum[0] * bitcast<f32>(sizes[0].y);
    }
}
