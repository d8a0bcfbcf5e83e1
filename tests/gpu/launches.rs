//! The profile of operations on the adapter: launches and the host's time for them.

use mspipe::profiler;

use super::device_thread;
use crate::operations::{GruGates, Operation};

#[test]
fn forward_and_backward_are_one_launch_each() {
    let recorded = device_thread::run(|device| {
        profiler::set_recording(true);
        GruGates::new(65, 7).run(device);
        profiler::set_recording(false);
        profiler::take()
    });
    let launches: Vec<_> = recorded
        .operations
        .iter()
        .map(|total| (total.name, total.calls, total.launches))
        .collect();
    assert_eq!(
        launches,
        [("gru_gates", 1, 1), ("gru_gates_backward", 1, 1)]
    );
    assert_eq!(recorded.launches, 2);
    assert!(!recorded.launch_time.is_zero());
}
