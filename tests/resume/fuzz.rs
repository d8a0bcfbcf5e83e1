//! The fuzz target of checkpoints on stable Rust; `fuzz/README.md` tells how to fuzz in earnest.

use std::fs;
use std::path::Path;

use mspipe::checkpoint;

#[allow(unreachable_pub, reason = "shared with the fuzz target")]
#[path = "../../fuzz/src/checkpoint_files.rs"]
mod checkpoint_files;

#[test]
fn checkpoints() {
    let files = checkpoint_files::files();
    assert!(checkpoint::parse(Path::new("sound"), &files[0]).is_ok());
    crate::mutation::smoke(&files, 2000, checkpoint_files::file);
}

/// Inputs that made the reader fail once, as `fuzz/finds/checkpoint/NAME`.
#[test]
fn finds() {
    let finds = Path::new("fuzz/finds/checkpoint");
    for entry in fs::read_dir(finds).into_iter().flatten() {
        checkpoint_files::file(&fs::read(entry.unwrap().path()).unwrap());
    }
}
