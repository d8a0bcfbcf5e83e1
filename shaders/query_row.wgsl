// What the queries of all roots of an attention layer have in common: out = bias + encoding of no time difference times weight,
//   out[j] = bias[j] + sum over c of cos(phi[c]) weight[c, j].
// One workgroup encodes; then an invocation takes a column.

const WIDTH: u32 = 5u;
const TIME: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> time: array<f32>;   // [2, TIME]: omega, phi
@group(0) @binding(1) var<storage, read_write> weight: array<f32>; // [TIME, WIDTH]
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;   // [WIDTH]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;    // [WIDTH]
@group(0) @binding(4) var<uniform> sizes: array<vec4<u32>, 2>;     // 0

var<workgroup> encoding: array<f32, TIME>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
    for (var c = local; c < TIME; c = c + 64u) {
        encoding[c] = encode_time(0.0, time[c], time[TIME + c], sizes[0].x).x;
    }
    workgroupBarrier();
    for (var j = local; j < WIDTH; j = j + 64u) {
        var sum = 0.0;
        for (var c = 0u; c < TIME; c = c + 1u) {
            sum = sum + encoding[c] * weight[c * WIDTH + j];
        }
        out[j] = sum + bias[j];
    }
}
