//! Notes the commit that the program is built from, for what it reports: `MSPIPE_COMMIT` of the build, with
//! `+ changes` where files that git knows differ from it, `unknown` where the sources are in no repository.
//!
//! A program that asked git when it runs would name a commit that it was not built from.

#![allow(clippy::print_stdout, reason = "that is how cargo is told")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// What programs are made from, seen from this package: where it changes, so may what git says of it.
const SOURCES: [&str; 9] = [
    "build.rs",
    "src",
    "../src",
    "../shaders",
    "../datasets",
    "../tests",
    "../Cargo.toml",
    "../Cargo.lock",
    "../rust-toolchain.toml",
];

fn main() {
    let sources = SOURCES.iter().map(PathBuf::from);
    for path in sources.chain(git_files()).filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let commit = commit().unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=MSPIPE_COMMIT={commit}");
}

/// The commit, if the sources are those of a repository and not part of another one.
fn commit() -> Option<String> {
    let root = Path::new("..").canonicalize().ok()?;
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root {
        return None;
    }
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let changed = if changes.is_empty() { "" } else { " + changes" };
    Some(commit + changed)
}

/// Files of git that change with the commit: HEAD and the branch that it names; where the branch is a packed one and
/// has no file, the log of HEAD.
fn git_files() -> Vec<PathBuf> {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let names = ["HEAD".to_owned(), "logs/HEAD".to_owned()];
    names
        .into_iter()
        .chain(branch)
        .filter_map(|name| git(&["rev-parse", "--git-path", &name]))
        .map(PathBuf::from)
        .collect()
}

/// What git printed, trimmed, if it is there and ended well.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
