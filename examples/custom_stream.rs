//! Trains on events that the program brings itself, with features of their own, and JODIE in the
//! place of TGN.
//!
//! ```sh
//! cargo run --release --example custom_stream
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::io;
use std::sync::Arc;

use mspipe::{
    DeviceChoice, EventLog, EventLogParts, FeatureTable, ModelName, RunConfig, TrainEvent,
};

const USERS: u32 = 60;
const ITEMS: u32 = 20;
const EVENTS: u32 = 3000;

/// Kinds of items, of which an event's features say one.
const KINDS: u32 = 8;

/// Users, 0 to 59, who visit items, 60 to 79: each has a favourite, which changes as time goes on.
fn visits() -> Result<EventLog, Box<dyn Error>> {
    let events = 0..EVENTS;
    let user = |event: u32| event * 7 % USERS;
    let item = |event: u32| (user(event) + event / 1000) % ITEMS;
    // Numbers per event, whatever is known of it: here 1 for the item's kind.
    let of_event =
        |event| (0..KINDS).map(move |kind| f32::from(u8::from(item(event) % KINDS == kind)));
    let features = events.clone().flat_map(of_event).collect();
    let log = EventLog::from_parts(EventLogParts {
        name: "visits".to_owned(),
        nodes: (USERS + ITEMS) as usize,
        src: events.clone().map(user).collect(),
        dst: events.clone().map(|event| USERS + item(event)).collect(),
        // Seconds that never decrease.
        time: events.map(|event| i64::from(event) * 60).collect(),
        edge_features: Some(FeatureTable::from_f32(
            EVENTS as usize,
            KINDS as usize,
            features,
        )?),
        ..EventLogParts::default()
    })?;
    Ok(log)
}

fn main() -> Result<(), Box<dyn Error>> {
    let log = Arc::new(visits()?);

    let mut config = RunConfig {
        device: DeviceChoice::Cpu.into(),
        ..RunConfig::default()
    };
    config.model.name = ModelName::Jodie;
    config.model.width = 32;
    config.model.time_width = 16;
    config.training.epochs = 6;
    config.training.batch_size = 50;
    config.training.learning_rate = 3e-3;

    let mut best: f64 = 0.0;
    let (summary, _) = mspipe::train_on(&log, config, |event| {
        match event {
            TrainEvent::EpochDone { epoch, record } => {
                best = best.max(record.val.ap);
                println!("epoch {epoch}: validation AP {:.3}", record.val.ap);
            }
            // A program of its own may treat as an error what `mspipe train` only warns of.
            TrainEvent::Warning(message) => return Err(io::Error::other(message.to_owned())),
            _ => {}
        }
        Ok(())
    })?;

    // EdgeBank, which learns nothing, says how much of it is repetition.
    println!(
        "best validation AP {best:.3}, test AP {:.3}, EdgeBank {:.3}",
        summary.test.own_pool.ap, summary.edgebank.unlimited.test_ap
    );
    Ok(())
}
