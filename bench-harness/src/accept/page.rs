//! The report of `accept` as a page: the verdict and what does not hold first, then what each part found.

mod speed;

use mspipe::report::chart::{Bars, Size, Stacks, short};
use mspipe::report::run::TIMELINE as WHAT_A_TIMELINE_SHOWS;
use mspipe::report::{Block, Document, Figure, Section, Table};
use serde_json::Value;

use super::asked::Part;
use super::found::{
    AcceptReport, Clock, DeviceFacts, KernelRow, KernelTimes, PartReport, ProfiledRun, Row,
    ScheduleRow, Verdict, counted,
};
use crate::schedules::or_dash;

/// Letters of what was found that a table has; the rest is in `accept.json`, and where a check
/// does not hold also above the tables.
const CELL: usize = 400;

/// Failed checks above the tables.
const FAILURES: usize = 8;

/// Kernels in the chart.
const LONGEST: usize = 14;

/// The page.
pub fn document(report: &AcceptReport) -> Document {
    let sections = report.parts.iter().map(|part| {
        let mut blocks = blocks(part, report.emulated);
        if report.emulated {
            blocks.iter_mut().for_each(emulated);
        }
        Section {
            title: title(part.part).to_owned(),
            blocks,
        }
    });
    Document {
        title: format!("mspipe on {}", report.name),
        lead: lead(report),
        sections: sections.collect(),
    }
}

/// The same without what each part found.
pub fn summary(report: &AcceptReport) -> Document {
    Document {
        sections: Vec::new(),
        ..document(report)
    }
}

/// Says with each chart and table what its times are of: these are taken out of pages.
fn emulated(block: &mut Block) {
    match block {
        Block::Figures(figures) => {
            for figure in figures {
                let caption = format!("Times of an EMULATED device. {}", figure.caption);
                figure.caption = caption.trim_end().to_owned();
            }
        }
        // What is of other GPUs is of no emulated one.
        Block::Table(table) if !table.caption.starts_with(speed::PREDICTED) => {
            table.caption += " (EMULATED)";
        }
        // Facts of adapters are no times.
        Block::Facts(facts) if !facts.iter().any(|(name, _)| name == "api") => {
            facts.push(("times".to_owned(), "of an EMULATED device".to_owned()));
        }
        Block::Folded(_, blocks) => blocks.iter_mut().for_each(emulated),
        _ => {}
    }
}

fn title(part: Part) -> &'static str {
    match part {
        Part::Device => "Device",
        Part::Checks => "Shaders and gradients",
        Part::Parity => "Training beside the CPU device",
        Part::Kernels => "Kernels and matrix products",
        Part::Speed => "Speed of training",
        Part::Schedules => "Schedules",
        Part::Profile => "A profiled run",
    }
}

fn lead(report: &AcceptReport) -> Vec<Block> {
    let mut blocks = vec![Block::Note(format!("{}.", report.verdict))];
    if report.emulated {
        let text = "The device is EMULATED: a processor runs the shaders of a GPU. Whether checks hold \
                    says something of the program and of this driver; times, rates and speeds say \
                    nothing of any GPU.";
        blocks.push(Block::Note(text.to_owned()));
    }
    let parts = report.parts.iter();
    let failed: Vec<(&PartReport, &Row)> = parts
        .flat_map(|part| part.failed().map(move |row| (part, row)))
        .collect();
    let more = failed.len().saturating_sub(FAILURES);
    let first = failed.into_iter().take(FAILURES);
    blocks.extend(first.flat_map(|(part, row)| failure(part, row)));
    if more > 0 {
        blocks.push(Block::Note(format!(
            "{more} more FAILED; the tables below have them."
        )));
    }
    for part in report.parts.iter().filter(|part| !part.not_run.is_empty()) {
        blocks.push(Block::Note(format!(
            "Of the part `{}`, {} did not run; its section names them.",
            part.part.name(),
            counted(part.not_run.len(), ["check", "checks"])
        )));
    }
    let of = |name: &str, value: String| (name.to_owned(), value);
    let minutes = format!("{:.0} s{}", report.seconds, quick(report));
    blocks.push(Block::Facts(vec![
        of("device", report.device.clone()),
        of("asked for", format!("`{}`", report.asked)),
        of("machine", report.machine.clone()),
        of("program", report.program.clone()),
        of("begun", utc(report.begun)),
        of("took", minutes),
    ]));
    let numbers = ["checks", "failed", "did not run", "s"];
    let mut table = Table::new("Parts", &["part"], &numbers);
    // The longest last: on a phone the numbers are those that must be seen.
    table.columns.push(("left out".to_owned(), false));
    table.rows = report.parts.iter().map(part_row).collect();
    let mut table = Block::Table(table);
    if report.emulated {
        emulated(&mut table);
    }
    blocks.push(table);
    blocks
}

/// The date and time of so many seconds since 1970.
/// Source: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, eras of 400 of them in the year 0.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!(
        "{}-{month:02}-{day:02} {:02}:{:02} UTC",
        era * 400 + year + next,
        second / 3600,
        second / 60 % 60
    )
}

fn quick(report: &AcceptReport) -> &'static str {
    if report.quick { ", with `--quick`" } else { "" }
}

/// A check that does not hold; what a process or a panic said in several lines stands below it.
fn failure(part: &PartReport, row: &Row) -> Vec<Block> {
    let (first, rest) = row
        .found
        .split_once('\n')
        .unwrap_or((row.found.as_str(), ""));
    let mut blocks = vec![Block::Note(format!(
        "FAILED `{}` ({}): expected: {}; found: {}{}",
        row.name,
        part.part.name(),
        row.expected,
        first.trim_end_matches(['.', ':']),
        if rest.is_empty() { "." } else { ":" }
    ))];
    if !rest.is_empty() {
        blocks.push(Block::Output(rest.to_owned()));
    }
    blocks
}

fn part_row(part: &PartReport) -> Vec<String> {
    let checks = part.rows.iter().filter(|row| row.verdict != Verdict::Told);
    vec![
        format!("`{}`", part.part.name()),
        checks.count().to_string(),
        part.failed().count().to_string(),
        part.not_run.len().to_string(),
        format!("{:.1}", part.seconds),
        cut(&part.left_out.join("; ")),
    ]
}

fn blocks(part: &PartReport, emulated: bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !part.left_out.is_empty() {
        blocks.push(Block::Text(format!(
            "Left out: {}.",
            part.left_out.join("; ")
        )));
    }
    if !part.not_run.is_empty() {
        let names: Vec<String> = part
            .not_run
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let ended = |row: &Row| row.verdict == Verdict::Unfinished;
        let why = match &part.stopped {
            Some(why) => why.as_str(),
            None if part.rows.iter().any(ended) => "the process ended before",
            None => "what they need failed",
        };
        blocks.push(Block::Text(format!(
            "Did not run ({why}): {}.",
            names.join(", ")
        )));
    }
    if let Some(facts) = &part.device {
        blocks.extend(adapters(facts));
    }
    if let Some(times) = &part.kernels {
        blocks.extend(kernels(times, emulated));
    }
    if !part.speed.is_empty() {
        blocks.extend(speed::blocks(part));
    }
    if !part.schedules.is_empty() {
        blocks.extend(schedules(&part.schedules));
    }
    if let Some(run) = &part.profile {
        blocks.extend(profile(run));
    }
    blocks.push(Block::Table(checks(part)));
    // Long lists of what holds are for those who look for something.
    let long = part.rows.len() > 12 || part.kernels.is_some() || !part.speed.is_empty();
    if long && let Some(table) = blocks.pop() {
        let title = format!("All {} rows", part.rows.len());
        blocks.push(Block::Folded(title, vec![table]));
    }
    blocks
}

fn checks(part: &PartReport) -> Table {
    let words = ["check", "verdict", "found", "expected"];
    let mut table = Table::new(
        "Each check and measurement with what it found",
        &words,
        &["s"],
    );
    table.rows = part.rows.iter().map(check_row).collect();
    table
}

fn check_row(row: &Row) -> Vec<String> {
    let verdict = match row.verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "FAILED",
        Verdict::Unfinished => "FAILED: did not finish",
        Verdict::Told => "",
    };
    vec![
        row.name.clone(),
        verdict.to_owned(),
        cut(&row.found),
        cut(&row.expected),
        format!("{:.2}", row.seconds),
    ]
}

/// A text as a table has room for it.
fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(CELL) {
        None if line.len() == text.len() => line.to_owned(),
        None => format!("{line} …"),
        Some((at, _)) => format!("{} …", &line[..at]),
    }
}

/// The adapters, with whatever is known of each.
fn adapters(facts: &DeviceFacts) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let Some(rates) = facts.rates {
        blocks.push(Block::Facts(vec![
            (
                "plain copy of 64 MiB".to_owned(),
                format!("{} GB/s, read and written", short(rates.copy_gb_per_s)),
            ),
            (
                "product 19800 x 472 x 300".to_owned(),
                format!(
                    "{} GFLOP/s by mspipe's kernel, {} by burn's, in f32",
                    short(rates.own_product_gflops),
                    short(rates.product_gflops)
                ),
            ),
            (
                "upload of 64 MiB".to_owned(),
                format!("{} GB/s", short(rates.upload_gb_per_s)),
            ),
            (
                "empty launch".to_owned(),
                format!("{} µs", short(rates.launch_us)),
            ),
            (
                "measured by".to_owned(),
                format!("{}; upload and launch by the host's clock", rates.clock),
            ),
        ]));
    }
    if let Some(ran) = &facts.ran {
        let text = "The device that was opened, with the kernels that it ran and the limits that were asked of it:";
        blocks.push(Block::Text(text.to_owned()));
        blocks.push(adapter(ran));
    }
    let others: Vec<&Value> = facts
        .adapters
        .iter()
        .filter(|other| {
            facts
                .ran
                .as_ref()
                .is_none_or(|ran| ran["device"] != other["device"])
        })
        .collect();
    if !others.is_empty() {
        blocks.push(Block::Text("Not used:".to_owned()));
        blocks.extend(others.into_iter().map(adapter));
    }
    blocks
}

/// All that is known of one.
fn adapter(adapter: &Value) -> Block {
    let all = adapter.as_object().into_iter().flatten();
    let known = all.filter(|(_, value)| !value.is_null());
    let facts = known.map(|(name, value)| (name.replace('_', " "), plain(name, value)));
    Block::Facts(facts.collect())
}

/// A value as a reader takes it.
fn plain(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) if name.ends_with("_bytes") => {
            let bytes = number.as_f64().unwrap_or(0.0);
            match bytes >= f64::from(1 << 20) {
                // As `mspipe devices` has it.
                true => format!("{:.0} MiB", (bytes / f64::from(1 << 20)).floor()),
                false => format!("{:.0} KiB", bytes / 1024.0),
            }
        }
        Value::Object(all) => {
            let all = all
                .iter()
                .map(|(name, value)| format!("{name} {}", plain(name, value)));
            all.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn kernels(times: &KernelTimes, emulated: bool) -> Vec<Block> {
    let rates = times.rates;
    let text = format!(
        "Inputs have the sizes of a batch of 600 events of Wikipedia. Bound: the time that the device's own \
         copy, measured again ({} GB/s), takes for the kernel's bytes, or the quicker f32 product of 19800 x 472 x 300, mspipe's or burn's \
         ({} GFLOP/s), for its operations, whichever is longer. More than 100 % of it is no error: inputs may stay in a \
         cache, and other sizes may suit a product better. Times are by {}{}.",
        short(rates.copy_gb_per_s),
        short(rates.gflops()),
        clock(&times.rows),
        if emulated {
            "; the device is EMULATED"
        } else {
            ""
        }
    );
    let mut longest: Vec<&KernelRow> = times.rows.iter().collect();
    longest.sort_by(|a, b| b.us.total_cmp(&a.us));
    longest.truncate(LONGEST);
    let bars = Bars {
        title: "The longest of them beside their bounds".to_owned(),
        y_name: "µs".to_owned(),
        groups: longest
            .iter()
            .map(|row| row.name.replace('_', " "))
            .collect(),
        series: vec![("measured".to_owned(), 1), ("bound".to_owned(), 0)],
        values: longest
            .iter()
            .map(|row| vec![Some(row.us), Some(row.bound_us)])
            .collect(),
        size: Size::Wide,
        ..Bars::default()
    };
    let mut blocks = vec![Block::Text(text)];
    if !longest.is_empty() {
        blocks.push(Block::Figures(vec![bars.figure("")]));
    }
    for (caption, product) in [("Kernels", false), ("Matrix products", true)] {
        let numbers = ["µs", "bound, µs", "of the bound, %", "GB/s", "GFLOP/s"];
        let mut table = Table::new(caption, &["name"], &numbers);
        let rows = times.rows.iter().filter(|row| row.product == product);
        table.rows = rows.map(kernel_row).collect();
        blocks.push(Block::Table(table));
    }
    blocks
}

fn clock(rows: &[KernelRow]) -> String {
    match rows.first() {
        Some(row) if rows.iter().all(|other| other.clock == row.clock) => row.clock.to_string(),
        _ => format!(
            "{}, or where there were none by {}",
            Clock::Device,
            Clock::Host
        ),
    }
}

fn kernel_row(row: &KernelRow) -> Vec<String> {
    vec![
        row.name.clone(),
        short(row.us),
        short(row.bound_us),
        format!("{:.0}", 100.0 * row.bound_us / row.us),
        short(row.gb_per_s),
        short(row.gflop_per_s),
    ]
}

fn schedules(rows: &[ScheduleRow]) -> Vec<Block> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.schedule.as_str()) {
            names.push(&row.schedule);
        }
    }
    let places = ["device", "host"];
    let value = |name: &str, place: &str| {
        let of = |row: &&ScheduleRow| row.schedule == name && row.memory == place;
        rows.iter().find(of).map(|row| row.events_per_s)
    };
    let bars = Bars {
        title: "Training events per second of each schedule".to_owned(),
        y_name: "events/s".to_owned(),
        groups: names.iter().map(|name| (*name).to_owned()).collect(),
        series: vec![
            ("memory on the device".to_owned(), 1),
            ("memory in RAM".to_owned(), 4),
        ],
        values: names
            .iter()
            .map(|name| places.iter().map(|place| value(name, place)).collect())
            .collect(),
        size: Size::Wide,
        ..Bars::default()
    };
    let words = ["memory", "schedule", "most frequent k"];
    let numbers = ["events/s", "speed-up", "stall, %", "test AP"];
    let caption = "TGN on the SYNTHETIC stream. k: iteration i reads memory with the updates up to i - k. Stall: \
                   share of the time that the device thread waited for its input. Speed-up: over \
                   `sequential` with the same place of memory";
    let mut table = Table::new(caption, &words, &numbers);
    table.rows = rows
        .iter()
        .map(|row| {
            vec![
                row.memory.clone(),
                row.schedule.clone(),
                format!("{} ({:.0} %)", row.k, row.k_percent),
                short(row.events_per_s),
                or_dash(row.speed_up.map(|factor| format!("{factor:.2}"))),
                or_dash(row.stall_percent.map(|percent| format!("{percent:.1}"))),
                format!("{:.4}", row.test_ap),
            ]
        })
        .collect();
    vec![Block::Figures(vec![bars.figure("")]), Block::Table(table)]
}

fn profile(run: &ProfiledRun) -> Vec<Block> {
    let staleness: Vec<String> = run
        .staleness
        .iter()
        .map(|(k, count)| format!("k = {k}: {count}"))
        .collect();
    let mut facts = vec![
        ("trained".to_owned(), format!("`{}`", run.options)),
        ("events per second".to_owned(), short(run.events_per_s)),
        ("iterations".to_owned(), staleness.join(", ")),
        (
            "device thread waited".to_owned(),
            format!("{} s", short(run.stall_seconds)),
        ),
    ];
    for (name, title) in [
        ("iteration_us", "iteration, µs"),
        ("launches", "launches of our shaders in an iteration"),
        ("launch_us", "enqueuing a launch, µs: the median"),
        (
            "launch_mean_us",
            "enqueuing a launch, µs: the mean, with compiling, and waiting while the queue is full",
        ),
        ("encode_us", "encoding an iteration on the host, µs"),
    ] {
        if let Some(value) = run.profile[name].as_f64() {
            facts.push((title.to_owned(), short(value)));
        }
    }
    let threads = run.stage_seconds.iter().map(|(_, seconds)| *seconds);
    let mut rows = vec![("all threads".to_owned(), threads.collect())];
    if let Some(queue) = &run.queue {
        let iterations: usize = run.staleness.iter().map(|(_, count)| count).sum();
        rows.extend(queue.lanes().map(|(lane, seconds)| {
            let all = seconds.map(|seconds| seconds * iterations as f64);
            (lane.to_owned(), all.to_vec())
        }));
    }
    let stages = Stacks {
        title: "Time in each stage".to_owned(),
        parts: run
            .stage_seconds
            .iter()
            .map(|(stage, _)| stage.clone())
            .collect(),
        rows,
        unit: "s".to_owned(),
        size: Size::Wide,
    };
    let mut figures = vec![stages.figure("")];
    if let Some(svg) = &run.timeline {
        figures.push(Figure {
            title: "Timeline".to_owned(),
            caption: WHAT_A_TIMELINE_SHOWS.to_owned(),
            svg: svg.clone(),
            wide: true,
        });
    }
    let mut blocks = vec![Block::Facts(facts), Block::Figures(figures)];
    if let Some(table) = operations(&run.profile) {
        blocks.push(Block::Table(table));
    }
    blocks
}

/// What each operation of an iteration costs.
fn operations(profile: &Value) -> Option<Table> {
    let rows = profile["operations"].as_array()?;
    let caption = match profile["time_is"].as_str() {
        Some("work") => "Operations of an iteration, and what is in none of them",
        _ => {
            "Operations of an iteration, and what is in none of them; time is what the host takes to enqueue them"
        }
    };
    let numbers = ["calls", "launches", "µs", "share, %"];
    let mut table = Table::new(caption, &["operation", "kind"], &numbers);
    let number = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), short);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    table.rows = rows
        .iter()
        .map(|row| {
            vec![
                text(&row["name"]),
                text(&row["kind"]),
                number(&row["calls"]),
                number(&row["launches"]),
                number(&row["time_us"]),
                format!("{:.1}", 100.0 * row["share"].as_f64().unwrap_or(0.0)),
            ]
        })
        .collect();
    let remainder = profile["remainder"].as_array().into_iter().flatten();
    table.rows.extend(remainder.map(|row| {
        vec![
            text(&row["name"]),
            "remainder".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            number(&row["time_us"]),
            // Other threads than the device's have no share of its time.
            or_dash(
                row["share"]
                    .as_f64()
                    .map(|share| format!("{:.1}", 100.0 * share)),
            ),
        ]
    }));
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(blocks: Vec<Block>) -> String {
        let document = Document {
            lead: blocks,
            ..Document::default()
        };
        document.to_html()
    }

    #[test]
    fn what_ended_early_is_shown_with_its_last_words_and_what_did_not_run() {
        let mut part = PartReport::new(Part::Checks);
        part.not_run = vec!["kernels::softmax".to_owned()];
        part.rows.push(Row {
            name: "kernels::dropout".to_owned(),
            verdict: Verdict::Unfinished,
            found: "the process ended early (signal: 11); it said last:\nthe driver gave up"
                .to_owned(),
            expected: "runs to its end".to_owned(),
            seconds: 0.0,
        });
        let mut blocks = failure(&part, &part.rows[0]);
        blocks.extend(super::blocks(&part, false));
        let page = html(blocks);
        assert!(
            page.contains("it said last:</p>\n<pre>the driver gave up</pre>"),
            "{page}"
        );
        assert!(
            page.contains("Did not run (the process ended before): <code>kernels::softmax"),
            "{page}"
        );
    }

    #[test]
    fn a_report_has_its_date() {
        for (seconds, date) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (1_796_000_000, "2026-11-30 00:53 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }

    #[test]
    fn the_device_is_shown_as_it_ran() {
        let facts = DeviceFacts {
            adapters: vec![
                serde_json::json!({"device": "gpu:0", "name": "A", "kernels": {"made_for": "gpu"}}),
                serde_json::json!({"device": "software", "name": "B"}),
            ],
            ran: Some(
                serde_json::json!({"device": "gpu:0", "name": "A", "kernels": {"made_for": "software"}}),
            ),
            ..DeviceFacts::default()
        };
        let page = html(adapters(&facts));
        assert!(
            page.contains("made_for software") && !page.contains("made_for gpu"),
            "{page}"
        );
        assert!(page.find("Not used:") < page.find("<dd>B</dd>"), "{page}");
    }
}
