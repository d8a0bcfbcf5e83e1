// One step of Adam (Kingma and Ba, 2015), as PyTorch computes it, in place, of three parameters
// whose moments lie in one buffer; with decoupled weight decay (AdamW), and with other constants
// plain gradient descent. Where CLIPPED is 1, gradients are first multiplied by the number
// that clip_scale put behind what is watched. One invocation takes one number. The corrections of the two
// moments are worked out on the host. Behind the moments are the first step
// whose gradients, and the first whose new parameters, were not all finite, 0 for none; all
// invocations that write one of them write the same. (A gradient whose square overflows counts:
// its moment never comes back.)

const CLIPPED: u32 = 0u;

@group(0) @binding(0) var<storage, read_write> moments: array<f32>; // [2 all numbers + 3]: first, second, watch, scale
@group(0) @binding(1) var<storage, read_write> parameter_0: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient_0: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameter_1: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient_1: array<f32>;
@group(0) @binding(5) var<storage, read_write> parameter_2: array<f32>;
@group(0) @binding(6) var<storage, read_write> gradient_2: array<f32>;
@group(0) @binding(7) var<uniform> sizes: array<vec4<u32>, 4>; // numbers up to the end of each parameter, 0 ; place of its moments, 0 ; all numbers, bits of beta 1, beta 2, epsilon ; step size, correction, number of the step, what is kept of a parameter

// Remembers the step unless `value` is finite or an earlier step is remembered.
fn watch(value: f32, place: u32) {
    let at = 2u * sizes[2].x + place;
    if (!is_finite(value) && moments[at] == 0.0) {
        moments[at] = bitcast<f32>(sizes[3].z);
    }
}

// The new number for a gradient `raw`, whose first moment is at `at`.
fn moved(number: f32, raw: f32, at: u32) -> f32 {
    var gradient = raw;
    if (CLIPPED == 1u) {
        gradient = moments[2u * sizes[2].x + 2u] * raw;
    }
    let beta_1 = bitcast<f32>(sizes[2].y);
    let beta_2 = bitcast<f32>(sizes[2].z);
    let epsilon = bitcast<f32>(sizes[2].w);
    let step_size = bitcast<f32>(sizes[3].x);
    let correction = bitcast<f32>(sizes[3].y);
    let m = beta_1 * moments[at] + (1.0 - beta_1) * gradient;
    let v = beta_2 * moments[sizes[2].x + at] + (1.0 - beta_2) * gradient * gradient;
    moments[at] = m;
    moments[sizes[2].x + at] = v;
    let moved_to = number * bitcast<f32>(sizes[3].w) - step_size * m / (sqrt(v) * correction + epsilon);
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
    let i = linear_group(group, groups) * 64u + local;
    let ends = sizes[0];
    let places = sizes[1];
    if (i < ends.x) {
        parameter_0[i] = moved(parameter_0[i], gradient_0[i], places.x + i);
    } else if (i < ends.y) {
        let j = i - ends.x;
        parameter_1[j] = moved(parameter_1[j], gradient_1[j], places.y + j);
    } else if (i < ends.z) {
        let j = i - ends.y;
        parameter_2[j] = moved(parameter_2[j], gradient_2[j], places.z + j);
    }
}
