//! Git LFS pointers: what stands in a repository's folder for a large file that was not fetched.
//!
//! Source: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.

/// What such a file is, for messages.
pub(crate) const FOUND: &str = "a Git LFS pointer, which stands for the data";

/// What to do.
pub(crate) const REMEDY: &str =
    "fetch the data with `git lfs pull` in that repository, or download the file itself";

/// Whether a text that begins so is a pointer.
pub(crate) fn is_pointer(start: &[u8]) -> bool {
    start.starts_with(b"version https://git-lfs.github.com/")
}

/// Whether a file with these first eight bytes, which is to hold numbers, is a pointer: none of
/// its formats begins so.
pub(crate) fn may_be_pointer(start: &[u8]) -> bool {
    start == b"version "
}
