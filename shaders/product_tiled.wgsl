// out = base + a b for each head, as product.wgsl has it, for GPUs: one product, two, or two that are added up (a b + a2 b2 in one
// out). A workgroup takes TILE by TILE numbers of out. It copies STAGE terms of their sums at a time to workgroup memory; each of
// LANES groups of invocations adds TERMS of these, four by four numbers an invocation, and in the end the LANES partial sums of a
// number are added in ascending order. Which terms a lane adds depends on nothing but their place, so a row of out is the same
// whatever else is computed.

const TILE: u32 = 8u; // 8, 16 or 32
const ACROSS: u32 = TILE / 4u;
const PLACES: u32 = ACROSS * ACROSS;
const LANES: u32 = 128u / PLACES;
const STAGE: u32 = 1024u / TILE;
const TERMS: u32 = STAGE / LANES;
const PITCH: u32 = TILE + 1u; // odd, so that neighbours don't share a bank
const STAGED: u32 = STAGE * PITCH;

@group(0) @binding(0) var<storage, read_write> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> base: array<f32>;  // one row, or as out (out itself, or another), or a table of rows, or where sums of b's rows go
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> a2: array<f32>;
@group(0) @binding(5) var<storage, read_write> b2: array<f32>;
@group(0) @binding(6) var<storage, read_write> base2: array<f32>; // as base; of one product the row of the table for each row of out, as bits
@group(0) @binding(7) var<storage, read_write> out2: array<f32>;
@group(0) @binding(8) var<uniform> sizes: array<vec4<u32>, 8>;    // of each of two products: m, k, n, heads ; of a: distance of rows, of columns, of heads, first element ; the same of b ; of out: rows, heads, first element, and what base is

// What base is. Where it takes the sums, a has one more row, of ones, and its products are theirs.
const ROW: u32 = 1u;
const MATRIX: u32 = 2u;
const TABLE: u32 = 3u;
const SUMS: u32 = 4u;
// Beside it: the second product is added to the first.
const ADDED: u32 = 16u;

// The stage: STAGE terms of TILE rows of a, then of TILE columns of b. Then the partial sums.
var<workgroup> shared_numbers: array<f32, 2304>;

fn load_a(second: bool, at: u32) -> f32 {
    if (second) {
        return a2[at];
    }
    return a[at];
}

fn load_b(second: bool, at: u32) -> f32 {
    if (second) {
        return b2[at];
    }
    return b[at];
}

// Copies terms from `first` on of the rows from `row` on of product `which`.
fn stage_a(which: u32, head: u32, row: u32, first: u32, local: u32) {
    let size = sizes[which];
    let place = sizes[which + 1u];
    let start = place.w + head * place.z;
    let ones = (sizes[which + 3u].w & 15u) == SUMS;
    for (var i = local; i < TILE * STAGE; i = i + 128u) {
        // Neighbours read what lies side by side.
        var r = i % TILE;
        var term = i / TILE;
        if (place.y == 1u) {
            r = i / STAGE;
            term = i % STAGE;
        }
        var number = 0.0;
        if (row + r < size.x && first + term < size.y) {
            if (ones && row + r + 1u == size.x) {
                number = 1.0;
            } else {
                number = load_a(which > 0u, start + (row + r) * place.x + (first + term) * place.y);
            }
        }
        shared_numbers[term * PITCH + r] = number;
    }
}

// The same of the columns of b from `column` on.
fn stage_b(which: u32, head: u32, column: u32, first: u32, local: u32) {
    let size = sizes[which];
    let place = sizes[which + 2u];
    let start = place.w + head * place.z;
    for (var i = local; i < TILE * STAGE; i = i + 128u) {
        var c = i % TILE;
        var term = i / TILE;
        if (place.x == 1u) {
            c = i / STAGE;
            term = i % STAGE;
        }
        var number = 0.0;
        if (column + c < size.z && first + term < size.y) {
            number = load_b(which > 0u, start + (first + term) * place.x + (column + c) * place.y);
        }
        shared_numbers[STAGED + term * PITCH + c] = number;
    }
}

fn four(at: u32) -> vec4<f32> {
    return vec4<f32>(
        shared_numbers[at],
        shared_numbers[at + 1u],
        shared_numbers[at + 2u],
        shared_numbers[at + 3u],
    );
}

// `sums` and the terms of product `which` that this invocation adds.
fn added(sums: mat4x4<f32>, which: u32, head: u32, corner: vec2<u32>, local: u32) -> mat4x4<f32> {
    let lane = local / PLACES;
    let r = local % PLACES / ACROSS * 4u;
    let c = local % ACROSS * 4u;
    var t = sums;
    let k = sizes[which].y;
    for (var first = 0u; first < k; first = first + STAGE) {
        workgroupBarrier();
        stage_a(which, head, corner.x, first, local);
        stage_b(which, head, corner.y, first, local);
        workgroupBarrier();
        for (var i = 0u; i < TERMS; i = i + 1u) {
            let term = (lane * TERMS + i) * PITCH;
            let x = four(term + r);
            let y = four(STAGED + term + c);
            t = mat4x4<f32>(
                fma(vec4<f32>(x.x), y, t[0]),
                fma(vec4<f32>(x.y), y, t[1]),
                fma(vec4<f32>(x.z), y, t[2]),
                fma(vec4<f32>(x.w), y, t[3]),
            );
        }
    }
    return t;
}

// Writes a number of out, or of the sums of b's rows.
fn write(which: u32, head: u32, row: u32, column: u32, sum: f32) {
    let size = sizes[which];
    if (row >= size.x || column >= size.z) {
        return;
    }
    let place = sizes[which + 3u];
    let kind = place.w & 15u;
    let at = place.z + head * place.y + row * place.x + column;
    if (which > 0u) {
        if (kind == SUMS && row + 1u == size.x) {
            base2[column] = sum;
        } else if (kind == ROW) {
            out2[at] = sum + base2[column];
        } else if (kind == MATRIX) {
            out2[at] = sum + base2[at];
        } else {
            out2[at] = sum;
        }
        return;
    }
    if (kind == SUMS && row + 1u == size.x) {
        base[column] = sum;
    } else if (kind == ROW) {
        out[at] = sum + base[column];
    } else if (kind == MATRIX) {
        out[at] = sum + base[at];
    } else if (kind == TABLE) {
        out[at] = sum + base[bitcast<u32>(base2[row]) * size.z + column];
    } else {
        out[at] = sum;
    }
}

// Tiles of product `which`.
fn tiles(which: u32) -> u32 {
    let size = sizes[which];
    return (size.x + TILE - 1u) / TILE * ((size.z + TILE - 1u) / TILE) * size.w;
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var number = linear_group(group, groups);
    var which = 0u;
    if (number >= tiles(0u)) {
        number = number - tiles(0u);
        which = 4u;
    }
    if (number >= tiles(which)) {
        return;
    }
    let across = (sizes[which].z + TILE - 1u) / TILE;
    let down = (sizes[which].x + TILE - 1u) / TILE;
    let head = number / (across * down);
    let corner = vec2<u32>(number / across % down, number % across) * TILE;

    var t = added(mat4x4<f32>(), which, head, corner, local);
    if ((sizes[which + 3u].w & ADDED) != 0u) {
        t = added(t, 4u, head, corner, local);
    }

    workgroupBarrier();
    let first = local / PLACES * (TILE * TILE) + (local % PLACES / ACROSS) * 4u * TILE + local % ACROSS * 4u;
    for (var r = 0u; r < 4u; r = r + 1u) {
        for (var c = 0u; c < 4u; c = c + 1u) {
            shared_numbers[first + r * TILE + c] = t[r][c];
        }
    }
    workgroupBarrier();
    for (var i = local; i < TILE * TILE; i = i + 128u) {
        var sum = shared_numbers[i];
        for (var lane = 1u; lane < LANES; lane = lane + 1u) {
            sum = sum + shared_numbers[lane * TILE * TILE + i];
        }
        write(which, head, corner.x + i / TILE, corner.y + i % TILE, sum);
    }
}
