// Writes the updated memory row and the new mail of each winner: the last event of its
// node in the batch. Nodes are distinct, so no two invocations write the same number.
// One invocation writes one number. The mail is [own row | peer's row | edge features];
// an entry whose event row is -1 writes memory alone.

const MEMORY: u32 = 4u; // width of a memory row
const EDGE: u32 = 0u;   // width of an edge feature row

@group(0) @binding(0) var<storage, read_write> memory: array<f32>;  // [nodes, MEMORY]
@group(0) @binding(1) var<storage, read_write> mailbox: array<f32>; // [nodes, 2 MEMORY + EDGE]
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;  // [rows, MEMORY]
@group(0) @binding(3) var<storage, read_write> edge: array<f32>;    // [event rows, EDGE]
@group(0) @binding(4) var<storage, read_write> winner: array<i32>;  // [winners, (node, row, peer row, event row)]
@group(0) @binding(5) var<uniform> sizes: array<vec4<u32>, 2>;      // winners

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let mail = 2u * MEMORY + EDGE;
    let index = linear_group(group, groups) * 64u + local;
    let w = index / (MEMORY + mail);
    if (w >= sizes[0].x) {
        return;
    }
    let column = index % (MEMORY + mail);
    let node = u32(winner[w * 4u]);
    let row = u32(winner[w * 4u + 1u]);
    if (column < MEMORY) {
        memory[node * MEMORY + column] = hidden[row * MEMORY + column];
        return;
    }
    if (winner[w * 4u + 3u] < 0) {
        return;
    }
    let peer = u32(winner[w * 4u + 2u]);
    let event = u32(winner[w * 4u + 3u]);
    let c = column - MEMORY;
    var value: f32;
    if (c < MEMORY) {
        value = hidden[row * MEMORY + c];
    } else if (c < 2u * MEMORY) {
        value = hidden[peer * MEMORY + c - MEMORY];
    } else {
        value = edge[event * EDGE + c - 2u * MEMORY];
    }
    mailbox[node * mail + c] = value;
}
