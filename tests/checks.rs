//! The checks of a device as a library: what `tests/gpu.rs` runs as tests, `mspipe-bench accept` runs
//! on a machine that has neither sources nor a compiler.
//!
//! Each check is written once, as a function that is a test where the file is compiled as one
//! (`#[cfg_attr(test, test)]`); [`all`] lists them, and one that it lacks is unused code, which the
//! compiler reports. A check panics where it finds a fault.
//!
//! All of them run on one thread, which opens the device once: the one that [`set_device`] named.

#![allow(clippy::unwrap_used, reason = "a check may panic")]

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, OnceLock};

use burn::tensor::Device;
use mspipe::device::DeviceSettings;

mod adam;
mod definitions;
mod gradients;
mod kernels;
mod layouts;
mod measured;
mod memory_tables;
mod models;
mod not_finite;
mod operations;
mod pair_scores;
mod row_independence;
mod schedules;

mod gpu {
    pub(crate) mod cosine;
    pub(crate) mod device_thread;
    pub(crate) mod kernels;
    pub(crate) mod launches;
    pub(crate) mod products;
}

pub use measured::Measured;

/// Something that must hold on a device.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What it is called, as the test is.
    pub name: &'static str,
    /// Panics where it does not hold.
    pub holds: fn(),
}

/// Checks that expect the same.
#[derive(Debug, Clone)]
pub struct Group {
    /// The module that they are in.
    pub name: String,
    /// What they expect.
    pub expected: &'static str,
    /// The checks, in the order of the file.
    pub checks: Vec<Check>,
}

/// A group of checks by their names.
macro_rules! group {
    ($($module:ident)::+, $expected:literal, [$($check:ident),+ $(,)?]) => {{
        use $($module)::+ as of;
        Group {
            name: stringify!($($module)::+).replace(' ', ""),
            expected: $expected,
            checks: vec![$(Check {
                name: stringify!($check),
                holds: of::$check,
            }),+],
        }
    }};
}

/// All checks.
pub fn all() -> Vec<Group> {
    let mut all = operations();
    all.extend(tables_and_models());
    all
}

/// Those of single operations.
#[rustfmt::skip]
fn operations() -> Vec<Group> {
    vec![
        group!(kernels, "output and gradients are those of the definition in f64", [
            gather_rows, rows_with_many_uses, unpack_bits, feature_rows, place_rows, counter_hash, dropout, time_encoding, recurrent_cells,
            saturated_cells, link_predictor, link_predictor_with_pair_history,
            link_scores, output_norm, root_norm, product, column_sums,
            temporal_attention_at_the_widths_of_wikipedia, temporal_attention_without_edge_features,
            temporal_attention_of_width_one, temporal_attention_of_many_odd_slots,
            temporal_attention_to_a_node_in_half_of_all_events, temporal_attention_without_past_events,
            attention_layers,
        ]),
        group!(gradients, "each gradient is the finite difference of the output", [
            temporal_attention, temporal_attention_with_dropout,
            temporal_attention_without_edge_features, temporal_attention_without_past_events,
            attention_layer, recurrent_cells, saturated_gru, saturated_rnn, link_predictor,
            link_predictor_with_pair_history, link_predictor_far_from_zero, linear, head_products,
            output_norm, root_norm, time_encoding, gather_rows, dropout,
        ]),
        group!(gpu::kernels, "the bits of the CPU kernel, and of a second run", [
            gather_rows, gather_rows_in_a_folded_dispatch, dropout,
            a_second_run_gives_the_bits_of_the_first,
        ]),
        group!(gpu::cosine, "the cosine of any time difference", [
            is_accurate_for_a_month_of_seconds, is_accurate_for_four_years_of_seconds,
        ]),
        group!(gpu::products, "a row has the same bits among any number of rows", [
            rows_do_not_depend_on_their_number, rows_of_heads_do_not_depend_on_their_number,
        ]),
        group!(gpu::launches, "as many launches as the operations should take", [
            forward_and_backward_are_one_launch_each,
            a_limit_of_the_norm_takes_a_launch_for_seven_gradients_and_one_more,
            a_step_takes_a_launch_for_the_gradients_of_six_memories, watching_takes_no_launch_of_its_own,
            products_take_the_launches_of_the_kernels_chosen,
        ]),
        group!(adam, "steps of the optimisers are those of the definition in f64", [
            steps_agree_with_f64_and_leave_other_handles_alone,
            the_scale_is_that_of_the_norm_of_all_gradients,
            the_scale_has_the_same_bits_with_any_number_of_threads,
            a_gradient_that_is_not_finite_is_found_though_it_is_clipped,
        ]),
        group!(layouts, "strided and sliced inputs give the bits of contiguous ones", [
            arrays_that_are_written_together_are_what_was_packed, gather_rows_takes_any_layout, time_encoding_takes_any_layout,
            recurrent_cells_take_any_layout, memory_operations_take_any_layout,
            temporal_attention_takes_any_layout,
        ]),
        group!(not_finite, "what is not finite stays so, and the first step of it is named", [
            nan_passes_what_saturates, nan_and_infinity_pass_the_rest,
            adam_names_the_first_step_that_went_wrong,
            mail_update_names_the_first_commit_that_went_wrong,
        ]),
    ]
}

/// Those of tables, models and runs.
#[rustfmt::skip]
fn tables_and_models() -> Vec<Group> {
    vec![
        group!(memory_tables, "tables have the bits of a map from node to its rows", [
            a_whole_table_agrees_with_a_map,
        ]),
        group!(models, "embeddings are those of the definition in f64", [
            two_layers_of_tgn_agree_with_their_definition,
        ]),
        group!(row_independence, "a row has the same bits whatever else is in its batch", [
            embeddings_and_scores_do_not_depend_on_other_roots,
            wide_embeddings_do_not_depend_on_other_roots,
        ]),
        group!(pair_scores, "a pair beside a batch has the bits that it has alone", [
            pairs_of_tgn_have_the_bits_that_they_have_alone,
            pairs_of_jodie_and_apan_have_the_bits_that_they_have_alone,
            draws_do_not_depend_on_the_chunk,
            a_mitigation_leaves_candidates_alone,
        ]),
        group!(schedules, "overlap, queues and the place of memory change no bit of a run", [
            overlap_and_the_place_of_the_memory_change_no_number,
            a_part_of_the_features_on_the_device_changes_no_number,
            queue_depth_and_timing_change_no_number_of_a_stale_training,
            a_replay_of_an_online_schedule_gives_its_numbers,
            auto_tries_whether_to_overlap_and_its_ledger_replays_that,
            the_freshest_memory_is_within_its_bound_and_replayed_exactly,
            the_mitigation_is_the_same_wherever_memory_lies,
        ]),
    ]
}

static DEVICE: OnceLock<DeviceSettings> = OnceLock::new();

/// Names the device of all checks; what comes after the first call or check changes nothing.
pub fn set_device(settings: impl Into<DeviceSettings>) {
    DEVICE.get_or_init(|| settings.into());
}

fn device_settings() -> DeviceSettings {
    *DEVICE.get_or_init(DeviceSettings::default)
}

/// Runs `work` on the device, on the thread that owns it, for a check.
///
/// # Panics
/// As `work` does; when the device can't be opened; when burn or wgpu logged a warning meanwhile.
pub fn on_device<T: Send + 'static>(work: impl FnOnce(&Device) -> T + Send + 'static) -> T {
    gpu::device_thread::run(work)
}

/// Fails a check unless `error` is at most `allowed`, and keeps both; `what` says of which result.
///
/// # Panics
/// When it is more.
#[track_caller]
pub fn within(what: &str, error: f64, allowed: f64) {
    measured::within(what, error, allowed);
}

impl Check {
    /// What it measured, where it holds.
    ///
    /// # Errors
    /// What it found instead, and where in the sources.
    pub fn run(&self) -> Result<Vec<Measured>, String> {
        /// Checks change the hook of panics one after the other.
        static ONE: Mutex<()> = Mutex::new(());
        static PLACE: Mutex<Option<String>> = Mutex::new(None);
        let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        measured::take();
        *PLACE.lock().unwrap() = None;
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            if let Ok(mut first) = PLACE.lock() {
                *first = first.take().or(place);
            }
        }));
        let holds = panic::catch_unwind(AssertUnwindSafe(self.holds));
        panic::set_hook(hook);
        let measured = measured::take();
        let Err(panic) = holds else {
            return Ok(measured);
        };
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let place = PLACE.lock().unwrap().take();
        let place = place.map_or_else(String::new, |place| format!(" ({place})"));
        Err(format!("{}{place}", text.unwrap_or("it panicked")))
    }
}
