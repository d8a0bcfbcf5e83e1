// Puts mails into mailboxes. Each written place gets the mean of its list of mails, added in the
// list's order and multiplied by a share that the host has divided (a division here would be rounded
// as the driver likes); a mail is [own row | peer's row | edge features]. Places are distinct, so
// no two invocations write the same number of a mailbox. One invocation writes one number.
// `watch` remembers the first commit that wrote a number of a memory row, and of edge features,
// that is not finite, 0 for none; all invocations that write one of them write the same.

const MEMORY: u32 = 4u; // width of a memory row
const EDGE: u32 = 0u;   // width of an edge feature row

@group(0) @binding(0) var<storage, read_write> mailbox: array<f32>; // [places, 2 MEMORY + EDGE]
@group(0) @binding(1) var<storage, read_write> hidden: array<f32>;  // [rows, MEMORY]
@group(0) @binding(2) var<storage, read_write> edge: array<f32>;    // [event rows, EDGE]
@group(0) @binding(3) var<storage, read_write> lists: array<i32>;   // [written, (place, first of its mails, their end, f32 bits of 1 / their number)]
@group(0) @binding(4) var<storage, read_write> mails: array<i32>;   // [mails, (row, peer's row, event row)]
@group(0) @binding(5) var<storage, read_write> watch: array<f32>;   // [2]: of memory rows, of edge features
@group(0) @binding(6) var<uniform> sizes: array<vec4<u32>, 2>;      // written, bits of the commit's number

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let width = 2u * MEMORY + EDGE;
    let index = linear_group(group, groups) * 64u + local;
    let w = index / width;
    if (w >= sizes[0].x) {
        return;
    }
    let c = index % width;
    let first = u32(lists[4u * w + 1u]);
    let end = u32(lists[4u * w + 2u]);
    var sum = 0.0;
    for (var m = first; m < end; m = m + 1u) {
        if (c < MEMORY) {
            sum = sum + hidden[u32(mails[m * 3u]) * MEMORY + c];
        } else if (c < 2u * MEMORY) {
            sum = sum + hidden[u32(mails[m * 3u + 1u]) * MEMORY + c - MEMORY];
        } else {
            sum = sum + edge[u32(mails[m * 3u + 2u]) * EDGE + c - 2u * MEMORY];
        }
    }
    let mean = sum * bitcast<f32>(lists[4u * w + 3u]);
    mailbox[u32(lists[4u * w]) * width + c] = mean;
    let part = select(0u, 1u, c >= 2u * MEMORY);
    if (!is_finite(mean) && watch[part] == 0.0) {
        watch[part] = bitcast<f32>(sizes[0].y);
    }
}
