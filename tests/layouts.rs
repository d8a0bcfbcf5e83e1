//! Strided and sliced tensors give bit for bit what contiguous ones give.
//!
//! Shaders and CPU kernels know shapes only, so every operation must first bring its inputs into
//! that form: a slice of a CPU tensor shares its parent's storage, a transposed tensor
//! keeps its original's. Both test binaries run this file, each on its own device.

use burn::tensor::{Device, Gradients, Int, Tensor};
use bytemuck::cast_slice;
use mspipe::batch::MailList;
use mspipe::kernels::dropout::Dropout;
use mspipe::kernels::gather_rows::{LongRows, Uses, gather_rows};
use mspipe::kernels::mail_update::{MailLists, MailWatch, mail_update};
use mspipe::kernels::memory_gather::memory_gather;
use mspipe::kernels::memory_update::memory_update;
use mspipe::kernels::packing::Packing;
use mspipe::kernels::recurrent_cell::{CellBatch, CellParameters, recurrent_cell};
use mspipe::kernels::temporal_attention::{AttentionSlots, temporal_attention};
use mspipe::kernels::time_encoding::time_encoding;

use crate::on_device;
use crate::operations::{draws, floats, ints, numbers};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Contiguous,
    /// Columns lie together.
    Transposed,
    /// Rows of a larger tensor.
    Sliced,
}

impl Layout {
    /// The same random `[rows, width]` in this layout.
    fn table(self, seed: u32, [rows, width]: [usize; 2], device: &Device) -> Tensor<2> {
        let values = draws(seed, rows * width);
        match self {
            Layout::Contiguous => floats(&values, [rows, width], device),
            Layout::Transposed => {
                let columns = (0..width * rows).map(|i| values[i % rows * width + i / rows]);
                let columns: Vec<f32> = columns.collect();
                floats(&columns, [width, rows], device).transpose()
            }
            Layout::Sliced => {
                let around = vec![f32::NAN; width];
                let values = [around.as_slice(), &values, &around].concat();
                floats(&values, [rows + 2, width], device).narrow(0, 1, rows)
            }
        }
    }

    /// The same whole numbers in this layout.
    fn list(self, values: &[i32], device: &Device) -> Tensor<1, Int> {
        let n = values.len();
        match self {
            Layout::Contiguous => ints(values, [n], device),
            Layout::Transposed => {
                let doubled: Vec<i32> = values.iter().flat_map(|&v| [v, -7]).collect();
                ints(&doubled, [n, 2], device)
                    .slice([0..n, 0..1])
                    .squeeze_dim(1)
            }
            Layout::Sliced => {
                let values = [&[-7, -7], values, &[-7]].concat();
                ints(&values, [n + 3], device).narrow(0, 2, n)
            }
        }
    }

    fn uses(self, offsets: &[i32], items: &[i32], device: &Device) -> Uses {
        Uses {
            offsets: self.list(offsets, device),
            items: self.list(items, device),
            long: LongRows::default(),
        }
    }

    /// Gradients for random weights in this layout.
    fn backward(self, output: &Tensor<2>) -> Gradients {
        let weights = self.table(50, output.dims(), &output.device());
        (output.clone() * weights).sum().backward()
    }
}

/// `work` must give the same numbers for every layout.
fn layouts_agree(work: fn(Layout, &Device) -> Vec<Vec<f32>>) {
    on_device(move |device| {
        let expected = work(Layout::Contiguous, device);
        for layout in [Layout::Transposed, Layout::Sliced] {
            assert_eq!(work(layout, device), expected, "{layout:?}");
        }
    });
}

#[cfg_attr(test, test)]
pub(crate) fn arrays_that_are_written_together_are_what_was_packed() {
    on_device(|device| {
        for device in [device.clone(), device.clone().autodiff()] {
            let of = |length: i32| (0..length).map(|i| i * 77_777 - 5).collect::<Vec<_>>();
            let arrays = [0, 1, 63, 0, 64, 65, 1_000, 0].map(of);
            let mut packing = Packing::new(&device);
            let packed: Vec<_> = arrays
                .iter()
                .map(|array| {
                    let floats: Vec<f32> = array.iter().map(|&i| 0.1 * i as f32).collect();
                    let shape = [array.len(), 1];
                    (packing.ints(array, shape), packing.floats(&floats, shape))
                })
                .collect();
            let mut sent = packing.send();
            for (array, (ints, floats)) in arrays.iter().zip(packed) {
                let (ints, floats) = (sent.ints(ints), sent.floats(floats));
                assert_eq!(ints.device().is_autodiff(), device.is_autodiff());
                let found: Vec<i32> = ints.into_data().try_to_vec().unwrap();
                assert_eq!(&found, array);
                let floats = floats * 1.0;
                let expected: Vec<f32> = array.iter().map(|&i| 0.1 * i as f32).collect();
                assert_eq!(numbers(floats), expected);
            }
        }
        // Nothing at all.
        let mut packing = Packing::new(device);
        let none = packing.floats(&[], [0]);
        assert_eq!(packing.send().floats(none).dims(), [0]);
    });
}

#[cfg_attr(test, test)]
pub(crate) fn gather_rows_takes_any_layout() {
    layouts_agree(|layout, device| {
        let device = &device.clone().autodiff();
        let table = layout.table(1, [3, 5], device).require_grad();
        let index = layout.list(&[2, 0, 2, 2], device);
        let out = gather_rows(
            table.clone(),
            index,
            layout.uses(&[0, 1, 1, 4], &[1, 0, 2, 3], device),
        );
        let gradients = layout.backward(&out);
        vec![numbers(table.grad(&gradients).unwrap()), numbers(out)]
    });
}

#[cfg_attr(test, test)]
pub(crate) fn time_encoding_takes_any_layout() {
    layouts_agree(|layout, device| {
        let device = &device.clone().autodiff();
        let time = layout.table(1, [2, 5], device).require_grad();
        let delta = layout.list(&[3, 100, 0, 7], device).float();
        let out = time_encoding(time.clone(), delta);
        let gradients = layout.backward(&out);
        vec![numbers(time.grad(&gradients).unwrap()), numbers(out)]
    });
}

#[cfg_attr(test, test)]
pub(crate) fn recurrent_cells_take_any_layout() {
    layouts_agree(|layout, device| {
        let device = &device.clone().autodiff();
        let cells = [9, 3].map(|outputs| {
            let weight =
                |seed, inputs| layout.table(seed, [inputs, outputs], device).require_grad();
            let bias = |seed| {
                let row = layout.table(seed, [1, outputs], device);
                row.reshape([outputs]).require_grad()
            };
            let batch = CellBatch {
                mail: layout.table(1, [4, 5], device),
                delta_t: layout.list(&[3, 100, 0, 7], device).float(),
                memory: layout.table(2, [4, 3], device),
                active: layout.list(&[1, 0, 1, 1], device),
            };
            let parameters = CellParameters {
                time: layout.table(3, [2, 2], device).require_grad(),
                from_mail: weight(4, 5),
                from_time: weight(5, 2),
                from_memory: weight(6, 3),
                input_bias: bias(7),
                memory_bias: bias(8),
            };
            let out = recurrent_cell(batch, parameters.clone());
            let gradients = layout.backward(&out);
            let of = [
                &parameters.time,
                &parameters.from_mail,
                &parameters.from_time,
                &parameters.from_memory,
            ];
            let mut all = of
                .map(|parameter| numbers(parameter.grad(&gradients).unwrap()))
                .to_vec();
            let biases = [&parameters.input_bias, &parameters.memory_bias];
            all.extend(biases.map(|bias| numbers(bias.grad(&gradients).unwrap())));
            all.push(numbers(out));
            all
        });
        cells.concat()
    });
}

#[cfg_attr(test, test)]
pub(crate) fn memory_operations_take_any_layout() {
    layouts_agree(|layout, device| {
        let memory = layout.table(1, [6, 3], device);
        let mailbox = layout.table(2, [6, 8], device);
        let hidden = layout.table(3, [4, 3], device);
        let edge = layout.table(4, [5, 2], device);
        let last_writer = layout.list(&[4, 0, 1, 3], device).reshape([2, 2]);
        let memory = memory_update(memory, hidden.clone(), last_writer);
        let lists = MailLists {
            lists: layout
                .list(cast_slice(&MailList::of(&[4, 1], &[0, 1, 3])), device)
                .reshape([2, 4]),
            mails: layout
                .list(&[0, 1, 2, 3, 0, 4, 1, 2, 0], device)
                .reshape([3, 3]),
        };
        let watch = MailWatch {
            first: Tensor::zeros([2], device),
            commit: 1,
        };
        let (mailbox, _) = mail_update(mailbox, hidden, edge, lists, watch);
        let untouched = layout.table(5, [6, 3], device);
        let node = layout.list(&[5, 4, 4, 0], device);
        let read = memory_gather(untouched, mailbox.clone(), node);
        vec![
            numbers(memory),
            numbers(mailbox),
            numbers(read.0),
            numbers(read.1),
        ]
    });
}

#[cfg_attr(test, test)]
pub(crate) fn temporal_attention_takes_any_layout() {
    layouts_agree(|layout, device| {
        let device = &device.clone().autodiff();
        let query = layout.table(1, [4, 7], device).require_grad();
        let node = layout.table(2, [3, 3], device).require_grad();
        let edge = layout.table(3, [2, 1], device);
        let time = layout.table(4, [2, 2], device).require_grad();
        let delta = |seconds: f32| seconds.to_bits() as i32;
        let slot = [
            [2, 1, delta(0.5), 0, 0, 0, delta(9.0), 0],
            [2, 0, delta(4.0), 1, -1, -1, 0, 1],
        ];
        let slots = AttentionSlots {
            slot: layout.list(slot.as_flattened(), device).reshape([2, 2, 4]),
            query_uses: layout.uses(&[0, 1, 2], &[0, 1], device),
            uses: layout.uses(&[0, 1, 1, 3], &[1, 0, 2], device),
            draw_row: None,
        };
        // Heads and roots as a matrix product leaves them: roots first.
        let heads = query.clone().reshape([2, 2, 7]).swap_dims(0, 1);
        let out = temporal_attention(heads, node.clone(), edge, time.clone(), slots, Dropout::OFF);
        let out = out.reshape([4, 7]);
        let gradients = layout.backward(&out);
        vec![
            numbers(query.grad(&gradients).unwrap()),
            numbers(node.grad(&gradients).unwrap()),
            numbers(time.grad(&gradients).unwrap()),
            numbers(out),
        ]
    });
}
