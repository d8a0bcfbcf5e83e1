// Gradient of a dropout with a relu behind it: d_x[i] = grad[i] times the factor of the draw, 0 where the relu let nothing pass.
// One invocation computes one number.

@group(0) @binding(0) var<storage, read_write> out: array<f32>; // of the forward
@group(0) @binding(1) var<storage, read_write> grad: array<f32>;
@group(0) @binding(2) var<storage, read_write> d_x: array<f32>;
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;  // n, drop below, bits of the scale, - ; key

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
    let key = sizes[1];
    let draw = counter_hash(vec4<u32>(key.x, key.y, key.z, i));
    let factor = select(0.0, bitcast<f32>(sizes[0].z), draw >= sizes[0].y);
    d_x[i] = select(0.0, grad[i] * factor, passes_relu(out[i]));
}
