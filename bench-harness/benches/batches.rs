//! What is done on the host before a batch reaches the device: negatives, past events, layout,
//! features.
//!
//! Batches take turns, so that no cache holds what a batch reads from the turn before.

use std::hint::black_box;

use anyhow::Result;
use mspipe::batch::{EventBatch, Layout, MfgScratch};
use mspipe::graph::{EventId, Queries};
use mspipe::profiler::Work;
use mspipe::sampling::{NeighborSampler, Neighbors, Recent, SampleKey, Uniform};
use mspipe::train::pass::Pass;

use crate::stream;
use crate::suite::{Limit, Prepared, Run, Suite, on_host};

/// Batches that take turns.
const BATCHES: usize = 32;

const FANOUT: usize = 10;

/// Numbers of 4 bytes in a slot: node, event, and two for the time.
const SLOT: usize = 4;

pub(crate) fn measure(suite: &mut Suite) -> Result<()> {
    let recent = Recent { fanout: FANOUT };
    suite.bench("batches", "sample recent, 1 thread", |_| sample(recent, 1))?;
    let threads = rayon::current_num_threads();
    if threads > 1 {
        let name = format!("sample recent, {threads} threads");
        suite.bench("batches", &name, |_| sample(recent, threads))?;
    }
    let uniform = Uniform { fanout: FANOUT };
    suite.bench("batches", "sample uniform, 1 thread", |_| {
        sample(uniform, 1)
    })?;
    suite.bench("batches", "negatives", |_| negatives())?;
    for model in ["tgn", "jodie", "apan"] {
        let name = format!("layout ({model})");
        suite.bench("batches", &name, |_| layout(model))?;
    }
    suite.bench("batches", "edge features", |_| features())
}

/// The pass of `model`, and batches from the end of its first half.
fn batches(model: &str) -> Result<(Pass, Vec<EventBatch>)> {
    let pass = stream::pass(&stream::session(model)?);
    let half = pass.iterations() / 2;
    let chosen = half.saturating_sub(BATCHES)..half.max(1);
    let batches = chosen
        .map(|i| pass.batch(i))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((pass, batches))
}

/// Calls `call` with one value after the other, again and again.
fn in_turn<T: 'static>(values: Vec<T>, mut call: impl FnMut(&T) -> Result<()> + 'static) -> Run {
    let mut turn = 0;
    on_host(move || {
        turn += 1;
        call(&values[turn % values.len()])
    })
}

fn past(
    sampler: &dyn NeighborSampler,
    pass: &Pass,
    batch: &EventBatch,
    roots: Queries<'_>,
) -> Neighbors {
    let key = SampleKey {
        seed: 0,
        epoch: 1,
        event: batch.events.start as u64,
        request: 0,
    };
    sampler.sample(&pass.sampling.graph, roots, None, key)
}

/// Past events of the roots of a batch.
fn sample(sampler: impl NeighborSampler + 'static, threads: usize) -> Result<Prepared> {
    let (pass, batches) = batches("tgn")?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let rooted: Vec<_> = batches
        .into_iter()
        .map(|batch| (batch.roots(), batch))
        .collect();
    let roots = rooted[0].0.node.len();
    Ok(Prepared {
        run: in_turn(rooted, move |(roots, batch)| {
            pool.install(|| black_box(past(&sampler, &pass, batch, roots.queries())));
            Ok(())
        }),
        // Each slot is read from the graph and written.
        work: Some(Work::new(2 * SLOT * FANOUT * roots, 0)),
        items: Some(("roots", roots as f64)),
        bound: Limit::Work,
    })
}

/// The negatives of a batch, and its columns.
fn negatives() -> Result<Prepared> {
    let (pass, batches) = batches("tgn")?;
    let first = batches[0].events.start / pass.sampling.batch_size;
    let events = batches[0].events.len();
    Ok(Prepared {
        run: in_turn((first..first + BATCHES).collect(), move |batch| {
            black_box(pass.batch(*batch)?);
            Ok(())
        }),
        work: None,
        items: Some(("events", events as f64)),
        bound: Limit::None,
    })
}

/// Unique rows, indices, last writers and mail routing of a batch whose past events are there.
fn layout(model: &str) -> Result<Prepared> {
    let (pass, batches) = batches(model)?;
    let recent = Recent { fanout: FANOUT };
    let ready: Vec<(EventBatch, Neighbors)> = batches
        .into_iter()
        .map(|batch| {
            let neighbors = past(&recent, &pass, &batch, batch.roots().queries());
            (batch, neighbors)
        })
        .collect();
    let mut scratch = MfgScratch::new(pass.sampling.log.nodes());
    let events = ready[0].0.events.len();
    Ok(Prepared {
        run: in_turn(ready, move |(batch, neighbors)| {
            let rule = &pass.sampling.layout;
            // Copying them is what handing them over costs.
            let sample = |_: Queries<'_>, _| neighbors.clone();
            black_box(Layout::build(batch, rule, sample, &mut scratch));
            Ok(())
        }),
        work: None,
        items: Some(("events", events as f64)),
        bound: Limit::None,
    })
}

/// Edge features of the distinct past events of a batch.
fn features() -> Result<Prepared> {
    let (pass, batches) = batches("tgn")?;
    let recent = Recent { fanout: FANOUT };
    let events: Vec<Vec<EventId>> = batches
        .iter()
        .map(|batch| {
            let neighbors = past(&recent, &pass, batch, batch.roots().queries());
            let slots = neighbors.event.chunks(FANOUT).zip(&neighbors.len);
            let mut events: Vec<EventId> = slots
                .flat_map(|(slots, &len)| slots[..len as usize].to_vec())
                .collect();
            events.sort_unstable();
            events.dedup();
            events
        })
        .collect();
    let rows = events.iter().map(Vec::len).sum::<usize>() / events.len();
    let width = pass.sampling.features.edge_width();
    Ok(Prepared {
        run: in_turn(events, move |events| {
            black_box(pass.sampling.features.edge_rows(events));
            Ok(())
        }),
        work: Some(Work::new(2 * rows * width, 0)),
        items: Some(("rows", rows as f64)),
        bound: Limit::Work,
    })
}
