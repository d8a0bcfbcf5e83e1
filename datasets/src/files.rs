//! Files as they are found and made: opened once, packed or not, hashed; folders of work in progress.

pub(crate) mod checksum;
pub(crate) mod input_file;
pub(crate) mod lfs;
pub(crate) mod packed;
pub(crate) mod scratch;
