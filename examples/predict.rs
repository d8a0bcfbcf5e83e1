//! From events to answers: trains on events of its own, asks for the best items of a user, has memory
//! follow what happens next, and asks again.
//!
//! ```sh
//! cargo run --release --example predict
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;

use mspipe::{
    DeviceChoice, EventLog, EventLogParts, Late, NewEvent, NodeKey, Pair, Predictor, RunConfig,
};

const USERS: u32 = 60;
const ITEMS: u32 = 20;
const EVENTS: u32 = 3000;

/// A user's favourite item; every user changes it after 1,000 events.
fn favourite(user: u32, event: u32) -> u32 {
    USERS + (user + event / 1000) % ITEMS
}

fn main() -> Result<(), Box<dyn Error>> {
    let user = |event: u32| event * 7 % USERS;
    let log = Arc::new(EventLog::from_parts(EventLogParts {
        name: "visits".to_owned(),
        nodes: (USERS + ITEMS) as usize,
        src: (0..EVENTS).map(user).collect(),
        dst: (0..EVENTS)
            .map(|event| favourite(user(event), event))
            .collect(),
        time: (0..EVENTS).map(|event| i64::from(event) * 60).collect(),
        ..EventLogParts::default()
    })?);

    let mut config = RunConfig {
        device: DeviceChoice::Cpu.into(),
        ..RunConfig::default()
    };
    config.model.width = 32;
    config.model.time_width = 16;
    config.training.epochs = 3;
    config.training.batch_size = 50;
    config.training.learning_rate = 3e-3;
    let (_, run) = mspipe::train_on(&log, config, |_event| Ok(()))?;

    // The run has left its state: weights, memory after the last event, ids.
    let mut predictor = Predictor::load_on(run.path(), &log)?;
    let alice = NodeKey::from(7u32);
    let now = predictor.last().unwrap_or(0) + 60;
    for ranked in predictor.top_k(&alice, now, 3, false)? {
        println!(
            "before: item {} with score {:.3}",
            ranked.node, ranked.score
        );
    }

    // A new item comes up, and everybody looks at it.
    let new_item = NodeKey::from(1000u32);
    let visits: Vec<NewEvent> = (0..USERS)
        .map(|user| NewEvent {
            src: user.into(),
            dst: new_item.clone(),
            time: now + i64::from(user) * 60,
            features: Vec::new(),
        })
        .collect();
    let updated = predictor.update(&visits, Late::Refuse)?;
    println!(
        "followed {} events, {} new node",
        updated.events, updated.new_nodes
    );

    let now = predictor.last().unwrap_or(0) + 60;
    let pair = Pair {
        src: alice,
        dst: new_item,
        time: now,
    };
    let score = predictor.score(&[pair])?[0];
    println!(
        "after: the new item has score {:.3}, known {:?}",
        score.score, score.known
    );
    Ok(())
}
