//! What a stage has enqueued is submitted when it ends, so that the device works on it while the thread
//! waits for the next: cubecl keeps up to 64 launches until there are more.
//!
//! A flush waits until cubecl's own thread has encoded all that was enqueued, which is why stages that
//! follow each other on one thread without waiting share one. A read-back submits what it reads, and
//! all before it, by itself.

use burn::tensor::Device;

use super::error::StageError;
use crate::memory::MemoryError;
use crate::profiler;

/// Submits all that the calling thread has enqueued on `device`, and does not wait for it.
///
/// # Errors
/// When the device is lost.
pub(super) fn flush(device: &Device) -> Result<(), StageError> {
    let flushed = device.flush();
    flushed.map_err(|error| MemoryError::Device(format!("{error:?}")))?;
    profiler::submitted();
    Ok(())
}
