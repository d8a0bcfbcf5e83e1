// One step of Adam (Kingma and Ba, 2015), as PyTorch computes it, in place. One invocation
// takes one number. The corrections of the two moments are worked out on the host.

@group(0) @binding(0) var<storage, read_write> parameter: array<f32>; // [n]
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>;  // [n]
@group(0) @binding(2) var<storage, read_write> first: array<f32>;     // [n], first moment
@group(0) @binding(3) var<storage, read_write> second: array<f32>;    // [n], second moment
@group(0) @binding(4) var<uniform> sizes: array<vec4<u32>, 2>;        // n, bits of beta 1, beta 2, epsilon ; step size, correction

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    if (i >= sizes[0].x) {
        return;
    }
    let beta_1 = bitcast<f32>(sizes[0].y);
    let beta_2 = bitcast<f32>(sizes[0].z);
    let epsilon = bitcast<f32>(sizes[0].w);
    let step_size = bitcast<f32>(sizes[1].x);
    let correction = bitcast<f32>(sizes[1].y);
    let g = gradient[i];
    let m = beta_1 * first[i] + (1.0 - beta_1) * g;
    let v = beta_2 * second[i] + (1.0 - beta_2) * g * g;
    first[i] = m;
    second[i] = v;
    parameter[i] = parameter[i] - step_size * m / (sqrt(v) * correction + epsilon);
}
