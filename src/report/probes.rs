//! What probes of a run found, drawn: how far stale memory and its gradients are from what they should be, and
//! how gradients fall.

use super::chart::{Lines, Point, Series};
use super::{Block, Section};
use crate::pipeline::probe::{Probe, ProbeMeans, falling};

/// Said where it hides what probes look for.
const TRAINED_TIMES: &str = "The encoding of times was trained. Its gradients are as many times the others as Δt counts \
    units, so that ‖g‖², the gradients' error and the smoothness are of it almost alone; --time-encoding fixed shows the \
    others.";

/// A series of the chart of [`falling_chart`].
pub fn falling_series(name: &str, color: usize, probes: &[Probe]) -> Series {
    let point = |(x, y)| Point {
        x,
        y,
        deviation: None,
    };
    Series {
        name: name.to_owned(),
        color,
        points: falling(probes).into_iter().map(point).collect(),
    }
}

/// How gradients fall with the iterations.
pub fn falling_chart(title: &str, series: Vec<Series>) -> Lines {
    Lines {
        title: title.to_owned(),
        x_name: "log10 of T, the training iterations".to_owned(),
        y_name: "log10 of the mean ‖g‖² up to T".to_owned(),
        series,
        ..Lines::default()
    }
}

/// The part of a run's report, whose encoding of times was trained or not; none where nothing was probed.
pub(super) fn section(probes: &[Probe], trained_times: bool) -> Option<Section> {
    let means = ProbeMeans::of(probes)?;
    let smoothness = means.smoothness.map_or_else(String::new, |value| {
        format!(
            " ‖g(W′) − g(W)‖ is {value:.3} times ‖W′ − W‖ (median, on one batch of each epoch)."
        )
    });
    let text = format!(
        "{} iterations were compared with memory that is not stale, driven by the same weights: {means}.{smoothness} \
         The theorem of MSPipe has it fall at least as T^(-0.5), for SGD with steps that shrink likewise.",
        probes.len()
    );
    let mut blocks = vec![Block::Text(text)];
    if trained_times {
        blocks.push(Block::Note(TRAINED_TIMES.to_owned()));
    }
    if probes.len() > 1 {
        let fall = falling_chart("Gradients", vec![falling_series("‖g‖²", 2, probes)]);
        blocks.push(Block::Figures(vec![
            errors(probes).figure("‖Ŝ − S‖ / ‖S‖ and ‖g(Ŝ) − g(S)‖ / ‖g(S)‖."),
            fall.figure("Running mean over the probes."),
        ]));
    }
    Some(Section {
        title: "What staleness did to gradients".to_owned(),
        blocks,
    })
}

/// The errors of each probe, in percent.
fn errors(probes: &[Probe]) -> Lines {
    let series = |name: &str, color, of: fn(&Probe) -> f64| Series {
        name: name.to_owned(),
        color,
        points: probes
            .iter()
            .map(|probe| Point {
                x: probe.trained as f64,
                y: 100.0 * of(probe),
                deviation: None,
            })
            .collect(),
    };
    Lines {
        title: "Errors by staleness".to_owned(),
        x_name: "training iteration".to_owned(),
        y_name: "% of what is not stale".to_owned(),
        series: vec![
            series("memory", 1, |probe| probe.memory_error),
            series("gradient", 5, |probe| probe.gradient_error),
        ],
        whole: (true, false),
        from_zero: true,
        ..Lines::default()
    }
}
