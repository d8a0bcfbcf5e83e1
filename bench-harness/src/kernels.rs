//! The kernels and the matrix products between them, with inputs of Wikipedia's sizes in a batch of 600
//! events, for `cargo bench`; and burn's own operations for the same, where it has any.
//!
//! Bytes are those of [`mspipe::kernels::costs`]: each input read once, each output written once.
//! Backward passes are called directly, so that neither autodiff nor anything else of burn is timed.
//! Numbers are arbitrary: no kernel's time depends on them. A kernel makes its output again at each
//! call.

mod inputs;
mod of_burn;

use burn::backend::Dispatch;
use burn::nn::LayerNormConfig;
use burn::tensor::{Device, Tensor};
use mspipe::batch::{Mail, MailList};
use mspipe::kernels::adam::{AdamStep, BESIDE, Moving, adam};
use mspipe::kernels::costs;
use mspipe::kernels::dropout::{Dropout, dropout};
use mspipe::kernels::gather_rows::{GatherRows as _, gather_rows};
use mspipe::kernels::link_predictor::{LinkPrediction as _, PredictorTensors};
use mspipe::kernels::link_scores::{LinkLayer, link_scores};
use mspipe::kernels::mail_update::{MailLists, MailWatch, mail_update};
use mspipe::kernels::memory_gather::memory_gather;
use mspipe::kernels::memory_update::memory_update;
use mspipe::kernels::output_norm::{BeforeNorm, OutputNorm as _, output_norm};
use mspipe::kernels::products::{from_heads, linear, to_heads};
use mspipe::kernels::recurrent_cell::{CellRows, CellWeights, RecurrentCell as _};
use mspipe::kernels::temporal_attention::{
    AttentionShape, AttentionSlots, AttentionTensors, TemporalAttention as _, temporal_attention,
};
use mspipe::kernels::time_encoding::{TimeEncoding as _, time_encoding};
use mspipe::kernels::unpack_bits::{unpack_bits, words_of};
use mspipe::profiler::Work;
use mspipe::train::upload;

use inputs::{BOOLEANS, EDGE, FANOUT, HEADS, Inputs, MAIL, NODES, PARAMETERS, SIZES, TIME, WIDTH};
pub use of_burn::of_burn;

/// An operation with its inputs.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What a call reads, writes and computes.
    pub work: Work,
    /// Calls it; on a GPU it is enqueued.
    pub run: Box<dyn FnMut() + Send>,
}

fn case(name: &'static str, work: Work, run: impl FnMut() + Send + 'static) -> Case {
    Case {
        name,
        work,
        run: Box::new(run),
    }
}

/// All kernels, with rows divided by `shrink`.
pub fn kernels(shrink: usize, device: &Device) -> Vec<Case> {
    let make = Inputs { device };
    let [rows, roots, events] = SIZES.map(|size| size / shrink);
    let mut cases = reading(&make, rows, roots, events);
    cases.extend(writing(&make, rows, events));
    cases.push(optimiser(&make));
    cases.extend(cell(
        &make,
        ["recurrent_cell (gru)", "recurrent_cell backward (gru)"],
        rows,
        3,
    ));
    cases.extend(cell(
        &make,
        ["recurrent_cell (rnn)", "recurrent_cell backward (rnn)"],
        rows,
        1,
    ));
    cases.extend(encoding_and_norm(&make, rows, roots));
    cases.extend(link(&make, events));
    let tgn = AttentionShape {
        heads: HEADS,
        fanout: FANOUT,
        node: WIDTH,
        edge: EDGE,
        time: TIME,
    };
    let names = ["temporal_attention", "temporal_attention_backward"];
    cases.extend(attention(&make, names, tgn, [roots, rows, 12_000 / shrink]));
    let apan = AttentionShape {
        node: 0,
        edge: MAIL,
        ..tgn
    };
    let names = ["mailbox attention (apan)", "mailbox attention backward"];
    cases.extend(attention(&make, names, apan, [roots, 1, roots * FANOUT]));
    cases
}

/// The matrix products of TGN between its kernels, forward, with rows divided by `shrink`.
pub fn products(shrink: usize, device: &Device) -> Vec<Case> {
    let make = Inputs { device };
    let [rows, roots, _] = SIZES.map(|size| size / shrink);
    let layer = |name, rows: usize, inputs: usize, outputs: usize| {
        let (bias, x) = (make.matrix(1, outputs), make.matrix(rows, inputs));
        let weight = make.matrix(inputs, outputs);
        let work = costs::product([rows, inputs, outputs], outputs);
        case(name, work, move || {
            drop(linear(bias.clone(), x.clone(), weight.clone()));
        })
    };
    // What attention reads of a past event: memory, edge features, time encoding.
    let inputs = WIDTH + EDGE + TIME;
    let heads = {
        let (x, weight) = (make.matrix(roots, WIDTH), make.matrix(inputs, WIDTH));
        let work = costs::head_product([HEADS, roots, inputs], WIDTH);
        case("to_heads (query)", work, move || {
            drop(to_heads(x.clone(), weight.clone(), HEADS));
        })
    };
    let values = {
        let x: Tensor<3> = make
            .matrix(HEADS * roots, inputs)
            .reshape([HEADS, roots, inputs]);
        let weight = make.matrix(inputs, WIDTH);
        let work = costs::head_product([HEADS, roots, inputs], WIDTH);
        case("from_heads (value)", work, move || {
            drop(from_heads(x.clone(), weight.clone()));
        })
    };
    vec![
        layer("linear (mail to gates)", rows, MAIL, 3 * WIDTH),
        layer("linear (memory to gates)", rows, WIDTH, 3 * WIDTH),
        layer("linear (output)", roots, WIDTH, WIDTH),
        heads,
        values,
    ]
}

/// Reading of tables.
fn reading(make: &Inputs<'_>, rows: usize, roots: usize, events: usize) -> Vec<Case> {
    let (memory, mailbox) = (make.matrix(NODES, WIDTH), make.matrix(NODES, MAIL));
    let nodes = make.indices(make.spread(rows, NODES));
    let gather_memory = case(
        "memory_gather",
        costs::gather(rows, WIDTH + MAIL),
        move || {
            drop(memory_gather(
                memory.clone(),
                mailbox.clone(),
                nodes.clone(),
            ))
        },
    );

    // As many rows as attention reads, with GDELT's booleans.
    let (unpacked, words) = (20 * events, words_of(BOOLEANS));
    let packed = make.spread(unpacked * words, i32::MAX as usize);
    let packed = upload::ints(packed, [unpacked, words], make.device);
    let unpack = case(
        "unpack_bits",
        costs::unpack_bits(unpacked, BOOLEANS),
        move || drop(unpack_bits(packed.clone(), BOOLEANS)),
    );

    let index = make.spread(roots, rows);
    let uses = make.uses(&index, rows);
    let (table, places, uses_of) = (make.matrix(rows, WIDTH), make.indices(index), uses.clone());
    let gather = case("gather_rows", costs::gather(roots, WIDTH), move || {
        drop(gather_rows(table.clone(), places.clone(), uses.clone()));
    });
    let value = make.matrix(roots, WIDTH).into_dispatch();
    let (offsets, items, long) = (
        uses_of.offsets.into_dispatch(),
        uses_of.items.into_dispatch(),
        uses_of.long,
    );
    let sum = case(
        "gather_rows_backward",
        costs::segment_sum(roots, rows, WIDTH),
        move || {
            drop(Dispatch::segment_sum(
                value.clone(),
                offsets.clone(),
                items.clone(),
                long,
            ))
        },
    );

    vec![gather_memory, unpack, gather, sum]
}

/// Writing of the node memory's tables.
fn writing(make: &Inputs<'_>, rows: usize, events: usize) -> [Case; 2] {
    let written = 2 * events;
    let last_writers: Vec<i32> = (0..written as i32)
        .flat_map(|i| [i * 7, i % rows as i32])
        .collect();
    let last_writer = upload::ints(last_writers, [written, 2], make.device);
    let hidden = make.matrix(rows, WIDTH);
    // Handed over and back, so that it is written in place.
    let mut table = Some(make.matrix(NODES, WIDTH));
    let write = {
        let hidden = hidden.clone();
        case("memory_update", costs::gather(written, WIDTH), move || {
            table = table
                .take()
                .map(|table| memory_update(table, hidden.clone(), last_writer.clone()));
        })
    };

    let mails: Vec<Mail> = (0..written as i32)
        .map(|i| Mail {
            own: i % rows as i32,
            peer: (i + 1) % rows as i32,
            event: i % events as i32,
        })
        .collect();
    let places: Vec<i32> = (0..written as i32).map(|i| i * 7).collect();
    let offsets: Vec<i32> = (0..=written as i32).collect();
    let lists = MailLists::new(&MailList::of(&places, &offsets), &mails, make.device);
    let edge = make.matrix(events, EDGE);
    let watch = MailWatch {
        first: Tensor::zeros([2], make.device),
        commit: 1,
    };
    let mut tables = Some((make.matrix(NODES, MAIL), watch));
    let deliver = case(
        "mail_update",
        costs::mail_update(written, written, MAIL),
        move || {
            tables = tables.take().map(|(table, watch)| {
                mail_update(table, hidden.clone(), edge.clone(), lists.clone(), watch)
            });
        },
    );

    [write, deliver]
}

fn optimiser(make: &Inputs<'_>) -> Case {
    let gradient = make.vector(PARAMETERS);
    let mut state = Some((
        make.vector(2 * PARAMETERS + BESIDE).abs(),
        make.vector(PARAMETERS),
    ));
    let step = AdamStep::new(1e-4, 3);
    case("adam", costs::adam(PARAMETERS), move || {
        state = state.take().and_then(|(moments, parameter)| {
            let moving = Moving {
                parameter,
                gradient: gradient.clone(),
                place: 0,
            };
            let (moments, mut moved) = adam(moments, vec![moving], step);
            Some((moments, moved.pop()?))
        });
    })
}

/// A recurrent cell with its products: three gates are a GRU, one an RNN.
fn cell(
    make: &Inputs<'_>,
    [name, backward_name]: [&'static str; 2],
    rows: usize,
    gates: usize,
) -> [Case; 2] {
    let outputs = gates * WIDTH;
    let inputs = CellRows::<Dispatch> {
        mail: make.matrix(rows, MAIL).into_dispatch(),
        delta_t: (make.vector(rows).abs() * 2.7e6).into_dispatch(),
        memory: make.matrix(rows, WIDTH).into_dispatch(),
        active: make.indices(vec![1; rows]).into_dispatch(),
    };
    let weights = CellWeights::<Dispatch> {
        time: make.matrix(2, TIME).into_dispatch(),
        from_mail: make.matrix(MAIL, outputs).into_dispatch(),
        from_time: make.matrix(TIME, outputs).into_dispatch(),
        from_memory: make.matrix(WIDTH, outputs).into_dispatch(),
        input_bias: make.vector(outputs).into_dispatch(),
        memory_bias: make.vector(outputs).into_dispatch(),
    };
    let work = |backward| costs::recurrent_cell([rows, WIDTH, MAIL, TIME, outputs], backward);
    let output = Dispatch::recurrent_cell(inputs.clone(), weights.clone());
    let grad = make.matrix(rows, WIDTH).into_dispatch();
    let of = (inputs.clone(), weights.clone());
    let forward = case(name, work(false), move || {
        let (inputs, weights) = of.clone();
        drop(Dispatch::recurrent_cell(inputs, weights));
    });
    let of = (inputs, weights, output, grad);
    let backward = case(backward_name, work(true), move || {
        let (inputs, weights, output, grad) = of.clone();
        drop(Dispatch::recurrent_cell_backward(
            inputs, weights, output, grad,
        ));
    });
    [forward, backward]
}

/// Time encoding of rows, dropout and layer norm of roots.
fn encoding_and_norm(make: &Inputs<'_>, rows: usize, roots: usize) -> Vec<Case> {
    let time = make.matrix(2, TIME);
    let delta = make.vector(rows).abs() * 2.7e6;
    let grad = make.matrix(rows, TIME);
    let encode = {
        let (time, delta) = (time.clone(), delta.clone());
        let work = costs::time_encoding(rows, TIME, false);
        case("time_encoding", work, move || {
            drop(time_encoding(time.clone(), delta.clone()));
        })
    };
    let inputs = (
        time.into_dispatch(),
        delta.into_dispatch(),
        grad.into_dispatch(),
    );
    let work = costs::time_encoding(rows, TIME, true);
    let encode_backward = case("time_encoding_backward", work, move || {
        let (a, b, c) = inputs.clone();
        drop(Dispatch::time_encoding_backward(a, b, c));
    });

    let drops = Dropout::new(0.1, 5, 1, 2);
    let x = make.matrix(roots, WIDTH);
    let drop_out = {
        let x = x.clone();
        case("dropout", costs::dropout(roots * WIDTH), move || {
            drop(dropout(x.clone(), drops));
        })
    };
    let before = BeforeNorm {
        dropout: drops,
        relu: true,
    };
    let norm = LayerNormConfig::new(WIDTH).init(make.device);
    let inputs = (
        x.clone().into_dispatch(),
        norm.gamma.val().into_dispatch(),
        make.matrix(roots, WIDTH).into_dispatch(),
    );
    let normalise = case("output_norm", costs::output_norm(roots, WIDTH), move || {
        drop(output_norm(x.clone(), &norm, before));
    });
    let work = costs::output_norm_backward(roots, WIDTH);
    let normalise_backward = case("output_norm_backward", work, move || {
        let (a, b, c) = inputs.clone();
        drop(Dispatch::output_norm_backward(a, b, c, before));
    });
    vec![
        encode,
        encode_backward,
        drop_out,
        normalise,
        normalise_backward,
    ]
}

/// Scores of a batch's pairs, from their products; scores and loss, from embeddings.
fn link(make: &Inputs<'_>, events: usize) -> Vec<Case> {
    let layer = LinkLayer {
        source: make.matrix(2 * events, WIDTH),
        destination: make.matrix(2 * events, WIDTH),
        bias: make.vector(WIDTH),
        output: make.vector(WIDTH),
        output_bias: make.vector(1),
        history: None,
    };
    let places = [(); 2].map(|()| {
        let places = (0..2 * events as i32).collect();
        upload::ints(places, [2 * events], make.device)
    });
    let scores = case(
        "link_scores",
        costs::link_scores([2 * events, WIDTH, 0]),
        move || {
            drop(link_scores(layer.clone(), places.clone()));
        },
    );
    let tensors = PredictorTensors::<Dispatch> {
        embedding: make.matrix(3 * events, WIDTH).into_dispatch(),
        source: make.matrix(WIDTH, WIDTH).into_dispatch(),
        source_bias: make.vector(WIDTH).into_dispatch(),
        destination: make.matrix(WIDTH, WIDTH).into_dispatch(),
        destination_bias: make.vector(WIDTH).into_dispatch(),
        output: make.matrix(WIDTH, 1).into_dispatch(),
        output_bias: make.vector(1).into_dispatch(),
        history: make.matrix(0, WIDTH).into_dispatch(),
    };
    let statistics = make.matrix(2 * events, 0).into_dispatch();
    let work = |backward| costs::link_predictor([events, WIDTH, 0], backward);
    let output = Dispatch::link_predictor(tensors.clone(), statistics.clone());
    let grad = make.vector(1).into_dispatch();
    let of = (tensors.clone(), statistics.clone());
    let forward = case("link_predictor", work(false), move || {
        let (tensors, statistics) = of.clone();
        drop(Dispatch::link_predictor(tensors, statistics));
    });
    let of = (tensors, statistics, output, grad);
    // The two products are copied first, as they are needed again; training overwrites them.
    let backward = case("link_predictor_backward", work(true), move || {
        let (tensors, statistics, output, grad) = of.clone();
        drop(Dispatch::link_predictor_backward(
            tensors, statistics, output, grad,
        ));
    });
    vec![scores, forward, backward]
}

/// Past events of `roots` roots, all slots full, each root with a query of its own.
fn slots(
    make: &Inputs<'_>,
    shape: AttentionShape,
    [roots, rows, events]: [usize; 3],
) -> AttentionSlots {
    let index = make.spread(roots * shape.fanout, rows);
    let slot: Vec<i32> = index
        .iter()
        .zip(0..)
        .flat_map(|(&row, i)| {
            let delta = (i % 2_700) as f32 * 1e3;
            let root = i / shape.fanout as i32;
            [row, i % events as i32, delta.to_bits().cast_signed(), root]
        })
        .collect();
    let own: Vec<i32> = (0..roots as i32).collect();
    AttentionSlots {
        slot: upload::ints(slot, [roots, shape.fanout, 4], make.device),
        query_uses: make.uses(&own, roots),
        uses: make.uses(&index, rows),
        draw_row: None,
    }
}

/// Attention of `roots` roots over `rows` node rows and `events` rows of features, all slots
/// full.
fn attention(
    make: &Inputs<'_>,
    [name, backward_name]: [&'static str; 2],
    shape: AttentionShape,
    [roots, rows, events]: [usize; 3],
) -> [Case; 2] {
    let slots = slots(make, shape, [roots, rows, events]);
    let by_heads = || {
        let of = [shape.heads, roots, shape.width()];
        upload::floats(make.numbers(of.iter().product()), of, make.device)
    };
    let (query, grad) = (by_heads() * 0.1, by_heads());
    let (node, edge) = (
        make.matrix(rows, shape.node),
        make.matrix(events, shape.edge),
    );
    let time = make.matrix(2, shape.time);
    let drops = Dropout::new(0.1, 5, 1, 2);
    let tensors = AttentionTensors::<Dispatch> {
        node: node.clone().into_dispatch(),
        edge: edge.clone().into_dispatch(),
        time: time.clone().into_dispatch(),
        slot: slots.slot.clone().into_dispatch(),
        query_offsets: slots.query_uses.offsets.clone().into_dispatch(),
        query_items: slots.query_uses.items.clone().into_dispatch(),
        offsets: slots.uses.offsets.clone().into_dispatch(),
        items: slots.uses.items.clone().into_dispatch(),
        draw_row: slots.query_uses.items.clone().into_dispatch(),
        long: [slots.query_uses.long, slots.uses.long],
    };
    let score = make
        .matrix(roots, shape.fanout * shape.heads)
        .into_dispatch();
    let (q, g) = (query.clone().into_dispatch(), grad.into_dispatch());
    let of = [roots, roots, rows, events];
    let work = costs::temporal_attention(&shape, of, true);
    let backward = case(backward_name, work, move || {
        let (tensors, score) = (tensors.clone(), score.clone());
        let (q, g) = (q.clone(), g.clone());
        drop(Dispatch::temporal_attention_backward(
            q, tensors, score, g, shape, drops,
        ));
    });
    let work = costs::temporal_attention(&shape, of, false);
    let forward = case(name, work, move || {
        let (node, edge, time) = (node.clone(), edge.clone(), time.clone());
        drop(temporal_attention(
            query.clone(),
            node,
            edge,
            time,
            slots.clone(),
            drops,
        ));
    });
    [forward, backward]
}

#[cfg(test)]
mod tests {
    use mspipe::device::{self, DeviceChoice};

    use super::*;

    #[test]
    fn every_kernel_runs_at_a_tiny_size() {
        device::on_device_thread(|| {
            let device = device::open(DeviceChoice::Cpu).unwrap().device;
            let kernels = kernels(100, &device);
            assert!(kernels.len() >= 18);
            let of_burn = of_burn(100, &device);
            assert_eq!(of_burn.len(), 10);
            for (name, _) in &of_burn {
                assert!(kernels.iter().any(|case| case.name == *name), "{name}");
            }
            for mut case in kernels.into_iter().chain(products(100, &device)) {
                assert!(case.work.bytes > 0, "{}", case.name);
                (case.run)();
            }
            of_burn.into_iter().for_each(|(_, mut run)| run());
            device.sync().unwrap();
        })
        .unwrap();
    }
}
