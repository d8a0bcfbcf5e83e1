//! The stream that batches are made of.

use std::env;
use std::sync::OnceLock;

use anyhow::Result;
use clap::Parser;
use mspipe::config::RunConfig;
use mspipe::sampling::SplitPart;
use mspipe::session::Session;
use mspipe::train::pass::Pass;
use mspipe_bench::cell::synthetic_mark;
use mspipe_datasets::{EventLog, OpenOptions};

/// A data set's name, and what stands in where its file is missing.
const DATA: [&str; 2] = ["wikipedia", "synthetic:wikipedia"];

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    run: RunConfig,
}

/// The stream with the settings of a run of `model`, whatever the device.
pub(crate) fn session(model: &str) -> Result<Session> {
    let data = match env::var("MSPIPE_BENCH_DATA") {
        Ok(data) => data,
        Err(_) => match EventLog::open(DATA[0], &OpenOptions::default()) {
            Ok(_) => DATA[0].to_owned(),
            Err(_) => DATA[1].to_owned(),
        },
    };
    let arguments = [
        "bench",
        "--edge-features=random:172",
        "--model",
        model,
        "--data",
        &data,
    ];
    let session = Session::open(Settings::try_parse_from(arguments)?.run)?;
    USED.get_or_init(|| name(&session));
    Ok(session)
}

/// Training events in batches.
pub(crate) fn pass(session: &Session) -> Pass {
    Pass {
        sampling: session.sampling().clone(),
        events: session.split.train.clone(),
        part: SplitPart::Train,
        epoch: 1,
    }
}

static USED: OnceLock<String> = OnceLock::new();

/// The stream as the record names it, if one was opened.
pub(crate) fn used() -> Option<String> {
    USED.get().cloned()
}

fn name(session: &Session) -> String {
    let synthetic = synthetic_mark(session.data.synthetic);
    format!(
        "batches of {} events of {}{synthetic}, {:.8}, random edge features {} wide",
        session.config().training.batch_size,
        session.data.name,
        session.data.hash,
        session.data.edge_width
    )
}
