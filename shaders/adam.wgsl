// One step of Adam (Kingma and Ba, 2015), as PyTorch computes it, of all parameters that fit into a launch,
// with decoupled weight decay (AdamW), and with other constants
// plain gradient descent. Where CLIPPED is 1, gradients are first multiplied by the number
// that clip_scale put behind what is watched. One invocation takes one number; a workgroup takes numbers of one
// parameter. Old parameters and gradients lie anywhere in six memories, or the parameters where the new ones go; moments
// and new parameters lie in one memory each. The corrections of the two
// moments are worked out on the host. Behind the moments are the first step
// whose gradients, and the first whose new parameters, were not all finite, 0 for none; all
// invocations that write one of them write the same. (A gradient whose square overflows counts:
// its moment never comes back.)

const CLIPPED: u32 = 0u;
const PARAMETERS: u32 = 3u; // at most

@group(0) @binding(0) var<storage, read_write> moments: array<f32>; // [2 all numbers + 3]: first, second, watch, scale
@group(0) @binding(1) var<storage, read_write> weights: array<f32>; // new parameters
@group(0) @binding(2) var<storage, read_write> source_0: array<f32>;
@group(0) @binding(3) var<storage, read_write> source_1: array<f32>;
@group(0) @binding(4) var<storage, read_write> source_2: array<f32>;
@group(0) @binding(5) var<storage, read_write> source_3: array<f32>;
@group(0) @binding(6) var<storage, read_write> source_4: array<f32>;
@group(0) @binding(7) var<storage, read_write> source_5: array<f32>;
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 2u + 2u * PARAMETERS>; // all numbers, bits of beta 1, beta 2, epsilon ; step size, correction, number of the step, what is kept of a parameter ; then of each parameter: workgroups up to its end, its numbers, places of its moments and among the new ones ; memory and place of its old numbers, of its gradient

// Remembers the step unless `value` is finite or an earlier step is remembered.
fn watch(value: f32, place: u32) {
    let at = 2u * sizes[0].x + place;
    if (!is_finite(value) && moments[at] == 0.0) {
        moments[at] = bitcast<f32>(sizes[1].z);
    }
}

// Number `i` of a memory.
fn number(memory: u32, i: u32) -> f32 {
    switch memory {
        case 0u: { return source_0[i]; }
        case 1u: { return source_1[i]; }
        case 2u: { return source_2[i]; }
        case 3u: { return source_3[i]; }
        case 4u: { return source_4[i]; }
        case 5u: { return source_5[i]; }
        default: { return weights[i]; }
    }
}

// The new number for an old one and its gradient `raw`, whose first moment is at `at`.
fn moved(old: f32, raw: f32, at: u32) -> f32 {
    var gradient = raw;
    if (CLIPPED == 1u) {
        gradient = moments[2u * sizes[0].x + 2u] * raw;
    }
    let beta_1 = bitcast<f32>(sizes[0].y);
    let beta_2 = bitcast<f32>(sizes[0].z);
    let epsilon = bitcast<f32>(sizes[0].w);
    let step_size = bitcast<f32>(sizes[1].x);
    let correction = bitcast<f32>(sizes[1].y);
    let m = beta_1 * moments[at] + (1.0 - beta_1) * gradient;
    let v = beta_2 * moments[sizes[0].x + at] + (1.0 - beta_2) * gradient * gradient;
    moments[at] = m;
    moments[sizes[0].x + at] = v;
    let moved_to = old * bitcast<f32>(sizes[1].w) - step_size * m / (sqrt(v) * correction + epsilon);
    watch(v, 0u);
    watch(moved_to, 1u);
    return moved_to;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let own = linear_group(group, groups);
    var parameter = 0u;
    var first = 0u;
    while (parameter < PARAMETERS && own >= sizes[2u + 2u * parameter].x) {
        first = sizes[2u + 2u * parameter].x;
        parameter = parameter + 1u;
    }
    if (parameter == PARAMETERS) {
        return;
    }
    let extent = sizes[2u + 2u * parameter];
    let at = sizes[3u + 2u * parameter];
    let i = (own - first) * 64u + local;
    if (i >= extent.y) {
        return;
    }
    let old = number(at.x, at.y + i);
    weights[extent.w + i] = moved(old, number(at.z, at.w + i), extent.z + i);
}
