//! What wgpu makes of each text for Vulkan, DX12 and Metal: by naga, with the options that cubecl's
//! launches have (no checks of bounds, loops or divisions, workgroup memory as it is).
//!
//! Their sizes are kept, so that a change of naga or of a text that changes what drivers get is seen. A
//! change that was meant renews them:
//! `MSPIPE_TEST_RECORD=1 cargo test --release --test tests shaders_valid`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use naga::back::{hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::ModuleInfo;
use naga::{Module, ShaderStage};

/// SPIR-V of the oldest and of the newest Vulkan that wgpu tells apart, and what `spirv-val` calls them.
const SPIRV: [((u8, u8), &str); 2] = [((1, 3), "vulkan1.1"), ((1, 6), "vulkan1.3")];

/// wgpu-hal 30, `vulkan/adapter.rs` and `vulkan/device.rs`.
fn spirv(label: &str, module: &Module, info: &ModuleInfo, version: (u8, u8)) -> Vec<u32> {
    // Of the capabilities that wgpu allows, those that every device has.
    let capabilities = [
        spv::Capability::Shader,
        spv::Capability::Matrix,
        spv::Capability::Sampled1D,
        spv::Capability::Image1D,
        spv::Capability::ImageQuery,
        spv::Capability::DerivativeControl,
        spv::Capability::StorageImageExtendedFormats,
    ];
    let options = spv::Options {
        lang_version: version,
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: BoundsCheckPolicies::default(),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    let entry = spv::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: "main".to_owned(),
    };
    spv::write_vec(module, info, &options, Some(&entry))
        .unwrap_or_else(|error| panic!("{label} as SPIR-V: {error}"))
}

/// wgpu-hal 30, `dx12/device.rs`; the shader model of a machine without `dxcompiler.dll`.
fn hlsl(label: &str, module: &Module, info: &ModuleInfo) -> String {
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V5_1,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..hlsl::Options::default()
    };
    let entry = hlsl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, "main".to_owned())),
    };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &entry)
        .write(module, info, None)
        .unwrap_or_else(|error| panic!("{label} as HLSL: {error}"));
    text
}

/// wgpu-hal 30, `metal/device.rs`; the language of macOS 14.
fn msl(label: &str, module: &Module, info: &ModuleInfo) -> String {
    let options = msl::Options {
        lang_version: (3, 1),
        bounds_check_policies: BoundsCheckPolicies::default(),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..msl::Options::default()
    };
    let entry = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, "main".to_owned())),
        ..msl::PipelineOptions::default()
    };
    let (text, _) = msl::write_string(module, info, &options, &entry)
        .unwrap_or_else(|error| panic!("{label} as MSL: {error}"));
    text
}

const SIZES: &str = "tests/shaders_valid/sizes.txt";
const RENEW: &str = "MSPIPE_TEST_RECORD=1 cargo test --release --test tests shaders_valid";

/// A line for each text: kernel and constants, then bytes.
fn sizes() -> String {
    let mut table = format!("# Bytes of SPIR-V 1.6, HLSL and MSL; renewed by\n# {RENEW}\n");
    super::for_each_text(|_, label, text, _| {
        let (module, info) = super::module(label, text);
        let spirv = 4 * spirv(label, &module, &info, (1, 6)).len();
        let hlsl = hlsl(label, &module, &info).len();
        let msl = msl(label, &module, &info).len();
        let _ = writeln!(table, "{label}: {spirv} {hlsl} {msl}");
    });
    table
}

#[test]
fn translations_have_the_sizes_that_are_kept() {
    let file = Path::new(SIZES);
    let sizes = sizes();
    if std::env::var_os("MSPIPE_TEST_RECORD").is_some() {
        std::fs::write(file, &sizes).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap();
    let differ = |these: &str, those: &str, sign: char| -> String {
        let lines = these
            .lines()
            .filter(|line| !those.lines().any(|other| other == *line));
        lines.map(|line| format!("{sign} {line}\n")).collect()
    };
    let changed = differ(&kept, &sizes, '-') + &differ(&sizes, &kept, '+');
    assert!(
        kept == sizes,
        "what drivers get is not what {SIZES} keeps:\n{changed}if that was meant: {RENEW}"
    );
}

/// What `spirv-val` says of a module; None where it accepts it.
fn refused(words: &[u32], environment: &str, file: &Path) -> Option<String> {
    std::fs::write(file, bytemuck::cast_slice::<u32, u8>(words)).unwrap();
    let output = Command::new("spirv-val")
        .args(["--target-env", environment])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| text.into_owned())
}

#[test]
fn spirv_val_accepts_every_text() {
    if Command::new("spirv-val").arg("--version").output().is_err() {
        super::not_run("SPIR-V by spirv-val: there is none (Debian's spirv-tools has it)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("module.spv");
    super::for_each_text(|_, label, text, _| {
        let (module, info) = super::module(label, text);
        for (version, environment) in SPIRV {
            let mut words = spirv(label, &module, &info, version);
            let refusal = refused(&words, environment, &file);
            assert_eq!(refusal, None, "{label} for {environment}");
            // Without the end of its last function.
            words.pop();
            let refusal = refused(&words, environment, &file);
            assert_ne!(refusal, None, "half of {label} for {environment}");
        }
    });
}
