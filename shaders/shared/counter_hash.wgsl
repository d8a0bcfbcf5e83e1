
// 32 random bits for a counter: pcg4d (Jarzynski and Olano, "Hash Functions for GPU
// Rendering", JCGT 9(3), 2020). CPU kernel: kernels/cpu/counter_hash.rs.
fn counter_hash(counter: vec4<u32>) -> u32 {
    var v = counter * 1664525u + 1013904223u;
    v.x = v.x + v.y * v.w;
    v.y = v.y + v.z * v.x;
    v.z = v.z + v.x * v.y;
    v.w = v.w + v.y * v.z;
    v = v ^ (v >> vec4<u32>(16u));
    v.x = v.x + v.y * v.w;
    return v.x;
}
