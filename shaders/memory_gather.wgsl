// Copies the memory row and the mail row of each wanted node in one pass.
// One invocation copies one number.

const MEMORY: u32 = 4u; // width of a memory row
const MAIL: u32 = 6u;   // width of a mail row

@group(0) @binding(0) var<storage, read_write> memory: array<f32>;      // [nodes, MEMORY]
@group(0) @binding(1) var<storage, read_write> mailbox: array<f32>;     // [nodes, MAIL]
@group(0) @binding(2) var<storage, read_write> node: array<i32>;        // [rows]
@group(0) @binding(3) var<storage, read_write> memory_rows: array<f32>; // [rows, MEMORY]
@group(0) @binding(4) var<storage, read_write> mail_rows: array<f32>;   // [rows, MAIL]
@group(0) @binding(5) var<uniform> sizes: array<vec4<u32>, 2>;          // rows

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_group(group, groups) * 64u + local;
    let row = index / (MEMORY + MAIL);
    if (row >= sizes[0].x) {
        return;
    }
    let column = index % (MEMORY + MAIL);
    let source = u32(node[row]);
    if (column < MEMORY) {
        memory_rows[row * MEMORY + column] = memory[source * MEMORY + column];
    } else {
        let c = column - MEMORY;
        mail_rows[row * MAIL + c] = mailbox[source * MAIL + c];
    }
}
