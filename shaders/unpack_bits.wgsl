// out[r, c] = bit c of row r, 0 or 1: bit c % 32 of word c / 32. One invocation writes one number.

const WIDTH: u32 = 35u;
const WORDS: u32 = (WIDTH + 31u) / 32u;

@group(0) @binding(0) var<storage, read_write> words: array<u32>; // [n, WORDS]
@group(0) @binding(1) var<storage, read_write> out: array<f32>;   // [n, WIDTH]
@group(0) @binding(2) var<uniform> sizes: array<vec4<u32>, 2>;    // n

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
    let column = i % WIDTH;
    let word = words[row * WORDS + column / 32u];
    out[i] = f32((word >> (column % 32u)) & 1u);
}
