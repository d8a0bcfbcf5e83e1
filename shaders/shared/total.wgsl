
// A file that uses this says how many invocations a workgroup has (`WORKGROUP`, a power of two).

var<workgroup> lane_sum: array<f32, WORKGROUP>;

// Sum over the workgroup, the same for every invocation.
fn total(local: u32, value: f32) -> f32 {
    workgroupBarrier();
    lane_sum[local] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (local < half) {
            lane_sum[local] = lane_sum[local] + lane_sum[local + half];
        }
    }
    workgroupBarrier();
    return lane_sum[0];
}
