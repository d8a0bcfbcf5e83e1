//! Trains TGN on a small generated stream, and measures the weights that it kept.
//!
//! ```sh
//! cargo run --release --example train_tgn
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;

use mspipe::{DeviceChoice, EventLog, ModelName, OpenOptions, RunConfig, TrainEvent};

fn main() -> Result<(), Box<dyn Error>> {
    // Any stream that `mspipe train --data` takes: a file, a data set's name, a generated one.
    let log = EventLog::open("synthetic:wikipedia:scale=0.02", &OpenOptions::default())?;
    let log = Arc::new(log);
    println!(
        "{}: {} events, {} nodes",
        log.name(),
        log.events(),
        log.nodes()
    );

    // Settings are those of the command line, with the same defaults.
    let mut config = RunConfig {
        device: DeviceChoice::Cpu.into(),
        ..RunConfig::default()
    };
    config.model.name = ModelName::Tgn;
    config.model.width = 32;
    config.model.time_width = 16;
    config.training.epochs = 2;
    config.training.batch_size = 100;
    config.training.learning_rate = 1e-3;

    // The closure is told what happens; an error that it returns ends the run.
    let (summary, folder) = mspipe::train_on(&log, config.clone(), |event| {
        if let TrainEvent::EpochDone { epoch, record } = event {
            println!(
                "epoch {epoch}: loss {:.3}, validation AP {:.3}, {:.0} events/s",
                record.train_loss, record.val.ap, record.events_per_s
            );
        }
        Ok(())
    })?;
    println!(
        "test AP {:.3}, in {}",
        summary.test.own_pool.ap,
        folder.path().display()
    );

    // The weights of the best epoch lie in the folder. They are measured here with a memory that is
    // built by them alone, and not by weights that were still learning.
    config.start.init = Some(folder.path().to_owned());
    let measured = mspipe::evaluate_on(&log, config)?;
    println!("evaluated: test AP {:.3}", measured.test.own_pool.ap);
    Ok(())
}
