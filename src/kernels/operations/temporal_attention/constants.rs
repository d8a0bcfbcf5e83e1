//! Constants that are put into the texts of the attention's shaders, and the settings that the
//! validation test tries.

/// Constants of the kernel that sums node rows: heads, fanout, widths of a node row, of an
/// edge feature row and of the time encoding.
pub(super) const fn row_constants(of: [u32; 5]) -> [(&'static str, u32); 5] {
    let [heads, fanout, node, edge, time] = of;
    [
        ("HEADS", heads),
        ("FANOUT", fanout),
        ("NODE", node),
        ("EDGE", edge),
        ("TIME", time),
    ]
}

/// Constants of the two kernels that take one root a workgroup: the same, the workgroup's
/// invocations, how many of them share one dot product, and whether loops stay loops.
pub(super) const fn root_constants(
    of: [u32; 5],
    workgroup: u32,
    lanes: u32,
    rolled: bool,
) -> [(&'static str, u32); 8] {
    let [heads, fanout, node, edge, time] = row_constants(of);
    [
        heads,
        fanout,
        node,
        edge,
        time,
        ("WORKGROUP", workgroup),
        ("LANES", lanes),
        ("ROLLED", rolled as u32),
    ]
}

/// Wikipedia, no edge features, one slot, more pairs than invocations.
const SHAPES: [[u32; 5]; 4] = [
    [2, 10, 100, 172, 100],
    [1, 20, 16, 0, 12],
    [1, 1, 1, 1, 1],
    [8, 20, 100, 172, 64],
];

pub(super) const ROOT_VARIANTS: &[&[(&str, u32)]] = &[
    &root_constants(SHAPES[0], 128, 32, false),
    &root_constants(SHAPES[0], 8, 8, true),
    &root_constants(SHAPES[1], 128, 32, false),
    &root_constants(SHAPES[2], 128, 32, false),
    &root_constants(SHAPES[2], 8, 8, true),
    &root_constants(SHAPES[3], 128, 4, false),
];

pub(super) const ROW_VARIANTS: &[&[(&str, u32)]] = &[
    &row_constants(SHAPES[0]),
    &row_constants(SHAPES[1]),
    &row_constants(SHAPES[2]),
    &row_constants(SHAPES[3]),
];
