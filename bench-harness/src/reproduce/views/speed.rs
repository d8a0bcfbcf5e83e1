//! Speed-up, and accuracy against speed.

use mspipe::profiler::machine::median;
use mspipe::report::chart::{Bars, Join, Lines, Point, Series, Size, thousands};
use mspipe::report::{Block, Table};

use super::super::experiment::{Experiment, Outcome, distinct, find_arm, of_them_synthetic};
use super::super::wording::{color_of, from_to, shown_and_folded};
use crate::schedules::or_dash;

/// Whether node memory was on the device; where it lies changes no AP.
fn on_device(variant: &str) -> bool {
    variant.contains("memory device")
}

/// Bars of the speed-up for each variant, tables of speed-up and AP, and one of everything.
pub(super) fn speed(experiment: &Experiment) -> Vec<Block> {
    let arms = experiment.arm_names();
    let streams = experiment.streams();
    let first = experiment.first_arm();
    let link = experiment.emulated_note();
    let variants = distinct(experiment.outcomes.iter().map(|o| o.variant.as_str()));
    let all_on_device = variants.iter().all(|variant| on_device(variant));
    let (mut shown, mut folded) = (Vec::new(), Vec::new());
    for variant in variants {
        let value = |stream: &&str| -> Vec<Option<f64>> {
            let of = |o: &&Outcome| o.stream == *stream && o.variant == variant;
            let series: Vec<&Outcome> = experiment.outcomes.iter().filter(of).collect();
            let speed_up = |arm| find_arm(&series, arm)?.row.speed_up;
            (0..arms.len()).map(speed_up).collect()
        };
        let title = match variant {
            "" => format!("Speed-up{link}"),
            variant => format!("Speed-up: {variant}{link}"),
        };
        let bars = Bars {
            title,
            y_name: format!("training events per second, times those of {first}"),
            groups: streams.iter().map(|stream| (*stream).to_owned()).collect(),
            series: (0..)
                .zip(&arms)
                .map(|(number, name)| (name.clone(), color_of(name, number)))
                .collect(),
            values: streams.iter().map(value).collect(),
            reference: Some(1.0),
            size: Size::Wide,
            ..Bars::default()
        };
        let figures = match on_device(variant) && !all_on_device {
            true => &mut folded,
            false => &mut shown,
        };
        figures.push(bars.figure(""));
    }
    let mut blocks = shown_and_folded(shown, folded, "Speed-up with memory on the device");
    let speed_up = by_arm(experiment, &format!("Speed-up over {first}{link}"), |o| {
        o.row.speed_up_text()
    });
    let several = experiment.outcomes.iter().any(|o| o.seeds.len() > 1);
    let over = match several {
        true => ", mean ± standard deviation over seeds",
        false => ", one seed",
    };
    let ap = by_arm(
        experiment,
        &format!("Pooled AP of the test part{over}"),
        |outcome| outcome.row.test_ap.to_string(),
    );
    for (title, table) in [
        ("Speed-up, table", speed_up),
        ("Test AP, table", ap),
        ("All numbers", everything(experiment)),
    ] {
        blocks.push(Block::Folded(title.to_owned(), vec![Block::Table(table)]));
    }
    blocks
}

/// How far mspipe's speed and AP are from those of the first arm, and whether schedules that must
/// not change any AP do not.
pub(super) fn speed_seen(experiment: &Experiment) -> Option<String> {
    let first = experiment.first_arm();
    let (mut speed, mut ap, mut exact) = (Vec::new(), Vec::new(), Vec::new());
    let all = experiment.series();
    for series in &all {
        let Some(base) = find_arm(series, 0) else {
            continue;
        };
        for outcome in series {
            let difference = outcome.ap_over(base);
            match outcome.arm.as_str() {
                "mspipe" => {
                    speed.extend(outcome.row.speed_up);
                    ap.push(difference);
                }
                "prefetch" | "exact-overlap" => exact.push(difference == 0.0),
                _ => {}
            }
        }
    }
    if speed.is_empty() {
        return None;
    }
    let mut text = format!(
        "over {} pairs of stream and setting{}, mspipe trains {} times as fast as {first} (median \
         {:.2}); its test AP differs by {} (median {:+.4})",
        speed.len(),
        of_them_synthetic(all.iter().filter_map(|series| series.first().copied())),
        from_to(&speed, |factor| format!("{factor:.2}")),
        median(&speed),
        from_to(&ap, |difference| format!("{difference:+.4}")),
        median(&ap),
    );
    if !exact.is_empty() {
        let same = exact.iter().filter(|same| **same).count();
        text += &format!(
            "; prefetch and exact-overlap, which must not change it, have the AP of {first} to the \
             last bit in {same} of {} runs",
            exact.len()
        );
    }
    Some(text)
}

/// A row a stream and variant, a column an arm.
fn by_arm(experiment: &Experiment, caption: &str, text: impl Fn(&Outcome) -> String) -> Table {
    let arms = experiment.arm_names();
    let names: Vec<&str> = arms.iter().map(String::as_str).collect();
    let mut table = Table::new(caption, &["stream", "setting"], &names);
    for series in experiment.series() {
        let cell = |arm| or_dash(find_arm(&series, arm).map(&text));
        let mut row = vec![series[0].stream.clone(), series[0].variant.clone()];
        row.extend((0..arms.len()).map(cell));
        table.rows.push(row);
    }
    table
}

/// Every number of the table that `mspipe-bench schedules` prints.
fn everything(experiment: &Experiment) -> Table {
    let mut table = Table::new(
        "events/s: median over epochs but the first, and over seeds; / G: divided by the GFLOP/s of \
         a matrix product at that time; k: the most frequent staleness; stall: share of training \
         time that the device thread waited for its input",
        &["stream", "setting", "arm"],
        &[
            "events/s",
            "/ G",
            "speed-up",
            "k",
            "stall",
            "in train",
            "test AP",
            "AP, batch mean",
            "AP, other negatives",
            "EdgeBank",
        ],
    );
    for outcome in &experiment.outcomes {
        let row = &outcome.row;
        table.rows.push(vec![
            outcome.stream.clone(),
            outcome.variant.clone(),
            outcome.labelled_arm(),
            thousands(row.events_per_s),
            format!("{:.1}", row.ratio),
            row.speed_up_text(),
            row.k_text(),
            row.stall_text(),
            format!("{:.1} %", row.train_percent),
            row.test_ap.to_string(),
            outcome.test_ap_batch_mean.to_string(),
            outcome.test_ap_other_pool.to_string(),
            format!("{:.4}", outcome.edgebank_ap),
        ]);
    }
    table
}

/// A chart of points for each stream and variant, those of the first stream shown and the others
/// folded. One place of memory is enough.
pub(super) fn trade_off(experiment: &Experiment) -> Vec<Block> {
    let (mut shown, mut folded) = (Vec::new(), Vec::new());
    for series in experiment.series() {
        let in_ram = |series: &[&Outcome]| series[0].variant.contains("memory host");
        let other = on_device(&series[0].variant);
        if other && experiment.series().iter().any(|series| in_ram(series)) {
            continue;
        }
        let point = |outcome: &&Outcome| Series {
            name: outcome.arm.clone(),
            color: outcome.color(),
            points: vec![Point {
                x: outcome.row.events_per_s,
                y: outcome.row.test_ap.mean,
                deviation: outcome.row.test_ap.deviation,
            }],
        };
        let chart = Lines {
            title: format!("Test AP against speed: {}", series[0].title()),
            x_name: "training events per second".to_owned(),
            y_name: "test AP".to_owned(),
            series: series.iter().map(point).collect(),
            join: Join::Apart,
            ..Lines::default()
        };
        let caption = format!(
            "Better is up and right. AP of EdgeBank, which learns nothing: {:.3}.",
            series[0].edgebank_ap
        );
        let figures = match series[0].stream == experiment.outcomes[0].stream {
            true => &mut shown,
            false => &mut folded,
        };
        figures.push(chart.figure(&caption));
    }
    shown_and_folded(shown, folded, "Test AP against speed, other streams")
}
