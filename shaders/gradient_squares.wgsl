// Sums of squares of up to seven gradients. A workgroup takes 4096 numbers of one of them; each of its
// invocations adds every 64th square, then the sums are added in a fixed order.

@group(0) @binding(0) var<storage, read_write> sums: array<f32>; // [chunks of all gradients of a step]
@group(0) @binding(1) var<storage, read_write> gradient_0: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient_1: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient_2: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient_3: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradient_4: array<f32>;
@group(0) @binding(6) var<storage, read_write> gradient_5: array<f32>;
@group(0) @binding(7) var<storage, read_write> gradient_6: array<f32>;
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 4>; // place of the first sum, numbers of each gradient (7) ; chunks up to the end of each (7)

var<workgroup> lane_sum: array<f32, 64>;

fn number(gradient: u32, i: u32) -> f32 {
    switch gradient {
        case 0u: { return gradient_0[i]; }
        case 1u: { return gradient_1[i]; }
        case 2u: { return gradient_2[i]; }
        case 3u: { return gradient_3[i]; }
        case 4u: { return gradient_4[i]; }
        case 5u: { return gradient_5[i]; }
        default: { return gradient_6[i]; }
    }
}

// The uniform's number at `i`.
fn size(i: u32) -> u32 {
    return sizes[i / 4u][i % 4u];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = linear_group(group, groups);
    if (chunk >= size(14u)) {
        return;
    }
    var gradient = 0u;
    var first = 0u; // chunk of the gradient
    while (chunk >= size(8u + gradient)) {
        first = size(8u + gradient);
        gradient = gradient + 1u;
    }
    let begin = (chunk - first) * 4096u;
    let end = min(begin + 4096u, size(1u + gradient));
    var sum = 0.0;
    for (var i = begin + local; i < end; i = i + 64u) {
        let x = number(gradient, i);
        sum = sum + x * x;
    }
    lane_sum[local] = sum;
    for (var half = 32u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (local < half) {
            lane_sum[local] = lane_sum[local] + lane_sum[local + half];
        }
    }
    if (local == 0u) {
        sums[size(0u) + chunk] = lane_sum[0];
    }
}
