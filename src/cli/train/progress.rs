//! What is shown of a run while it trains, and when it has ended.

use std::io;
use std::path::PathBuf;

use indicatif::{HumanBytes, HumanCount};
use mspipe::device::{self, ComputeDevice};
use mspipe::pipeline::Stage;
use mspipe::pipeline::ledger::Exchanged;
use mspipe::pipeline::probe::{Probe, ProbeMeans};
use mspipe::report::run::RunReportError;
use mspipe::run_folder::{FeatureUse, MachineUse, QueueSeconds, RunFolder, Summary};
use mspipe::session::Session;
use mspipe::train::observer::{EpochRecord, TrainEvent};
use mspipe::{console, numbers};

use super::super::bar::Bar;
use super::super::report;

/// Progress bar and metrics of a run.
pub(super) struct Progress {
    bar: Bar,
    folder: RunFolder,
    /// Of the timeline.
    title: String,
    epochs: usize,
    probes: Vec<Probe>,
    json: bool,
}

impl Progress {
    pub(super) fn begin(
        session: &Session,
        device: &ComputeDevice,
        folder: &RunFolder,
        json: bool,
    ) -> Progress {
        let config = session.config();
        if !json {
            console::news(report::head(session, device));
            if let Some(link) = &config.pipeline.emulate_link {
                console::news(report::emulated(link));
            }
            console::news(format!("run       {}", folder.path().display()));
        } else {
            report::say_notes(&report::notes(session, device));
        }
        Progress {
            bar: Bar::new(config.training.batch_events()),
            folder: folder.clone(),
            title: session.timeline_title(),
            epochs: config.training.epochs,
            probes: Vec::new(),
            json,
        }
    }

    pub(super) fn say(&self, text: &str) {
        if !self.json {
            self.bar.beside(|| console::news(text));
        }
    }
}

impl Progress {
    /// Shows what happens.
    pub(super) fn see(&mut self, event: TrainEvent<'_>) -> io::Result<()> {
        match event {
            TrainEvent::EpochBegins { epoch, iterations } => {
                let name = format!("epoch {epoch}/{}", self.epochs);
                self.bar.epoch(name, iterations);
            }
            TrainEvent::Iteration { events, .. } => self.bar.done(events),
            TrainEvent::Losses { losses, .. } => {
                if let Some(last) = losses.last() {
                    let loss = numbers::four(f64::from(*last));
                    self.bar.message(format!("loss {loss}"));
                }
            }
            TrainEvent::EpochRecorded(record) => self.folder.write_timeline(record, &self.title)?,
            TrainEvent::Probed { probes, .. } => self.probes.extend_from_slice(probes),
            TrainEvent::TrainingEnds(ended) => {
                self.say(&format!("ended     {ended}"));
                if let Some(means) = ProbeMeans::of(&self.probes) {
                    self.say(&format!(
                        "probed    {} iterations: {means}",
                        self.probes.len()
                    ));
                }
            }
            TrainEvent::EvaluationBegins(part) => {
                self.bar.spinner(format!("evaluating the {part} part"));
            }
            TrainEvent::EpochDone { epoch, record } => self.epoch_done(epoch, record),
            TrainEvent::Warning(message) => {
                let note = || console::note(format!("warning: {message}"));
                self.bar.beside(note);
            }
            TrainEvent::Ledger(_) | TrainEvent::Best { .. } | TrainEvent::Checkpoint { .. } => {}
        }
        Ok(())
    }

    fn epoch_done(&mut self, epoch: usize, record: &EpochRecord) {
        self.bar.clear();
        let mut line = report::epoch(epoch, record);
        let below = |label: &str, metrics: String| format!("\n{:21}  {label} {metrics}", "");
        line.push_str(&below("new", report::inductive(&record.val)));
        if let Some(test) = &record.test {
            line.push_str(&below("test", report::metrics(test)));
        }
        self.say(&line);
    }
}

/// What a GPU did in an iteration, beside the threads.
fn queue_times(queue: &QueueSeconds) -> String {
    let times = queue.lanes().into_iter().flat_map(|(lane, seconds)| {
        let lane = if lane == "bus" { "bus " } else { "" };
        let stages = Stage::ALL.into_iter().zip(seconds);
        let worked = stages.filter(|(_, seconds)| *seconds > 0.0);
        worked.map(move |(stage, s)| format!("{lane}{} {:.2} ms", stage.name(), s * 1e3))
    });
    let encode = queue.encode.iter();
    let encode = encode.map(|s| format!("the host encodes {:.2} ms", s * 1e3));
    let times: Vec<String> = times.chain(encode).collect();
    format!(
        "{} an iteration, by {} in {} of them",
        times.join(", "),
        queue.measured_by,
        HumanCount(queue.iterations)
    )
}

/// What a run took of the machine, beside what was estimated.
fn machine_use(used: &MachineUse) -> String {
    let memory = |what: &str, taken: Option<u64>, estimated: Option<u64>| {
        let taken = format!("{what} {} at most", HumanBytes(taken?));
        Some(match estimated {
            Some(estimated) => format!("{taken} ({} estimated), ", HumanBytes(estimated)),
            None => format!("{taken}, "),
        })
    };
    let ram = memory("RAM", used.peak_ram_bytes, used.estimated_ram_bytes);
    let device = memory(
        "device memory",
        used.peak_device_bytes,
        used.estimated_device_bytes,
    );
    format!(
        "machine   {}{}device busy {:.0} % of training",
        ram.unwrap_or_default(),
        device.unwrap_or_default(),
        100.0 * used.device_busy
    )
}

/// Where a table of features lay, and what batches found there.
fn feature_use(used: &FeatureUse) -> String {
    let FeatureUse {
        table,
        rows,
        on_device,
        bytes,
        wanted,
        found,
        divided,
        batches,
        sent_bytes,
    } = used;
    if *on_device == 0 {
        return format!("{table} in RAM");
    }
    let [rows, part, divided] =
        [*rows as u64, *on_device as u64, *divided].map(|count| HumanCount(count).to_string());
    let bytes = HumanBytes(*bytes);
    if part == rows {
        return format!("{table} on the device, all {rows} rows ({bytes})");
    }
    let share = 100.0 * *found as f64 / (*wanted).max(1) as f64;
    let pieces = match used.divided {
        0 => String::new(),
        _ => format!("; {divided} batches read more than there was room for, in pieces"),
    };
    format!(
        "{table} on the device, {part} of {rows} rows ({bytes}): {share:.1} % of what batches read was there, and \
         each sent {}{pieces}",
        HumanBytes(sent_bytes / (*batches).max(1))
    )
}

/// Prints what came out of a run.
pub(super) fn print_summary(summary: &Summary, folder: &RunFolder) {
    let with = format!(" with the weights of epoch {}", summary.best_epoch);
    console::news(report::test(
        &summary.test,
        &summary.edgebank,
        &summary.counts,
        &with,
    ));
    let stages: Vec<String> = summary
        .stage_seconds
        .iter()
        .map(|(stage, seconds)| format!("{stage} {:.2} s", seconds.as_f64().unwrap_or(0.0)))
        .collect();
    console::news(format!("stages    {}", stages.join(", ")));
    if let Some(queue) = &summary.queue {
        console::news(format!("gpu       {}", queue_times(queue)));
    }
    let ks: Vec<String> = summary
        .staleness
        .iter()
        .map(|(k, iterations)| format!("k = {k} in {} iterations", HumanCount(*iterations as u64)))
        .collect();
    let in_turn = match summary.in_turn {
        0 => String::new(),
        iterations => format!(", {} of them in turn", HumanCount(iterations as u64)),
    };
    console::news(format!(
        "schedule  {}: {}{in_turn}, training waited {:.2} s",
        summary.schedule,
        ks.join(", "),
        summary.stall_seconds
    ));
    console::news(report::stale_memory(
        &summary.stale_memory,
        summary.updater_rows,
        summary.corrected_rows,
    ));
    if let Some(exchanged) = &summary.exchanged {
        let iterations = summary.staleness.values().sum::<usize>();
        console::news(exchange(exchanged, iterations));
    }
    console::news(machine_use(&summary.machine_use));
    for table in &summary.machine_use.features {
        console::news(format!("features  {}", feature_use(table)));
    }
    if let Some(link) = &summary.emulated_link {
        console::news(report::emulated(link));
    }
    if summary.device.adapter.ends_with(device::EMULATED) {
        console::news(report::EMULATED);
    }
    if let Some(profile) = &summary.profile {
        console::news(profile);
    }
    if summary.data.synthetic {
        console::news(report::SYNTHETIC);
    }
    if let Some(missing) = &summary.not_written {
        console::news(format!("missing   {missing}"));
    }
    console::news(format!(
        "written   {}",
        folder.path().join("summary.json").display()
    ));
}

/// What an iteration gave to other ranks.
fn exchange(all: &Exchanged, iterations: usize) -> String {
    let each = |sum: u64| sum / iterations.max(1) as u64;
    let ms = |us: u64| each(us) as f64 / 1e3;
    format!(
        "exchange  {} of gradients in {:.2} ms and {} of rows in {:.2} ms an iteration, by rank 0",
        HumanBytes(each(all.gradient_bytes)),
        ms(all.gradient_us),
        HumanBytes(each(all.row_bytes)),
        ms(all.row_us)
    )
}

/// Where the report is, or why there is none: the run itself is complete without it.
pub(super) fn say_page(page: Result<PathBuf, RunReportError>, json: bool) {
    match page {
        Ok(page) if !json => console::news(format!("report    {}", page.display())),
        Ok(_) => {}
        Err(error) => console::note(format!("report: {error}")),
    }
}
