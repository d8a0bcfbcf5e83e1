// Rows of a table of features by index: of numbers bit by bit, or of booleans, 32 to a word, as 0 and 1.
// One invocation makes one number.

const WIDTH: u32 = 37u;
// 1 where the table holds booleans: column c is bit c % 32 of word c / 32 of its row.
const PACKED: u32 = 1u;

@group(0) @binding(0) var<storage, read_write> table: array<u32>; // [rows, words of a row]
@group(0) @binding(1) var<storage, read_write> index: array<i32>; // [n]
@group(0) @binding(2) var<storage, read_write> out: array<u32>;   // [n, WIDTH], the bits of f32
@group(0) @binding(3) var<uniform> sizes: array<vec4<u32>, 2>;    // n

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
    let of_row = u32(index[row]);
    if (PACKED == 1u) {
        let words = (WIDTH + 31u) / 32u;
        let bit = (table[of_row * words + column / 32u] >> (column % 32u)) & 1u;
        out[i] = bit * bitcast<u32>(1.0);
    } else {
        out[i] = table[of_row * WIDTH + column];
    }
}
