//! A stream in JODIE's csv with features of Wikipedia's width: to a store, and open it again.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mspipe_datasets::{EventLog, OpenOptions};
use tempfile::TempDir;

use crate::suite::{Limit, Prepared, Suite, on_host};

/// Events of the file, 172 features each: 21 MB.
const EVENTS: usize = 20_000;
const FEATURES: usize = 172;

/// Copies that are timed; the fastest counts, since the system writes when it likes.
const COPIES: usize = 5;

pub(crate) fn measure(suite: &mut Suite) -> Result<()> {
    suite.bench("import", "csv to store", |_| convert())?;
    suite.bench("import", "open store", |_| open())
}

/// A folder with the file in it.
fn file() -> Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let mut text = String::from("user_id,item_id,timestamp,state_label,features\n");
    for event in 0..EVENTS {
        let (user, item) = (event * 7919 % 1_000, event * 104_729 % 500);
        write!(text, "{user},{item},{}.0,0", 17 * event)?;
        for feature in 0..FEATURES {
            write!(text, ",0.{:03}", (event * 31 + feature * 17) % 1_000)?;
        }
        text.push('\n');
    }
    let path = folder.path().join("events.csv");
    fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
    Ok((folder, path))
}

fn options(folder: &TempDir, number: usize) -> OpenOptions {
    OpenOptions {
        cache_dir: Some(folder.path().join(number.to_string())),
        ..OpenOptions::default()
    }
}

fn convert() -> Result<Prepared> {
    let (folder, path) = file()?;
    let spec = path.display().to_string();
    let folder = Rc::new(folder);
    let copied = folder.clone();
    let mut number = 0;
    Ok(Prepared {
        run: Box::new(move |times| {
            let mut time = Duration::ZERO;
            for _ in 0..times {
                let options = options(&folder, number);
                let begin = Instant::now();
                black_box(EventLog::open(&spec, &options)?);
                time += begin.elapsed();
                if let Some(cache) = options.cache_dir {
                    fs::remove_dir_all(cache)?;
                }
                number += 1;
            }
            Ok(time)
        }),
        work: None,
        items: Some(("events", EVENTS as f64)),
        bound: Limit::Seconds(
            "copy of the file",
            Box::new(move || copy_seconds(&path, &copied.path().join("copy.csv"))),
        ),
    })
}

/// Seconds of a plain copy of `from`.
fn copy_seconds(from: &Path, to: &Path) -> Result<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..COPIES {
        let begin = Instant::now();
        fs::copy(from, to)?;
        fastest = fastest.min(begin.elapsed().as_secs_f64());
    }
    Ok(fastest)
}

fn open() -> Result<Prepared> {
    let (folder, path) = file()?;
    let spec = path.display().to_string();
    EventLog::open(&spec, &options(&folder, 0))?;
    Ok(Prepared {
        run: on_host(move || {
            black_box(EventLog::open(&spec, &options(&folder, 0))?);
            Ok(())
        }),
        work: None,
        items: Some(("opens", 1.0)),
        bound: Limit::None,
    })
}
