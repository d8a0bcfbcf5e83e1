//! `startup`: from the start of a program to the end of its first training iteration.
//!
//! One start of a program can be measured once, so this is a command of its own. Whether the
//! stream has been converted before and whether the driver's shader cache is warm is for the
//! caller to decide (`MSPIPE_CACHE_DIR`, and Mesa's `MESA_SHADER_CACHE_DIR`).

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use mspipe::config::{self, RunConfig};
use mspipe::device::{self, ComputeDevice};
use mspipe::interrupt;
use mspipe::model::ModelName;
use mspipe::profiler;
use mspipe::session::Session;
use serde::Serialize;

use crate::cell::synthetic_mark;
use crate::iterations::Iterations;
use crate::speed::refuse_out;

/// Operations of the first iteration that are shown.
const SHOWN: usize = 12;

/// What happened until an iteration had ended.
#[derive(Debug, Clone, Serialize)]
pub struct StartupReport {
    /// Device that trained.
    pub device: String,
    /// Name of the stream.
    pub data: String,
    /// Whether it was generated.
    pub synthetic: bool,
    /// The model.
    pub model: ModelName,
    /// Each phase with its seconds, in order.
    pub phases: Vec<(&'static str, f64)>,
    /// Seconds of the thread that calls the device in each operation of the first iteration,
    /// the longest first: on a GPU mostly the time that its driver compiles.
    pub first_operations: Vec<(&'static str, f64)>,
    /// Seconds from the start of the program to the end of the first iteration.
    pub first_iteration_s: f64,
    /// Seconds of the second and the third iteration.
    pub next_iterations_s: [f64; 2],
}

/// Starts a run as `config` says; the program began at `begin`.
///
/// # Errors
/// When the stream or the device can't be opened, or an iteration fails.
pub fn measure(config: RunConfig, begin: Instant) -> Result<StartupReport> {
    refuse_out(&config)?;
    let mut watch = Watch {
        last: begin,
        phases: Vec::new(),
    };
    watch.lap("program and settings");
    config::start_threads(config.machine.threads)?;
    let session = Session::open_until(config, &interrupt::stop())?;
    watch.lap("stream, features, graph");
    device::on_device_thread(|| {
        let device = device::open(session.config().device)?;
        watch.lap("device");
        let (operations, next) = iterate(&session, &device, &mut watch)?;
        Ok(StartupReport {
            device: device.adapter.clone(),
            data: session.data.name.clone(),
            synthetic: session.data.synthetic,
            model: session.config().model.name,
            first_iteration_s: watch.phases.iter().map(|(_, seconds)| seconds).sum(),
            phases: watch.phases,
            first_operations: operations,
            next_iterations_s: next.map(|time| time.as_secs_f64()),
        })
    })?
}

/// Seconds of what the first iteration is made of, by name.
type Phases = Vec<(&'static str, f64)>;

fn iterate(
    session: &Session,
    device: &ComputeDevice,
    watch: &mut Watch,
) -> Result<(Phases, [Duration; 2])> {
    let mut iterations = Iterations::begin(session, device)?;
    watch.lap("model and memory");
    profiler::take();
    profiler::set_recording(true);
    let first = iterations.run(1);
    profiler::set_recording(false);
    first?;
    watch.lap("first iteration");
    let recorded = profiler::take();
    let mut operations: Vec<(&'static str, f64)> = recorded
        .operations
        .iter()
        .map(|total| (total.name, total.time.as_secs_f64()))
        .collect();
    operations.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok((operations, [iterations.run(1)?, iterations.run(1)?]))
}

/// Time since the last phase.
struct Watch {
    last: Instant,
    phases: Vec<(&'static str, f64)>,
}

impl Watch {
    fn lap(&mut self, phase: &'static str) {
        let now = Instant::now();
        self.phases.push((phase, (now - self.last).as_secs_f64()));
        self.last = now;
    }
}

impl fmt::Display for StartupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let synthetic = synthetic_mark(self.synthetic);
        writeln!(
            f,
            "{} on {}{synthetic}, {}",
            self.model, self.data, self.device
        )?;
        for (phase, seconds) in &self.phases {
            writeln!(f, "  {phase:<26} {seconds:>8.3} s")?;
        }
        for (operation, seconds) in self.first_operations.iter().take(SHOWN) {
            writeln!(f, "    {operation:<24} {seconds:>8.3} s")?;
        }
        if self.first_operations.len() > SHOWN {
            let rest = self.first_operations[SHOWN..].iter();
            let seconds: f64 = rest.map(|(_, seconds)| seconds).sum();
            writeln!(f, "    {:<24} {seconds:>8.3} s", "our other operations")?;
        }
        let [second, third] = self.next_iterations_s;
        write!(
            f,
            "start to end of iteration 1  {:>8.3} s   (iteration 2: {second:.3} s, 3: {third:.3} s)",
            self.first_iteration_s
        )
    }
}
