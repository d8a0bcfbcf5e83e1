// Writes the updated memory row of each last writer. Nodes are distinct, so no two invocations
// write the same number. One invocation writes one number.

const WIDTH: u32 = 4u; // width of a memory row

@group(0) @binding(0) var<storage, read_write> memory: array<f32>; // [nodes, WIDTH]
@group(0) @binding(1) var<storage, read_write> hidden: array<f32>; // [rows, WIDTH]
@group(0) @binding(2) var<storage, read_write> last_writer: array<i32>; // [last_writers, (node, row)]
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;     // last_writers

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_group(group, groups) * 64u + local;
    let w = index / WIDTH;
    if (w >= sizes[0].x) {
        return;
    }
    let column = index % WIDTH;
    let node = u32(last_writer[w * 2u]);
    let row = u32(last_writer[w * 2u + 1u]);
    memory[node * WIDTH + column] = hidden[row * WIDTH + column];
}
