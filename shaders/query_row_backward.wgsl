// Gradients of query_row, given that of its row: of weight, and of phi, which is added to what d_time holds (no time difference
// has no gradient of omega). That of bias is the row's. An invocation takes a number of the encoding.

const WIDTH: u32 = 5u;
const TIME: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> time: array<f32>;     // [2, TIME]: omega, phi
@group(0) @binding(1) var<storage, read_write> weight: array<f32>;   // [TIME, WIDTH]
@group(0) @binding(2) var<storage, read_write> grad: array<f32>;     // [WIDTH]
@group(0) @binding(3) var<storage, read_write> d_weight: array<f32>; // [TIME, WIDTH]
@group(0) @binding(4) var<storage, read_write> d_time: array<f32>;   // [2, TIME]
@group(0) @binding(5) var<uniform> sizes: array<vec4<u32>, 2>;       // 0

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let c = linear_group(group, groups) * 64u + local;
    if (c >= TIME) {
        return;
    }
    let angle = encode_time(0.0, time[c], time[TIME + c], sizes[0].x);
    var d_encoding = 0.0;
    for (var j = 0u; j < WIDTH; j = j + 1u) {
        d_encoding = d_encoding + weight[c * WIDTH + j] * grad[j];
        d_weight[c * WIDTH + j] = angle.x * grad[j];
    }
    d_time[TIME + c] = d_time[TIME + c] - angle.y * d_encoding;
}
