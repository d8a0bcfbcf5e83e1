// out = base + a b for each head: a is [m, k], b [k, n], both with any strides, so that
// transposed factors and heads that lie side by side need no copies. Base is nothing, one row
// for all, or a matrix like out: what out holds, or another.
// For software adapters, on which a load from a buffer costs as much as a hundred multiply-adds:
// an invocation takes 32 by 20 numbers of out and keeps them in registers.

@group(0) @binding(0) var<storage, read_write> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> base: array<f32>; // not read if base is nothing
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> sizes: array<vec4<u32>, 4>; // m, k, n, heads ; of a: distance of rows, of columns, of heads, first element ; the same of b ; of out: rows, heads, first element, and what base is

const NOTHING: u32 = 0u;
const ROW: u32 = 1u;
const MATRIX: u32 = 2u;

// Places of four rows or columns from `first` on; those past the end read the last one again.
fn places(first: u32, end: u32, stride: u32) -> vec4<u32> {
    return min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(end - 1u)) * stride;
}

fn load_a(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(a[at.x], a[at.y], a[at.z], a[at.w]);
}

fn load_b(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(b[at.x], b[at.y], b[at.z], b[at.w]);
}

fn add_outer(sum: mat4x4<f32>, x: vec4<f32>, y: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4<f32>(x.x), y, sum[0]),
        fma(vec4<f32>(x.y), y, sum[1]),
        fma(vec4<f32>(x.z), y, sum[2]),
        fma(vec4<f32>(x.w), y, sum[3]),
    );
}

fn write(tile: mat4x4<f32>, row: u32, column: u32, head: u32) {
    for (var i = 0u; i < 4u; i = i + 1u) {
        let at = sizes[3].z + head * sizes[3].y + (row + i) * sizes[3].x + column;
        for (var j = 0u; j < 4u; j = j + 1u) {
            if (row + i < sizes[0].x && column + j < sizes[0].z) {
                var sum = tile[i][j];
                // Added last, whichever it is: an output of one row may be taken for either.
                if (sizes[3].w == ROW) {
                    sum = sum + base[column + j];
                } else if (sizes[3].w == MATRIX) {
                    sum = sum + base[at + j];
                }
                out[at + j] = sum;
            }
        }
    }
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let m = sizes[0].x;
    let n = sizes[0].z;
    let across = (n + 19u) / 20u;
    let down = (m + 31u) / 32u;
    let tile = linear_group(group, groups) * 8u + local;
    let head = tile / (across * down);
    if (head >= sizes[0].w) {
        return;
    }
    let row = tile / across % down * 32u;
    let column = tile % across * 20u;

    let at_a = sizes[1].w + head * sizes[1].z;
    let at_b = sizes[2].w + head * sizes[2].z;
    let a0 = at_a + places(row, m, sizes[1].x);
    let a1 = at_a + places(row + 4u, m, sizes[1].x);
    let a2 = at_a + places(row + 8u, m, sizes[1].x);
    let a3 = at_a + places(row + 12u, m, sizes[1].x);
    let a4 = at_a + places(row + 16u, m, sizes[1].x);
    let a5 = at_a + places(row + 20u, m, sizes[1].x);
    let a6 = at_a + places(row + 24u, m, sizes[1].x);
    let a7 = at_a + places(row + 28u, m, sizes[1].x);
    let b0 = at_b + places(column, n, sizes[2].y);
    let b1 = at_b + places(column + 4u, n, sizes[2].y);
    let b2 = at_b + places(column + 8u, n, sizes[2].y);
    let b3 = at_b + places(column + 12u, n, sizes[2].y);
    let b4 = at_b + places(column + 16u, n, sizes[2].y);

    var t00 = mat4x4<f32>();
    var t01 = t00;
    var t02 = t00;
    var t03 = t00;
    var t04 = t00;
    var t10 = t00;
    var t11 = t01;
    var t12 = t02;
    var t13 = t03;
    var t14 = t04;
    var t20 = t00;
    var t21 = t01;
    var t22 = t02;
    var t23 = t03;
    var t24 = t04;
    var t30 = t00;
    var t31 = t01;
    var t32 = t02;
    var t33 = t03;
    var t34 = t04;
    var t40 = t00;
    var t41 = t01;
    var t42 = t02;
    var t43 = t03;
    var t44 = t04;
    var t50 = t00;
    var t51 = t01;
    var t52 = t02;
    var t53 = t03;
    var t54 = t04;
    var t60 = t00;
    var t61 = t01;
    var t62 = t02;
    var t63 = t03;
    var t64 = t04;
    var t70 = t00;
    var t71 = t01;
    var t72 = t02;
    var t73 = t03;
    var t74 = t04;
    for (var c = 0u; c < sizes[0].y; c = c + 1u) {
        let y0 = load_b(b0 + c * sizes[2].x);
        let y1 = load_b(b1 + c * sizes[2].x);
        let y2 = load_b(b2 + c * sizes[2].x);
        let y3 = load_b(b3 + c * sizes[2].x);
        let y4 = load_b(b4 + c * sizes[2].x);
        let x0 = load_a(a0 + c * sizes[1].y);
        t00 = add_outer(t00, x0, y0);
        t01 = add_outer(t01, x0, y1);
        t02 = add_outer(t02, x0, y2);
        t03 = add_outer(t03, x0, y3);
        t04 = add_outer(t04, x0, y4);
        let x1 = load_a(a1 + c * sizes[1].y);
        t10 = add_outer(t10, x1, y0);
        t11 = add_outer(t11, x1, y1);
        t12 = add_outer(t12, x1, y2);
        t13 = add_outer(t13, x1, y3);
        t14 = add_outer(t14, x1, y4);
        let x2 = load_a(a2 + c * sizes[1].y);
        t20 = add_outer(t20, x2, y0);
        t21 = add_outer(t21, x2, y1);
        t22 = add_outer(t22, x2, y2);
        t23 = add_outer(t23, x2, y3);
        t24 = add_outer(t24, x2, y4);
        let x3 = load_a(a3 + c * sizes[1].y);
        t30 = add_outer(t30, x3, y0);
        t31 = add_outer(t31, x3, y1);
        t32 = add_outer(t32, x3, y2);
        t33 = add_outer(t33, x3, y3);
        t34 = add_outer(t34, x3, y4);
        let x4 = load_a(a4 + c * sizes[1].y);
        t40 = add_outer(t40, x4, y0);
        t41 = add_outer(t41, x4, y1);
        t42 = add_outer(t42, x4, y2);
        t43 = add_outer(t43, x4, y3);
        t44 = add_outer(t44, x4, y4);
        let x5 = load_a(a5 + c * sizes[1].y);
        t50 = add_outer(t50, x5, y0);
        t51 = add_outer(t51, x5, y1);
        t52 = add_outer(t52, x5, y2);
        t53 = add_outer(t53, x5, y3);
        t54 = add_outer(t54, x5, y4);
        let x6 = load_a(a6 + c * sizes[1].y);
        t60 = add_outer(t60, x6, y0);
        t61 = add_outer(t61, x6, y1);
        t62 = add_outer(t62, x6, y2);
        t63 = add_outer(t63, x6, y3);
        t64 = add_outer(t64, x6, y4);
        let x7 = load_a(a7 + c * sizes[1].y);
        t70 = add_outer(t70, x7, y0);
        t71 = add_outer(t71, x7, y1);
        t72 = add_outer(t72, x7, y2);
        t73 = add_outer(t73, x7, y3);
        t74 = add_outer(t74, x7, y4);
    }

    // A loop that no compiler unrolls: a driver makes much code of each load and store.
    for (var i = 0u; i < min(32u, m - row); i = i + 4u) {
        for (var j = 0u; j < min(20u, n - column); j = j + 4u) {
            var sum = t00;
            switch i / 4u * 5u + j / 4u {
                case 1u: { sum = t01; }
                case 2u: { sum = t02; }
                case 3u: { sum = t03; }
                case 4u: { sum = t04; }
                case 5u: { sum = t10; }
                case 6u: { sum = t11; }
                case 7u: { sum = t12; }
                case 8u: { sum = t13; }
                case 9u: { sum = t14; }
                case 10u: { sum = t20; }
                case 11u: { sum = t21; }
                case 12u: { sum = t22; }
                case 13u: { sum = t23; }
                case 14u: { sum = t24; }
                case 15u: { sum = t30; }
                case 16u: { sum = t31; }
                case 17u: { sum = t32; }
                case 18u: { sum = t33; }
                case 19u: { sum = t34; }
                case 20u: { sum = t40; }
                case 21u: { sum = t41; }
                case 22u: { sum = t42; }
                case 23u: { sum = t43; }
                case 24u: { sum = t44; }
                case 25u: { sum = t50; }
                case 26u: { sum = t51; }
                case 27u: { sum = t52; }
                case 28u: { sum = t53; }
                case 29u: { sum = t54; }
                case 30u: { sum = t60; }
                case 31u: { sum = t61; }
                case 32u: { sum = t62; }
                case 33u: { sum = t63; }
                case 34u: { sum = t64; }
                case 35u: { sum = t70; }
                case 36u: { sum = t71; }
                case 37u: { sum = t72; }
                case 38u: { sum = t73; }
                case 39u: { sum = t74; }
                default: {}
            }
            write(sum, row + i, column + j, head);
        }
    }
}
