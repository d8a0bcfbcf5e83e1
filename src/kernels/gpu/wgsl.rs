//! From a WGSL file to a launch.
//!
//! A shader on disk is valid WGSL. Rust replaces only the value in its
//! `const NAME: u32 = …;` lines and appends shared text (WGSL takes declarations in
//! any order). Every substituted value is part of the pipeline-cache key.
//!
//! All storage bindings are `read_write`: burn's allocator hands out slices of one
//! buffer, and wgpu refuses a buffer that is bound for reading and writing at once.

use std::fmt::Write as _;

use burn::backend::wgpu::{
    CubeDim, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous,
};
use burn::cubecl::prelude::*;
use burn::cubecl::server::{KernelArguments, MetadataBindingInfo};
use burn::tensor::{DType, Shape};

use super::settled;
use crate::profiler;

/// Largest number of workgroups that every backend takes along one axis.
const MAX_GROUPS_PER_AXIS: u32 = 65_535;

/// Storage buffers that the widest kernel binds; an adapter must offer as many. WebGPU guarantees eight.
pub const MAX_STORAGE_BUFFERS: u32 = 8;

/// Sizes that a launch may have: those of a step of the optimiser name each parameter.
const MAX_SIZES: usize = 264;

/// One WGSL kernel: its text and what may be substituted in it.
#[derive(Debug)]
pub struct KernelSpec {
    /// Name of the file in `shaders/`, of the launcher and of the CPU kernel.
    pub name: &'static str,
    /// Text of the file.
    pub source: &'static str,
    /// Texts of `shaders/shared/` that it uses.
    pub shared: &'static [&'static str],
    /// Invocations of a workgroup, as the file declares them; where it has a constant
    /// `WORKGROUP`, that counts.
    pub workgroup: u32,
    /// Storage buffers it binds, from binding 0; the sizes uniform follows them.
    pub storage_buffers: u32,
    /// Constant settings that the validation test tries beside those on disk.
    pub variants: &'static [&'static [(&'static str, u32)]],
}

impl KernelSpec {
    /// The complete text with `constants` substituted.
    ///
    /// # Panics
    /// When the file declares no such constant: a mismatch of the two files, which
    /// the validation test finds.
    pub fn text(&self, constants: &[(&'static str, u32)]) -> String {
        let mut text = String::with_capacity(self.source.len() + 256);
        let mut replaced = 0;
        for line in self.source.lines() {
            let constant = constants.iter().find(|(name, _)| {
                line.strip_prefix("const ")
                    .and_then(|rest| rest.strip_prefix(name))
                    .is_some_and(|rest| rest.starts_with(": u32"))
            });
            match constant {
                Some((name, value)) => {
                    replaced += 1;
                    let _ = writeln!(text, "const {name}: u32 = {value}u;");
                }
                None => {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        assert_eq!(
            replaced,
            constants.len(),
            "shaders/{}.wgsl does not declare all of {constants:?}",
            self.name
        );
        for shared in self.shared {
            text.push_str(shared);
        }
        text
    }
}

/// Index arithmetic of a two-dimensional dispatch, `shaders/shared/rows.wgsl`.
pub(crate) const ROWS: &str = include_str!("../../../shaders/shared/rows.wgsl");
/// Cosine and sine of any f32, `shaders/shared/cosine.wgsl`.
pub(crate) const COSINE: &str = include_str!("../../../shaders/shared/cosine.wgsl");
/// What becomes of NaN and infinity, `shaders/shared/finite.wgsl`.
pub(crate) const FINITE: &str = include_str!("../../../shaders/shared/finite.wgsl");
/// Activations of recurrent cells, `shaders/shared/gates.wgsl`.
pub(crate) const GATES: &str = include_str!("../../../shaders/shared/gates.wgsl");
/// What both passes of the attention do, `shaders/shared/attention.wgsl`.
pub(crate) const ATTENTION: &str = include_str!("../../../shaders/shared/attention.wgsl");
/// Sum over a workgroup, `shaders/shared/total.wgsl`.
pub(crate) const TOTAL: &str = include_str!("../../../shaders/shared/total.wgsl");
/// Counter-based random bits, `shaders/shared/counter_hash.wgsl`.
pub(crate) const COUNTER_HASH: &str = include_str!("../../../shaders/shared/counter_hash.wgsl");

/// A kernel text with its constants, as burn's template kernel.
struct Wgsl {
    spec: &'static KernelSpec,
    constants: Vec<(&'static str, u32)>,
}

impl KernelSource for Wgsl {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.spec.text(&self.constants))
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info((self.spec.name, self.constants.clone()))
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Launches `groups` workgroups of `spec` over `buffers` (in binding order) with
/// `sizes` in the uniform that follows them.
///
/// Does nothing for zero groups. The kernel finds its workgroup's number with
/// `linear_group` of `shared/rows.wgsl`, so any count up to 65,535² is possible.
///
/// # Panics
/// When the number of buffers or sizes is not what the kernel declares, or a tensor is
/// strided: kernels know shapes only.
pub(crate) fn launch(
    spec: &'static KernelSpec,
    constants: &[(&'static str, u32)],
    groups: usize,
    buffers: &[&CubeTensor],
    sizes: &[u32],
) {
    if groups == 0 {
        return;
    }
    let _launch = profiler::launch(spec.name);
    assert_eq!(buffers.len() as u32, spec.storage_buffers, "{}", spec.name);
    assert!(
        buffers.iter().all(|tensor| tensor.is_contiguous()),
        "{}",
        spec.name
    );
    assert!(sizes.len() <= MAX_SIZES, "{}: {sizes:?}", spec.name);
    let groups = u32::try_from(groups).unwrap_or(u32::MAX);
    let x = groups.min(MAX_GROUPS_PER_AXIS);
    let y = groups.div_ceil(x);
    assert!(y <= MAX_GROUPS_PER_AXIS, "{}: {groups} groups", spec.name);

    // u32 in vec4 of the uniform, at least two, packed two to a u64 as the runtime takes them.
    let mut words = [0u32; MAX_SIZES];
    words[..sizes.len()].copy_from_slice(sizes);
    let info = words[..sizes.len().next_multiple_of(4).max(8)]
        .chunks_exact(2)
        .map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32)
        .collect();

    let kernel = Wgsl {
        spec,
        constants: constants.to_vec(),
    };
    buffers[0].client.launch(
        Box::new(SourceKernel::new(kernel, CubeDim::new_1d(spec.workgroup))),
        CubeCount::Static(x, y, 1),
        KernelArguments::new()
            .with_buffers(
                buffers
                    .iter()
                    .map(|tensor| tensor.handle.clone().binding())
                    .collect(),
            )
            .with_info(MetadataBindingInfo::custom(info)),
    );
}

/// Invocations of a workgroup that takes one row together: `usual` of them, or as many as the
/// device's kernels have at most.
pub(crate) fn row_workgroup(tensor: &CubeTensor, usual: u32) -> u32 {
    usual.min(settled::kernels_of(tensor).row_workgroup)
}

/// Workgroups of `workgroup` invocations that cover `invocations`.
pub(crate) fn groups_of(invocations: usize, workgroup: u32) -> usize {
    invocations.div_ceil(workgroup as usize)
}

/// An uninitialised contiguous tensor beside `like`, f32.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    burn_cubecl::ops::numeric::empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        shape.into(),
        DType::F32,
    )
}

/// The first numbers of a contiguous tensor, as one of this shape.
pub(crate) fn beginning(of: &CubeTensor, shape: Shape) -> CubeTensor {
    debug_assert!(shape.num_elements() <= of.meta.shape().num_elements());
    CubeTensor::new_contiguous(
        of.client.clone(),
        of.device.clone(),
        shape,
        of.handle.clone(),
        of.dtype,
    )
}

/// A contiguous tensor that a kernel may write: this one unless somebody else holds it too.
pub(crate) fn writable(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() || tensor.meta.shape().num_elements() == 0 {
        tensor
    } else {
        tensor.copy()
    }
}
