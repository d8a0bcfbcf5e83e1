// What gradients are multiplied by so that their norm is no larger than asked for:
// min(1, largest / (norm + 1e-6)), as PyTorch's clip_grad_norm_ has it; what is not finite stays so
// and reaches all weights, where it is found. One workgroup; each of its invocations adds every
// 64th sum of squares, then the sums are added in a fixed order.

const WORKGROUP: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> sums: array<f32>;    // [sums]
@group(0) @binding(1) var<storage, read_write> moments: array<f32>; // its last number is the result
@group(0) @binding(2) var<uniform> sizes: array<vec4<u32>, 2>;      // sums, place of the result, bits of the largest norm

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var i = local; i < sizes[0].x; i = i + WORKGROUP) {
        sum = sum + sums[i];
    }
    let squares = total(local, sum);
    if (local == 0u) {
        var scale = squares;
        if (is_finite(squares)) {
            scale = min(1.0, bitcast<f32>(sizes[0].z) / (sqrt(squares) + 1e-6));
        }
        moments[sizes[0].y] = scale;
    }
}
