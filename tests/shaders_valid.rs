//! Every WGSL text without a GPU, as on disk and with the variants of its specification: under naga,
//! and under `spirv-val` and Tint where they are installed.
//!
//! What drivers then make of the SPIR-V, HLSL or MSL is not tested here.

/// Every text under Tint.
mod tint;
/// SPIR-V, HLSL and MSL: translatable, of known sizes, SPIR-V valid.
mod translations;
/// Barriers are reached by whole workgroups.
mod uniformity;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use mspipe::kernels::wgsl::{KernelSpec, MAX_STORAGE_BUFFERS};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};

/// Invocations and workgroup memory that WebGPU guarantees.
const MOST_INVOCATIONS: u32 = 256;
const MOST_WORKGROUP_BYTES: u32 = 16_384;

/// Calls `check` with each kernel as on disk and with each of its variants: its specification,
/// a label, the text and the invocations of a workgroup.
fn for_each_text(mut check: impl FnMut(&KernelSpec, &str, &str, u32)) {
    for spec in mspipe::kernels::ALL {
        let on_disk: &[(&str, u32)] = &[];
        for constants in std::iter::once(&on_disk).chain(spec.variants) {
            let label = format!("shaders/{}.wgsl with {constants:?}", spec.name);
            let workgroup = constants.iter().find(|(name, _)| *name == "WORKGROUP");
            let workgroup = workgroup.map_or(spec.workgroup, |(_, value)| *value);
            check(spec, &label, &spec.text(constants), workgroup);
        }
    }
}

/// Parses and validates with no capability beyond plain WGSL: no f16, f64, 64-bit
/// integers, subgroups, float atomics.
fn module(label: &str, text: &str) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|error| panic!("{label}: {}", error.emit_to_string(text)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{label}: {}", error.emit_to_string(text)));
    (module, info)
}

/// Says that a check was not made, past libtest, which shows what a test prints only if it fails.
fn not_run(what: &str) {
    let _ = writeln!(std::io::stderr(), "not run: {what}");
}

/// Only storage buffers that are `read_write` (burn hands out slices of one buffer) from
/// binding 0, then one uniform; all of them used, because wgpu derives the layout from
/// what is used.
#[test]
fn bindings_are_as_declared() {
    for_each_text(|spec, label, text, _| {
        let (module, info) = module(label, text);
        let mut spaces = Vec::new();
        for (handle, variable) in module.global_variables.iter() {
            let Some(binding) = variable.binding else {
                continue;
            };
            assert_eq!(binding.group, 0, "{label}: {:?}", variable.name);
            let used = info.get_entry_point(0)[handle];
            assert!(!used.is_empty(), "{label}: {:?} is not used", variable.name);
            spaces.push((binding.binding, variable.space));
        }
        spaces.sort_by_key(|(binding, _)| *binding);
        let read_write = StorageAccess::LOAD | StorageAccess::STORE;
        let mut expected =
            vec![AddressSpace::Storage { access: read_write }; spec.storage_buffers as usize];
        expected.push(AddressSpace::Uniform);
        let expected: Vec<_> = (0..).zip(expected).collect();
        assert_eq!(spaces, expected, "{label}");
    });
}

#[test]
fn entry_point_and_limits_are_as_declared() {
    for_each_text(|_, label, text, workgroup| {
        let (module, _) = module(label, text);
        let [entry] = module.entry_points.as_slice() else {
            panic!("{label}: {} entry points", module.entry_points.len());
        };
        assert_eq!(
            (entry.name.as_str(), entry.stage),
            ("main", ShaderStage::Compute),
            "{label}"
        );
        assert_eq!(entry.workgroup_size, [workgroup, 1, 1], "{label}");
        assert!(workgroup <= MOST_INVOCATIONS, "{label}");
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
            .sum();
        assert!(
            bytes <= MOST_WORKGROUP_BYTES,
            "{label}: {bytes} bytes of workgroup memory"
        );
        for (_, ty) in module.types.iter() {
            assert!(
                !matches!(ty.inner, TypeInner::Atomic(_)),
                "{label}: {:?} is atomic",
                ty.name
            );
        }
    });
}

#[test]
fn no_text_binds_more_storage_buffers_than_webgpu_guarantees() {
    let widest = mspipe::kernels::ALL
        .iter()
        .map(|spec| spec.storage_buffers)
        .max();
    assert_eq!(widest, Some(MAX_STORAGE_BUFFERS));
    let guaranteed = wgpu::Limits::default().max_storage_buffers_per_shader_stage;
    assert_eq!(guaranteed, 8);
    for_each_text(|_, label, text, _| {
        let (module, _) = module(label, text);
        let storage = module
            .global_variables
            .iter()
            .filter(|(_, of)| matches!(of.space, AddressSpace::Storage { .. }));
        let bound = storage.count();
        assert!(bound <= guaranteed as usize, "{label} binds {bound}");
    });
}

#[test]
fn all_names_each_file_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let texts = |folder: &Path| -> BTreeSet<(String, String)> {
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path());
        files
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "wgsl")
            })
            .map(|path| {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(&path).unwrap())
            })
            .collect()
    };
    let listed: Vec<_> = mspipe::kernels::ALL
        .iter()
        .map(|spec| (spec.name.to_owned(), spec.source.to_owned()))
        .collect();
    let distinct: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(distinct.len(), listed.len(), "a kernel is listed twice");
    assert_eq!(distinct, texts(&folder));

    let shared: BTreeSet<_> = mspipe::kernels::ALL
        .iter()
        .flat_map(|spec| spec.shared)
        .map(|text| (*text).to_owned())
        .collect();
    let on_disk: BTreeSet<_> = texts(&folder.join("shared"))
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        shared, on_disk,
        "texts of shaders/shared/ and what the kernels append"
    );
}

#[test]
#[should_panic(expected = "does not declare all of")]
fn a_constant_that_a_file_does_not_declare_is_refused() {
    mspipe::kernels::ALL[0].text(&[("NO_SUCH_CONSTANT", 1)]);
}
