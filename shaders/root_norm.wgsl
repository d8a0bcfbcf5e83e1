// Layer norm of each root's row, and where JODIE's projection follows, its drift:
//   y = (x - mean(x)) / sqrt(var(x) + epsilon) * gamma + beta for x = table[row[i]],
//   out[i] = y, or y * (1 + recency[i] * weight + bias).
// A workgroup takes a root; the variance is the mean of the squared distances from the mean. Behind the roots the first one
// copies the parameters, so that the backward needs to bind no more than this.

const WIDTH: u32 = 5u;
const WORKGROUP: u32 = 64u;
const PROJECTED: u32 = 1u;

@group(0) @binding(0) var<storage, read_write> table: array<f32>;   // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> gamma: array<f32>;   // [WIDTH]
@group(0) @binding(2) var<storage, read_write> beta: array<f32>;    // [WIDTH]
@group(0) @binding(3) var<storage, read_write> weight: array<f32>;  // [WIDTH], not read without a projection
@group(0) @binding(4) var<storage, read_write> bias: array<f32>;    // [WIDTH], as weight
@group(0) @binding(5) var<storage, read_write> recency: array<f32>; // [roots], as weight
@group(0) @binding(6) var<storage, read_write> row: array<i32>;     // [roots]
@group(0) @binding(7) var<storage, read_write> out: array<f32>;     // [roots, WIDTH], then gamma, beta, weight, bias
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 2>;      // roots, bits of epsilon

var<workgroup> kept: array<f32, WIDTH>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let root = linear_group(group, groups);
    let roots = sizes[0].x;
    if (root == 0u) {
        for (var c = local; c < WIDTH; c = c + WORKGROUP) {
            let at = roots * WIDTH + c;
            out[at] = gamma[c];
            out[at + WIDTH] = beta[c];
            if (PROJECTED == 1u) {
                out[at + 2u * WIDTH] = weight[c];
                out[at + 3u * WIDTH] = bias[c];
            }
        }
    }
    if (root >= roots) {
        return;
    }
    let first = u32(row[root]) * WIDTH;
    var sum = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let x = table[first + c];
        kept[c] = x;
        sum = sum + x;
    }
    let mean = total(local, sum) / f32(WIDTH);
    var squares = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let distance = kept[c] - mean;
        squares = squares + distance * distance;
    }
    let scale = 1.0 / sqrt(total(local, squares) / f32(WIDTH) + bitcast<f32>(sizes[0].y));
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        var y = (kept[c] - mean) * scale * gamma[c] + beta[c];
        if (PROJECTED == 1u) {
            y = y + y * (recency[root] * weight[c] + bias[c]);
        }
        out[root * WIDTH + c] = y;
    }
}
