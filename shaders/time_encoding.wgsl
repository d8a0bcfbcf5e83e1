// out[i, c] = cos(delta[i] * omega[c] + phi[c]). One invocation computes one number.

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> time: array<f32>;  // [2, WIDTH]: omega, phi
@group(0) @binding(1) var<storage, read_write> delta: array<f32>; // [n]
@group(0) @binding(2) var<storage, read_write> out: array<f32>;   // [n, WIDTH]
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;    // n, 0

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    let row = i / WIDTH;
    if (row >= sizes[0].x) {
        return;
    }
    let c = i % WIDTH;
    out[i] = encode_time(delta[row], time[c], time[WIDTH + c], sizes[0].y).x;
}
