// Sums of squares of gradients, which lie anywhere in seven memories. A workgroup takes 4096 numbers of one of
// them; each of its invocations adds every 64th square, then the sums are added in a fixed order.

const GRADIENTS: u32 = 3u; // at most
const WORKGROUP: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> sums: array<f32>; // [chunks of all gradients of a step]
@group(0) @binding(1) var<storage, read_write> source_0: array<f32>;
@group(0) @binding(2) var<storage, read_write> source_1: array<f32>;
@group(0) @binding(3) var<storage, read_write> source_2: array<f32>;
@group(0) @binding(4) var<storage, read_write> source_3: array<f32>;
@group(0) @binding(5) var<storage, read_write> source_4: array<f32>;
@group(0) @binding(6) var<storage, read_write> source_5: array<f32>;
@group(0) @binding(7) var<storage, read_write> source_6: array<f32>;
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 1u + GRADIENTS>; // place of the first sum ; then of each gradient: chunks up to its end, its numbers, memory and place

// Number `i` of a memory.
fn number(memory: u32, i: u32) -> f32 {
    switch memory {
        case 0u: { return source_0[i]; }
        case 1u: { return source_1[i]; }
        case 2u: { return source_2[i]; }
        case 3u: { return source_3[i]; }
        case 4u: { return source_4[i]; }
        case 5u: { return source_5[i]; }
        default: { return source_6[i]; }
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = linear_group(group, groups);
    var gradient = 0u;
    var first = 0u; // chunk of the gradient
    while (gradient < GRADIENTS && chunk >= sizes[1u + gradient].x) {
        first = sizes[1u + gradient].x;
        gradient = gradient + 1u;
    }
    if (gradient == GRADIENTS) {
        return;
    }
    let extent = sizes[1u + gradient];
    let begin = (chunk - first) * 4096u;
    let end = min(begin + 4096u, extent.y);
    var sum = 0.0;
    for (var i = begin + local; i < end; i = i + WORKGROUP) {
        let x = number(extent.z, extent.w + i);
        sum = sum + x * x;
    }
    let all = total(local, sum);
    if (local == 0u) {
        sums[sizes[0].x + chunk] = all;
    }
}
