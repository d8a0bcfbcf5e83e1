// out[i] = x[i] / (1 - p), or 0 with probability p. The draw of element i depends on
// the key and i alone, so the backward is the same kernel on the gradient. A relu may follow, whose backward is
// dropout_relu_backward.wgsl.

const RELU: u32 = 0u;

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> sizes: array<vec4<u32>, 2>; // n, drop below, bits of the scale, - ; key

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
    let kept = x[i] * select(0.0, bitcast<f32>(sizes[0].z), draw >= sizes[0].y);
    out[i] = select(kept, relu(kept), RELU == 1u);
}
