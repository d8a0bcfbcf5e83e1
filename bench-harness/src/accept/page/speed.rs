//! The speed of training on the page: what was measured, what bounds it, what other GPUs should take.

use mspipe::report::chart::{Bars, Size, short};
use mspipe::report::{Block, Figure, Table};

use super::super::found::{PartReport, Rates, SpeedRow};
use super::super::prediction::{Elsewhere, Predicted};

/// With what the caption of a table begins whose numbers nobody measured.
pub(super) const PREDICTED: &str = "PREDICTED";

/// Chart and tables of the runs of a part.
pub(super) fn blocks(part: &PartReport) -> Vec<Block> {
    let rows = part.speed.as_slice();
    let mut blocks = vec![
        Block::Figures(vec![bars(rows)]),
        Block::Table(speeds(rows)),
        Block::Table(bounds(rows)),
    ];
    if let Some(rates) = part.speed_rates {
        blocks.push(reached(rates));
    }
    if !part.elsewhere.is_empty() {
        blocks.push(Block::Table(elsewhere(&part.elsewhere)));
    }
    blocks
}

/// What predictions for this device are made with.
fn reached(rates: Rates) -> Block {
    let of = |name: &str, value: String| (name.to_owned(), value);
    Block::Facts(vec![
        of("launch", format!("{} µs", short(rates.launch_us))),
        of(
            "copy",
            format!("{} GB/s, read and written", short(rates.copy_gb_per_s)),
        ),
        of(
            "product",
            format!(
                "{} GFLOP/s, the quicker of mspipe's and burn's",
                short(rates.gflops())
            ),
        ),
        of("upload", format!("{} GB/s", short(rates.upload_gb_per_s))),
        of(
            "measured",
            "before these runs, in their process; copy and product as in the section Device"
                .to_owned(),
        ),
    ])
}

fn bars(rows: &[SpeedRow]) -> Figure {
    let mut models: Vec<&str> = rows.iter().map(|row| row.model.as_str()).collect();
    models.dedup();
    let mut batches: Vec<usize> = rows.iter().map(|row| row.batch_size).collect();
    batches.sort_unstable();
    batches.dedup();
    let value = |batch: usize, model: &&str| {
        let of = |row: &&SpeedRow| row.batch_size == batch && row.model == *model;
        rows.iter().find(of).map(|row| row.events_per_s)
    };
    let bars = Bars {
        title: "Training events per second".to_owned(),
        x_name: "events per batch".to_owned(),
        y_name: "events/s".to_owned(),
        groups: batches.iter().map(ToString::to_string).collect(),
        series: models
            .iter()
            .map(|model| model.to_uppercase())
            .zip(1..)
            .collect(),
        values: batches
            .iter()
            .map(|&batch| models.iter().map(|model| value(batch, model)).collect())
            .collect(),
        size: Size::Wide,
        ..Bars::default()
    };
    bars.figure(&place(rows))
}

/// Where memory was.
fn place(rows: &[SpeedRow]) -> String {
    let on_host = rows.iter().filter(|row| row.memory == "host");
    let mut on_host: Vec<String> = on_host.map(|row| row.model.to_uppercase()).collect();
    on_host.dedup();
    match on_host.as_slice() {
        [] => "Memory on the device.".to_owned(),
        models => format!(
            "Memory on the device, but of {} on the host where the table says so.",
            models.join(", ")
        ),
    }
}

fn speeds(rows: &[SpeedRow]) -> Table {
    let numbers = ["batch", "events of an epoch", "events/s", "ms an iteration"];
    let caption =
        "SYNTHETIC stream of Wikipedia's size, schedule `auto`, no evaluation; the second epoch";
    let mut table = Table::new(caption, &["model", "memory"], &numbers);
    table.rows = rows
        .iter()
        .map(|row| {
            vec![
                row.model.to_uppercase(),
                match row.memory == "host" {
                    true => "on the host: the device binds too little".to_owned(),
                    false => "on the device".to_owned(),
                },
                row.batch_size.to_string(),
                short(row.events as f64),
                short(row.events_per_s),
                short(row.iteration_ms),
            ]
        })
        .collect();
    table
}

/// What was measured beside what this device's own rates let expect.
fn bounds(rows: &[SpeedRow]) -> Table {
    let numbers = [
        "batch",
        "measured",
        "predicted",
        "launches",
        "memory",
        "arithmetic",
        "copies",
    ];
    let caption = "What bounds an iteration, in ms: launches on the host's side, or kernels and copies on the queue's, by this \
                   device's own launch, copy, product and upload, which stand below. The longer side is the prediction. An iteration \
                   that takes less has products of sizes that suit the device better, or inputs that stay in a cache; counted with \
                   memory on the device";
    let mut table = Table::new(caption, &["model", "bound by"], &numbers);
    table.rows = rows
        .iter()
        .map(|row| {
            let Predicted {
                iteration_ms,
                launches_ms,
                memory_ms,
                arithmetic_ms,
                copies_ms,
                bound,
            } = row.predicted;
            let times = [launches_ms, memory_ms, arithmetic_ms, copies_ms];
            let mut texts = vec![
                row.model.to_uppercase(),
                bound.to_string(),
                row.batch_size.to_string(),
                short(row.iteration_ms),
                short(iteration_ms),
            ];
            texts.extend(times.map(short));
            texts
        })
        .collect();
    table
}

/// The same of GPUs that nobody measured.
fn elsewhere(rows: &[Elsewhere]) -> Table {
    let of_gpus = rows.iter().all(|row| row.kernels == "gpu");
    let whose = match of_gpus {
        true => "launches are those of our kernels for GPUs",
        false => {
            "launches are those of the kernels of THIS adapter, of which there are more than of those that a GPU runs"
        }
    };
    let caption = format!(
        "{PREDICTED}, not measured: an iteration on GPUs that are not here, by their makers' peaks of f32, memory and PCIe, and \
         24 µs a launch (arXiv 2604.02344); {whose}. Host and queue work at once: the longer of launches, and kernels with \
         copies, is the least that it takes"
    );
    let events = if of_gpus {
        "events/s at most"
    } else {
        "events/s"
    };
    let numbers = [
        "batch",
        "launches",
        "launches, ms",
        "kernels, ms",
        "copies, ms",
        events,
    ];
    let mut table = Table::new(&caption, &["GPU", "model", "bound by"], &numbers);
    table.rows = rows
        .iter()
        .map(|row| {
            let predicted = row.predicted;
            vec![
                row.gpu.clone(),
                row.model.to_uppercase(),
                predicted.bound.to_string(),
                row.batch_size.to_string(),
                format!("{:.0}", row.launches),
                format!("{:.2}", predicted.launches_ms),
                format!("{:.2}", predicted.memory_ms + predicted.arithmetic_ms),
                format!("{:.2}", predicted.copies_ms),
                short(row.events_per_s),
            ]
        })
        .collect();
    table
}

#[cfg(test)]
mod tests {
    use super::super::super::asked::Part;
    use super::super::super::found::Clock;
    use super::super::super::prediction::{Load, SPECIFIED};
    use super::*;
    use mspipe::report::Document;

    const RATES: Rates = Rates {
        copy_gb_per_s: 10.0,
        product_gflops: 60.0,
        own_product_gflops: 100.0,
        upload_gb_per_s: 1.25,
        launch_us: 10.0,
        clock: Clock::Host,
    };

    fn row(model: &str, memory: &str) -> SpeedRow {
        let load = Load {
            operations: vec![[2e8, 1e9]],
            upload_bytes: 1e6,
            launches: 50.0,
        };
        SpeedRow {
            model: model.to_owned(),
            batch_size: 600,
            memory: memory.to_owned(),
            events: 6000,
            events_per_s: 1000.0,
            iteration_ms: 600.0,
            predicted: Predicted::of(&load, RATES.into()),
            load,
        }
    }

    fn html(rows: &[SpeedRow], kernels: &str) -> String {
        let mut part = PartReport::new(Part::Speed);
        part.speed = rows.to_vec();
        part.speed_rates = Some(RATES);
        let predicted = rows
            .iter()
            .flat_map(|row| Elsewhere::of(&row.load, &row.model, 600, kernels));
        part.elsewhere = predicted.collect();
        let document = Document {
            lead: blocks(&part),
            ..Document::default()
        };
        document.to_html()
    }

    #[test]
    fn a_speed_with_memory_on_the_host_says_so() {
        let page = html(&[row("tgn", "device"), row("apan", "host")], "gpu");
        assert!(
            page.contains("<td>TGN</td><td>on the device</td>"),
            "{page}"
        );
        assert!(page.contains("<td>APAN</td><td>on the host: "), "{page}");
        assert!(page.contains("but of APAN on the host"), "{page}");
    }

    #[test]
    fn a_prediction_stands_beside_what_was_measured_and_is_called_one() {
        let page = html(&[row("tgn", "device")], "gpu");
        assert!(page.contains("<td>TGN</td><td>memory</td>"), "{page}");
        assert!(page.contains("PREDICTED, not measured"), "{page}");
        for gpu in SPECIFIED {
            assert!(page.contains(gpu.name), "{page}");
        }
        assert!(page.contains("<dd>1.25 GB/s</dd>"), "the rates: {page}");
        assert!(page.contains("events/s at most"), "{page}");
        // 50 launches of 24 µs.
        assert!(
            page.contains(">50</td><td class=\"number\">1.20</td>"),
            "{page}"
        );
        let of_software = html(&[row("tgn", "device")], "software");
        assert!(
            of_software.contains("the kernels of THIS adapter") && !of_software.contains("at most"),
            "{of_software}"
        );
    }
}
