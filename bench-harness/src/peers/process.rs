//! The peer's program: a Python process that trains when it is told to.
//!
//! Commands go to its standard input, answers come from its standard output, one line of JSON
//! each; `peers/pyg_tgn.py` describes them. What it says on standard error is kept in the job's
//! folder, and its end is part of every error.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mspipe::interrupt;
use mspipe_datasets::Stop;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The script.
const SCRIPT: &str = include_str!("../../peers/pyg_tgn.py");

/// How the packages get into an environment.
const INSTALL: &str = "pip install torch torch_geometric";

/// Lines of its standard error that an error shows.
const LAST_LINES: usize = 12;

/// Variables that tell OpenBLAS what processor to assume: what they are set to for one library
/// may be wrong for the one in torch, which finds out by itself.
const FOREIGN: [&str; 3] = [
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OPENBLAS_NUM_THREADS",
];

/// What the peer is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    /// Python.
    pub python: String,
    /// PyTorch.
    pub torch: String,
    /// PyG.
    pub torch_geometric: String,
    /// Threads of PyTorch's operations.
    pub threads: usize,
    /// Trained parameters of the model.
    pub parameters: usize,
}

/// Results of an epoch.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PeerEpoch {
    /// Training events per second.
    pub(super) events_per_s: f64,
    /// Mean loss of its batches.
    pub(super) train_loss: f64,
    /// Past events that a batch was given, the mean.
    pub(super) neighbor_rows: f64,
}

/// A running peer. It ends when its standard input does, and is killed when this is dropped.
pub(super) struct Peer {
    python: PathBuf,
    folder: PathBuf,
    child: Arc<Mutex<Child>>,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `python` on the job in `folder`.
    ///
    /// # Errors
    /// When it can't be started, packages are missing, or it refuses the job.
    pub(super) fn start(python: &Path, folder: &Path, threads: usize) -> Result<(Peer, Versions)> {
        let script = folder.join("pyg_tgn.py");
        fs::write(&script, SCRIPT).with_context(|| format!("{}", script.display()))?;
        let errors = File::create(folder.join("errors.txt"))?;
        let mut command = Command::new(python);
        command
            .args(["-W", "ignore"])
            .args([&script, folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        for variable in FOREIGN {
            command.env_remove(variable);
        }
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, threads.to_string());
        }
        let mut child = command.spawn().with_context(|| {
            format!(
                "--python {}: can't be started; make an environment with `python3 -m venv pyg` and \
                 `pyg/bin/{INSTALL}`, and give its pyg/bin/python (Windows: pyg\\Scripts\\python)",
                python.display()
            )
        })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for");
        };
        let child = Arc::new(Mutex::new(child));
        end_with(interrupt::stop(), Arc::downgrade(&child));
        let mut peer = Peer {
            python: python.to_owned(),
            folder: folder.to_owned(),
            child,
            input: Some(input),
            output: BufReader::new(output),
        };
        let first: FirstAnswer = peer.answer()?;
        match first {
            FirstAnswer::Ready(versions) => Ok((peer, versions)),
            FirstAnswer::Missing { missing } => bail!(
                "--python {0}: {missing}; install what is missing with `{0} -m {INSTALL}`",
                python.display()
            ),
        }
    }

    /// Trains an epoch (from 1) and scores validation and test.
    ///
    /// # Errors
    /// When the process fails.
    pub(super) fn epoch(&mut self, epoch: usize) -> Result<PeerEpoch> {
        self.ask(&format!("epoch {epoch}"))
    }

    /// GFLOP/s of PyTorch's f32 matrix product of rows x inner and inner x columns.
    ///
    /// # Errors
    /// When the process fails.
    pub(super) fn product_gflops(&mut self, [rows, inner, columns]: [usize; 3]) -> Result<f64> {
        let answer: Product = self.ask(&format!("product {rows} {inner} {columns}"))?;
        Ok(answer.gflops)
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &str) -> Result<T> {
        let written = match &mut self.input {
            Some(input) => writeln!(input, "{command}").and_then(|()| input.flush()),
            None => unreachable!("taken when it is dropped"),
        };
        // A process that ended does not read; what it left behind says why.
        match written {
            Ok(()) => self.answer().with_context(|| format!("`{command}`")),
            Err(_) => Err(self.ended()).with_context(|| format!("`{command}`")),
        }
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        if read.is_err() || line.is_empty() {
            return Err(self.ended());
        }
        serde_json::from_str(&line).with_context(|| {
            let line = line.trim();
            format!("{}: answered '{line}'", self.python.display())
        })
    }

    /// The error of a process that ended, with the last that it said.
    fn ended(&mut self) -> anyhow::Error {
        drop(self.input.take());
        let status = lock(&self.child)
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = fs::read(self.folder.join("errors.txt")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        let last: String = lines[lines.len().saturating_sub(LAST_LINES)..]
            .iter()
            .map(|line| format!("\n  {line}"))
            .collect();
        anyhow!("{}: ended ({status}){last}", self.python.display())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may be in the middle of an epoch; what it gives is not wanted any more.
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Ends the process when a stop is requested: an epoch of it takes minutes, in which nobody asks.
fn end_with(stop: Stop, child: Weak<Mutex<Child>>) {
    thread::spawn(move || {
        while let Some(child) = child.upgrade() {
            if stop.requested() {
                // It may have ended by itself.
                let _ = lock(&child).kill();
                return;
            }
            drop(child);
            thread::sleep(Duration::from_millis(100));
        }
    });
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FirstAnswer {
    Ready(Versions),
    Missing { missing: String },
}

#[derive(Deserialize)]
struct Product {
    gflops: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_is_not_there_is_told_how_to_get() {
        let folder = tempfile::tempdir().unwrap();
        let started = Peer::start(Path::new("no/such/python"), folder.path(), 1);
        let error = format!("{:#}", started.err().unwrap());
        assert!(error.contains("--python no/such/python"), "{error}");
        assert!(error.contains(INSTALL), "{error}");
    }

    /// Whatever program is started: one that ends without an answer says so.
    #[test]
    fn a_program_that_is_no_python_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO"));
        let error = Peer::start(program, folder.path(), 1).err().unwrap();
        assert!(error.to_string().contains(": ended ("), "{error}");
    }
}
