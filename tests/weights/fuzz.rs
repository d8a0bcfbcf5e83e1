//! The fuzz targets of weights files on stable Rust; `fuzz/README.md` tells how to fuzz in earnest.

use std::fs;
use std::path::Path;

use mspipe::weights;

#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
#[path = "../../fuzz/src/weight_files.rs"]
mod weight_files;

#[test]
fn files() {
    crate::mutation::smoke(&weight_files::files(), 400, weight_files::file);
}

#[test]
fn state_dicts() {
    crate::mutation::smoke(&weight_files::pickles(), 400, weight_files::state_dict);
}

/// Inputs that made a reader fail once, as `fuzz/finds/TARGET/NAME`.
#[test]
fn finds() {
    let finds = Path::new("fuzz/finds");
    type Target = (&'static str, fn(&[u8]));
    let targets: [Target; 2] = [
        ("weights", weight_files::file),
        ("state_dict", weight_files::state_dict),
    ];
    for (name, target) in targets {
        for entry in fs::read_dir(finds.join(name)).into_iter().flatten() {
            target(&fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
