//! The fuzz targets on stable Rust: each seed, each input that once failed, and a fixed number of
//! mutations of the seeds, the same in every run.
//!
//! `fuzz/README.md` tells how to fuzz in earnest.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
#[path = "../../fuzz/src/mutation.rs"]
mod mutation;
#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
#[path = "../../fuzz/src/readers.rs"]
mod readers;
#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;

use std::fs;
use std::path::Path;

use readers::{TARGETS, Target};

/// Mutations a target: some seconds for all of them together.
const MUTATIONS: u32 = 150;

/// As many as somebody asks for, in place of [`MUTATIONS`].
const ASKED: &str = "MSPIPE_FUZZ_MUTATIONS";

fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).unwrap()
}

fn try_out(name: &str) {
    let seeds = seeds::of(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let asked = std::env::var(ASKED).ok();
    let mutations = asked.map_or(MUTATIONS, |count| count.parse().unwrap());
    mutation::smoke(&seeds, mutations, target(name).run);
}

#[test]
fn events() {
    try_out("events");
}

#[test]
fn schema() {
    try_out("schema");
}

#[test]
fn packed() {
    try_out("packed");
}

#[test]
fn folder() {
    try_out("folder");
}

#[test]
fn array() {
    try_out("array");
}

#[test]
fn archive() {
    try_out("archive");
}

#[test]
fn pickle() {
    try_out("pickle");
}

#[test]
fn candidates() {
    try_out("candidates");
}

#[test]
fn parquet() {
    try_out("parquet");
}

#[test]
fn store() {
    try_out("store");
}

/// Inputs that made a reader fail once, as `fuzz/finds/TARGET/NAME`.
#[test]
fn finds() {
    let folder = Path::new("../fuzz/finds");
    for target in TARGETS {
        for entry in fs::read_dir(folder.join(target.name)).into_iter().flatten() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            (target.run)(&fs::read(path).unwrap());
        }
    }
}

/// A seed that is refused at once tries nothing behind the first check.
#[test]
fn most_seeds_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let options = mspipe_datasets::OpenOptions {
        cache_dir: Some(folder.path().join("cache")),
        ..Default::default()
    };
    let opens = |bytes: &[u8]| {
        let path = folder.path().join("events");
        fs::write(&path, bytes).unwrap();
        mspipe_datasets::EventLog::open(path.to_str().unwrap(), &options).map(drop)
    };
    for name in ["packed", "parquet"] {
        let seeds = seeds::of(name);
        let sound = seeds.iter().filter(|seed| opens(seed).is_ok()).count();
        assert!(
            2 * sound > seeds.len(),
            "{name}: {sound} of {}",
            seeds.len()
        );
    }
}
