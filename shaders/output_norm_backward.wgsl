// Gradient of output_norm with respect to x, and the normalised rows n for the kernel
// that sums the gradients of gamma and beta. With n = (y - mean) * scale, g = grad * gamma:
//   d_y = scale * (g - mean(g) - n * mean(g * n)), d_x = d_y * factor, but 0 where the relu lets nothing
// pass.
// A workgroup takes a row.

const WIDTH: u32 = 5u;
const WORKGROUP: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> x: array<f32>;         // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> gamma: array<f32>;     // [WIDTH]
@group(0) @binding(2) var<storage, read_write> grad: array<f32>;      // [rows, WIDTH]
@group(0) @binding(3) var<storage, read_write> d_x: array<f32>;       // [rows, WIDTH]
@group(0) @binding(4) var<storage, read_write> normalised: array<f32>; // [rows, WIDTH]: n
@group(0) @binding(5) var<uniform> sizes: array<vec4<u32>, 2>;        // rows, drop below, bits of the scale, bits of epsilon ; key, 1 for a relu

var<workgroup> factor: array<f32, WIDTH>;
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
        factor[c] = select(0.0, bitcast<f32>(sizes[0].z), draw >= sizes[0].y);
        let after_dropout = x[i] * factor[c];
        kept[c] = select(after_dropout, relu(after_dropout), key.w == 1u);
        sum = sum + kept[c];
    }
    let mean = total(local, sum) / f32(WIDTH);
    var squares = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let distance = kept[c] - mean;
        squares = squares + distance * distance;
    }
    let scale = 1.0 / sqrt(total(local, squares) / f32(WIDTH) + bitcast<f32>(sizes[0].w));
    var of_g = 0.0;
    var of_g_n = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let g = grad[row * WIDTH + c] * gamma[c];
        of_g = of_g + g;
        of_g_n = of_g_n + g * (kept[c] - mean) * scale;
    }
    let mean_g = total(local, of_g) / f32(WIDTH);
    let mean_g_n = total(local, of_g_n) / f32(WIDTH);
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let i = row * WIDTH + c;
        let n = (kept[c] - mean) * scale;
        let d_y = scale * (grad[i] * gamma[c] - mean_g - n * mean_g_n);
        normalised[i] = n;
        d_x[i] = select(0.0, d_y * factor[c], key.w == 0u || passes_relu(kept[c]));
    }
}
