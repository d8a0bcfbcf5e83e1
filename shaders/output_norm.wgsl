// Layer norm of the dropout of x, row by row, after a relu where there is one:
//   y = relu(x * factor), out = (y - mean(y)) / sqrt(var(y) + epsilon) * gamma + beta.
// The draw of element i depends on the key and i alone, as in dropout.wgsl. A workgroup takes
// a row; the variance is the mean of the squared distances from the mean.

const WIDTH: u32 = 5u;
const WORKGROUP: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> x: array<f32>;     // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> gamma: array<f32>; // [WIDTH]
@group(0) @binding(2) var<storage, read_write> beta: array<f32>;  // [WIDTH]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;   // [rows, WIDTH]
@group(0) @binding(4) var<uniform> sizes: array<vec4<u32>, 2>;    // rows, drop below, bits of the scale, bits of epsilon ; key, 1 for a relu

var<workgroup> kept: array<f32, WIDTH>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_group(group, groups);
    if (row >= sizes[0].x) {
        return;
    }
    let key = sizes[1];
    var sum = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let i = row * WIDTH + c;
        let draw = counter_hash(vec4<u32>(key.x, key.y, key.z, i));
        let after_dropout = x[i] * select(0.0, bitcast<f32>(sizes[0].z), draw >= sizes[0].y);
        let y = select(after_dropout, relu(after_dropout), key.w == 1u);
        kept[c] = y;
        sum = sum + y;
    }
    let mean = total(local, sum) / f32(WIDTH);
    var squares = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let distance = kept[c] - mean;
        squares = squares + distance * distance;
    }
    let scale = 1.0 / sqrt(total(local, squares) / f32(WIDTH) + bitcast<f32>(sizes[0].w));
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        out[row * WIDTH + c] = (kept[c] - mean) * scale * gamma[c] + beta[c];
    }
}
