//! The profile of operations on the adapter: launches and the host's time for them.

use burn::tensor::{Device, Tensor};
use mspipe::batch::{Mail, MailList};
use mspipe::device::{DeviceChoice, KernelChoice};
use mspipe::kernels::adam::{AdamStep, BESIDE, Moving, WATCHED, adam};
use mspipe::kernels::clip_scale::clip_scale;
use mspipe::kernels::mail_update::{MailLists, MailWatch, mail_update};
use mspipe::profiler;

use super::device_thread;
use crate::on_device;
use crate::operations::{GatherRows, Linear, Operation, floats, numbers};

#[cfg_attr(test, test)]
pub(crate) fn forward_and_backward_are_one_launch_each() {
    let recorded = on_device(|device| {
        profiler::set_recording(true);
        GatherRows::new(65, 127, 7).run(device);
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
        [("gather_rows", 1, 1), ("gather_rows_backward", 1, 1)]
    );
    assert_eq!(recorded.launches, 2);
    assert!(!recorded.launch_time.is_zero());
}

/// Three parameters and the routing of mail, then all that was watched.
fn watched_step(device: &Device) -> [Vec<f32>; 2] {
    let one = || floats(&[1.0], [1], device);
    let moving = (0..3).map(|place| Moving {
        parameter: one(),
        gradient: one(),
        place,
    });
    let moments = Tensor::zeros([6 + BESIDE], device);
    let mailbox = Tensor::zeros([2, 3], device);
    let lists = MailLists::new(&MailList::of(&[1], &[0, 1]), &[Mail::default()], device);
    let watch = MailWatch {
        first: Tensor::zeros([2], device),
        commit: 1,
    };
    let (hidden, edge) = (
        floats(&[1.0], [1, 1], device),
        floats(&[1.0], [1, 1], device),
    );
    let (moments, _) = adam(moments, moving.collect(), AdamStep::new(1e-2, 1));
    let (_, watch) = mail_update(mailbox, hidden, edge, lists, watch);
    [numbers(moments.slice(6..6 + WATCHED)), numbers(watch.first)]
}

#[cfg_attr(test, test)]
pub(crate) fn a_limit_of_the_norm_takes_a_launch_for_seven_gradients_and_one_more() {
    let recorded = on_device(|device| {
        let gradients: Vec<_> = (0..15).map(|_| floats(&[1.0], [1], device)).collect();
        let moments = Tensor::zeros([BESIDE], device);
        profiler::set_recording(true);
        let scale = clip_scale(moments, &gradients, 1.0).slice(WATCHED..);
        profiler::set_recording(false);
        assert!((numbers(scale)[0] - 1.0 / 15f32.sqrt()).abs() < 1e-6);
        profiler::take()
    });
    assert_eq!(recorded.launches, 4);
}

/// Launches of a step over 23 parameters of 64 numbers, the first after those before.
fn launches_of_steps(steps: Vec<Vec<Tensor<1>>>, device: &Device) -> Vec<u64> {
    let mut moments = Tensor::zeros([2 * 23 * 64 + BESIDE], device);
    let mut parameters: Vec<_> = (0..23).map(|_| floats(&[1.0; 64], [64], device)).collect();
    let mut launches = Vec::new();
    for (step, gradients) in (1..).zip(steps) {
        let both = parameters.into_iter().zip(gradients).enumerate();
        let moving = both.map(|(number, (parameter, gradient))| Moving {
            parameter,
            gradient,
            place: 64 * number,
        });
        profiler::set_recording(true);
        (moments, parameters) = adam(moments, moving.collect(), AdamStep::new(1e-2, step));
        profiler::set_recording(false);
        launches.push(profiler::take().launches);
    }
    let all = parameters.into_iter().flat_map(numbers);
    assert!(all.into_iter().all(|moved| (moved - 0.97).abs() < 1e-6));
    launches
}

/// The first step lays the parameters side by side, out of memories of their own.
#[cfg_attr(test, test)]
pub(crate) fn a_step_takes_a_launch_for_the_gradients_of_six_memories() {
    let launches = on_device(|device| {
        let apart = || (0..23).map(|_| floats(&[1.0; 64], [64], device)).collect();
        let all = floats(&[1.0; 23 * 64], [23 * 64], device);
        let together = (0..23).map(|i| all.clone().slice(64 * i..64 * i + 64));
        launches_of_steps(vec![apart(), apart(), together.collect()], device)
    });
    assert_eq!(launches, [8, 4, 1]);
}

#[cfg_attr(test, test)]
pub(crate) fn watching_takes_no_launch_of_its_own() {
    let (watched, recorded) = on_device(|device| {
        profiler::set_recording(true);
        let watched = watched_step(device);
        profiler::set_recording(false);
        (watched, profiler::take())
    });
    assert_eq!(watched, [[0.0; 2], [0.0; 2]]);
    let mut launches: Vec<_> = recorded
        .operations
        .iter()
        .map(|total| (total.name, total.launches))
        .collect();
    launches.sort_unstable();
    assert_eq!(launches, [("adam", 1), ("mail_update", 1)]);
}

/// Two layers forward are a launch each. Backward, workgroups make the gradients of input, weight and bias of a layer in one
/// more, invocations each in its own, and that of the one bias in two passes over the rows.
#[cfg_attr(test, test)]
pub(crate) fn products_take_the_launches_of_the_kernels_chosen() {
    let recorded = on_device(|device| {
        profiler::set_recording(true);
        Linear::new(65, 100, 7).run(device);
        profiler::set_recording(false);
        profiler::take()
    });
    let kernels = device_thread::kernels();
    let asked = crate::device_settings();
    let expected = match (asked.kernels, asked.choice) {
        (KernelChoice::Gpu, _) => "gpu",
        (KernelChoice::Software, _) => "software",
        (KernelChoice::Auto, DeviceChoice::Software(_)) => "software",
        (KernelChoice::Auto, _) => "gpu",
    };
    assert_eq!(kernels.made_for, expected);
    let launches = if expected == "gpu" { 4 } else { 8 };
    assert_eq!(recorded.launches, launches);
}
