// Binary cross-entropy of a batch's logits: the mean of log(1 + e^-x) over the events plus
// the mean of log(1 + e^x) over their negatives. One workgroup; each of its invocations adds
// every 128th term, then the sums are added in a fixed order.

const WORKGROUP: u32 = 128u;

@group(0) @binding(0) var<storage, read_write> logit: array<f32>; // [2 events]
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;  // [1]
@group(0) @binding(2) var<uniform> sizes: array<vec4<u32>, 2>;    // events, bits of 1 / events

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local: u32) {
    let events = sizes[0].x;
    var sum = 0.0;
    for (var pair = local; pair < 2u * events; pair = pair + WORKGROUP) {
        let x = select(logit[pair], -logit[pair], pair < events);
        sum = sum + relu(x) + log(1.0 + exp(-min(abs(x), 80.0)));
    }
    let all = total(local, sum);
    if (local == 0u) {
        loss[0] = all * bitcast<f32>(sizes[0].y);
    }
}
