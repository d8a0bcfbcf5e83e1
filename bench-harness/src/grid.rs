//! Runs that differ in a few settings, one after the other; finished ones are kept.
//!
//! The folder of a grid holds one folder per run (`config.json`, `ledger.jsonl`,
//! `weights.safetensors`, `summary.json`, `timeline.svg`) with `cell.json` in it, what the
//! tables are made of.
//! `cell.json` is written last and is complete where it exists: a grid that is started again
//! trains only what has none.
//!
//! Invariant: the cells of a grid belong together. Settings, stream, device or number of
//! threads other than those of the rest are refused before anything is trained with them.
//!
//! The machine's matrix product is measured before the first run and after each, but not
//! more often than every 20 seconds (it takes one itself), so that every run has a rate
//! from shortly before and shortly after. It does not decide what is compared:
//! [`crate::schedules`], [`crate::reproduce`] and [`crate::check`] do.

mod observed;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mspipe::config::{self, RunConfig, Task};
use mspipe::console;
use mspipe::device::{self, ComputeDevice, DeviceSettings};
use mspipe::interrupt;
use mspipe::run_folder::{LOCK, RunFolder};
use mspipe::session::Session;
use mspipe_datasets::whole_file::{self, Existing, WholeFileError};
use serde_json::Value;

use crate::cell::{Cell, CellEpoch, Context};
use crate::machine;
use crate::matmul::matmul_gflops;
use observed::Observed;

/// What makes a folder that of a finished run of a grid.
pub(crate) const CELL: &str = "cell.json";

/// Time after which the machine's matrix product is measured again.
const MEASURED_FOR: Duration = Duration::from_secs(20);

/// A run to do.
#[derive(Debug, Clone)]
pub struct Training {
    /// What sets it apart from the others; its folder is called after it.
    pub label: String,
    /// Its settings; `out` is not used.
    pub config: RunConfig,
    /// How much work it is, in any unit that the others of its grid share: what the time left
    /// is estimated from.
    pub work: f64,
}

/// Runs that belong together, and the folder that keeps them.
#[derive(Debug, Clone)]
pub struct Group {
    /// Holds one folder per run.
    pub folder: PathBuf,
    /// What to train, in this order.
    pub trainings: Vec<Training>,
}

/// Trains what is not finished in `folder`, in this order, and returns all cells in it.
/// Progress goes to standard error.
///
/// # Errors
/// Settings out of range (before anything is trained), a folder with cells of other settings,
/// a run that fails.
pub fn run(folder: &Path, trainings: Vec<Training>) -> Result<Vec<Cell>> {
    let group = Group {
        folder: folder.to_owned(),
        trainings,
    };
    Ok(run_groups(vec![group])?.remove(0))
}

/// The same for several groups, one after the other, whose cells need not belong together;
/// returns the cells of each.
///
/// # Errors
/// See [`run`].
pub fn run_groups(groups: Vec<Group>) -> Result<Vec<Vec<Cell>>> {
    let mut plans = groups
        .into_iter()
        .map(Plan::new)
        .collect::<Result<Vec<_>>>()?;
    let all: usize = plans.iter().map(|plan| plan.trainings.len()).sum();
    let missing: usize = plans.iter().map(Plan::missing).sum();
    let place = match plans.as_slice() {
        [only] => only.folder.display().to_string(),
        several => format!("{} folders", several.len()),
    };
    console::note(format!(
        "{all} runs, {} of them finished in {place}",
        all - missing
    ));
    if missing > 0 {
        let config = plans.iter().find_map(|plan| plan.trainings.first());
        let (device, threads) = config.map_or((Default::default(), None), |training| {
            (training.config.device, training.config.machine.threads)
        });
        config::start_threads(threads)?;
        device::on_device_thread(|| -> Result<()> {
            let mut bench = Bench::open(device, &plans)?;
            plans.iter_mut().try_for_each(|plan| bench.train(plan))
        })??;
    }
    Ok(plans
        .into_iter()
        .map(|plan| plan.cells.into_iter().flatten().collect())
        .collect())
}

/// The cells of what is finished of some groups; nothing is trained.
///
/// # Errors
/// Settings out of range, a folder with cells of other settings.
pub fn finished(groups: &[Group]) -> Result<Vec<Vec<Option<Cell>>>> {
    let plans = groups.iter().cloned().map(Plan::new);
    plans.map(|plan| Ok(plan?.cells)).collect()
}

/// A group, and what is finished of it.
struct Plan {
    folder: PathBuf,
    trainings: Vec<Training>,
    cells: Vec<Option<Cell>>,
    /// What its cells share.
    context: Option<Context>,
}

/// Refuses a folder that has something in it, but no run: it is not one of a grid.
pub(crate) fn refuse_foreign(folder: &Path) -> Result<()> {
    let read = || -> io::Result<(bool, Option<String>)> {
        let (mut any, mut foreign) = (false, None);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            any |= path.join(CELL).is_file() || path.join(LOCK).is_file();
            foreign.get_or_insert_with(|| entry.file_name().to_string_lossy().into_owned());
        }
        Ok((any, foreign))
    };
    match read() {
        Ok((false, Some(found))) => bail!(
            "{}: is not empty ({found}) and holds no runs of this program; nothing in it was touched; \
             give --out a new or an empty folder",
            folder.display()
        ),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| folder.display().to_string()),
    }
}

impl Plan {
    fn new(group: Group) -> Result<Plan> {
        refuse_foreign(&group.folder)?;
        let mut plan = Plan {
            folder: group.folder,
            trainings: Vec::with_capacity(group.trainings.len()),
            cells: Vec::with_capacity(group.trainings.len()),
            context: None,
        };
        for training in group.trainings {
            let training = training.written_and_read()?;
            training.check()?;
            let cell = training.kept(&plan.folder)?;
            if let Some(cell) = &cell {
                let shared = plan.context.get_or_insert_with(|| cell.context.clone());
                training.belongs(&cell.context, shared)?;
            }
            plan.trainings.push(training);
            plan.cells.push(cell);
        }
        Ok(plan)
    }

    fn missing(&self) -> usize {
        self.cells.iter().filter(|cell| cell.is_none()).count()
    }

    /// The work of what is not finished.
    fn work(&self) -> f64 {
        let all = self.trainings.iter().zip(&self.cells);
        all.filter(|(_, cell)| cell.is_none())
            .map(|(training, _)| training.work)
            .sum()
    }
}

/// The device that trains, and how far it has come.
struct Bench {
    opened: ComputeDevice,
    gflops: f64,
    measured: Instant,
    begin: Instant,
    missing: usize,
    done: usize,
    work: f64,
    work_done: f64,
    program: String,
}

impl Bench {
    fn open(device: DeviceSettings, plans: &[Plan]) -> Result<Bench> {
        let opened = device::open(device)?;
        let gflops = matmul_gflops(&opened.device)?;
        Ok(Bench {
            opened,
            gflops,
            measured: Instant::now(),
            begin: Instant::now(),
            missing: plans.iter().map(Plan::missing).sum(),
            done: 0,
            work: plans.iter().map(Plan::work).sum(),
            work_done: 0.0,
            program: machine::program(),
        })
    }

    /// GFLOP/s before and after what has just run.
    fn gflops(&mut self) -> Result<[f64; 2]> {
        let before = self.gflops;
        if self.measured.elapsed() >= MEASURED_FOR {
            self.gflops = matmul_gflops(&self.opened.device)?;
            self.measured = Instant::now();
        }
        Ok([before, self.gflops])
    }

    fn train(&mut self, plan: &mut Plan) -> Result<()> {
        for (training, cell) in plan.trainings.iter().zip(&mut plan.cells) {
            if cell.is_some() {
                continue;
            }
            self.done += 1;
            console::part(format!(
                "[{}/{}] {} … ",
                self.done, self.missing, training.label
            ));
            let result = training.train(&plan.folder, self, &mut plan.context);
            // The message of an error begins its own line.
            let new = result.inspect_err(|_| console::note(""))?;
            self.work_done += training.work;
            let left = (self.work / self.work_done - 1.0).max(0.0);
            console::note(format!(
                "{:.0} events/s, test AP {:.4}, {} left",
                new.median_events_per_s(),
                new.test.ap,
                rough(self.begin.elapsed().mul_f64(left))
            ));
            *cell = Some(new);
        }
        Ok(())
    }
}

/// A duration as one number: `40 s`, `12 min`, `3.4 h`.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6000 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

impl Training {
    /// The same with settings as a file gives them back, so that they compare with a file's.
    fn written_and_read(mut self) -> Result<Training> {
        self.config.output.out = None;
        self.config = serde_json::from_str(&serde_json::to_string(&self.config)?)?;
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.config.start.task == Task::Link,
            "--task: found node classification, expected link: only link prediction can be compared"
        );
        self.config
            .validate()
            .with_context(|| format!("run '{}'", self.label))
    }

    /// Its run folder.
    pub(crate) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(folder_name(&self.label))
    }

    /// What its timeline is called.
    fn title(&self, context: &Context) -> String {
        let synthetic = if context.synthetic {
            " (SYNTHETIC)"
        } else {
            ""
        };
        let link = self.config.pipeline.emulate_link;
        let emulated = link.map_or_else(String::new, |link| format!(" (EMULATED link {link})"));
        format!("{}{synthetic}{emulated}", self.label)
    }

    fn cell_path(&self, folder: &Path) -> PathBuf {
        self.path(folder).join(CELL)
    }

    /// Results of an earlier start.
    fn kept(&self, folder: &Path) -> Result<Option<Cell>> {
        let path = self.cell_path(folder);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let cell: Cell = serde_json::from_str(&text).with_context(|| {
            format!(
                "{}: is not a finished run of this program; remove it or choose another --out",
                path.display()
            )
        })?;
        if cell.config != self.config {
            bail!(
                "{}: was trained with other settings ({}); choose another --out",
                path.display(),
                differences(&cell.config, &self.config)?.join(", ")
            );
        }
        Ok(Some(cell))
    }

    /// Refuses numbers of another stream or machine than those that are there.
    fn belongs(&self, own: &Context, shared: &Context) -> Result<()> {
        ensure!(
            own == shared,
            "run '{}' is of {own}, others in its folder are of {shared}; one table can't have \
             both: choose another --out",
            self.label
        );
        Ok(())
    }

    fn train(
        &self,
        folder: &Path,
        bench: &mut Bench,
        shared: &mut Option<Context>,
    ) -> Result<Cell> {
        let path = self.path(folder);
        let mut config = self.config.clone();
        config.output.out = Some(path.clone());
        let stop = interrupt::stop();
        let session = Session::open_until(config, &stop)?;
        let _unfinished = stop.unfinished();
        let context = Context {
            data: session.data.name.clone(),
            data_hash: session.data.hash.clone(),
            synthetic: session.data.synthetic,
            events: session.data.events,
            nodes: session.data.nodes,
            edge_width: session.data.edge_width,
            device: bench.opened.adapter.clone(),
            machine: machine::machine(),
            threads: rayon::current_num_threads(),
        };
        self.belongs(&context, shared.get_or_insert_with(|| context.clone()))?;
        // Without a cell nothing is finished: what a start that was ended left is of no use.
        let run = RunFolder::create_again(session.config(), &session.data.name)?;
        let mut observed = Observed::new(&run, self.title(&context))?;
        let summary = session.train(&bench.opened, &run, &mut |event| observed.see(event))?;
        let cell = Cell {
            config: self.config.clone(),
            context,
            program: bench.program.clone(),
            epochs: summary
                .epochs
                .iter()
                .map(|epoch| CellEpoch {
                    train_loss: epoch.train_loss,
                    train_seconds: epoch.train_seconds,
                    events_per_s: epoch.events_per_s,
                    val_ap: epoch.val.ap,
                })
                .collect(),
            corrected_rows: observed.corrected_rows(),
            loss_curve: observed.loss_curve,
            stage_seconds: summary
                .stage_seconds
                .into_iter()
                .map(|(stage, seconds)| (stage, seconds.as_f64().unwrap_or(0.0)))
                .collect(),
            updater_seconds: summary.updater_seconds,
            queue: summary.queue,
            stall_seconds: summary.stall_seconds,
            staleness: summary.staleness.into_iter().collect(),
            stale_memory: Some(summary.stale_memory),
            k_changes: observed.k_changes,
            ages: observed.ages,
            in_flight: observed.in_flight,
            probes: observed.probes,
            test: summary.test.own_pool,
            test_other_pool: summary.test.other_pool,
            edgebank_ap: summary.edgebank.unlimited.test_ap,
            matmul_gflops: bench.gflops()?,
        };
        let text = serde_json::to_string_pretty(&cell)? + "\n";
        write_whole(&path.join(CELL), &text)?;
        // As a later start reads it: parsing may round the last bit of a number.
        Ok(serde_json::from_str(&text)?)
    }
}

/// The words of a label as a name of a folder: Windows takes no colon in one.
pub(crate) fn folder_name(label: &str) -> String {
    let words = label.split(|c: char| !c.is_alphanumeric() && c != '.');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-")
}

/// Writes a file of the harness' own, in place of an earlier one.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), WholeFileError> {
    let _unfinished = interrupt::stop().unfinished();
    whole_file::write(path, Existing::Replace, |file| {
        file.write_all(text.as_bytes())
    })
}

/// The settings that differ, as `epochs: 1, now 2`.
pub(crate) fn differences(before: &RunConfig, now: &RunConfig) -> Result<Vec<String>> {
    let (before, now) = (before.by_name()?, now.by_name()?);
    Ok(now
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(name, value)| {
            let found = before.get(name).unwrap_or(&Value::Null);
            format!("{name}: {found}, now {value}")
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_one_number() {
        let text = [0, 99, 100, 5999, 6000].map(|s| rough(Duration::from_secs(s)));
        assert_eq!(text, ["0 s", "99 s", "2 min", "100 min", "1.7 h"]);
    }
}
