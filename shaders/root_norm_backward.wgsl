// Gradients of root_norm: of a row of the table, and the row's share in those of gamma, beta and, where a projection follows,
// weight and bias; the shares are added afterwards. With the sums over the roots of a row
//   s = sum(grad), t = sum(grad * recency), d_y = s, or s * (1 + bias) + t * weight,
// and n = (x - mean) * scale, y = n * gamma + beta, g = d_y * gamma:
//   d_x = scale * (g - mean(g) - n * mean(g * n)), shares d_y * n, d_y, t * y, s * y.
// A workgroup takes a row.

const WIDTH: u32 = 5u;
const WORKGROUP: u32 = 64u;
const PROJECTED: u32 = 1u;
const SHARES: u32 = 2u + 2u * PROJECTED;
const PITCH: u32 = (WIDTH + 63u) / 64u * 64u; // distance of two shares

@group(0) @binding(0) var<storage, read_write> table: array<f32>;   // [rows, WIDTH]
@group(0) @binding(1) var<storage, read_write> made: array<f32>;    // [roots, WIDTH], then gamma, beta, weight, bias
@group(0) @binding(2) var<storage, read_write> recency: array<f32>; // [roots], not read without a projection
@group(0) @binding(3) var<storage, read_write> offsets: array<i32>; // [rows + 1]
@group(0) @binding(4) var<storage, read_write> items: array<i32>;   // roots of each row
@group(0) @binding(5) var<storage, read_write> grad: array<f32>;    // [roots, WIDTH]
@group(0) @binding(6) var<storage, read_write> d: array<f32>;       // [rows, WIDTH], then [rows, SHARES, PITCH]
@group(0) @binding(7) var<uniform> sizes: array<vec4<u32>, 2>;      // rows, roots, bits of epsilon, rows that roots have

var<workgroup> kept: array<f32, WIDTH>;
var<workgroup> d_y: array<f32, WIDTH>;

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
    let parameters = sizes[0].y * WIDTH;
    var sum = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let x = table[row * WIDTH + c];
        kept[c] = x;
        sum = sum + x;
    }
    let mean = total(local, sum) / f32(WIDTH);
    var squares = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let distance = kept[c] - mean;
        squares = squares + distance * distance;
    }
    let scale = 1.0 / sqrt(total(local, squares) / f32(WIDTH) + bitcast<f32>(sizes[0].z));

    // No root has a row behind those that roots have.
    var first = 0u;
    var end = 0u;
    if (row < sizes[0].w) {
        first = u32(offsets[row]);
        end = u32(offsets[row + 1u]);
    }
    let shares = sizes[0].x * WIDTH + row * SHARES * PITCH;
    var of_g = 0.0;
    var of_g_n = 0.0;
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        var s = 0.0;
        var t = 0.0;
        for (var i = first; i < end; i = i + 1u) {
            let root = u32(items[i]);
            let of_root = grad[root * WIDTH + c];
            s = s + of_root;
            if (PROJECTED == 1u) {
                t = t + of_root * recency[root];
            }
        }
        let n = (kept[c] - mean) * scale;
        let gamma = made[parameters + c];
        var of_y = s;
        if (PROJECTED == 1u) {
            let y = n * gamma + made[parameters + WIDTH + c];
            of_y = s + s * made[parameters + 3u * WIDTH + c] + t * made[parameters + 2u * WIDTH + c];
            d[shares + 2u * PITCH + c] = t * y;
            d[shares + 3u * PITCH + c] = s * y;
        }
        d[shares + c] = of_y * n;
        d[shares + PITCH + c] = of_y;
        d_y[c] = of_y * gamma;
        of_g = of_g + of_y * gamma;
        of_g_n = of_g_n + of_y * gamma * n;
    }
    let mean_g = total(local, of_g) / f32(WIDTH);
    let mean_g_n = total(local, of_g_n) / f32(WIDTH);
    for (var c = local; c < WIDTH; c = c + WORKGROUP) {
        let n = (kept[c] - mean) * scale;
        d[row * WIDTH + c] = scale * (d_y[c] - mean_g - n * mean_g_n);
    }
}
