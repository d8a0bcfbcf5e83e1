// JODIE's projection of embeddings to the time of a query: out = x (1 + recency w + b).

const WIDTH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> x: array<f32>;       // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> recency: array<f32>; // [rows]
@group(0) @binding(2) var<storage, read_write> weight: array<f32>;  // [WIDTH]
@group(0) @binding(3) var<storage, read_write> bias: array<f32>;    // [WIDTH]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;     // [rows, WIDTH]
@group(0) @binding(5) var<uniform> sizes: array<vec4<u32>, 2>;      // rows

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
    out[i] = x[i] + x[i] * (recency[row] * weight[c] + bias[c]);
}
