// Writes rows to their slots of a table, word by word. Slots are distinct, so no two invocations write the same
// word. One invocation writes one word.

const WORDS: u32 = 5u; // words of a row

@group(0) @binding(0) var<storage, read_write> table: array<u32>; // [slots of the table, WORDS]
@group(0) @binding(1) var<storage, read_write> rows: array<u32>;  // [n, WORDS]
@group(0) @binding(2) var<storage, read_write> slot: array<i32>;  // [n]
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;    // n

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, groups) * 64u + local;
    let row = i / WORDS;
    if (row >= sizes[0].x) {
        return;
    }
    table[u32(slot[row]) * WORDS + i % WORDS] = rows[i];
}
